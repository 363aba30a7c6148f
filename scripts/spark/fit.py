"""Fits a logistic regression on a cluster: planned in one task, then few passes over all rows.

Makes the model of a dataset on a cluster, and the scikit-learn object that says the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyspark
from msgspec import Struct
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from scripts.core.config import Config, Schema, TrainingSettings
from scripts.core.errors import InsufficientDataError, ModelError
from scripts.data import dataset
from scripts.model import fit as model_fit
from scripts.model import logistic_model, metrics, model_selection, newton_solver
from scripts.model.logistic_model import Model
from scripts.model.newton_solver import Slope
from scripts.spark import cluster, features, statistics
from scripts.spark import dataset as spark_dataset
from scripts.spark.cluster import RESULT, aggregate, column, gather
from scripts.spark.dataset import SHARE, to_table
from scripts.spark.features import Terms
from scripts.spark.statistics import count_categories

Floats = NDArray[np.float64]


class SparkPlan(Struct, frozen=True, kw_only=True):
    """What the sample decided: scale, threshold, and calibration, 1 and 0 where it does not pay."""

    scaled: bool
    threshold: float
    slope: float
    offset: float


def split(rows: DataFrame, settings: TrainingSettings) -> tuple[DataFrame, DataFrame]:
    """Split rows by the share that each drew, into those to fit to and those to validate on."""
    is_validation = column(SHARE) < settings.validation_fraction
    return rows.where(~is_validation), rows.where(is_validation)


def plan_sample(sample: pd.DataFrame, schema: Schema, settings: TrainingSettings) -> SparkPlan:
    """Plan with a sample of both kinds of rows and their shares, as of very many rows here."""
    is_validation = sample[SHARE].to_numpy() < settings.validation_fraction
    X, y = dataset.features(sample, schema), dataset.target(sample, schema)
    training = X[~is_validation], y[~is_validation]
    validation = X[is_validation], y[is_validation]
    # As of very many rows: each weighs so little that the penalty does, too.
    fitted, form = model_selection.choose(
        training, validation, schema, settings, usually_scaled=False
    )
    plan = model_fit.make_plan(*training, schema, settings, form)
    made = model_fit.calibrate(
        model_fit.Fit(fitted, fitted, plan.threshold), plan, training[1], validation, settings
    )
    return SparkPlan(
        scaled=form.scaled,
        threshold=made.threshold,
        slope=made.calibration.slope,
        offset=made.calibration.offset,
    )


def make_plan(
    rows: DataFrame, n_training: int, schema: Schema, settings: TrainingSettings
) -> SparkPlan:
    """Plan within one task of the cluster, so that no row leaves it."""
    fraction = min(1.0, model_fit.N_ROWS_TO_PLAN / n_training)
    share, border = column(SHARE), settings.validation_fraction
    chosen = (share < border * fraction) | (
        (share >= border) & (share < border + (1 - border) * fraction)
    )

    def work(parts: Iterator[pa.Table]) -> bytes:
        whole = pa.concat_tables(parts)
        sample = to_table(whole, schema).assign(**{SHARE: whole[SHARE].to_numpy()})
        # In an order of the rows' own, since folds are cut in the order of the table.
        sample = sample.sort_values(SHARE, ignore_index=True)
        return msgspec.json.encode(plan_sample(sample, schema, settings))

    (piece,) = gather(rows.where(chosen).coalesce(1), work)
    return msgspec.json.decode(piece, type=SparkPlan)


def encode_on_cluster(training: DataFrame, terms: Terms, schema: Schema) -> DataFrame:
    """Keep the rows of each batch as the bytes of their numbers, with the target: made once."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            table = to_table(pa.Table.from_batches([batch]), schema)
            encoded = features.encode_rows(table, terms, schema)
            block = np.column_stack([encoded, dataset.target(table, schema)])
            yield pa.RecordBatch.from_pydict({RESULT: pa.array([block.tobytes()], pa.binary())})

    return training.mapInArrow(work, f"{RESULT} binary").persist()


def measure_on_cluster(encoded: DataFrame, terms: Terms, weights: Floats, C: float) -> Slope:
    """Compute loss, gradient and curvature in one pass over the cluster's rows."""
    n_weights, widths = len(weights), features.widths_of(terms)
    n_columns = len(terms.numeric) + len(terms.blank) + len(widths) + 1

    def work(parts: Iterator[pa.Table]) -> bytes:
        total = Slope(0.0, np.zeros(n_weights), np.zeros((n_weights, n_weights)))
        for content in (content for part in parts for content in part[RESULT]):
            block = np.frombuffer(content.as_buffer(), np.float64).reshape(-1, n_columns)
            X, y = features.expand_codes(block[:, :-1], widths), block[:, -1].astype(np.int64)
            total = total + newton_solver.measure_rows(newton_solver.parts_of(X, y), weights, C)
        return np.concatenate([[total.loss], total.gradient, total.curvature.ravel()]).tobytes()

    pieces = gather(encoded, work)
    summed = np.sum([np.frombuffer(piece, np.float64) for piece in pieces], axis=0)
    return Slope(
        float(summed[0]), summed[1 : n_weights + 1],
        summed[n_weights + 1 :].reshape(n_weights, n_weights),
    )  # fmt: skip


