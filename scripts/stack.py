"""Values of one kind one after the other, in one piece of memory, which grows as it must."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Stack:
    """Values one after the other, to which more are put.

    Parameters
    ----------
    kind : numpy.dtype
        Of the values.
    n_values : int
        For how many there is to be room. Memory that is not used is only asked for, not taken.

    Notes
    -----
    Large arrays of numpy are given pages of 2 MB, which on a virtual machine take four times as
    long to be there as small ones do; what is mapped is not.
    """

    def __init__(self, kind: Any, n_values: int) -> None:
        """Begin without values."""
        self.n_values = 0
        self.room: NDArray[Any] = self.map(np.dtype(kind), n_values)

    @staticmethod
    def map(kind: np.dtype[Any], n_values: int) -> NDArray[Any]:
        """Ask for room."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        return np.frombuffer(mmap.mmap(-1, max(1, n_values) * kind.itemsize, flags), kind)

    @property
    def values(self) -> NDArray[Any]:
        """The values so far."""
        return self.room[: self.n_values]

    def put(self, more: NDArray[Any]) -> None:
        """Put further values behind the others."""
        n_all = self.n_values + len(more)
        if n_all > len(self.room):
            larger = self.map(self.room.dtype, max(n_all, 2 * len(self.room)))
            larger[: self.n_values] = self.values
            self.room = larger
        self.room[self.n_values : n_all] = more
        self.n_values = n_all
