"""The fit of an additive model: a curve per column, then the interacting pairs of columns."""

from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from msgspec import Struct
from msgspec.structs import replace
from scipy.linalg import cho_factor

from scripts.core.config import Schema
from scripts.data.arrays import Floats, Ints
from scripts.model import additive_solver, basis, pairs, penalties
from scripts.model.additive_solver import Curvature, Layout, Solution, State, Step, Term
from scripts.model.basis import Axis, KnotAxis, Location
from scripts.model.logistic_model import Columns

N_STEPS, N_STEPS_PER_ROUND, N_FOLD_STEPS, N_PASSES = 16, 10, 4, 5
# A column whose bend is as good as chance stays straight, which saves nine tenths of its work.
LARGEST_BEND_CHANCE = 0.3
# Log-odds of a large table are settled to this, root mean square over the rows.
SETTLED = 1e-4


class AdditiveFit(Struct, frozen=True):
    """A fitted additive model: the terms, single columns first, and the solution.

    `curvature` is that of the log loss over the rows of the fit. `has_evidence` is whether any
    bend or pair is more than chance.
    """

    layout: Layout
    solution: Solution
    curvature: Curvature
    has_evidence: bool = False


def make_column_term(axis: Axis, values: Floats) -> Term:
    """Return the term of a column."""
    location = axis.locate(values)
    shares = basis.level_sums(location, axis.n_levels, np.full(len(values), 1 / len(values)))
    return Term((axis,), penalties.column_penalties(axis, shares))


def term_design(term: Term, columns: Columns) -> Floats:
    """Return the design of a term, shape (n_rows, n_coefficients)."""
    locations = [axis.locate(columns[axis.column]) for axis in term.axes]
    design = basis.make_design(locations, [axis.n_levels for axis in term.axes])
    return design if term.contrast is None else design @ term.contrast


def make_design(terms: Iterable[Term], columns: Columns) -> Floats:
    """Return the designs of terms side by side, shape (n_rows, n_coefficients)."""
    n_rows = len(next(iter(columns.values())))
    parts = [term_design(term, columns) for term in terms]
    return np.concatenate([np.zeros((n_rows, 0)), *parts], axis=1)


def fit_columns(axes: Iterable[Axis], columns: Columns, y: Ints) -> tuple[AdditiveFit, Floats]:
    """Fit a term per column, and return the fit with the design."""
    layout = Layout(tuple(make_column_term(axis, columns[axis.column]) for axis in axes))
    design = make_design(layout.terms, columns)
    begin = additive_solver.start(layout, y)
    solution, bent = additive_solver.fit(design, y, layout, begin, n_steps=N_STEPS, learns=True)
    return AdditiveFit(layout, solution, bent), design


def residuals(fitted: AdditiveFit, design: Floats, y: Ints) -> tuple[Floats, Floats]:
    """Return target minus probability of each row, and the variance of the target."""
    log_odds = fitted.solution.intercept + design @ fitted.solution.coefficients
    probability, weight = additive_solver.weights_of(log_odds)
    return y - probability, weight


def add_pairs(
    fitted: AdditiveFit, design: Floats, axes: Mapping[str, Axis], columns: Columns, y: Ints
) -> tuple[AdditiveFit, Floats]:
    """Add the interacting pairs of columns, round by round.

    Parameters
    ----------
    fitted : AdditiveFit
        Of the single columns.
    design : numpy.ndarray of shape (n_rows, n_coefficients)
        Its design.
    axes : mapping of str to KnotAxis or CategoryAxis
        The fine axes of the columns that may be in a pair.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The features.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.

    Returns
    -------
    tuple of AdditiveFit and numpy.ndarray
        The fit with at most eight pairs, and its design.
    """
    cells = {name: pairs.cut(axis, axis.locate(columns[name])) for name, axis in axes.items()}
    known: set[frozenset[str]] = set()
    while len(known) < pairs.MAX_PAIRS:
        found = pairs.test_pairs(cells, *residuals(fitted, design, y), known)
        chosen = pairs.choose_round(found, pairs.MAX_PAIRS - len(known))
        if not chosen:
            break
        known |= {frozenset(pair) for pair in chosen}
        new = [
            pairs.make_pair(*(basis.coarsen(axes[name], columns[name]) for name in pair))
            for pair in chosen
        ]
        layout = Layout((*fitted.layout.terms, *new))
        design = np.concatenate([design, make_design(new, columns)], axis=1)
        begin = additive_solver.extend(fitted.solution, layout)
        solution, bent = additive_solver.fit(
            design, y, layout, begin, n_steps=N_STEPS_PER_ROUND, learns=True
        )
        fitted = AdditiveFit(layout, solution, bent, has_evidence=True)
    return fitted, design


