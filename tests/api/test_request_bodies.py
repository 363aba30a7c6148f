"""Bodies as CSV tables, bands of risk, and reasons that add up."""

import functools
import math
import operator
import time
import tracemalloc
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts.api import request_bodies
from scripts.app import create_app
from scripts.core.config import Schema
from tests.support.service import (
    FIRST,
    answer_of,
    edit_config,
    make_model,
    make_row,
    predict,
    problem_of,
    switch,
    write_release,
)

HEADER = b"lastmonth_activity,lastyear_activity,number_of_employees\n"


def post(client: FlaskClient, body: bytes, content_type: str = "text/csv") -> TestResponse:
    """Send a table."""
    return client.post("/predict", data=body, content_type=content_type)


# Odds 3, 1, 1/3 and 1/9 are probabilities 3/4, 1/2, 1/4 and 1/10.
@pytest.mark.parametrize(
    ("body", "probabilities"),
    [
        (HEADER + b"0,7,3\n", [3 / 4]),
        (HEADER + b"2,7,3\n0,7,3\n", [1 / 4, 3 / 4]),
        (HEADER + b"0,7,3", [3 / 4]),
        (HEADER + b"0,7,3\r\n\r\n1,7,3\r\n\n", [3 / 4, 1 / 2]),
        (b"\xef\xbb\xbf" + HEADER + b"0,7,3\n", [3 / 4]),
        (b"number_of_employees,id, lastmonth_activity ,lastyear_activity\n3,x,2, 7 \n", [1 / 4]),
        (HEADER + b",,\n", [1 / 2]),  # blanks: the median is 1
        (HEADER + b'"0","7",3\n', [3 / 4]),
        (HEADER + b"1e0,7.5,+3\n", [1 / 2]),
    ],
)
def test_a_table_is_predicted_as_rows_are(
    client: FlaskClient, body: bytes, probabilities: list[float]
) -> None:
    assert answer_of(post(client, body))["probabilities"] == pytest.approx(probabilities)


@pytest.mark.parametrize(
    "content_type", ["text/csv; charset=UTF-8", "TEXT/CSV", "text/csv; header=present"]
)
def test_a_table_may_name_its_encoding(client: FlaskClient, content_type: str) -> None:
    assert answer_of(post(client, HEADER + b"0,7,3\n", content_type))


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 422, "it is empty"),
        (HEADER, 422, "0 rows; expected at least one"),
        (b"\xff\xfe" + HEADER, 400, "not UTF-8"),
        (b"n,n,lastmonth_activity\n1,2,3\n", 422, "['n'] more than once"),
        (b"lastmonth_activity\xff,x\n1,2\n", 400, "not UTF-8"),
        (b"lastmonth_activity\rx\r", 422, "line end within quotes or of CR alone"),
        (HEADER + b"0,7,3\n" + b"0," + b"9" * 2**20 + b",3\n", 422, "line 3 is longer than"),
    ],
)
def test_what_is_no_table_is_refused(
    client: FlaskClient, body: bytes, status: int, told: str
) -> None:
    assert told in problem_of(post(client, body), status)["detail"]


def test_another_encoding_is_refused(client: FlaskClient) -> None:
    response = post(client, HEADER + b"0,7,3\n", "text/csv; charset=latin-1")

    assert "text/csv in UTF-8" in problem_of(response, 415)["detail"]


@pytest.mark.parametrize("cell", ["x", "1_0", "nan", "inf", "0x10", "1,5", "--1", "1e", "\u0661"])
def test_a_cell_that_is_no_number_is_named(client: FlaskClient, cell: str) -> None:
    body = HEADER + f'0,7,3\n0,"{cell}",3\n'.encode()

    fault = problem_of(post(client, body), 422)["errors"][0]

    assert (fault["row"], fault["column"]) == (1, "lastyear_activity")
    assert fault["expected"] == "a number or nothing"


def test_every_wrong_cell_of_a_row_is_named(client: FlaskClient) -> None:
    body = HEADER + b"0,7,3\nx,1e999,-1\n0,7\0,3\n" + b'"0"x,7,3\n'

    faults = problem_of(post(client, body), 422)["errors"]

    assert [(f["row"], f["column"], f["found"], f["expected"]) for f in faults] == [
        (1, "lastmonth_activity", '"x"', "a number or nothing"),
        (1, "lastyear_activity", '"1e999"', "a number up to 2**53"),
        (1, "number_of_employees", '"-1"', "at least 0"),
        (2, "lastyear_activity", "a control character, such as NUL", "no control character"),
        (3, "", "", "quotes around whole fields, and those inside doubled"),
    ]


