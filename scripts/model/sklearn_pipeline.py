"""The scikit-learn pipeline of the regression: unfitted, fitted, and as the terms of a model."""

import warnings

import numpy as np
import pandas as pd
from scipy.linalg import LinAlgWarning
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from scripts.core.config import Schema, TrainingSettings
from scripts.core.errors import ModelError
from scripts.data import dataset
from scripts.data.arrays import Ints
from scripts.model import logistic_model
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm

# A numeric column gets a missing indicator above this fraction of missing values.
MIN_MISSING_FRACTION = 0.01
# Most missing values say little of the target. A weight of 0.3 makes the penalty shrink a
# coefficient without evidence.
INDICATOR_WEIGHT = 0.3
# The largest difference between probabilities of the model and of scikit-learn.
TOLERANCE = 1e-12
MAX_ROWS_TO_COMPARE = 10_000


def columns_with_missing(X: pd.DataFrame, schema: Schema) -> list[str]:
    """List the numeric columns with more than 1 % missing values."""
    return [name for name in schema.numeric if X[name].isna().mean() > MIN_MISSING_FRACTION]


def make_pipeline(
    X: pd.DataFrame, schema: Schema, settings: TrainingSettings, *, is_scaled: bool = False
) -> Pipeline:
    """Return the unfitted pipeline for training rows.

    Parameters
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
        Training rows, which decide on the columns with a missing indicator.
    schema : Schema
        The columns.
    settings : TrainingSettings
        `C` of the regression.
    is_scaled : bool
        Whether numeric columns are scaled to mean 0 and standard deviation 1.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Missing numbers become the median and, above 1 % of the values, get an indicator of weight
        0.3. Categories are one-hot encoded: those in fewer than 0.5 %
        of the rows share a column, and an unknown category is 0 everywhere.
    """
    medians = SimpleImputer(strategy="median", keep_empty_features=True)
    scale = StandardScaler() if is_scaled else FunctionTransformer()
    one_hot = OneHotEncoder(
        handle_unknown="ignore", min_frequency=dataset.RARE_FRACTION, sparse_output=False
    )
    columns = ColumnTransformer(
        [
            ("numeric", Pipeline([("medians", medians), ("scale", scale)]), list(schema.numeric)),
            ("blank", MissingIndicator(features="all"), columns_with_missing(X, schema)),
            ("categorical", one_hot, list(schema.categorical)),
        ],
        transformer_weights={"blank": INDICATOR_WEIGHT},
    )
    # lbfgs, scikit-learn's default, does not converge on unscaled features. On scaled features it
    # is preferred, so that predictions equal those of a plain scikit-learn fit: the solvers differ
    # in the fourth digit, enough to move a client across the threshold.
    solver, max_iter = ("lbfgs", 5000) if is_scaled else ("newton-cholesky", 1000)
    regression = LogisticRegression(C=settings.C, solver=solver, max_iter=max_iter)
    return Pipeline([("columns", columns), ("regression", regression)])


def missing_indicators(pipeline: Pipeline) -> dict[str, float]:
    """Return the weight of each column with a missing indicator, in the order of indicators."""
    columns = pipeline["columns"]
    weights = columns.transformer_weights
    return {
        column: weights[name]
        for name, _, columns_of_step in columns.transformers
        if name in weights
        for column in columns_of_step
    }


def fit_pipeline(X: pd.DataFrame, y: Ints, schema: Schema, settings: TrainingSettings) -> Pipeline:
    """Fit the pipeline, with scaling if columns of unequal scales hinder convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("error", LinAlgWarning)
        try:
            return make_pipeline(X, schema, settings).fit(X, y)
        except (ConvergenceWarning, LinAlgWarning):
            pass
    return make_pipeline(X, schema, settings, is_scaled=True).fit(X, y)


def numeric_terms(pipeline: Pipeline, schema: Schema) -> tuple[NumericTerm, ...]:
    """Return the terms of the numeric columns of a fitted pipeline."""
    if not schema.numeric:
        return ()
    columns, n = pipeline["columns"], len(schema.numeric)
    steps = columns.named_transformers_["numeric"]
    # An empty column has no median; 0 is the value that scikit-learn imputes.
    medians = np.nan_to_num(steps["medians"].statistics_)
    means = getattr(steps["scale"], "mean_", np.zeros(n))
    scales = getattr(steps["scale"], "scale_", np.ones(n))
    coefficients = pipeline["regression"].coef_[0]
    indicators = missing_indicators(pipeline)
    of_missing = coefficients[n : n + len(indicators)] * list(indicators.values())
    missing = dict(zip(indicators, of_missing, strict=True))
    return tuple(
        NumericTerm(
            column=name,
            median=float(medians[i]),
            coefficient=float(coefficients[i]),
            missing_coefficient=float(missing.get(name, 0.0)),
            mean=float(means[i]),
            scale=float(scales[i]),
        )
        for i, name in enumerate(schema.numeric)
    )


def categorical_terms(pipeline: Pipeline, schema: Schema) -> tuple[CategoricalTerm, ...]:
    """Return the terms of the categorical columns of a fitted pipeline."""
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
        own_coefficients = tuple(next(coefficients) for _ in frequent)
        # scikit-learn appends the common column of the rare categories.
        rare_coefficient = next(coefficients) if rare else 0.0
        terms.append(
            CategoricalTerm(
                column=name,
                categories=frequent,
                coefficients=own_coefficients,
                rare=rare,
                rare_coefficient=rare_coefficient,
            )
        )
    return tuple(terms)


def check_equal(candidate: Model, pipeline: Pipeline, table: pd.DataFrame) -> None:
    """Raise ModelError if probabilities of model and pipeline differ by more than 1e-12.

    Of a large table evenly spaced rows are enough, since the comparison is one of two formulas.
    """
    table = table.iloc[:: max(1, len(table) // MAX_ROWS_TO_COMPARE)]
    ours = logistic_model.probabilities(candidate, dataset.feature_arrays(table, candidate.schema))
    theirs = pipeline.predict_proba(dataset.features(table, candidate.schema))[:, 1]
    furthest = float(np.abs(ours - theirs).max())
    if not furthest <= TOLERANCE:
        raise ModelError(
            f"The plain numbers are {furthest:g} away from scikit-learn's probabilities; at most"
            f" {TOLERANCE:g} is right. This is a fault of the program: please report it."
        )
