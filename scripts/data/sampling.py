"""Rows drawn at random by a keyed hash of each row, the same rows in every order and part."""

import numpy as np
import pandas as pd
import pyarrow as pa
from msgspec import Struct, field
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.data import deduplicate
from scripts.data.arrays import Mask, Places
from scripts.data.deduplicate import Numbers

# Surplus rows are dropped once there are this many times as many as wanted.
SURPLUS = 2
LARGEST_KEY = 2**64 - 1
# By chance more than this many standard deviations are missing once in a billion scans.
N_DEVIATIONS = 6


def draw_keys(hashes: Numbers, seed: int, places: NDArray[np.uint64] | None = None) -> Numbers:
    """Compute the pseudo-random key of each row for the draw.

    Parameters
    ----------
    hashes : numpy.ndarray of shape (n_rows,)
        64-bit hashes of the rows.
    seed : int
        `training.random_state`.
    places : numpy.ndarray of shape (n_rows,), optional
        The position of each row in the dataset, where equal rows may be different clients. Without
        it equal rows have equal keys, and are drawn together.

    Returns
    -------
    numpy.ndarray of shape (n_rows,)
        Numbers spread evenly over 64 bits.
    """
    # Mixed twice, since a single round leaves the order of the seeds in the highest bits.
    seeds = np.full(len(hashes), seed, np.uint64)
    keys = deduplicate.mix(deduplicate.mix(hashes, seeds), seeds)
    return keys if places is None else deduplicate.mix(deduplicate.mix(keys, places), places)


def smallest(keys: Numbers, n_rows: int | None) -> Places:
    """Return the positions of the `n_rows` smallest keys in ascending order of position.

    Of equal keys the first ones count. Without a number all positions are returned.
    """
    if n_rows is None or len(keys) <= n_rows:
        return np.arange(len(keys))
    largest = np.partition(keys, n_rows - 1)[n_rows - 1]
    chosen = np.flatnonzero(keys <= largest)
    surplus = len(chosen) - n_rows
    if surplus:
        chosen = np.delete(chosen, np.flatnonzero(keys[chosen] == largest)[-surplus:])
    return chosen


def draw_rows(
    table: pd.DataFrame, schema: Schema, max_rows: int | None, seed: int, *, by_place: bool = False
) -> pd.DataFrame:
    """Draw rows of a dataset in memory at random, in the order of the dataset.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A dataset. It is left unchanged.
    schema : Schema
        Its columns.
    max_rows : int or None
        The number of rows to draw; None for all.
    seed : int
        `training.random_state`.
    by_place : bool
        Whether the position of a row counts, for datasets with equal rows.

    Returns
    -------
    pandas.DataFrame of shape (n_drawn_rows, n_columns)
        The table itself, if it has no more rows. Otherwise the rows with the smallest keys: a drawn
        row stays drawn when rows are added, unless one of them has a smaller key.
    """
    if max_rows is None or len(table) <= max_rows:
        return table
    places = np.arange(len(table), dtype=np.uint64) if by_place else None
    keys = draw_keys(deduplicate.hash_table_rows(table, schema), seed, places)
    return table.iloc[smallest(keys, max_rows)].reset_index(drop=True)


def likely_bound(max_rows: int | None, n_rows: int) -> int:
    """Return a bound above the `max_rows` smallest keys, nearly surely, and few further keys.

    Notes
    -----
    The number of evenly spread keys below a bound has at most the deviation of a Poisson variable.
    """
    if max_rows is None:
        return LARGEST_KEY
    wanted = max_rows + N_DEVIATIONS * max_rows**0.5
    return LARGEST_KEY if wanted >= n_rows else int(wanted / n_rows * LARGEST_KEY)


class Draw(Struct):
    """The rows with the smallest keys among rows in parts, in the order of arrival.

    `max_rows` is the number of rows to draw, None for all. Keys above `bound` are not kept, so the
    bound saves memory and time. It must not be too low: see `is_short`.
    """

    max_rows: int | None
    bound: int = LARGEST_KEY
    n_offered: int = 0
    _n_kept: int = 0
    _parts: list[pa.Table] = field(default_factory=list)
    _keys: list[Numbers] = field(default_factory=list)

    def offer(self, keys: Numbers) -> Mask:
        """Return a mask of the further rows to add, by their keys."""
        self.n_offered += len(keys)
        return keys <= np.uint64(self.bound)

    def add(self, rows: pa.Table, keys: Numbers) -> None:
        """Add the rows chosen by `offer`, with their keys."""
        self._parts.append(rows)
        self._keys.append(keys)
        self._n_kept += len(keys)
        if self.max_rows is not None and self._n_kept > SURPLUS * self.max_rows:
            self._drop_surplus()

    @property
    def is_short(self) -> bool:
        """Whether the bound has kept out rows of the draw."""
        wanted = self.n_offered if self.max_rows is None else min(self.max_rows, self.n_offered)
        return self._n_kept < wanted

    def _drop_surplus(self) -> None:
        """Keep the rows with the smallest keys only."""
        keys = np.concatenate(self._keys)
        chosen = smallest(keys, self.max_rows)
        is_chosen = np.zeros(len(keys), np.bool_)
        is_chosen[chosen] = True
        self._parts = [pa.concat_tables(self._parts).filter(pa.array(is_chosen)).combine_chunks()]
        self._keys, self._n_kept = [keys[chosen]], len(chosen)
        self.bound = int(self._keys[0].max())

    def rows(self) -> pa.Table:
        """Return the drawn rows."""
        if self.max_rows is not None and self._n_kept > self.max_rows:
            self._drop_surplus()
        return pa.concat_tables(self._parts) if self._parts else pa.table({})
