"""Chooses between pandas and Spark, and between memory and chunks, by the config and file sizes."""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from scripts.core.config import Config, EngineSettings
from scripts.core.errors import ConfigError

BLOCK_BYTES = 2**20
# Above this number of rows a dataset is processed in chunks, never as one table.
MANY_ROWS = 250_000
GIGABYTE = 10**9
# Memory of the imported libraries, and of a table with its copies per byte of its files.
LIBRARY_BYTES = 250_000_000
TABLE_BYTES = 6
# A quarter of the memory beside the libraries is for structures that grow with the rows.
ROWS_SHARE_DIVISOR = 4
LEAST_BYTES = 8_000_000


def is_cluster(config: Config) -> bool:
    """Return whether the engine is Spark, after a check that PySpark is installed."""
    if config.engine.name != "spark":
        return False
    if importlib.util.find_spec("pyspark") is None:
        raise ConfigError(
            "engine: Spark needs PySpark, which is not installed; python -m pip install"
            " --require-hashes -r requirements-spark.lock, and Java 17."
        )
    return True


def bound_bytes(n_bytes: int, engine: EngineSettings) -> int | None:
    """Return the memory limit for structures that grow with the rows, if the table does not fit.

    Parameters
    ----------
    n_bytes : int
        Size of the files of the table.
    engine : EngineSettings
        Settings with an optional memory limit.

    Returns
    -------
    int or None
        Bytes; None if the whole table fits into memory.
    """
    if engine.memory_limit_gb is None:
        return None
    limit = int(engine.memory_limit_gb * GIGABYTE)
    if LIBRARY_BYTES + TABLE_BYTES * n_bytes <= limit:
        return None
    return max(LEAST_BYTES, (limit - LIBRARY_BYTES) // ROWS_SHARE_DIVISOR)


class ExecutionMode(Enum):
    """How a dataset is processed: as one table, or in chunks in memory or in a file."""

    TABLE = auto()
    PARTS = auto()  # in memory, as arrays of numbers
    PARTS_IN_FILE = auto()


def count_lines(path: Path) -> int:
    """Count the line ends in a file."""
    with path.open("rb") as handle:
        return sum(part.count(b"\n") for part in iter(lambda: handle.read(BLOCK_BYTES), b""))


def has_many_rows(path: Path) -> bool:
    """Return whether a table exceeds MANY_ROWS, by an estimate or, near the limit, a count."""
    with path.open("rb") as handle:
        first = handle.read(BLOCK_BYTES)
    estimate = path.stat().st_size * first.count(b"\n") / max(1, len(first))
    if not MANY_ROWS / 2 < estimate < MANY_ROWS * 2:
        return estimate > MANY_ROWS
    return count_lines(path) > MANY_ROWS


def choose_mode(path: Path, engine: EngineSettings) -> ExecutionMode:
    """Return the processing mode of a dataset by the size of its file."""
    if bound_bytes(path.stat().st_size, engine) is not None:
        return ExecutionMode.PARTS_IN_FILE
    return ExecutionMode.PARTS if has_many_rows(path) else ExecutionMode.TABLE


@contextlib.contextmanager
def open_spill_file(mode: ExecutionMode, folder: Path) -> Iterator[BinaryIO | None]:
    """Open an unnamed temporary file for rows beyond the memory limit, or yield None."""
    if mode is not ExecutionMode.PARTS_IN_FILE:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield file
