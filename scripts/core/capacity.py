"""Chooses between pandas and Spark, and between a table and a scan, by config and file sizes."""

import importlib.util
from pathlib import Path

from scripts.core.config import Config, EngineSettings
from scripts.core.errors import ConfigError

BLOCK_BYTES = 2**20
# Above this number of rows a dataset is scanned, never read as one table.
MANY_ROWS = 250_000
GIGABYTE = 10**9
# Memory of the imported libraries, and of a table with its copies per byte of its files.
LIBRARY_BYTES = 250_000_000
TABLE_BYTES = 6
# A quarter of the memory beside the libraries is for structures that grow with the rows.
ROWS_SHARE_DIVISOR = 4
LEAST_BYTES = 8_000_000
# Memory of a scan, of a fit per row and column, and the fewest rows that are drawn.
SCAN_BYTES = 100_000_000
FIT_BYTES = 64
LEAST_ROWS = 20_000


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
    """Return the memory limit for structures that grow with the rows, None for a small table.

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


def count_lines(path: Path) -> int:
    """Count the line ends in a file."""
    with path.open("rb") as handle:
        return sum(part.count(b"\n") for part in iter(lambda: handle.read(BLOCK_BYTES), b""))


def estimate_rows(path: Path) -> float:
    """Estimate the number of rows of a table from the first lines of the file."""
    with path.open("rb") as handle:
        first = handle.read(BLOCK_BYTES)
    return path.stat().st_size * first.count(b"\n") / max(1, len(first))


def has_many_rows(path: Path) -> bool:
    """Return whether a table exceeds MANY_ROWS, by an estimate or, near the limit, a count."""
    estimate = estimate_rows(path)
    if not MANY_ROWS / 2 < estimate < MANY_ROWS * 2:
        return estimate > MANY_ROWS
    return count_lines(path) > MANY_ROWS


def limit_rows(max_rows: int | None, width: int, engine: EngineSettings) -> int | None:
    """Return the number of rows to draw from a dataset, fewer if memory is limited.

    Parameters
    ----------
    max_rows : int or None
        `training.max_rows`; None for all.
    width : int
        The number of columns of the fit.
    engine : EngineSettings
        Settings with an optional memory limit.

    Returns
    -------
    int or None
        At least `LEAST_ROWS`, None for all.
    """
    if engine.memory_limit_gb is None:
        return max_rows
    left = int(engine.memory_limit_gb * GIGABYTE) - LIBRARY_BYTES - SCAN_BYTES
    fitting = max(LEAST_ROWS, left // (FIT_BYTES * max(1, width)))
    return fitting if max_rows is None else min(max_rows, fitting)


def is_large(path: Path, engine: EngineSettings) -> bool:
    """Return whether a dataset is scanned, not read as a table, by the size of the file."""
    return bound_bytes(path.stat().st_size, engine) is not None or has_many_rows(path)
