"""Interacting pairs of columns, found by score tests of the residuals."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from msgspec import Struct
from scipy.special import gammaincc

from scripts.data.arrays import Floats, Ints
from scripts.model import penalties
from scripts.model.additive_solver import Term
from scripts.model.basis import Axis, CategoryAxis, Location

MAX_PAIRS, MAX_PER_ROUND = 8, 4
# The chance of any false pair in a round, or of any false bend, by Holm's method.
FALSE_FRACTION = 0.05
N_CELLS = 8
# Cells with less weight, about ten rows of a probability of 0.5, are too skewed for a chi-square.
MIN_CELL_WEIGHT = 2.5


class Cells(Struct, frozen=True):
    """The cell of each row in a column, and the number of cells."""

    codes: Ints
    n: int


class FoundPair(Struct, frozen=True):
    """A pair of columns with the score test's statistic, degrees of freedom and p-value."""

    columns: tuple[str, str]
    statistic: float
    freedom: int
    p_value: float

    @property
    def rank(self) -> tuple[float, float]:
        """The sort key of pairs: the p-value, and the statistic of p-values below all floats."""
        excess = (self.statistic - self.freedom) / np.sqrt(2 * self.freedom)
        return self.p_value, -float(excess)


def cut(axis: Axis, location: Location) -> Cells:
    """Assign rows to at most eight cells of about equal size, the last level to a cell alone."""
    counts = np.bincount(location.lower, minlength=axis.n_levels)
    if isinstance(axis, CategoryAxis):
        order = np.argsort(-counts[:-1], kind="stable")
        codes = np.full(axis.n_levels, min(N_CELLS, axis.n_levels - 1))
        codes[order[:N_CELLS]] = np.arange(min(N_CELLS, len(order)))
        return Cells(codes[location.lower], int(codes.max()) + 1)
    own = counts[:-1]
    # The middle of a level's rows on the scale of ranks decides on its cell.
    middle = (np.cumsum(own) - own / 2) / max(own.sum(), 1)
    coarse = np.minimum((middle * N_CELLS).astype(np.int64), N_CELLS - 1)
    codes = np.append(np.unique(coarse, return_inverse=True)[1], len(np.unique(coarse)))
    return Cells(codes[location.lower], int(codes.max()) + 1)


def score(codes: Ints, n: int, residual: Floats, weight: Floats) -> tuple[float, int]:
    """Return the score statistic of residuals by cell, and the number of filled cells."""
    total = np.bincount(codes, residual, n)
    variance = np.bincount(codes, weight, n)
    counts = variance > MIN_CELL_WEIGHT
    return float((total[counts] ** 2 / variance[counts]).sum()), int(counts.sum())


def score_pair(first: Cells, second: Cells, residual: Floats, weight: Floats) -> tuple[float, int]:
    """Return the score statistic of two columns beyond each alone, and the degrees of freedom."""
    codes, shape = first.codes * second.n + second.codes, (first.n, second.n)
    variance = np.bincount(codes, weight, first.n * second.n).reshape(shape)
    counts = variance > MIN_CELL_WEIGHT
    variance = variance * counts
    total = np.bincount(codes, residual, first.n * second.n).reshape(shape) * counts

    def explained(axis: int | tuple[int, ...] | None) -> tuple[float, int]:
        """Return the statistic and the degrees of freedom of the sums over an axis."""
        sums, spread = (
            np.asarray(part if axis is None else part.sum(axis=axis)) for part in (total, variance)
        )
        own = spread > 0
        return float((sums[own] ** 2 / spread[own]).sum()), int(own.sum())

    # Margins of the cells that count, or the rows of the others would seem to act together.
    parts = [explained(axis) for axis in (None, 0, 1, (0, 1))]
    signs = (1, -1, -1, 1)
    statistic = sum(sign * part for sign, (part, _) in zip(signs, parts, strict=True))
    return statistic, sum(sign * n for sign, (_, n) in zip(signs, parts, strict=True))


def n_significant(p_values: Sequence[float], false_fraction: float) -> int:
    """Return the number of significant p-values by Holm's method."""
    limits = false_fraction / np.arange(len(p_values), 0, -1)
    rejected = (place for place, p in enumerate(p_values) if p > limits[place])
    return next(rejected, len(p_values))


def chance(statistic: float, freedom: int) -> float:
    """Return the chance of a larger chi-square statistic."""
    return float(gammaincc(freedom / 2, max(statistic, 0.0) / 2))


def score_bends(cells: Mapping[str, Cells], residual: Floats, weight: Floats) -> dict[str, float]:
    """Test each column for residuals beyond the straight line, and return p-values by column.

    Parameters
    ----------
    cells : mapping of str to Cells
        Of the numeric columns, cut by their own knots.
    residual, weight : numpy.ndarray of shape (n_rows,)
        Target minus the probability of a straight model, and the variance of the target.

    Returns
    -------
    dict of str to float
        1 for a column with too few different values for a bend.
    """
    found = {}
    for name, own in cells.items():
        statistic, n_cells = score(own.codes, own.n, residual, weight)
        # Intercept and line take two degrees of freedom.
        found[name] = chance(statistic, n_cells - 2) if n_cells > 2 else 1.0
    return found


def test_pairs(
    cells: Mapping[str, Cells], residual: Floats, weight: Floats, known: set[frozenset[str]]
) -> list[FoundPair]:
    """Test each pair of columns for residuals beyond the terms of the two columns.

    Parameters
    ----------
    cells : mapping of str to Cells
        Of the columns that may be in a pair.
    residual, weight : numpy.ndarray of shape (n_rows,)
        Target minus probability, and the variance of the target.
    known : set of frozenset of str
        Pairs not to be tested.

    Returns
    -------
    list of FoundPair
        The significant ones, the clearest first.

    Notes
    -----
    Rao's score test on a grid; Holm, "A simple sequentially rejective multiple test procedure"
    (1979).
    """
    names = [name for name, own in cells.items() if own.n > 1]
    tested = []
    for first, second in combinations(names, 2):
        if frozenset((first, second)) not in known:
            statistic, freedom = score_pair(cells[first], cells[second], residual, weight)
            if freedom > 0:
                p_value = chance(statistic, freedom)
                tested.append(FoundPair((first, second), statistic, freedom, p_value))
    tested.sort(key=lambda pair: pair.rank)
    return tested[: n_significant([pair.p_value for pair in tested], FALSE_FRACTION)]


def choose_round(found: Sequence[FoundPair], n_left: int) -> list[tuple[str, str]]:
    """Choose the clearest pairs of disjoint columns, at most four and at most the number left."""
    chosen: list[tuple[str, str]] = []
    taken: set[str] = set()
    for pair in found:
        if len(chosen) < min(MAX_PER_ROUND, n_left) and not taken & set(pair.columns):
            chosen.append(pair.columns)
            taken |= set(pair.columns)
    return chosen


def make_pair(first: Axis, second: Axis) -> Term:
    """Return the term of two coarse axes."""
    return Term((first, second), (penalties.pair_penalty(first, second),))
