"""How good predictions are: F1 and what explains it, and whether one model beats another."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from scripts.data import dataset
from scripts.model import logistic_model
from scripts.model.logistic_model import Model

N_RESAMPLES = 2000
SEED = 42
N_BINS = 10
INTERVAL_PERCENT = (2.5, 97.5)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """The quality of one model on labelled rows; fractions in [0, 1], None where not defined."""

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
        """The numbers with their names."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Candidate against production on the same rows, by paired bootstrap."""

    difference: float
    difference_low: float
    difference_high: float
    probability_better: float


def f1_of_counts(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    """Compute F1 = 2 TP / (2 TP + FP + FN) elementwise; NaN where nothing is positive anywhere."""
    denominator = 2 * tp + fp + fn
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, 2 * tp / denominator, np.nan)


def ratio(part: int, whole: int) -> float | None:
    """Divide counts; None when there is nothing to divide by."""
    return part / whole if whole else None


def f1_of(y: Ints, predicted: Ints) -> float | None:
    """Compute the F1 of predictions; None when nobody left and nobody was predicted to."""
    return ratio(2 * int(np.sum(y & predicted)), int(y.sum() + predicted.sum()))


def f1_interval(tp: int, fp: int, fn: int, tn: int) -> tuple[float, float] | tuple[None, None]:
    """Compute the 95 % percentile bootstrap interval of F1 from the confusion counts.

    Resampling rows with replacement and drawing the four counts from a multinomial distribution
    are the same thing, and the second costs nothing at any number of rows.
    """
    n_rows = tp + fp + fn + tn
    draws = np.random.default_rng(SEED).multinomial(
        n_rows, np.array([tp, fp, fn, tn]) / n_rows, size=N_RESAMPLES
    )
    resampled = f1_of_counts(*draws[:, :3].T.astype(np.float64))
    if np.isnan(resampled).all():
        return None, None
    low, high = np.nanpercentile(resampled, INTERVAL_PERCENT)
    return float(low), float(high)


def describe_counts(tn: int, fp: int, fn: int, tp: int, *, roc_auc: float | None) -> Evaluation:
    """Describe the quality that the four counts of truth and prediction tell."""
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


def evaluate(y: Ints, predicted: Ints, probability: Floats) -> Evaluation:
    """Measure predictions against the truth.

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
    roc_auc = float(roc_auc_score(y, probability)) if both_classes else None
    return describe_counts(*map(int, counts), roc_auc=roc_auc)


def brier_score(y: Ints, probability: Floats) -> float:
    """Compute the mean squared difference of probability and what happened; 0 is best."""
    return float(np.mean((probability - y) ** 2))


def calibration_gaps(y: Ints, probability: Floats) -> Floats:
    """Sum, in ten bins of equal width, by how much probabilities exceed what happened."""
    bins = np.minimum((probability * N_BINS).astype(np.int64), N_BINS - 1)
    gaps = np.bincount(bins, weights=probability - y, minlength=N_BINS)
    return np.asarray(gaps, dtype=np.float64)


def expected_calibration_error(y: Ints, probability: Floats) -> float:
    """Compute how far probabilities are from what happened, on average, in [0, 1].

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 or 1; at least one row.
    probability : numpy.ndarray of shape (n_rows,)
        In [0, 1].

    Returns
    -------
    float
        Over ten bins of equal width, the difference of mean probability and share of leavers,
        weighted by the rows of the bin.

    Notes
    -----
    Naeini, Cooper and Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian
    binning".
    """
    return float(np.abs(calibration_gaps(y, probability)).sum() / len(y))


def predict_table(used: Model, table: pd.DataFrame) -> tuple[Ints, Floats]:
    """Predict label and probability of each row of a client table, both of shape (n_rows,)."""
    probability = logistic_model.probabilities(used, dataset.feature_arrays(table, used.schema))
    return logistic_model.predictions(used, probability), probability


def evaluate_model(used: Model, table: pd.DataFrame) -> Evaluation:
    """Measure a model on a labelled client table; as `evaluate` otherwise."""
    return evaluate(dataset.target(table, used.schema), *predict_table(used, table))


def joint_counts(y: Ints, candidate: Ints, production: Ints) -> NDArray[Any]:
    """Count the rows of each of the eight combinations of truth and the two predictions."""
    return np.bincount(4 * y + 2 * candidate + production, minlength=8)


def f1_of_joint(draws: Floats, candidate: bool) -> Floats:
    """Compute the F1 of one of the two models from draws of the eight counts, shape (n, 8)."""
    cells = np.arange(8)
    truth, said = cells >= 4, ((cells >> (1 if candidate else 0)) & 1) == 1
    sums = [draws[:, mask].sum(axis=1) for mask in (truth & said, ~truth & said, truth & ~said)]
    return f1_of_counts(*sums)


def compare(y: Ints, candidate: Ints, production: Ints) -> Comparison:
    """Ask how sure it is that the candidate's F1 is higher on rows like these.

    Parameters
    ----------
    y, candidate, production : numpy.ndarray of shape (n_rows,)
        The truth and both models' predictions for the same rows, 0 or 1.

    Returns
    -------
    Comparison
        The F1 difference with its 95 % interval, and the share of 2,000 seeded paired resamples
        in which the candidate is better; an equal or undefined F1 counts half. The difference
        itself is NaN where one of the two F1s is not defined.

    Raises
    ------
    ValueError
        If there is no row.

    Notes
    -----
    Paired bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 16. It
    knows only the rows it resamples: on a handful of rows it is surer than it may be, which is
    what limits on the number of rows are for.
    """
    if len(y) == 0:
        raise ValueError("Expected at least one row to compare on.")
    counts = joint_counts(y, candidate, production)
    draws = np.random.default_rng(SEED).multinomial(len(y), counts / len(y), size=N_RESAMPLES)
    drawn = draws.astype(np.float64)
    observed = counts[np.newaxis, :].astype(np.float64)
    difference = f1_of_joint(observed, True)[0] - f1_of_joint(observed, False)[0]
    resampled = f1_of_joint(drawn, True) - f1_of_joint(drawn, False)
    # A resample without a defined F1 says nothing for either model: a tie, as equal F1s are.
    # These are exact: equal fractions of whole numbers divide to the same float.
    resampled = np.where(np.isnan(resampled), 0.0, resampled)
    low, high = np.percentile(resampled, INTERVAL_PERCENT)
    better = np.mean(resampled > 0) + np.mean(resampled == 0) / 2
    return Comparison(float(difference), float(low), float(high), float(better))
