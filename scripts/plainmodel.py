"""A fitted pipeline as plain numbers, which say the same to the last digits."""

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from scripts import (
    dataset,
    model,
    regression,
)
from scripts.config import Schema
from scripts.errors import ModelError
from scripts.model import CategoricalTerm, Model, NumericTerm

TOLERANCE = 1e-12
MAX_ROWS_TO_COMPARE = 1_000_000


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
