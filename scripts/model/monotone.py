"""Monotone curves: neighbouring levels against a declared direction share a value."""

from collections.abc import Callable, Mapping

import numpy as np
from msgspec.structs import replace

from scripts.core.config import Direction
from scripts.data.arrays import Floats, Ints
from scripts.model import basis
from scripts.model.additive_fit import AdditiveFit
from scripts.model.additive_solver import Curvature, Layout, Term
from scripts.model.logistic_model import Columns


def pool(values: Floats, weights: Floats, direction: Direction) -> Ints:
    """Find the blocks of equal neighbours in the closest monotone curve.

    Parameters
    ----------
    values, weights : numpy.ndarray of shape (n_knots,)
        The curve, and the rows at each knot.
    direction : str
        "increasing" or "decreasing".

    Returns
    -------
    numpy.ndarray of shape (n_knots,)
        The block of each knot, from 0.

    Notes
    -----
    Pool adjacent violators: Ayer, Brunk, Ewing, Reid and Silverman, "An empirical distribution
    function for sampling with incomplete information" (1955).
    """
    sign = 1.0 if direction == "increasing" else -1.0
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(sign * values, np.maximum(weights, 1e-9), strict=True):
        blocks.append((float(value), float(weight), 1))
        # Equal neighbours stay together, or the rounds of `enforce` would not come to an end.
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, u, n), (b, v, m) = blocks[-2:]
            blocks[-2:] = [((a * u + b * v) / (u + v), u + v, n + m)]
    return np.repeat(np.arange(len(blocks)), [n for _, _, n in blocks])


def sharing(blocks: Ints) -> Floats:
    """Return the contrast of levels with shared coefficients, shape (n_levels, n_blocks)."""
    return np.eye(int(blocks[-1]) + 1)[blocks]


def share_levels(fitted: AdditiveFit, place: int, blocks: Ints) -> AdditiveFit:
    """Return the fit with levels of a term in blocks, before coefficients are fitted again."""
    terms, slices = list(fitted.layout.terms), fitted.layout.slices
    term, own = terms[place], slices[place]
    contrast = sharing(blocks)
    terms[place] = Term(term.axes, term.penalties, contrast)
    # From the coefficients of the blocks to those before.
    step = contrast if term.contrast is None else np.linalg.pinv(term.contrast) @ contrast
    n, coefficients = fitted.layout.size, fitted.solution.coefficients
    whole = np.eye(n)
    middle = np.zeros((n, step.shape[1]))
    middle[own] = step
    change = np.concatenate([whole[:, : own.start], middle, whole[:, own.stop :]], axis=1)
    parts = coefficients[: own.start], np.linalg.pinv(step) @ coefficients[own]
    bent = fitted.curvature
    return replace(
        fitted,
        layout=Layout(tuple(terms)),
        solution=replace(
            fitted.solution, coefficients=np.concatenate([*parts, coefficients[own.stop :]])
        ),
        curvature=Curvature(change.T @ bent.matrix @ change, bent.cross @ change, bent.intercept),
    )


def find_violation(
    fitted: AdditiveFit, directions: Mapping[str, Direction], columns: Columns
) -> tuple[int, Ints] | None:
    """Return a term against the declared direction and the needed blocks, or None."""
    pieces = zip(fitted.layout.terms, fitted.layout.slices, strict=True)
    for place, (term, own) in enumerate(pieces):
        axis = term.axes[0]
        if len(term.axes) > 1 or axis.column not in directions:
            continue
        direction = directions[axis.column]
        values = term.values(fitted.solution.coefficients[own])[:-1]
        sign = 1.0 if direction == "increasing" else -1.0
        if (sign * np.diff(values) < 0).any():
            location = axis.locate(columns[axis.column])
            rows = basis.level_sums(location, axis.n_levels, np.ones(len(location.lower)))
            blocks = pool(values, rows[:-1], direction)
            return place, np.append(blocks, blocks[-1] + 1)
    return None


def enforce(
    fitted: AdditiveFit,
    directions: Mapping[str, Direction],
    columns: Columns,
    fit_again: Callable[[AdditiveFit], AdditiveFit],
) -> AdditiveFit:
    """Fit again with shared levels until every declared curve is monotone.

    Parameters
    ----------
    fitted : AdditiveFit
        A fit without pairs of the declared columns.
    directions : mapping of str to str
        "increasing" or "decreasing" by numeric column.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The features.
    fit_again : callable
        Fits the coefficients of a layout.

    Returns
    -------
    AdditiveFit
        Each declared curve is monotone to the last bit. Each round leaves fewer blocks, so that
        the rounds come to an end.
    """
    while (found := find_violation(fitted, directions, columns)) is not None:
        fitted = fit_again(share_levels(fitted, *found))
    return fitted
