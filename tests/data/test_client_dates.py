"""Columns derived from dates: days, changes, ratios; and the day of a file."""

import math
from datetime import date
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from scripts.core.config import DateColumn, LeavingColumn, Schema
from scripts.data import client_dates, dated_rows, name_dates
from scripts.data.cells import EPOCH, UNLABELLED

SCHEMA = Schema(
    target="left", ids=("client",), numeric=("logins", "users", "seats"),
    date="snapshot", dates=("signup",), changes=("logins",), ratios={"usage": ("users", "seats")},
)  # fmt: skip
DERIVED = ("days since signup", "logins, change since the row before", "usage")


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - EPOCH


def make_rows(*rows: tuple[str, str, float, float, float, float, int]) -> pd.DataFrame:
    names = ["client", "snapshot", "signup", "logins", "users", "seats", "left"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(snapshot=[day(text) for text in table["snapshot"]])


def number(rows: pd.DataFrame) -> pd.DataFrame:
    return dated_rows.number_clients(dated_rows.sort_rows(rows, SCHEMA), SCHEMA)


def add_derived(rows: pd.DataFrame) -> pd.DataFrame:
    return dated_rows.add_derived(number(rows), SCHEMA)


def test_derived_columns_are_numeric_columns_of_the_dataset() -> None:
    wanted = client_dates.dataset_schema(SCHEMA)

    assert wanted.numeric == (*SCHEMA.numeric, *DERIVED)
    assert wanted.ids == ("client", "snapshot")
    assert wanted.client_ids == ("client",)


def test_the_schema_of_a_model_leads_back_to_that_of_the_files() -> None:
    encoded = msgspec.json.encode(client_dates.dataset_schema(SCHEMA))

    assert client_dates.reading_schema(msgspec.json.decode(encoded, type=Schema)) == SCHEMA


def test_a_schema_without_dates_stays_as_it_is() -> None:
    assert (
        client_dates.dataset_schema(Schema()) == Schema() == client_dates.reading_schema(Schema())
    )


def test_days_changes_and_ratios_are_computed_by_hand() -> None:
    rows = make_rows(
        ("a", "2026-01-31", day("2026-01-01"), 10, 2, 4, 0),
        ("a", "2026-02-28", day("2026-01-01"), 4, 0, 0, 0),
        ("b", "2026-02-28", math.nan, 7, math.nan, 5, 0),
    )

    derived = add_derived(rows)

    since, change, usage = (derived[name].tolist() for name in DERIVED)
    assert since[:2] == [30, 58]
    assert math.isnan(since[2])
    assert change[1] == -6
    assert math.isnan(change[0])
    assert math.isnan(change[2])
    assert usage[0] == 0.5
    assert math.isnan(usage[1])
    assert math.isnan(usage[2])


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = make_rows(
        *[(f"c{k % 7}", f"2026-0{1 + k // 7}-28", k, k * 3 % 11, k, 9, 0) for k in range(35)]
    )
    expected = add_derived(rows)

    for seed in range(3):
        mixed = rows.sample(frac=1, random_state=seed)
        found = add_derived(mixed)
        pd.testing.assert_frame_equal(found, expected)


def test_a_client_has_one_row_a_day_and_a_label_counts_first() -> None:
    rows = make_rows(
        ("a", "2026-01-31", 0, 1, 1, 1, 1),
        ("a", "2026-01-31", 0, 2, 1, 1, UNLABELLED),
        ("b", "2026-01-31", 0, 1, 1, 1, UNLABELLED),
        ("b", "2026-01-31", 0, 2, 1, 1, UNLABELLED),
    )

    found = dated_rows.sort_rows(rows, SCHEMA)

    assert found["logins"].tolist() == [1, 2]


def test_todays_row_is_the_latest_of_the_newest_extract() -> None:
    january = [(f"c{k}", "2026-01-31", 0.0, 1.0, 1.0, 1.0, UNLABELLED) for k in range(30)]
    february = [(f"c{k}", "2026-02-28", 0.0, 2.0, 1.0, 1.0, UNLABELLED) for k in range(5, 30)]
    upload = [("c7", "2026-03-03", 0.0, 3.0, 1.0, 1.0, UNLABELLED)]
    rows = make_rows(*february, *upload, *january)

    table = number(rows)
    extract_days = client_dates.find_whole_days(table[SCHEMA.as_of].to_numpy())
    todays = table[dated_rows.are_todays(table, SCHEMA, extract_days)]

    assert sorted(todays["client"]) == sorted(f"c{k}" for k in range(5, 30))
    assert todays.set_index("client")["logins"]["c7"] == 3
    assert set(todays.set_index("client")["logins"].drop("c7")) == {2}


@pytest.mark.parametrize(
    ("name", "date_format", "expected"),
    [
        ("clients_2026-03-31.csv", "%Y-%m-%d", "2026-03-31"),
        ("20260331_clients.csv", "%Y-%m-%d", "2026-03-31"),
        ("2026_03_31.csv", "%Y-%m-%d", "2026-03-31"),
        ("clients-2026-02.csv", "%Y-%m-%d", "2026-02-28"),
        ("clients-2027-12.csv", "%Y-%m-%d", "2027-12-31"),
        ("v2 of 2026-01-31 sent 2026-02-03.csv", "%Y-%m-%d", "2026-02-03"),
        ("upload_20260331T101112123456Z.csv", "%Y-%m-%d", "2026-03-31"),
        ("stand 31.03.2026.csv", "%d.%m.%Y", "2026-03-31"),
        ("upload_20260331T101112123456Z.csv", "%d.%m.%Y", "2026-03-31"),
        ("clients.csv", "%Y-%m-%d", None),
        ("clients_2026-13-01.csv", "%Y-%m-%d", None),
        ("order 123456789.csv", "%Y-%m-%d", None),
        (
            "Mitgliederliste März 2026.csv",
            "%Y-%m-%d",
            "2026-03-31",
        ),
        # macOS may compose the letter of two characters.
        ("Mitgliederliste Ma\N{COMBINING DIAERESIS}rz 2026.csv", "%Y-%m-%d", "2026-03-31"),
        ("Policies_Feb2028.csv", "%Y-%m-%d", "2028-02-29"),
        ("2026_Dezember_v2.csv", "%Y-%m-%d", "2026-12-31"),
        (
            "abonnés 1er août 2026.csv",
            "%Y-%m-%d",
            "2026-08-01",
        ),
        ("Soci 7 maggio 2026.csv", "%Y-%m-%d", "2026-05-07"),
        ("Clients March 31, 2026.csv", "%Y-%m-%d", "2026-03-31"),
        ("Clients_31-Mar-2026.csv", "%Y-%m-%d", "2026-03-31"),
        ("Kunden_03-2026.csv", "%Y-%m-%d", "2026-03-31"),
        ("Kunden_31.03.2026.csv", "%Y-%m-%d", None),
        ("abonnes_2026-W05.csv", "%Y-%m-%d", "2026-02-01"),
        ("KW5 2026.csv", "%Y-%m-%d", "2026-02-01"),
        ("KW05-2026.csv", "%Y-%m-%d", "2026-02-01"),
        ("clients_2026-47.csv", "%Y-%m-%d", None),
        ("clients_47-2026.csv", "%Y-%m-%d", None),
        ("members 2026 Q1.csv", "%Y-%m-%d", "2026-03-31"),
        ("Q4_2026.csv", "%Y-%m-%d", "2026-12-31"),
        ("Clients 31 February 2026.csv", "%Y-%m-%d", None),
        ("marketing 2026.csv", "%Y-%m-%d", None),
        ("Klienci październik 2026.csv", "%Y-%m-%d", "2026-10-31"),
        ("klienci_15_stycznia_2026.csv", "%Y-%m-%d", "2026-01-15"),
        ("clientes março 2026.csv", "%Y-%m-%d", "2026-03-31"),
        ("dismay 2026.csv", "%Y-%m-%d", None),
        ("set 2026.csv", "%Y-%m-%d", None),
    ],
)
def test_the_day_stands_in_the_name(name: str, date_format: str, expected: str | None) -> None:
    found = name_dates.find_day(name, date_format)

    assert (None if found is None else client_dates.format_day(found)) == expected


def test_a_table_to_rank_has_the_day_in_its_name_only_where_names_have_days() -> None:
    by_name, by_column = DateColumn(column="file_name"), DateColumn(column="as_of")
    march = client_dates.iso_day("2026-03-31")

    assert name_dates.ranking_day("Kunden März 2026.csv", by_name) == march
    assert name_dates.ranking_day("Kunden.csv", by_name) == client_dates.today()
    assert name_dates.ranking_day("Kunden März 2026.csv", by_column) == client_dates.today()
    assert name_dates.ranking_day("Kunden März 2026.csv", None) == client_dates.today()


def test_a_ratio_that_is_not_defined_is_missing() -> None:
    found = client_dates.divide(
        np.array([1.0, 0.0, -4.0, np.nan, 1e15]), np.array([0.0, 0.0, 2.0, 1.0, 1e-15])
    )

    assert np.isnan(found).tolist() == [True, True, False, True, True]
    assert found[2] == -2


def test_days_are_counted_across_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_dates, "PART_ROWS", 2)
    days, n_rows = np.array([5, 9, 5, 5, -3]), np.array([1, 10, 2, 0, 4])

    counted, weighted = client_dates.count_days(days), client_dates.count_days(days, n_rows)

    assert [part.tolist() for part in counted] == [[-3, 5, 9], [1, 3, 1]]
    assert [part.tolist() for part in weighted] == [[-3, 5, 9], [4, 3, 10]]


