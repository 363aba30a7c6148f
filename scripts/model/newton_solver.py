"""Fits a logistic regression to very many rows: few Newton steps, each one pass over the rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.core import progress

MAX_STEPS = 50
MAX_HALVINGS = 20
CHUNK_ROWS = 2**14
SAMPLE_ROWS = 2**17
# The loss that the next step can still gain, as a share of the loss. One more step squares it.
MIN_GAIN_FRACTION = 1e-9

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Parts = Callable[[], Iterator[tuple[Floats, NDArray[Any]]]]


@dataclass(frozen=True)
class Slope:
    """The loss at some weights, its gradient and its curvature."""

    loss: float
    gradient: Floats
    curvature: Floats

    def __add__(self, other: "Slope") -> "Slope":
        """Add what two parts of the rows, or the rows and the penalty, have."""
        return Slope(
            self.loss + other.loss,
            self.gradient + other.gradient,
            self.curvature + other.curvature,
        )


def parts_of(X: Floats, y: NDArray[Any]) -> Parts:
    """Go over rows in parts that stay in the cache."""

    def iterate() -> Iterator[tuple[Floats, NDArray[Any]]]:
        for start in range(0, len(y), CHUNK_ROWS):
            yield X[start : start + CHUNK_ROWS], y[start : start + CHUNK_ROWS]

    return iterate


def penalise(weights: Floats) -> Slope:
    """Compute half the squared coefficients, with gradient and curvature; the intercept is free."""
    penalty = np.append(np.ones(len(weights) - 1), 0.0)
    return Slope(float(penalty @ weights**2) / 2, penalty * weights, np.diag(penalty))


def measure_rows(parts: Parts, weights: Floats, C: float) -> Slope:
    """Compute loss, gradient and curvature in one pass over rows.

    Parameters
    ----------
    parts : callable
        Goes over the features, of shape (n_rows, n_features), and the target, 0 or 1, in parts.
    weights : numpy.ndarray of shape (n_features + 1,)
        Coefficients, then the intercept.
    C : float
        Inverse regularisation, as scikit-learn has it.

    Returns
    -------
    Slope
        Of C times the summed log loss.
    """
    n_weights = len(weights)
    loss, gradient, curvature = 0.0, np.zeros(n_weights), np.zeros((n_weights, n_weights))
    for X, truth in parts():
        log_odds = X @ weights[:-1] + weights[-1]
        small = np.exp(-np.abs(log_odds))
        probability = np.where(log_odds >= 0, 1.0, small) / (1 + small)
        loss += float(np.log1p(small).sum() + np.maximum(log_odds, 0).sum() - truth @ log_odds)
        add_error(gradient, X, probability - truth)
        spread = probability * (1 - probability)
        # Column by column, as the features are in memory.
        bent = X * spread[:, np.newaxis]
        curvature[:-1, :-1] += X.T @ bent
        curvature[-1, :-1] += bent.sum(axis=0)
        curvature[-1, -1] += spread.sum()
        progress.advance(len(truth), len(truth))
    curvature[:-1, -1] = curvature[-1, :-1]
    return Slope(C * loss, C * gradient, C * curvature)


def add_error(gradient: Floats, X: Floats, error: Floats) -> None:
    """Add to a gradient what the errors of rows pull at each weight."""
    gradient[:-1] += X.T @ error
    gradient[-1] += error.sum()


def measure(parts: Parts, weights: Floats, C: float) -> Slope:
    """Compute the slope of C times the summed log loss plus half the squared coefficients."""
    return penalise(weights) + measure_rows(parts, weights, C)


def next_step(at: Slope) -> Floats:
    """Solve for Newton's step; brought to one scale first, since columns may differ by millions."""
    scale = np.sqrt(np.diag(at.curvature))
    scaled = at.curvature / np.outer(scale, scale)
    step: Floats = np.linalg.solve(scaled, at.gradient / scale) / scale
    return step


def go_near(
    measure_at: Callable[[Floats], Slope], weights: Floats, gain_fraction: float
) -> tuple[Floats, Slope] | None:
    """Go down from some weights until little can be gained.

    Parameters
    ----------
    measure_at : callable
        Gives the slope, penalty included, at some weights, wherever the rows are.
    weights : numpy.ndarray of shape (n_features + 1,)
        Where to start.
    gain_fraction : float
        The share of the loss that the last step gains at most.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_features + 1,) and Slope, or None
        The weights after the last step, and the slope before it; None where none is reached.
    """
    at = measure_at(weights)
    for _ in range(MAX_STEPS):
        try:
            step = next_step(at)
        except np.linalg.LinAlgError:
            return None
        gain = float(at.gradient @ step) / 2
        if not np.isfinite(step).all() or gain < 0:
            return None
        if gain <= gain_fraction * at.loss:
            return weights - step, at
        for halving in range(MAX_HALVINGS):
            tried = weights - step / 2**halving
            slope = measure_at(tried)
            if slope.loss < at.loss:
                break
        else:
            return None
        weights, at = tried, slope
    return None


def go_down(measure_at: Callable[[Floats], Slope], weights: Floats) -> Floats | None:
    """Go down from some weights to the minimum; None where it is not reached."""
    found = go_near(measure_at, weights, MIN_GAIN_FRACTION)
    return None if found is None else found[0]


def descend(parts: Parts, weights: Floats, C: float) -> Floats | None:
    """Go down from some weights to the minimum for rows in parts."""
    return go_down(lambda tried: measure(parts, tried, C), weights)


def fit(X: Floats, y: Ints, C: float) -> Floats | None:
    """Fit a logistic regression.

    Parameters
    ----------
    X : numpy.ndarray of shape (n_rows, n_features)
        Finite features.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1, both of them.
    C : float
        Inverse regularisation.

    Returns
    -------
    numpy.ndarray of shape (n_features + 1,) or None
        The coefficients, then the intercept, of the same minimum that scikit-learn's
        LogisticRegression looks for; None where Newton's steps do not lead there.

    Notes
    -----
    Most steps are made on evenly spaced rows, with C such that the penalty weighs as much as on
    all; from there two or three passes over all rows are left.
    """
    every = max(1, len(y) // SAMPLE_ROWS)
    start: Floats | None = np.zeros(X.shape[1] + 1)
    if every > 1:
        sample = slice(None, None, every)
        start = descend(parts_of(X[sample], y[sample]), np.zeros(X.shape[1] + 1), C * every)
    return None if start is None else descend(parts_of(X, y), start, C)
