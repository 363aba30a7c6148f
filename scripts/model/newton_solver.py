"""Fits a logistic regression to very many rows: few Newton steps, each one pass over the rows."""

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


def penalise(weights: Floats) -> Slope:
    """Compute half the squared coefficients, with gradient and curvature; the intercept is free."""
    penalty = np.append(np.ones(len(weights) - 1), 0.0)
    return Slope(float(penalty @ weights**2) / 2, penalty * weights, np.diag(penalty))


def measure_rows(X: Floats, y: NDArray[Any], weights: Floats, C: float) -> Slope:
    """Compute C times the summed log loss, its gradient and its curvature in one pass over rows.

    Parameters
    ----------
    X : numpy.ndarray of shape (n_rows, n_features)
        The features.
    y : numpy.ndarray of shape (n_rows,)
        The target, 0 or 1.
    weights : numpy.ndarray of shape (n_features + 1,)
        Coefficients, then the intercept.
    C : float
        Inverse regularisation, as scikit-learn has it.

    Returns
    -------
    Slope
        Without the penalty.
    """
    n_weights = len(weights)
    loss, gradient, curvature = 0.0, np.zeros(n_weights), np.zeros((n_weights, n_weights))
    # In parts that stay in the cache.
    for start in range(0, len(y), CHUNK_ROWS):
        part, truth = X[start : start + CHUNK_ROWS], y[start : start + CHUNK_ROWS]
        log_odds = part @ weights[:-1] + weights[-1]
        small = np.exp(-np.abs(log_odds))
        probability = np.where(log_odds >= 0, 1.0, small) / (1 + small)
        loss += float(np.log1p(small).sum() + np.maximum(log_odds, 0).sum() - truth @ log_odds)
        error = probability - truth
        gradient[:-1] += part.T @ error
        gradient[-1] += error.sum()
        spread = probability * (1 - probability)
        bent = part * spread[:, np.newaxis]
        curvature[:-1, :-1] += part.T @ bent
        curvature[-1, :-1] += bent.sum(axis=0)
        curvature[-1, -1] += spread.sum()
        progress.advance(len(truth), len(truth))
    curvature[:-1, -1] = curvature[-1, :-1]
    return Slope(C * loss, C * gradient, C * curvature)


def measure(X: Floats, y: NDArray[Any], weights: Floats, C: float) -> Slope:
    """Compute the slope of C times the summed log loss plus half the squared coefficients."""
    return penalise(weights) + measure_rows(X, y, weights, C)


def next_step(at: Slope) -> Floats:
    """Solve for Newton's step; brought to one scale first, since columns may differ by millions."""
    scale = np.sqrt(np.diag(at.curvature))
    scaled = at.curvature / np.outer(scale, scale)
    step: Floats = np.linalg.solve(scaled, at.gradient / scale) / scale
    return step


def descend(X: Floats, y: NDArray[Any], weights: Floats, C: float) -> Floats | None:
    """Return the weights of the minimum, found from some weights, or None if it is not reached."""
    at = measure(X, y, weights, C)
    for _ in range(MAX_STEPS):
        try:
            step = next_step(at)
        except np.linalg.LinAlgError:
            return None
        gain = float(at.gradient @ step) / 2
        if not np.isfinite(step).all() or gain < 0:
            return None
        if gain <= MIN_GAIN_FRACTION * at.loss:
            return weights - step
        for halving in range(MAX_HALVINGS):
            tried = weights - step / 2**halving
            slope = measure(X, y, tried, C)
            if slope.loss < at.loss:
                break
        else:
            return None
        weights, at = tried, slope
    return None


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
        start = descend(X[sample], y[sample], np.zeros(X.shape[1] + 1), C * every)
    return None if start is None else descend(X, y, start, C)
