"""Requests about dated clients: dates, the day, the row before, and what is refused."""

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripts.api import dated_requests, openapi, request_bodies, tensors
from scripts.api.request_rows import FaultyRowsError, read_columns
from scripts.api.tensors import Tensor
from scripts.core.config import ApiSettings, DateColumn, Schema
from scripts.data import client_dates, table_reader
from scripts.data.cells import EPOCH

SCHEMA = client_dates.dataset_schema(
    Schema(
        target="left", ids=("client",), numeric=("logins", "seats"), categorical=("plan",),
        date="snapshot", dates={"signup": "%d.%m.%Y"}, changes=("logins",),
        ratios={"usage": ("logins", "seats")},
    )
)  # fmt: skip
SINCE, CHANGE = "days since signup", "logins, change since the row before"
ROW = {"logins": 6, "seats": 4, "plan": "pro", "signup": "01.03.2026"}
TODAY = date(2026, 4, 30).toordinal() - EPOCH


def derive(*rows: dict[str, Any], **members: Any) -> dict[str, list[Any]]:
    body = json.dumps({"data": rows} | members).encode()
    named = request_bodies.read_rows(body, "application/json", "", ApiSettings(), SCHEMA)
    filled = dated_requests.add_derived(named, SCHEMA, dated_requests.body_day(body), lambda: TODAY)
    return {name: column.tolist() for name, column in read_columns(filled, SCHEMA).items()}


@pytest.mark.parametrize(
    ("row", "members", "days"),
    [
        ({}, {}, 60),
        ({"as_of": "2026-03-31"}, {}, 30),
        ({"snapshot": "2026-03-02"}, {}, 1),
        ({"snapshot": "2026-03-02", "as_of": "2026-03-31"}, {"as_of": "2026-03-05"}, 1),
        ({}, {"as_of": "2026-03-05"}, 4),
        ({"as_of": None}, {"as_of": None}, 60),
        ({"signup": None}, {}, math.nan),
        ({"signup": " "}, {}, math.nan),
        # As a cell of a file without a date.
        ({"signup": "0000-00-00"}, {}, math.nan),
        ({"signup": " NULL "}, {}, math.nan),
        ({"signup": "31.12.9999"}, {}, math.nan),
        ({"signup": "1900-01-01T00:00:00"}, {}, math.nan),
        ({"signup": "31.12.2026"}, {}, -245),
        # ISO 8601 beside the declared format.
        ({"signup": "2026-12-31"}, {}, -245),
    ],
)
def test_a_date_becomes_the_days_up_to_the_day_of_the_row(
    row: dict[str, Any], members: dict[str, Any], days: float
) -> None:
    assert derive(ROW | row, **members)[SINCE] == pytest.approx([days], nan_ok=True)


def test_the_row_before_is_optional_and_gives_the_change() -> None:
    columns = derive(ROW, ROW | {"row_before": {"logins": 10}}, ROW | {"row_before": None})

    assert columns[CHANGE] == pytest.approx([math.nan, -4, math.nan], nan_ok=True)
    assert columns["usage"] == [1.5, 1.5, 1.5]


def test_a_ratio_is_missing_where_it_is_not_defined() -> None:
    columns = derive(ROW | {"seats": 0}, ROW | {"logins": None})

    assert all(map(math.isnan, columns["usage"]))


def test_columns_that_were_sent_are_kept() -> None:
    sent = {"logins": 6, "seats": 4, "plan": "pro", SINCE: 3, CHANGE: None, "usage": 2.5}

    columns = derive(sent)

    assert (columns[SINCE], columns["usage"]) == ([3], [2.5])


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        ({"signup": "03/01/2026"}, "signup", "a date such as 31.03.2026, or null"),
        ({"signup": 20260301}, "signup", "a date such as 31.03.2026, or null"),
        ({"as_of": "31.03.2026"}, "as_of", "a date such as 2026-03-31, or null"),
        ({"snapshot": True}, "snapshot", "a date such as 2026-03-31, or null"),
        ({"row_before": [1]}, "row_before", "an object with the columns of the client's row"),
    ],
)
def test_a_wrong_member_is_a_fault_with_its_row(
    row: dict[str, Any], column: str, expected: str
) -> None:
    with pytest.raises(FaultyRowsError) as raised:
        derive(ROW, ROW | row)

    (fault,) = raised.value.faults
    assert (fault.row, fault.column) == (1, column)
    assert fault.expected.startswith(expected)


