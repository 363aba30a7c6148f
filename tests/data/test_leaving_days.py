"""Clients who left by a column of their own rows: outcomes, rows without use, and who is back."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scripts.core.config import LeavingColumn, OutcomeSettings, Schema
from scripts.data import dated_rows, leaving_days, outcomes
from scripts.data.cells import EPOCH, UNLABELLED
from scripts.data.known_outcomes import KnownOutcomes
from scripts.data.outcomes import RowOutcomes

SCHEMA = Schema(target="left", ids=("id",), numeric=("n",), date="snapshot", leaving="churn_date")
STATUS = Schema(
    target="left", ids=("id",), numeric=("n",), date="snapshot",
    leaving=LeavingColumn(column="status", labels=("Cancelled", "expired")),
)  # fmt: skip
SETTINGS = OutcomeSettings(horizon_days=40)
U = UNLABELLED
Rows = list[tuple[str, str, str]]


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - EPOCH


def make_table(rows: Rows, schema: Schema) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "id": [client for client, _, _ in rows],
            "snapshot": [day(text) for _, text, _ in rows],
            "left": UNLABELLED,
            "churn_date": [day(text) if text[:1] == "2" else np.nan for _, _, text in rows],
            "status": pd.Series([text for _, _, text in rows], dtype="str"),
        }
    )
    return dated_rows.number_clients(dated_rows.sort_rows(table, schema), schema)


def judge(rows: Rows, until: str, schema: Schema = SCHEMA) -> RowOutcomes:
    known = KnownOutcomes(complete_until=day(until))
    return outcomes.label_rows(make_table(rows, schema), known, SETTINGS, schema)


def test_a_day_in_a_later_row_is_the_outcome_of_the_rows_before() -> None:
    rows = [
        ("a", "2026-01-31", ""), ("a", "2026-02-28", ""), ("a", "2026-03-31", "2026-03-20"),
        ("b", "2026-01-31", ""), ("b", "2026-02-28", ""), ("b", "2026-03-31", ""),
    ]  # fmt: skip

    found = judge(rows, "2026-03-31")

    assert found.labels.tolist() == [0, 1, U, 0, U, U]
    assert found.is_mature.tolist() == [True, False, False, True, False, False]
    assert found.is_gone.tolist() == [False, False, True, False, False, False]


def test_the_row_of_a_client_who_has_left_is_no_row_to_learn_from() -> None:
    rows = [
        ("a", "2026-01-31", "2025-06-30"), ("a", "2026-02-28", "2025-06-30"),
        ("a", "2026-03-31", "2025-06-30"),
    ]  # fmt: skip

    found = judge(rows, "2026-12-31")

    assert found.left_before.all()
    assert found.is_gone.all()
    assert not found.is_mature.any()


def test_the_newest_row_corrects_the_day_of_leaving() -> None:
    rows = [
        ("a", "2026-01-31", ""), ("a", "2026-02-28", "2026-02-10"),
        ("a", "2026-03-31", "2026-03-15"),
    ]  # fmt: skip

    found = judge(rows, "2026-12-31")

    assert found.left_before.tolist() == [False, False, True]
    assert found.labels.tolist() == [0, 1, U]


def test_who_is_without_a_day_again_is_back_and_left_all_the_same() -> None:
    rows = [
        ("a", "2026-01-31", ""), ("a", "2026-02-28", "2026-02-10"), ("a", "2026-03-31", ""),
        ("a", "2026-05-31", ""),
    ]  # fmt: skip

    found = judge(rows, "2026-05-31")

    assert found.labels.tolist() == [1, U, 0, U]
    assert found.is_gone.tolist() == [False, True, False, False]


def test_a_leaving_that_is_taken_back_before_its_day_is_none() -> None:
    rows = [
        ("a", "2026-01-31", ""), ("a", "2026-02-28", "2026-03-15"), ("a", "2026-04-30", ""),
    ]  # fmt: skip

    found = judge(rows, "2026-04-30")

    assert found.labels.tolist() == [0, 0, U]
    assert not found.is_gone.any()


@pytest.mark.parametrize(
    ("left_on", "label", "left_after"),
    [("2026-04-15", 1, True), ("2026-09-30", U, False), ("9999-12-31", U, False)],
)
def test_a_day_to_come_is_known_within_the_horizon_only(
    left_on: str, label: int, *, left_after: bool
) -> None:
    found = judge([("a", "2026-03-31", left_on)], "2026-03-31")

    assert found.labels.tolist() == [label]
    assert found.left_after.tolist() == [left_after]
    assert not found.is_mature.any()
    assert not found.is_gone.any()


def test_who_vanished_without_a_day_is_not_known_to_have_stayed() -> None:
    rows = [("a", "2026-01-31", ""), ("b", "2026-01-31", ""), ("b", "2026-03-31", "")]

    found = judge(rows, "2026-03-31")

    assert found.labels.tolist() == [U, 0, U]


def test_a_status_says_that_a_client_left_after_the_row_before() -> None:
    rows = [
        ("a", "2026-01-31", "active"), ("a", "2026-02-28", "CANCELLED"),
        ("a", "2026-03-31", "cancelled "), ("b", "2026-01-31", "active"),
        ("b", "2026-12-31", "expired"), ("c", "2026-01-31", ""), ("c", "2026-03-31", "paused"),
        ("d", "2026-02-28", "expired"), ("d", "2026-03-31", "active"),
    ]  # fmt: skip

    found = judge(rows, "2026-12-31", STATUS)

    # After a longer gap the leaver of the row before is one within its horizon.
    assert found.labels.tolist() == [1, U, U, 1, U, 0, U, U, U]
    assert found.is_gone.tolist() == [False, True, True, False, True, False, False, True, False]


def test_the_day_of_a_status_is_that_of_its_first_row_within_the_horizon() -> None:
    table = make_table(
        [("a", "2026-01-31", "active"), ("a", "2026-02-28", "expired"),
         ("a", "2026-04-30", "expired")],
        STATUS,
    )  # fmt: skip

    found = leaving_days.find_days(table, STATUS, 20)

    assert np.isnan(found[0])
    assert found[1:].tolist() == [day("2026-02-20")] * 2


def test_a_label_of_the_row_counts_before_the_column() -> None:
    table = make_table([("a", "2026-01-31", ""), ("a", "2026-03-31", "2026-02-20")], SCHEMA)
    table["left"] = [0, 1]

    found = outcomes.label_rows(
        table, KnownOutcomes(complete_until=day("2026-12-31")), SETTINGS, SCHEMA
    )

    assert found.labels.tolist() == [0, 1]
    assert found.is_mature.tolist() == [True, False]


def test_who_left_by_the_files_or_by_the_column_has_left() -> None:
    rows = [
        ("a", "2026-01-31", ""), ("a", "2026-03-31", "2026-02-20"),
        ("b", "2026-01-31", ""), ("b", "2026-03-31", ""), ("c", "2026-01-31", ""),
    ]  # fmt: skip
    records = pd.DataFrame({"key": ["b"], "day": [day("2026-03-01")], "left": [True]})
    known = KnownOutcomes(records, complete_until=day("2026-03-31"))
    settings = OutcomeSettings(horizon_days=40, input_folder_path=Path("x"), date="on")

    found = outcomes.label_rows(make_table(rows, SCHEMA), known, settings, SCHEMA)

    assert found.labels.tolist() == [1, U, 1, U, 0]
    assert found.is_mature.tolist() == [True, False, True, False, True]
    assert found.is_gone.tolist() == [False, True, False, True, False]


def test_a_row_after_a_leaving_by_the_files_is_not_trained_on_as_one_who_stayed() -> None:
    rows = [("a", f"2026-{month:02}-28", "") for month in (1, 3, 5, 7)]
    records = pd.DataFrame({"key": ["a"], "day": [day("2026-02-10")], "left": [True]})
    known = KnownOutcomes(records, complete_until=day("2026-12-31"))
    settings = OutcomeSettings(horizon_days=40, input_folder_path=Path("x"), date="on")

    found = outcomes.label_rows(make_table(rows, SCHEMA), known, settings, SCHEMA)

    assert found.left_before.tolist() == [False, True, True, True]
    assert found.is_mature.tolist() == [True, False, False, False]
