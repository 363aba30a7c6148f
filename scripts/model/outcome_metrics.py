"""Metrics of predictions against later outcomes: precision, recall and calibration by decile."""

import logging
import math
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Struct

from scripts.data.arrays import Floats, Ints

Z = 1.959963984540054  # the 97.5 % point of the normal distribution
MIN_OUTCOMES = 30
N_DECILES = 10
DAY_S = 86_400

log = logging.getLogger(__name__)


class Share(Struct, frozen=True):
    """A share in [0, 1] with the 95 % interval, and the counts behind both."""

    n_part: int
    n_whole: int
    share: float | None
    low: float | None
    high: float | None


class DecileCounts(Struct, frozen=True):
    """The clients with a probability in a tenth: number, leavers, and sum of probabilities."""

    number: int
    n_clients: int
    n_exits: int
    sum_of_probabilities: float


class OutcomeCounts(Struct, frozen=True):
    """Counts of scored clients with a later outcome.

    `n_caught` are the listed clients that left. `warning_s_median` is the median of the seconds
    between the first `high` and the exit, over the `n_warned` clients with both.
    """

    n_outcomes: int
    n_exits: int
    n_listed: int
    n_caught: int
    deciles: Sequence[DecileCounts]
    n_warned: int = 0
    warning_s_median: float | None = None


def decode_counts(content: bytes | None) -> OutcomeCounts | None:
    """Return recorded counts, None for missing or damaged ones."""
    try:
        return None if content is None else msgspec.json.decode(content, type=OutcomeCounts)
    except msgspec.DecodeError as error:
        log.warning("The recorded counts of outcomes are damaged, so all are counted: %s", error)
        return None


class Decile(Struct, frozen=True):
    """Predicted and realised exits in a tenth of the probability scale."""

    low: float
    high: float
    n_clients: int
    mean_probability: float
    exited: Share


class FollowUp(Struct, frozen=True):
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


def share_of(n_part: int, n_whole: int, z: float = Z) -> Share:
    """Compute a share and the Wilson interval, of 95 % by default.

    Parameters
    ----------
    n_part, n_whole : int
        Counts; the part is not larger than the whole.
    z : float
        The point of the normal distribution above the interval.

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
    scale = 1 + z**2 / n_whole
    centre = (share + z**2 / (2 * n_whole)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n_whole + z**2 / (4 * n_whole**2))
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


def calibrate(deciles: Sequence[DecileCounts]) -> tuple[Decile, ...]:
    """Compare predicted with realised exits by tenth of the probability, without empty tenths.

    Notes
    -----
    scikit-learn user guide, "Calibration curves", with uniform bins.
    """
    return tuple(
        Decile(
            low=counts.number / N_DECILES,
            high=(counts.number + 1) / N_DECILES,
            n_clients=counts.n_clients,
            mean_probability=counts.sum_of_probabilities / counts.n_clients,
            exited=share_of(counts.n_exits, counts.n_clients),
        )
        for counts in sorted(deciles, key=lambda counts: counts.number)
        if counts.n_clients
    )


def calibrate_rows(y: Ints, probability: Floats) -> tuple[Decile, ...]:
    """Compare predicted with realised exits of labelled rows, as `calibrate` does."""
    bins = np.minimum((probability * N_DECILES).astype(np.int64), N_DECILES - 1)
    n_clients = np.bincount(bins, minlength=N_DECILES).tolist()
    n_exits = np.bincount(bins, weights=y, minlength=N_DECILES).astype(np.int64).tolist()
    sums = np.bincount(bins, weights=probability, minlength=N_DECILES).tolist()
    counts = zip(range(N_DECILES), n_clients, n_exits, sums, strict=True)
    return calibrate([DecileCounts(*row) for row in counts])


def follow_up(counts: OutcomeCounts) -> FollowUp:
    """Compute the metrics of clients scored before their outcome was known.

    Parameters
    ----------
    counts : OutcomeCounts
        Of one outcome per client and period. The last scoring before the outcome counts.

    Returns
    -------
    FollowUp
        Precision is the share of exits among the listed clients, recall the share of listed
        clients among the exits. Missed exits were not listed, false alarms were listed and stayed.
        The warning is the median of the days between the first `high` and the exit, over the
        clients with both.
    """
    median_s = counts.warning_s_median
    return FollowUp(
        n_outcomes=counts.n_outcomes,
        precision=share_of(counts.n_caught, counts.n_listed),
        recall=share_of(counts.n_caught, counts.n_exits),
        n_missed=counts.n_exits - counts.n_caught,
        n_false_alarms=counts.n_listed - counts.n_caught,
        deciles=calibrate(counts.deciles),
        warning_days_median=None if median_s is None else median_s / DAY_S,
        n_warned=counts.n_warned,
    )
