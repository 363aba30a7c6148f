"""How a model is fitted: its scale, its threshold and its calibration, and to which rows.

Splits a dataset into the rows that a model is fitted to and those it is validated on.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from scripts.core.config import Schema, TrainingSettings
from scripts.core.errors import InsufficientDataError
from scripts.data import dataset
from scripts.model import calibration, decision_threshold, model_selection, sklearn_pipeline
from scripts.model.calibration import Calibration
from scripts.model.decision_threshold import HeldOut
from scripts.model.model_selection import TableAndLabels
from scripts.model.sklearn_pipeline import FeatureSettings

# Of more rows a tenth more is not seen in the result.
MAX_ROWS_TO_REFIT = 100_000
# Of very many rows so many are planned with.
N_ROWS_TO_PLAN = 100_000

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FitPlan:
    """The threshold that cross-validation chose, and what it rests on."""

    threshold: float
    held_out: HeldOut | None = None


def draw_sample(X: pd.DataFrame, y: Ints, settings: TrainingSettings) -> tuple[pd.DataFrame, Ints]:
    """Take the rows to plan with: all, or of very many as many as tell as much."""
    if len(y) <= sklearn_pipeline.MANY_ROWS:
        return X, y
    generator = np.random.default_rng(settings.random_state)
    places = np.sort(generator.choice(len(y), N_ROWS_TO_PLAN, replace=False))
    # A class too rare for a sample is looked for among all rows.
    if np.bincount(y[places], minlength=2).min() < model_selection.MIN_ROWS_TO_TUNE:
        return X, y
    return X.iloc[places], y[places]


def make_plan(
    X: pd.DataFrame,
    y: Ints,
    schema: Schema,
    settings: TrainingSettings,
    *looked_at: FeatureSettings,
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
    *looked_at : Form
        The forms of the models that predict the held-out rows; the first that converges counts.

    Returns
    -------
    Plan
        With fewer than 50 rows of a class the threshold is 0.5 and nothing is held out.
    """
    declared = settings.decision_threshold
    threshold = 0.5 if declared == "auto" else float(declared)
    if not model_selection.is_tunable(y):
        return FitPlan(threshold)
    tried = (
        decision_threshold.predict_held_out(X, y, schema, settings, form) for form in looked_at
    )
    held_out = next((found for found in tried if found is not None), None)
    if declared == "auto" and held_out is not None:
        threshold = decision_threshold.best_threshold(y, held_out)
    return FitPlan(threshold, held_out)


@dataclass(frozen=True)
class Fit:
    """The pipeline that was validated, the final one, their threshold and their calibration."""

    validated: Pipeline
    final: Pipeline
    threshold: float
    calibration: Calibration = field(default_factory=Calibration)


def calibrate(
    fitted: Fit, plan: FitPlan, y: Ints, validation: TableAndLabels, settings: TrainingSettings
) -> Fit:
    """Calibrate both pipelines of a fit, and its tuned threshold with them, if that pays."""
    if plan.held_out is None:
        return fitted
    found = calibration.calibrate(y, plan.held_out.log_odds)
    log_odds = fitted.validated.decision_function(validation[0])
    if not calibration.does_pay(validation[1], log_odds, found):
        return fitted
    for pipeline in {id(p): p for p in (fitted.validated, fitted.final)}.values():
        calibration.apply(pipeline, found)
    if settings.decision_threshold != "auto":
        return replace(fitted, calibration=found)
    shifted = calibration.shift_threshold(fitted.threshold, found)
    return replace(fitted, threshold=shifted, calibration=found)


def fit(
    training: TableAndLabels,
    validation: TableAndLabels,
    whole: TableAndLabels,
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
    is_refitted = model_selection.is_tunable(y) and len(whole[1]) <= MAX_ROWS_TO_REFIT
    sample = draw_sample(*training, settings)
    # Of many rows each weighs so little that the penalty, which scaling makes fair, does too.
    validated, form = model_selection.choose(
        sample, validation, schema, settings, usually_scaled=is_refitted
    )
    looked_at = [form]
    if is_refitted and form.scaled:
        told = model_selection.choose_for_threshold(
            form, validated, sample, validation, schema, settings
        )
        looked_at = [told, form]
    if len(sample[1]) < len(y):
        validated = sklearn_pipeline.fit_pipeline(*training, schema, settings, form) or validated
    rows = whole if is_refitted else sample
    plan = make_plan(*rows, schema, settings, *looked_at)
    again = sklearn_pipeline.fit_pipeline(*rows, schema, settings, form) if is_refitted else None
    final = validated if again is None else again
    fitted = Fit(validated, final, plan.threshold)
    return calibrate(fitted, plan, rows[1], validation, settings)


class LabelledRows(TypedDict):
    """Features of shape (n_rows, n_features) and target of shape (n_rows,)."""

    X: pd.DataFrame
    y: NDArray[np.int64]


class ValidationSplit(TypedDict):
    """The rows a model is fitted to, and those it is validated on."""

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
    """Take the identifiers off a dataset and, if wanted, split it.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A dataset. It is left unchanged.
    schema : Schema
        Its columns.
    settings : TrainingSettings
        `validation_fraction` and `random_state` of the split.
    create_val_data : bool
        Whether to split.

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
