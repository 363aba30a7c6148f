"""The repeated rows of a table of Polars."""

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from scripts.data.arrays import Mask, Places

# In parts that stay in the processor's cache.
HASHED_ROWS, COMPARED_KEYS = 2**18, 2**15
HALF_BITS = np.uint64(32)
LOWER_HALF = np.uint64(2**32 - 1)
ROW = pl.struct(pl.all())

Hashes = NDArray[np.uint64]


def hash_rows(table: pl.DataFrame, key: int = 0) -> Hashes:
    """Compute a 64-bit hash of each row by a key, shape (n_rows,)."""
    hashes = np.empty(table.height, np.uint64)
    for start in range(0, table.height, HASHED_ROWS):
        part = table.slice(start, HASHED_ROWS).select(ROW.hash(key)).to_series()
        hashes[start : start + HASHED_ROWS] = part.to_numpy()
    return hashes


def sort_hashes(hashes: Hashes) -> tuple[Hashes, np.uint64]:
    """Return hashes in ascending order, with the places of their rows in the lowest bits.

    One plain sort orders by hash and then by place. The lost bits of the hashes only make more
    pairs to compare. There are fewer than 2**32 rows. The hashes are overwritten, since memory that
    is touched for the first time costs more than the work on it. numpy's sort takes twice as long
    on some processors.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_rows,) and numpy.uint64
        The hashes, and the mask of the bits of the places.
    """
    n_bits = np.uint64(len(hashes).bit_length())
    of_place = (np.uint64(1) << n_bits) - np.uint64(1)
    hashes &= ~of_place
    hashes |= np.arange(len(hashes), dtype=np.uint64)
    # By way of Arrow, which copies nothing.
    keys = pl.Series(pl.from_arrow(pa.array(hashes)))
    return keys.sort().to_numpy(), of_place


def pair_up(hashes: Hashes) -> tuple[Places, Places]:
    """Pair each repeated hash with the first row of the same hash: later rows, first rows."""
    keys, of_place = sort_hashes(hashes)
    is_repeat = np.zeros(len(keys), np.bool_)
    for start in range(1, len(keys), COMPARED_KEYS):
        stop = min(start + COMPARED_KEYS, len(keys))
        is_repeat[start:stop] = (keys[start:stop] ^ keys[start - 1 : stop - 1]) <= of_place
    repeats = np.flatnonzero(is_repeat)
    # Repeats in a row share their first row.
    is_run_start = np.diff(repeats, prepend=-1) > 1
    firsts = np.maximum.accumulate(np.where(is_run_start, repeats - 1, 0))
    # In the order of the later rows, so that memory is read in order when rows are compared.
    pairs = (keys[repeats] & of_place) << HALF_BITS | (keys[firsts] & of_place)
    pairs.sort()
    return (pairs >> HALF_BITS).astype(np.int64), (pairs & LOWER_HALF).astype(np.int64)


def are_equal(table: pl.DataFrame, later: Places, first: Places) -> Mask:
    """Return whether the rows of each pair are equal in all cells."""
    is_compared = np.zeros(table.height, np.bool_)
    is_compared[later] = is_compared[first] = True
    places, mask = np.cumsum(is_compared, dtype=np.uint32) - 1, pl.Series(is_compared)
    repeats, originals = pl.Series(places[later]), pl.Series(places[first])
    same = np.ones(len(later), np.bool_)
    for column in table:
        # In one piece: Polars would join the pieces of a column for each of the two.
        compared = column.filter(mask).rechunk()
        same &= compared.gather(repeats).eq_missing(compared.gather(originals)).to_numpy()
    return same


def find_repeats(table: pl.DataFrame) -> Mask:
    """Return a mask of the rows equal to an earlier row, missing cells being equal.

    Parameters
    ----------
    table : polars.DataFrame of shape (n_rows, n_columns)
        Any table without NaN.

    Returns
    -------
    numpy.ndarray of shape (n_rows,)
        True for the second and each further of equal rows.

    Notes
    -----
    `polars.DataFrame.unique` in order takes twice as long and three times the memory at ten million
    rows. Rows of equal hashes are compared cell by cell, so that the result is exact.
    """
    is_repeat = np.zeros(table.height, np.bool_)
    later, first = pair_up(hash_rows(table))
    same = are_equal(table, later, first)
    is_repeat[later[same]] = True
    if not same.all():
        # Different rows had the same hash by chance: their groups are compared as a whole.
        unclear = np.isin(first, first[~same])
        places = np.union1d(later[unclear], first[unclear])
        rows = table[places].select(ROW.is_first_distinct()).to_series()
        is_repeat[places] = ~rows.to_numpy()
    return is_repeat
