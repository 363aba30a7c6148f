"""Keeps the rows of a dataset in their order, in bytes, until it is known which of them stay."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scripts.canonical import Rows
from scripts.stack import Stack

WORD_BYTES = 8
FIRST = np.array([2 ** (8 * n) - 1 for n in range(WORD_BYTES + 1)], np.uint64)
# So many rows are handed out, or pairs compared, at once: their bytes stay in the cache.
PART_ROWS = 2**16
PART_PAIRS = 2**13

Breaks = NDArray[np.int64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Shelf:
    """Keeps rows in their order: in memory, or in a file that has no name.

    Parameters
    ----------
    file : file, optional
        Where to keep the rows; without it, in memory.
    n_bytes : int
        How many there will be, about. Memory that is not used is only asked for, not taken.
    """

    def __init__(self, file: BinaryIO | None = None, n_bytes: int = 0) -> None:
        """Begin without rows."""
        self.file = file
        self.sizes: list[tuple[int, int]] = []
        room = 0 if file is not None else n_bytes
        self.content = Stack(np.uint8, room + WORD_BYTES)
        self.breaks = Stack(np.int64, room // WORD_BYTES + 1)
        self.breaks.put(np.zeros(1, np.int64))

    def put(self, rows: Rows) -> None:
        """Keep the next rows."""
        breaks = rows.ends + 1
        if self.file is None:
            breaks += self.content.n_values
            self.content.put(np.frombuffer(rows.content + bytes(WORD_BYTES), np.uint8))
            self.content.n_values -= WORD_BYTES
            self.breaks.put(breaks)
            return
        self.file.write(rows.content)
        self.file.write(breaks.tobytes())
        self.sizes.append((len(rows.content), breaks.nbytes))

    def take(self) -> Iterator[tuple[NDArray[np.uint8], Breaks]]:
        """Yield the rows, each part's bytes and, with the first one's start, where lines end."""
        if self.file is None:
            breaks = self.breaks.values
            for start in range(0, len(breaks) - 1, PART_ROWS):
                own = breaks[start : start + PART_ROWS + 1]
                yield self.content.values[own[0] : own[-1]], own - own[0]
            return
        with self.file:
            self.file.seek(0)
            for n_bytes, n_break_bytes in self.sizes:
                content = np.frombuffer(self.file.read(n_bytes), np.uint8)
                breaks = np.frombuffer(self.file.read(n_break_bytes), np.int64)
                yield content, np.append(0, breaks)

    def row(self, place: int) -> bytes:
        """Give the bytes of a row that is in memory."""
        start, stop = self.breaks.values[place : place + 2].tolist()
        return self.content.values[start:stop].tobytes()

    def are_equal(self, left: Places, right: Places) -> Mask:
        """Compare pairs of rows that are in memory, byte for byte."""
        parts = range(0, len(left), PART_PAIRS)
        same = [self.compare(left[n : n + PART_PAIRS], right[n : n + PART_PAIRS]) for n in parts]
        return np.concatenate([np.zeros(0, np.bool_), *same])

    def compare(self, left: Places, right: Places) -> Mask:
        """Compare some pairs of rows, a word of eight bytes at a time."""
        breaks, codes = self.breaks.values, self.content.room
        # What is beyond the last row is masked; there is always a word of room for it.
        words = np.ndarray(len(codes) - WORD_BYTES + 1, np.dtype("<u8"), codes.data, strides=(1,))
        one, other = breaks[left], breaks[right]
        lengths = breaks[left + 1] - one
        same: Mask = lengths == breaks[right + 1] - other
        pairs = np.flatnonzero(same)
        for place in range(0, int(lengths.max(initial=0)), WORD_BYTES):
            pairs = pairs[lengths[pairs] > place]
            differ = words[one[pairs] + place] ^ words[other[pairs] + place]
            differ &= FIRST[np.minimum(lengths[pairs] - place, WORD_BYTES)]
            same[pairs[differ != 0]] = False
            pairs = pairs[differ == 0]
        return same


def choose_rows(
    shelf: Shelf,
    is_first: Mask,
    note: Callable[[Places, NDArray[np.uint8]], None] | None = None,
) -> Iterator[bytes]:
    """Yield the rows that are the first of their kind.

    Parameters
    ----------
    shelf : Shelf
        All rows.
    is_first : numpy.ndarray of shape (n_rows,)
        Which rows stay.
    note : callable, optional
        Is given the places of rows that do not stay, and the last byte of each.

    Yields
    ------
    bytes
        Whole lines.
    """
    place = 0
    for content, breaks in shelf.take():
        kept = is_first[place : place + len(breaks) - 1]
        if note is not None and not kept.all():
            note(place + np.flatnonzero(~kept), content[breaks[1:][~kept] - 2])
        place += len(kept)
        if kept.all():
            yield content.tobytes()
        elif kept.any():
            # Arrow copies runs of rows, not bytes one by one.
            buffers = [None, pa.py_buffer(breaks), pa.py_buffer(content)]
            rows = pa.Array.from_buffers(pa.large_binary(), len(kept), buffers)
            _, _, chosen = rows.filter(pa.array(kept)).buffers()
            yield chosen.to_pybytes()
