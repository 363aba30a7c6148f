"""Fits a logistic regression to the latest dataset and writes it, also as plain numbers."""

from scripts import garbage

if __name__ == "__main__":
    # Before anything else is imported: together it is a third of the imports.
    garbage.begin()

import functools
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
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    FixedThresholdClassifier,
    train_test_split,
)
from sklearn.pipeline import Pipeline

from scripts import (
    artifacts,
    capacity,
    dataset,
    digest,
    durable,
    engines,
    evaluation,
    fitting,
    inbox,
    manyrows,
    model,
    modelfacts,
    passes,
    progress,
    reference,
    regression,
)
from scripts.artifacts import Kind
from scripts.capacity import Way
from scripts.config import Config, Schema, TrainingSettings
from scripts.console import run_as_script
from scripts.digest import Digest
from scripts.errors import InsufficientDataError, ModelError
from scripts.fitting import Fit
from scripts.model import CategoricalTerm, DatasetFacts, Model, NumericTerm

TOLERANCE = 1e-12
MAX_ROWS_TO_COMPARE = 1_000_000
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


def numeric_terms(pipeline: Pipeline, schema: Schema) -> tuple[NumericTerm, ...]:
    """Read medians, scales and coefficients of the numeric columns off a fitted pipeline."""
    if not schema.numeric:
        return ()
    columns, n = pipeline["columns"], len(schema.numeric)
    steps = columns.named_transformers_["numeric"]
    # A column without any value has no median; scikit-learn fills it with 0, and so do we.
    medians = np.nan_to_num(steps["medians"].statistics_)
    means = getattr(steps["scale"], "mean_", np.zeros(n))
    scales = getattr(steps["scale"], "scale_", np.ones(n))
    coefficients = pipeline["regression"].coef_[0]
    indicators = regression.indicators(pipeline)
    of_blanks = coefficients[n : n + len(indicators)] * list(indicators.values())
    blank = dict(zip(indicators, of_blanks, strict=True))
    return tuple(
        NumericTerm(
            column=name,
            median=float(medians[i]),
            coefficient=float(coefficients[i]),
            missing_coefficient=float(blank.get(name, 0.0)),
            mean=float(means[i]),
            scale=float(scales[i]),
        )
        for i, name in enumerate(schema.numeric)
    )


def categorical_terms(pipeline: Pipeline, schema: Schema) -> tuple[CategoricalTerm, ...]:
    """Read categories and coefficients of the categorical columns off a fitted pipeline."""
    if not schema.categorical:
        return ()
    columns = pipeline["columns"]
    start = columns.output_indices_["categorical"].start
    coefficients = iter(map(float, pipeline["regression"].coef_[0][start:]))
    encoder = columns.named_transformers_["categorical"]
    terms = []
    for name, known, infrequent in zip(
        schema.categorical, encoder.categories_, encoder.infrequent_categories_, strict=True
    ):
        rare = () if infrequent is None else tuple(map(str, infrequent))
        frequent = tuple(str(category) for category in known if str(category) not in rare)
        own = tuple(next(coefficients) for _ in frequent)
        # scikit-learn puts the one column of the rare categories behind those of the others.
        shared = next(coefficients) if rare else 0.0
        terms.append(
            CategoricalTerm(
                column=name,
                categories=frequent,
                coefficients=own,
                rare=rare,
                rare_coefficient=shared,
            )
        )
    return tuple(terms)


