"""The paired comparison of log losses, and the rule that holds only what is worse."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from scripts.core.config import PromotionSettings
from scripts.model import paired_log_loss
from scripts.production import promotion_gate
from scripts.production.promotion_gate import GateVerdict

NOT_WORSE = PromotionSettings(rule="not_worse")


def test_the_difference_is_that_of_scikit_learns_log_loss() -> None:
    y = np.array([1, 0, 1, 0])
    candidate, production = np.array([0.9, 0.2, 1.0, 0.0]), np.array([0.6, 0.4, 0.5, 0.0])

    compared = paired_log_loss.compare(y, candidate, production)

    expected = log_loss(y, candidate) - log_loss(y, production)
    assert compared.difference == pytest.approx(expected, rel=1e-12)


def test_the_standard_error_is_that_of_the_mean_of_paired_differences() -> None:
    # The losses are ln 2 and ln 4 of the candidate, ln 4 and ln 2 of production.
    y = np.array([1, 1])

    compared = paired_log_loss.compare(y, np.array([0.5, 0.25]), np.array([0.25, 0.5]))

    # The differences are -ln 2 and ln 2: mean 0, deviation ln 2 times root 2, over root 2.
    assert compared.difference == pytest.approx(0)
    assert compared.standard_error == pytest.approx(math.log(2))
    assert not compared.is_worse


def test_a_single_row_says_nothing() -> None:
    compared = paired_log_loss.compare(np.array([1]), np.array([0.1]), np.array([0.9]))

    assert not compared.is_worse


def judge(
    n_rows: int, random: np.random.Generator, *, quality: float, settings: PromotionSettings
) -> GateVerdict:
    """Judge a candidate that knows a share of the risk, or for -1 the opposite of it."""
    risk = random.normal(size=n_rows)
    probability = 1 / (1 + np.exp(-(1.5 * risk - 1)))
    y = (random.random(n_rows) < probability).astype(np.int64)
    noise = (1 - abs(quality)) * random.normal(size=n_rows)
    other = 1 / (1 + np.exp(-(1.5 * (quality * risk + noise) - 1)))
    return promotion_gate.should_deploy(
        y,
        (other >= 0.4).astype(np.int64),
        (probability >= 0.4).astype(np.int64),
        settings,
        losses=paired_log_loss.compare(y, other, probability),
    ).answer


@pytest.mark.parametrize("n_rows", [200, 500, 1000])
@pytest.mark.parametrize("quality", [-1.0, 0.0])
def test_of_100_broken_candidates_none_is_deployed(n_rows: int, quality: float) -> None:
    # Labels the wrong way round, and columns that mean nothing any more.
    random = np.random.default_rng(n_rows)
    settings = [NOT_WORSE] * 100

    answers = [judge(n_rows, random, quality=quality, settings=s) for s in settings]

    assert answers.count(GateVerdict.DEPLOY) == 0


def test_most_candidates_hardly_worse_than_production_are_deployed() -> None:
    random = np.random.default_rng(3)

    answers = [judge(500, random, quality=0.97, settings=NOT_WORSE) for _ in range(100)]
    by_better = [judge(500, random, quality=0.97, settings=PromotionSettings()) for _ in range(100)]

    assert answers.count(GateVerdict.DEPLOY) > 70 > by_better.count(GateVerdict.DEPLOY)


def decide(candidate: list[float], production: list[float], **settings: int) -> tuple[str, str]:
    """Decide on four rows of which two left, by the rule not_worse with a threshold of one half."""
    y = np.array([1, 1, 0, 0])
    losses = paired_log_loss.compare(y, np.array(candidate), np.array(production))
    decision = promotion_gate.should_deploy(
        y,
        (np.array(candidate) >= 0.5).astype(np.int64),
        (np.array(production) >= 0.5).astype(np.int64),
        PromotionSettings(rule="not_worse", min_test_rows=settings.get("min_test_rows", 1)),
        losses=losses,
    )
    return str(decision.answer), decision.reason


GOOD = [0.8, 0.7, 0.2, 0.3]


@pytest.mark.parametrize(
    ("candidate", "settings", "answer", "reason"),
    [
        ([0.9, 0.8, 0.1, 0.2], {}, "deploy", "the candidate is not worse: log loss -0.1"),
        ([0.2, 0.3, 0.8, 0.7], {}, "hold", "the candidate is worse by more than one standard"),
        (GOOD, {}, "hold", "the candidate has production's own probabilities"),
        # Surer of those who stayed, and of nobody that he leaves.
        ([0.49, 0.49, 0.01, 0.01], {}, "hold", "the candidate finds nobody who left"),
        ([0.9, 0.8, 0.1, 0.2], {"min_test_rows": 5}, "hold: not enough evidence", "not worse, but"),
    ],
)
def test_the_rule_not_worse_holds_what_is_worse(
    candidate: list[float], settings: dict[str, int], answer: str, reason: str
) -> None:
    found = decide(candidate, GOOD, **settings)

    assert found[0] == answer
    assert found[1].startswith(reason)
