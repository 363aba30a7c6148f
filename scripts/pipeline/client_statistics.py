"""Removes statistics of so few rows that they show a number of an erased client.

The median of three logged requests is a number of one of them. The mean of one row is that row.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.core import artifacts, files
from scripts.core.config import Config
from scripts.records import tables

# Statistics of fewer rows are removed, whosever rows they are.
MIN_ROWS = 10
# Of fewer rows than these, a median that is a number of the client is the client's.
MIN_ROWS_OF_MEDIAN = 1_000
SHOWN = ("mean", "median", "standard_deviation")
REMOVED = dict.fromkeys(SHOWN)
SECTIONS = ("drift", "live")

Numbers = frozenset[tuple[str, float]]


def list_numbers(rows: Iterable[Mapping[str, Any]]) -> Numbers:
    """Return each number of some rows with its column."""
    return frozenset(
        (column, float(cell))
        for row in rows
        for column, cell in row.items()
        if isinstance(cell, int | float)
    )


def list_logged(
    connection: Connection, logged_hash: str, schemas: Iterable[Sequence[str]]
) -> list[dict[str, Any]]:
    """Return the logged rows of a client by column, for each list of features of their length."""
    logged = tables.predictions.c
    query = sa.select(logged["values"]).where(logged.client == logged_hash)
    rows = [msgspec.json.decode(content) for content in connection.execute(query).scalars()]
    return [
        dict(zip(features, row, strict=True))
        for features in schemas
        for row in rows
        if len(row) == len(features)
    ]


def has_client(column: str, n_rows: int, median: float | None, numbers: Numbers) -> bool:
    """Return whether the statistics of a column may have a number of the client."""
    if n_rows < MIN_ROWS:
        return median is not None
    return n_rows < MIN_ROWS_OF_MEDIAN and median is not None and (column, median) in numbers


def clean_records(connection: Connection, numbers: Numbers) -> int:
    """Remove statistics with a number of a client from the records, and return their number."""
    kept = tables.column_statistics.c
    query = sa.select(kept.id, kept.column, kept.n_rows, kept.median).where(
        kept.median.is_not(None), kept.n_rows < MIN_ROWS_OF_MEDIAN
    )
    found = [
        row.id
        for row in connection.execute(query).all()
        if has_client(row.column, row.n_rows, row.median, numbers)
    ]
    for number in found:
        own = tables.column_statistics.update().where(kept.id == number)
        connection.execute(own.values(REMOVED))
    return len(found)


def clean_section(section: Any, numbers: Numbers) -> Any:
    """Return a section of the diagnostics without statistics that have a number of a client."""
    if not isinstance(section, dict) or not isinstance(section.get("columns"), list):
        return section
    n_rows = section.get("n_rows", 0)
    columns = [
        column | REMOVED
        if has_client(column.get("column"), n_rows, column.get("median"), numbers)
        else column
        for column in section["columns"]
    ]
    return section | {"columns": columns}


def clean_diagnostics(config: Config, numbers: Numbers) -> None:
    """Remove statistics with a number of a client from the last diagnostics."""
    path = config.prod_deployment_path / artifacts.DIAGNOSTICS
    if not path.exists():
        return
    try:
        measured: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Nobody can read a damaged file, and the next run writes the diagnostics anew.
        path.unlink()
        return
    cleaned = measured | {
        name: clean_section(measured[name], numbers) for name in SECTIONS if name in measured
    }
    if cleaned != measured:
        files.write_whole(path, msgspec.json.format(msgspec.json.encode(cleaned)) + b"\n")
