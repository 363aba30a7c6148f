"""The pipeline of a logistic regression, and how it is fitted to few rows and to very many.

A fitted pipeline as plain numbers, which say the same to the last digits.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
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
from scripts.model import logistic_model, newton_solver
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm

# A numeric column gets an indicator of its blanks when more of its cells are blank.
BLANK_FRACTION = 0.01
# Most blanks tell little: halved and more, the indicator is believed on evidence only. Where there
# is no evidence at all it is as good as left out, until very many rows speak for it.
BLANK_WEIGHT, FAINT_WEIGHT = 0.3, 0.03
# Beyond so many rows a fit is made in few passes over them.
MANY_ROWS = 250_000

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FeatureSettings:
    """What a pipeline does with its columns besides medians and one-hot.

    A standard one is what scikit-learn's user guide would write: scaled, no indicators of blanks,
    no categories put together, solved by lbfgs. `faint` are the columns whose blanks tell nothing.
    """

    scaled: bool = False
    standard: bool = False
    faint: tuple[str, ...] = ()


RAW, SCALED, STANDARD = (
    FeatureSettings(),
    FeatureSettings(scaled=True),
    FeatureSettings(scaled=True, standard=True),
)


def has_blanks(X: pd.DataFrame, schema: Schema) -> list[str]:
    """List the numeric columns of which more than 1 % of the cells are blank."""
    return [name for name in schema.numeric if X[name].isna().mean() > BLANK_FRACTION]


def make_pipeline(
    X: pd.DataFrame, schema: Schema, settings: TrainingSettings, form: FeatureSettings
) -> Pipeline:
    """Make the unfitted pipeline for training rows.

    Parameters
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
        Training rows; they decide which columns get an indicator of blanks.
    schema : Schema
        The columns.
    settings : TrainingSettings
        `C` of the regression.
    form : Form
        Whether numeric columns are brought to mean 0 and standard deviation 1, and more.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Medians for blanks and, where more than 1 % are blank, an indicator of weight 0.3, or 0.03
        of a faint one; a column per category, those in fewer than 0.5 % of the rows together, an
        unknown one 0 everywhere.
    """
    medians = SimpleImputer(strategy="median", keep_empty_features=True)
    scale = StandardScaler() if form.scaled else FunctionTransformer()
    one_hot = OneHotEncoder(
        handle_unknown="ignore",
        min_frequency=None if form.standard else dataset.RARE_FRACTION,
        sparse_output=form.standard,
    )
    blank = [] if form.standard else has_blanks(X, schema)
    columns = ColumnTransformer(
        [
            ("numeric", Pipeline([("medians", medians), ("scale", scale)]), list(schema.numeric)),
            ("blank", MissingIndicator(features="all"), [n for n in blank if n not in form.faint]),
            ("faint", MissingIndicator(features="all"), [n for n in blank if n in form.faint]),
            ("categorical", one_hot, list(schema.categorical)),
        ],
        transformer_weights={"blank": BLANK_WEIGHT, "faint": FAINT_WEIGHT},
    )
    # lbfgs, the default, stops unconverged on features that are not scaled. On scaled ones it gives
    # what everybody else's fit gives, to the row: the solvers differ in the fourth digit, which is
    # enough to put a client on the other side of the threshold.
    solver, max_iter = ("lbfgs", 5000) if form.scaled else ("newton-cholesky", 1000)
    regression = LogisticRegression(C=settings.C, solver=solver, max_iter=max_iter)
    return Pipeline([("columns", columns), ("regression", regression)])


def missing_indicators(pipeline: Pipeline) -> dict[str, float]:
    """Say which columns have an indicator of their blanks, in their order, and its weight."""
    columns = pipeline["columns"]
    weights = columns.transformer_weights
    return {
        column: weights[name]
        for name, _, its_columns in columns.transformers
        if name in weights
        for column in its_columns
    }


def fit_many(
    X: pd.DataFrame, y: Ints, schema: Schema, settings: TrainingSettings, form: FeatureSettings
) -> Pipeline | None:
    """Fit the pipeline to very many rows; None where only scikit-learn's solver may succeed."""
    pipeline = make_pipeline(X, schema, settings, form)
    values = np.asarray(pipeline["columns"].fit_transform(X), dtype=np.float64)
    weights = newton_solver.fit(values, y, settings.C)
    if weights is None:
        return None
    regression = pipeline["regression"]
    # What LogisticRegression.fit leaves, so that the pickle is a plain scikit-learn object.
    regression.classes_, regression.n_features_in_ = np.array([0, 1]), values.shape[1]
    regression.coef_, regression.intercept_ = weights[np.newaxis, :-1], weights[-1:]
    regression.n_iter_ = np.array([1], dtype=np.int32)
    return pipeline


def fit_pipeline(
    X: pd.DataFrame, y: Ints, schema: Schema, settings: TrainingSettings, form: FeatureSettings
) -> Pipeline | None:
    """Fit the pipeline; None if columns of very different sizes keep it from converging."""
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
    indicators = missing_indicators(pipeline)
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
    ours = logistic_model.probabilities(candidate, dataset.feature_arrays(table, candidate.schema))
    theirs = pipeline.predict_proba(dataset.features(table, candidate.schema))[:, 1]
    furthest = float(np.abs(ours - theirs).max())
    if not furthest <= TOLERANCE:
        raise ModelError(
            f"The plain numbers are {furthest:g} away from scikit-learn's probabilities; at most"
            f" {TOLERANCE:g} is right. This is a fault of the program: please report it."
        )
