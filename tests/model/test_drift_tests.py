"""Two-sample tests and the test of a fallen F1: by hand, published values, false alarms."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import drift
from scripts.data import profile
from scripts.model import drift_tests
from scripts.model.drift_tests import F1Counts


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ([5, 5], [3, 3], 0.0),
        # Cumulative differences 0, -1, 0; each half of the rows counts (0 + 0 + 1) / 3.
        ([2, 0], [0, 2], math.sqrt(1 / 3)),
        # Cumulative shares 1/2 and 1/4: both cells count (1/4)^2 / 3.
        ([1, 1], [1, 3], 1 / 4 / math.sqrt(3)),
        # Differences 0, -1/2, 0, with a quarter, half and quarter of the rows in the cells between
        # them, and -1/2 on both sides of nothing.
        ([2, 0, 2], [0, 0, 4], math.sqrt((2 / 8 * 1 / 4 + 6 / 8 * 1 / 4) / 3)),
    ],
)
def test_rms_difference_by_hand(before: list[int], now: list[int], expected: float) -> None:
    assert drift_tests.rms_difference(before, now) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("false_alarm", "published", "tolerance"),
    [(0.05, 0.46136, 0.03), (0.01, 0.74346, 0.02), (0.001, 1.16786, 0.01)],
)
def test_rms_limit_gives_the_critical_values_of_anderson_and_darling(
    false_alarm: float, published: float, tolerance: float
) -> None:
    """Anderson and Darling (1952), table 1: limits of n m / (n + m) times the square."""
    limit = drift_tests.rms_limit(100, 25, false_alarm)

    assert limit**2 * 100 * 25 / 125 == pytest.approx(published, rel=tolerance)


def test_rms_difference_is_scipys_cramer_von_mises_statistic_on_fine_cells() -> None:
    random = np.random.default_rng(7)
    before, now = random.normal(size=400), random.normal(0.2, 1, size=300)
    edges = tuple(np.sort(np.concatenate([before, now])).tolist())

    counts = [profile.count_bins(edges, sample) for sample in (before, now)]

    statistic = drift_tests.rms_difference(*counts) ** 2 * 400 * 300 / 700
    assert statistic == pytest.approx(stats.cramervonmises_2samp(before, now).statistic, abs=0.002)


COUNTS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8).filter(
    lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0
)


@given(COUNTS)
def test_rms_difference_is_symmetric_blind_to_direction_and_at_most_the_root_of_a_third(
    pairs: list[tuple[int, int]],
) -> None:
    before, now = [a for a, _ in pairs], [b for _, b in pairs]

    difference = drift_tests.rms_difference(before, now)

    assert -1e-12 <= difference <= math.sqrt(1 / 3) + 1e-12
    assert difference == pytest.approx(drift_tests.rms_difference(now, before), abs=1e-9)
    assert difference == pytest.approx(
        drift_tests.rms_difference(before[::-1], now[::-1]), abs=1e-7
    )


def test_a_certain_but_tiny_difference_is_below_the_limit() -> None:
    before, now = np.array([500_000, 500_000]), np.array([495_000, 505_000])

    compared = drift_tests.compare_numbers(before, now, 0.01)

    assert drift_tests.rms_limit(10**6, 10**6, 0.01) < compared.difference < compared.limit
    assert not compared.is_drift


@pytest.mark.parametrize(
    ("false_alarm", "expected"),
    [
        (0.030, True),  # half of it exceeds 1/70
        (0.028, False),  # half of it is below 1/70
    ],
)
def test_shares_are_compared_by_fishers_exact_test(false_alarm: float, expected: bool) -> None:
    """Four hits of eight rows in the second four rows are a case of C(8, 4) = 70."""
    compared = drift_tests.compare_shares(0, 4, 4, 4, false_alarm)

    assert compared.difference == 1.0
    assert compared.is_drift is expected


@given(st.integers(1, 200), st.integers(1, 200), st.data(), st.sampled_from([0.05, 0.01, 0.001]))
def test_shares_agree_with_scipys_fisher_exact(
    n_before: int, n_now: int, data: st.DataObject, false_alarm: float
) -> None:
    hits_before = data.draw(st.integers(0, n_before))
    hits_now = data.draw(st.integers(0, n_now))
    table = [[hits_now, n_now - hits_now], [hits_before, n_before - hits_before]]

    compared = drift_tests.compare_shares(hits_before, n_before, hits_now, n_now, false_alarm)

    tails = [stats.fisher_exact(table, side).pvalue for side in ("less", "greater")]
    # At a tie of p-value and level the last digit decides, and on the upper side a tie is drift.
    assume(not math.isclose(min(tails), false_alarm / 2, rel_tol=1e-9))
    is_rare = min(tails) < false_alarm / 2
    is_small = compared.difference <= drift_tests.SMALLEST_SHARE
    assert compared.is_drift is bool(is_rare and not is_small)


def test_categories_are_compared_as_worked_out_by_hand() -> None:
    """Pooled shares 0.625 and 0.375, difference 0.25, chi-square 8/3, 3.841 at 5 %."""
    compared = drift_tests.compare_categories(np.array([10, 10]), np.array([15, 5]), 0.05)

    assert compared is not None
    assert compared.difference == pytest.approx(math.sqrt(0.0625 / 0.625 + 0.0625 / 0.375))
    assert compared.difference**2 / (1 / 20 + 1 / 20) == pytest.approx(8 / 3)
    assert compared.limit == pytest.approx(math.sqrt(3.8415 * 0.1), rel=1e-4)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        # 10 rows of each: a cell needs 10 rows of both together to expect five in each.
        ([6, 4], [4, 6], ([4, 6], [6, 4])),
        ([7, 2, 1], [8, 1, 1], ([10], [10])),
        ([4, 3, 3], [4, 4, 2], ([4, 6], [4, 6])),
        # 100 and 20 rows: of 120 in all a cell needs 30.
        ([50, 40, 5, 5], [10, 8, 1, 1], ([50, 50], [10, 10])),
    ],
)
def test_rare_cells_are_put_together(
    before: list[int], now: list[int], expected: tuple[list[int], list[int]]
) -> None:
    pooled = drift_tests.merge_rare_categories(np.array(before), np.array(now))

    assert sorted(zip(*pooled, strict=True)) == sorted(zip(*expected, strict=True))


def test_one_category_is_nothing_to_compare() -> None:
    assert drift_tests.compare_categories(np.array([50]), np.array([20]), 0.05) is None


SHAPES = {
    "normal": lambda random, n: random.normal(size=n),
    "skewed": lambda random, n: np.round(random.lognormal(3, 1, size=n)),
    "few values": lambda random, n: random.poisson(0.7, size=n).astype(np.float64),
    "mostly zero": lambda random, n: (random.random(n) < 0.05).astype(np.float64),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n_before", "n_now"), [(50, 10), (50, 50), (1000, 50), (50, 1000)])
def test_chance_exceeds_the_limit_of_numbers_as_rarely_as_was_asked(
    shape: str, n_before: int, n_now: int
) -> None:
    """At 10 %, at most 48 of 300 samples exceed the limit with probability 0.999."""
    random = np.random.default_rng(11)
    n_alarms = 0
    for _ in range(300):
        before, now = SHAPES[shape](random, n_before), SHAPES[shape](random, n_now)
        cells = profile.make_bins(before)
        counts = profile.count_bins(cells.edges, now)
        n_alarms += drift_tests.compare_numbers(np.array(cells.counts), counts, 0.1).is_drift

    assert n_alarms <= 48


@pytest.mark.parametrize(("n_before", "n_now"), [(50, 50), (1000, 50), (50, 1000)])
def test_chance_exceeds_the_limit_of_categories_as_rarely_as_was_asked(
    n_before: int, n_now: int
) -> None:
    random = np.random.default_rng(12)
    shares = np.array([0.4, 0.3, 0.15, 0.08, 0.04, 0.02, 0.01])
    n_alarms = 0
    for _ in range(300):
        before, now = (random.multinomial(n, shares) for n in (n_before, n_now))
        compared = drift_tests.compare_categories(before, now, 0.1)
        n_alarms += compared is not None and compared.is_drift

    assert n_alarms <= 48


@pytest.mark.parametrize(
    ("n_true_positives", "n_errors", "expected"),
    [(3, 2, 6 / 8), (0, 5, 0.0), (4, 0, 1.0), (0, 0, None)],
)
def test_f1_is_computed_from_counts(
    n_true_positives: int, n_errors: int, expected: float | None
) -> None:
    assert F1Counts(100, n_true_positives, n_errors).f1 == expected


def test_the_probability_of_a_fall_by_hand() -> None:
    """4 right of 4 then 0 right of 4 are a case of C(8, 4) = 70, hence p = 1/70."""
    found = drift_tests.compare_f1(F1Counts(10, 4, 0), F1Counts(12, 0, 4))

    assert found is not None
    assert (found.f1_before, found.f1_now) == (1.0, 0.0)
    assert (found.n_rows_before, found.n_rows_now) == (10, 12)
    assert found.p_value == pytest.approx(1 / 70)
    assert not found.has_fallen


def test_five_of_five_then_none_of_five_is_a_fall() -> None:
    """A case of C(10, 5) = 252 is rarer than 1 in 100."""
    found = drift_tests.compare_f1(F1Counts(10, 5, 0), F1Counts(10, 0, 5))

    assert found is not None
    assert found.p_value == pytest.approx(1 / 252)
    assert found.has_fallen


@pytest.mark.parametrize("now", [F1Counts(1000, 400, 250), F1Counts(1000, 500, 150)])
def test_the_same_or_a_better_f1_is_no_fall(now: F1Counts) -> None:
    found = drift_tests.compare_f1(F1Counts(1000, 400, 250), now)

    assert found is not None
    assert found.p_value > 0.5


@pytest.mark.parametrize(
    ("before", "now"),
    [(F1Counts(5, 0, 0), F1Counts(5, 1, 1)), (F1Counts(5, 1, 1), F1Counts(5, 0, 0))],
)
def test_an_undefined_f1_says_nothing(before: F1Counts, now: F1Counts) -> None:
    assert drift_tests.compare_f1(before, now) is None


@pytest.mark.parametrize("n_rows", [20, 200, 2000])
@pytest.mark.parametrize("n_candidates", [1, 5])
def test_without_a_fall_less_than_five_percent_of_the_runs_report_one(
    n_rows: int, n_candidates: int
) -> None:
    """Also with the release as the best of five candidates, as in practice."""
    rates = drift.simulate_f1(400, n_rows, 0.75, n_candidates)

    assert rates.n_runs == 400
    assert rates.share <= 0.05


def test_a_fall_by_a_tenth_is_seen_on_5000_rows() -> None:
    assert drift.simulate_f1(50, 5000, 0.65, 1).share >= 0.95


def test_rows_that_are_in_both_samples_make_it_more_careful() -> None:
    random = np.random.default_rng(2)
    n_alarms = 0
    for _ in range(300):
        before = drift.draw_counts(random, 300, 0.7)
        more = drift.draw_counts(random, 300, 0.7)
        now = F1Counts(
            600, before.n_true_positives + more.n_true_positives, before.n_errors + more.n_errors
        )
        found = drift_tests.compare_f1(before, now)
        n_alarms += found is not None and found.has_fallen

    assert n_alarms == 0
