"""Candidate models: a fit to a dataset as a model and as a scikit-learn classifier."""

import importlib.metadata
import platform
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline

from scripts.core.config import Config, Schema
from scripts.data import chunk_store, chunked_dataset, dataset
from scripts.data.arrays import Floats, Ints
from scripts.data.chunked_dataset import Digest
from scripts.data.profile import DatasetFacts
from scripts.model import chunked_fit, logistic_model, metrics, reference, sklearn_pipeline
from scripts.model import fit as model_fit
from scripts.model.fit import Fit
from scripts.model.logistic_model import Model

PACKAGES = ("numpy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Candidate:
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


def measure(y: Ints, probability: Floats, fit: Fit) -> dict[str, float | int | None]:
    """Compute F1, accuracy and calibration metrics of the validation rows."""
    predicted = (probability >= fit.threshold).astype(np.int64)
    return {
        "f1": metrics.f1_of(y, predicted),
        "accuracy": float(np.mean(y == predicted)),
        "n_rows": len(y),
        "brier": metrics.brier_score(y, probability),
        "expected_calibration_error": metrics.expected_calibration_error(y, probability),
        "calibration_slope": fit.calibration.slope,
        "calibration_offset": fit.calibration.offset,
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


def make_model(fit: Fit, facts: DatasetFacts, n_training_rows: int, config: Config) -> Model:
    """Return the model of a fitted pipeline, without validation metrics."""
    pipeline = fit.final
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


def fit_candidate(table: pd.DataFrame, dataset_sha256: str, config: Config) -> Candidate:
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
    Candidate
        Equal for equal tables and settings.

    Raises
    ------
    InsufficientDataError
        If there are too few rows to split, or only one class to learn from.
    """
    schema, settings = config.schema, config.training
    split = model_fit.prepare_dataset(table, schema, settings, create_val_data=True)
    X, y = split["training"]["X"], split["training"]["y"]
    whole = dataset.features(table, schema), dataset.target(table, schema)
    fit = model_fit.fit((X, y), (split["val"]["X"], split["val"]["y"]), whole, schema, settings)
    pipeline = fit.final
    facts = describe_dataset(table, dataset_sha256, schema)
    fitted = make_model(fit, facts, len(y) if pipeline is fit.validated else len(table), config)
    probability = fit.validated.predict_proba(split["val"]["X"])[:, 1]
    validation = measure(split["val"]["y"], probability, fit)
    fitted = msgspec.structs.replace(fitted, validation=validation)
    sklearn_pipeline.check_equal(fitted, pipeline, table)
    return Candidate(reference.add_reference(fitted, table), wrap(pipeline, fit.threshold, X, y))


def fit_in_passes(read: Digest, config: Config) -> Candidate:
    """Fit a model to a dataset in chunks, in several passes.

    Parameters
    ----------
    read : Digest
        The dataset.
    config : Config
        Schema and training settings.

    Returns
    -------
    Candidate
        As from `fit_candidate`, planned on a sample of the rows and fitted to the whole dataset.

    Raises
    ------
    InsufficientDataError
        If there are too few rows to split, or only one class to learn from.
    """
    settings = config.training
    split = chunk_store.split_rows(
        read.store.n_rows, settings, is_tight=read.store.file is not None
    )
    over = chunk_store.Passes(read.store, read.columns, split.is_held_out)
    fit, (X, y) = chunked_fit.fit(over, split, settings)
    facts = chunked_dataset.describe(read, over)
    fitted = make_model(fit, facts, len(split.is_held_out) - int(split.is_held_out.sum()), config)
    outcome = reference.judge(fitted, over)
    validation = measure(outcome.y, outcome.probability, fit)
    fitted = msgspec.structs.replace(fitted, validation=validation)
    sklearn_pipeline.check_equal(fitted, fit.final, X)
    fitted = reference.add_chunked_reference(fitted, read, over)
    return Candidate(fitted, wrap(fit.final, fit.threshold, X, y))
