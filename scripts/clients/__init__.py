"""The clients: scores, worklist, history and outcomes."""
