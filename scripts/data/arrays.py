"""Type aliases of the numpy arrays in computations on tables."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# True for each selected row.
Mask = NDArray[np.bool_]
# Numbers of millions of clients, in half of the memory.
ShortInts = NDArray[np.int32]
# Positions of rows, from 0.
Places = NDArray[np.int64]
