"""The split of a table for a fit, and the fit of a plain regression to few rows."""

from typing import Literal, TypedDict, overload

import pandas as pd
from msgspec import Struct
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from scripts.core.config import Schema, TrainingSettings
from scripts.core.errors import InsufficientDataError
from scripts.data import dataset
from scripts.data.arrays import Ints
from scripts.model import sklearn_pipeline


class FeaturesAndLabels(TypedDict):
    """Features of shape (n_rows, n_features) and target of shape (n_rows,)."""

    X: pd.DataFrame
    y: Ints


class ValidationSplit(TypedDict):
    """The training and the validation rows of a fit."""

    training: FeaturesAndLabels
    val: FeaturesAndLabels


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


class FittedPipeline(Struct, frozen=True):
    """A fitted pipeline and the threshold."""

    pipeline: Pipeline
    threshold: float


def fit(training: FeaturesAndLabels, schema: Schema, settings: TrainingSettings) -> FittedPipeline:
    """Fit a plain logistic regression, for too few rows of a class to learn curves from.

    Parameters
    ----------
    training : dict
        Features and target of the training rows.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Of the regression and the threshold.

    Returns
    -------
    FittedPipeline
        With unscaled columns, or scaled ones where the fit does not converge otherwise. The
        threshold is 0.5 unless one is declared.

    Raises
    ------
    InsufficientDataError
        If there is only one class to learn from.
    """
    X, y = training["X"], training["y"]
    if int(y.sum()) in (0, len(y)):
        raise InsufficientDataError(
            f"All {len(y)} training rows have the same label; both are needed. Add data."
        )
    pipeline = sklearn_pipeline.fit_pipeline(X, y, schema, settings)
    declared = settings.decision_threshold
    return FittedPipeline(pipeline, 0.5 if declared == "auto" else float(declared))
