"""Reads a large file in ranges, each by itself, where lines alone tell its records apart.

A range is read as if a record began at its first line. That holds for the first one, and for each
further one if no line before it leaves a quote open; where any does, or a line is not UTF-8 or too
long, the file is read in one go, by whoever puts the ranges together.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import msgspec
import pyarrow as pa
from msgspec import Struct

from scripts.core import files
from scripts.core.config import Schema
from scripts.data import csv_arrow, csv_blocks, csv_reader
from scripts.data.csv_blocks import UnprovenError
from scripts.data.csv_reader import MAX_LINE_BYTES, ColumnLayout, RefusedFileError
from scripts.data.read_report import FileReading, RejectedRow


class Range(Struct, frozen=True):
    """Some bytes of a file; the lines that begin in them belong to it."""

    place: int
    start: int
    stop: int


class Told(Struct, frozen=True, kw_only=True):
    """What a range held: its lines, its rows, and what is not used, by lines counted from 0.

    `state` tells whether all ranges were those of one file, `n_bytes` how many bytes the first line
    of the file and those of the range have. Not proven, nothing of it counts.
    """

    place: int
    state: tuple[int, int] = (0, 0)
    separator: str
    encoding: str
    header: list[str]
    n_bytes: tuple[int, int]
    n_lines: int
    n_rows: int
    rejected: list[RejectedRow]
    is_proven: bool


class Form(Protocol):
    """What is made of the lines of a file."""

    @property
    def schema(self) -> Schema:
        """The columns."""

    def read_layout(self, first: str | None, found: FileReading) -> ColumnLayout:
        """Learn from the first line how the others are to be read, if ranges will do."""

    def read_block(
        self, content: bytes, number: int, layout: ColumnLayout, found: FileReading
    ) -> pa.Table:
        """Read whole lines, of which `number` is the first, if they prove to hold whole records."""


@dataclass(frozen=True)
class Rows:
    """Rows of the columns of a schema."""

    schema: Schema
    needs_label: bool

    def read_layout(self, first: str | None, found: FileReading) -> ColumnLayout:
        """Learn how the lines after the first are to be read."""
        layout = csv_reader.read_layout(first, self.schema, found, needs_label=self.needs_label)
        if not csv_arrow.can_prove(layout):
            raise UnprovenError
        return layout

    def read_block(
        self, content: bytes, number: int, layout: ColumnLayout, found: FileReading
    ) -> pa.Table:
        """Read whole lines by the rules of rows."""
        return csv_blocks.read_block(content, number, layout, found)


# Whole lines, and how they are to be read.
Blocks = Iterator[tuple[bytes, ColumnLayout]]


class Limited:
    """The bytes of a file from where it stands up to some place."""

    def __init__(self, handle: BinaryIO, n_bytes: int) -> None:
        self.handle, self.left = handle, n_bytes

    def read(self, n_bytes: int) -> bytes:
        """Read at most so many bytes."""
        content = self.handle.read(min(n_bytes, self.left))
        self.left -= len(content)
        return content


def cut(n_bytes: int, range_bytes: int) -> list[Range]:
    """Cut a file into ranges of about equal size."""
    n_ranges = max(1, -(-n_bytes // range_bytes))
    places = [n_bytes * place // n_ranges for place in range(n_ranges + 1)]
    return [Range(place, *places[place : place + 2]) for place in range(n_ranges)]


def find_line(handle: BinaryIO, place: int, first: int) -> int:
    """Find the first line that begins at a place or after it, and not before `first`.

    Raises
    ------
    UnprovenError
        If the line before it is too long.
    """
    if place <= first:
        return first
    handle.seek(place - 1)
    line = handle.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES:
        raise UnprovenError
    return handle.tell()


def read_header(handle: BinaryIO, form: Form, found: FileReading) -> ColumnLayout:
    """Learn how the lines of a file are to be read, which each range does for itself."""
    first = csv_reader.read_line(handle, 1, found, hashlib.sha256(), form.schema.encoding)
    return form.read_layout(first, found)


def iterate_blocks(handle: BinaryIO, part: Range, first: int) -> Iterator[bytes]:
    """Yield the lines that begin within a range, about a megabyte at a time."""
    start, stop = find_line(handle, part.start, first), find_line(handle, part.stop, first)
    handle.seek(start)
    yield from csv_blocks.iterate_blocks(cast(BinaryIO, Limited(handle, stop - start)))


def read_blocks(
    place: int, path: Path, form: Form, open_blocks: Callable[[FileReading], Blocks]
) -> Iterator[pa.Table | Told]:
    """Read the blocks of a range, wherever they come from.

    Parameters
    ----------
    place : int
        Tells which range of the file it is.
    path : Path
        The file.
    form : Form
        What is made of its lines.
    open_blocks : callable
        Takes the account of the file; gives whole lines, and how they are to be read.

    Yields
    ------
    pyarrow.Table or Told
        What the form makes, a block at a time; then what the range held.
    """
    found, own = (csv_reader.new_reading(path, form.schema) for _ in range(2))
    n_bytes, n_lines, is_proven = 0, 0, True
    try:
        for block, layout in open_blocks(found):
            yield form.read_block(block, n_lines, layout, own)
            n_bytes += len(block)
            n_lines += block.count(b"\n")
    except (RefusedFileError, UnprovenError):
        is_proven = False
    yield Told(
        place=place, separator=found.separator, encoding=found.encoding, header=found.header,
        n_bytes=(found.n_bytes, n_bytes), n_lines=n_lines, n_rows=own.n_rows,
        rejected=own.rejected, is_proven=is_proven,
    )  # fmt: skip


def read_range(path: Path, part: Range, form: Form) -> Iterator[pa.Table | Told]:
    """Read a range of a file of this machine, as `read_blocks` does."""
    state = files.file_state(path)[:2]

    def open_blocks(found: FileReading) -> Blocks:
        with csv_reader.open_file(path, path.parent) as handle:
            layout = read_header(handle, form, found)
            for block in iterate_blocks(handle, part, found.n_bytes):
                yield block, layout

    for made in read_blocks(part.place, path, form, open_blocks):
        if isinstance(made, Told):
            is_same = state == files.file_state(path)[:2]
            proven = made.is_proven and is_same
            yield msgspec.structs.replace(made, state=state, is_proven=proven)
        else:
            yield made


def move_down(rows: Sequence[RejectedRow], n_lines: int) -> list[RejectedRow]:
    """Count the lines of a range from the first of the file."""
    return [replace(row, line=row.line + n_lines) for row in rows]


def put_together(
    found: Sequence[Told], sha256: str, path: Path, schema: Schema
) -> FileReading | None:
    """Make the account of a file out of those of its ranges; None if it is to be read in one go."""
    ordered = sorted(found, key=lambda told: told.place)
    if not all(told.is_proven for told in ordered) or len({told.state for told in ordered}) != 1:
        return None
    made, n_lines = csv_reader.new_reading(path, schema), 2
    for told in ordered:
        made.rejected += move_down(told.rejected, n_lines)
        made.n_rows += told.n_rows
        n_lines += told.n_lines
    made.sha256 = sha256
    made.n_bytes = ordered[0].n_bytes[0] + sum(told.n_bytes[1] for told in ordered)
    made.separator, made.encoding = ordered[0].separator, ordered[0].encoding
    made.header = ordered[0].header
    return made
