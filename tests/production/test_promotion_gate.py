"""The promotion gate: the paired bootstrap, and the limits of the evidence."""

import itertools
import math

import numpy as np
import pytest

from scripts.core.config import PromotionSettings
from scripts.model import metrics
from scripts.production import promotion_gate
from scripts.production.promotion_gate import GateVerdict, Labels

PLAIN = PromotionSettings()
# Of the share of 2,000 resamples; four of its standard errors at the worst, sqrt(0.25 / 2000).
NOISE = 0.045


def labels(*values: int) -> Labels:
    """Make an array of labels."""
    return np.array(values, dtype=np.int64)


# Two rows have four resamples, equally likely: both first, both second, and twice one of each.
@pytest.mark.parametrize(
    ("y", "candidate", "production", "probability"),
    [
        # Each model is right on one row: better, worse, and twice F1 2/3 against 2/3.
        ([1, 1], [1, 0], [0, 1], 1 / 4 + 2 / 4 / 2),
        # The same where both are right: better, tie, and twice 1 against 2/3.
        ([1, 1], [1, 1], [0, 1], 1 / 4 + 2 / 4 + 1 / 4 / 2),
        # The second row alone gives no F1 to either: a tie.
        ([1, 0], [1, 0], [0, 0], 1 / 4 + 2 / 4 + 1 / 4 / 2),
        # The second row alone gives an F1 of 0 to production and none to the candidate: a tie,
        # since nobody left in that resample.
        ([1, 0], [1, 0], [1, 1], 2 / 4 + 2 / 4 / 2),
        # Equal predictions are equal in every resample.
        ([1, 0], [1, 1], [1, 1], 1 / 2),
        ([1], [1], [0], 1.0),
        ([1], [0], [1], 0.0),
    ],
)
def test_the_probability_is_the_share_of_better_resamples_and_half_of_the_ties(
    y: list[int], candidate: list[int], production: list[int], probability: float
) -> None:
    compared = metrics.compare(labels(*y), labels(*candidate), labels(*production))

    tolerance = NOISE if 0 < probability < 1 else 0
    assert compared.probability_better == pytest.approx(probability, abs=tolerance)


def test_the_difference_and_its_interval_are_those_of_the_resamples() -> None:
    # Candidate: F1 2*2/(2*2+0+0) = 1; production: 2*1/(2*1+0+1) = 2/3. Of the four resamples the
    # differences are 1, 0 and twice 1/3, so that the 95 % interval is 0 to 1.
    compared = metrics.compare(labels(1, 1), labels(1, 1), labels(0, 1))

    assert compared.difference == pytest.approx(1 / 3)
    assert (compared.difference_low, compared.difference_high) == (0.0, 1.0)


def enumerate_resamples(y: Labels, candidate: Labels, production: Labels) -> list[float]:
    """Compute the F1 difference of every possible resample, n to the power of n in number."""
    differences = []
    for chosen in itertools.product(range(len(y)), repeat=len(y)):
        rows = list(chosen)
        ours = metrics.f1_of(y[rows], candidate[rows])
        theirs = metrics.f1_of(y[rows], production[rows])
        differences.append(0.0 if ours is None or theirs is None else ours - theirs)
    return differences


