"""Candidate models: a fit to a dataset as a model and as a scikit-learn classifier."""

import importlib.metadata
import platform

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline

from scripts.core.config import Config, Schema
from scripts.core.errors import ConfigError, InsufficientDataError
from scripts.data import dataset, deduplicate, sampling
from scripts.data.arrays import Floats, Ints
from scripts.data.profile import DatasetFacts
from scripts.data.scanned_dataset import ScannedDataset
from scripts.model import (
    additive_choice,
    additive_pipeline,
    additive_terms,
    logistic_model,
    metrics,
    reference,
    sklearn_pipeline,
)
from scripts.model import fit as model_fit
from scripts.model.additive_choice import Rows
from scripts.model.additive_terms import PlainTerms
from scripts.model.fit import FeaturesAndLabels, FittedPipeline, ValidationSplit
from scripts.model.logistic_model import Model, check_model

PACKAGES = ("numpy", "pandas", "scikit-learn")
# The rows that show scikit-learn the names and types of the columns.
N_EXAMPLES = 1_000


class FittedCandidate(Struct, frozen=True):
    """A fitted model as plain numbers, with the scikit-learn classifier behind them."""

    model: Model
    estimator: FixedThresholdClassifier


def describe_dataset(table: pd.DataFrame, sha256: str, schema: Schema) -> DatasetFacts:
    """Return hash, counts and column statistics of a training dataset."""
    return DatasetFacts(
        sha256=sha256,
        n_rows=len(table),
        n_positives=int(dataset.target(table, schema).sum()),
        missing_fractions=dataset.missing_fractions(table),
        summary=dataset.summarise(table, schema),
    )


def measure(y: Ints, probability: Floats, threshold: float) -> dict[str, float | int | None]:
    """Compute F1, accuracy and calibration metrics of the validation rows."""
    predicted = (probability >= threshold).astype(np.int64)
    return {
        "f1": metrics.f1_of(y, predicted),
        "accuracy": float(np.mean(y == predicted)),
        "n_rows": len(y),
        "brier": metrics.brier_score(y, probability),
        "expected_calibration_error": metrics.expected_calibration_error(y, probability),
    }


def wrap(
    pipeline: Pipeline, threshold: float, X: pd.DataFrame, y: Ints
) -> FixedThresholdClassifier:
    """Wrap a fitted pipeline in scikit-learn's classifier with a fixed threshold."""
    # Frozen, so that the wrapper does not fit the pipeline again.
    return FixedThresholdClassifier(
        FrozenEstimator(pipeline),
        threshold=threshold, pos_label=1, response_method="predict_proba",
    ).fit(X, y)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages behind a model."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **versions}


def make_model(
    fit: FittedPipeline, facts: DatasetFacts, n_training_rows: int, config: Config
) -> Model:
    """Return the model of a fitted pipeline, without validation metrics."""
    pipeline = fit.pipeline
    return Model(
        format=logistic_model.FORMAT,
        schema=config.schema,
        numeric=sklearn_pipeline.numeric_terms(pipeline, config.schema),
        categorical=sklearn_pipeline.categorical_terms(pipeline, config.schema),
        intercept=float(pipeline["regression"].intercept_[0]),
        threshold=fit.threshold,
        dataset=facts,
        n_training_rows=n_training_rows,
        settings=msgspec.structs.asdict(config.training),
        validation={},
        versions=package_versions(),
    )


def check_drawn_classes(y: Ints, facts: DatasetFacts) -> None:
    """Raise if the rows drawn of a dataset with both classes have a single class."""
    n_left = int(y.sum())
    if n_left in (0, len(y)) and facts.n_positives not in (0, facts.n_rows):
        raise InsufficientDataError(
            f"The {len(y)} rows drawn of {facts.n_rows} have the same label; in the dataset"
            f" {facts.n_positives} rows are of clients who left. Raise training.max_rows."
        )


def plain_model(
    terms: PlainTerms, threshold: float, facts: DatasetFacts, n_training_rows: int, config: Config
) -> Model:
    """Return the model of plain terms, without validation metrics."""
    return Model(
        format=logistic_model.FORMAT,
        schema=config.schema,
        numeric=terms.numeric,
        categorical=terms.categorical,
        pairs=terms.pairs,
        intercept=terms.intercept,
        threshold=threshold,
        dataset=facts,
        n_training_rows=n_training_rows,
        settings=msgspec.structs.asdict(config.training),
        validation={},
        versions=package_versions(),
    )


def check_monotone(config: Config) -> None:
    """Raise ConfigError for a monotone column without numbers in the schema."""
    numeric = config.schema.numeric
    strangers = sorted(set(config.training.monotone) - set(numeric))
    if strangers:
        raise ConfigError(
            f"training.monotone names {strangers}; expected some of the numeric columns"
            f" {list(numeric)}. Correct config.json."
        )


