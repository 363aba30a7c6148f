"""Predictions over HTTP, by hand-made models whose probabilities are worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from scripts.api.request_rows import MAX_FAULTY_ROWS
from scripts.app import create_app
from scripts.core.config import Config
from scripts.data import dataset
from scripts.model import metrics
from scripts.production import release
from tests.support.service import (
    FIRST,
    GOOD,
    JSON,
    answer_of,
    make_model,
    make_row,
    predict,
    problem_of,
    rows_body,
    switch,
    write_release,
)

# Predictions


@pytest.fixture
def categorical(config_path: Path) -> FlaskClient:
    """A client of a service whose model knows the plan gold and no plan."""
    write_release(config_path.parent / "prod", FIRST, make_model(categorical=True))
    switch(config_path.parent / "prod", FIRST)
    return create_app(config_path).test_client()


def test_probabilities_are_those_worked_out_by_hand_in_the_order_sent(client: FlaskClient) -> None:
    # Odds 3, 1, 1/3 and 1/9 are probabilities 3/4, 1/2, 1/4 and 1/10; 1/2 reaches the threshold.
    answer = answer_of(predict(client, *[make_row(month) for month in (2, 0, 3, 1)]))

    assert answer["probabilities"] == pytest.approx([1 / 4, 3 / 4, 1 / 10, 1 / 2], abs=1e-15)
    assert answer["predictions"] == [0.0, 1.0, 0.0, 1.0]
    assert answer["release"] == FIRST


def test_a_null_counts_as_the_median_of_training(client: FlaskClient) -> None:
    answer = answer_of(predict(client, make_row(None)))

    assert answer["probabilities"] == pytest.approx([1 / 2])


@pytest.mark.parametrize(
    ("plan", "probability"),
    [
        ("gold", 9 / 10),  # odds 3 * 3
        (" gold ", 9 / 10),  # read as the CSV reader does
        ("iron", 3 / 4),  # unknown: adds nothing
        (None, 1 / 2),  # a blank has a coefficient of its own: odds 3 / 3
        ("", 1 / 2),
    ],
)
def test_categories_add_their_coefficient(
    categorical: FlaskClient, plan: str | None, probability: float
) -> None:
    answer = answer_of(predict(categorical, make_row(0) | {"plan": plan}))

    assert answer["probabilities"] == pytest.approx([probability])


def test_each_new_category_is_named_once_with_those_the_model_knows(
    categorical: FlaskClient,
) -> None:
    plans = ["gold", " iron ", None, "tin", "iron"]

    answer = answer_of(predict(categorical, *[make_row(0) | {"plan": plan} for plan in plans]))

    known = ["", "gold"]
    assert answer["unknown_categories"] == [
        {"row": 1, "column": "plan", "found": "iron", "n_rows": 2, "known": known},
        {"row": 3, "column": "plan", "found": "tin", "n_rows": 1, "known": known},
    ]
    assert answer["probabilities"] == pytest.approx([9 / 10, 3 / 4, 1 / 2, 3 / 4, 3 / 4])


def test_a_new_category_in_a_csv_table_is_named_too(categorical: FlaskClient) -> None:
    body = "plan,lastmonth_activity,lastyear_activity,number_of_employees\niron,0,7,3\n"

    answer = answer_of(categorical.post("/predict", data=body, content_type="text/csv"))

    assert [new["found"] for new in answer["unknown_categories"]] == ["iron"]


@pytest.mark.parametrize("plan", ["gold", "", None])
def test_without_a_new_category_none_is_named(categorical: FlaskClient, plan: str | None) -> None:
    assert "unknown_categories" not in answer_of(predict(categorical, make_row(0) | {"plan": plan}))


def test_the_first_20_new_categories_are_named_and_long_ones_cut(categorical: FlaskClient) -> None:
    rows = [make_row(0) | {"plan": f"{number}{'x' * 60}"} for number in range(10, 40)]

    named = answer_of(predict(categorical, *rows))["unknown_categories"]

    assert [new["row"] for new in named] == list(range(20))
    assert named[0]["found"] == "10" + "x" * 35 + "..."


def test_a_model_of_numbers_alone_names_none(client: FlaskClient) -> None:
    assert "unknown_categories" not in answer_of(predict(client, make_row()))


@pytest.mark.parametrize("plan", [1, True, 1.5, ["gold"], {"gold": 1}])
def test_a_category_is_text(categorical: FlaskClient, plan: object) -> None:
    problem = problem_of(predict(categorical, make_row(0) | {"plan": plan}), 422)

    assert problem["errors"][0]["column"] == "plan"
    assert problem["errors"][0]["expected"] == "text or null"


def cell_body(cell: bytes) -> bytes:
    """Return a body of a row with this text as the last cell."""
    return rows_body(
        b'{"lastmonth_activity": 0, "lastyear_activity": 1, "number_of_employees": ' + cell + b"}"
    )


DEEP = b"[" * 100_000 + b"]" * 100_000
BODIES: list[tuple[bytes, str | None, int]] = [
    # Right, or right enough.
    (rows_body(GOOD), JSON, 200),
    (rows_body(GOOD), "application/json; charset=utf-8", 200),
    (rows_body(GOOD), "APPLICATION/JSON", 200),
    (rows_body(GOOD), "application/vnd.client+json", 200),
    (rows_body(GOOD, GOOD), JSON, 200),
    (b'{"schema": {"fields": []}, "data": [' + GOOD + b"]}", JSON, 200),
    (rows_body(GOOD[:-1] + b', "index": 0, "corporation": "abc"}'), JSON, 200),
    (rows_body(GOOD[:-1] + b', "": [{}], "\\u0000": {"a": 1}}'), JSON, 200),
    (b" \n\t" + rows_body(GOOD) + b"\r\n", JSON, 200),
    (cell_body(b"null"), JSON, 200),
    (cell_body(b"0"), JSON, 200),
    (cell_body(b"-0.0"), JSON, 200),
    (cell_body(b"1e3"), JSON, 200),
    (cell_body(b"1e-400"), JSON, 200),
    (cell_body(b"9007199254740992"), JSON, 200),
    # Not JSON.
    (b"", JSON, 400),
    (b" ", JSON, 400),
    (b"data", JSON, 400),
    (b"{", JSON, 400),
    (rows_body(GOOD)[:-1], JSON, 400),
    (rows_body(GOOD) + b"x", JSON, 400),
    (rows_body(GOOD) * 2, JSON, 400),
    (b"\xef\xbb\xbf" + rows_body(GOOD), JSON, 400),
    (rows_body(GOOD).decode().encode("utf-16"), JSON, 400),
    (b'{"data": [{"a": "\xff"}]}', JSON, 400),
    (b"\x00", JSON, 400),
    (b"\x1f\x8b\x08\x00", JSON, 400),
    (b"{'data': []}", JSON, 400),
    (rows_body(GOOD + b","), JSON, 400),
    (cell_body(b"NaN"), JSON, 400),
    (cell_body(b"Infinity"), JSON, 400),
    (cell_body(b"-inf"), JSON, 400),
    (cell_body(b"01"), JSON, 400),
    (cell_body(b"1,5"), JSON, 400),
    (cell_body(b".5"), JSON, 400),
    (cell_body(b"0x10"), JSON, 400),
    (cell_body(b'"\\ud800"'), JSON, 400),
    (cell_body(b'"\x01"'), JSON, 400),
    (b'{"x": ' + DEEP + b', "data": []}', JSON, 400),
    (cell_body(DEEP), JSON, 400),
    # JSON, but no rows.
    (b"null", JSON, 422),
    (b"1", JSON, 422),
    (b"[]", JSON, 422),
    (b'"data"', JSON, 422),
    (b"{}", JSON, 422),
    (b'{"Data": [' + GOOD + b"]}", JSON, 422),
    (b'{"data": null}', JSON, 422),
    (b'{"data": {}}', JSON, 422),
    (b'{"data": "x"}', JSON, 422),
    (b'{"data": []}', JSON, 422),
    (DEEP, JSON, 422),
    (rows_body(b"null"), JSON, 422),
    (rows_body(b"1"), JSON, 422),
    (rows_body(b"[0, 1, 2]"), JSON, 422),
    (rows_body(*[GOOD] * 21), JSON, 422),
    # Rows, but a cell that cannot be right.
    (rows_body(b"{}"), JSON, 422),
    (rows_body(b'{"lastmonth_activity": 0}'), JSON, 422),
    (rows_body(GOOD, b"{}"), JSON, 422),
    (cell_body(b"true"), JSON, 422),
    (cell_body(b'"3"'), JSON, 422),
    (cell_body(b'""'), JSON, 422),
    (cell_body(b"[]"), JSON, 422),
    (cell_body(b"{}"), JSON, 422),
    (cell_body(b"-1"), JSON, 422),
    (cell_body(b"-1e-9"), JSON, 422),
    (cell_body(b"9007199254740994"), JSON, 422),
    (cell_body(b"1e300"), JSON, 422),
    (cell_body(b"1e999"), JSON, 422),
    (cell_body(b"9" * 40), JSON, 422),
    (cell_body(b"9" * 400), JSON, 422),
    (cell_body(b"9" * 5000), JSON, 422),
    # Another type, or too much.
    (rows_body(GOOD), None, 415),
    (rows_body(GOOD), "", 415),
    (rows_body(GOOD), "text/plain", 415),
    (rows_body(GOOD), "application/x-www-form-urlencoded", 415),
    (b"data=1", "multipart/form-data; boundary=x", 415),
    (rows_body(GOOD) + b" " * 300_000, JSON, 413),
    (b"x" * 300_000, JSON, 413),
]


@pytest.fixture(scope="module")
def small_client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A client of a service that takes 20 rows and 220,000 bytes."""
    folder = tmp_path_factory.mktemp("service")
    places = ("input", "output", "test", "models", "prod")
    keys = ("input_folder", "output_folder", "test_data", "output_model", "prod_deployment")
    settings: dict[str, Any] = {f"{k}_path": place for k, place in zip(keys, places, strict=True)}
    settings["api"] = {"max_rows": 20, "max_body_bytes": 220_000}
    (folder / "config.json").write_text(json.dumps(settings))
    write_release(folder / "prod", FIRST, make_model())
    switch(folder / "prod", FIRST)
    return create_app(folder / "config.json").test_client()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    BODIES,
    ids=[f"{n}-{body[:30]!r}-{status}" for n, (body, _, status) in enumerate(BODIES)],
)
def test_any_body_gets_an_answer_that_tells(
    small_client: FlaskClient, body: bytes, content_type: str | None, status: int
) -> None:
    response = small_client.post("/predict", data=body, content_type=content_type)

    if status == 200:
        assert len(answer_of(response)["predictions"]) in (1, 2)
    else:
        assert problem_of(response, status)["detail"]


