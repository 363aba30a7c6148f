"""Makes the model of a dataset on a cluster, and the scikit-learn object that says the same."""

from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyspark
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from scripts import cluster, model, sparkdata, sparkfeatures, sparkfitting, sparkstatistics
from scripts.config import Config
from scripts.model import Model
from scripts.sparkfeatures import Terms
from scripts.sparkfitting import SparkPlan

Floats = NDArray[np.float64]


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
    rows: DataFrame, identity: sparkdata.Identity, config: Config, versions: dict[str, str]
) -> tuple[Model, Terms, SparkPlan]:
    """Fit a model to rows on the cluster; nothing but numbers comes back."""
    schema, settings = config.schema, config.training
    n_training = sparkfitting.check_classes(rows, settings, schema)
    training, validation = sparkfitting.split(rows, settings)
    plan = sparkfitting.make_plan(rows, n_training, schema, settings)
    terms, weights = sparkfitting.fit_terms(
        training, n_training, schema, settings.C, scaled=plan.scaled
    )
    weights = apply_calibration(weights, plan)
    terms = sparkfeatures.fill_in(terms, weights[:-1])
    fitted = Model(
        format=model.FORMAT,
        schema=schema,
        numeric=terms.numeric,
        categorical=terms.categorical,
        intercept=float(weights[-1]),
        threshold=plan.threshold,
        dataset=sparkstatistics.describe_dataset(rows, identity, schema),
        n_training_rows=n_training,
        settings=msgspec.structs.asdict(settings),
        validation={},
        versions=versions | {"pyspark": pyspark.__version__},
    )
    validated = sparkfitting.validate(validation, fitted) | {
        "calibration_slope": plan.slope,
        "calibration_offset": plan.offset,
    }
    facts = msgspec.structs.replace(
        fitted.dataset,
        reference=sparkstatistics.make_reference(
            rows, fitted, sparkstatistics.count_categories(rows, schema)
        ),
        typical=sparkstatistics.find_typical(rows, fitted),
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
    identity = sparkdata.read_identity(dataset_path)
    with cluster.working(config.engine) as session:
        rows = sparkdata.read_dataset(session, dataset_path, config.schema, config.training)
        fitted, terms, plan = fit_model(rows, identity, config, versions)
        rows.unpersist()
    pipeline = make_pipeline(fitted, terms, config.training.C, scaled=plan.scaled)
    return Fitted(fitted, pipeline, make_examples(fitted))