def test_a_date_that_is_not_sent_is_a_fault() -> None:
    with pytest.raises(FaultyRowsError) as raised:
        derive({name: value for name, value in ROW.items() if name != "signup"})

    assert raised.value.faults[0].column == "signup"


def test_a_csv_table_takes_dates_too() -> None:
    body = b"logins,seats,plan,signup,snapshot\n6,4,pro,01.03.2026,2026-03-31\n"
    named = request_bodies.read_rows(body, "text/csv", "", ApiSettings(), SCHEMA)

    filled = dated_requests.add_derived(named, SCHEMA, dated_requests.body_day(body), lambda: TODAY)

    assert read_columns(filled, SCHEMA)[SINCE].tolist() == [30]


def test_a_table_is_ranked_by_the_latest_row_of_each_client() -> None:
    columns: dict[str, list[Any]] = {
        "client": ["b", "a", "a"], "logins": [1.0, 5.0, 9.0], "seats": [2.0, 5.0, 3.0],
        "plan": ["x", "new", "old"], "signup": [0.0, 10.0, 10.0], "snapshot": [31, 59, 31],
    }  # fmt: skip

    found = client_dates.derive_latest(columns, SCHEMA, TODAY)

    assert (found["client"], found["plan"]) == (["a", "b"], ["new", "x"])
    assert found[SINCE] == [49, 31]
    assert found[CHANGE] == pytest.approx([-4, math.nan], nan_ok=True)
    assert found["usage"] == [1, 0.5]


@pytest.mark.parametrize("day", [20260305, True, "soon", [1], {"day": 1}, "2026-03-05" * 40])
def test_a_day_of_the_body_that_is_no_date_is_refused_and_never_today(day: object) -> None:
    with pytest.raises(FaultyRowsError) as raised:
        derive(ROW, as_of=day)

    assert [(fault.row, fault.column) for fault in raised.value.faults] == [(0, "as_of")]


@pytest.mark.parametrize(
    ("before", "column", "expected"),
    [
        ({"logins": "10"}, "row_before.logins", "a number or null"),
        ({"logins": True}, "row_before.logins", "a number or null"),
        (
            {"login": 10},
            "row_before",
            "an object with the columns of the client's row before, such as",
        ),
        ({"logins": 1, "client": "b"}, "row_before.client", "the client of the row, a"),
        ({"logins": 1, "snapshot": "2026-04-30"}, "row_before.snapshot", "a day before that of"),
        ({"logins": 1, "as_of": "2026-05-01"}, "row_before.as_of", "a day before that of"),
        ({"logins": 1, "snapshot": "31.03.26"}, "row_before.snapshot", "a date such as 2026-03-31"),
    ],
)
def test_a_row_before_that_cannot_be_right_is_a_fault(
    before: dict[str, Any], column: str, expected: str
) -> None:
    with pytest.raises(FaultyRowsError) as raised:
        derive(ROW | {"client": "a", "row_before": before})

    (fault,) = raised.value.faults
    assert (fault.row, fault.column) == (0, column)
    assert fault.expected.startswith(expected)


@pytest.mark.parametrize(
    "before", [{}, {"logins": None}, {"logins": 2, "client": "a ", "snapshot": "2026-04-29"}]
)
def test_a_row_before_with_blanks_or_of_the_same_client_is_taken(before: dict[str, Any]) -> None:
    columns = derive(ROW | {"client": "a", "row_before": before})

    expected = 4 if before.get("logins") else math.nan
    assert columns[CHANGE] == pytest.approx([expected], nan_ok=True)


