"""How a logistic regression is fitted: its columns, their scale, the threshold, the calibration."""

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
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from scripts import dataset, model, newton
from scripts.config import Schema, TrainingSettings
from scripts.errors import InsufficientDataError

MIN_ROWS_TO_TUNE = 50
N_FOLDS = 5
N_THRESHOLDS = 100
# A numeric column gets an indicator of its blanks when more of its cells are blank.
BLANK_FRACTION = 0.01
# A gain on the validation rows counts when it is more than so many of its standard errors.
N_STANDARD_ERRORS = 2
# Of more rows a tenth more is not seen in the result.
MAX_ROWS_TO_REFIT = 100_000
# Beyond so many rows the plan is made on a sample, and the fit in few passes over all rows.
MANY_ROWS = 1_000_000
N_ROWS_TO_PLAN = 100_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """What probabilities were corrected by, as slope and offset of the log-odds; 1 and 0: not."""

    slope: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class HeldOut:
    """Log-odds of the training rows by models that have not seen them, and each row's fold."""

    log_odds: Floats
    fold: Ints


@dataclass(frozen=True)
class Plan:
    """The threshold that cross-validation chose, and what it rests on."""

    threshold: float
    held_out: HeldOut | None = None


def has_blanks(X: pd.DataFrame, schema: Schema) -> list[str]:
    """List the numeric columns of which more than 1 % of the cells are blank."""
    return [name for name in schema.numeric if X[name].isna().mean() > BLANK_FRACTION]


