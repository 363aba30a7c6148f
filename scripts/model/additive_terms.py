"""The terms of a fitted additive model as plain numbers: centred curves, categories and pairs."""

from collections.abc import Iterable, Mapping

import numpy as np
from msgspec import Struct
from scipy.linalg import cho_factor, cho_solve

from scripts.core.config import Schema
from scripts.data.arrays import Floats
from scripts.model import basis
from scripts.model.additive_fit import AdditiveFit
from scripts.model.additive_solver import Term
from scripts.model.basis import Axis, CategoryAxis, KnotAxis
from scripts.model.logistic_model import CategoricalTerm, Columns, NumericTerm, PairAxis, PairTerm

# Row and column means of a pair are moved until none is above this.
LARGEST_MEAN, N_ROUNDS = 1e-14, 1000


class PlainTerms(Struct, frozen=True):
    """The terms of a model, with the matching intercept."""

    numeric: tuple[NumericTerm, ...]
    categorical: tuple[CategoricalTerm, ...]
    pairs: tuple[PairTerm, ...]
    intercept: float


class Level(Struct, frozen=True):
    """The levels of a column: their values, standard errors and shares of the training rows."""

    axis: Axis
    values: Floats
    errors: Floats
    weights: Floats


def weighted_means(grid: Floats, weights: Floats, axis: int) -> Floats:
    """Return the weighted means along an axis, 0 without weight."""
    total = weights.sum(axis=axis)
    means = np.divide(
        (grid * weights).sum(axis=axis), total, out=np.zeros(len(total)), where=total > 0
    )
    return np.asarray(means)


def purify(grid: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Separate from a pair the parts of its two columns alone.

    Parameters
    ----------
    grid : numpy.ndarray of shape (n_first, n_second)
        The values of a pair.
    weights : numpy.ndarray of shape (n_first, n_second)
        The training rows on each combination.

    Returns
    -------
    tuple of numpy.ndarray
        The grid with weighted means of 0 in each row and column, and the parts of shape
        (n_first,) and (n_second,). Grid plus parts is the grid before.

    Notes
    -----
    Lengerich, Tan, Chang, Hooker and Caruana, "Purifying interaction effects with the functional
    ANOVA" (2020).
    """
    grid = grid.copy()
    first, second = np.zeros(grid.shape[0]), np.zeros(grid.shape[1])
    for _ in range(N_ROUNDS):
        rows = weighted_means(grid, weights, 1)
        grid -= rows[:, np.newaxis]
        columns = weighted_means(grid, weights, 0)
        grid -= columns
        first, second = first + rows, second + columns
        if max(np.abs(rows).max(), np.abs(columns).max()) < LARGEST_MEAN:
            break
    return grid, first, second


def spread(part: Floats, coarse: Axis, axis: Axis) -> Floats:
    """Return the part of a coarse axis at the levels of the column's own axis."""
    if isinstance(coarse, KnotAxis) and isinstance(axis, KnotAxis):
        return np.append(np.interp(axis.knots, coarse.knots, part[:-1]), part[-1])
    if isinstance(coarse, CategoryAxis) and isinstance(axis, CategoryAxis):
        places = coarse.places()
        return np.array([*(part[places[name]] for name in axis.categories), part[-1]])
    raise TypeError(f"{coarse} and {axis} are of different kinds.")


def refine(axis: Axis, in_pairs: Iterable[Axis]) -> Axis:
    """Return the axis of a column with the knots of its pairs added."""
    if not isinstance(axis, KnotAxis):
        return axis
    added = [
        own.knots for own in in_pairs if isinstance(own, KnotAxis) and own.column == axis.column
    ]
    return KnotAxis(axis.column, tuple(map(float, np.unique(np.concatenate([axis.knots, *added])))))


def refinement(axis: Axis, fine: Axis) -> Floats:
    """Return the values of fine levels by those of an axis, shape (n_fine_levels, n_levels)."""
    if not isinstance(axis, KnotAxis) or not isinstance(fine, KnotAxis):
        return np.eye(axis.n_levels)
    location = axis.locate(np.array([*fine.knots, np.nan]))
    return basis.make_design([location], [axis.n_levels])


def standard_errors(covariance: Floats, weights: Floats) -> Floats:
    """Return the standard errors of values centred on the rows with these weights."""
    share = weights / max(weights.sum(), 1.0)
    centring = np.eye(len(share)) - share
    variances = ((centring @ covariance) * centring).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(variances, 0.0)))


