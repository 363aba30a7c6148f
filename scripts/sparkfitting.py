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

from scripts import dataset, evaluation, fitting, forms, newton, regression
from scripts.cluster import aggregate, column, gather
from scripts.config import Schema, TrainingSettings
from scripts.errors import InsufficientDataError, ModelError
from scripts.model import CategoricalTerm, Model, NumericTerm
from scripts.newton import Slope
from scripts.sparkdata import SHARE, to_table
from scripts.sparkstatistics import Counts, count_categories, describe_numbers

Floats = NDArray[np.float64]


class Terms(Struct, frozen=True, kw_only=True):
    """How columns become features: the terms without coefficients, and who has an indicator."""

    numeric: tuple[NumericTerm, ...]
    blank: tuple[str, ...]
    categorical: tuple[CategoricalTerm, ...]


class SparkPlan(Struct, frozen=True, kw_only=True):
    """What the sample decided: scale, threshold, calibration."""

    scaled: bool
    threshold: float
    slope: float
    offset: float


def split(rows: DataFrame, settings: TrainingSettings) -> tuple[DataFrame, DataFrame]:
    """Split rows by the share that each drew, into those to fit to and those to validate on."""
    is_validation = column(SHARE) < settings.validation_fraction
    return rows.where(~is_validation), rows.where(is_validation)


def plan_sample(sample: pd.DataFrame, schema: Schema, settings: TrainingSettings) -> SparkPlan:
    """Plan with a sample of both kinds of rows, as the pandas engine does with very many rows.

    Parameters
    ----------
    sample : pandas.DataFrame of shape (n_rows, n_columns)
        With the share of each row beside its columns.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Of the regression and the threshold.

    Returns
    -------
    SparkPlan
        Whether to scale, the threshold, and the calibration if it pays, else 1 and 0.
    """
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


def scale_of(
    n_rows: int, n_values: int, mean: float, deviation: float, median: float
) -> tuple[float, float]:
    """Compute mean and standard deviation, n in the denominator, with medians in the blanks."""
    n_blank = n_rows - n_values
    filled = (n_values * mean + n_blank * median) / n_rows
    squares = deviation**2 * max(n_values - 1, 0) + n_values * (mean - filled) ** 2
    scale = float(np.sqrt((squares + n_blank * (median - filled) ** 2) / n_rows))
    # As scikit-learn has it, a column with one value is left as it is.
    return filled, scale if scale > 10 * np.finfo(np.float64).eps * abs(filled) else 1.0


def numeric_terms(training: DataFrame, schema: Schema, *, scaled: bool) -> Terms:
    """Find medians, indicators and scales of the numeric columns among the training rows."""
    n_rows, numbers = describe_numbers(training, list(schema.numeric))
    terms, blank = [], []
    for name in schema.numeric:
        facts = numbers[name]
        # A column without any value has no median; scikit-learn fills it with 0, and so do we.
        median = 0.0 if facts.median is None else facts.median
        mean, scale = 0.0, 1.0
        if scaled:
            mean, scale = scale_of(
                n_rows, facts.n_values, facts.mean or 0.0, facts.standard_deviation or 0.0, median
            )
        terms.append(
            NumericTerm(column=name, median=median, coefficient=0.0, mean=mean, scale=scale)
        )
        if 1 - facts.n_values / n_rows > regression.BLANK_FRACTION:
            blank.append(name)
    return Terms(numeric=tuple(terms), blank=tuple(blank), categorical=())


def categorical_terms(counts: Counts, n_rows: int) -> tuple[CategoricalTerm, ...]:
    """Tell frequent categories from rare ones, as scikit-learn's OneHotEncoder does."""
    terms = []
    for name, found in counts.items():
        limit = dataset.RARE_FRACTION * n_rows
        frequent = tuple(sorted(text for text, count in found.items() if count >= limit))
        rare = tuple(sorted(text for text, count in found.items() if count < limit))
        terms.append(
            CategoricalTerm(
                column=name, categories=frequent, coefficients=(0.0,) * len(frequent), rare=rare
            )
        )
    return tuple(terms)


def make_features(table: pd.DataFrame, terms: Terms, schema: Schema) -> Floats:
    """Turn rows into features, in the order of the pandas engine's pipeline."""
    columns = dataset.feature_arrays(table, schema)
    made = []
    for term in terms.numeric:
        values = columns[term.column]
        filled = np.where(np.isnan(values), term.median, values)
        made.append((filled - term.mean) / term.scale)
    made += [np.isnan(columns[name]) * regression.BLANK_WEIGHT for name in terms.blank]
    for category in terms.categorical:
        places = {text: place for place, text in enumerate(category.categories)}
        places |= dict.fromkeys(category.rare, len(category.categories))
        width = len(category.categories) + bool(category.rare)
        hot = np.zeros((len(table), width))
        hot[np.arange(len(table)), [places[text] for text in columns[category.column]]] = 1.0
        made += list(hot.T)
    return np.column_stack(made) if made else np.zeros((len(table), 0))


def count_features(terms: Terms) -> int:
    """Say how many features the terms make."""
    hot = sum(len(term.categories) + bool(term.rare) for term in terms.categorical)
    return len(terms.numeric) + len(terms.blank) + hot


def measure_on_cluster(
    training: DataFrame, terms: Terms, schema: Schema, weights: Floats, C: float
) -> Slope:
    """Compute loss, gradient and curvature in one pass over the cluster's rows."""
    n_weights = len(weights)

    def work(parts: Iterator[pa.Table]) -> bytes:
        total = Slope(0.0, np.zeros(n_weights), np.zeros((n_weights, n_weights)))
        for part in parts:
            table = to_table(part, schema)
            X, y = make_features(table, terms, schema), dataset.target(table, schema)
            total = total + newton.measure_rows(newton.parts_of(X, y), weights, C)
        return np.concatenate([[total.loss], total.gradient, total.curvature.ravel()]).tobytes()

    pieces = gather(training, work)
    summed = np.sum([np.frombuffer(piece, np.float64) for piece in pieces], axis=0)
    return Slope(
        float(summed[0]), summed[1 : n_weights + 1],
        summed[n_weights + 1 :].reshape(n_weights, n_weights),
    )  # fmt: skip


def fill_in(terms: Terms, coefficients: Floats) -> Terms:
    """Put the coefficients of the features into the terms of their columns."""
    values = iter(map(float, coefficients))
    numeric = [msgspec.structs.replace(term, coefficient=next(values)) for term in terms.numeric]
    blank = {name: next(values) * regression.BLANK_WEIGHT for name in terms.blank}
    numeric = [
        msgspec.structs.replace(term, missing_coefficient=blank.get(term.column, 0.0))
        for term in numeric
    ]
    categorical = tuple(
        msgspec.structs.replace(
            term,
            coefficients=tuple(next(values) for _ in term.categories),
            rare_coefficient=next(values) if term.rare else 0.0,
        )
        for term in terms.categorical
    )
    return Terms(numeric=tuple(numeric), blank=terms.blank, categorical=categorical)


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
    terms = numeric_terms(training, schema, scaled=scaled)
    counts = count_categories(training, schema)
    terms = msgspec.structs.replace(terms, categorical=categorical_terms(counts, n_rows))
    weights = newton.go_down(
        lambda tried: (
            newton.penalise(tried) + measure_on_cluster(training, terms, schema, tried, C)
        ),
        np.zeros(count_features(terms) + 1),
    )
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
    """Measure F1, accuracy and how right the probabilities are, as `training.validate` does."""

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
