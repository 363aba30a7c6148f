"""The choice between straight lines and curves, and the fit with a decision threshold."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from sklearn.model_selection import StratifiedKFold

from scripts.core.config import Schema, TrainingSettings
from scripts.data.arrays import Floats, Ints
from scripts.model import additive_fit, decision_threshold, monotone
from scripts.model.additive_fit import AdditiveFit
from scripts.model.basis import Axis
from scripts.model.decision_threshold import HeldOut
from scripts.model.logistic_model import Columns

# The smallest number of rows of each class for any tuning.
MIN_ROWS_TO_TUNE = 50
# Up to so many rows of the rarer class, curves must win in cross-validation. Above, their penalties
# have enough to learn from.
MAX_ROWS_TO_DOUBT = 200
# The sample of a large table that decides on levels, strengths and pairs: at least so many rows,
# and more where the rarer class has few rows in it.
MIN_PLAN_ROWS, MAX_PLAN_ROWS, ENOUGH_OF_CLASS = 20_000, 50_000, 2_000
# Above this size, refitting on the 10 % validation rows does not change the result.
MAX_ROWS_TO_REFIT = 100_000


class Rows(Struct, frozen=True):
    """Features by name, and the target."""

    columns: Columns
    y: Ints

    def take(self, places: Ints) -> "Rows":
        """Return the rows at some places."""
        return Rows({name: values[places] for name, values in self.columns.items()}, self.y[places])


class AdditiveModel(Struct, frozen=True):
    """An additive fit to nine tenths of the rows, a fit to all rows, and the threshold."""

    validated: AdditiveFit
    final: AdditiveFit
    threshold: float


def draw_sample(rows: Rows, settings: TrainingSettings) -> Rows:
    """Return the rows for the plan: a sample of a large table, all rows of a small table."""
    n = len(rows.y)
    rarer = max(1, int(np.bincount(rows.y, minlength=2).min()))
    n_wanted = int(np.clip(ENOUGH_OF_CLASS * n / rarer, MIN_PLAN_ROWS, MAX_PLAN_ROWS))
    if n <= n_wanted:
        return rows
    generator = np.random.default_rng(settings.random_state)
    return rows.take(np.sort(generator.choice(n, n_wanted, replace=False)))


def is_tunable(y: Ints) -> bool:
    """Test whether both classes have enough rows for tuning."""
    return bool(np.bincount(y, minlength=2).min() >= MIN_ROWS_TO_TUNE)


def row_losses(y: Ints, log_odds: Floats) -> Floats:
    """Compute the log loss of each row, without overflow."""
    return np.asarray(np.logaddexp(0, np.where(y == 1, -log_odds, log_odds)), dtype=np.float64)


def applies(y: Ints, settings: TrainingSettings) -> bool:
    """Return whether an additive model is fitted: by the settings, or to enough rows."""
    if settings.monotone or settings.model == "additive":
        return bool(0 < y.sum() < len(y))
    return is_tunable(y)


def fit_kind(
    rows: Rows, axes: Mapping[str, Axis], settings: TrainingSettings, *, is_straight: bool
) -> tuple[AdditiveFit, Floats]:
    """Fit straight lines, or curves and pairs, and return the fit with the design."""
    if is_straight:
        return additive_fit.fit_straight(axes, rows.columns, rows.y)
    return additive_fit.fit_additive(axes, rows.columns, rows.y, settings.monotone)


def make_folds(y: Ints) -> list[tuple[Ints, Ints]]:
    """Return the training rows and the held-out rows of five folds."""
    return list(StratifiedKFold(decision_threshold.N_FOLDS).split(y[:, np.newaxis], y))


def do_curves_pay(rows: Rows, schema: Schema, settings: TrainingSettings) -> bool:
    """Test whether curves lower the log loss of five folds beyond a standard error.

    Everything is fitted again in each fold: levels, strengths, pairs and coefficients.
    """
    gain = np.empty(len(rows.y))
    for rest, held in make_folds(rows.y):
        training, own = rows.take(rest), rows.take(held)
        axes = additive_fit.make_axes(training.columns, schema, rows.columns)
        straight = additive_fit.fit_straight(axes, training.columns, training.y)
        curved = additive_fit.fit_additive(
            axes, training.columns, training.y, settings.monotone, straight
        )
        before, after = (
            row_losses(own.y, additive_fit.log_odds_of(fitted, own.columns))
            for fitted, _ in (straight, curved)
        )
        gain[held] = before - after
    return bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))


def plan(
    rows: Rows, schema: Schema, settings: TrainingSettings, further: Columns
) -> tuple[AdditiveFit, Floats]:
    """Choose between lines and curves, and fit levels, strengths and pairs.

    Parameters
    ----------
    rows : Rows
        The sample to plan with.
    schema : Schema
        The columns.
    settings : TrainingSettings
        `model` is "auto", "additive" or "linear".
    further : mapping of str to numpy.ndarray of shape (n_rows,)
        Features of all rows, whose categories are known to the model.

    Returns
    -------
    tuple of AdditiveFit and numpy.ndarray
        The fit and its design.
    """
    axes = additive_fit.make_axes(rows.columns, schema, further)
    is_straight = settings.model == "linear"
    is_small = int(np.bincount(rows.y, minlength=2).min()) <= MAX_ROWS_TO_DOUBT
    if settings.model == "auto" and is_small:
        is_straight = not do_curves_pay(rows, schema, settings)
    fitted, design = fit_kind(rows, axes, settings, is_straight=is_straight)
    if settings.model == "auto" and not is_straight and not is_small and not fitted.has_evidence:
        fitted, design = fit_kind(rows, axes, settings, is_straight=True)
    if settings.C != 1.0:
        # As in scikit-learn: the penalties are divided by C.
        strengths = fitted.solution.strengths / settings.C
        weighted = replace(fitted, solution=replace(fitted.solution, strengths=strengths))
        fitted, design = additive_fit.fit_again(weighted, rows.columns, rows.y)
    return fitted, design


def fit_rows(
    planned: AdditiveFit, rows: Rows, n_planned: int, settings: TrainingSettings
) -> AdditiveFit:
    """Fit the coefficients of a plan to rows, with monotone curves where declared."""

    def fit_again(fitted: AdditiveFit) -> AdditiveFit:
        """Fit the coefficients of the plan, in memory or in few passes."""
        if len(rows.y) > MAX_PLAN_ROWS:
            # A design of all rows would not fit into memory.
            return additive_fit.fit_all_rows(fitted, rows.columns, rows.y, n_planned)
        return additive_fit.fit_again(fitted, rows.columns, rows.y)[0]

    return monotone.enforce(fit_again(planned), settings.monotone, rows.columns, fit_again)


def find_threshold(fitted: AdditiveFit, rows: Rows, settings: TrainingSettings) -> float:
    """Return the declared threshold, or the threshold with the best F1 of five folds."""
    if settings.decision_threshold != "auto":
        return float(settings.decision_threshold)
    if not is_tunable(rows.y):
        return 0.5
    folds = make_folds(rows.y)
    fold_of = np.empty(len(rows.y), dtype=np.int64)
    for fold, (_, held) in enumerate(folds):
        fold_of[held] = fold
    design = additive_fit.make_design(fitted.layout.terms, rows.columns)
    log_odds = additive_fit.predict_held_out(fitted, design, rows.y, folds)
    return decision_threshold.best_threshold(rows.y, HeldOut(log_odds, fold_of))


def fit(training: Rows, whole: Rows, schema: Schema, settings: TrainingSettings) -> AdditiveModel:
    """Fit an additive model with a threshold.

    Parameters
    ----------
    training, whole : Rows
        Nine tenths of the rows, and all rows.
    schema : Schema
        The columns.
    settings : TrainingSettings
        Kind of the model, monotone columns, threshold.

    Returns
    -------
    AdditiveModel
        Up to 100,000 rows the final coefficients and the threshold are those of all rows. The
        choice of the model, its levels, strengths and pairs are always those of the training rows.
    """
    sample = draw_sample(training, settings)
    planned, _ = plan(sample, schema, settings, whole.columns)
    validated = fit_rows(planned, training, len(sample.y), settings)
    if len(whole.y) > MAX_ROWS_TO_REFIT:
        return AdditiveModel(validated, validated, find_threshold(validated, sample, settings))
    final = fit_rows(planned, whole, len(sample.y), settings)
    for_threshold = whole if len(whole.y) <= MAX_PLAN_ROWS else sample
    return AdditiveModel(validated, final, find_threshold(final, for_threshold, settings))
