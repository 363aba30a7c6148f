"""How probabilities are corrected so that they mean what they say, and whether that pays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from scripts.model import logistic_model, model_selection

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """What probabilities were corrected by, as slope and offset of the log-odds; 1 and 0: not."""

    slope: float = 1.0
    offset: float = 0.0


def calibrate(y: Ints, held_out: Floats) -> Calibration:
    """Find slope and offset of the log-odds that make held-out probabilities right (Platt)."""
    straight = LogisticRegression(C=1e9, solver="newton-cholesky")
    straight.fit(held_out[:, np.newaxis], y)
    return Calibration(float(straight.coef_[0, 0]), float(straight.intercept_[0]))


def does_pay(y: Ints, log_odds: Floats, found: Calibration) -> bool:
    """Say whether a calibration lowers the Brier score of validation rows by more than chance.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    log_odds : numpy.ndarray of shape (n_rows,)
        Of the model that is to be calibrated.
    found : Calibration
        Slope and offset.

    Returns
    -------
    bool
        Whether the mean gain is more than two of its standard errors; never for a slope that
        would turn the order of the rows around.
    """
    if found.slope <= 0:
        return False
    before = (logistic_model.sigmoid(log_odds) - y) ** 2
    after = (logistic_model.sigmoid(found.slope * log_odds + found.offset) - y) ** 2
    return model_selection.is_more_than_chance(before - after)


def apply(pipeline: Pipeline, found: Calibration) -> None:
    """Build a calibration into the coefficients, so that the model stays one regression."""
    fitted = pipeline["regression"]
    fitted.coef_ = fitted.coef_ * found.slope
    fitted.intercept_ = fitted.intercept_ * found.slope + found.offset


def shift_threshold(threshold: float, found: Calibration) -> float:
    """Give the threshold that calls the same rows after a calibration."""
    if not 0 < threshold < 1:
        return threshold
    log_odds = np.log(threshold) - np.log1p(-threshold)
    return float(logistic_model.sigmoid(np.array([found.slope * log_odds + found.offset]))[0])
