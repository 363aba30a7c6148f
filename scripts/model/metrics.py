"""Metrics of predictions on labelled rows, and the paired comparison of two models' F1."""

import math

import numpy as np
import pandas as pd
from msgspec import Struct
from msgspec.structs import asdict, replace

from scripts.data import dataset
from scripts.data.arrays import Floats, Ints
from scripts.model import evidence_reuse, logistic_model
from scripts.model.logistic_model import Model

SEED = 42
N_BINS = 10


class Evaluation(Struct, frozen=True):
    """The metrics of a model on labelled rows: fractions in [0, 1], None where undefined."""

    f1: float | None
    f1_low: float | None
    f1_high: float | None
    precision: float | None
    recall: float | None
    accuracy: float
    roc_auc: float | None
    n_rows: int
    n_positives: int
    n_true_positives: int
    n_false_positives: int
    n_false_negatives: int
    n_true_negatives: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The metrics by name."""
        return asdict(self)


class Comparison(Struct, frozen=True):
    """The F1 difference of candidate and production on the same rows, by paired bootstrap."""

    difference: float
    difference_low: float
    difference_high: float
    probability_better: float


def f1_of_counts(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    """Compute F1 = 2 TP / (2 TP + FP + FN) elementwise, NaN where the denominator is 0."""
    denominator = 2 * tp + fp + fn
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, 2 * tp / denominator, np.nan)


def ratio(part: int, whole: int) -> float | None:
    """Divide counts, and return None for a denominator of 0."""
    return part / whole if whole else None


def f1_of(y: Ints, predicted: Ints) -> float | None:
    """Compute the F1 of predictions, None without any positive label or prediction."""
    return ratio(2 * int(np.sum(y & predicted)), int(y.sum() + predicted.sum()))


def f1_interval(
    tp: int, fp: int, fn: int, tn: int, n_judged: int = 1
) -> tuple[float, float] | tuple[None, None]:
    """Compute the 95 % percentile bootstrap interval of F1 from the confusion counts.

    Drawing the four counts from a multinomial distribution is equivalent to resampling rows with
    replacement, and its cost does not depend on the number of rows.
    """
    n_rows = tp + fp + fn + tn
    draws = np.random.default_rng(SEED).multinomial(
        n_rows, np.array([tp, fp, fn, tn]) / n_rows, size=evidence_reuse.count_resamples(n_judged)
    )
    resampled = f1_of_counts(*draws[:, :3].T.astype(np.float64))
    if np.isnan(resampled).all():
        return None, None
    low, high = np.nanpercentile(resampled, evidence_reuse.interval_percent(n_judged))
    return float(low), float(high)


def next_interval(measured: Evaluation) -> tuple[float, float] | None:
    """Return the 95 % interval of F1 on as many new rows, None where nothing can be said.

    That is where F1 is undefined, or 0 or 1 in every resample: other rows need not be like these.

    Both the test rows and the rows to come are samples, so that the interval is wider than that of
    the F1 by the root of two.

    Notes
    -----
    Prediction interval: Hahn and Meeker, "Statistical Intervals", section 2.4.
    """
    if measured.f1 is None or measured.f1_low is None or measured.f1_high is None:
        return None
    if measured.f1_low == measured.f1_high:
        return None
    low = measured.f1 - math.sqrt(2) * (measured.f1 - measured.f1_low)
    high = measured.f1 + math.sqrt(2) * (measured.f1_high - measured.f1)
    return max(0.0, low), min(1.0, high)


def correct_for_reuse(measured: Evaluation, n_judged: int) -> Evaluation:
    """Return an evaluation on rows with a number of judged candidates, with this candidate.

    Notes
    -----
    `scripts.model.evidence_reuse` names the sources.
    """
    if n_judged == 1:
        return measured
    low, high = f1_interval(
        measured.n_true_positives,
        measured.n_false_positives,
        measured.n_false_negatives,
        measured.n_true_negatives,
        n_judged,
    )
    return replace(measured, f1_low=low, f1_high=high)


def evaluate_counts(tn: int, fp: int, fn: int, tp: int, *, roc_auc: float | None) -> Evaluation:
    """Compute the metrics of a confusion matrix."""
    low, high = f1_interval(tp, fp, fn, tn)
    n_rows = tp + fp + fn + tn
    return Evaluation(
        f1=ratio(2 * tp, 2 * tp + fp + fn),
        f1_low=low,
        f1_high=high,
        precision=ratio(tp, tp + fp),
        recall=ratio(tp, tp + fn),
        accuracy=(tp + tn) / n_rows,
        roc_auc=roc_auc,
        n_rows=n_rows,
        n_positives=tp + fn,
        n_true_positives=tp,
        n_false_positives=fp,
        n_false_negatives=fn,
        n_true_negatives=tn,
    )


def area_under_curve(y: Ints, probability: Floats) -> float:
    """Compute the area under the ROC curve, the share of pairs of rows in the right order.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 or 1, with both among them.
    probability : numpy.ndarray of shape (n_rows,)
        Probabilities of 1.

    Returns
    -------
    float
        In [0, 1]. A pair is a row of each class. Of equal probabilities it counts half.

    Notes
    -----
    Hanley and McNeil (1982), "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve": the statistic U of Mann and Whitney over the number of pairs. It is
    counted in whole numbers. scikit-learn adds up the same area in floats, and its import takes
    half a second.
    """
    left, stayed = probability[y == 1], np.sort(probability[y == 0])
    n_below, n_up_to = (
        int(np.searchsorted(stayed, left, side=side).sum()) for side in ("left", "right")
    )
    return (n_below + n_up_to) / (2 * len(left) * len(stayed))


def evaluate(y: Ints, predicted: Ints, probability: Floats) -> Evaluation:
    """Compute the metrics of predictions.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 stayed, 1 left; at least one row.
    predicted : numpy.ndarray of shape (n_rows,)
        0 or 1.
    probability : numpy.ndarray of shape (n_rows,)
        Probabilities of 1, in [0, 1], for the ROC AUC.

    Returns
    -------
    Evaluation
        F1 is None when nobody left and nobody was predicted to; ROC AUC is None with one class.

    Raises
    ------
    ValueError
        If there is no row.

    Notes
    -----
    scikit-learn user guide, "Precision, recall and F-measures" and "ROC"; the interval is
    Efron's percentile bootstrap.
    """
    if len(y) == 0:
        raise ValueError("Expected at least one row to evaluate.")
    counts = np.bincount(2 * y + predicted, minlength=4)
    both_classes = 0 < int(y.sum()) < len(y)
    roc_auc = area_under_curve(y, probability) if both_classes else None
    return evaluate_counts(*map(int, counts), roc_auc=roc_auc)


def brier_score(y: Ints, probability: Floats) -> float:
    """Compute the mean squared difference of probability and label, with 0 as the best."""
    return float(np.mean((probability - y) ** 2))


def calibration_gaps(y: Ints, probability: Floats) -> Floats:
    """Sum the differences of probability and label in each of ten bins of equal width."""
    bins = np.minimum((probability * N_BINS).astype(np.int64), N_BINS - 1)
    gaps = np.bincount(bins, weights=probability - y, minlength=N_BINS)
    return np.asarray(gaps, dtype=np.float64)


def expected_calibration_error(y: Ints, probability: Floats) -> float:
    """Compute the expected calibration error of probabilities, in [0, 1].

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 or 1; at least one row.
    probability : numpy.ndarray of shape (n_rows,)
        In [0, 1].

    Returns
    -------
    float
        The absolute difference of mean probability and share of leavers over ten bins of equal
        width, weighted by the rows of the bin.

    Notes
    -----
    Naeini, Cooper and Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian
    binning".
    """
    return float(np.abs(calibration_gaps(y, probability)).sum() / len(y))


def predict_table(model: Model, table: pd.DataFrame) -> tuple[Ints, Floats]:
    """Predict label and probability of each row of a client table, both of shape (n_rows,)."""
    probability = logistic_model.probabilities(model, dataset.feature_arrays(table, model.schema))
    return logistic_model.predictions(model, probability), probability


def evaluate_model(model: Model, table: pd.DataFrame) -> Evaluation:
    """Compute the metrics of a model on a labelled client table, as `evaluate` does."""
    return evaluate(dataset.target(table, model.schema), *predict_table(model, table))


def joint_counts(y: Ints, candidate: Ints, production: Ints) -> Ints:
    """Count the rows of each of the eight combinations of truth and the two predictions."""
    counts: Ints = np.bincount(4 * y + 2 * candidate + production, minlength=8)
    return counts


def f1_of_joint(draws: Floats, *, candidate: bool) -> Floats:
    """Compute the F1 of candidate or production from draws of the joint counts, shape (n, 8)."""
    outcomes = np.arange(8)
    truth, predicted = outcomes >= 4, ((outcomes >> (1 if candidate else 0)) & 1) == 1
    masks = (truth & predicted, ~truth & predicted, truth & ~predicted)
    sums = [draws[:, mask].sum(axis=1) for mask in masks]
    return f1_of_counts(*sums)


def compare(y: Ints, candidate: Ints, production: Ints, n_judged: int = 1) -> Comparison:
    """Estimate the probability of a higher F1 of the candidate, by paired bootstrap.

    Parameters
    ----------
    y, candidate, production : numpy.ndarray of shape (n_rows,)
        The truth and both models' predictions for the same rows, 0 or 1.
    n_judged : int
        How many candidates these rows have judged, this one included.

    Returns
    -------
    Comparison
        The F1 difference with its 95 % interval, and the share of at least 2,000 seeded paired
        resamples in which the candidate is better; an equal or undefined F1 counts half. Both are
        corrected for the number of candidates. The difference itself is NaN where one of the two
        F1s is undefined.

    Raises
    ------
    ValueError
        If there is no row.

    Notes
    -----
    Paired bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 16. On a
    handful of rows it is too certain, hence the limits on the number of rows. The correction:
    `scripts.model.evidence_reuse`.
    """
    if len(y) == 0:
        raise ValueError("Expected at least one row to compare on.")
    counts = joint_counts(y, candidate, production)
    n_resamples = evidence_reuse.count_resamples(n_judged)
    draws = np.random.default_rng(SEED).multinomial(len(y), counts / len(y), size=n_resamples)
    drawn = draws.astype(np.float64)
    observed = counts[np.newaxis, :].astype(np.float64)
    difference = (
        f1_of_joint(observed, candidate=True)[0] - f1_of_joint(observed, candidate=False)[0]
    )
    resampled = f1_of_joint(drawn, candidate=True) - f1_of_joint(drawn, candidate=False)
    # A resample with an undefined F1 counts as a tie, as equal F1s do. The comparison with 0 is
    # exact: equal fractions of whole numbers divide to the same float.
    resampled = np.where(np.isnan(resampled), 0.0, resampled)
    low, high = np.percentile(resampled, evidence_reuse.interval_percent(n_judged))
    better = float(np.mean(resampled > 0) + np.mean(resampled == 0) / 2)
    corrected = evidence_reuse.correct_probability(better, n_judged)
    return Comparison(float(difference), float(low), float(high), corrected)
