"""Where the cells of lines of plain ASCII end, and the whole numbers and texts that stand there."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scripts import columns
from scripts.lines import DELETE, FIRST_PRINTABLE, NEWLINE
from scripts.reading import COMMA

WORD_BYTES = 8
ZERO = 0x30
# The last n bytes of a little-endian word, n from 0 to 8.
LAST = np.array([2**64 - 2 ** (64 - 8 * n) for n in range(WORD_BYTES + 1)], np.uint64)
# Each turns twice as many digits into one number: what is taken of them, and what by how much.
PAIRS = (
    (0x0F0F0F0F0F0F0F0F, 10 * 2**8 + 1, 8),
    (0x00FF00FF00FF00FF, 10**2 * 2**16 + 1, 16),
    (0x0000FFFF0000FFFF, 10**4 * 2**32 + 1, 32),
)
TOP, TO_TOP, ZEROS = (np.uint64(0x0101010101010101 * byte) for byte in (0x80, 0x76, ZERO))
WORD_BITS = 64

Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.uint64]


@dataclass(frozen=True)
class Marks:
    """Lines of ASCII without quotes: which bytes end a cell, and where, by row and by cell."""

    codes: Bytes
    is_end: Mask
    ends: Places
    starts: Places

    def lengths(self, place: int) -> Places:
        """Give the lengths of the cells of a column."""
        before = self.ends[:, place - 1] + 1 if place else self.starts
        return self.ends[:, place] - before

    @cached_property
    def words(self) -> Numbers:
        """The words of eight bytes before each byte, and beyond the last one."""
        beside = np.zeros(WORD_BYTES, np.uint8)
        padded = np.concatenate([beside, self.codes, beside])
        return np.ndarray(len(padded) - WORD_BYTES + 1, np.dtype("<u8"), padded, strides=(1,))

    @cached_property
    def digits(self) -> Numbers:
        """The words of eight bytes before each byte; a digit is 0 to 9, the end of a cell 0."""
        padded = np.zeros(WORD_BYTES + len(self.codes), np.uint8)
        digits = padded[WORD_BYTES:]
        np.bitwise_xor(self.codes, ZERO, out=digits)
        digits *= ~self.is_end
        return np.ndarray(len(digits) + 1, np.dtype("<u8"), padded, strides=(1,))

    @cached_property
    def has_empty(self) -> bool:
        """Whether any cell is empty."""
        return bool(self.is_end[0] or (self.is_end[1:] & self.is_end[:-1]).any())


def find_marks(codes: Bytes, n_cells: int) -> Marks | None:
    """Find where cells end in lines of ASCII without quotes, if each line has so many."""
    if codes.max() >= DELETE:
        return None
    is_newline = codes == NEWLINE
    n_rows = int(np.count_nonzero(is_newline))
    if np.count_nonzero(codes < FIRST_PRINTABLE) != n_rows:
        return None
    is_end = is_newline | (codes == ord(COMMA))
    places = np.flatnonzero(is_end)
    if len(places) != n_rows * n_cells:
        return None
    # Column by column, each in one piece, which everything after this is faster with.
    ends: Places = np.asfortranarray(places.reshape(n_rows, n_cells))
    # There are as many line ends as rows, so the other marks are separators.
    if not is_newline[ends[:, -1]].all():
        return None
    starts = np.zeros(n_rows, np.int64)
    np.add(ends[:-1, -1], 1, out=starts[1:])
    return Marks(codes, is_end, ends, starts)


def are_digits(words: Numbers, ends: Places, lengths: Places) -> bool:
    """Say whether what stands before some places is of digits only."""
    for place in range(0, int(lengths.max(initial=0)), WORD_BYTES):
        rows = np.flatnonzero(lengths > place) if place else slice(None)
        near = LAST[np.minimum(lengths[rows] - place, WORD_BYTES)]
        word = words[ends[rows] - place] & near
        # Only what is more than a digit reaches the top bit.
        if ((word + TO_TOP) & TOP).any():
            return False
    return True


def read_digits(words: Numbers, ends: Places, lengths: Places) -> Numbers:
    """Read the numbers of at most eight digits that stand before some places."""
    return join_digits(words[ends] & LAST[lengths])


def join_digits(numbers: Numbers) -> Numbers:
    """Turn words of digits, the last one in the highest byte, into numbers, where they are."""
    for taken, factor, n_bits in PAIRS:
        numbers &= np.uint64(taken)
        numbers *= np.uint64(factor)
        numbers >>= np.uint64(n_bits)
    return numbers


def read_short(marks: Marks, columns: range) -> tuple[Numbers, Places] | None:
    """Read whole numbers that stand side by side, all columns at once.

    Parameters
    ----------
    marks : Marks
        The lines.
    columns : range
        The places of the columns.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_columns, n_rows), or None
        The numbers, 0 for a blank, and the lengths of the cells; None unless all have at most
        eight digits and no sign or superfluous zero.
    """
    ends = marks.ends.T[columns.start : columns.stop]
    lengths = np.stack([marks.lengths(place) for place in columns])
    if lengths.max() > WORD_BYTES:
        return None
    words = marks.words[ends] ^ ZEROS
    beside = (WORD_BITS - WORD_BYTES * lengths).view(np.uint64)
    # What stands before the cell goes out at the lower end; of a blank all bits go.
    words >>= beside
    begins_with_zero = words.view(np.uint8)[:, ::WORD_BYTES] == 0
    words <<= beside
    # Only what is more than a digit reaches the top bit.
    if ((words + TO_TOP) & TOP).any() or (begins_with_zero & (lengths > 1)).any():
        return None
    return join_digits(words), lengths


def take_numbers(marks: Marks, place: int) -> NDArray[Any]:
    """Take a column of whole numbers, in which a blank is NaN."""
    ends, lengths = marks.ends[:, place], marks.lengths(place)
    near = np.minimum(lengths, WORD_BYTES)
    values = read_digits(marks.digits, ends, near).astype(np.int64)
    is_long = np.flatnonzero(lengths > WORD_BYTES)
    if len(is_long):
        more = read_digits(marks.digits, ends[is_long] - WORD_BYTES, lengths[is_long] - WORD_BYTES)
        values[is_long] += more.astype(np.int64) * 10**WORD_BYTES
    if marks.has_empty and not lengths.all():
        return np.where(lengths > 0, values, np.nan)
    return columns.compact(values, float(values.min()), float(values.max()))


def take_texts(marks: Marks, place: int) -> pa.LargeStringArray:
    """Take a column of text."""
    offsets = np.full(2 * len(marks.ends) + 1, len(marks.codes))
    offsets[1::2] = marks.ends[:, place]
    offsets[:-1:2] = offsets[1::2] - marks.lengths(place)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(marks.codes)]
    # The texts of the column, and what stands between them.
    every = pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)
    return every.filter(pa.array(np.arange(len(every)) % 2 == 0))
