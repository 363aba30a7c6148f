"""Data and set-ups to learn from."""
