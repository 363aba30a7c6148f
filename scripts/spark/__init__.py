"""The same pipeline on a cluster."""