def test_reading_ends_with_the_twentieth_faulty_row(client: FlaskClient) -> None:
    problem = problem_of(post(client, HEADER + b"x,y,3\n" * 30), 422)

    assert {fault["row"] for fault in problem["errors"]} == set(range(20))


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_table_may_have_any_separator_of_the_input(client: FlaskClient, mark: str) -> None:
    body = (HEADER + b"0,7,3\n2,7,3\n").replace(b",", mark.encode())

    assert answer_of(post(client, body))["probabilities"] == pytest.approx([3 / 4, 1 / 4])


def test_marks_of_numbers_and_other_columns_are_read_as_in_the_input() -> None:
    schema = Schema(ids=("client",), numeric=("fee",), categorical=("plan",), decimal=",")
    body = b"client;plan;fee;;\na; pro ;1,5;x;\n;;;;y\n"

    rows = request_bodies.read_csv(body, schema, 10)

    assert rows == [
        {"client": "a", "plan": "pro", "fee": 1.5},
        {"client": None, "plan": None, "fee": None},
    ]


def test_rows_with_other_numbers_of_fields_are_all_named(client: FlaskClient) -> None:
    problem = problem_of(post(client, HEADER + b"0,7\n0,7,3\n0,7,3,4\n"), 422)

    faults = [(f["row"], f["found"], f["expected"]) for f in problem["errors"]]
    assert faults == [(0, "2 fields", "3 fields"), (2, "4 fields", "3 fields")]


def test_a_table_with_a_column_missing_says_so(client: FlaskClient) -> None:
    problem = problem_of(post(client, b"lastmonth_activity\n0\n"), 422)

    assert [fault["found"] for fault in problem["errors"]] == ["no such column"] * 2


def test_too_many_rows_of_a_table_are_refused(client: FlaskClient, config_path: Path) -> None:
    edit_config(config_path, api={"max_rows": 2})

    problem = problem_of(post(client, HEADER + b"0,7,3\n" * 3), 422)

    assert "more than 2 rows; expected at most 2" in problem["detail"]


def test_ten_thousand_rows_are_predicted_in_order(client: FlaskClient) -> None:
    answer = answer_of(predict(client, *[make_row(number % 4) for number in range(10_000)]))

    assert answer["probabilities"] == pytest.approx([3 / 4, 1 / 2, 1 / 4, 1 / 10] * 2500)
    assert (
        "more than 10000 rows" in problem_of(predict(client, *[make_row()] * 10_001), 422)["detail"]
    )


def test_bands_begin_at_their_limits(client: FlaskClient, config_path: Path) -> None:
    rows = [make_row(month) for month in (0, 1, 2, 3)]
    # Probabilities 0.75, 0.5, 0.25, 0.1.
    assert answer_of(predict(client, *rows))["risk_bands"] == ["high", "high", "low", "low"]

    edit_config(config_path, api={"medium_risk_from": 0.25, "high_risk_from": 0.6})

    bands = answer_of(predict(client, *rows))["risk_bands"]
    assert bands[:2] == ["high", "medium"]
    assert bands[3] == "low"


def test_contributions_add_up_exactly(config_path: Path) -> None:
    prod = config_path.parent / "prod"
    write_release(prod, FIRST, make_model(intercept=0.1, categorical=True))
    switch(prod, FIRST)
    client = create_app(config_path).test_client()
    rows = [
        make_row(month) | {"plan": plan} for month in (0.1, 0.7, None, 3) for plan in ("gold", "")
    ]

    answer = answer_of(client.post("/predict?explain=true", json={"data": rows}))

    for parts, log_odds, probability in zip(
        answer["contributions"], answer["log_odds"], answer["probabilities"], strict=True
    ):
        assert list(parts) == [*make_row(), "plan"]
        assert functools.reduce(operator.add, parts.values(), answer["intercept"]) == log_odds
        assert 1 / (1 + math.exp(-log_odds)) == pytest.approx(probability, abs=1e-15)
    assert answer["contributions"][0]["lastmonth_activity"] == -math.log(3) * 0.1
    assert answer["contributions"][0]["plan"] == math.log(3)


def test_reasons_are_given_only_when_asked_for(client: FlaskClient) -> None:
    for query in ("", "?explain=false"):
        answer = answer_of(client.post(f"/predict{query}", json={"data": [make_row()]}))

        assert set(answer) == {"predictions", "probabilities", "risk_bands", "release"}


