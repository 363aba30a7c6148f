"""Row formats of a cluster: typed columns with positions, and cells as text for inference."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from scripts.core.config import Schema
from scripts.data import csv_arrow, csv_blocks, csv_reader
from scripts.data.csv_blocks import UnprovenError
from scripts.data.csv_reader import MAX_LINE_BYTES, OPEN_RECORDS, ColumnLayout
from scripts.data.read_report import FileReading
from scripts.spark import file_ranges
from scripts.spark.read_tasks import FILE, REPORT

# The position of a row in its file.
ROW = "adras row"
MISSING = pa.scalar(None, pa.float64())


def worker_kinds(schema: Schema) -> pa.Schema:
    """Return the Arrow types of the columns on the cluster, with null for a missing number."""
    kinds = [
        (kind.name, pa.string() if pa.types.is_large_string(kind.type) else kind.type)
        for kind in csv_arrow.arrow_schema(schema)
    ]
    return pa.schema(kinds)


@dataclass(frozen=True)
class FileRows(file_ranges.Rows):
    """Rows of a file in the typed columns of a schema."""

    @property
    def kinds(self) -> str:
        """The Spark types of the columns, with file, row and report."""
        names = {pa.string(): "string", pa.float64(): "double", pa.int8(): "tinyint"}
        kinds = {kind.name: names[kind.type] for kind in worker_kinds(self.schema)}
        kinds |= {FILE: "int", ROW: "bigint", REPORT: "string"}
        return ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, kind in kinds.items())

    def read_whole(self, handle: BinaryIO, found: FileReading) -> Iterator[pa.Table]:
        """Read a file block by block."""
        kinds = worker_kinds(self.schema)
        for part in csv_blocks.read_parts(handle, self.schema, found, needs_label=self.needs_label):
            yield cast(pa.Table, part).cast(kinds)

    def read_block(
        self, content: bytes, number: int, layout: ColumnLayout, found: FileReading
    ) -> pa.Table:
        """Read a block of whole lines strictly."""
        return super().read_block(content, number, layout, found).cast(worker_kinds(self.schema))

    def place(self, table: pa.Table, number: int, n_before: int) -> Iterator[pa.RecordBatch]:
        """Convert rows to Arrow batches with the number of the file and the positions of rows."""
        arrays = {name: table[name] for name in table.column_names}
        for name, values in arrays.items():
            if pa.types.is_float64(values.type):
                arrays[name] = pc.if_else(pc.is_nan(values), MISSING, values)
        n_rows = table.num_rows
        arrays[FILE] = pa.array([number] * n_rows, pa.int32())
        arrays[ROW] = pa.array(range(n_before, n_before + n_rows), pa.int64())
        arrays[REPORT] = pa.nulls(n_rows, pa.string())
        yield from pa.table(arrays).to_batches()

    def report(self, spelled: str, number: int) -> pa.RecordBatch:
        """Return the encoded report of a task as a row of nulls."""
        kinds = worker_kinds(self.schema)
        arrays = {kind.name: pa.nulls(1, kind.type) for kind in kinds}
        arrays[FILE] = pa.array([number], pa.int32())
        arrays[ROW] = pa.array([-1], pa.int64())
        arrays[REPORT] = pa.array([spelled], pa.string())
        return pa.RecordBatch.from_pydict(arrays)


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

    def read_layout(self, first: str | None, found: FileReading) -> ColumnLayout:
        """Learn how the lines after the first are to be read."""
        return csv_reader.read_layout(first, self.schema, found, as_text=True)

    def read_whole(self, handle: BinaryIO, found: FileReading) -> Iterator[pa.Table]:
        """Read a file from its start, some rows at a time."""
        lines = csv_reader.iterate_lines(handle, found, self.schema.encoding)
        _, first = next(lines, (0, None))
        layout = self.read_layout(first, found)
        records = csv_reader.iterate_records(lines, layout.separator)
        rows = (csv_reader.read_record(number, one, layout, found) for number, one in records)
        usable = (row for row in rows if row is not None)
        while chunk := list(islice(usable, CHUNK_ROWS)):
            yield spell(chunk)

    def read_block(
        self, content: bytes, number: int, layout: ColumnLayout, found: FileReading
    ) -> pa.Table:
        """Read whole lines by the rules of rows."""
        lines = enumerate(split_lines(content, layout.separator), number)
        rows = [csv_reader.read_record(place, line, layout, found) for place, line in lines]
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
