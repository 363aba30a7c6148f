"""Attrition risk from a folder of CSV files: steps, service and programs."""

import os

# Before numpy is imported, which reads it: the threads of two copies of OpenBLAS (numpy's and
# scipy's) wait by spinning, a tenth of the CPU time of a run on few rows; and sums added up by
# another number of threads end in other last digits, so that a model would depend on the machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