def fit_terms(
    training: DataFrame, n_rows: int, schema: Schema, C: float, *, scaled: bool
) -> tuple[Terms, Floats]:
    """Fit the regression to the training rows; give its terms and its weights.

    Raises
    ------
    ModelError
        If Newton's steps do not lead to a minimum.

    Notes
    -----
    Newton's method: each step is one pass in which a partition gives back its part of the
    gradient and of the curvature, and about eight steps reach the last bits, on columns of
    whatever sizes. MLlib's LogisticRegression finds the same minimum by L-BFGS, which knows no
    curvature and takes more passes.
    """
    terms = features.numeric_terms(training, schema, scaled=scaled)
    counts = count_categories(training, schema)
    terms = msgspec.structs.replace(terms, categorical=features.categorical_terms(counts, n_rows))
    encoded = encode_on_cluster(training, terms, schema)
    weights = newton_solver.go_down(
        lambda tried: newton_solver.penalise(tried) + measure_on_cluster(encoded, terms, tried, C),
        np.zeros(features.count_features(terms) + 1),
    )
    encoded.unpersist()
    if weights is None:
        raise ModelError(
            "The regression did not converge on the cluster; columns of very different sizes are"
            " the usual reason. Take out columns that repeat one another."
        )
    return terms, weights


class Judged(Struct, frozen=True):
    """What a partition tells of predictions: counts of truth and prediction, and sums."""

    counts: list[int]
    squares: float
    gaps: list[float]


def validate(validation: DataFrame, used: Model) -> dict[str, float | int | None]:
    """Measure F1, accuracy and how right the probabilities are, as `candidates.measure` does."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        counts, squares = np.zeros(4, np.int64), 0.0
        gaps = np.zeros(metrics.N_BINS)
        for part in parts:
            table = to_table(part, used.schema)
            y = dataset.target(table, used.schema)
            predicted, probability = metrics.predict_table(used, table)
            counts += np.bincount(2 * y + predicted, minlength=4)
            squares += float(np.sum((probability - y) ** 2))
            gaps += metrics.calibration_gaps(y, probability)
        return msgspec.json.encode(Judged(counts.tolist(), squares, gaps.tolist()))

    pieces = [msgspec.json.decode(piece, type=Judged) for piece in gather(validation, work)]
    tn, fp, fn, tp = np.sum([piece.counts for piece in pieces], axis=0).tolist()
    n_rows = tn + fp + fn + tp
    gaps = np.sum([piece.gaps for piece in pieces], axis=0)
    return {
        "f1": metrics.ratio(2 * tp, 2 * tp + fp + fn),
        "accuracy": (tp + tn) / n_rows,
        "n_rows": n_rows,
        "brier": sum(piece.squares for piece in pieces) / n_rows,
        "expected_calibration_error": float(np.abs(gaps).sum() / n_rows),
    }


def check_classes(rows: DataFrame, settings: TrainingSettings, schema: Schema) -> int:
    """Count the training rows; refuse a split that leaves nothing to learn from or to check on."""
    training, validation = split(rows, settings)
    y = column(schema.target)
    counts = [F.count(F.lit(1)), F.sum(y.cast("bigint"))]
    n_training, n_positives = aggregate(training, counts)
    if not n_training or not validation.take(1):
        raise InsufficientDataError(
            f"The rows cannot be split with validation_fraction {settings.validation_fraction};"
            " add data."
        )
    if n_positives in (0, n_training):
        raise InsufficientDataError(
            f"All {n_training} training rows have the same label; both are needed. Add data."
        )
    return int(n_training)


@dataclass(frozen=True)
class Fitted:
    """A model, its scikit-learn object, and made-up rows on which the two can be compared."""

    model: Model
    pipeline: Pipeline
    examples: pd.DataFrame


def make_examples(fitted: Model) -> pd.DataFrame:
    """Make up rows with every category, blanks and numbers of all sizes; nobody's data."""
    n_rows = max([8, *(len(term.known) for term in fitted.categorical)])
    columns: dict[str, list[float] | list[str]] = {}
    for numeric in fitted.numeric:
        values = (np.nan, numeric.median, 0.0, numeric.mean + numeric.scale, 1.0, 1e6)
        columns[numeric.column] = list(islice(cycle(values), n_rows))
    for term in fitted.categorical:
        columns[term.column] = list(islice(cycle(term.known or [""]), n_rows))
    schema = fitted.schema
    rows = {name: pd.Series(columns[name], dtype=np.float64) for name in schema.numeric}
    rows |= {name: pd.Series(columns[name], dtype=object) for name in schema.categorical}
    return pd.DataFrame(rows)