def as_rows(part: FeaturesAndLabels) -> Rows:
    """Return features and target as arrays."""
    return Rows({str(name): part["X"][name].to_numpy() for name in part["X"]}, part["y"])


def fit_additive(
    split: ValidationSplit, whole: FeaturesAndLabels, facts: DatasetFacts, config: Config
) -> FittedCandidate:
    """Fit an additive model or its straight variant, without a reference."""
    schema = config.schema
    training, everyone = as_rows(split["training"]), as_rows(whole)
    fit = additive_choice.fit(training, everyone, schema, config.training)
    is_refitted = fit.final is not fit.validated
    rows = everyone if is_refitted else training
    terms = additive_terms.export(fit.final, rows.columns, schema)
    fitted = plain_model(terms, fit.threshold, facts, len(rows.y), config)
    check_model(fitted)
    validated = fitted
    if is_refitted:
        terms = additive_terms.export(fit.validated, training.columns, schema)
        validated = plain_model(terms, fit.threshold, facts, len(training.y), config)
    held_out = as_rows(split["val"])
    probability = logistic_model.probabilities(validated, held_out.columns)
    fitted = msgspec.structs.replace(
        fitted, validation=measure(held_out.y, probability, fit.threshold)
    )
    X = whole["X"]
    pipeline = additive_pipeline.make_pipeline(fitted, X.iloc[:N_EXAMPLES])
    sklearn_pipeline.check_equal(fitted, pipeline, X)
    return FittedCandidate(fitted, wrap(pipeline, fit.threshold, X, whole["y"]))


def fit_rows(table: pd.DataFrame, facts: DatasetFacts, config: Config) -> FittedCandidate:
    """Fit a model to rows, without the reference of their dataset.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Features and target of all rows of a dataset, or of those drawn. It is left unchanged.
    facts : DatasetFacts
        The dataset.
    config : Config
        Schema and training settings.

    Returns
    -------
    FittedCandidate
        Equal for equal tables and settings.

    Raises
    ------
    InsufficientDataError
        If there are too few rows to split, or only one class to learn from.
    ConfigError
        If a monotone column is no numeric column.
    """
    schema, settings = config.schema, config.training
    check_monotone(config)
    if len(table) < facts.n_rows:
        facts = msgspec.structs.replace(facts, n_drawn_rows=len(table))
        check_drawn_classes(dataset.target(table, schema), facts)
    split = model_fit.prepare_dataset(table, schema, settings, create_val_data=True)
    X, y = split["training"]["X"], split["training"]["y"]
    if additive_choice.applies(y, settings):
        whole = dataset.features(table, schema), dataset.target(table, schema)
        return fit_additive(split, {"X": whole[0], "y": whole[1]}, facts, config)
    fit = model_fit.fit(split["training"], schema, settings)
    fitted = make_model(fit, facts, len(y), config)
    probability = fit.pipeline.predict_proba(split["val"]["X"])[:, 1]
    validation = measure(split["val"]["y"], probability, fit.threshold)
    fitted = msgspec.structs.replace(fitted, validation=validation)
    sklearn_pipeline.check_equal(fitted, fit.pipeline, table)
    return FittedCandidate(fitted, wrap(fit.pipeline, fit.threshold, X, y))


def has_equal_rows(config: Config) -> bool:
    """Return whether a dataset may have equal rows, each drawn by position."""
    return not deduplicate.are_dropped_from_input(config.ingestion, config.schema)


def fit_candidate(table: pd.DataFrame, dataset_sha256: str, config: Config) -> FittedCandidate:
    """Fit a model to a dataset in memory.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A dataset. It is left unchanged.
    dataset_sha256 : str
        The hash of the dataset file, for the record in the model.
    config : Config
        Schema and training settings.

    Returns
    -------
    FittedCandidate
        Fitted to at most `training.max_rows` rows, with facts and reference of all rows.

    Raises
    ------
    InsufficientDataError
        If there are too few rows to split, or only one class to learn from.
    """
    if table.empty:
        raise InsufficientDataError(
            "0 rows cannot be split into training and validation; add data."
        )
    facts = describe_dataset(table, dataset_sha256, config.schema)
    drawn = sampling.draw_rows(
        table, config.schema, config.training.max_rows, config.training.random_state,
        by_place=has_equal_rows(config),
    )  # fmt: skip
    fitted = fit_rows(drawn, facts, config)
    return FittedCandidate(reference.add_reference(fitted.model, table), fitted.estimator)


def fit_scan(scan: ScannedDataset, config: Config) -> FittedCandidate:
    """Fit a model to the drawn rows of a scanned dataset, as `fit_candidate` does in memory."""
    fitted = fit_rows(scan.rows, scan.describe(), config)
    return FittedCandidate(reference.add_scanned_reference(fitted.model, scan), fitted.estimator)
