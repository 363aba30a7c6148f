"""Metrics of scored clients with known outcomes, counted by hand."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from scripts.model import outcome_metrics
from scripts.model.outcome_metrics import DecileCounts, OutcomeCounts, Share


@dataclass(frozen=True)
class Followed:
    """A scored client with an outcome."""

    probability: float
    listed: bool
    exited: bool
    warned_days: float | None = None


def count_deciles(followed: Sequence[Followed]) -> list[DecileCounts]:
    """Count clients by tenth of the probability."""
    by_number: dict[int, list[Followed]] = {}
    for client in followed:
        by_number.setdefault(min(9, int(client.probability * 10)), []).append(client)
    return [
        DecileCounts(n, len(some), sum(c.exited for c in some), sum(c.probability for c in some))
        for n, some in by_number.items()
    ]


def count(followed: Sequence[Followed]) -> OutcomeCounts:
    """Count clients with outcomes."""
    warned = [c.warned_days * 86400 for c in followed if c.exited and c.warned_days is not None]
    return OutcomeCounts(
        len(followed), sum(c.exited for c in followed), sum(c.listed for c in followed),
        sum(c.exited and c.listed for c in followed), count_deciles(followed), len(warned),
        statistics.median(warned) if warned else None,
    )  # fmt: skip


# Two caught, one missed, two false alarms, one rightly left alone.
SIX = (
    Followed(0.91, listed=True, exited=True, warned_days=30),
    Followed(0.85, listed=True, exited=True, warned_days=10),
    Followed(0.82, listed=True, exited=False, warned_days=20),
    Followed(0.75, listed=True, exited=False),
    Followed(0.31, listed=False, exited=True),
    Followed(0.05, listed=False, exited=False),
)


def test_follow_up_counts_what_became_of_the_list() -> None:
    found = outcome_metrics.follow_up(count(SIX))

    assert (found.precision.n_part, found.precision.n_whole, found.precision.share) == (2, 4, 0.5)
    assert (found.recall.n_part, found.recall.n_whole) == (2, 3)
    assert (found.n_missed, found.n_false_alarms) == (1, 2)


def test_the_warning_is_the_median_of_those_who_left() -> None:
    found = outcome_metrics.follow_up(count(SIX))

    assert (found.warning_days_median, found.n_warned) == (20, 2)


def test_follow_up_of_nobody_has_no_shares() -> None:
    found = outcome_metrics.follow_up(count([]))

    assert found.precision == found.recall == Share(0, 0, None, None, None)
    assert (found.deciles, found.warning_days_median) == ((), None)


@pytest.mark.parametrize(("n_outcomes", "is_enough"), [(0, False), (29, False), (30, True)])
def test_thirty_outcomes_are_enough(n_outcomes: int, is_enough: bool) -> None:
    assert outcome_metrics.follow_up(count(SIX[:1] * n_outcomes)).is_enough is is_enough


def test_deciles_hold_their_clients_and_empty_ones_are_left_out() -> None:
    deciles = outcome_metrics.calibrate(
        count_deciles([*SIX, Followed(1.0, listed=True, exited=True)])
    )

    assert [(d.low, d.n_clients, d.exited.n_part) for d in deciles] == [
        (0.0, 1, 0), (0.3, 1, 1), (0.7, 1, 0), (0.8, 2, 1), (0.9, 2, 2)
    ]  # fmt: skip
    assert deciles[3].mean_probability == pytest.approx((0.85 + 0.82) / 2)


def test_deciles_are_sklearns_calibration_curve() -> None:
    generator = np.random.default_rng(0)
    probability = generator.random(500)
    exited = generator.random(500) < probability

    deciles = outcome_metrics.calibrate(
        count_deciles(
            [Followed(p, False, bool(e)) for p, e in zip(probability, exited, strict=True)]
        )
    )

    shares, means = calibration_curve(exited, probability, n_bins=10)
    assert [d.exited.share for d in deciles] == pytest.approx(list(shares))
    assert [d.mean_probability for d in deciles] == pytest.approx(list(means))


@pytest.mark.parametrize(("n_part", "n_whole"), [(0, 1), (1, 1), (3, 10), (0, 30), (500, 1000)])
def test_the_interval_of_a_share_is_wilsons(n_part: int, n_whole: int) -> None:
    found = outcome_metrics.share_of(n_part, n_whole)

    theirs = binomtest(n_part, n_whole).proportion_ci(method="wilson")
    assert found.low == pytest.approx(theirs.low)
    assert found.high == pytest.approx(theirs.high)


@pytest.mark.parametrize(
    ("listed_fraction", "n_caught"),
    [(0.0, 0), (0.1, 1), (0.3, 2), (0.25, 2), (0.5, 3), (1.0, 4)],
)
def test_a_list_catches_the_exits_at_the_head_of_the_ranking(
    listed_fraction: float, n_caught: int
) -> None:
    y = np.array([1, 0, 1, 0, 1, 0, 0, 0, 0, 1])
    probability = np.linspace(0.9, 0.1, 10)

    found = outcome_metrics.caught_share(y, probability, listed_fraction)

    assert (found.n_part, found.n_whole) == (n_caught, 4)
    assert found.share == n_caught / 4
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.share <= found.high <= 1


def test_without_an_exit_nothing_can_be_caught() -> None:
    found = outcome_metrics.caught_share(np.zeros(5, dtype=np.int64), np.ones(5), 0.5)

    assert found == Share(0, 0, None, None, None)