def test_a_compressed_body_is_refused(client: FlaskClient) -> None:
    headers = {"Content-Encoding": "gzip"}

    response = client.post("/predict", json={"data": [make_row()]}, headers=headers)

    assert "no content encoding" in problem_of(response, 415)["detail"]


def test_all_faults_of_a_row_are_named(client: FlaskClient) -> None:
    bad = {"lastmonth_activity": "x" * 100, "number_of_employees": -1, "lastyear_activity": True}

    problem = problem_of(predict(client, make_row(), bad, {"a": 1}), 422)

    faults = [(f["row"], f["column"], f["found"], f["expected"]) for f in problem["errors"]]
    wanted = "a number or null"
    assert faults == [
        (1, "lastmonth_activity", '"' + "x" * 36 + "...", wanted),
        (1, "lastyear_activity", "true", wanted),
        (1, "number_of_employees", "-1", "a number of at least 0"),
        (2, "lastmonth_activity", "no such column", wanted),
        (2, "lastyear_activity", "no such column", wanted),
        (2, "number_of_employees", "no such column", wanted),
    ]


def test_only_the_first_faulty_rows_are_listed(client: FlaskClient) -> None:
    problem = problem_of(predict(client, *[make_row(-1)] * 50), 422)

    assert [fault["row"] for fault in problem["errors"]] == list(range(MAX_FAULTY_ROWS))


def test_a_pandas_table_as_json_gets_the_answers_of_a_real_model(
    deployed: Config, config_path: Path
) -> None:
    client = create_app(config_path).test_client()
    table, _ = dataset.read_test_table(deployed.test_data_path, deployed.schema)
    production = release.load_current(deployed.prod_deployment_path)
    assert production is not None
    predicted, probability = metrics.predict_table(production.model, table)

    body = table.to_json(orient="table")
    answer = answer_of(client.post("/predict", data=body, content_type=JSON))

    assert answer["predictions"] == predicted.tolist()
    assert answer["probabilities"] == probability.tolist()