def make_axes(columns: Columns, schema: Schema, further: Columns) -> dict[str, Axis]:
    """Return the fine axis of each column, with the categories of further rows."""
    known = {name: pd.unique(further[name]).tolist() for name in schema.categorical}
    return {name: basis.make_axis(name, columns[name], known.get(name)) for name in schema.features}


def fit_straight(axes: Mapping[str, Axis], columns: Columns, y: Ints) -> tuple[AdditiveFit, Floats]:
    """Fit a straight line per number and a value per category, and return fit and design."""
    return fit_columns(map(basis.straighten, axes.values()), columns, y)


def fit_additive(
    axes: Mapping[str, Axis],
    columns: Columns,
    y: Ints,
    alone: Container[str] = (),
    straight: tuple[AdditiveFit, Floats] | None = None,
) -> tuple[AdditiveFit, Floats]:
    """Fit curves and pairs.

    Parameters
    ----------
    axes : mapping of str to KnotAxis or CategoryAxis
        The fine axis of each column.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The features, in the form of `logistic_model.contributions`.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    alone : container of str
        Columns that may not be in a pair.
    straight : tuple of AdditiveFit and numpy.ndarray
        The straight fit to the same rows, if it is there already.

    Returns
    -------
    tuple of AdditiveFit and numpy.ndarray of shape (n_rows, n_coefficients)
        The fit and its design. A column whose bend is as good as chance is straight.
    """
    fitted, design = straight or fit_straight(axes, columns, y)
    cells = {
        name: pairs.cut(axis, axis.locate(columns[name]))
        for name, axis in axes.items()
        if isinstance(axis, KnotAxis) and len(axis.knots) > 2
    }
    bends = pairs.score_bends(cells, *residuals(fitted, design, y))
    bent = {name for name, p_value in bends.items() if p_value <= LARGEST_BEND_CHANCE}
    is_telling = pairs.n_significant(sorted(bends.values()), pairs.FALSE_FRACTION) > 0
    if bent:
        chosen = (a if name in bent else basis.straighten(a) for name, a in axes.items())
        fitted, design = fit_columns(chosen, columns, y)
    paired = {name: axis for name, axis in axes.items() if name not in alone}
    fitted, design = add_pairs(fitted, design, paired, columns, y)
    return replace(fitted, has_evidence=fitted.has_evidence or is_telling), design


def log_odds_of(fitted: AdditiveFit, columns: Columns) -> Floats:
    """Compute the log-odds of rows."""
    design = make_design(fitted.layout.terms, columns)
    return np.asarray(fitted.solution.intercept + design @ fitted.solution.coefficients)


def fit_again(fitted: AdditiveFit, columns: Columns, y: Ints) -> tuple[AdditiveFit, Floats]:
    """Fit the coefficients to rows, with the levels and strengths of a fit.

    The design of the rows is returned, too.
    """
    design = make_design(fitted.layout.terms, columns)
    solution, bent = additive_solver.fit(
        design, y, fitted.layout, fitted.solution, n_steps=N_STEPS, learns=False
    )
    return replace(fitted, solution=solution, curvature=bent), design


