"""Splits a dataset into the rows that a model is fitted to and those it is validated on."""

from typing import Literal, TypedDict, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from scripts import dataset
from scripts.config import Schema, TrainingSettings
from scripts.errors import InsufficientDataError


class Rows(TypedDict):
    """Features of shape (n_rows, n_features) and target of shape (n_rows,)."""

    X: pd.DataFrame
    y: NDArray[np.int64]


class Split(TypedDict):
    """The rows a model is fitted to, and those it is validated on."""

    training: Rows
    val: Rows


@overload
def prepare_dataset(
    table: pd.DataFrame,
    schema: Schema,
    settings: TrainingSettings,
    *,
    create_val_data: Literal[True] = True,
) -> Split: ...


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
) -> Split | pd.DataFrame:
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
