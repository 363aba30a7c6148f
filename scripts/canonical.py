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
TOP, TO_TOP = (np.uint64(0x0101010101010101 * byte) for byte in (0x80, 0x76))

Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
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
    def has_empty(self) -> bool:
        """Whether any cell is empty."""
        return bool(self.is_end[0] or (self.is_end[1:] & self.is_end[:-1]).any())


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

    @property
    def numbers(self) -> range:
        """The places of the numeric columns."""
        n_ids = len(self.schema.ids)
        return range(n_ids, n_ids + len(self.schema.numeric))

    def read(self, content: bytes) -> Rows | None:
        """Take whole lines as rows; None unless every one is proven right and so spelled."""
        marks = self.look_at(content)
        if marks is None:
            return None
        blanks = {n for n in self.numbers if marks.has_empty and (marks.lengths(n) == 0).any()}
        with_blanks = frozenset(self.schema.columns[place] for place in blanks)
        return Rows(content, marks.starts, marks.ends[:, -1], with_blanks)

    def look_at(self, content: bytes) -> Marks | None:
        """Find where the cells of whole lines end; None unless every row is proven right."""
        if not self.can_judge or not content.endswith(b"\n") or QUOTE in content:
            return None
        marks = find_marks(np.frombuffer(content, np.uint8), len(self.layout.header))
        if marks is None:
            return None
        ends, numbers = marks.ends, self.numbers
        texts = [place for place in range(ends.shape[1] - 1) if place not in numbers]
        is_right = (
            bool((ends[:, -1] - marks.starts).max() < MAX_LINE_BYTES)
            and bool((ends[:, -1] - ends[:, -2] == len(",0")).all())
            and bool(((marks.codes[ends[:, -1] - 1] & 0xFE) == ZERO).all())
            and not (marks.has_empty and has_empty(marks, range(len(self.schema.ids))))
            and not (BLANK in content and has_blank_ends(marks, texts))
            and (not numbers or are_plain_numbers(marks, numbers))
        )
        return marks if is_right else None


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


def has_empty(marks: Marks, columns: range) -> bool:
    """Say whether a cell of some columns is empty."""
    return any((marks.lengths(place) == 0).any() for place in columns)


def has_blank_ends(marks: Marks, columns: list[int]) -> bool:
    """Say whether a text begins or ends with a blank, which reading takes off."""
    for place in columns:
        lengths = marks.lengths(place)
        stop = marks.ends[lengths > 0, place]
        begin = stop - lengths[lengths > 0]
        if (marks.codes[begin] == BLANK).any() or (marks.codes[stop - 1] == BLANK).any():
            return True
    return False


def as_digits(marks: Marks) -> Numbers:
    """Give the words of eight bytes before each byte; a digit is 0 to 9, the end of a cell 0."""
    padded = np.zeros(WORD_BYTES + len(marks.codes), np.uint8)
    digits = padded[WORD_BYTES:]
    np.bitwise_xor(marks.codes, ZERO, out=digits)
    digits *= ~marks.is_end
    return np.ndarray(len(digits) + 1, np.dtype("<u8"), padded, strides=(1,))


def are_digits(words: Numbers, ends: Places, lengths: Places) -> bool:
    """Say whether what stands before some places is of digits only, as `as_digits` has them."""
    for place in range(0, int(lengths.max(initial=0)), WORD_BYTES):
        rows = np.flatnonzero(lengths > place) if place else slice(None)
        near = LAST[np.minimum(lengths[rows] - place, WORD_BYTES)]
        word = words[ends[rows] - place] & near
        # Only what is more than a digit reaches the top bit.
        if ((word + TO_TOP) & TOP).any():
            return False
    return True


def are_plain_numbers(marks: Marks, columns: range) -> bool:
    """Say whether cells are blank or whole numbers without a sign or a superfluous zero."""
    last, codes, is_end = columns[-1], marks.codes, marks.is_end
    first = marks.ends[:, columns[0] - 1] + 1 if columns[0] else marks.starts
    together = marks.ends[:, last] - first
    # Numbers stand side by side, so all those of a row are looked at as one.
    if not are_digits(as_digits(marks), marks.ends[:, last], together):
        return False
    could_be_long = int(together.max()) - (len(columns) - 1) > MAX_DIGITS
    if could_be_long and any(marks.lengths(place).max() > MAX_DIGITS for place in columns):
        return False
    starts_with_zero = is_end[:-2] & (codes[1:-1] == ZERO) & ~is_end[2:]
    if not starts_with_zero.any() and columns[0]:
        return True
    for place in columns:
        lengths = marks.lengths(place)
        if ((codes[marks.ends[:, place] - lengths] == ZERO) & (lengths > 1)).any():
            return False
    return True
