"""Which engine works on the tables, and whether it is there.

Whether tables fit into the memory that they may take, judged by the size of their files.
"""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from scripts.core.config import Config, EngineSettings
from scripts.core.errors import ConfigError


def is_cluster(config: Config) -> bool:
    """Say whether a Spark cluster works on the tables; refuse if PySpark is not installed."""
    if config.engine.name != "spark":
        return False
    if importlib.util.find_spec("pyspark") is None:
        raise ConfigError(
            "engine: Spark needs PySpark, which is not installed; python -m pip install"
            " --require-hashes -r requirements-spark.lock, and Java 17."
        )
    return True


BLOCK_BYTES = 2**20
# Beyond so many rows they are gone over in parts: no table is made of them.
MANY_ROWS = 250_000
GIGABYTE = 10**9
# What the libraries take, and what a table and its copies take of each byte of its files.
LIBRARY_BYTES = 250_000_000
TABLE_BYTES = 6
# Of what is left beside the libraries, this share goes to what grows with the rows.
ROWS_SHARE_DIVISOR = 4
LEAST_BYTES = 8_000_000


def bound_bytes(n_bytes: int, engine: EngineSettings) -> int | None:
    """Say how much memory to use about where tables do not fit.

    Parameters
    ----------
    n_bytes : int
        The size of the files that hold the table.
    engine : EngineSettings
        The limit, if there is one.

    Returns
    -------
    int or None
        Bytes for what grows with the rows; None where the whole table fits.
    """
    if engine.memory_limit_gb is None:
        return None
    limit = int(engine.memory_limit_gb * GIGABYTE)
    if LIBRARY_BYTES + TABLE_BYTES * n_bytes <= limit:
        return None
    return max(LEAST_BYTES, (limit - LIBRARY_BYTES) // ROWS_SHARE_DIVISOR)


class ExecutionMode(Enum):
    """How the rows of a dataset are worked on."""

    TABLE = auto()
    PARTS = auto()  # in memory, as plain numbers
    PARTS_IN_FILE = auto()


def count_lines(path: Path) -> int:
    """Count the line ends of a file."""
    with path.open("rb") as handle:
        return sum(part.count(b"\n") for part in iter(lambda: handle.read(BLOCK_BYTES), b""))


def has_many_rows(path: Path) -> bool:
    """Say whether a table has very many rows; they are counted where its size leaves it open."""
    with path.open("rb") as handle:
        first = handle.read(BLOCK_BYTES)
    estimate = path.stat().st_size * first.count(b"\n") / max(1, len(first))
    if not MANY_ROWS / 2 < estimate < MANY_ROWS * 2:
        return estimate > MANY_ROWS
    return count_lines(path) > MANY_ROWS


def choose_mode(path: Path, engine: EngineSettings) -> ExecutionMode:
    """Choose how to work on the rows of a dataset, by its size before it is read."""
    if bound_bytes(path.stat().st_size, engine) is not None:
        return ExecutionMode.PARTS_IN_FILE
    return ExecutionMode.PARTS if has_many_rows(path) else ExecutionMode.TABLE


@contextlib.contextmanager
def open_spill_file(way: ExecutionMode, folder: Path) -> Iterator[BinaryIO | None]:
    """Open a nameless file in a folder for rows that do not fit into memory; None for others."""
    if way is not ExecutionMode.PARTS_IN_FILE:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield file
