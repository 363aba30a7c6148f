"""The scikit-learn pipeline of an additive model, with the coefficients of its plain numbers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
)

from scripts.data.arrays import Floats
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm, PairAxis, PairTerm

Step = tuple[str, Any, list[str]]


def make_hats(knots: tuple[float, ...]) -> SplineTransformer:
    """Return the piecewise linear basis of a curve, 0 everywhere for a missing value."""
    return SplineTransformer(
        degree=1, knots=np.array(knots)[:, np.newaxis], extrapolation="constant",
        handle_missing="zeros",
    )  # fmt: skip


def make_one_hot(categories: Iterable[str]) -> OneHotEncoder:
    """Return the encoder of some categories, with 0 everywhere for unknown categories."""
    known = [np.array(list(categories), dtype=object)]
    return OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False)


def make_membership(categories: Iterable[str]) -> FunctionTransformer:
    """Return an indicator of several categories together."""
    # A function of numpy, so that the pickle needs nothing of this project.
    return FunctionTransformer(np.isin, kw_args={"test_elements": list(categories)})


def numeric_steps(name: str, term: NumericTerm) -> tuple[list[Step], list[float]]:
    """Return the transformers of a numeric column, and their coefficients."""
    missing = (f"{name}_missing", MissingIndicator(features="all"), [term.column])
    if len(term.knots) == 1:
        # A constant column adds its one value, which is 0 by centring.
        return [missing], [term.missing_coefficient]
    curve = (f"{name}_curve", make_hats(term.knots), [term.column])
    return [curve, missing], [*term.values, term.missing_coefficient]


def categorical_steps(name: str, term: CategoricalTerm) -> tuple[list[Step], list[float]]:
    """Return the transformers of a categorical column, and their coefficients."""
    steps: list[Step] = []
    if term.categories:
        steps.append((f"{name}_frequent", make_one_hot(term.categories), [term.column]))
    coefficients = list(term.coefficients)
    if term.rare:
        steps.append((f"{name}_rare", make_membership(term.rare), [term.column]))
        coefficients.append(term.rare_coefficient)
    return steps, coefficients


def axis_steps(name: str, axis: PairAxis, known: Iterable[str]) -> list[Step]:
    """Return the transformers for the levels of an axis."""
    if axis.knots:
        return [
            (f"{name}_curve", make_hats(axis.knots), [axis.column]),
            (f"{name}_missing", MissingIndicator(features="all"), [axis.column]),
        ]
    rest = [category for category in known if category not in axis.categories]
    return [
        (f"{name}_frequent", make_one_hot(axis.categories), [axis.column]),
        (f"{name}_rest", make_membership(rest), [axis.column]),
    ]


def pair_step(
    name: str, pair: PairTerm, known: Mapping[str, Iterable[str]]
) -> tuple[Step, list[float]]:
    """Return the transformer of a pair, the products of the levels, and the coefficients."""
    levels = ColumnTransformer(
        [
            step
            for place, axis in (("first", pair.first), ("second", pair.second))
            for step in axis_steps(place, axis, known.get(axis.column, ()))
        ]
    )
    products = PolynomialFeatures(degree=(2, 2), interaction_only=True, include_bias=False)
    steps = Pipeline([("levels", levels), ("products", products)])
    n = pair.first.n_levels
    total = n + pair.second.n_levels
    # Products of two levels of one column are always 0.
    coefficients = [
        pair.values[i][j - n] if i < n <= j else 0.0
        for i in range(total)
        for j in range(i + 1, total)
    ]
    return (name, steps, list(pair.columns)), coefficients


def set_coefficients(coefficients: list[float], intercept: float) -> LogisticRegression:
    """Return a regression with these coefficients, as if fitted."""
    regression = LogisticRegression()
    weights: Floats = np.array(coefficients, dtype=np.float64)
    regression.classes_, regression.n_features_in_ = np.array([0, 1]), len(weights)
    regression.coef_, regression.intercept_ = weights[np.newaxis], np.array([intercept])
    regression.n_iter_ = np.array([1], dtype=np.int32)
    return regression


def make_pipeline(model: Model, X: pd.DataFrame) -> Pipeline:
    """Return the pipeline of a model with curves for all numeric terms.

    Parameters
    ----------
    model : Model
        The model.
    X : pandas.DataFrame of shape (n_rows, n_features)
        Some training rows, for the names and the types of the columns.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted, of plain scikit-learn, with the probabilities of the model.
    """
    steps: list[Step] = []
    coefficients: list[float] = []
    for place, number in enumerate(model.numeric):
        added, values = numeric_steps(f"numeric{place}", number)
        steps, coefficients = [*steps, *added], [*coefficients, *values]
    for place, category in enumerate(model.categorical):
        added, values = categorical_steps(f"categorical{place}", category)
        steps, coefficients = [*steps, *added], [*coefficients, *values]
    known = {term.column: term.known for term in model.categorical}
    for place, pair in enumerate(model.pairs):
        step, values = pair_step(f"pair{place}", pair, known)
        steps, coefficients = [*steps, step], [*coefficients, *values]
    columns = ColumnTransformer(steps).fit(X)
    return Pipeline(
        [("columns", columns), ("regression", set_coefficients(coefficients, model.intercept))]
    )
