"""Whether a change of a model pays on rows that it has not seen, by more than chance."""

import numpy as np
from numpy.typing import NDArray

# A gain counts when it is more than so many of its standard errors.
N_STANDARD_ERRORS = 2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def is_more_than_chance(gain: Floats) -> bool:
    """Say whether the mean of the rows' gains is more than two of its standard errors."""
    if len(gain) < 2:
        return False
    return bool(gain.mean() > N_STANDARD_ERRORS * gain.std(ddof=1) / np.sqrt(len(gain)))


def row_losses(y: Ints, log_odds: Floats) -> Floats:
    """Compute the log loss of each row, without overflow."""
    return np.asarray(np.logaddexp(0, np.where(y == 1, -log_odds, log_odds)), dtype=np.float64)
