"""Today's clients: scores, worklist, history, outcomes."""
