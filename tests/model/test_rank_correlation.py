"""The rank correlation of two scores."""

import numpy as np
import pytest
from scipy import stats

from scripts.model import rank_correlation


@pytest.mark.parametrize("n_values", [3, 10, 1000])
def test_it_is_that_of_scipy_also_with_equal_values(n_values: int) -> None:
    random = np.random.default_rng(1)
    first, second = (random.integers(0, n_values // 2 + 1, n_values) / 7 for _ in range(2))

    found = rank_correlation.spearman(first, second)

    assert found == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


def test_the_same_order_is_one_and_the_reversed_order_minus_one() -> None:
    scores = np.array([0.1, 0.2, 0.7, 0.7])

    assert rank_correlation.spearman(scores, scores**2) == pytest.approx(1)
    assert rank_correlation.spearman(scores, -scores) == pytest.approx(-1)


@pytest.mark.parametrize("scores", [[], [0.5], [0.5, 0.5]])
def test_scores_without_an_order_have_none(scores: list[float]) -> None:
    assert rank_correlation.spearman(np.array(scores), np.arange(len(scores)) / 1) is None
