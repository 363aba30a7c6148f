"""Whether tables fit into the memory that they may take, judged by the size of their files."""

from scripts.config import EngineSettings

GIGABYTE = 10**9
# What the libraries take, and what a table and its copies take of each byte of its files.
LIBRARY_BYTES = 250_000_000
TABLE_BYTES = 6
# Of what is left beside the libraries, this share goes to what grows with the rows.
SHARE = 4
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
    return max(LEAST_BYTES, (limit - LIBRARY_BYTES) // SHARE)