def test_faults_of_dates_and_of_other_columns_are_listed_together() -> None:
    faulty = {"signup": "03/01/2026", "seats": "four"}

    with pytest.raises(FaultyRowsError) as raised:
        derive(ROW | {"logins": "6"}, ROW | faulty)

    found = [(fault.row, fault.column) for fault in raised.value.faults]
    assert found == [(0, "logins"), (1, "signup"), (1, "seats")]


def tensor(name: str, *values: Any, datatype: str = "") -> Tensor:
    kind = datatype or ("BYTES" if isinstance(values[0], str) else "FP64")
    content = {"name": name, "shape": [len(values)], "datatype": kind, "data": values}
    return msgspec.convert(
        content | {"data": msgspec.Raw(msgspec.json.encode(values))}, type=Tensor
    )


def test_tensors_of_dates_become_the_columns_of_the_model() -> None:
    sent = [
        tensor("client", "a", "b"), tensor("logins", 6, 8), tensor("seats", 4, None),
        tensor("plan", "pro", "free"), tensor("signup", "01.03.2026", ""),
        tensor("snapshot", "2026-03-31", "2026-03-31"), tensor(CHANGE, -2, None),
    ]  # fmt: skip

    rows = tensors.read_tensors(sent, SCHEMA, ("client",))

    assert rows.columns[SINCE] == pytest.approx([30, math.nan], nan_ok=True)
    assert rows.columns[CHANGE] == pytest.approx([-2, math.nan], nan_ok=True)
    assert rows.columns["usage"] == pytest.approx([1.5, math.nan], nan_ok=True)
    assert rows.identifiers == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("wrong", "column"),
    [
        (tensor("signup", "03/01/2026"), "signup"),
        (tensor("signup", 20260301), "signup"),
        (tensor("seats", 4.5, datatype="INT64"), "seats"),
        (tensor("snapshot", "31.03.2026"), "snapshot"),
    ],
)
def test_wrong_tensors_of_dated_clients_are_named(wrong: Tensor, column: str) -> None:
    right = [
        tensor("logins", 6), tensor("seats", 4), tensor("plan", "pro"),
        tensor("signup", "01.03.2026"), tensor("snapshot", "2026-03-31"),
    ]  # fmt: skip

    with pytest.raises(FaultyRowsError) as raised:
        tensors.read_tensors([*(t for t in right if t.name != column), wrong], SCHEMA, ())

    assert [(fault.row, fault.column) for fault in raised.value.faults] == [(0, column)]


def test_the_description_shows_dates_as_the_installation_writes_them() -> None:
    described = openapi.describe_dates(SCHEMA)
    body = openapi.describe_data({}, SCHEMA)

    assert described["signup"]["description"] == "A date such as 31.03.2026."
    assert "2026-03-31" in described["snapshot"]["description"]
    assert "as_of" in body["properties"]


def test_a_format_of_the_names_of_files_is_none_of_requests() -> None:
    named = msgspec.structs.replace(
        SCHEMA, date=DateColumn(column="file_name", format="%d_%m_%Y"), ids=("client", "as_of")
    )

    (row,) = dated_requests.add_derived([ROW | {"as_of": "2026-03-31"}], named, None)

    assert row[SINCE] == 30
    assert "2026-03-31" in openapi.describe_dates(named)["as_of"]["description"]


@pytest.mark.parametrize("own", ["snapshot", "file_name"])
def test_a_table_to_rank_may_have_its_days_in_as_of(tmp_path: Path, own: str) -> None:
    # The file has no date in its name, and no column with another day.
    named = msgspec.structs.replace(
        SCHEMA, date=own, ids=("client", SCHEMA.as_of if own == "snapshot" else "as_of")
    )
    path = tmp_path / "table.csv"
    path.write_text("client,logins,seats,plan,signup,as_of\na,6,4,pro,01.03.2026,2026-03-31\n")
    header = path.read_text().partition("\n")[0].split(",")

    reading, columns = table_reader.read_file(
        path, tmp_path, client_dates.ranking_schema(named, header)
    )
    found = client_dates.derive_latest(columns, named, TODAY)

    assert not reading.rejected
    assert found[SINCE] == [30]
