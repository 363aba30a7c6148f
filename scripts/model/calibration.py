"""Calibration of a regression by slope and offset of its log-odds, where validation rows gain."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from scripts.data.arrays import Floats, Ints
from scripts.model import logistic_model, model_selection


@dataclass(frozen=True)
class Calibration:
    """Slope and offset of the log-odds, 1 and 0 without a correction."""

    slope: float = 1.0
    offset: float = 0.0


def calibrate(y: Ints, held_out: Floats) -> Calibration:
    """Fit slope and offset to held-out log-odds, by Platt's method."""
    platt = LogisticRegression(C=1e9, solver="newton-cholesky")
    platt.fit(held_out[:, np.newaxis], y)
    return Calibration(float(platt.coef_[0, 0]), float(platt.intercept_[0]))


def does_pay(y: Ints, log_odds: Floats, fitted: Calibration) -> bool:
    """Decide whether a calibration lowers the Brier score of validation rows by more than chance.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    log_odds : numpy.ndarray of shape (n_rows,)
        Of the model to calibrate.
    fitted : Calibration
        Slope and offset.

    Returns
    -------
    bool
        Whether the mean gain is more than two of its standard errors. False for a slope that
        would reverse the order of the rows.
    """
    if fitted.slope <= 0:
        return False
    before = (logistic_model.sigmoid(log_odds) - y) ** 2
    after = (logistic_model.sigmoid(fitted.slope * log_odds + fitted.offset) - y) ** 2
    return model_selection.is_more_than_chance(before - after)


def apply(pipeline: Pipeline, fitted: Calibration) -> None:
    """Multiply a calibration into the coefficients and the intercept of a fitted pipeline."""
    regression = pipeline["regression"]
    regression.coef_ = regression.coef_ * fitted.slope
    regression.intercept_ = regression.intercept_ * fitted.slope + fitted.offset


def shift_threshold(threshold: float, fitted: Calibration) -> float:
    """Return the threshold with the same predictions after a calibration."""
    if not 0 < threshold < 1:
        return threshold
    log_odds = np.log(threshold) - np.log1p(-threshold)
    return float(logistic_model.sigmoid(np.array([fitted.slope * log_odds + fitted.offset]))[0])
