"""The rank correlation of two scores of the same rows."""

import numpy as np
import pandas as pd

from scripts.data.arrays import Floats


def average_ranks(values: Floats) -> Floats:
    """Return the rank of each value, and of equal values the mean of their ranks."""
    return np.asarray(pd.Series(values, copy=False).rank(), np.float64)


def spearman(first: Floats, second: Floats) -> float | None:
    """Compute the rank correlation of two scores.

    Parameters
    ----------
    first, second : numpy.ndarray of shape (n_rows,)
        The scores of the same rows, without missing values.

    Returns
    -------
    float or None
        In [-1, 1]. None where all rows have one score, which has no order.

    Notes
    -----
    Spearman's rho with ties: Pearson's correlation of average ranks, as in scipy's `spearmanr`.
    """
    if len(first) == 0:
        return None
    one, other = (average_ranks(scores) for scores in (first, second))
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return None if scale == 0 else float(np.clip((one @ other) / scale, -1, 1))