def describe_columns(fitted: AdditiveFit, columns: Columns) -> dict[str, Level]:
    """Return the levels of each column with values and standard errors, not yet centred."""
    layout, solution = fitted.layout, fitted.solution
    whole = fitted.curvature.eliminate() + layout.penalty(solution.strengths)
    covariance = cho_solve(cho_factor(whole, lower=True), np.eye(layout.size))
    in_pairs = [axis for term in layout.terms if len(term.axes) > 1 for axis in term.axes]
    found = {}
    for term, place in zip(layout.terms, layout.slices, strict=True):
        if len(term.axes) > 1:
            continue
        fine = refine(term.axes[0], in_pairs)
        change = refinement(term.axes[0], fine)
        if term.contrast is not None:
            change = change @ term.contrast
        location = fine.locate(columns[fine.column])
        weights = basis.level_sums(location, fine.n_levels, np.ones(len(location.lower)))
        counted = np.append(weights[:-1], 0.0) if isinstance(fine, KnotAxis) else weights
        found[fine.column] = Level(
            fine,
            change @ solution.coefficients[place],
            standard_errors(change @ covariance[place, place] @ change.T, counted),
            weights,
        )
    return found


def as_axis(axis: Axis) -> PairAxis:
    """Return an axis of a pair as plain numbers."""
    if isinstance(axis, KnotAxis):
        return PairAxis(column=axis.column, knots=axis.knots)
    return PairAxis(column=axis.column, categories=axis.categories)


def export_pair(
    term: Term, coefficients: Floats, columns: Columns, levels: Mapping[str, Level],
    values: dict[str, Floats],
) -> PairTerm:  # fmt: skip
    """Return a pair as plain numbers, with the parts of single columns added to their values."""
    first, second = term.axes
    shape = first.n_levels, second.n_levels
    locations = [axis.locate(columns[axis.column]) for axis in term.axes]
    weights = basis.cell_sums(locations, shape, np.ones(len(locations[0].lower)))
    grid, *parts = purify(term.values(coefficients).reshape(shape), weights)
    for axis, part in zip(term.axes, parts, strict=True):
        values[axis.column] = values[axis.column] + spread(part, axis, levels[axis.column].axis)
    # A level without a training row says nothing.
    grid[weights.sum(axis=1) == 0] = 0.0
    grid[:, weights.sum(axis=0) == 0] = 0.0
    return PairTerm(
        first=as_axis(first),
        second=as_axis(second),
        values=tuple(tuple(map(float, row)) for row in grid),
    )


def median_of(values: Floats) -> float:
    """Return the median of the present values, 0 for an empty column."""
    present = values[~np.isnan(values)]
    return float(np.median(present)) if len(present) else 0.0


def numeric_term(
    name: str, median: float, level: Level, values: Floats
) -> tuple[NumericTerm, float]:
    """Return the centred curve of a column, and its mean."""
    axis = level.axis
    if not isinstance(axis, KnotAxis):
        raise TypeError(f"{name} is not numeric.")
    present, n_missing = level.weights[:-1], level.weights[-1]
    mean = float(values[:-1] @ present / max(present.sum(), 1.0))
    return NumericTerm(
        column=name,
        median=median,
        missing_coefficient=float(values[-1]) - mean if n_missing else 0.0,
        knots=axis.knots,
        values=tuple(map(float, values[:-1] - mean)),
        errors=tuple(map(float, level.errors[:-1])),
    ), mean


def categorical_term(level: Level, values: Floats) -> tuple[CategoricalTerm, float]:
    """Return the centred categories of a column, and their mean."""
    axis = level.axis
    if not isinstance(axis, CategoryAxis):
        raise TypeError(f"{axis.column} is not categorical.")
    mean = float(values @ level.weights / level.weights.sum())
    return CategoricalTerm(
        column=axis.column,
        categories=axis.categories,
        coefficients=tuple(map(float, values[:-1] - mean)),
        rare=axis.rare,
        rare_coefficient=float(values[-1]) - mean if axis.rare else 0.0,
    ), mean


def export(fitted: AdditiveFit, columns: Columns, schema: Schema) -> PlainTerms:
    """Return the terms of a fit as plain numbers, each with a mean of 0 over the training rows.

    Parameters
    ----------
    fitted : AdditiveFit
        The fit.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The training rows, in the form of `logistic_model.contributions`.
    schema : Schema
        The columns.

    Returns
    -------
    PlainTerms
        With the log-odds of the fit for every training row. A missing number that no training
        row has adds nothing, as an unknown category does.
    """
    levels = describe_columns(fitted, columns)
    values = {name: level.values for name, level in levels.items()}
    layout = fitted.layout
    pairs = tuple(
        export_pair(term, fitted.solution.coefficients[place], columns, levels, values)
        for term, place in zip(layout.terms, layout.slices, strict=True)
        if len(term.axes) > 1
    )
    numeric = [
        numeric_term(name, median_of(columns[name]), levels[name], values[name])
        for name in schema.numeric
    ]
    categorical = [categorical_term(levels[name], values[name]) for name in schema.categorical]
    means = [mean for _, mean in (*numeric, *categorical)]
    return PlainTerms(
        numeric=tuple(term for term, _ in numeric),
        categorical=tuple(term for term, _ in categorical),
        pairs=pairs,
        intercept=float(sum(means, start=fitted.solution.intercept)),
    )
