"""Finds clients with rows in several files, where only dates could order the rows."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from scripts.core.config import Schema
from scripts.data import csv_reader
from scripts.data.cells import name_client
from scripts.data.csv_reader import RefusedFileError

# Extracts of the same system list the same clients first, so that a few rows tell.
N_FILES, N_ROWS = 5, 2000

Row = tuple[Any, ...]


def read_first_rows(path: Path, schema: Schema, n_rows: int) -> dict[str, Row]:
    """Return the features of the first rows of a file by client, none of a refused file."""
    reading = csv_reader.new_reading(path, schema)
    try:
        with csv_reader.open_file(path, path.parent) as handle:
            lines = islice(csv_reader.iterate_lines(handle, reading, schema.encoding), n_rows + 1)
            columns = csv_reader.read_rows(lines, schema, reading, needs_label=False)
    except RefusedFileError:
        return {}
    names = map(name_client, zip(*(columns[name] for name in schema.ids), strict=True))
    # As text, so that one missing value equals another.
    cells = zip(*(map(str, columns[name]) for name in schema.features), strict=True)
    return dict(zip(names, cells, strict=True))


def count_returning(
    paths: Sequence[Path], schema: Schema, n_files: int = N_FILES, n_rows: int = N_ROWS
) -> tuple[int, int]:
    """Count clients who stand in several files with different values.

    Parameters
    ----------
    paths : sequence of Path
        CSV files in name order.
    schema : Schema
        Their columns, with identifiers.
    n_files, n_rows : int
        How many of the last files, and how many of the first rows of each, are compared.

    Returns
    -------
    tuple of int and int
        The number of such clients, and of all clients compared.
    """
    returning, known = set[str](), dict[str, Row]()
    for path in paths[-n_files:]:
        rows = read_first_rows(path, schema, n_rows)
        returning |= {name for name, row in rows.items() if known.get(name, row) != row}
        known |= rows
    return len(returning), len(known)
