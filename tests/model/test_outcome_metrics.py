"""Metrics of scored clients with known outcomes, counted by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from scripts.model import outcome_metrics
from scripts.model.outcome_metrics import FollowedClient, Share

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def make_followed(
    probability: float, listed: bool, exited: bool, warned_days: float | None = None
) -> FollowedClient:
    """Return a client with an outcome known on a given day."""
    first_high_at = None if warned_days is None else DAY - timedelta(days=warned_days)
    return FollowedClient(
        "c", DAY - timedelta(days=30), probability, listed, exited, DAY, first_high_at
    )


# Two caught, one missed, two false alarms, one rightly left alone.
SIX = (
    make_followed(0.91, listed=True, exited=True, warned_days=30),
    make_followed(0.85, listed=True, exited=True, warned_days=10),
    make_followed(0.82, listed=True, exited=False, warned_days=20),
    make_followed(0.75, listed=True, exited=False),
    make_followed(0.31, listed=False, exited=True),
    make_followed(0.05, listed=False, exited=False),
)


def test_follow_up_counts_what_became_of_the_list() -> None:
    found = outcome_metrics.follow_up(SIX)

    assert (found.precision.n_part, found.precision.n_whole, found.precision.share) == (2, 4, 0.5)
    assert (found.recall.n_part, found.recall.n_whole) == (2, 3)
    assert (found.n_missed, found.n_false_alarms) == (1, 2)


def test_the_warning_is_the_median_of_those_who_left() -> None:
    found = outcome_metrics.follow_up(SIX)

    assert (found.warning_days_median, found.n_warned) == (20, 2)


def test_follow_up_of_nobody_has_no_shares() -> None:
    found = outcome_metrics.follow_up([])

    assert found.precision == found.recall == Share(0, 0, None, None, None)
    assert (found.deciles, found.warning_days_median) == ((), None)


@pytest.mark.parametrize(("n_outcomes", "is_enough"), [(0, False), (29, False), (30, True)])
def test_thirty_outcomes_are_enough(n_outcomes: int, is_enough: bool) -> None:
    assert outcome_metrics.follow_up(SIX[:1] * n_outcomes).is_enough is is_enough


def test_deciles_hold_their_clients_and_empty_ones_are_left_out() -> None:
    deciles = outcome_metrics.calibrate([*SIX, make_followed(1.0, listed=True, exited=True)])

    assert [(d.low, d.n_clients, d.exited.n_part) for d in deciles] == [
        (0.0, 1, 0), (0.3, 1, 1), (0.7, 1, 0), (0.8, 2, 1), (0.9, 2, 2)
    ]  # fmt: skip
    assert deciles[3].mean_probability == pytest.approx((0.85 + 0.82) / 2)


def test_deciles_are_sklearns_calibration_curve() -> None:
    generator = np.random.default_rng(0)
    probability = generator.random(500)
    exited = generator.random(500) < probability

    deciles = outcome_metrics.calibrate(
        [make_followed(p, False, bool(e)) for p, e in zip(probability, exited, strict=True)]
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