def check_equal(candidate: Model, pipeline: Pipeline, table: pd.DataFrame) -> None:
    """Refuse plain numbers that do not give scikit-learn's probabilities to 1e-12.

    Of very many rows, evenly spaced ones are compared: what is compared is two formulas.
    """
    table = table.iloc[:: max(1, len(table) // MAX_ROWS_TO_COMPARE)]
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


def measure(
    y: NDArray[np.int64], probability: NDArray[np.float64], fit: Fit
) -> dict[str, float | int | None]:
    """Measure how good predictions are and how right probabilities, of many rows without AUC."""
    predicted = (probability >= fit.threshold).astype(np.int64)
    return {
        "f1": evaluation.f1_of(y, predicted),
        "accuracy": float(np.mean(y == predicted)),
        "n_rows": len(y),
        "brier": evaluation.brier_score(y, probability),
        "expected_calibration_error": evaluation.expected_calibration_error(y, probability),
        "calibration_slope": fit.calibration.slope,
        "calibration_offset": fit.calibration.offset,
    }


def validate(fit: Fit, rows: Rows) -> dict[str, float | int | None]:
    """Measure F1, accuracy and how right the probabilities are on the validation rows."""
    y, probability = rows["y"], fit.validated.predict_proba(rows["X"])[:, 1]
    measured = evaluation.evaluate(y, (probability >= fit.threshold).astype(np.int64), probability)
    return {
        "f1": measured.f1,
        "accuracy": measured.accuracy,
        "n_rows": measured.n_rows,
        "brier": evaluation.brier_score(y, probability),
        "expected_calibration_error": evaluation.expected_calibration_error(y, probability),
        "calibration_slope": fit.calibration.slope,
        "calibration_offset": fit.calibration.offset,
    }


def wrap(
    pipeline: Pipeline, threshold: float, X: pd.DataFrame, y: NDArray[np.int64]
) -> FixedThresholdClassifier:
    """Put the decision threshold around a fitted pipeline, as scikit-learn spells it."""
    # Frozen, so that adding the threshold does not fit a second time.
    return FixedThresholdClassifier(
        FrozenEstimator(pipeline),
        threshold=threshold, pos_label=1, response_method="predict_proba",
    ).fit(X, y)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Say what the model was made with."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **versions}


def compose(fit: Fit, facts: DatasetFacts, n_training_rows: int, config: Config) -> Model:
    """Take the plain numbers of a fitted pipeline; how it does is not known yet."""
    pipeline = fit.final
    return Model(
        format=model.FORMAT,
        schema=config.schema,
        numeric=numeric_terms(pipeline, config.schema),
        categorical=categorical_terms(pipeline, config.schema),
        intercept=float(pipeline["regression"].intercept_[0]),
        threshold=fit.threshold,
        dataset=facts,
        n_training_rows=n_training_rows,
        settings=msgspec.structs.asdict(config.training),
        validation={},
        versions=package_versions(),
    )


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
    whole = dataset.features(table, schema), dataset.target(table, schema)
    fit = fitting.fit((X, y), (split["val"]["X"], split["val"]["y"]), whole, schema, settings)
    pipeline = fit.final
    facts = describe_dataset(table, dataset_sha256, schema)
    fitted = compose(fit, facts, len(y) if pipeline is fit.validated else len(table), config)
    fitted = msgspec.structs.replace(fitted, validation=validate(fit, split["val"]))
    check_equal(fitted, pipeline, table)
    return Candidate(reference.add_reference(fitted, table), wrap(pipeline, fit.threshold, X, y))


def fit_in_passes(read: Digest, config: Config) -> Candidate:
    """Fit a model to a dataset of very many rows; nothing is written.

    Parameters
    ----------
    read : Digest
        The dataset.
    config : Config
        Schema and training settings.

    Returns
    -------
    Candidate
        As from `fit_candidate`, planned on a sample of the rows and fitted to all.

    Raises
    ------
    InsufficientDataError
        If there are too few rows to split, or only one class to learn from.
    """
    settings = config.training
    split = passes.split_rows(read.store.n_rows, settings, is_tight=read.store.file is not None)
    over = passes.Passes(read.store, read.columns, split.is_held_out)
    fit, (X, y) = manyrows.fit(over, split, settings)
    facts = digest.describe(read, over)
    fitted = compose(fit, facts, len(split.is_held_out) - int(split.is_held_out.sum()), config)
    outcome = modelfacts.judge(fitted, over)
    validation = measure(outcome.y, outcome.probability, fit)
    fitted = msgspec.structs.replace(fitted, validation=validation)
    check_equal(fitted, fit.final, X)
    fitted = modelfacts.add_reference(fitted, read, over)
    return Candidate(fitted, wrap(fit.final, fit.threshold, X, y))


def read_and_fit(path: Path, config: Config, read: Digest | None) -> Candidate:
    """Read a dataset, unless that has been done, and fit a model in the way that suits its size."""
    fitting_shown = functools.partial(progress.shown, "Fitting")
    if read is not None:
        with fitting_shown():
            return fit_in_passes(read, config)
    way = capacity.choose_way(path, config.engine)
    if way is Way.TABLE:
        with progress.shown("Reading the dataset", inbox.total_bytes([path])):
            table, sha256 = dataset.read_dataset(path, config.schema)
        with fitting_shown():
            return fit_candidate(table, sha256, config)
    with capacity.place_for(way, config.output_model_path) as file:
        found = digest.read(path, config.schema, file)
        with fitting_shown():
            return fit_in_passes(found, config)


def fit_on_cluster(config: Config, dataset_path: Path) -> Candidate:
    """Fit a model to the dataset of a cluster, which sends back numbers only."""
    # PySpark and Java are for who has a cluster.
    from scripts import sparktraining  # noqa: PLC0415

    fitted = sparktraining.fit(config, dataset_path, package_versions())
    check_equal(fitted.model, fitted.pipeline, fitted.examples)
    y = np.arange(len(fitted.examples)) % 2
    wrapped = wrap(fitted.pipeline, fitted.model.threshold, fitted.examples, y)
    return Candidate(fitted.model, wrapped)


def main(
    config: Config, *, dataset_path: Path | None = None, read: Digest | None = None
) -> Training:
    """Read the latest dataset, fit a model, write it as a pickle and as plain numbers."""
    is_cluster = engines.is_cluster(config)
    kind = Kind.PARTS if is_cluster else Kind.DATASET
    if dataset_path is None:
        dataset_path = artifacts.find_latest(config.output_folder_path, kind, "ingestion")
    stamp_of_dataset = artifacts.stamp_of(dataset_path)
    schema_path = Kind.SCHEMA.path(dataset_path.parent, stamp_of_dataset)
    config = msgspec.structs.replace(config, schema=dataset.read_schema(schema_path, config.schema))
    candidate = (
        fit_on_cluster(config, dataset_path)
        if is_cluster
        else read_and_fit(dataset_path, config, read)
    )
    log.info(
        "Fitted %d of %d rows; validation F1 %s, accuracy %.3f; threshold %.3f.",
        candidate.model.n_training_rows, candidate.model.dataset.n_rows,
        candidate.model.validation["f1"],
        candidate.model.validation["accuracy"], candidate.model.threshold,
    )  # fmt: skip

    folder, stamp = config.output_model_path, stamp_of_dataset
    if Kind.MODEL.path(folder, stamp).exists():
        stamp = artifacts.next_stamp(datetime.now(UTC), [config.output_folder_path, folder])
    pickle_path = Kind.PICKLE.path(folder, stamp)
    durable.write_whole(pickle_path, pickle.dumps(candidate.estimator))
    model_path = Kind.MODEL.path(folder, stamp)
    durable.write_whole(model_path, model.encode_model(candidate.model))
    log.info("Wrote the model to %s and %s.", model_path, pickle_path.name)
    return Training(model_path, pickle_path, dataset_path, stamp, candidate.model)


if __name__ == "__main__":
    garbage.end()
    run_as_script(main, exclusive=True)
