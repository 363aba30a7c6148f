"""The split by time: the latest mature period is the test, training ends a horizon before."""

import functools

import numpy as np
import pandas as pd
import pytest

from scripts.data import time_split
from scripts.data.cells import UNLABELLED
from scripts.data.time_split import TimeSplit

MONTH_ENDS = [31, 59, 90, 120, 151, 181]


def split(
    days: list[int], labels: list[int], horizon_days: int, mature_until: int = 10**6
) -> TimeSplit:
    clients = pd.Series([f"c{k}" for k in range(len(days))])
    fold = functools.partial(time_split.in_fold, clients)
    y = np.array(labels)
    is_mature = (y != UNLABELLED) & (np.array(days) <= mature_until)
    return time_split.split_rows(fold, np.array(days), y, is_mature, horizon_days)


def months(n_rows: int = 40) -> tuple[list[int], list[int]]:
    days = [day for day in MONTH_ENDS for _ in range(n_rows)]
    return days, [int(k % 4 == 0) for k in range(len(days))]


def test_the_latest_mature_period_is_the_test() -> None:
    days, labels = months()

    found = split(days, labels, horizon_days=30, mature_until=151)

    assert set(np.array(days)[found.is_test]) == {151}
    assert found.is_by_time


def test_training_knows_no_more_than_was_known_when_the_test_began() -> None:
    days, labels = months()

    for horizon_days, last in ((30, 120), (60, 90), (90, 59)):
        found = split(days, labels, horizon_days, mature_until=151)
        assert found.last_training_day == last
        assert not (found.is_training & found.is_test).any()


def test_with_labels_in_the_rows_training_ends_before_the_test() -> None:
    days, labels = months()
    open_rows = [
        label if day < 181 else UNLABELLED for day, label in zip(days, labels, strict=True)
    ]

    found = split(days, open_rows, horizon_days=0)

    assert (found.first_test_day, found.last_training_day) == (151, 120)


def test_a_period_of_which_only_the_leavers_are_known_is_no_test() -> None:
    days, labels = months()
    early = [
        label if day < 181 or (label and k % 8 == 0) else UNLABELLED
        for k, (day, label) in enumerate(zip(days, labels, strict=True))
    ]

    assert split(days, early, horizon_days=0).first_test_day == 151


def test_without_an_earlier_period_a_fifth_of_the_clients_is_the_test() -> None:
    days, labels = [31] * 500, [int(k % 4 == 0) for k in range(500)]

    found = split(days, labels, horizon_days=30)

    assert not found.is_by_time
    assert 60 < found.is_test.sum() < 140
    assert not (found.is_training & found.is_test).any()
    assert (found.is_training | found.is_test).all()


def test_small_additions_belong_to_the_extract_before() -> None:
    days = np.array([31] * 50 + [35] * 2 + [59] * 50 + [20])

    assert time_split.number_periods(days).tolist() == [0] * 52 + [1] * 50 + [0]


def test_days_closer_than_a_week_are_taken_by_the_month() -> None:
    days = np.arange(0, 90)

    assert set(time_split.number_periods(days)) == {0, 1, 2}


def test_without_a_mature_row_nothing_is_tested() -> None:
    found = split([31, 59], [UNLABELLED, UNLABELLED], horizon_days=30)

    assert not found.is_test.any()
    assert found.first_test_day is None


@pytest.mark.parametrize("mature_until", [95, 151, 10**6])
def test_groups_of_equal_rows_are_split_as_the_rows_are(mature_until: int) -> None:
    days, labels = months()
    days, labels = [*days, *[95] * 3], [*labels, 1, 0, 0]
    table = pd.DataFrame({"day": days, "label": labels})
    groups = table.groupby(["day", "label"], as_index=False).size()
    is_mature = groups["day"].to_numpy() <= mature_until

    expected = split(days, labels, horizon_days=30, mature_until=mature_until)
    found = time_split.split_rows(
        lambda: np.zeros(len(groups), np.bool_), groups["day"].to_numpy(),
        groups["label"].to_numpy(), is_mature, 30, groups["size"].to_numpy(),
    )  # fmt: skip

    for name in ("is_training", "is_test"):
        n_rows = groups["size"].to_numpy()[getattr(found, name)].sum()
        assert n_rows == getattr(expected, name).sum() > 0
    days_found = (found.first_test_day, found.last_test_day, found.last_training_day)
    assert days_found == (
        expected.first_test_day,
        expected.last_test_day,
        expected.last_training_day,
    )
