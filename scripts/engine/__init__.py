"""The engine that reads and computes: pandas on this machine, or Spark on a cluster."""
