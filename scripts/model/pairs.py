"""Pairs of columns that act together, found by score tests of the residuals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc

from scripts.data.arrays import Floats, Ints
from scripts.model import penalties
from scripts.model.additive_solver import Term
from scripts.model.basis import Axis, CategoryAxis, Location

MAX_PAIRS, MAX_PER_ROUND = 8, 4
# The chance of any false pair in a round, or of any false bend, by Holm's method.
FALSE_FRACTION = 0.05
N_CELLS = 8
# A cell counts when its weights sum up to more than one row with probability 0.5 has, times 4.
MIN_CELL_WEIGHT = 1.0


@dataclass(frozen=True)
class Cells:
    """The cell of each row in one column, and the number of cells."""

    codes: Ints
    n: int


@dataclass(frozen=True)
class FoundPair:
    """A pair of columns with the score test's statistic, degrees of freedom and p-value."""

    columns: tuple[str, str]
    statistic: float
    freedom: int
    p_value: float

    @property
    def rank(self) -> tuple[float, float]:
        """The order of pairs: by p-value, those too small for floats by the statistic."""
        excess = (self.statistic - self.freedom) / np.sqrt(2 * self.freedom)
        return self.p_value, -float(excess)


def cut(axis: Axis, location: Location) -> Cells:
    """Assign rows to at most eight cells of about equal size, and the last level to its own."""
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
    """Return the score statistic of residuals by cell, and the number of cells that count."""
    total = np.bincount(codes, residual, n)
    variance = np.bincount(codes, weight, n)
    counts = variance > MIN_CELL_WEIGHT
    return float((total[counts] ** 2 / variance[counts]).sum()), int(counts.sum())


def n_significant(p_values: Sequence[float], false_fraction: float) -> int:
    """Return how many of the rising p-values are significant by Holm's method."""
    limits = false_fraction / np.arange(len(p_values), 0, -1)
    rejected = (place for place, p in enumerate(p_values) if p > limits[place])
    return next(rejected, len(p_values))


def chance(statistic: float, freedom: int) -> float:
    """Return the chance of a larger chi-square statistic."""
    return float(gammaincc(freedom / 2, max(statistic, 0.0) / 2))


def score_bends(cells: Mapping[str, Cells], residual: Floats, weight: Floats) -> dict[str, float]:
    """Test each column for residuals beyond its straight line; return p-values by column.

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
    """Test each pair of columns for residuals beyond those of the two columns.

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
    alone = {name: score(cells[name].codes, cells[name].n, residual, weight) for name in names}
    tested = []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            if frozenset((first, second)) in known:
                continue
            a, b = cells[first], cells[second]
            statistic, n_cells = score(a.codes * b.n + b.codes, a.n * b.n, residual, weight)
            statistic -= alone[first][0] + alone[second][0]
            freedom = n_cells - alone[first][1] - alone[second][1] + 1
            if freedom > 0:
                p_value = chance(statistic, freedom)
                tested.append(FoundPair((first, second), statistic, freedom, p_value))
    tested.sort(key=lambda pair: pair.rank)
    return tested[: n_significant([pair.p_value for pair in tested], FALSE_FRACTION)]


def choose_round(found: Sequence[FoundPair], n_left: int) -> list[tuple[str, str]]:
    """Choose the clearest pairs that share no column, at most four and at most the number left."""
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