@pytest.mark.parametrize("seed", range(5))
def test_the_draws_of_counts_agree_with_all_resamples_of_rows(seed: int) -> None:
    random = np.random.default_rng(seed)
    y, candidate, production = random.integers(0, 2, (3, 6))
    y[0] = 1

    compared = metrics.compare(y, candidate, production)

    every = np.array(enumerate_resamples(y, candidate, production))
    share = np.mean(every > 0) + np.mean(every == 0) / 2
    assert compared.probability_better == pytest.approx(share, abs=NOISE)
    # A quantile of 2,000 draws lies between the true quantiles a little to either side.
    assert np.quantile(every, 0.01) <= compared.difference_low <= np.quantile(every, 0.045)
    assert np.quantile(every, 0.955) <= compared.difference_high <= np.quantile(every, 0.99)


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    # Of 100 rows 40 left. The candidate is right on 80 % of either kind and production on 70 %:
    # F1 2 * 0.32 / (0.32 + 0.12 + 0.40) and 2 * 0.28 / (0.28 + 0.18 + 0.40).
    truth = 0.64 / 0.84 - 0.56 / 0.86
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        y = (random.random(300) < 0.4).astype(np.int64)
        candidate = np.where(random.random(300) < 0.8, y, 1 - y)
        production = np.where(random.random(300) < 0.7, y, 1 - y)
        compared = metrics.compare(y, candidate, production)
        held += compared.difference_low <= truth <= compared.difference_high

    # 95 % of 300 is 285; four standard errors are 15.
    assert 270 <= held <= 300


def test_the_same_rows_always_give_the_same_evidence() -> None:
    y, candidate, production = labels(1, 0, 1, 1, 0), labels(1, 0, 0, 1, 1), labels(0, 0, 1, 1, 0)

    first = metrics.compare(y, candidate, production)

    assert metrics.compare(y, candidate, production) == first


def test_an_undefined_difference_is_not_a_number_and_no_row_is_refused() -> None:
    assert math.isnan(metrics.compare(labels(0), labels(0), labels(1)).difference)
    with pytest.raises(ValueError, match="at least one row"):
        metrics.compare(labels(), labels(), labels())


TRUTH = labels(1, 1, 1, 0, 0)
GOOD = labels(1, 1, 0, 0, 0)  # F1 = 2 * 2 / (2 * 2 + 0 + 1) = 0.8
POOR = labels(1, 0, 0, 0, 0)  # F1 = 2 * 1 / (2 * 1 + 0 + 2) = 0.5


@pytest.mark.parametrize(
    ("y", "candidate", "production", "settings", "answer"),
    [
        (TRUTH, GOOD, None, PLAIN, GateVerdict.DEPLOY),
        (TRUTH, GOOD, POOR, PLAIN, GateVerdict.DEPLOY),
        (TRUTH, POOR, GOOD, PLAIN, GateVerdict.HOLD),
        (TRUTH, GOOD, GOOD, PLAIN, GateVerdict.HOLD),
        # The limits of the gate, on either side. P(better) = 1 - (4/5)^5 / 2 = 0.84: in every
        # resample with the row on which they differ the candidate is better, else a tie.
        (TRUTH, GOOD, POOR, {"min_probability": 0.75}, GateVerdict.DEPLOY),
        (TRUTH, GOOD, POOR, {"min_probability": 0.95}, GateVerdict.NOT_ENOUGH_EVIDENCE),
        (TRUTH, GOOD, POOR, {"min_test_rows": 5}, GateVerdict.DEPLOY),
        (TRUTH, GOOD, POOR, {"min_test_rows": 6}, GateVerdict.NOT_ENOUGH_EVIDENCE),
        (TRUTH, GOOD, POOR, {"min_positives": 3}, GateVerdict.DEPLOY),
        (TRUTH, GOOD, POOR, {"min_positives": 4}, GateVerdict.NOT_ENOUGH_EVIDENCE),
        # What is worse needs no evidence to be held.
        (TRUTH, POOR, GOOD, {"min_test_rows": 6}, GateVerdict.HOLD),
        # With nothing in production there is nothing to lose.
        (TRUTH, GOOD, None, {"min_test_rows": 6, "min_positives": 4}, GateVerdict.DEPLOY),
        # One class, no row: F1 is undefined, or 1 for whoever says the same to everybody.
        (labels(0, 0), labels(0, 0), labels(0, 0), PLAIN, GateVerdict.INSUFFICIENT),
        (labels(0, 0), labels(1, 0), labels(0, 0), PLAIN, GateVerdict.INSUFFICIENT),
        (labels(0, 0), labels(1, 0), None, PLAIN, GateVerdict.INSUFFICIENT),
        (labels(1), labels(1), labels(0), PLAIN, GateVerdict.INSUFFICIENT),
        (labels(1, 1), labels(1, 1), None, PLAIN, GateVerdict.INSUFFICIENT),
        (labels(), labels(), None, PLAIN, GateVerdict.INSUFFICIENT),
        (labels(), labels(), labels(), PLAIN, GateVerdict.INSUFFICIENT),
        (labels(1, 0), labels(1, 0), labels(0, 0), PLAIN, GateVerdict.DEPLOY),
    ],
)
def test_should_deploy_only_what_is_better_on_evidence_enough(
    y: Labels,
    candidate: Labels,
    production: Labels | None,
    settings: PromotionSettings | dict[str, float],
    answer: GateVerdict,
) -> None:
    chosen = PromotionSettings(**settings) if isinstance(settings, dict) else settings  # type: ignore[arg-type]

    assert promotion_gate.should_deploy(y, candidate, production, chosen).answer is answer


