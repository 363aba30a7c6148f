"""Tells rows that are spelled as a dataset spells them, by the bytes of a block alone.

Such rows are right, and are copied as they are: nothing of them is parsed and spelled again.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scripts.config import NumberMarks, Schema
from scripts.lines import DELETE, FIRST_PRINTABLE, NEWLINE, QUOTE
from scripts.reading import COMMA, MAX_LINE_BYTES, Layout

WORD_BYTES = 8
MAX_DIGITS = 15
BLANK, ZERO, ONE = 0x20, 0x30, 0x31
# The last n bytes of a little-endian word, n from 0 to 8.
LAST = np.array([2**64 - 2 ** (64 - 8 * n) for n in range(WORD_BYTES + 1)], np.uint64)
ZEROS, TOP, TO_TOP = (np.uint64(0x0101010101010101 * byte) for byte in (ZERO, 0x80, 0x76))

Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Numbers = NDArray[np.uint64]


@dataclass(frozen=True)
class Rows:
    """Rows of a dataset as its file spells them; starts and ends leave out the line ends.

    `with_blanks` are the numeric columns that have a blank.
    """

    content: bytes
    starts: Places
    ends: Places
    with_blanks: frozenset[str] = frozenset()

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.starts)


@dataclass(frozen=True)
class Judge:
    """What rows of a file must be for their bytes to be those of the dataset."""

    layout: Layout

    @property
    def schema(self) -> Schema:
        """The columns."""
        return self.layout.schema

    @cached_property
    def can_judge(self) -> bool:
        """Whether the file has the columns of the dataset in its order, and plain whole numbers."""
        schema, layout = self.schema, self.layout
        marks = {schema.marks(name) for name in schema.numeric}
        return (
            layout.separator == COMMA
            and layout.header == list(schema.columns)
            and len(layout.header) > 1
            and schema.labels == {"1": 1, "0": 0}
            and marks <= {NumberMarks(decimal=schema.decimal)}
            and all(minimum <= 0 for minimum in schema.minimums.values())
        )

    def read(self, content: bytes) -> Rows | None:
        """Take whole lines as rows; None unless every one is proven right and so spelled."""
        if not self.can_judge or not content.endswith(b"\n"):
            return None
        codes = np.frombuffer(content, np.uint8)
        ends = find_ends(codes, QUOTE in content, len(self.layout.header))
        if ends is None:
            return None
        lengths = np.diff(ends.ravel(), prepend=-1).reshape(ends.shape) - 1
        starts = ends[:, 0] - lengths[:, 0]
        if (ends[:, -1] - starts).max() >= MAX_LINE_BYTES:
            return None
        n_ids, n_numeric = len(self.schema.ids), len(self.schema.numeric)
        numbers = slice(n_ids, n_ids + n_numeric)
        texts = [place for place in range(ends.shape[1] - 1) if not n_ids <= place < numbers.stop]
        is_right = (
            bool((lengths[:, -1] == 1).all())
            and bool(((codes[ends[:, -1] - 1] & 0xFE) == ZERO).all())
            and bool((lengths[:, :n_ids] > 0).all())
            and not (BLANK in content and has_blank_ends(codes, ends, lengths, texts))
            and are_plain_numbers(content, ends[:, numbers], lengths[:, numbers])
        )
        if not is_right:
            return None
        is_blank = (lengths[:, numbers] == 0).any(axis=0)
        blanks = frozenset(
            name for name, own in zip(self.schema.numeric, is_blank, strict=True) if own
        )
        return Rows(content, starts, ends[:, -1], blanks)


def find_ends(codes: Bytes, has_quote: bool, n_cells: int) -> Places | None:
    """Find where each cell ends, shape (n_rows, n_cells), in lines of ASCII without quotes."""
    if has_quote or codes.max() >= DELETE:
        return None
    is_end = codes == NEWLINE
    n_rows = int(np.count_nonzero(is_end))
    if np.count_nonzero(codes < FIRST_PRINTABLE) != n_rows:
        return None
    is_end |= codes == ord(COMMA)
    marks = np.flatnonzero(is_end)
    if len(marks) != n_rows * n_cells:
        return None
    ends: Places = marks.reshape(n_rows, n_cells)
    # There are as many line ends as rows, so the other marks are separators.
    return ends if (codes[ends[:, -1]] == NEWLINE).all() else None


def has_blank_ends(codes: Bytes, ends: Places, lengths: Places, columns: list[int]) -> bool:
    """Say whether a text begins or ends with a blank, which reading takes off."""
    for place in columns:
        filled = lengths[:, place] > 0
        stop = ends[filled, place]
        begin = stop - lengths[filled, place]
        if (codes[begin] == BLANK).any() or (codes[stop - 1] == BLANK).any():
            return True
    return False


def are_digits(words: Numbers, ends: Places, lengths: Places) -> bool:
    """Say whether the last eight bytes of each cell, or all if it has fewer, are digits."""
    word = (words[ends] ^ ZEROS) & LAST[lengths]
    # A digit is now 0 to 9, and only what is more reaches the top bit.
    return not ((word + TO_TOP) & TOP).any()


def are_plain_numbers(content: bytes, ends: Places, lengths: Places) -> bool:
    """Say whether cells are blank or whole numbers without a sign or a superfluous zero."""
    if not lengths.size:
        return True
    longest = int(lengths.max())
    if longest > MAX_DIGITS:
        return False
    padded = bytes(WORD_BYTES) + content
    # Word i holds the eight bytes before byte i of the content.
    words: Numbers = np.ndarray(len(content) + 1, np.dtype("<u8"), padded, strides=(1,))
    if longest > WORD_BYTES:
        further = np.maximum(lengths - WORD_BYTES, 0)
        if not are_digits(words, np.maximum(ends - WORD_BYTES, 0), further):
            return False
        near = np.minimum(lengths, WORD_BYTES)
    else:
        near = lengths
    codes = np.frombuffer(content, np.uint8)
    has_zero = (codes[ends - lengths] == ZERO) & (lengths > 1)
    return are_digits(words, ends, near) and not has_zero.any()
