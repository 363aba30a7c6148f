"""A run of the full process: snapshot, steps, records, time limit, retention."""
