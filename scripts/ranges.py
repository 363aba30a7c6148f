"""Reads a large file in ranges, each by itself, where lines alone tell its records apart.

A range is read as if a record began at its first line. That holds for the first one, and for each
further one if no line before it leaves a quote open; where any does, or a line is not UTF-8 or too
long, the file is read in one go, by whoever puts the ranges together.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
from msgspec import Struct

from scripts import artifacts, bulk, columns, reading
from scripts.bulk import UnprovenError
from scripts.config import Schema
from scripts.findings import FileReading, RejectedRow
from scripts.reading import MAX_LINE_BYTES, Layout, RefusedFileError


class Range(Struct, frozen=True):
    """Some bytes of a file; the lines that begin in them belong to it."""

    place: int
    start: int
    stop: int


class Told(Struct, frozen=True, kw_only=True):
    """What a range held: its lines, its rows, and what is not used, by lines counted from 0.

    `state` tells whether all ranges were those of one file. Not proven, nothing of it counts.
    """

    place: int
    state: tuple[int, int]
    separator: str
    encoding: str
    n_lines: int
    n_rows: int
    rejected: list[RejectedRow]
    is_proven: bool


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


def read_header(handle: BinaryIO, schema: Schema, found: FileReading, needs_label: bool) -> Layout:
    """Learn how the lines of a file are to be read, which each range does for itself."""
    first = reading.read_line(handle, 1, found, hashlib.sha256(), schema.encoding)
    layout = reading.read_layout(first, schema, found, needs_label=needs_label)
    if not columns.can_prove(layout):
        raise UnprovenError
    return layout


def iterate_blocks(handle: BinaryIO, part: Range, first: int) -> Iterator[bytes]:
    """Yield the lines that begin within a range, about a megabyte at a time."""
    start, stop = find_line(handle, part.start, first), find_line(handle, part.stop, first)
    handle.seek(start)
    yield from bulk.iterate_blocks(cast(BinaryIO, Limited(handle, stop - start)))


def read_range(
    path: Path, part: Range, schema: Schema, *, needs_label: bool
) -> Iterator[pa.Table | Told]:
    """Read a range of a file.

    Parameters
    ----------
    path : Path
        The file.
    part : Range
        Which bytes.
    schema : Schema
        The columns.
    needs_label : bool
        Whether a row without a label is rejected.

    Yields
    ------
    pyarrow.Table or Told
        The rows that can be right, a block at a time; then what the range held.
    """
    found, own = reading.new_reading(path, schema), reading.new_reading(path, schema)
    state, n_lines, is_proven = artifacts.file_state(path)[:2], 0, True
    try:
        reading.check_is_file(path, path.parent)
        with path.open("rb") as handle:
            layout = read_header(handle, schema, found, needs_label)
            for block in iterate_blocks(handle, part, found.n_bytes):
                yield bulk.read_block(block, n_lines, layout, own)
                n_lines += block.count(b"\n")
    except (RefusedFileError, UnprovenError):
        is_proven = False
    yield Told(
        place=part.place, state=state, separator=found.separator, encoding=found.encoding,
        n_lines=n_lines, n_rows=own.n_rows, rejected=own.rejected,
        is_proven=is_proven and state == artifacts.file_state(path)[:2],
    )  # fmt: skip


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
    made, n_lines = reading.new_reading(path, schema), 2
    for told in ordered:
        made.rejected += move_down(told.rejected, n_lines)
        made.n_rows += told.n_rows
        n_lines += told.n_lines
    made.sha256, made.n_bytes = sha256, ordered[0].state[0]
    made.separator, made.encoding = ordered[0].separator, ordered[0].encoding
    return made
