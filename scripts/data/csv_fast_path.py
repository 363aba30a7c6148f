"""Tells rows that are spelled as a dataset spells them, by the bytes of a block alone.

Such rows are right, and can be copied as they are, or parsed without a further look.

Where the cells of lines of plain ASCII end, and the whole numbers and texts that stand there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scripts.core.config import NumberMarks, Schema
from scripts.data import csv_arrow
from scripts.data.csv_arrow import DELETE, FIRST_PRINTABLE, NEWLINE, QUOTE
from scripts.data.csv_reader import COMMA, MAX_LINE_BYTES, ColumnLayout
from scripts.data.deduplicate import Words

MAX_DIGITS = 15
BLANK = 0x20

Places = NDArray[np.int64]


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


@dataclass(frozen=True)
class Cells:
    """Rows that are proven right: their numbers, and where their texts stand."""

    schema: Schema
    marks: Marks
    numbers: dict[str, NDArray[Any]]

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.marks.ends)

    def words(self, name: str) -> Words:
        """Look at the texts of a column as words, without copying them."""
        marks, place = self.marks, self.schema.columns.index(name)
        lengths = marks.lengths(place)
        return Words(marks.words[WORD_BYTES:], marks.ends[:, place] - lengths, lengths)

    def table(self, names: Sequence[str]) -> pa.Table:
        """Take some columns as they are kept."""
        places = {name: place for place, name in enumerate(self.schema.columns)}
        return pa.table(
            {
                name: self.numbers[name]
                if name in self.numbers
                else take_texts(self.marks, places[name])
                for name in names
            }
        )


@dataclass(frozen=True)
class Judge:
    """What rows of a file must be for their bytes to be those of the dataset."""

    layout: ColumnLayout

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
        if marks is None or not are_plain_numbers(marks, self.numbers):
            return None
        blanks = {n for n in self.numbers if marks.has_empty and (marks.lengths(n) == 0).any()}
        with_blanks = frozenset(self.schema.columns[place] for place in blanks)
        return Rows(content, marks.starts, marks.ends[:, -1], with_blanks)

    def parse(self, content: bytes) -> pa.Table | None:
        """Parse whole lines into columns as they are kept; None unless every row is proven."""
        cells = self.take(content)
        return None if cells is None else cells.table(self.schema.columns)

    def take(self, content: bytes) -> Cells | None:
        """Read the numbers of whole lines; None unless every row is proven."""
        marks = self.look_at(content)
        numbers = None if marks is None else take_numbers(marks, self.numbers)
        if marks is None or numbers is None:
            return None
        schema = self.schema
        found = {
            schema.columns[place]: own for place, own in zip(self.numbers, numbers, strict=True)
        }
        last = marks.codes[marks.ends[:, -1] - 1]
        return Cells(schema, marks, found | {schema.target: (last - ZERO).astype(np.int8)})

    def look_at(self, content: bytes) -> Marks | None:
        """Find where the cells of whole lines end; None unless all but numbers is proven right."""
        if not self.can_judge or not content.endswith(b"\n") or QUOTE in content:
            return None
        marks = find_marks(np.frombuffer(content, np.uint8), len(self.layout.header))
        if marks is None:
            return None
        ends = marks.ends
        texts = [place for place in range(ends.shape[1] - 1) if place not in self.numbers]
        is_right = (
            bool((ends[:, -1] - marks.starts).max() < MAX_LINE_BYTES)
            and bool((ends[:, -1] - ends[:, -2] == len(",0")).all())
            and bool(((marks.codes[ends[:, -1] - 1] & 0xFE) == ZERO).all())
            and not (marks.has_empty and has_empty(marks, range(len(self.schema.ids))))
            and not (BLANK in content and has_blank_ends(marks, texts))
        )
        return marks if is_right else None


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


def are_plain_numbers(marks: Marks, columns: range) -> bool:
    """Say whether cells are blank or whole numbers without a sign or a superfluous zero."""
    if not columns:
        return True
    last, codes, is_end = columns[-1], marks.codes, marks.is_end
    first = marks.ends[:, columns[0] - 1] + 1 if columns[0] else marks.starts
    together = marks.ends[:, last] - first
    # Numbers stand side by side, so all those of a row are looked at as one.
    if not are_digits(marks.digits, marks.ends[:, last], together):
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


def take_numbers(marks: Marks, places: range) -> list[NDArray[Any]] | None:
    """Take columns of numbers, in which a blank is NaN; None unless all are plain."""
    short = read_short(marks, places) if places else None
    if short is None:
        if not are_plain_numbers(marks, places):
            return None
        return [take_field_numbers(marks, place) for place in places]
    values, lengths = short
    whole = values.astype(np.int32)
    if not marks.has_empty:
        return list(whole)
    return [
        own if there.all() else np.where(there, own, np.nan)
        for own, there in zip(whole, lengths > 0, strict=True)
    ]


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


def take_field_numbers(marks: Marks, place: int) -> NDArray[Any]:
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
    return csv_arrow.compact(values, float(values.min()), float(values.max()))


def take_texts(marks: Marks, place: int) -> pa.LargeStringArray:
    """Take a column of text."""
    offsets = np.full(2 * len(marks.ends) + 1, len(marks.codes))
    offsets[1::2] = marks.ends[:, place]
    offsets[:-1:2] = offsets[1::2] - marks.lengths(place)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(marks.codes)]
    # The texts of the column, and what stands between them.
    every = pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)
    return every.filter(pa.array(np.arange(len(every)) % 2 == 0))
