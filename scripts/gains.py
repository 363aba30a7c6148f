"""Whether a change of a model pays on rows that it has not seen, by more than chance."""

import numpy as np
from numpy.typing import NDArray

# A gain counts when it is more than so many of its standard errors.
N_STANDARD_ERRORS = 2
# On few rows, two forms that hardly differ differ by more than chance too often to follow it.
MIN_GAIN_FRACTION = 0.01
MIN_ROWS_TO_TUNE = 50

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


def lowers_log_loss(y: Ints, before: Floats, after: Floats) -> bool:
    """Say whether log-odds lower the log loss, by a hundredth of it and by more than chance."""
    losses = row_losses(y, before)
    gain = losses - row_losses(y, after)
    is_worth_it = bool(gain.mean() >= MIN_GAIN_FRACTION * losses.mean())
    return is_worth_it and is_more_than_chance(gain)


def is_tunable(y: Ints) -> bool:
    """Say whether there are enough rows of both classes to choose anything by them."""
    return bool(np.bincount(y, minlength=2).min() >= MIN_ROWS_TO_TUNE)
