"""Metrics of predictions against later outcomes: precision, recall and calibration by decile."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from scripts.data.arrays import Floats, Ints

Z = 1.959963984540054  # the 97.5 % point of the normal distribution
MIN_OUTCOMES = 30
N_DECILES = 10


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval, in [0, 1], and the counts behind both."""

    n_part: int
    n_whole: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class FollowedClient:
    """A scored client with a later outcome."""

    client: str
    scored_at: datetime
    probability: float
    is_listed: bool
    exited: bool
    known_at: datetime
    first_high_at: datetime | None = None


@dataclass(frozen=True)
class Decile:
    """Predicted and realised exits in a tenth of the probability scale."""

    low: float
    high: float
    n_clients: int
    mean_probability: float
    exited: Share


@dataclass(frozen=True)
class FollowUp:
    """The outcomes of scored clients against their predictions."""

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
        """Whether the outcomes are enough to show shares."""
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


def caught_share(y: Ints, probability: Floats, listed_fraction: float) -> Share:
    """Compute the share of exits among the riskiest clients, as listed on a worklist.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        The truth of labelled rows: 1 left, 0 stayed.
    probability : numpy.ndarray of shape (n_rows,)
        The predicted probability of exit.
    listed_fraction : float
        The part of all clients on the list, in [0, 1].

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


def calibrate_rows(y: Ints, probability: Floats) -> tuple[Decile, ...]:
    """Compare predicted with realised exits by tenth of the probability, without empty tenths.

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
    """Compare predicted with realised exits of scored clients, as `calibrate_rows` does."""
    exited = np.array([client.exited for client in followed], dtype=np.int64)
    probability = np.array([client.probability for client in followed], dtype=np.float64)
    return calibrate_rows(exited, probability)


def follow_up(followed: Sequence[FollowedClient]) -> FollowUp:
    """Compute the metrics of clients scored before their outcome was known.

    Parameters
    ----------
    followed : sequence of FollowedClient
        One per client and outcome; the last scoring before the outcome counts.

    Returns
    -------
    FollowUp
        Precision is the share of exits among the listed clients, recall the share of listed
        clients among the exits. Missed exits were not listed, false alarms were listed and stayed.
        The warning is the median of the days between the first `high` and the exit, over the
        clients with both.
    """
    listed = [client for client in followed if client.is_listed]
    exits = [client for client in followed if client.exited]
    n_caught = sum(client.exited for client in listed)
    warnings = [
        (client.known_at - client.first_high_at).total_seconds() / 86400
        for client in exits
        if client.first_high_at is not None
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
