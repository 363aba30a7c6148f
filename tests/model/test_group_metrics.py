"""Metrics by group: equal to fairlearn's, with intervals, silent on few rows."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, selection_rate
from sklearn.metrics import f1_score, precision_score, recall_score

from scripts.model import group_metrics

N_ROWS = 600
FAIRLEARN = {
    "f1": f1_score, "precision": precision_score, "recall": recall_score, "listed": selection_rate,
}  # fmt: skip


def make_table() -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Make clients of three plans and a number, with truths and predictions."""
    random = np.random.default_rng(4)
    plan = random.choice(["basic", "gold", "trial"], size=N_ROWS, p=[0.6, 0.35, 0.05])
    table = pd.DataFrame({"plan": plan, "seats": random.integers(1, 200, size=N_ROWS)})
    probability = random.random(N_ROWS)
    y = (random.random(N_ROWS) < probability).astype(np.int64)
    return table, y, (probability >= 0.5).astype(np.int64), probability


def test_each_metric_is_that_of_fairlearns_metric_frame() -> None:
    table, y, predicted, probability = make_table()
    labels = group_metrics.group_labels(table["plan"])

    frame = MetricFrame(
        metrics=FAIRLEARN, y_true=y, y_pred=predicted, sensitive_features=labels.to_numpy()
    ).by_group
    found = list(
        group_metrics.measure_groups(table, ("plan",), y, predicted, probability, min_rows=2)
    )

    assert [group.group for group in found] == ["basic", "gold", "trial"] == list(frame.index)
    for group in found:
        for name in FAIRLEARN:
            assert getattr(group, name) == pytest.approx(frame.loc[group.group, name], rel=1e-12)


def test_every_interval_holds_its_metric() -> None:
    table, y, predicted, probability = make_table()

    for group in group_metrics.measure_groups(
        table, ("plan", "seats"), y, predicted, probability, min_rows=20
    ):
        row = group.as_row()
        for name in (*FAIRLEARN, "gap"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"], (group.group, name)


def test_a_group_with_few_rows_is_left_out() -> None:
    table, y, predicted, probability = make_table()

    found = group_metrics.measure_groups(table, ("plan",), y, predicted, probability, min_rows=60)

    assert [group.group for group in found] == ["basic", "gold"]


def test_the_gap_is_the_mean_probability_less_the_share_of_leavers() -> None:
    y, probability = np.array([1, 0, 0, 0]), np.array([0.9, 0.5, 0.5, 0.1])
    table = pd.DataFrame({"plan": ["a"] * 4})

    (group,) = group_metrics.measure_groups(table, ("plan",), y, y, probability, min_rows=2)

    # 0.5 - 0.25; the deviations of -0.1, 0.5, 0.5, 0.1 from 0.25 give the standard error 0.15.
    assert group.gap == pytest.approx(0.25)
    assert (group.gap_high - group.gap) / 1.959963984540054 == pytest.approx(0.15)


def test_many_numbers_are_quarters_of_the_rows_and_few_are_groups() -> None:
    many = group_metrics.group_labels(pd.Series(range(1, 101)))
    few = group_metrics.group_labels(pd.Series([1.0, 2.5, None, 1.0]))

    assert many.value_counts().tolist() == [25, 25, 25, 25]
    assert few.tolist() == ["1", "2.5", "missing", "1"]


def test_texts_keep_their_names_and_blanks_are_missing() -> None:
    found = group_metrics.group_labels(pd.Series(["gold", "", None, "gold"], dtype=object))

    assert found.tolist() == ["gold", "missing", "missing", "gold"]