def make_pipeline(
    X: pd.DataFrame, schema: Schema, settings: TrainingSettings, *, scaled: bool = False
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
    scaled : bool
        Bring numeric columns to mean 0 and standard deviation 1.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Medians for blanks and, where more than 1 % are blank, an indicator; a column per
        category, those in fewer than 0.5 % of the rows together, an unknown one 0 everywhere.
    """
    medians = SimpleImputer(strategy="median", keep_empty_features=True)
    scale = StandardScaler() if scaled else FunctionTransformer()
    one_hot = OneHotEncoder(
        handle_unknown="ignore", min_frequency=dataset.RARE_FRACTION, sparse_output=False
    )
    columns = ColumnTransformer(
        [
            ("numeric", Pipeline([("medians", medians), ("scale", scale)]), list(schema.numeric)),
            ("blank", MissingIndicator(features="all"), has_blanks(X, schema)),
            ("categorical", one_hot, list(schema.categorical)),
        ]
    )
    # lbfgs, the default, stops unconverged on features that are not scaled.
    regression = LogisticRegression(C=settings.C, solver="newton-cholesky", max_iter=1000)
    return Pipeline([("columns", columns), ("regression", regression)])


def fit_many(
    X: pd.DataFrame, y: Ints, schema: Schema, settings: TrainingSettings, *, scaled: bool
) -> Pipeline | None:
    """Fit the pipeline to very many rows; None where only scikit-learn's solver may succeed."""
    pipeline = make_pipeline(X, schema, settings, scaled=scaled)
    values = np.asarray(pipeline["columns"].fit_transform(X), dtype=np.float64)
    weights = newton.fit(values, y, settings.C)
    if weights is None:
        return None
    regression = pipeline["regression"]
    # What LogisticRegression.fit leaves, so that the pickle is a plain scikit-learn object.
    regression.classes_, regression.n_features_in_ = np.array([0, 1]), values.shape[1]
    regression.coef_, regression.intercept_ = weights[np.newaxis, :-1], weights[-1:]
    regression.n_iter_ = np.array([1], dtype=np.int32)
    return pipeline


def fit_pipeline(
    X: pd.DataFrame, y: Ints, schema: Schema, settings: TrainingSettings, *, scaled: bool
) -> Pipeline | None:
    """Fit the pipeline; None if columns of very different sizes keep it from converging."""
    if len(y) > MANY_ROWS:
        pipeline = fit_many(X, y, schema, settings, scaled=scaled)
        if pipeline is not None:
            return pipeline
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("error", LinAlgWarning)
        try:
            return make_pipeline(X, schema, settings, scaled=scaled).fit(X, y)
        except (ConvergenceWarning, LinAlgWarning):
            return None


def hold_out(
    X: pd.DataFrame, y: Ints, schema: Schema, settings: TrainingSettings, *, scaled: bool
) -> HeldOut | None:
    """Predict each row by a model that was fitted to the four folds it is not in."""
    log_odds, fold_of = np.empty(len(y)), np.empty(len(y), dtype=np.int64)
    for fold, (others, own) in enumerate(StratifiedKFold(N_FOLDS).split(X, y)):
        fitted = fit_pipeline(X.iloc[others], y[others], schema, settings, scaled=scaled)
        if fitted is None:
            return None
        log_odds[own], fold_of[own] = fitted.decision_function(X.iloc[own]), fold
    return HeldOut(log_odds, fold_of)


def f1_at(thresholds: Floats, y: Ints, probability: Floats) -> Floats:
    """Compute the F1 that each threshold gives, shape (n_thresholds,); 0 where it is undefined."""
    left = np.sort(probability[y == 1])
    n_hits = len(left) - np.searchsorted(left, thresholds, side="left")
    n_said = len(y) - np.searchsorted(np.sort(probability), thresholds, side="left")
    return np.asarray(2 * n_hits / (n_said + len(left)), dtype=np.float64)


def best_threshold(y: Ints, held_out: HeldOut) -> float:
    """Find the threshold with the highest F1, averaged over the folds.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 or 1, both in every fold.
    held_out : HeldOut
        The log-odds of the rows by models that have not seen them.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    The same as scikit-learn's TunedThresholdClassifierCV(scoring="f1", cv=5): in each fold 100
    thresholds from the lowest to the highest probability, interpolated to common ones.
    """
    probability = model.sigmoid(held_out.log_odds)
    curves = []
    for fold in range(N_FOLDS):
        own = held_out.fold == fold
        ends = probability[own].min(), probability[own].max()
        thresholds = np.linspace(*ends, N_THRESHOLDS)
        curves.append((thresholds, f1_at(thresholds, y[own], probability[own])))
    common = np.linspace(
        min(thresholds[0] for thresholds, _ in curves),
        max(thresholds[-1] for thresholds, _ in curves),
        N_THRESHOLDS,
    )
    averaged = np.mean([np.interp(common, *curve) for curve in curves], axis=0)
    return float(common[averaged.argmax()])


def take_sample(X: pd.DataFrame, y: Ints, settings: TrainingSettings) -> tuple[pd.DataFrame, Ints]:
    """Take the rows to plan with: all, or of very many as many as tell as much."""
    if len(y) <= MANY_ROWS:
        return X, y
    generator = np.random.default_rng(settings.random_state)
    places = np.sort(generator.choice(len(y), N_ROWS_TO_PLAN, replace=False))
    # A class too rare for a sample is looked for among all rows.
    if np.bincount(y[places], minlength=2).min() < MIN_ROWS_TO_TUNE:
        return X, y
    return X.iloc[places], y[places]


def make_plan(
    X: pd.DataFrame,
    y: Ints,
    schema: Schema,
    settings: TrainingSettings,
    *,
    scaled: bool = False,
) -> Plan:
    """Choose the threshold by cross-validation.

    Parameters
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
        Rows to learn from.
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    schema : Schema
        The columns.
    settings : TrainingSettings
        `decision_threshold` is a number, or "auto".
    scaled : bool
        Whether numeric columns are scaled.

    Returns
    -------
    Plan
        With fewer than 50 rows of a class the threshold is 0.5 and nothing is held out.
    """
    declared = settings.decision_threshold
    threshold = 0.5 if declared == "auto" else float(declared)
    if not is_tunable(y):
        return Plan(threshold)
    held_out = hold_out(X, y, schema, settings, scaled=scaled)
    if declared == "auto" and held_out is not None:
        threshold = best_threshold(y, held_out)
    return Plan(threshold, held_out)


def is_tunable(y: Ints) -> bool:
    """Say whether there are enough rows of both classes to choose anything by them."""
    return bool(np.bincount(y, minlength=2).min() >= MIN_ROWS_TO_TUNE)


def is_more_than_chance(gain: Floats) -> bool:
    """Say whether the mean of the rows' gains is more than two of its standard errors."""
    if len(gain) < 2:
        return False
    return bool(gain.mean() > N_STANDARD_ERRORS * gain.std(ddof=1) / np.sqrt(len(gain)))


def row_losses(y: Ints, log_odds: Floats) -> Floats:
    """Compute the log loss of each row, without overflow."""
    return np.asarray(np.logaddexp(0, np.where(y == 1, -log_odds, log_odds)), dtype=np.float64)


def choose_pipeline(
    training: tuple[pd.DataFrame, Ints],
    validation: tuple[pd.DataFrame, Ints],
    schema: Schema,
    settings: TrainingSettings,
) -> tuple[Pipeline, bool]:
    """Fit to the training rows, scaled only if that pays on the validation rows.

    Returns
    -------
    tuple of sklearn.pipeline.Pipeline and bool
        The fitted pipeline and whether it is scaled: when the log loss of the validation rows is
        lower by more than chance, or when without it the fit does not converge.
    """
    X, y = training
    raw = fit_pipeline(X, y, schema, settings, scaled=False)
    if raw is not None and not (schema.numeric and is_tunable(y)):
        return raw, False
    scaled = make_pipeline(X, schema, settings, scaled=True).fit(X, y)
    if raw is None:
        return scaled, True
    before, after = (
        row_losses(validation[1], fitted.decision_function(validation[0]))
        for fitted in (raw, scaled)
    )
    pays = is_more_than_chance(before - after)
    return (scaled, True) if pays else (raw, False)


def calibrate(y: Ints, held_out: HeldOut) -> Calibration:
    """Find slope and offset of the log-odds that make held-out probabilities right (Platt)."""
    straight = LogisticRegression(C=1e9, solver="newton-cholesky")
    straight.fit(held_out.log_odds[:, np.newaxis], y)
    return Calibration(float(straight.coef_[0, 0]), float(straight.intercept_[0]))


def does_calibration_pay(y: Ints, log_odds: Floats, found: Calibration) -> bool:
    """Say whether a calibration lowers the Brier score of validation rows by more than chance.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 or 1.
    log_odds : numpy.ndarray of shape (n_rows,)
        Of the model that is to be calibrated.
    found : Calibration
        Slope and offset.

    Returns
    -------
    bool
        Whether the mean gain is more than two of its standard errors; never for a slope that
        would turn the order of the rows around.
    """
    if found.slope <= 0:
        return False
    before = (model.sigmoid(log_odds) - y) ** 2
    after = (model.sigmoid(found.slope * log_odds + found.offset) - y) ** 2
    return is_more_than_chance(before - after)


def apply_calibration(pipeline: Pipeline, found: Calibration) -> None:
    """Build a calibration into the coefficients, so that the model stays one regression."""
    regression = pipeline["regression"]
    regression.coef_ = regression.coef_ * found.slope
    regression.intercept_ = regression.intercept_ * found.slope + found.offset


def shift_threshold(threshold: float, found: Calibration) -> float:
    """Give the threshold that calls the same rows after a calibration."""
    if not 0 < threshold < 1:
        return threshold
    log_odds = np.log(threshold) - np.log1p(-threshold)
    return float(model.sigmoid(np.array([found.slope * log_odds + found.offset]))[0])


@dataclass(frozen=True)
class Fit:
    """The pipeline that was validated, the final one, their threshold and their calibration."""

    validated: Pipeline
    final: Pipeline
    threshold: float
    calibration: Calibration = Calibration()


def fit(
    training: tuple[pd.DataFrame, Ints],
    validation: tuple[pd.DataFrame, Ints],
    whole: tuple[pd.DataFrame, Ints],
    schema: Schema,
    settings: TrainingSettings,
) -> Fit:
    """Fit a pipeline with its threshold, scaled and calibrated where that pays.

    Parameters
    ----------
    training, validation, whole : tuple of pandas.DataFrame and numpy.ndarray
        Features and target of nine tenths, of one tenth, and of all rows.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Of the regression and the threshold.

    Returns
    -------
    Fit
        With at least 50 training rows of each class, and not very many rows, the threshold is
        tuned on all rows and the final pipeline fitted to them, as what was validated would be.

    Raises
    ------
    InsufficientDataError
        If there is only one class to learn from.
    """
    y = training[1]
    if int(y.sum()) in (0, len(y)):
        raise InsufficientDataError(
            f"All {len(y)} training rows have the same label; both are needed. Add data."
        )
    sample = take_sample(*training, settings)
    validated, scaled = choose_pipeline(sample, validation, schema, settings)
    if len(sample[1]) < len(y):
        validated = fit_pipeline(*training, schema, settings, scaled=scaled) or validated
    is_refitted = is_tunable(y) and len(whole[1]) <= MAX_ROWS_TO_REFIT
    rows = whole if is_refitted else sample
    plan = make_plan(*rows, schema, settings, scaled=scaled)
    again = fit_pipeline(*rows, schema, settings, scaled=scaled) if is_refitted else None
    final = validated if again is None else again
    if plan.held_out is None:
        return Fit(validated, final, plan.threshold)
    found = calibrate(rows[1], plan.held_out)
    if not does_calibration_pay(validation[1], validated.decision_function(validation[0]), found):
        return Fit(validated, final, plan.threshold)
    for pipeline in {id(p): p for p in (validated, final)}.values():
        apply_calibration(pipeline, found)
    is_declared = settings.decision_threshold != "auto"
    threshold = plan.threshold if is_declared else shift_threshold(plan.threshold, found)
    return Fit(validated, final, threshold, found)
