"""Tells rows that are spelled as a dataset spells them, by the bytes of a block alone.

Such rows are right, and can be copied as they are, or parsed without a further look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scripts import fields
from scripts.config import NumberMarks, Schema
from scripts.duplicates import Words
from scripts.fields import WORD_BYTES, ZERO, Marks
from scripts.lines import QUOTE
from scripts.reading import COMMA, MAX_LINE_BYTES, Layout

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
                else fields.take_texts(self.marks, places[name])
                for name in names
            }
        )


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
        marks = fields.find_marks(np.frombuffer(content, np.uint8), len(self.layout.header))
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
    if not fields.are_digits(marks.digits, marks.ends[:, last], together):
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
    short = fields.read_short(marks, places) if places else None
    if short is None:
        if not are_plain_numbers(marks, places):
            return None
        return [fields.take_numbers(marks, place) for place in places]
    values, lengths = short
    whole = values.astype(np.int32)
    if not marks.has_empty:
        return list(whole)
    return [
        own if there.all() else np.where(there, own, np.nan)
        for own, there in zip(whole, lengths > 0, strict=True)
    ]
