"""Whether the candidate replaces production."""

import numpy as np
import pytest

from scripts import promotion
from scripts.config import Config, PromotionSettings
from scripts.promotion import Answer

PLAIN = PromotionSettings()


def labels(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Make an array of labels."""
    return np.array(values, dtype=np.int64)


TRUTH = labels(1, 1, 1, 0, 0)
GOOD = labels(1, 1, 0, 0, 0)  # F1 = 2 * 2 / (2 * 2 + 0 + 1) = 0.8
POOR = labels(1, 0, 0, 0, 0)  # F1 = 2 * 1 / (2 * 1 + 0 + 2) = 0.5


@pytest.mark.parametrize(
    ("y", "candidate", "production", "settings", "answer"),
    [
        (TRUTH, GOOD, None, PLAIN, Answer.DEPLOY),
        (TRUTH, GOOD, POOR, PLAIN, Answer.DEPLOY),
        (TRUTH, POOR, GOOD, PLAIN, Answer.HOLD),
        (TRUTH, GOOD, GOOD, PLAIN, Answer.HOLD),
        (TRUTH, GOOD, POOR, PromotionSettings(min_probability=1.0), Answer.HOLD),
        (TRUTH, GOOD, POOR, PromotionSettings(min_test_rows=6), Answer.INSUFFICIENT),
        (TRUTH, GOOD, None, PromotionSettings(min_test_rows=6), Answer.INSUFFICIENT),
        (labels(0, 0), labels(0, 0), labels(0, 0), PLAIN, Answer.INSUFFICIENT),
        (labels(0, 0), labels(1, 0), labels(0, 0), PLAIN, Answer.INSUFFICIENT),
        (labels(1), labels(1), labels(0), PLAIN, Answer.DEPLOY),
        (labels(), labels(), None, PLAIN, Answer.INSUFFICIENT),
    ],
)
def test_should_deploy_only_what_is_strictly_better_on_enough_rows(
    y: np.ndarray[tuple[int], np.dtype[np.int64]],
    candidate: np.ndarray[tuple[int], np.dtype[np.int64]],
    production: np.ndarray[tuple[int], np.dtype[np.int64]] | None,
    settings: PromotionSettings,
    answer: Answer,
) -> None:
    assert promotion.should_deploy(y, candidate, production, settings).answer is answer


def test_the_decision_names_both_f1_and_the_rows() -> None:
    decision = promotion.should_deploy(TRUTH, POOR, GOOD, PLAIN)

    assert decision.candidate_f1 == pytest.approx(0.5)
    assert decision.production_f1 == pytest.approx(0.8)
    assert "candidate F1 0.5000, production F1 0.8000 on 5 test rows" in decision.reason


def test_main_holds_a_model_that_is_the_production_model(deployed: Config) -> None:
    decision = promotion.main(deployed)

    assert decision.answer is Answer.HOLD
    assert decision.candidate_f1 == decision.production_f1
