"""Makes of files the rows that a cluster keeps: numbers, texts and the label, with their places."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc

from scripts import bulk, columns, ranges
from scripts.config import Schema
from scripts.findings import FileReading
from scripts.reading import Layout
from scripts.sparkpieces import FILE, REPORT

# Where a row stands in its file.
ROW = "adras row"
BLANKS = pa.scalar(None, pa.float64())


def worker_kinds(schema: Schema) -> pa.Schema:
    """Say how each column is kept on the cluster: a blank number is null there, not NaN."""
    kinds = [
        (kind.name, pa.string() if pa.types.is_large_string(kind.type) else kind.type)
        for kind in columns.arrow_schema(schema)
    ]
    return pa.schema(kinds)


@dataclass(frozen=True)
class Rows(ranges.Rows):
    """Rows of the columns of a schema, as the cluster keeps them."""

    @property
    def kinds(self) -> str:
        """Spell the columns for Spark, with what is beside."""
        names = {pa.string(): "string", pa.float64(): "double", pa.int8(): "tinyint"}
        kinds = {kind.name: names[kind.type] for kind in worker_kinds(self.schema)}
        kinds |= {FILE: "int", ROW: "bigint", REPORT: "string"}
        return ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, kind in kinds.items())

    def read_whole(self, handle: BinaryIO, found: FileReading) -> Iterator[pa.Table]:
        """Read a file as `bulk.read_file` does, a block at a time."""
        kinds = worker_kinds(self.schema)
        for part in bulk.read_parts(handle, self.schema, found, needs_label=self.needs_label):
            yield cast(pa.Table, part).cast(kinds)

    def read_block(
        self, content: bytes, number: int, layout: Layout, found: FileReading
    ) -> pa.Table:
        """Read whole lines by the rules of rows."""
        return super().read_block(content, number, layout, found).cast(worker_kinds(self.schema))

    def place(self, table: pa.Table, number: int, n_before: int) -> Iterator[pa.RecordBatch]:
        """Give rows as the cluster keeps them, with the file and the place in it."""
        arrays = {name: table[name] for name in table.column_names}
        for name, values in arrays.items():
            if pa.types.is_float64(values.type):
                arrays[name] = pc.if_else(pc.is_nan(values), BLANKS, values)
        n_rows = table.num_rows
        arrays[FILE] = pa.array([number] * n_rows, pa.int32())
        arrays[ROW] = pa.array(range(n_before, n_before + n_rows), pa.int64())
        arrays[REPORT] = pa.nulls(n_rows, pa.string())
        yield from pa.table(arrays).to_batches()

    def report(self, spelled: str, number: int) -> pa.RecordBatch:
        """Spell what a task tells as a row of its own."""
        kinds = worker_kinds(self.schema)
        arrays = {kind.name: pa.nulls(1, kind.type) for kind in kinds}
        arrays[FILE] = pa.array([number], pa.int32())
        arrays[ROW] = pa.array([-1], pa.int64())
        arrays[REPORT] = pa.array([spelled], pa.string())
        return pa.RecordBatch.from_pydict(arrays)
