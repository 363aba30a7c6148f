"""Makes of files rows of text, each a list of cells, to find out what their columns are."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from scripts import reading
from scripts.bulk import UnprovenError
from scripts.config import Schema
from scripts.findings import FileReading
from scripts.reading import MAX_LINE_BYTES, OPEN_RECORDS, Layout
from scripts.sparkpieces import FILE, REPORT

CELLS = "cells"
CHUNK_ROWS = 10_000


def spell(rows: list[dict[str, Any]]) -> pa.Table:
    """Spell rows as JSON."""
    spelled = [msgspec.json.encode(list(row.values())).decode() for row in rows]
    return pa.table({CELLS: pa.array(spelled, pa.string())})


def split_lines(content: bytes, separator: str) -> list[str]:
    """Split a block into lines of text, without their ends.

    Raises
    ------
    UnprovenError
        If a line is not UTF-8, is too long, or may not end its record.
    """
    lines = content.removesuffix(b"\n").split(b"\n")
    try:
        texts = [line.decode().removesuffix("\r") for line in lines]
    except UnicodeDecodeError as error:
        raise UnprovenError from error
    is_open = OPEN_RECORDS[separator].fullmatch
    if max(map(len, lines)) >= MAX_LINE_BYTES or any('"' in t and is_open(t) for t in texts):
        raise UnprovenError
    return texts


@dataclass(frozen=True)
class Texts:
    """Rows with all columns that a file has, as the texts it holds."""

    schema: Schema

    @property
    def kinds(self) -> str:
        """Spell the columns for Spark."""
        return f"`{CELLS}` string, `{FILE}` int, `{REPORT}` string"

    def read_layout(self, first: str | None, found: FileReading) -> Layout:
        """Learn how the lines after the first are to be read."""
        return reading.read_layout(first, self.schema, found, as_text=True)

    def read_whole(self, handle: BinaryIO, found: FileReading) -> Iterator[pa.Table]:
        """Read a file from its start, some rows at a time."""
        lines = reading.iterate_lines(handle, found, self.schema.encoding)
        _, first = next(lines, (0, None))
        layout = self.read_layout(first, found)
        records = reading.iterate_records(lines, layout.separator)
        rows = (reading.read_record(number, one, layout, found) for number, one in records)
        usable = (row for row in rows if row is not None)
        while chunk := list(islice(usable, CHUNK_ROWS)):
            yield spell(chunk)

    def read_block(
        self, content: bytes, number: int, layout: Layout, found: FileReading
    ) -> pa.Table:
        """Read whole lines by the rules of rows."""
        lines = enumerate(split_lines(content, layout.separator), number)
        rows = [reading.read_record(place, line, layout, found) for place, line in lines]
        return spell([row for row in rows if row is not None])

    def place(self, table: pa.Table, number: int, _n_before: int) -> Iterator[pa.RecordBatch]:
        """Give rows with the number of their file; where they stand in it does not matter."""
        numbers = pa.array([number] * table.num_rows, pa.int32())
        reports = pa.nulls(table.num_rows, pa.string())
        placed = table.append_column(FILE, numbers).append_column(REPORT, reports)
        yield from placed.to_batches()

    def report(self, spelled: str, number: int) -> pa.RecordBatch:
        """Spell what a task tells as a row of its own."""
        kinds = pa.schema([(CELLS, pa.string()), (FILE, pa.int32()), (REPORT, pa.string())])
        return pa.RecordBatch.from_pydict({CELLS: [None], FILE: [number], REPORT: [spelled]}, kinds)
