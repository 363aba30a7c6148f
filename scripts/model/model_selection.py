"""The choice of a regression's features by score tests and by the loss on validation rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from scripts.core.config import Schema, TrainingSettings
from scripts.data.arrays import Floats, Ints
from scripts.model import sklearn_pipeline
from scripts.model.sklearn_pipeline import RAW, SCALED, STANDARD, FeatureSettings

# The score of a column without meaning is above this once in a hundred times (chi-square, 1 df).
TELLING_SCORE = 6.63
SMALLEST_SHARE = 1e-6
# A gain counts above this number of its standard errors.
N_STANDARD_ERRORS = 2
# On few rows the standard error alone is too often below the gain of nearly equal models.
MIN_GAIN_FRACTION = 0.01
# The smallest number of rows of each class for any tuning.
MIN_ROWS_TO_TUNE = 50

TableAndLabels = tuple[pd.DataFrame, Ints]


def is_more_than_chance(gain: Floats) -> bool:
    """Test whether the mean gain of rows is more than two of its standard errors."""
    if len(gain) < 2:
        return False
    return bool(gain.mean() > N_STANDARD_ERRORS * gain.std(ddof=1) / np.sqrt(len(gain)))


def row_losses(y: Ints, log_odds: Floats) -> Floats:
    """Compute the log loss of each row, without overflow."""
    return np.asarray(np.logaddexp(0, np.where(y == 1, -log_odds, log_odds)), dtype=np.float64)


def lowers_log_loss(y: Ints, before: Floats, after: Floats) -> bool:
    """Test whether log-odds lower the log loss by at least 1 % and by more than chance."""
    losses = row_losses(y, before)
    gain = losses - row_losses(y, after)
    is_worth_it = bool(gain.mean() >= MIN_GAIN_FRACTION * losses.mean())
    return is_worth_it and is_more_than_chance(gain)


def is_tunable(y: Ints) -> bool:
    """Test whether both classes have enough rows for tuning."""
    return bool(np.bincount(y, minlength=2).min() >= MIN_ROWS_TO_TUNE)


def evidence_of_blanks(
    pipeline: Pipeline, training: TableAndLabels, settings: TrainingSettings
) -> dict[str, float]:
    """Test whether blanks tell something of the target that the other columns do not.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted to the training rows with faint indicators.
    training : tuple of pandas.DataFrame and numpy.ndarray
        Features and target.
    settings : TrainingSettings
        `C` of the regression.

    Returns
    -------
    dict of str to float
        For each column with an indicator a chi-square of one degree of freedom.

    Notes
    -----
    Rao's score test of a coefficient for the blanks: its gradient where the fit stands, squared,
    over its curvature as far as the other columns do not explain it. It needs no further fit, and
    sees on all training rows what a tenth of them for validation is too few for.
    """
    X, y = training
    indicators = list(sklearn_pipeline.missing_indicators(pipeline))
    if not indicators:
        return {}
    values = np.asarray(pipeline["columns"].transform(X), dtype=np.float64)
    columns = np.column_stack([values, np.ones(len(y))])
    penalty = np.append(np.full(values.shape[1], 1 / settings.C), 0.0)
    probability = pipeline.predict_proba(X)[:, 1]
    weighted = columns * (probability * (1 - probability))[:, np.newaxis]
    is_blank = X[indicators].isna().to_numpy(dtype=np.float64)
    shared = weighted.T @ is_blank
    explained = shared * np.linalg.solve(columns.T @ weighted + np.diag(penalty), shared)
    # The last column of the weighted ones are the weights themselves.
    alone = weighted[:, -1] @ is_blank
    curvature = alone - explained.sum(axis=0)
    gradient = (y - probability) @ is_blank
    # Blanks that the other columns explain to the last one, all of a column's among them, add
    # nothing; what is left there is rounding.
    does_add = curvature > SMALLEST_SHARE * alone
    evidence = np.divide(gradient**2, curvature, out=np.zeros(len(curvature)), where=does_add)
    return dict(zip(indicators, map(float, evidence), strict=True))


def fit_scaled(
    training: TableAndLabels, schema: Schema, settings: TrainingSettings
) -> tuple[Pipeline, FeatureSettings]:
    """Fit with columns brought to one scale; blanks count as far as they tell something."""
    X, y = training
    form = replace(SCALED, faint=tuple(sklearn_pipeline.columns_with_missing(X, schema)))
    fitted = sklearn_pipeline.make_pipeline(X, schema, settings, form).fit(X, y)
    evidence = evidence_of_blanks(fitted, training, settings)
    faint = tuple(name for name in form.faint if evidence[name] <= TELLING_SCORE)
    if faint == form.faint:
        return fitted, form
    form = replace(SCALED, faint=faint)
    return sklearn_pipeline.make_pipeline(X, schema, settings, form).fit(X, y), form


def choose(
    training: TableAndLabels,
    validation: TableAndLabels,
    schema: Schema,
    settings: TrainingSettings,
    *,
    usually_scaled: bool,
) -> tuple[Pipeline, FeatureSettings]:
    """Fit to the training rows in the usual form, unless the other one pays on validation rows.

    Parameters
    ----------
    training, validation : tuple of pandas.DataFrame and numpy.ndarray
        Features and target.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Of the regression.
    usually_scaled : bool
        Which form is the usual one.

    Returns
    -------
    tuple of sklearn.pipeline.Pipeline and FeatureSettings
        The fitted pipeline and its form: the other one than usual when the log loss of the
        validation rows is lower by more than chance; with fewer than 50 rows of a class always
        RAW; scaled where without it the fit does not converge.
    """
    X, y = training
    raw = sklearn_pipeline.fit_pipeline(X, y, schema, settings, RAW)
    if raw is not None and not is_tunable(y):
        return raw, RAW
    if usually_scaled:
        scaled, form = fit_scaled(training, schema, settings)
    else:
        # Of many rows blanks that tell nothing get a coefficient near 0 whatever their weight is.
        scaled, form = sklearn_pipeline.make_pipeline(X, schema, settings, SCALED).fit(X, y), SCALED
    if raw is None:
        return scaled, form
    by_raw, by_scaled = (p.decision_function(validation[0]) for p in (raw, scaled))
    before, after = (by_scaled, by_raw) if usually_scaled else (by_raw, by_scaled)
    does_other_pay = lowers_log_loss(validation[1], before, after)
    return (scaled, form) if usually_scaled != does_other_pay else (raw, RAW)


def choose_for_threshold(
    form: FeatureSettings,
    fitted: Pipeline,
    training: TableAndLabels,
    validation: TableAndLabels,
    schema: Schema,
    settings: TrainingSettings,
) -> FeatureSettings:
    """Choose the form whose held-out probabilities decide the threshold of a scaled pipeline.

    Parameters
    ----------
    form : FeatureSettings
        Of the pipeline.
    fitted : sklearn.pipeline.Pipeline
        The pipeline, fitted to the training rows.
    training, validation : tuple of pandas.DataFrame and numpy.ndarray
        Features and target.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Of the regression.

    Returns
    -------
    FeatureSettings
        STANDARD, unless blanks tell so much that it pays on the validation rows.

    Notes
    -----
    F1 over the thresholds has many near-ties on a thousand rows. Columns that mean little, or
    only another solver's last digits, then move the threshold a lot, and nobody gains by that;
    with the standard form it is the one that scikit-learn's own tuner finds (benchmarks/README.md).
    """
    if set(sklearn_pipeline.columns_with_missing(training[0], schema)) <= set(form.faint):
        return STANDARD
    standard = sklearn_pipeline.fit_pipeline(*training, schema, settings, STANDARD)
    if standard is None:
        return form
    before, after = (p.decision_function(validation[0]) for p in (standard, fitted))
    return form if lowers_log_loss(validation[1], before, after) else STANDARD
