"""Fits a logistic regression to the latest dataset and writes it, also as plain numbers."""

import importlib.metadata
import logging
import pickle
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypedDict, overload

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
    train_test_split,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from scripts import artifacts, dataset, evaluation, model, reference
from scripts.artifacts import Kind
from scripts.config import Config, Schema, TrainingSettings
from scripts.console import run_as_script
from scripts.errors import InsufficientDataError, ModelError
from scripts.model import CategoricalTerm, DatasetFacts, Model, NumericTerm

MIN_ROWS_TO_TUNE = 50
N_FOLDS = 5
TOLERANCE = 1e-12
PACKAGES = ("numpy", "pandas", "scikit-learn")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A fitted model: as plain numbers and as the scikit-learn object they were read from."""

    model: Model
    estimator: FixedThresholdClassifier


@dataclass(frozen=True)
class Training:
    """The files a training made, and the stamp they share."""

    model_path: Path
    pickle_path: Path
    dataset_path: Path
    stamp: str
    model: Model


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


def make_pipeline(schema: Schema, settings: TrainingSettings) -> Pipeline:
    """Make the unfitted pipeline: medians for blanks, one column per category, regression."""
    medians = SimpleImputer(strategy="median", keep_empty_features=True)
    columns = ColumnTransformer(
        [
            ("numeric", medians, list(schema.numeric)),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), list(schema.categorical)),
        ]
    )
    # lbfgs, the default, stops unconverged on features that are not scaled.
    regression = LogisticRegression(C=settings.C, solver="newton-cholesky", max_iter=1000)
    return Pipeline([("columns", columns), ("regression", regression)])


def f1_or_zero(y: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Compute F1 as scikit-learn's "f1" does, which takes 50 times as long to check its input."""
    return evaluation.f1_of(y, predicted) or 0.0


def choose_threshold(
    X: pd.DataFrame, y: NDArray[np.int64], schema: Schema, settings: TrainingSettings
) -> float:
    """Choose the decision threshold: the configured one, or the best cross-validated F1.

    Parameters
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
        Training rows.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    schema : Schema
        The columns.
    settings : TrainingSettings
        `decision_threshold` is a number, or "auto".

    Returns
    -------
    float
        In [0, 1]; with "auto", 0.5 when a class has fewer than 50 rows.

    Notes
    -----
    scikit-learn user guide, "Tuning the decision threshold for class prediction".
    """
    if settings.decision_threshold != "auto":
        return float(settings.decision_threshold)
    if np.bincount(y, minlength=2).min() < MIN_ROWS_TO_TUNE:
        return 0.5
    tuned = TunedThresholdClassifierCV(
        make_pipeline(schema, settings), scoring=make_scorer(f1_or_zero), cv=N_FOLDS, refit=True
    ).fit(X, y)
    return float(tuned.best_threshold_)


def numeric_terms(pipeline: Pipeline, schema: Schema) -> tuple[NumericTerm, ...]:
    """Read medians and coefficients of the numeric columns off a fitted pipeline."""
    if not schema.numeric:
        return ()
    medians = pipeline["columns"].named_transformers_["numeric"].statistics_
    # A column without any value has no median; scikit-learn fills it with 0, and so do we.
    medians = np.nan_to_num(medians)
    coefficients = pipeline["regression"].coef_[0][: len(schema.numeric)]
    return tuple(
        NumericTerm(column=name, median=float(median), coefficient=float(coefficient))
        for name, median, coefficient in zip(schema.numeric, medians, coefficients, strict=True)
    )


def categorical_terms(pipeline: Pipeline, schema: Schema) -> tuple[CategoricalTerm, ...]:
    """Read categories and coefficients of the categorical columns off a fitted pipeline."""
    if not schema.categorical:
        return ()
    coefficients = iter(pipeline["regression"].coef_[0][len(schema.numeric) :])
    encoder = pipeline["columns"].named_transformers_["categorical"]
    return tuple(
        CategoricalTerm(
            column=name,
            categories=tuple(str(category) for category in categories),
            coefficients=tuple(float(next(coefficients)) for _ in categories),
        )
        for name, categories in zip(schema.categorical, encoder.categories_, strict=True)
    )


def check_equal(candidate: Model, pipeline: Pipeline, table: pd.DataFrame) -> None:
    """Refuse plain numbers that do not give scikit-learn's probabilities to 1e-12."""
    ours = model.probabilities(candidate, dataset.feature_arrays(table, candidate.schema))
    theirs = pipeline.predict_proba(dataset.features(table, candidate.schema))[:, 1]
    furthest = float(np.abs(ours - theirs).max())
    if not furthest <= TOLERANCE:
        raise ModelError(
            f"The plain numbers are {furthest:g} away from scikit-learn's probabilities; at most"
            f" {TOLERANCE:g} is right. This is a fault of the program: please report it."
        )