def test_the_default_gate_is_the_plain_rule_also_where_resamples_doubt_it() -> None:
    y = labels(0, 0, 0, 0, 0, 0, 0, 1, 0, 1)
    candidate = labels(1, 0, 0, 0, 0, 0, 0, 0, 0, 1)  # F1 = 2 / (2 + 1 + 1) = 0.5
    production = labels(0, 1, 1, 1, 0, 1, 1, 1, 0, 1)  # F1 = 4 / (4 + 5 + 0) = 0.444

    decision = promotion_gate.should_deploy(y, candidate, production, PLAIN)

    assert decision.probability_better is not None
    assert decision.probability_better < 0.5
    assert decision.answer is GateVerdict.DEPLOY
    surer = promotion_gate.should_deploy(
        y, candidate, production, PromotionSettings(min_probability=0.5)
    )
    assert surer.answer is GateVerdict.NOT_ENOUGH_EVIDENCE


def test_the_reason_is_one_line_with_all_the_evidence() -> None:
    decision = promotion_gate.should_deploy(TRUTH, POOR, GOOD, PLAIN)

    assert decision.candidate_f1 == pytest.approx(0.5)
    assert decision.production_f1 == pytest.approx(0.8)
    assert decision.difference == pytest.approx(-0.3)
    assert decision.reason.startswith(
        "the candidate is not better: candidate F1 0.5000, production F1 0.8000 on 5 test rows"
        " (3 positive), difference -0.3000 (95 % interval -"
    )
    assert f"P(better) {decision.probability_better:.3f}" in decision.reason
    assert "\n" not in decision.reason


def test_every_limit_that_is_not_reached_is_named_with_what_was_found() -> None:
    strict = PromotionSettings(min_probability=0.95, min_test_rows=500, min_positives=100)

    reason = promotion_gate.should_deploy(TRUTH, GOOD, POOR, strict).reason

    assert "test rows 5 below promotion.min_test_rows = 500" in reason
    assert "positive test rows 3 below promotion.min_positives = 100" in reason
    assert "below promotion.min_probability = 0.95" in reason


def test_a_decision_as_a_row_has_every_fact_by_name() -> None:
    row = promotion_gate.should_deploy(TRUTH, GOOD, POOR, PLAIN).as_row()

    assert row["answer"] == "deploy"
    assert type(row["answer"]) is str
    assert (row["n_test_rows"], row["n_test_positives"]) == (5, 3)
    assert set(row) == {
        "answer", "reason", "candidate_stamp", "production_release", "candidate_f1",
        "production_f1", "difference", "difference_low", "difference_high",
        "probability_better", "n_test_rows", "n_test_positives", "loss_difference",
        "loss_standard_error", "n_judged", "metric", "candidate_value", "production_value",
    }  # fmt: skip
