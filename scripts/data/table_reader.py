"""The entry to client tables in CSV, with the same rules for all tables.

Small tables are read by the rules of rows (`csv_reader`). Large files are read by Polars, which
proves the same rules. The content of a request is read by the rules alone: Polars would take a
service 47 MB for 10,000 rows, which the rules read in 0.07 s (benchmarks/README.md).
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from scripts.core import files, packages
from scripts.core.config import Schema
from scripts.data import csv_reader
from scripts.data.cells import BadCellError
from scripts.data.csv_reader import Columns, Row
from scripts.data.read_report import FileReading

# From this size on (some thousand rows), Polars saves more than its import costs.
MANY_BYTES = 2**16


def import_polars() -> ModuleType:
    """Import the readers of large tables, and return the module."""
    with packages.explaining_missing():
        # Polars: a run on small files, and the service, must not pay for the import.
        from scripts.data import polars_ingest  # noqa: PLC0415

    return polars_ingest


def are_large(paths: Sequence[Path]) -> bool:
    """Return whether files are read by Polars."""
    return files.total_bytes(paths) >= MANY_BYTES


def read_file(
    path: Path, folder: Path, schema: Schema, *, as_text: bool = False, needs_label: bool = True
) -> tuple[FileReading, Columns]:
    """Read a file strictly into columns, as `csv_reader.read_file` does."""
    is_large = files.is_regular(path) and are_large([path])
    read = import_polars().read_columns if is_large else csv_reader.read_file
    reading, columns = read(path, folder, schema, as_text=as_text, needs_label=needs_label)
    return reading, columns


def read_content(
    content: bytes, schema: Schema, reading: FileReading, *, needs_label: bool = True
) -> Iterator[tuple[Row, list[BadCellError]]]:
    """Read a table without a file, row by row.

    Parameters
    ----------
    content : bytes
        The table as sent.
    schema : Schema
        The columns.
    reading : FileReading
        The report of reading, which is filled.
    needs_label : bool
        Whether a row without a label is rejected.

    Yields
    ------
    tuple of dict and list of BadCellError
        The parsed cells of a row, and an error for each wrong cell. A row with errors is rejected.

    Raises
    ------
    RefusedFileError
        If the table is refused, perhaps after the first rows.
    """
    lines = csv_reader.iterate_lines(io.BytesIO(content), reading, schema.encoding)
    _, first = next(lines, (0, None))
    layout = csv_reader.read_layout(first, schema, reading, needs_label=needs_label)
    for number, record in csv_reader.iterate_records(lines, layout.separator):
        judged = csv_reader.judge_record(number, record, layout, reading)
        if judged is not None:
            yield judged
