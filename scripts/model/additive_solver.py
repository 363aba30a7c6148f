"""Penalised logistic regression by Newton steps, with strengths by marginal likelihood."""

from itertools import pairwise

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from scipy.linalg import cho_factor, cho_solve, lapack

from scripts.data.arrays import Floats, Ints
from scripts.model import logistic_model, penalties
from scripts.model.basis import Axis
from scripts.model.penalties import Penalty

FIRST_STRENGTH = 10.0
# Keeps every coefficient defined, also one without a row and without a penalty.
FAINT_RIDGE = 1e-5
LARGEST_LOG_ODDS, SMALLEST_WEIGHT = 30.0, 1e-6
# Strengths are learned until log-odds move by less than this, root mean square over the rows.
SETTLED = 0.01
# Coefficients are settled to this change, far below any difference that can be seen.
CONVERGED = 1e-9
MIN_LEARNING_STEPS, SMALLEST_STEP = 3, 1e-3


class Term(Struct, frozen=True):
    """A term of an additive model: the levels of a column, or of a pair of columns.

    With a contrast, shape (n_levels, n_coefficients), levels share coefficients.
    """

    axes: tuple[Axis, ...]
    penalties: tuple[Penalty, ...]
    contrast: Floats | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(axis.column for axis in self.axes)

    @property
    def n_levels(self) -> int:
        """The number of levels, or of combinations of levels."""
        return int(np.prod([axis.n_levels for axis in self.axes]))

    @property
    def size(self) -> int:
        """The number of coefficients."""
        return self.n_levels if self.contrast is None else self.contrast.shape[1]

    @property
    def matrices(self) -> list[Floats]:
        """The matrix of each penalty on the coefficients."""
        if self.contrast is None:
            return [penalty.matrix for penalty in self.penalties]
        return [self.contrast.T @ penalty.matrix @ self.contrast for penalty in self.penalties]

    def values(self, coefficients: Floats) -> Floats:
        """Return the value of each level."""
        return coefficients if self.contrast is None else self.contrast @ coefficients


class Layout(Struct, frozen=True):
    """The order of the terms in the vector of coefficients."""

    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        """The number of coefficients."""
        return sum(term.size for term in self.terms)

    @property
    def slices(self) -> list[slice]:
        """The coefficients of each term."""
        ends = np.cumsum([0, *(term.size for term in self.terms)]).tolist()
        return [slice(start, end) for start, end in pairwise(ends)]

    @property
    def parts(self) -> list[tuple[slice, Penalty, Floats]]:
        """Each penalty with the positions of its coefficients, and the matrix over them."""
        return [
            (place, penalty, matrix)
            for place, term in zip(self.slices, self.terms, strict=True)
            for penalty, matrix in zip(term.penalties, term.matrices, strict=True)
        ]

    def penalty(self, strengths: Floats) -> Floats:
        """Return the penalty of all coefficients, shape (n_coefficients, n_coefficients)."""
        total = FAINT_RIDGE * np.eye(self.size)
        for strength, (place, _, matrix) in zip(strengths, self.parts, strict=True):
            total[place, place] += strength * matrix
        return total


class Solution(Struct, frozen=True):
    """Intercept and coefficients, and the strengths of the penalties."""

    intercept: float
    coefficients: Floats
    strengths: Floats


class Curvature(Struct, frozen=True):
    """Second derivatives of the log loss of rows by the coefficients and the intercept."""

    matrix: Floats
    cross: Floats
    intercept: float

    def plus(self, other: "Curvature") -> "Curvature":
        """Return the curvature with more rows."""
        return Curvature(
            self.matrix + other.matrix,
            self.cross + other.cross,
            self.intercept + other.intercept,
        )

    def eliminate(self) -> Floats:
        """Return the curvature of the coefficients with the best intercept for each."""
        return np.asarray(self.matrix - np.outer(self.cross, self.cross) / self.intercept)

    def minus(self, other: "Curvature") -> "Curvature":
        """Return the curvature without some rows."""
        return Curvature(
            self.matrix - other.matrix,
            self.cross - other.cross,
            self.intercept - other.intercept,
        )

    def times(self, factor: float) -> "Curvature":
        """Return the curvature of the rows repeated a number of times."""
        return Curvature(self.matrix * factor, self.cross * factor, self.intercept * factor)


def weights_of(log_odds: Floats) -> tuple[Floats, Floats]:
    """Return the probability and the curvature weight of each row."""
    probability = logistic_model.sigmoid(np.clip(log_odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS))
    return probability, np.maximum(probability * (1 - probability), SMALLEST_WEIGHT)


def curvature_of(design: Floats, weight: Floats) -> Curvature:
    """Compute the curvature of the log loss of rows with these weights."""
    weighted = design * np.sqrt(weight)[:, np.newaxis]
    return Curvature(weighted.T @ weighted, weight @ design, float(weight.sum()))


def penalised_likelihood(y: Ints, log_odds: Floats, coefficients: Floats, penalty: Floats) -> float:
    """Compute the log likelihood of the rows minus half of the penalty."""
    likelihood = (y * log_odds - np.logaddexp(0, log_odds)).sum()
    return float(likelihood - coefficients @ penalty @ coefficients / 2)


class Step(Struct, frozen=True):
    """A Newton step: changes of intercept, coefficients and log-odds."""

    intercept: float
    coefficients: Floats
    log_odds: Floats


