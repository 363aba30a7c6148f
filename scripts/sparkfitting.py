"""Fits a logistic regression on a cluster: planned in one task, then few passes over all rows."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from scripts import dataset, evaluation, fitting, forms, newton, sparkfeatures
from scripts.cluster import MADE, aggregate, column, gather
from scripts.config import Schema, TrainingSettings
from scripts.errors import InsufficientDataError, ModelError
from scripts.model import Model
from scripts.newton import Slope
from scripts.sparkdata import SHARE, to_table
from scripts.sparkfeatures import Terms
from scripts.sparkstatistics import count_categories

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
    fitted, form = forms.choose(training, validation, schema, settings, usually_scaled=False)
    plan = fitting.make_plan(*training, schema, settings, form)
    made = fitting.calibrate(
        fitting.Fit(fitted, fitted, plan.threshold), plan, training[1], validation, settings
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
    fraction = min(1.0, fitting.N_ROWS_TO_PLAN / n_training)
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
            encoded = sparkfeatures.encode_rows(table, terms, schema)
            block = np.column_stack([encoded, dataset.target(table, schema)])
            yield pa.RecordBatch.from_pydict({MADE: pa.array([block.tobytes()], pa.binary())})

    return training.mapInArrow(work, f"{MADE} binary").persist()


def measure_on_cluster(encoded: DataFrame, terms: Terms, weights: Floats, C: float) -> Slope:
    """Compute loss, gradient and curvature in one pass over the cluster's rows."""
    n_weights, widths = len(weights), sparkfeatures.widths_of(terms)
    n_columns = len(terms.numeric) + len(terms.blank) + len(widths) + 1

    def work(parts: Iterator[pa.Table]) -> bytes:
        total = Slope(0.0, np.zeros(n_weights), np.zeros((n_weights, n_weights)))
        for content in (content for part in parts for content in part[MADE]):
            block = np.frombuffer(content.as_buffer(), np.float64).reshape(-1, n_columns)
            X, y = sparkfeatures.expand_codes(block[:, :-1], widths), block[:, -1].astype(np.int64)
            total = total + newton.measure_rows(newton.parts_of(X, y), weights, C)
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
    terms = sparkfeatures.numeric_terms(training, schema, scaled=scaled)
    counts = count_categories(training, schema)
    terms = msgspec.structs.replace(
        terms, categorical=sparkfeatures.categorical_terms(counts, n_rows)
    )
    encoded = encode_on_cluster(training, terms, schema)
    weights = newton.go_down(
        lambda tried: newton.penalise(tried) + measure_on_cluster(encoded, terms, tried, C),
        np.zeros(sparkfeatures.count_features(terms) + 1),
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
        gaps = np.zeros(evaluation.N_BINS)
        for part in parts:
            table = to_table(part, used.schema)
            y = dataset.target(table, used.schema)
            predicted, probability = evaluation.predict_table(used, table)
            counts += np.bincount(2 * y + predicted, minlength=4)
            squares += float(np.sum((probability - y) ** 2))
            gaps += evaluation.calibration_gaps(y, probability)
        return msgspec.json.encode(Judged(counts.tolist(), squares, gaps.tolist()))

    pieces = [msgspec.json.decode(piece, type=Judged) for piece in gather(validation, work)]
    tn, fp, fn, tp = np.sum([piece.counts for piece in pieces], axis=0).tolist()
    n_rows = tn + fp + fn + tp
    gaps = np.sum([piece.gaps for piece in pieces], axis=0)
    return {
        "f1": evaluation.ratio(2 * tp, 2 * tp + fp + fn),
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
