"""Clients of MLflow's scoring server are answered unchanged, and as strictly as rows."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from scripts.api import prediction_log
from scripts.api.columnar import MAX_ORDERS, RequestRows
from scripts.api.fast_predict import FastPredictor
from scripts.api.request_bodies import read_rows
from scripts.api.request_rows import read_columns
from scripts.api.responses import RefusedError
from scripts.app import create_app
from scripts.core.config import ApiSettings, Schema
from tests.api.test_fast_predict import CELLS, ODD, PLANS
from tests.support.service import (
    FEATURES,
    FIRST,
    TOKEN,
    answer_of,
    edit_config,
    make_model,
    make_row,
    problem_of,
    served,
    switch,
    write_release,
)

# Asks as a program of MLflow's users does, in a process of its own: the library warns of itself.
MLFLOW = """
import json, sys
import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, port, names = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
client = ScoringServerClient(host, port)
client.wait_server_ready(timeout=30)
table = pd.DataFrame([[0, 7, 3], [2, 7, 3]], columns=names)
rows = table.to_dict(orient="records")
json.dump(
    {
        "version": client.get_version(),
        "frame": client.invoke(table).get_predictions()[0].tolist(),
        "turned": client.invoke(table[names[::-1]])["probabilities"],
        "array": client.invoke(table.to_numpy(float)).get_predictions("ndarray").tolist(),
        "rows": client.invoke(rows)["predictions"],
        "records": client.invoke(json.dumps({"dataframe_records": rows}))["predictions"],
        "params": client.invoke(table, params={"any": 1})["predictions"],
    },
    sys.stdout,
)
"""
NAMES = list(FEATURES)
# Of the hashes of clients.
KEY = bytes(32)
COLUMNS = {FEATURES[0]: [0, 2], FEATURES[1]: [7, 7], FEATURES[2]: [3, 3]}


def ask(client: FlaskClient, body: Any, path: str = "/invocations") -> TestResponse:
    """Send a body, spelled already or not."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, data=content, content_type="application/json")


def test_a_client_of_mlflow_works_unchanged(prod: Path, config_path: Path) -> None:
    with served(config_path) as (url, _):
        host, _, port = url.removeprefix("http://").partition(":")
        # Neither asks other machines.
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        done = subprocess.run(
            [sys.executable, "-c", MLFLOW, host, port, ",".join(FEATURES)],
            env=environment, capture_output=True, text=True, check=False, cwd=prod.parent,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "version": "1",
        "frame": [1.0, 0.0],
        "turned": pytest.approx([3 / 4, 1 / 4]),
        "array": [1.0, 0.0],
        "rows": [1.0, 0.0],
        "records": [1.0, 0.0],
        "params": [1.0, 0.0],
    }


@pytest.mark.parametrize("path", ["/invocations", "/predict"])
@pytest.mark.parametrize(
    "body",
    [
        {"data": [make_row(0), make_row(2)]},
        {"dataframe_records": [make_row(0), make_row(2)]},
        {"dataframe_split": {"columns": NAMES, "index": [0, 1], "data": [[0, 7, 3], [2, 7, 3]]}},
        {"dataframe_split": {"data": [[3, "x", 0, 7], [3, None, 2, 7]],
                             "columns": [FEATURES[2], "client", FEATURES[0], FEATURES[1]]}},
        {"instances": [make_row(0), make_row(2)]},
        {"instances": [[0, 7, 3], [2, 7, 3]]},
        {"inputs": [[0, 7, 3.0], [2, 7, 3]]},
        {"inputs": COLUMNS, "params": {"any": 1}},
        {"inputs": COLUMNS | {"corporation": ["a", "b"], "more": [[], {}]}},
    ],
)  # fmt: skip
def test_a_table_is_predicted_in_every_form(client: FlaskClient, path: str, body: Any) -> None:
    answer = answer_of(ask(client, body, path))

    assert answer["predictions"] == [1.0, 0.0]
    assert answer["probabilities"] == pytest.approx([3 / 4, 1 / 4])
    assert answer["risk_bands"] == ["high", "low"]
    assert answer["release"] == FIRST


