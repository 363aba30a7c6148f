"""Candidate beside production by log loss, by recall at capacity, and by expected gain."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from scripts.data.arrays import Floats, Ints
from scripts.model import metrics, paired_metrics
from scripts.model.gain import GainTerms
from scripts.model.paired_metrics import MetricTerms

COSTS = GainTerms(contact=1, offer=10, alpha=6, beta=14, takers_fraction=1.0)
Y = np.array([1, 1, 0, 0], np.int64)
GOOD, POOR = np.array([0.9, 0.8, 0.2, 0.1]), np.array([0.9, 0.2, 0.8, 0.1])
TERMS = MetricTerms(listed_fraction=0.5, value=np.array([100.0, 200.0, 50.0, 50.0]), costs=COSTS)


def draw(n_rows: int, seed: int, noise: float) -> tuple[Ints, Floats, Floats]:
    """Return labels, the true probabilities, and those with noise."""
    random = np.random.default_rng(seed)
    score = random.normal(-1, 1, n_rows)
    truth, poor = (
        1 / (1 + np.exp(-s)) for s in (score, score + noise * random.normal(size=n_rows))
    )
    return (random.random(n_rows) < truth).astype(np.int64), truth, poor


def test_the_log_loss_is_that_of_scikit_learn_and_a_lower_one_is_better() -> None:
    y, truth, poor = draw(500, 1, 2.0)

    found = paired_metrics.compare("log_loss", y, (truth, poor), TERMS)

    assert (found.candidate, found.production) == pytest.approx(
        (log_loss(y, truth), log_loss(y, poor))
    )
    assert found.is_better
    assert found.comparison.difference == pytest.approx(found.candidate - found.production)
    assert found.comparison.difference_high < 0
    assert found.comparison.probability_better > 0.99


def test_recall_at_capacity_is_the_share_of_leavers_on_the_list() -> None:
    found = paired_metrics.compare("recall_at_capacity", Y, (GOOD, POOR), TERMS)

    assert (found.candidate, found.production, found.comparison.difference) == (1.0, 0.5, 0.5)
    # The second row decides, unless a resample has it not, or no leaver at all.
    assert found.comparison.probability_better == pytest.approx(1 - 0.75**4 / 2, abs=0.03)


def test_the_expected_gain_is_what_the_calls_bring() -> None:
    found = paired_metrics.compare("expected_gain", Y, (GOOD, POOR), TERMS)

    # Called are both leavers: 0.3 * 90 - 1 and 0.3 * 190 - 1. By the other the first and the third,
    # who stays and takes the offer: 26 and -11.
    assert found.candidate == pytest.approx((26 + 56) / 4)
    assert found.production == pytest.approx((26 - 11) / 4)
    assert found.is_better
    assert found.comparison.probability_better > 0.8


def test_nobody_is_called_at_a_loss() -> None:
    terms = MetricTerms(listed_fraction=1.0, value=np.full(4, 20.0), costs=COSTS)

    assert paired_metrics.measure("expected_gain", Y, np.full(4, 0.5), terms) == 0.0


def test_equal_models_are_as_likely_better_as_worse() -> None:
    for name in ("log_loss", "recall_at_capacity", "expected_gain"):
        found = paired_metrics.compare(name, Y, (GOOD, GOOD), TERMS)

        assert found.comparison == metrics.Comparison(0.0, 0.0, 0.0, 0.5)
        assert not found.is_better


def test_groups_of_many_rows_have_the_spread_of_their_mean() -> None:
    values = np.random.default_rng(3).exponential(size=50_000)

    means = paired_metrics.resample_means(values, 2000)

    assert means.mean() == pytest.approx(values.mean(), abs=3e-4)
    assert means.std() == pytest.approx(values.std() / 50_000**0.5, rel=0.1)


def test_rows_that_judged_more_candidates_give_wider_intervals() -> None:
    y, truth, poor = draw(300, 4, 0.3)

    one, ten = (paired_metrics.compare("log_loss", y, (truth, poor), TERMS, n) for n in (1, 10))

    assert ten.comparison.difference_low < one.comparison.difference_low
    assert ten.comparison.difference_high > one.comparison.difference_high
    assert ten.comparison.probability_better <= one.comparison.probability_better