def describe_dataset(table: pd.DataFrame, sha256: str, schema: Schema) -> DatasetFacts:
    """Say what a model was trained on."""
    return DatasetFacts(
        sha256=sha256,
        n_rows=len(table),
        n_positives=int(dataset.target(table, schema).sum()),
        missing_fractions=dataset.missing_fractions(table),
        summary=dataset.summarise(table, schema),
    )


def validate(estimator: FixedThresholdClassifier, rows: Rows) -> dict[str, float | int | None]:
    """Measure F1 and accuracy on the validation rows."""
    probability = estimator.predict_proba(rows["X"])[:, 1]
    measured = evaluation.evaluate(rows["y"], estimator.predict(rows["X"]), probability)
    return {"f1": measured.f1, "accuracy": measured.accuracy, "n_rows": measured.n_rows}


def fit_estimator(
    X: pd.DataFrame, y: NDArray[np.int64], config: Config
) -> tuple[Pipeline, FixedThresholdClassifier]:
    """Fit the pipeline, and the same pipeline with its decision threshold around it."""
    n_positives = int(y.sum())
    if n_positives in (0, len(y)):
        raise InsufficientDataError(
            f"All {len(y)} training rows have the same label; both are needed. Add data."
        )
    threshold = choose_threshold(X, y, config.schema, config.training)
    pipeline = make_pipeline(config.schema, config.training).fit(X, y)
    # Frozen, so that adding the threshold does not fit a second time.
    estimator = FixedThresholdClassifier(
        FrozenEstimator(pipeline), threshold=threshold, pos_label=1, response_method="predict_proba"
    )
    return pipeline, estimator.fit(X, y)


def package_versions() -> dict[str, str]:
    """Say what the model was made with."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **versions}


def fit_candidate(table: pd.DataFrame, dataset_sha256: str, config: Config) -> Candidate:
    """Fit a model to a dataset; nothing is written.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A dataset. It is left unchanged.
    dataset_sha256 : str
        What identifies it, for the record in the model.
    config : Config
        Schema and training settings.

    Returns
    -------
    Candidate
        The same table and settings always give the same model.

    Raises
    ------
    InsufficientDataError
        If there are too few rows to split, or only one class to learn from.
    """
    schema, settings = config.schema, config.training
    split = prepare_dataset(table, schema, settings, create_val_data=True)
    X, y = split["training"]["X"], split["training"]["y"]
    pipeline, estimator = fit_estimator(X, y, config)
    fitted = Model(
        format=model.FORMAT,
        schema=schema,
        numeric=numeric_terms(pipeline, schema),
        categorical=categorical_terms(pipeline, schema),
        intercept=float(pipeline["regression"].intercept_[0]),
        threshold=float(estimator.threshold),
        dataset=describe_dataset(table, dataset_sha256, schema),
        n_training_rows=len(y),
        settings=msgspec.structs.asdict(settings),
        validation=validate(estimator, split["val"]),
        versions=package_versions(),
    )
    check_equal(fitted, pipeline, table)
    return Candidate(reference.add_reference(fitted, table), estimator)


def main(config: Config, *, dataset_path: Path | None = None) -> Training:
    """Read the latest dataset, fit a model, write it as a pickle and as plain numbers."""
    if dataset_path is None:
        dataset_path = artifacts.find_latest(config.output_folder_path, Kind.DATASET, "ingestion")
    stamp_of_dataset = artifacts.stamp_of(dataset_path)
    schema_path = Kind.SCHEMA.path(dataset_path.parent, stamp_of_dataset)
    config = msgspec.structs.replace(config, schema=dataset.read_schema(schema_path, config.schema))
    table, sha256 = dataset.read_dataset(dataset_path, config.schema)
    candidate = fit_candidate(table, sha256, config)
    log.info(
        "Fitted %d of %d rows; validation F1 %s, accuracy %.3f; threshold %.3f.",
        candidate.model.n_training_rows, len(table), candidate.model.validation["f1"],
        candidate.model.validation["accuracy"], candidate.model.threshold,
    )  # fmt: skip

    folder, stamp = config.output_model_path, stamp_of_dataset
    if Kind.MODEL.path(folder, stamp).exists():
        stamp = artifacts.next_stamp(datetime.now(UTC), [config.output_folder_path, folder])
    pickle_path = Kind.PICKLE.path(folder, stamp)
    artifacts.write_whole(pickle_path, pickle.dumps(candidate.estimator))
    model_path = Kind.MODEL.path(folder, stamp)
    artifacts.write_whole(model_path, model.encode_model(candidate.model))
    log.info("Wrote the model to %s and %s.", model_path, pickle_path.name)
    return Training(model_path, pickle_path, dataset_path, stamp, candidate.model)


if __name__ == "__main__":
    run_as_script(main, exclusive=True)
