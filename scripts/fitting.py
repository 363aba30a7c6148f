"""How a model is fitted: its scale, its threshold and its calibration, and to which rows."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from scripts import calibration, gains, regression, thresholds
from scripts.calibration import Calibration
from scripts.config import Schema, TrainingSettings
from scripts.errors import InsufficientDataError
from scripts.thresholds import HeldOut

MIN_ROWS_TO_TUNE = 50
# Of more rows a tenth more is not seen in the result.
MAX_ROWS_TO_REFIT = 100_000
# Of very many rows so many are planned with.
N_ROWS_TO_PLAN = 100_000

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """The threshold that cross-validation chose, and what it rests on."""

    threshold: float
    held_out: HeldOut | None = None


def take_sample(X: pd.DataFrame, y: Ints, settings: TrainingSettings) -> tuple[pd.DataFrame, Ints]:
    """Take the rows to plan with: all, or of very many as many as tell as much."""
    if len(y) <= regression.MANY_ROWS:
        return X, y
    generator = np.random.default_rng(settings.random_state)
    places = np.sort(generator.choice(len(y), N_ROWS_TO_PLAN, replace=False))
    # A class too rare for a sample is looked for among all rows.
    if np.bincount(y[places], minlength=2).min() < MIN_ROWS_TO_TUNE:
        return X, y
    return X.iloc[places], y[places]


def make_plan(
    X: pd.DataFrame,
    y: Ints,
    schema: Schema,
    settings: TrainingSettings,
    *,
    scaled: bool = False,
) -> Plan:
    """Choose the threshold by cross-validation.

    Parameters
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
        Rows to learn from.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    schema : Schema
        The columns.
    settings : TrainingSettings
        `decision_threshold` is a number, or "auto".
    scaled : bool
        Whether numeric columns are scaled.

    Returns
    -------
    Plan
        With fewer than 50 rows of a class the threshold is 0.5 and nothing is held out.
    """
    declared = settings.decision_threshold
    threshold = 0.5 if declared == "auto" else float(declared)
    if not is_tunable(y):
        return Plan(threshold)
    held_out = thresholds.hold_out(X, y, schema, settings, scaled=scaled)
    if declared == "auto" and held_out is not None:
        threshold = thresholds.best_threshold(y, held_out)
    return Plan(threshold, held_out)


def is_tunable(y: Ints) -> bool:
    """Say whether there are enough rows of both classes to choose anything by them."""
    return bool(np.bincount(y, minlength=2).min() >= MIN_ROWS_TO_TUNE)


def choose_pipeline(
    training: tuple[pd.DataFrame, Ints],
    validation: tuple[pd.DataFrame, Ints],
    schema: Schema,
    settings: TrainingSettings,
) -> tuple[Pipeline, bool]:
    """Fit to the training rows, scaled only if that pays on the validation rows.

    Returns
    -------
    tuple of sklearn.pipeline.Pipeline and bool
        The fitted pipeline and whether it is scaled: when the log loss of the validation rows is
        lower by more than chance, or when without it the fit does not converge.
    """
    X, y = training
    raw = regression.fit_pipeline(X, y, schema, settings, scaled=False)
    if raw is not None and not (schema.numeric and is_tunable(y)):
        return raw, False
    scaled = regression.make_pipeline(X, schema, settings, scaled=True).fit(X, y)
    if raw is None:
        return scaled, True
    before, after = (
        gains.row_losses(validation[1], fitted.decision_function(validation[0]))
        for fitted in (raw, scaled)
    )
    pays = gains.is_more_than_chance(before - after)
    return (scaled, True) if pays else (raw, False)


@dataclass(frozen=True)
class Fit:
    """The pipeline that was validated, the final one, their threshold and their calibration."""

    validated: Pipeline
    final: Pipeline
    threshold: float
    calibration: Calibration = field(default_factory=Calibration)


def fit(
    training: tuple[pd.DataFrame, Ints],
    validation: tuple[pd.DataFrame, Ints],
    whole: tuple[pd.DataFrame, Ints],
    schema: Schema,
    settings: TrainingSettings,
) -> Fit:
    """Fit a pipeline with its threshold, scaled and calibrated where that pays.

    Parameters
    ----------
    training, validation, whole : tuple of pandas.DataFrame and numpy.ndarray
        Features and target of nine tenths, of one tenth, and of all rows.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Of the regression and the threshold.

    Returns
    -------
    Fit
        With at least 50 training rows of each class, and not very many rows, the threshold is
        tuned on all rows and the final pipeline fitted to them, as what was validated would be.

    Raises
    ------
    InsufficientDataError
        If there is only one class to learn from.
    """
    y = training[1]
    if int(y.sum()) in (0, len(y)):
        raise InsufficientDataError(
            f"All {len(y)} training rows have the same label; both are needed. Add data."
        )
    sample = take_sample(*training, settings)
    validated, scaled = choose_pipeline(sample, validation, schema, settings)
    if len(sample[1]) < len(y):
        validated = regression.fit_pipeline(*training, schema, settings, scaled=scaled) or validated
    is_refitted = is_tunable(y) and len(whole[1]) <= MAX_ROWS_TO_REFIT
    rows = whole if is_refitted else sample
    plan = make_plan(*rows, schema, settings, scaled=scaled)
    again = regression.fit_pipeline(*rows, schema, settings, scaled=scaled) if is_refitted else None
    final = validated if again is None else again
    if plan.held_out is None:
        return Fit(validated, final, plan.threshold)
    found = calibration.calibrate(rows[1], plan.held_out.log_odds)
    if not calibration.does_pay(validation[1], validated.decision_function(validation[0]), found):
        return Fit(validated, final, plan.threshold)
    for pipeline in {id(p): p for p in (validated, final)}.values():
        calibration.apply(pipeline, found)
    is_declared = settings.decision_threshold != "auto"
    threshold = (
        plan.threshold if is_declared else calibration.shift_threshold(plan.threshold, found)
    )
    return Fit(validated, final, threshold, found)
