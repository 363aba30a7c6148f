"""The difference of two models' log loss on the same rows, with the standard error."""

import math

import numpy as np
from msgspec import Struct

from scripts.data.arrays import Floats, Ints

# As scikit-learn's log_loss: no probability is closer to 0 or 1.
SMALLEST = float(np.finfo(np.float64).eps)


class LogLossComparison(Struct, frozen=True):
    """The mean log loss of the candidate minus production's, and the standard error."""

    difference: float
    standard_error: float

    @property
    def is_worse(self) -> bool:
        """Return whether the candidate is worse by more than a standard error.

        Notes
        -----
        The one-standard-error rule of Breiman, Friedman, Olshen and Stone (1984),
        "Classification and Regression Trees", section 3.4.3, for a paired difference.
        """
        return self.difference > self.standard_error


def log_losses(y: Ints, probability: Floats) -> Floats:
    """Compute the log loss of each row."""
    clipped = np.clip(probability, SMALLEST, 1 - SMALLEST)
    losses: Floats = -np.log(np.where(y == 1, clipped, 1 - clipped))
    return losses


def compare(y: Ints, candidate: Floats, production: Floats) -> LogLossComparison:
    """Compare the probabilities of two models on the same rows by log loss.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 stayed, 1 left; at least one row.
    candidate, production : numpy.ndarray of shape (n_rows,)
        Probabilities of 1, in [0, 1].

    Returns
    -------
    LogLossComparison
        The mean difference in nats, and the standard error; infinite for a single row.
    """
    differences = log_losses(y, candidate) - log_losses(y, production)
    n_rows = len(differences)
    error = float(np.std(differences, ddof=1)) / math.sqrt(n_rows) if n_rows > 1 else math.inf
    return LogLossComparison(float(np.mean(differences)), error)
