"""Which form a regression takes, and in which one its threshold is looked for."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from scripts import gains, regression
from scripts.config import Schema, TrainingSettings
from scripts.regression import RAW, SCALED, STANDARD, Form

Rows = tuple[pd.DataFrame, NDArray[np.int64]]


def choose(
    training: Rows,
    validation: Rows,
    schema: Schema,
    settings: TrainingSettings,
    usual: Form,
) -> tuple[Pipeline, Form]:
    """Fit to the training rows in the usual form, unless the other one pays on validation rows.

    Parameters
    ----------
    training, validation : tuple of pandas.DataFrame and numpy.ndarray
        Features and target.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Of the regression.
    usual : Form
        RAW or SCALED.

    Returns
    -------
    tuple of sklearn.pipeline.Pipeline and Form
        The fitted pipeline and its form: the other one than usual when the log loss of the
        validation rows is lower by more than chance; with fewer than 50 rows of a class always
        RAW; SCALED where without it the fit does not converge.
    """
    X, y = training
    raw = regression.fit_pipeline(X, y, schema, settings, RAW)
    if raw is not None and not gains.is_tunable(y):
        return raw, RAW
    scaled = regression.make_pipeline(X, schema, settings, SCALED).fit(X, y)
    if raw is None:
        return scaled, SCALED
    fitted = {RAW: raw, SCALED: scaled}
    other = RAW if usual == SCALED else SCALED
    by_usual, by_other = (fitted[form].decision_function(validation[0]) for form in (usual, other))
    chosen = other if gains.lowers_log_loss(validation[1], by_usual, by_other) else usual
    return fitted[chosen], chosen


def choose_for_threshold(
    training: Rows,
    validation: Rows,
    validated: Pipeline,
    schema: Schema,
    settings: TrainingSettings,
) -> Form:
    """Choose the form whose held-out probabilities decide the threshold of a scaled pipeline.

    Parameters
    ----------
    training, validation : tuple of pandas.DataFrame and numpy.ndarray
        Features and target.
    validated : sklearn.pipeline.Pipeline
        In form SCALED, fitted to the training rows.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Of the regression.

    Returns
    -------
    Form
        STANDARD, unless indicators of blanks pay on the validation rows.

    Notes
    -----
    F1 over the thresholds has many near-ties on a thousand rows. Columns that mean nothing, or
    only another solver's last digits, then move the threshold a lot, and nobody gains by that;
    with the standard form it is the one that scikit-learn's own tuner finds (benchmarks/README.md).
    """
    if regression.has_blanks(training[0], schema):
        standard = regression.fit_pipeline(*training, schema, settings, STANDARD)
        if standard is None:
            return SCALED
        before, after = (p.decision_function(validation[0]) for p in (standard, validated))
        if gains.lowers_log_loss(validation[1], before, after):
            return SCALED
    return STANDARD
