"""Whether predictions came true: what a list catches, and what became of those who were on it."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from scripts.model.logistic_model import Floats

Z = 1.959963984540054  # the 97.5 % point of the normal distribution
MIN_OUTCOMES = 30
N_DECILES = 10


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval, all in [0, 1], and the counts behind it."""

    n_part: int
    n_whole: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class FollowedClient:
    """A client who was scored and whose outcome came later."""

    client: str
    scored_at: datetime
    probability: float
    is_listed: bool
    exited: bool
    known_at: datetime
    first_high_at: datetime | None = None


@dataclass(frozen=True)
class Decile:
    """One tenth of the scale of probabilities: what was predicted there, and what happened."""

    low: float
    high: float
    n_clients: int
    mean_probability: float
    exited: Share


@dataclass(frozen=True)
class FollowUp:
    """What became of the clients who were scored."""

    n_outcomes: int
    precision: Share
    recall: Share
    n_missed: int
    n_false_alarms: int
    deciles: tuple[Decile, ...]
    warning_days_median: float | None
    n_warned: int

    @property
    def is_enough(self) -> bool:
        """Say whether there are outcomes enough to show shares of them."""
        return self.n_outcomes >= MIN_OUTCOMES


def share_of(n_part: int, n_whole: int) -> Share:
    """Compute a share and its 95 % Wilson interval.

    Parameters
    ----------
    n_part, n_whole : int
        Counts; the part is not larger than the whole.

    Returns
    -------
    Share
        All None when the whole is empty.

    Notes
    -----
    E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if n_whole == 0:
        return Share(0, 0, None, None, None)
    share = n_part / n_whole
    scale = 1 + Z**2 / n_whole
    centre = (share + Z**2 / (2 * n_whole)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / n_whole + Z**2 / (4 * n_whole**2))
    return Share(n_part, n_whole, share, max(0.0, centre - half), min(1.0, centre + half))


def caught_share(y: NDArray[np.int64], probability: Floats, listed_fraction: float) -> Share:
    """Compute the share of exits that a list of the riskiest clients catches.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        The truth of labelled rows: 1 left, 0 stayed.
    probability : numpy.ndarray of shape (n_rows,)
        What the model said of them.
    listed_fraction : float
        In [0, 1]: how large a part of all clients the list is.

    Returns
    -------
    Share
        One point of the cumulative gains curve, with its interval; all None without an exit.

    Notes
    -----
    The list has ceil(listed_fraction x n_rows) rows; equal probabilities keep the order of rows.
    """
    n_listed = math.ceil(round(listed_fraction * len(y), 9))
    listed = np.argsort(-probability, kind="stable")[:n_listed]
    return share_of(int(y[listed].sum()), int(y.sum()))


def calibrate_rows(y: NDArray[np.int64], probability: Floats) -> tuple[Decile, ...]:
    """Compare predicted with realised exits by tenth of the probability; empty tenths are left out.

    Notes
    -----
    scikit-learn user guide, "Calibration curves", with uniform bins.
    """
    bins = np.minimum((probability * N_DECILES).astype(np.int64), N_DECILES - 1)
    n_clients = np.bincount(bins, minlength=N_DECILES).tolist()
    n_exits = np.bincount(bins, weights=y, minlength=N_DECILES).astype(np.int64).tolist()
    sums = np.bincount(bins, weights=probability, minlength=N_DECILES).tolist()
    return tuple(
        Decile(
            low=number / N_DECILES,
            high=(number + 1) / N_DECILES,
            n_clients=n_clients[number],
            mean_probability=sums[number] / n_clients[number],
            exited=share_of(n_exits[number], n_clients[number]),
        )
        for number in range(N_DECILES)
        if n_clients[number]
    )


def calibrate(followed: Sequence[FollowedClient]) -> tuple[Decile, ...]:
    """Compare what was predicted of clients with what became of them; as `calibrate_rows`."""
    exited = np.array([one.exited for one in followed], dtype=np.int64)
    return calibrate_rows(exited, np.array([one.probability for one in followed], dtype=np.float64))


def follow_up(followed: Sequence[FollowedClient]) -> FollowUp:
    """Say what became of clients who were scored before their outcome was known.

    Parameters
    ----------
    followed : sequence of Followed
        One per client and outcome; the last scoring before the outcome counts.

    Returns
    -------
    FollowUp
        Precision is the share of exits among those listed, recall the share of the exits that
        were listed; missed exits were not listed, false alarms were listed and stayed. The
        warning is the median of the days between the first `high` and the exit, over the clients
        who left and had been `high`.
    """
    listed = [one for one in followed if one.is_listed]
    exits = [one for one in followed if one.exited]
    n_caught = sum(one.exited for one in listed)
    warnings = [
        (one.known_at - one.first_high_at).total_seconds() / 86400
        for one in exits
        if one.first_high_at is not None
    ]
    return FollowUp(
        n_outcomes=len(followed),
        precision=share_of(n_caught, len(listed)),
        recall=share_of(n_caught, len(exits)),
        n_missed=len(exits) - n_caught,
        n_false_alarms=len(listed) - n_caught,
        deciles=calibrate(followed),
        warning_days_median=statistics.median(warnings) if warnings else None,
        n_warned=len(warnings),
    )
