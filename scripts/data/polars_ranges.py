"""Reads a range of a large CSV file by itself, where lines alone tell the records apart.

A range is read as if a record began at its first line. That holds for the first range, and for the
others if no line before them leaves a quote open. Where a line does, or is not UTF-8 or too long,
the range is unproven, and the file has to be read from its start.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from scripts.core import erased_clients, files
from scripts.core.config import Schema
from scripts.core.erased_clients import ErasedClients
from scripts.data import csv_reader, dated_files, polars_dated, polars_proofs, polars_reader
from scripts.data.csv_reader import MAX_LINE_BYTES, RefusedFileError
from scripts.data.polars_lines import Block, UnprovenError
from scripts.data.polars_reader import BlockReader
from scripts.data.read_report import FileReading


class Range(Struct, frozen=True, order=True):
    """A range of the bytes of a file, with the lines beginning there."""

    start: int
    stop: int


class Report(Struct, frozen=True, kw_only=True):
    """The report of a file, or of a range with lines counted from 0.

    `state` is size and time of change of a file before it was read, `n_header_bytes` the length of
    its first line. Of an unproven range nothing counts.
    """

    reading: FileReading
    part: Range | None = None
    state: tuple[int, int] = (0, 0)
    n_header_bytes: int = 0
    n_lines: int = 0
    is_proven: bool = True


class RowForm(Struct, frozen=True):
    """The form of read rows: columns of a schema, or all cells of a file as text.

    With `has_outcomes` files of dated rows may lack the target. `erased` are the clients whose rows
    are refused: a task on a cluster does not know them otherwise.
    """

    schema: Schema
    needs_label: bool = False
    as_text: bool = False
    has_outcomes: bool = False
    erased: ErasedClients | None = field(default_factory=erased_clients.REFUSED.get)

    @property
    def is_dated(self) -> bool:
        """Whether rows get the day and the target missing in the file."""
        return bool(self.schema.date) and not self.as_text

    def read_header(
        self, handle: BinaryIO, reading: FileReading, sha: "hashlib._Hash"
    ) -> BlockReader:
        """Read the first line of a file, and return the reader of the remaining lines."""
        schema = self.schema
        if self.is_dated:
            dated_files.find_day(reading.path, schema)
            names = csv_reader.read_names(handle, schema)
            schema = dated_files.choose_schema(names, schema, has_outcomes=self.has_outcomes)
            handle.seek(0)
        first = csv_reader.read_line(handle, 1, reading, sha, schema.encoding)
        layout = csv_reader.read_layout(
            first, schema, reading, as_text=self.as_text, needs_label=self.needs_label
        )
        erased = None if self.as_text else self.erased
        layout = replace(layout, erased=erased)
        if self.as_text:
            layout = polars_reader.text_layout(layout)
        # A line of separators that are tabs is empty, which only the parsing of text tells.
        return BlockReader(layout, reading, is_typed=not self.as_text)

    def complete(self, rows: pl.DataFrame, path: Path) -> pl.DataFrame:
        """Return the rows of a file, with the day and the target missing in a dated file."""
        if not self.is_dated:
            return rows
        day = dated_files.find_day(path, self.schema)
        whole = polars_dated.complete(rows, self.schema, day)
        return whole.cast(polars_dated.column_kinds(self.schema))


# Whole lines in blocks, with the reader of the blocks.
Blocks = Iterator[tuple[bytes, BlockReader]]
# Parts of the rows, then the report.
Results = Iterator[pl.DataFrame | Report]


class LimitedFile:
    """The next bytes of a file up to a number."""

    def __init__(self, handle: BinaryIO, n_bytes: int) -> None:
        self.handle, self.n_left = handle, n_bytes

    def read(self, n_bytes: int, /) -> bytes:
        """Read at most `n_bytes` bytes."""
        content = self.handle.read(min(n_bytes, self.n_left))
        self.n_left -= len(content)
        return content


def cut(n_bytes: int, n_bytes_each: int) -> list[Range]:
    """Cut a file into ranges of about equal size."""
    n_ranges = max(1, -(-n_bytes // n_bytes_each))
    places = [n_bytes * place // n_ranges for place in range(n_ranges + 1)]
    return [Range(*places[place : place + 2]) for place in range(n_ranges)]


def find_line(handle: BinaryIO, place: int, first: int) -> int:
    """Return the start of the first line from a place on, at least `first`.

    Raises
    ------
    UnprovenError
        If the line before is too long.
    """
    if place <= first:
        return first
    handle.seek(place - 1)
    if len(handle.readline(MAX_LINE_BYTES + 1)) > MAX_LINE_BYTES:
        raise UnprovenError
    return handle.tell()


def open_range(path: Path, part: Range, form: RowForm, reading: FileReading) -> Blocks:
    """Yield the lines of a range of a file in blocks."""
    with csv_reader.open_file(path, path.parent) as handle:
        reader = form.read_header(handle, reading, hashlib.sha256())
        start, stop = (find_line(handle, n, reading.n_bytes) for n in (part.start, part.stop))
        handle.seek(start)
        for block in polars_reader.iterate_blocks(LimitedFile(handle, stop - start)):
            yield block, reader


def read_lines(
    path: Path, part: Range, form: RowForm, open_blocks: Callable[[FileReading], Blocks]
) -> Results:
    """Read the lines of a range from any source.

    Parameters
    ----------
    path : Path
        The file.
    part : Range
        The range.
    form : RowForm
        The form of the rows.
    open_blocks : callable
        A function of the report: it reads the header of the file, and yields the lines.

    Yields
    ------
    polars.DataFrame or Report
        The rows, then the report.
    """
    reading, n_bytes, n_lines = csv_reader.new_reading(path, form.schema), 0, 0
    is_proven = True
    try:
        for block, reader in open_blocks(reading):
            if not polars_proofs.can_prove(reader.layout):
                raise UnprovenError
            lines = Block(block)
            yield reader.read(lines, n_lines)
            n_bytes += len(block)
            n_lines += lines.n_ends
    except (RefusedFileError, UnprovenError):
        is_proven = False
    n_header_bytes, reading.n_bytes = reading.n_bytes, n_bytes
    yield Report(
        reading=reading, part=part, n_header_bytes=n_header_bytes, n_lines=n_lines,
        is_proven=is_proven,
    )  # fmt: skip


def read_range(path: Path, part: Range, form: RowForm) -> Results:
    """Read the lines beginning in a range of a file: the rows, then the report.

    The report of the first range has the hash of the whole file.
    """
    state = files.file_state(path)[:2]
    for result in read_lines(path, part, form, lambda found: open_range(path, part, form, found)):
        if isinstance(result, Report):
            if not part.start and result.is_proven:
                result.reading.sha256 = files.digest_lines(path.resolve())
            yield msgspec.structs.replace(result, state=state)
        else:
            yield result


def read_whole(path: Path, form: RowForm, content: BinaryIO | None = None) -> Results:
    """Read a file, or content in place of a file, from the start.

    Yields
    ------
    polars.DataFrame or Report
        The rows, then the report. Rows of a file that turns out to be refused do not count.
    """
    reading, sha = csv_reader.new_reading(path, form.schema), hashlib.sha256()
    try:
        opened = csv_reader.open_file(path, path.parent) if content is None else content
        with opened as handle:
            reader = form.read_header(handle, reading, sha)
            yield from polars_reader.read_after_header(handle, reader, sha)
    except RefusedFileError as error:
        csv_reader.refuse(reading, error)
    yield Report(reading=reading)


def merge_reports(
    reports: Sequence[Report], path: Path, state: tuple[int, int]
) -> FileReading | None:
    """Return the report of a file from the reports of the ranges, or from that of the whole file.

    Parameters
    ----------
    reports : sequence of Report
        Of all ranges, in any order, or of the file alone.
    path : Path
        The file.
    state : tuple of int and int
        Size and time of change after the reading.

    Returns
    -------
    FileReading or None
        None if a range is unproven, or the file has changed.
    """
    if reports[0].part is None:
        return reports[0].reading
    if not all(report.is_proven and report.state == state for report in reports):
        return None
    ordered = sorted(reports, key=lambda report: report.part or Range(0, 0))
    merged = replace(ordered[0].reading, path=path, n_rows=0, rejected=[])
    merged.n_bytes = ordered[0].n_header_bytes + sum(part.reading.n_bytes for part in ordered)
    n_lines = 2
    for report in ordered:
        rejected = report.reading.rejected
        merged.rejected += [replace(row, line=row.line + n_lines) for row in rejected]
        merged.n_rows += report.reading.n_rows
        n_lines += report.n_lines
    return merged