def halve(y: Ints, log_odds: Floats, coefficients: Floats, penalty: Floats, step: Step) -> float:
    """Return the largest tried fraction of a step with a rising penalised likelihood."""
    before = penalised_likelihood(y, log_odds, coefficients, penalty)
    fraction = 1.0
    while fraction > SMALLEST_STEP:
        moved = log_odds + fraction * step.log_odds
        changed = coefficients + fraction * step.coefficients
        if penalised_likelihood(y, moved, changed, penalty) >= before - 1e-9 * abs(before):
            break
        fraction /= 2
    return fraction


def solve(
    factor: tuple[Floats, bool], bent: Curvature, gradient: Floats, residual: float
) -> tuple[float, Floats]:
    """Return the changes of intercept and coefficients to a vanishing gradient."""
    change = cho_solve(factor, gradient - bent.cross * residual / bent.intercept)
    return float((residual - bent.cross @ change) / bent.intercept), change


def invert(factor: tuple[Floats, bool]) -> Floats:
    """Return the inverse of a matrix by its lower Cholesky factor."""
    # A third of the work of solving for each column of the identity.
    lower, _ = lapack.dpotri(factor[0], lower=True)
    lower = np.tril(lower)
    return np.asarray(lower + lower.T - np.diag(np.diag(lower)))


def learn_strengths(
    layout: Layout, strengths: Floats, coefficients: Floats, covariance: Floats
) -> Floats:
    """Update the strengths of all penalties."""
    freedom, sizes = [], []
    kinds = []
    for strength, (place, penalty, matrix) in zip(strengths, layout.parts, strict=True):
        own = coefficients[place]
        trace = float((covariance[place, place] * matrix).sum())
        freedom.append(penalty.rank - strength * trace)
        sizes.append(float(own @ matrix @ own))
        kinds.append(penalty.kind)
    return penalties.update_strengths(strengths, kinds, np.array(freedom), np.array(sizes))


def start(layout: Layout, y: Ints) -> Solution:
    """Return the solution of the mean alone."""
    share = float(np.mean(y))
    strengths = np.full(len(layout.parts), FIRST_STRENGTH)
    return Solution(float(np.log(share / (1 - share))), np.zeros(layout.size), strengths)


def extend(before: Solution, layout: Layout) -> Solution:
    """Return a solution of more terms, with the new terms at 0."""
    missing = layout.size - len(before.coefficients)
    new = len(layout.parts) - len(before.strengths)
    return replace(
        before,
        coefficients=np.append(before.coefficients, np.zeros(missing)),
        strengths=np.append(before.strengths, np.full(new, FIRST_STRENGTH)),
    )


class State(Struct, frozen=True):
    """A solution with the log-odds of the rows and the length of the last step."""

    solution: Solution
    log_odds: Floats
    moved: float = np.inf


def make_step(
    state: State, y: Ints, design: Floats, penalty: Floats, bent: Curvature,
    factor: tuple[Floats, bool],
) -> State:  # fmt: skip
    """Return the state after a Newton step, halved until the likelihood does not fall."""
    old = state.solution
    residual = y - weights_of(state.log_odds)[0]
    gradient = residual @ design - penalty @ old.coefficients
    change, changes = solve(factor, bent, gradient, float(residual.sum()))
    step = Step(change, changes, change + design @ changes)
    fraction = halve(y, state.log_odds, old.coefficients, penalty, step)
    return State(
        replace(
            old,
            intercept=old.intercept + fraction * change,
            coefficients=old.coefficients + fraction * changes,
        ),
        state.log_odds + fraction * step.log_odds,
        fraction * float(np.sqrt(np.mean(step.log_odds**2))),
    )


def fit(
    design: Floats, y: Ints, layout: Layout, begin: Solution, *, n_steps: int, learns: bool
) -> tuple[Solution, Curvature]:
    """Fit coefficients by Newton steps, and learn the strengths of the penalties on the way.

    Parameters
    ----------
    design : numpy.ndarray of shape (n_rows, n_coefficients)
        The weights of the levels.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1, both at least once.
    layout : Layout
        The terms.
    begin : Solution
        Where to start.
    n_steps : int
        At most so many steps.
    learns : bool
        Whether the strengths change. Else coefficients are settled to 1e-9.

    Returns
    -------
    tuple of Solution and Curvature
        The curvature is that of the last step.

    Notes
    -----
    Newton's method on the penalised log likelihood, with the intercept, which has no penalty,
    eliminated. A step is halved until the likelihood does not fall.
    """
    state = State(begin, begin.intercept + design @ begin.coefficients)
    bent = Curvature(np.zeros((0, 0)), np.zeros(0), 0.0)
    for number in range(n_steps):
        strengths = state.solution.strengths
        penalty = layout.penalty(strengths)
        bent = curvature_of(design, weights_of(state.log_odds)[1])
        factor = cho_factor(bent.eliminate() + penalty, lower=True)
        state = make_step(state, y, design, penalty, bent, factor)
        if learns:
            covariance = invert(factor)
            coefficients = state.solution.coefficients
            strengths = learn_strengths(layout, strengths, coefficients, covariance)
            state = replace(state, solution=replace(state.solution, strengths=strengths))
            if number >= MIN_LEARNING_STEPS and state.moved < SETTLED:
                break
        elif state.moved < CONVERGED:
            break
    return state.solution, bent
