"""The gain of contacting clients, beside the package empulse and figures by hand."""

from typing import Any

import numpy as np
import pytest

from scripts.data.arrays import Floats, Ints
from scripts.model import gain, save_belief
from scripts.model.gain import GainTerms

TERMS = GainTerms(contact=1, offer=10, alpha=6, beta=14, takers_fraction=1.0)
CLV = 200.0


@pytest.fixture
def metrics() -> Any:
    """The metrics of empulse, which take seconds to import."""
    import empulse.metrics

    return empulse.metrics


def draw(n_rows: int, seed: int) -> tuple[Ints, Floats]:
    """Return labels and scores with ties."""
    random = np.random.default_rng(seed)
    y = (random.random(n_rows) < 0.25).astype(np.int64)
    return y, np.round(0.6 * random.random(n_rows) + 0.4 * y * random.random(n_rows), 2)


def test_the_gain_of_a_client_is_the_worth_that_is_kept_less_the_costs() -> None:
    gains = gain.expected_gains(np.array([0.5, 0.0, 1.0]), np.array([200.0, 200.0, 10.0]), TERMS)

    # 0.5 * 0.3 * 190 - 0.5 * 10 - 1; a stayer takes the offer; a leaver worth the offer is no gain.
    assert gains == pytest.approx([22.5, -11.0, -1.0])


def test_stayers_who_take_no_offer_cost_a_contact() -> None:
    terms = GainTerms(contact=1, offer=10, alpha=6, beta=14, takers_fraction=0.25)

    assert gain.expected_gains(np.array([0.0]), np.array([200.0]), terms) == pytest.approx([-3.5])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_rows", [5, 60, 2000])
def test_the_measures_are_those_of_empulse(metrics: Any, n_rows: int, seed: int) -> None:
    y, score = draw(n_rows, seed)
    y[:2] = 0, 1
    value = np.full(n_rows, CLV)

    costs = {"clv": CLV, "incentive_cost": 10, "contact_cost": 1}
    expected = metrics.empc_score(y, score, alpha=6, beta=14, **costs)
    certain = metrics.mpc_score(y, score, accept_rate=0.3, **costs)

    assert save_belief.expected_maximum_profit(y, score, value, TERMS) == pytest.approx(
        expected, abs=1e-9
    )
    assert gain.maximum_profit(y, score, value, TERMS) == pytest.approx(certain, abs=1e-9)


def test_the_best_list_with_a_worth_for_each_client_is_that_of_empulse(metrics: Any) -> None:
    y, score = draw(800, 5)
    value = np.random.default_rng(6).lognormal(5, 1, 800)
    matrix = metrics.CostMatrix().add_tp_benefit("rate * (clv - offer) - contact")
    matrix = matrix.add_fp_cost("offer + contact")

    measure = metrics.Metric(matrix, metrics.EmpiricalMaxProfit())
    by_gain = gain.expected_gains(score, value, TERMS)
    theirs = measure(y, by_gain, rate=0.3, clv=value, offer=10, contact=1)

    assert gain.maximum_profit(y, by_gain, value, TERMS) == pytest.approx(theirs, abs=1e-9)


def test_the_expected_maximum_is_the_mean_of_the_maxima_over_the_belief() -> None:
    y, score = draw(300, 7)
    value = np.random.default_rng(8).lognormal(5, 1, 300)
    rates = np.random.default_rng(9).beta(6, 14, 4000)
    curve = gain.profit_curve(y, score, value, TERMS)
    maxima = np.array([curve.profit(rate).max() for rate in rates]) / 300

    expected = save_belief.expected_maximum_profit(y, score, value, TERMS)

    assert expected == pytest.approx(maxima.mean(), abs=4 * maxima.std() / 4000**0.5)
    assert expected >= gain.maximum_profit(y, score, value, TERMS)


def test_the_best_list_has_everybody_with_a_gain_and_nobody_else() -> None:
    probability = np.array([0.9, 0.5, 0.06, 0.01])
    value = np.full(4, CLV)

    best = save_belief.find_best_length(probability, value, TERMS)

    gains = gain.expected_gains(probability, value, TERMS)
    assert best.n_clients == int((gains > 0).sum()) == 2
    assert best.gain == pytest.approx(gains[:2].sum())
    assert best.gain_low < best.gain < best.gain_high


def test_a_better_known_save_rate_makes_the_interval_of_the_length_shorter() -> None:
    probability, value = np.linspace(0.9, 0.01, 500), np.full(500, CLV)
    sure = GainTerms(contact=1, offer=10, alpha=600, beta=1400, takers_fraction=1.0)

    wide, short = (save_belief.find_best_length(probability, value, t) for t in (TERMS, sure))

    assert wide.low <= short.low <= short.n_clients <= short.high <= wide.high
    assert short.high - short.low < wide.high - wide.low


def test_where_nobody_is_worth_a_call_the_best_list_is_empty() -> None:
    best = save_belief.find_best_length(np.array([0.9]), np.array([5.0]), TERMS)

    assert (best.n_clients, best.gain) == (0, 0.0)
    assert save_belief.find_best_length(np.zeros(0), np.zeros(0), TERMS).n_clients == 0
