"""F1 and related metrics, counted by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from scripts.data.arrays import Ints
from scripts.model import metrics


def labels(*values: int) -> Ints:
    """Make an array of labels."""
    return np.array(values, dtype=np.int64)


# Four of the five clients of DESIGN's first extract are predicted to leave. F1 = 2 TP / (2 TP + FP
# + FN) is 4/7 with TP = 2, FP = 2 and FN = 1; all five, three of whom leave, give 6/8; and four of
# them with one false alarm 6/7.
REFERENCES: list[tuple[list[int], list[int], float]] = [
    ([1, 1, 1, 0, 0], [0, 1, 1, 1, 1], 4 / 7),
    ([1, 1, 1, 0, 0], [1, 1, 1, 1, 1], 0.75),
    ([1, 1, 1, 0, 0], [1, 1, 1, 1, 0], 6 / 7),
    ([1, 1, 0, 0], [1, 0, 1, 0], 0.5),
    ([1], [1], 1.0),
    ([1], [0], 0.0),
    ([0], [1], 0.0),
]


@pytest.mark.parametrize(("y", "predicted", "f1"), REFERENCES)
def test_f1_is_the_one_worked_out_by_hand(y: list[int], predicted: list[int], f1: float) -> None:
    assert metrics.f1_of(labels(*y), labels(*predicted)) == f1


def test_f1_is_not_defined_where_nothing_is_positive() -> None:
    assert metrics.f1_of(labels(0, 0), labels(0, 0)) is None
    assert metrics.f1_of(labels(), labels()) is None


def test_every_number_of_an_evaluation_is_the_one_counted_by_hand() -> None:
    y = labels(1, 1, 1, 0, 0, 0, 0, 0)
    predicted = labels(1, 1, 0, 1, 0, 0, 0, 0)
    probability = np.array([0.9, 0.8, 0.3, 0.7, 0.4, 0.2, 0.1, 0.3])

    measured = metrics.evaluate(y, predicted, probability)

    counts = (measured.n_true_positives, measured.n_false_positives,
              measured.n_false_negatives, measured.n_true_negatives)  # fmt: skip
    assert counts == (2, 1, 1, 4)
    assert measured.precision == 2 / 3
    assert measured.recall == 2 / 3
    assert measured.f1 == 4 / 6
    assert measured.accuracy == 6 / 8
    assert (measured.n_rows, measured.n_positives) == (8, 3)
    # Of 15 pairs, 0.9 and 0.8 win all five each; 0.3 wins two, ties one, loses two: 12.5.
    assert measured.roc_auc == pytest.approx(12.5 / 15)
    assert measured.as_dict()["f1"] == measured.f1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(np.linspace(0, 1, 7).tolist())), max_size=60)
)
def test_the_area_under_the_curve_is_that_of_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    both = [(True, 0.5), (False, 0.25), *rows]
    y, probability = labels(*(left for left, _ in both)), np.array([p for _, p in both])

    area = metrics.area_under_curve(y, probability)

    assert area == pytest.approx(roc_auc_score(y, probability), abs=1e-12)


@pytest.mark.parametrize(
    ("y", "predicted", "wanted"),
    [
        ([0, 0], [0, 0], {"f1": None, "precision": None, "recall": None, "roc_auc": None,
                          "accuracy": 1.0, "f1_low": None, "f1_high": None}),
        ([0, 0], [1, 0], {"f1": 0.0, "precision": 0.0, "recall": None, "roc_auc": None}),
        ([1, 1], [0, 0], {"f1": 0.0, "precision": None, "recall": 0.0, "roc_auc": None}),
        ([1, 1], [1, 1], {"f1": 1.0, "f1_low": 1.0, "f1_high": 1.0, "roc_auc": None}),
        ([1, 0], [0, 1], {"f1": 0.0, "f1_low": 0.0, "f1_high": 0.0, "accuracy": 0.0}),
    ],
)  # fmt: skip
def test_one_class_or_nothing_right_is_no_obstacle(
    y: list[int], predicted: list[int], wanted: dict[str, float | None]
) -> None:
    probability = np.array(predicted, dtype=np.float64)

    measured = metrics.evaluate(labels(*y), labels(*predicted), probability).as_dict()

    assert {name: measured[name] for name in wanted} == wanted


def test_no_row_breaks_the_contract() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        metrics.evaluate(labels(), labels(), np.array([]))
    with pytest.raises(ValueError, match="at least one row"):
        metrics.compare(labels(), labels(), labels())


rows = st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=1, max_size=40)


@settings(max_examples=30, deadline=None)  # scikit-learn's metrics take milliseconds each
@given(rows)
def test_an_evaluation_agrees_with_scikit_learn(drawn: list[tuple[int, int, int]]) -> None:
    y, predicted, _ = (labels(*column) for column in zip(*drawn, strict=True))

    measured = metrics.evaluate(y, predicted, predicted.astype(np.float64))

    options: Any = {"zero_division": 0.0}
    assert measured.accuracy == accuracy_score(y, predicted)
    assert (measured.f1 or 0.0) == pytest.approx(f1_score(y, predicted, **options))
    assert (measured.precision or 0.0) == pytest.approx(precision_score(y, predicted, **options))
    assert (measured.recall or 0.0) == pytest.approx(recall_score(y, predicted, **options))
    if measured.f1 is not None:
        assert measured.f1_low is not None
        assert measured.f1_high is not None
        assert 0 <= measured.f1_low <= measured.f1_high <= 1


def test_the_interval_holds_f1_and_narrows_with_more_rows() -> None:
    few = metrics.f1_interval(6, 2, 2, 10)
    many = metrics.f1_interval(600, 200, 200, 1000)

    assert few[0] is not None
    assert many[0] is not None
    assert few[0] < many[0] < 0.75 < many[1] < few[1]
    assert metrics.f1_interval(6, 2, 2, 10) == few


def test_the_interval_covers_the_true_f1_about_95_times_in_100() -> None:
    # 40 % leave; 70 % of those are found, 20 % of the others are false alarms:
    # F1 = 2 * 0.28 / (2 * 0.28 + 0.12 + 0.12) = 0.7.
    cells = [0.28, 0.12, 0.12, 0.48]
    draws = np.random.default_rng(7).multinomial(300, cells, size=400)

    intervals = [metrics.f1_interval(*map(int, draw)) for draw in draws]

    covered = [
        low <= 0.7 <= high for low, high in intervals if low is not None and high is not None
    ]
    # Four standard errors around 0.95 with 400 draws, and a percentile interval is a little short.
    assert len(covered) == 400
    assert 0.90 <= np.mean(covered) <= 0.99


def test_compare_counts_the_difference_by_hand() -> None:
    y = labels(1, 1, 1, 0, 0)
    good, poor = labels(1, 1, 0, 0, 0), labels(1, 0, 0, 0, 0)

    found = metrics.compare(y, good, poor)
    back = metrics.compare(y, poor, good)

    # 0.8 and 0.5.
    assert found.difference == pytest.approx(0.3)
    assert back.difference == pytest.approx(-0.3)
    assert found.difference_low <= found.difference <= found.difference_high
    # Better unless the second row is never drawn, with 0.8 ** 5 = 0.33, which is a tie: half.
    assert found.probability_better == pytest.approx(1 - 0.8**5 / 2, abs=0.04)
    assert back.probability_better == pytest.approx(0.8**5 / 2, abs=0.04)


@settings(max_examples=50, deadline=None)
@given(rows)
def test_a_model_compared_with_itself_is_a_tie(drawn: list[tuple[int, int, int]]) -> None:
    y, predicted, _ = (labels(*column) for column in zip(*drawn, strict=True))

    found = metrics.compare(y, predicted, predicted)

    assert (found.difference_low, found.difference_high) == (0.0, 0.0)
    assert found.probability_better == 0.5
    assert found.difference == 0.0 or np.isnan(found.difference)


@settings(max_examples=50, deadline=None)
@given(rows)
def test_compare_is_fair_to_both_sides(drawn: list[tuple[int, int, int]]) -> None:
    y, first, second = (labels(*column) for column in zip(*drawn, strict=True))

    found, back = metrics.compare(y, first, second), metrics.compare(y, second, first)

    f1s = (metrics.f1_of(y, first), metrics.f1_of(y, second))
    if f1s[0] is not None and f1s[1] is not None:
        assert found.difference == pytest.approx(f1s[0] - f1s[1])
        assert back.difference == pytest.approx(-found.difference)
    else:
        assert np.isnan(found.difference)
    # The draws are not the same ones when the sides change places.
    assert found.probability_better + back.probability_better == pytest.approx(1, abs=0.08)


def test_equal_f1_of_different_predictions_is_a_tie_in_the_middle() -> None:
    y = labels(*[1, 1, 0, 0] * 10)
    first, second = labels(*[1, 0, 0, 0] * 10), labels(*[0, 1, 0, 0] * 10)

    found = metrics.compare(y, first, second)

    assert found.difference == 0.0
    assert found.probability_better == pytest.approx(0.5, abs=0.05)
    assert found.difference_low < 0 < found.difference_high
