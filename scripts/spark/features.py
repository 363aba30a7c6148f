"""How columns become features on a cluster, as in the pandas engine's pipeline."""

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from scripts.core.config import Schema
from scripts.data import dataset
from scripts.model import sklearn_pipeline
from scripts.model.logistic_model import CategoricalTerm, NumericTerm
from scripts.spark.statistics import Counts, describe_numbers

Floats = NDArray[np.float64]


class Terms(Struct, frozen=True, kw_only=True):
    """How columns become features: the terms without coefficients, and who has an indicator."""

    numeric: tuple[NumericTerm, ...]
    blank: tuple[str, ...]
    categorical: tuple[CategoricalTerm, ...]


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
        if 1 - facts.n_values / n_rows > sklearn_pipeline.MIN_MISSING_FRACTION:
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


def encode_rows(table: pd.DataFrame, terms: Terms, schema: Schema) -> Floats:
    """Turn rows into numbers: features of numeric columns, then the code of each category."""
    columns = dataset.feature_arrays(table, schema)
    made = []
    for term in terms.numeric:
        values = columns[term.column]
        filled = np.where(np.isnan(values), term.median, values)
        made.append((filled - term.mean) / term.scale)
    made += [np.isnan(columns[name]) * sklearn_pipeline.INDICATOR_WEIGHT for name in terms.blank]
    for category in terms.categorical:
        places = {text: place for place, text in enumerate(category.categories)}
        places |= dict.fromkeys(category.rare, len(category.categories))
        codes, texts = pd.factorize(columns[category.column])
        made.append(np.array([float(places[text]) for text in texts])[codes])
    return np.column_stack(made) if made else np.zeros((len(table), 0))


def expand_codes(encoded: Floats, widths: list[int]) -> Floats:
    """Turn the codes of categories, which come last, into a column of 0 and 1 for each category."""
    n_rows, n_numeric = len(encoded), encoded.shape[1] - len(widths)
    features = np.zeros((n_rows, n_numeric + sum(widths)))
    features[:, :n_numeric] = encoded[:, :n_numeric]
    start = n_numeric
    for place, width in enumerate(widths):
        codes = encoded[:, n_numeric + place].astype(np.int64)
        features[np.arange(n_rows), start + codes] = 1.0
        start += width
    return features


def widths_of(terms: Terms) -> list[int]:
    """Say how many columns of 0 and 1 each categorical column makes."""
    return [len(term.categories) + bool(term.rare) for term in terms.categorical]


def count_features(terms: Terms) -> int:
    """Say how many features the terms make."""
    return len(terms.numeric) + len(terms.blank) + sum(widths_of(terms))


def fill_in(terms: Terms, coefficients: Floats) -> Terms:
    """Put the coefficients of the features into the terms of their columns."""
    values = iter(map(float, coefficients))
    numeric = [msgspec.structs.replace(term, coefficient=next(values)) for term in terms.numeric]
    blank = {name: next(values) * sklearn_pipeline.INDICATOR_WEIGHT for name in terms.blank}
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
