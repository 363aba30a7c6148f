"""The scikit-learn pipeline of the regression: unfitted, fitted, and as the terms of a model."""

import warnings
from dataclasses import dataclass

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
from scripts.model import logistic_model, newton_solver
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm

# A numeric column gets a missing indicator above this fraction of missing values.
MIN_MISSING_FRACTION = 0.01
# Most missing values say little of the target. A weight of 0.3 makes the penalty shrink a
# coefficient without evidence; 0.03 all but removes a faint indicator, except on very many rows.
INDICATOR_WEIGHT, FAINT_INDICATOR_WEIGHT = 0.3, 0.03
# Above this size a Newton solver fits in few passes over the rows.
MANY_ROWS = 250_000
# The largest difference between probabilities of the model and of scikit-learn.
TOLERANCE = 1e-12
MAX_ROWS_TO_COMPARE = 10_000


@dataclass(frozen=True)
class FeatureSettings:
    """The preprocessing of a pipeline besides medians and one-hot encoding.

    A standard pipeline is that of scikit-learn's user guide: scaled, without missing indicators or
    grouped rare categories, solved by lbfgs. `faint` lists the columns whose missing values carry
    no information about the target.
    """

    scaled: bool = False
    standard: bool = False
    faint: tuple[str, ...] = ()


RAW, SCALED, STANDARD = (
    FeatureSettings(),
    FeatureSettings(scaled=True),
    FeatureSettings(scaled=True, standard=True),
)


def columns_with_missing(X: pd.DataFrame, schema: Schema) -> list[str]:
    """List the numeric columns with more than 1 % missing values."""
    return [name for name in schema.numeric if X[name].isna().mean() > MIN_MISSING_FRACTION]


def make_pipeline(
    X: pd.DataFrame, schema: Schema, settings: TrainingSettings, form: FeatureSettings
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
    form : FeatureSettings
        Whether numeric columns are scaled to mean 0 and standard deviation 1, and more.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Missing numbers become the median and, above 1 % of the values, get an indicator of weight
        0.3, or 0.03 for a faint column. Categories are one-hot encoded: those in fewer than 0.5 %
        of the rows share a column, and an unknown category is 0 everywhere.
    """
    medians = SimpleImputer(strategy="median", keep_empty_features=True)
    scale = StandardScaler() if form.scaled else FunctionTransformer()
    one_hot = OneHotEncoder(
        handle_unknown="ignore",
        min_frequency=None if form.standard else dataset.RARE_FRACTION,
        sparse_output=form.standard,
    )
    missing = [] if form.standard else columns_with_missing(X, schema)
    strong = [name for name in missing if name not in form.faint]
    faint = [name for name in missing if name in form.faint]
    columns = ColumnTransformer(
        [
            ("numeric", Pipeline([("medians", medians), ("scale", scale)]), list(schema.numeric)),
            ("blank", MissingIndicator(features="all"), strong),
            ("faint", MissingIndicator(features="all"), faint),
            ("categorical", one_hot, list(schema.categorical)),
        ],
        transformer_weights={"blank": INDICATOR_WEIGHT, "faint": FAINT_INDICATOR_WEIGHT},
    )
    # lbfgs, scikit-learn's default, does not converge on unscaled features. On scaled features it
    # is preferred, so that predictions equal those of a plain scikit-learn fit: the solvers differ
    # in the fourth digit, enough to move a client across the threshold.
    solver, max_iter = ("lbfgs", 5000) if form.scaled else ("newton-cholesky", 1000)
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


def fit_many(
    X: pd.DataFrame, y: Ints, schema: Schema, settings: TrainingSettings, form: FeatureSettings
) -> Pipeline | None:
    """Fit the pipeline to a large table by Newton steps, or return None if these fail."""
    pipeline = make_pipeline(X, schema, settings, form)
    values = np.asarray(pipeline["columns"].fit_transform(X), dtype=np.float64)
    weights = newton_solver.fit(values, y, settings.C)
    if weights is None:
        return None
    regression = pipeline["regression"]
    # Set the attributes of LogisticRegression.fit, so that the pickle is plain scikit-learn.
    regression.classes_, regression.n_features_in_ = np.array([0, 1]), values.shape[1]
    regression.coef_, regression.intercept_ = weights[np.newaxis, :-1], weights[-1:]
    regression.n_iter_ = np.array([1], dtype=np.int32)
    return pipeline


def fit_pipeline(
    X: pd.DataFrame, y: Ints, schema: Schema, settings: TrainingSettings, form: FeatureSettings
) -> Pipeline | None:
    """Fit the pipeline, or return None without convergence, as on columns of unequal scales."""
    if len(y) > MANY_ROWS:
        pipeline = fit_many(X, y, schema, settings, form)
        if pipeline is not None:
            return pipeline
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("error", LinAlgWarning)
        try:
            return make_pipeline(X, schema, settings, form).fit(X, y)
        except (ConvergenceWarning, LinAlgWarning):
            return None


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