def test_the_first_and_the_last_day_are_of_the_chosen_rows() -> None:
    days = np.array([5, 9, -3, 7])

    assert client_dates.first_and_last(days, days > 0) == (5, 9)
    assert client_dates.first_and_last(days, days < 0) == (-3, -3)
    assert client_dates.first_and_last(days, days > 9) is None


@pytest.mark.parametrize(
    ("leaving", "cells", "kept"),
    [
        ("end", [math.nan, 20.0, math.nan, 40.0], ["a", "b"]),
        ("end", [math.nan, 20.0, math.nan, 30.0], ["a"]),
        (LeavingColumn(column="end", labels=("Gone",)), [" gone ", "", "GONE", "paused"], ["b"]),
    ],
)
def test_a_table_is_without_those_whose_latest_row_says_that_they_left(
    leaving: str | LeavingColumn, cells: list[Any], kept: list[str]
) -> None:
    schema = Schema(target="", ids=("id",), numeric=(), date="day", leaving=leaving)
    columns: dict[str, list[Any]] = {
        "id": ["a", "b", "a", "b"], "day": [10, 10, 30, 30], "end": cells,
    }  # fmt: skip

    found, n_gone = client_dates.leave_out_leavers(columns, schema, 0)

    assert sorted(set(found["id"])) == kept
    assert n_gone == 2 - len(kept)
    assert client_dates.leave_out_leavers({"id": ["a"], "day": [1]}, schema, 0)[1] == 0


def test_a_format_without_marks_leaves_years_and_stamps_alone() -> None:
    def iso(name: str) -> str | None:
        """Return the day in a name of the format %y%m%d."""
        day = name_dates.find_day(name, "%y%m%d")
        return None if day is None else str(np.datetime64(day, "D"))

    assert iso("export_260131.csv") == "2026-01-31"
    assert iso("export_260131_of_2026.csv") == "2026-01-31"
    assert iso("upload_20261128T130848077282Z_2026-06-30.csv") == "2026-06-30"