def expand_coefficients(fitted: Model, blank: tuple[str, ...]) -> Floats:
    """List the coefficient of each feature; rare categories have one column each, of one value."""
    missing = {term.column: term.missing_coefficient for term in fitted.numeric}
    values = [term.coefficient for term in fitted.numeric]
    values += [missing[name] for name in blank]
    for term in fitted.categorical:
        values += [term.effects[text] for text in term.known]
    return np.array([values])


def make_pipeline(fitted: Model, terms: Terms, settings_c: float, *, scaled: bool) -> Pipeline:
    """Make the fitted scikit-learn pipeline of a model without the rows it was fitted to.

    Its steps are fitted to made-up rows and then told the medians, means and scales of the
    cluster. Rare categories share a coefficient, which is the same as sharing a column.
    """
    examples = make_examples(fitted)
    y = np.arange(len(examples)) % 2
    numeric = list(fitted.schema.numeric)
    scale = StandardScaler() if scaled else FunctionTransformer()
    medians = SimpleImputer(strategy="median", keep_empty_features=True)
    columns = ColumnTransformer(
        [
            ("numeric", Pipeline([("medians", medians), ("scale", scale)]), numeric),
            ("blank", MissingIndicator(features="all"), list(terms.blank)),
            (
                "categorical",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                list(fitted.schema.categorical),
            ),
        ]
    )
    regression = LogisticRegression(C=settings_c, solver="newton-cholesky", max_iter=1000)
    pipeline = Pipeline([("columns", columns), ("regression", regression)]).fit(examples, y)
    if numeric:
        steps = pipeline["columns"].named_transformers_["numeric"]
        steps["medians"].statistics_ = np.array([term.median for term in fitted.numeric])
        if scaled:
            steps["scale"].mean_ = np.array([term.mean for term in fitted.numeric])
            steps["scale"].scale_ = np.array([term.scale for term in fitted.numeric])
            steps["scale"].var_ = steps["scale"].scale_ ** 2
            steps["scale"].n_samples_seen_ = fitted.n_training_rows
    pipeline["regression"].coef_ = expand_coefficients(fitted, terms.blank)
    pipeline["regression"].intercept_ = np.array([fitted.intercept])
    return pipeline


def apply_calibration(weights: Floats, plan: SparkPlan) -> Floats:
    """Build a calibration into the weights, so that the model stays one regression."""
    calibrated: Floats = weights * plan.slope
    calibrated[-1] += plan.offset
    return calibrated


def fit_model(
    rows: DataFrame, identity: spark_dataset.Identity, config: Config, versions: dict[str, str]
) -> tuple[Model, Terms, SparkPlan]:
    """Fit a model to rows on the cluster; nothing but numbers comes back."""
    schema, settings = config.schema, config.training
    n_training = check_classes(rows, settings, schema)
    training, validation = split(rows, settings)
    plan = make_plan(rows, n_training, schema, settings)
    terms, weights = fit_terms(training, n_training, schema, settings.C, scaled=plan.scaled)
    weights = apply_calibration(weights, plan)
    terms = features.fill_in(terms, weights[:-1])
    fitted = Model(
        format=logistic_model.FORMAT,
        schema=schema,
        numeric=terms.numeric,
        categorical=terms.categorical,
        intercept=float(weights[-1]),
        threshold=plan.threshold,
        dataset=statistics.describe_dataset(rows, identity, schema),
        n_training_rows=n_training,
        settings=msgspec.structs.asdict(settings),
        validation={},
        versions=versions | {"pyspark": pyspark.__version__},
    )
    validated = validate(validation, fitted) | {
        "calibration_slope": plan.slope,
        "calibration_offset": plan.offset,
    }
    facts = msgspec.structs.replace(
        fitted.dataset,
        reference=statistics.make_reference(
            rows, fitted, statistics.count_categories(rows, schema)
        ),
        typical=statistics.find_typical(rows, fitted),
    )
    return msgspec.structs.replace(fitted, validation=validated, dataset=facts), terms, plan


def fit(config: Config, dataset_path: Path, versions: dict[str, str]) -> Fitted:
    """Fit a model to a dataset on the cluster.

    Parameters
    ----------
    config : Config
        The cluster, the schema of the dataset, and the training settings.
    dataset_path : Path
        A folder of Parquet parts, as ingestion wrote it.
    versions : dict of str to str
        What the model is made with, for the record in it.

    Returns
    -------
    Fitted
        The same rows and settings give the same model up to the order of sums.

    Raises
    ------
    InsufficientDataError
        If there are too few rows to split, or only one class to learn from.
    ClusterError
        If the cluster does not succeed.
    """
    identity = spark_dataset.read_identity(dataset_path)
    with cluster.open_cluster(config.engine) as session:
        rows = spark_dataset.read_dataset(session, dataset_path, config.schema, config.training)
        fitted, terms, plan = fit_model(rows, identity, config, versions)
        rows.unpersist()
    pipeline = make_pipeline(fitted, terms, config.training.C, scaled=plan.scaled)
    return Fitted(fitted, pipeline, make_examples(fitted))