@pytest.mark.parametrize("month", ["null", " null "])
def test_null_is_a_blank_in_a_table(client: FlaskClient, month: str) -> None:
    body = f'{{"inputs": [[{month}, 7, 3]]}}'.encode()

    # The median is 1.
    assert answer_of(ask(client, body))["probabilities"] == pytest.approx([1 / 2])


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 422, "has none of its members"),
        ({"data": [make_row()], "inputs": COLUMNS}, 422, "has data and inputs"),
        ({"dataframe_split": {"columns": NAMES[:2], "data": [[0, 7]]}}, 422,
         "lacks the columns number_of_employees"),
        ({"dataframe_split": {"columns": [*NAMES, "a", "a"], "data": [[0, 7, 3, 1, 1]]}}, 422,
         "more than once: a."),
        ({"dataframe_split": {"columns": NAMES, "data": []}}, 422, "0 rows; expected at least"),
        ({"dataframe_split": {"columns": NAMES}}, 422, "`data`"),
        ({"dataframe_split": {"columns": [1, 2, 3], "data": [[0, 7, 3]]}}, 422, "`str`"),
        ({"inputs": {FEATURES[0]: [0]}}, 422, "lacks the columns lastyear_activity"),
        ({"inputs": COLUMNS | {FEATURES[1]: [7]}}, 422, "lastyear_activity has 1 values"),
        ({"inputs": [0, 7, 3]}, 422, "either objects, or arrays in the order lastmonth_activity"),
        ({"instances": [make_row(), [0, 7, 3]]}, 422, "either objects, or arrays"),
        ({"inputs": []}, 422, "0 rows"),
        ({"inputs": dict.fromkeys(NAMES, ())}, 422, "0 rows"),
        (b'{"inputs": [[NaN, 7, 3]]}', 400, "neither NaN nor Infinity; a missing value is null"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[', 400, "not JSON"),
        ({"inputs": [[0, 7, 3]] * 4}, 422, "more than 3 rows; expected at most 3"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_these_columns_is_refused(
    client: FlaskClient, config_path: Path, body: Any, status: int, told: str
) -> None:
    edit_config(config_path, api={"max_rows": 3})

    assert told in problem_of(ask(client, body), status)["detail"]


@pytest.mark.parametrize(
    ("row", "found", "expected"),
    [
        (["0", 7, 3], '"0"', "a number or null"),
        ([True, 7, 3], "true", "a number or null"),
        ([-1, 7, 3], "-1", "a number of at least 0"),
        ([2**53 + 2, 7, 3], "9007199254740994", "a number from -2**53 to 2**53"),
        ([[], 7, 3], "an array", "a number or null"),
        ([7, 3], "2 values", "3 values"),
        ([0, 7, 3, 1], "4 values", "3 values"),
    ],
)
def test_a_wrong_value_in_a_table_is_named_with_its_row(
    client: FlaskClient, row: list[Any], found: str, expected: str
) -> None:
    problem = problem_of(ask(client, {"inputs": [[0, 7, 3], row]}), 422)

    (fault,) = problem["errors"]
    assert (fault["row"], fault["found"], fault["expected"]) == (1, found, expected)


def test_a_table_explains_itself_and_names_new_categories(config_path: Path) -> None:
    prod = config_path.parent / "prod"
    write_release(prod, FIRST, make_model(categorical=True))
    switch(prod, FIRST)
    client = create_app(config_path).test_client()
    body = {"dataframe_split": {"columns": [*NAMES, "plan"], "data": [[0, 7, 3, "iron"]]}}

    answer = answer_of(ask(client, body, "/invocations?explain=true"))

    assert [unknown["found"] for unknown in answer["unknown_categories"]] == ["iron"]
    assert list(answer["contributions"][0]) == [*NAMES, "plan"]


def test_ping_and_version_answer_before_and_after_the_first_release(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    client = create_app(config_path).test_client()
    problem_of(client.get("/ping"), 503)

    write_release(config_path.parent / "prod", FIRST, make_model())
    switch(config_path.parent / "prod", FIRST)

    assert client.get("/ping").status_code == 200
    problem_of(client.get("/version"), 401)


def test_rows_of_a_table_are_logged_and_counted_as_those_of_predict(
    prod: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_config(config_path, api={"log_predictions": 1.0})
    app, kept = create_app(config_path), list[prediction_log.LoggedRows]()
    log = app.extensions["middleware"].prediction_log
    monkeypatch.setattr(log, "add", lambda predicted, _: kept.append(predicted))
    client, names = app.test_client(), [*NAMES, "corporation"]
    forms = [
        {"data": [make_row(0) | {"corporation": "a"}, make_row(2) | {"corporation": "b"}]},
        {"dataframe_split": {"columns": names, "data": [[0, 7, 3, "a"], [2, 7, 3, "b"]]}},
        {"inputs": COLUMNS | {"corporation": ["a", "b"]}},
    ]

    for form in forms:
        answer_of(ask(client, form))
    answer_of(ask(client, {"inputs": [[0, 7, 3]]}))

    rows = [[row | {"at": None} for row in prediction_log.format_rows(one, KEY)] for one in kept]
    assert rows[0] == rows[1] == rows[2]
    assert rows[0][0]["client"] is not None
    assert rows[3][0]["client"] is None
    assert "adras_predicted_rows_total 7.0" in client.get("/metrics").text


NAMES_OF_ODD = [*ODD.schema.features, "client", "more"]
TABLES = st.integers(1, 4).flatmap(
    lambda n: st.fixed_dictionaries(
        {name: st.lists(PLANS if name == "plan" else CELLS, min_size=n, max_size=n)
         for name in ODD.schema.features},
        optional={name: st.lists(CELLS, min_size=n, max_size=n) for name in ("client", "more")},
    )
)  # fmt: skip


def strict(body: bytes, schema: Schema) -> dict[str, Any] | None:
    """Read a body the strict way, None for a refusal."""
    try:
        rows = read_rows(body, "application/json", "", ApiSettings(), schema)
        return dict(read_columns(rows, schema))
    except RefusedError:
        return None


@settings(max_examples=300, deadline=None)
@given(table=TABLES, turned=st.booleans())
def test_the_quick_way_through_a_table_reads_what_the_strict_way_reads(
    table: dict[str, list[Any]], turned: bool
) -> None:
    names = list(table)[::-1] if turned else list(table)
    data = [list(cells) for cells in zip(*(table[name] for name in names), strict=True)]
    fast_predictor = FastPredictor(ODD, with_ids=True)
    for body in (
        msgspec.json.encode({"dataframe_split": {"columns": names, "data": data}}),
        msgspec.json.encode({"inputs": table}),
    ):
        quick, wanted = fast_predictor.read(body), strict(body, ODD.schema)

        assert quick is None or isinstance(quick, RequestRows)
        if quick is not None:
            assert wanted is not None
            for name, column in quick.columns.items():
                assert np.array_equal(column, wanted[name], equal_nan=column.dtype != object)
            assert quick.identifiers is not None
            assert [ids[0] for ids in quick.identifiers] == table.get(
                "client", [msgspec.UNSET] * len(data)
            )
            assert len(quick.identifiers[0]) == len(ODD.schema.ids)


def test_a_table_that_is_right_is_read_the_quick_way_in_any_number_of_orders() -> None:
    fast_predictor = FastPredictor(make_model())
    for number in range(3 * MAX_ORDERS):
        names = [f"more{number}", *NAMES]
        table = {"columns": names, "data": [[None, 0, 7, 3]]}

        quick = fast_predictor.read(msgspec.json.encode({"dataframe_split": table}))

        assert isinstance(quick, RequestRows)
        assert quick.columns[FEATURES[1]].tolist() == [7.0]


def test_a_table_of_very_many_columns_is_read_as_well(client: FlaskClient) -> None:
    names = [*NAMES, *(f"more{number}" for number in range(2000))]
    table = {"columns": names, "data": [[0, 7, 3, *[None] * 2000]]}

    assert answer_of(ask(client, {"dataframe_split": table}))["predictions"] == [1.0]
