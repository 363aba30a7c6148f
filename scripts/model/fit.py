"""The fit of a model to a table: split, choice of features, threshold and calibration."""

from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict, overload

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from scripts.core.config import Schema, TrainingSettings
from scripts.core.errors import InsufficientDataError
from scripts.data import dataset
from scripts.data.arrays import Ints
from scripts.model import calibration, decision_threshold, model_selection, sklearn_pipeline
from scripts.model.calibration import Calibration
from scripts.model.decision_threshold import HeldOut
from scripts.model.model_selection import TableAndLabels
from scripts.model.sklearn_pipeline import FeatureSettings

# Above this size, refitting on the 10 % validation rows does not change the result.
MAX_ROWS_TO_REFIT = 100_000
# The sample of a large table on which features and threshold are chosen.
N_ROWS_TO_PLAN = 100_000


class LabelledRows(TypedDict):
    """Features of shape (n_rows, n_features) and target of shape (n_rows,)."""

    X: pd.DataFrame
    y: Ints


class ValidationSplit(TypedDict):
    """The training and the validation rows of a fit."""

    training: LabelledRows
    val: LabelledRows


@overload
def prepare_dataset(
    table: pd.DataFrame,
    schema: Schema,
    settings: TrainingSettings,
    *,
    create_val_data: Literal[True] = True,
) -> ValidationSplit: ...


@overload
def prepare_dataset(
    table: pd.DataFrame,
    schema: Schema,
    settings: TrainingSettings,
    *,
    create_val_data: Literal[False],
) -> pd.DataFrame: ...


def prepare_dataset(
    table: pd.DataFrame,
    schema: Schema,
    settings: TrainingSettings,
    *,
    create_val_data: bool = True,
) -> ValidationSplit | pd.DataFrame:
    """Split a dataset into training and validation rows, without identifiers.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A dataset. It is left unchanged.
    schema : Schema
        Its columns.
    settings : TrainingSettings
        `validation_fraction` and `random_state` of the split.
    create_val_data : bool
        Whether to split the rows.

    Returns
    -------
    dict or pandas.DataFrame
        {"training": {"X", "y"}, "val": {"X", "y"}}; without the split, the features and the
        target as one table of shape (n_rows, n_features + 1).

    Raises
    ------
    InsufficientDataError
        If there are too few rows to split.

    Notes
    -----
    sklearn.model_selection.train_test_split, on the rows in their order.
    """
    X, y = dataset.features(table, schema), dataset.target(table, schema)
    if not create_val_data:
        return X.assign(**{schema.target: y})
    try:
        X_training, X_val, y_training, y_val = train_test_split(
            X, y, test_size=settings.validation_fraction, random_state=settings.random_state
        )
    except ValueError as error:
        raise InsufficientDataError(
            f"{len(table)} rows cannot be split with validation_fraction"
            f" {settings.validation_fraction}; add data."
        ) from error
    return {"training": {"X": X_training, "y": y_training}, "val": {"X": X_val, "y": y_val}}


@dataclass(frozen=True)
class FitPlan:
    """The threshold of cross-validation and the out-of-fold log-odds behind the choice."""

    threshold: float
    held_out: HeldOut | None = None


def draw_sample(X: pd.DataFrame, y: Ints, settings: TrainingSettings) -> tuple[pd.DataFrame, Ints]:
    """Return the rows to plan with: a sample of a large table, else the whole table."""
    if len(y) <= sklearn_pipeline.MANY_ROWS:
        return X, y
    generator = np.random.default_rng(settings.random_state)
    places = np.sort(generator.choice(len(y), N_ROWS_TO_PLAN, replace=False))
    # A class too rare for the sample needs the whole table.
    if np.bincount(y[places], minlength=2).min() < model_selection.MIN_ROWS_TO_TUNE:
        return X, y
    return X.iloc[places], y[places]


def make_plan(
    X: pd.DataFrame,
    y: Ints,
    schema: Schema,
    settings: TrainingSettings,
    *candidates: FeatureSettings,
) -> FitPlan:
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
    *candidates : FeatureSettings
        Of the models for the held-out rows; the first that converges counts.

    Returns
    -------
    FitPlan
        With fewer than 50 rows of a class the threshold is 0.5 and no row is held out.
    """
    declared = settings.decision_threshold
    threshold = 0.5 if declared == "auto" else float(declared)
    if not model_selection.is_tunable(y):
        return FitPlan(threshold)
    attempts = (
        decision_threshold.predict_held_out(X, y, schema, settings, form) for form in candidates
    )
    held_out = next((result for result in attempts if result is not None), None)
    if declared == "auto" and held_out is not None:
        threshold = decision_threshold.best_threshold(y, held_out)
    return FitPlan(threshold, held_out)


@dataclass(frozen=True)
class Fit:
    """The validated and the final pipeline, with their threshold and calibration."""

    validated: Pipeline
    final: Pipeline
    threshold: float
    calibration: Calibration = field(default_factory=Calibration)


def calibrate(
    fitted: Fit, plan: FitPlan, y: Ints, validation: TableAndLabels, settings: TrainingSettings
) -> Fit:
    """Calibrate the pipelines and the tuned threshold of a fit, if validation rows gain."""
    if plan.held_out is None:
        return fitted
    correction = calibration.calibrate(y, plan.held_out.log_odds)
    log_odds = fitted.validated.decision_function(validation[0])
    if not calibration.does_pay(validation[1], log_odds, correction):
        return fitted
    for pipeline in {id(p): p for p in (fitted.validated, fitted.final)}.values():
        calibration.apply(pipeline, correction)
    if settings.decision_threshold != "auto":
        return replace(fitted, calibration=correction)
    shifted = calibration.shift_threshold(fitted.threshold, correction)
    return replace(fitted, threshold=shifted, calibration=correction)


def fit(
    training: TableAndLabels,
    validation: TableAndLabels,
    whole: TableAndLabels,
    schema: Schema,
    settings: TrainingSettings,
) -> Fit:
    """Fit a pipeline with a threshold, scaled and calibrated where validation rows gain.

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
        With at least 50 training rows of each class and at most 100,000 rows, the threshold is
        tuned on the whole table and the final pipeline refitted to it.

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
    is_refitted = model_selection.is_tunable(y) and len(whole[1]) <= MAX_ROWS_TO_REFIT
    sample = draw_sample(*training, settings)
    # On a large table the penalty weighs little, and with it the reason for scaling.
    validated, form = model_selection.choose(
        sample, validation, schema, settings, usually_scaled=is_refitted
    )
    candidates = [form]
    if is_refitted and form.scaled:
        for_threshold = model_selection.choose_for_threshold(
            form, validated, sample, validation, schema, settings
        )
        candidates = [for_threshold, form]
    if len(sample[1]) < len(y):
        validated = sklearn_pipeline.fit_pipeline(*training, schema, settings, form) or validated
    rows = whole if is_refitted else sample
    plan = make_plan(*rows, schema, settings, *candidates)
    refitted = sklearn_pipeline.fit_pipeline(*rows, schema, settings, form) if is_refitted else None
    final = validated if refitted is None else refitted
    fitted = Fit(validated, final, plan.threshold)
    return calibrate(fitted, plan, rows[1], validation, settings)
