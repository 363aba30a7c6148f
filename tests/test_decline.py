"""A fall of F1: by hand, and how often chance looks like one."""

import numpy as np
import pytest

from benchmarks import drift as simulation
from scripts import decline
from scripts.decline import F1Counts


@pytest.mark.parametrize(
    ("n_true_positives", "n_errors", "expected"),
    [(3, 2, 6 / 8), (0, 5, 0.0), (4, 0, 1.0), (0, 0, None)],
)
def test_f1_of_counts(n_true_positives: int, n_errors: int, expected: float | None) -> None:
    assert F1Counts(100, n_true_positives, n_errors).f1 == expected


def test_the_probability_of_a_fall_by_hand() -> None:
    """4 right of 4 then 0 right of 4: one way of C(8, 4) = 70, so p = 1/70."""
    found = decline.compare_f1(F1Counts(10, 4, 0), F1Counts(12, 0, 4))

    assert found is not None
    assert (found.f1_before, found.f1_now) == (1.0, 0.0)
    assert (found.n_rows_before, found.n_rows_now) == (10, 12)
    assert found.p_value == pytest.approx(1 / 70)
    assert not found.has_fallen


def test_five_of_five_then_none_of_five_is_a_fall() -> None:
    """One way of C(10, 5) = 252 is less than once in 100."""
    found = decline.compare_f1(F1Counts(10, 5, 0), F1Counts(10, 0, 5))

    assert found is not None
    assert found.p_value == pytest.approx(1 / 252)
    assert found.has_fallen


@pytest.mark.parametrize("now", [F1Counts(1000, 400, 250), F1Counts(1000, 500, 150)])
def test_the_same_or_a_better_f1_is_no_fall(now: F1Counts) -> None:
    found = decline.compare_f1(F1Counts(1000, 400, 250), now)

    assert found is not None
    assert found.p_value > 0.5


@pytest.mark.parametrize(
    ("before", "now"),
    [(F1Counts(5, 0, 0), F1Counts(5, 1, 1)), (F1Counts(5, 1, 1), F1Counts(5, 0, 0))],
)
def test_an_undefined_f1_says_nothing(before: F1Counts, now: F1Counts) -> None:
    assert decline.compare_f1(before, now) is None


@pytest.mark.parametrize("n_rows", [20, 200, 2000])
@pytest.mark.parametrize("n_candidates", [1, 5])
def test_without_a_fall_less_than_five_percent_of_the_runs_report_one(
    n_rows: int, n_candidates: int
) -> None:
    """Also when the release was the luckiest of five, which is how releases are chosen."""
    rates = simulation.simulate_f1(400, n_rows, 0.75, n_candidates)

    assert rates.n_runs == 400
    assert rates.share <= 0.05


def test_a_fall_by_a_tenth_is_seen_on_5000_rows() -> None:
    assert simulation.simulate_f1(50, 5000, 0.65, 1).share >= 0.95


def test_rows_that_are_in_both_samples_make_it_more_careful() -> None:
    random = np.random.default_rng(2)
    n_alarms = 0
    for _ in range(300):
        before = simulation.draw_counts(random, 300, 0.7)
        more = simulation.draw_counts(random, 300, 0.7)
        now = F1Counts(
            600, before.n_true_positives + more.n_true_positives, before.n_errors + more.n_errors
        )
        found = decline.compare_f1(before, now)
        n_alarms += found is not None and found.has_fallen

    assert n_alarms == 0