@pytest.mark.parametrize(
    "query",
    ["explain=1", "explain=", "explain", "explian=true", "explain=true&explain=true", "x"],
)
def test_a_query_that_is_none_is_refused(client: FlaskClient, query: str) -> None:
    response = client.post(f"/predict?{query}", json={"data": [make_row()]})

    assert "?explain=true" in problem_of(response, 422)["detail"]


# Bodies that are made to take long


def time_of(client: FlaskClient, body: bytes, content_type: str = "text/csv") -> tuple[int, float]:
    """Send a body, and return the status and the seconds of the processor."""
    started = time.process_time()
    status = post(client, body, content_type).status_code
    return status, time.process_time() - started


def test_a_long_cell_that_is_no_number_is_read_at_once(client: FlaskClient) -> None:
    status, took_s = time_of(client, HEADER + b"0," + b"9" * 32_000 + b"x,3\n")

    assert (status, took_s < 1) == (422, True)


def test_a_header_of_a_hundred_thousand_names_is_read_at_once(client: FlaskClient) -> None:
    names = b",".join(b"n%d" % number for number in range(100_000))

    status, took_s = time_of(client, names + b"\n" + b"1," * 99_999 + b"1\n")
    doubled = b"lastmonth_activity," + b"a,b," * 50_000 + b"c\n"

    assert (status, took_s < 2) == (422, True)
    assert "['a', 'b'] more than once" in problem_of(post(client, doubled), 422)["detail"]


def test_a_line_of_a_table_that_is_longer_than_any_client_is_refused(client: FlaskClient) -> None:
    for body in (b"n," * 600_000, HEADER + b"0,7,3\n" + b"," * 2**21):
        assert "is longer than 1048576 bytes" in problem_of(post(client, body), 422)["detail"]


def spell_cells(spelled: str, n_rows: int) -> bytes:
    """Format rows with numbers as given."""
    row = f'{{"lastmonth_activity": {spelled}, "lastyear_activity": 7, "number_of_employees": 3}}'
    return f'{{"data": [{",".join([row] * n_rows)}]}}'.encode()


@pytest.mark.parametrize("spelled", ["1e-310", "1.00000000000000000000001", "1.00E-0000", "12"])
def test_numbers_that_are_hard_to_read_are_read_right(client: FlaskClient, spelled: str) -> None:
    expected = 1 / (1 + 3 ** (float(spelled) - 1))

    for n_rows in (100, 4_000):
        answer = answer_of(post(client, spell_cells(spelled, n_rows), "application/json"))
        assert answer["probabilities"] == pytest.approx([expected] * n_rows)
    assert request_bodies.has_hard_numbers(spell_cells(spelled, 100)) == (spelled != "12")


def test_hard_numbers_are_not_read_all_in_one_call(client: FlaskClient) -> None:
    unread = b'"x": [' + b"1e-310," * 100_000 + b"1]"
    body = b'{"data": [{' + unread + b"," + spell_cells("1", 1)[11:-2] + b"]}"

    assert time_of(client, body, "application/json")[0] == 200
    assert request_bodies.is_slow(body, "application/json")


def peak_of(client: FlaskClient, body: bytes, status: int) -> int:
    """Send a JSON body, and return the peak of Python's memory in bytes."""
    tracemalloc.start()
    try:
        assert post(client, body, "application/json").status_code == status
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"{}," * 300_000 + b"{}",
        b'{"lastmonth_activity": [' + b"[]," * 300_000 + b"1]}",
        b"{" + b",".join(b'"n%d": 1' % number for number in range(100_000)) + b"}",
        b'{"lastmonth_activity": {"a": "' + b"[" * 1_000_000 + b'"}}',
    ],
)
def test_what_a_body_is_read_into_is_no_larger_than_a_few_of_it(
    client: FlaskClient, data: bytes
) -> None:
    body = b'{"data": [' + data + b"]}"

    assert peak_of(client, body, 422) < 5 * len(body) + 2**20


def test_a_cell_beyond_all_numbers_is_refused_in_long_bodies_too(client: FlaskClient) -> None:
    for spelled in ("1e999", "9" * 5000, "1e9999999"):
        for n_rows in (1, 100):
            response = post(client, spell_cells(spelled, n_rows), "application/json")
            assert "out of range" in problem_of(response, 422)["detail"]


@pytest.mark.parametrize("content_type", ["text/csv", "Text/CSV; charset=utf-8"])
def test_a_table_is_slow_and_a_short_json_is_not(content_type: str) -> None:
    assert request_bodies.is_slow(b"", content_type)
    assert request_bodies.is_slow(b"x" * 66_000, "application/json")
    assert not request_bodies.is_slow(b"x" * 60_000, "application/json")