def predict_held_out(
    fitted: AdditiveFit, design: Floats, y: Ints, folds: Sequence[tuple[Ints, Ints]]
) -> Floats:
    """Compute the log-odds of each fold by coefficients fitted to the other folds.

    Parameters
    ----------
    fitted : AdditiveFit
        Of all rows.
    design : numpy.ndarray of shape (n_rows, n_coefficients)
        Its design.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    folds : sequence of tuple of numpy.ndarray
        Other rows and own rows of each fold.

    Returns
    -------
    numpy.ndarray of shape (n_rows,)
        Levels, strengths and pairs are those of all rows. So the log loss of the result is up to a
        tenth too good, while the threshold with the best F1 is as good as with everything fitted
        again.
    """
    layout, solution = fitted.layout, fitted.solution
    log_odds = solution.intercept + design @ solution.coefficients
    weight = additive_solver.weights_of(log_odds)[1]
    own = [additive_solver.curvature_of(design[held], weight[held]) for _, held in folds]
    whole = own[0]
    for part in own[1:]:
        whole = whole.plus(part)
    penalty = layout.penalty(solution.strengths)
    result = np.empty(len(y))
    for (rest, held), part in zip(folds, own, strict=True):
        bent = whole.minus(part)
        factor = cho_factor(bent.eliminate() + penalty, lower=True)
        rows, state = design[rest], State(solution, log_odds[rest])
        for _ in range(N_FOLD_STEPS):
            state = additive_solver.make_step(state, y[rest], rows, penalty, bent, factor)
        result[held] = state.solution.intercept + design[held] @ state.solution.coefficients
    return result


class LocatedTerm(Struct, frozen=True):
    """A term with the location of all rows on the axes."""

    term: Term
    locations: tuple[Location, ...]

    def log_odds(self, coefficients: Floats) -> Floats:
        """Return the term of each row."""
        values = self.term.values(coefficients)
        if len(self.locations) == 1:
            return basis.level_values(self.locations[0], values)
        shape = tuple(axis.n_levels for axis in self.term.axes)
        return basis.cell_values(self.locations, values.reshape(shape))

    def gradient(self, residual: Floats) -> Floats:
        """Return the sums of residuals by coefficient."""
        if len(self.locations) == 1:
            sums = basis.level_sums(self.locations[0], self.term.n_levels, residual)
        else:
            n, m = (axis.n_levels for axis in self.term.axes)
            sums = basis.cell_sums(self.locations, (n, m), residual).ravel()
        return sums if self.term.contrast is None else sums @ self.term.contrast


def locate_terms(layout: Layout, columns: Columns) -> list[LocatedTerm]:
    """Locate all rows on the axes of the terms, each axis once."""
    axes = {axis for term in layout.terms for axis in term.axes}
    found = {axis: axis.locate(columns[axis.column]).pack() for axis in axes}
    return [LocatedTerm(term, tuple(found[axis] for axis in term.axes)) for term in layout.terms]


def fit_all_rows(planned: AdditiveFit, columns: Columns, y: Ints, n_planned: int) -> AdditiveFit:
    """Fit the coefficients of a plan to all rows of a large table, in few passes.

    Parameters
    ----------
    planned : AdditiveFit
        Fitted to a sample.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The features of all rows.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    n_planned : int
        The number of rows in the sample.

    Returns
    -------
    AdditiveFit
        Levels, strengths and pairs are those of the plan.

    Notes
    -----
    The gradient is that of all rows. The curvature is that of the sample, and no design is made:
    sums by level do. A step is halved until the likelihood does not fall, since the sample knows
    little of rare levels.
    """
    layout, solution = planned.layout, planned.solution
    located = locate_terms(layout, columns)
    bent = planned.curvature.times(len(y) / n_planned)
    penalty = layout.penalty(solution.strengths)
    factor = cho_factor(bent.eliminate() + penalty, lower=True)

    def predict(coefficients: Floats) -> Floats:
        """Return the log-odds of all rows, without the intercept."""
        total = np.zeros(len(y))
        for own, place in zip(located, layout.slices, strict=True):
            total += own.log_odds(coefficients[place])
        return total

    intercept, coefficients = solution.intercept, solution.coefficients
    log_odds = intercept + predict(coefficients)
    for _ in range(N_PASSES):
        residual = y - additive_solver.weights_of(log_odds)[0]
        sums = np.concatenate([own.gradient(residual) for own in located])
        gradient = sums - penalty @ coefficients
        change, changes = additive_solver.solve(factor, bent, gradient, float(residual.sum()))
        step = Step(change, changes, change + predict(changes))
        fraction = additive_solver.halve(y, log_odds, coefficients, penalty, step)
        intercept, coefficients = intercept + fraction * change, coefficients + fraction * changes
        log_odds = log_odds + fraction * step.log_odds
        if fraction * float(np.sqrt(np.mean(step.log_odds**2))) < SETTLED:
            break
    found = replace(solution, intercept=intercept, coefficients=coefficients)
    return replace(planned, solution=found, curvature=bent)
