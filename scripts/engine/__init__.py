"""The engines for reading and computing: pandas on a single machine, Spark on a cluster."""
