"""Test rows that have judged several candidates: the winner's interval still covers the truth."""

import numpy as np
import pytest

from benchmarks import reuse
from scripts.model import evidence_reuse, metrics


def test_for_the_first_candidate_nothing_changes() -> None:
    assert evidence_reuse.interval_percent(1) == (2.5, 97.5)
    assert evidence_reuse.count_resamples(1) == 2000
    assert evidence_reuse.correct_probability(0.9, 1) == 0.9


def test_the_levels_of_all_intervals_together_are_95_percent() -> None:
    low, high = evidence_reuse.interval_percent(20)

    # Each of 20 independent intervals covers with 0.95^(1/20) = 0.99744.
    assert (high - low) / 100 == pytest.approx(0.997438609)
    assert ((high - low) / 100) ** 20 == pytest.approx(0.95)


def test_a_probability_is_that_all_candidates_together_would_have() -> None:
    assert evidence_reuse.correct_probability(0.9, 3) == pytest.approx(0.729)


def test_more_candidates_widen_the_interval_and_lower_the_probability() -> None:
    y = np.array([1, 0] * 50)
    candidate, production = y.copy(), y.copy()
    candidate[:10], production[:16] = 1 - y[:10], 1 - y[:16]

    first, tenth = (metrics.compare(y, candidate, production, n) for n in (1, 10))

    assert first.difference == tenth.difference
    assert tenth.difference_low < first.difference_low
    assert tenth.difference_high > first.difference_high
    assert tenth.probability_better < first.probability_better


def test_the_interval_of_the_best_of_20_candidates_covers_the_true_f1() -> None:
    result = reuse.measure(n_rows=200, n_candidates=20, n_repeats=60, n_population=20_000)

    # Four standard errors below 95 % of 60 are 50; the plain interval covers far less often.
    assert result.n_covered_corrected >= 52
    assert result.n_covered_plain < result.n_covered_corrected
    assert result.overstatement > 0.02


@pytest.mark.campaign
@pytest.mark.parametrize("n_rows", [100, 200, 500, 1000])
def test_recorded_f1_is_honest_in_95_percent_after_20_candidates(n_rows: int) -> None:
    result = reuse.measure(n_rows=n_rows, n_candidates=20, n_repeats=400, n_population=50_000)

    assert result.n_covered_corrected >= 380
