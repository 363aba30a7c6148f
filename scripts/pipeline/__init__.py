"""One run: steps, snapshot, records, time limit, retention."""
