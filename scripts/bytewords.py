"""Reads words of eight bytes that may start at any byte, many at once."""

import numpy as np
from numpy.typing import NDArray

WORD_BYTES = 8
WORD_BITS = 64

Numbers = NDArray[np.uint64]
Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]


class ByteWords:
    """The words of eight bytes of a content, the first byte lowest, by where they start.

    Parameters
    ----------
    content : numpy.ndarray of shape (n_bytes,)
        Bytes, which are copied once; behind them are zeros.
    n_before : int
        How many zeros stand before them; places are counted from there.

    Notes
    -----
    numpy takes what is not aligned one by one. Two aligned words, shifted, are there in half the
    time. A shift by all bits leaves nothing.
    """

    def __init__(self, content: Bytes, n_before: int = 0) -> None:
        """Copy the content."""
        n_bytes = n_before + len(content)
        padded = np.zeros((n_bytes // WORD_BYTES + 2) * WORD_BYTES, np.uint8)
        padded[n_before:n_bytes] = content
        self.aligned: Numbers = padded.view("<u8")

    def __getitem__(self, places: Places) -> Numbers:
        """Give the words that start at places from 0 to the end of the content."""
        number = places >> 3
        beside = ((places & (WORD_BYTES - 1)) << 3).view(np.uint64)
        # All places are there, so that none has to be checked.
        found: Numbers = self.aligned.take(number, mode="clip")
        number += 1
        rest = self.aligned.take(number, mode="clip")
        found >>= beside
        rest <<= np.uint64(WORD_BITS) - beside
        found |= rest
        return found
