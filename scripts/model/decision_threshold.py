"""The decision threshold with the highest F1 in cross-validation."""

import numpy as np
from msgspec import Struct

from scripts.data.arrays import Floats, Ints
from scripts.model import logistic_model

N_FOLDS = 5
N_THRESHOLDS = 100


class HeldOut(Struct, frozen=True):
    """Out-of-fold log-odds of the training rows, and the fold of each row."""

    log_odds: Floats
    fold: Ints


def f1_at(thresholds: Floats, y: Ints, probability: Floats) -> Floats:
    """Compute the F1 of each threshold, shape (n_thresholds,), 0 where undefined."""
    left = np.sort(probability[y == 1])
    n_hits = len(left) - np.searchsorted(left, thresholds, side="left")
    n_predicted = len(y) - np.searchsorted(np.sort(probability), thresholds, side="left")
    return np.asarray(2 * n_hits / (n_predicted + len(left)), dtype=np.float64)


def best_threshold(y: Ints, held_out: HeldOut) -> float:
    """Find the threshold with the highest mean F1 over the folds.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 or 1, both in every fold.
    held_out : HeldOut
        The out-of-fold log-odds of the rows.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    The same as scikit-learn's TunedThresholdClassifierCV(scoring="f1", cv=5): in each fold 100
    thresholds from the lowest to the highest probability, interpolated to common ones.
    """
    probability = logistic_model.sigmoid(held_out.log_odds)
    curves = []
    for fold in range(N_FOLDS):
        is_own = held_out.fold == fold
        ends = probability[is_own].min(), probability[is_own].max()
        thresholds = np.linspace(*ends, N_THRESHOLDS)
        curves.append((thresholds, f1_at(thresholds, y[is_own], probability[is_own])))
    common = np.linspace(
        min(thresholds[0] for thresholds, _ in curves),
        max(thresholds[-1] for thresholds, _ in curves),
        N_THRESHOLDS,
    )
    averaged = np.mean([np.interp(common, *curve) for curve in curves], axis=0)
    return float(common[averaged.argmax()])
