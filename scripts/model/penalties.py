"""Penalties of an additive model: their matrices, and their strengths by marginal likelihood."""

from enum import StrEnum

import numpy as np
from msgspec import Struct

from scripts.data.arrays import Floats
from scripts.model.basis import Axis, KnotAxis

SMALLEST_STRENGTH, LARGEST_STRENGTH = 1e-4, 1e6
# Roughness of neighbouring categories, which have no order, and a ridge on all cells of a pair.
CATEGORY_ROUGHNESS, PAIR_RIDGE = 0.5, 0.02


class PenaltyKind(StrEnum):
    """The kinds of penalties, where the penalties of a kind share a strength."""

    BEND = "bend"
    LINE = "line"
    MISSING = "missing"
    CATEGORY = "category"
    PAIR = "pair"


# One pseudo-observation draws a strength towards the common one of its kind: so lines, categories
# and missing values are steady on small tables. A bend or a pair keeps its own strength.
POOLED = frozenset({PenaltyKind.LINE, PenaltyKind.MISSING, PenaltyKind.CATEGORY})


class Penalty(Struct, frozen=True):
    """A quadratic penalty on the coefficients of a term, with rank and kind."""

    matrix: Floats
    rank: int
    kind: PenaltyKind


def bend_matrix(knots: Floats) -> Floats:
    """Penalise the departure of each inner knot from the line between the neighbours."""
    n = len(knots)
    departures = np.zeros((max(n - 2, 0), n))
    for i in range(1, n - 1):
        share = (knots[i] - knots[i - 1]) / (knots[i + 1] - knots[i - 1])
        departures[i - 1, i - 1 : i + 2] = [share - 1, 1, -share]
    return np.asarray(departures.T @ departures)


def line_matrix(knots: Floats) -> Floats:
    """Penalise the straight line through the knots."""
    line = knots - knots.mean()
    line = line / np.linalg.norm(line)
    return np.outer(line, line)


def embed(matrix: Floats, n: int) -> Floats:
    """Return a penalty of the first levels as a penalty of n levels."""
    whole = np.zeros((n, n))
    whole[: len(matrix), : len(matrix)] = matrix
    return whole


def missing_matrix(shares: Floats) -> Floats:
    """Penalise the distance of a missing value from the mean of the known values.

    A ridge on the missing value alone would penalise nothing: the height of a curve is free, since
    the intercept makes up for it.
    """
    known = shares[:-1] / max(shares[:-1].sum(), np.finfo(np.float64).tiny)
    contrast = np.append(-known, 1.0)
    return np.outer(contrast, contrast)


def column_penalties(axis: Axis, shares: Floats) -> tuple[Penalty, ...]:
    """Return the penalties of a column's term.

    Parameters
    ----------
    axis : KnotAxis or CategoryAxis
        The levels of the column.
    shares : numpy.ndarray of shape (n_levels,)
        The share of the rows at each level. The last level is a missing number, or the rare
        categories.

    Returns
    -------
    tuple of Penalty
        For a number the bend, the line and the missing value; for categories a ridge.
    """
    n, has_rest = axis.n_levels, bool(shares[-1] > 0)
    if not isinstance(axis, KnotAxis):
        own = n if has_rest else n - 1
        return (Penalty(embed(np.eye(own), n), own, PenaltyKind.CATEGORY),)
    knots = np.array(axis.knots)
    found = []
    if len(knots) > 2:
        found.append(Penalty(embed(bend_matrix(knots), n), len(knots) - 2, PenaltyKind.BEND))
    if len(knots) > 1:
        found.append(Penalty(embed(line_matrix(knots), n), 1, PenaltyKind.LINE))
    if has_rest:
        found.append(Penalty(missing_matrix(shares), 1, PenaltyKind.MISSING))
    return tuple(found)


def roughness(axis: Axis) -> Floats:
    """Return the roughness of a pair along an axis."""
    n = axis.n_levels
    whole = CATEGORY_ROUGHNESS * np.eye(n)
    if isinstance(axis, KnotAxis):
        steps = np.diff(np.eye(n - 1), axis=0)
        whole[:-1, :-1] = steps.T @ steps
    return whole


def pair_penalty(first: Axis, second: Axis) -> Penalty:
    """Return the penalty of a pair: roughness along both axes, and a faint ridge."""
    n, m = first.n_levels, second.n_levels
    matrix = np.kron(roughness(first), np.eye(m)) + np.kron(np.eye(n), roughness(second))
    return Penalty(matrix + PAIR_RIDGE * np.eye(n * m), n * m, PenaltyKind.PAIR)


def update_strengths(
    strengths: Floats, kinds: list[PenaltyKind], freedom: Floats, sizes: Floats
) -> Floats:
    """Update the strengths of the penalties towards the largest marginal likelihood.

    Parameters
    ----------
    strengths : numpy.ndarray of shape (n_penalties,)
        The present ones.
    kinds : list of PenaltyKind
        Of each penalty.
    freedom : numpy.ndarray of shape (n_penalties,)
        Rank minus strength times the trace of covariance and penalty: the degrees of freedom.
    sizes : numpy.ndarray of shape (n_penalties,)
        The penalty of the present coefficients at strength 1.

    Returns
    -------
    numpy.ndarray of shape (n_penalties,)
        The new strengths, those of some kinds drawn towards the common one of the kind.

    Notes
    -----
    The generalised Fellner-Schall update of Wood and Fasiolo, "A generalized Fellner-Schall method
    for smoothing parameter optimization with application to Tweedie location, scale and shape
    models" (2017). The common strength is that of a kind with one variance for all its terms.
    """
    freedom, sizes = np.maximum(freedom, 1e-6), np.maximum(sizes, 1e-10)
    updated = strengths.copy()
    for kind in PenaltyKind:
        own = np.array([k is kind for k in kinds], dtype=np.bool_)
        if own.any():
            common = freedom[own].sum() / sizes[own].sum()
            weight = float(kind in POOLED)
            updated[own] = (freedom[own] + weight) / (sizes[own] + weight / common)
    return np.clip(updated, SMALLEST_STRENGTH, LARGEST_STRENGTH)
