"""Predictions and questions over HTTP, by hand-made releases whose answers are known."""

import hashlib
import json
import logging
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts import app as app_module
from scripts import artifacts, dataset, evaluation, live, model, release
from scripts.app import create_app
from scripts.config import Config, Schema
from scripts.errors import ConfigError, ServiceUnavailableError
from scripts.model import CategoricalTerm, ColumnSummary, DatasetFacts, Model, NumericTerm
from scripts.payload import MAX_FAULTY_ROWS

ROOT = Path(__file__).parent.parent
TOKEN = "tökén-4711"
FIRST, SECOND = "0001_20250101T000000000000Z", "0002_20250102T000000000000Z"
FEATURES = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
DIAGNOSIS: dict[str, Any] = {
    "missing_values": [0.0, 0.25],
    "columns": ["lastmonth_activity", "exited"],
    "execution_time": [0.5, 0.125],
    "outdated_dependencies": "none",
    "measured_at": "2025-01-01T00:00:00+00:00",
    "release": FIRST,
}


def make_model(intercept: float = math.log(3), categorical: bool = False) -> Model:
    """Make a model whose odds are 3 for a silent month and fall to a third with each activity."""
    statistics = ColumnSummary(column="exited", mean=0.5, median=0.5, standard_deviation=None)
    plan = CategoricalTerm(
        column="plan", categories=("", "gold"), coefficients=(-math.log(3), math.log(3))
    )
    return Model(
        format=1,
        schema=Schema(categorical=("plan",) if categorical else ()),
        numeric=(
            NumericTerm(column=FEATURES[0], median=1.0, coefficient=-math.log(3)),
            NumericTerm(column=FEATURES[1], median=0.0, coefficient=0.0),
            NumericTerm(column=FEATURES[2], median=0.0, coefficient=0.0),
        ),
        categorical=(plan,) if categorical else (),
        intercept=intercept,
        threshold=0.5,
        dataset=DatasetFacts(
            sha256="0" * 64,
            n_rows=10,
            n_positives=5,
            missing_fractions={},
            summary=(
                ColumnSummary(column=FEATURES[0], mean=2.0, median=1.0, standard_deviation=0.25),
                statistics,
            ),
        ),
        n_training_rows=9,
        settings={},
        validation={},
        versions={},
    )


def write_release(
    prod: Path, name: str, made: Model, f1: float = 0.75, pickled: bytes = b"no pickle"
) -> Path:
    """Write a release by hand."""
    contents = {
        release.PICKLE: pickled,
        release.SCORE: f"{f1}\n".encode(),
        release.INGESTED: b"a.csv\n",
        release.MODEL: model.encode_model(made),
    }
    manifest = release.Manifest(
        model_stamp=name[5:],
        f1=f1,
        dataset_sha256="0" * 64,
        files={key: release.describe_file(content) for key, content in contents.items()},
        versions={},
    )
    folder = prod / artifacts.RELEASES / name
    folder.mkdir(parents=True)
    for key, content in contents.items():
        (folder / key).write_bytes(content)
    (folder / release.MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder


def switch(prod: Path, name: str) -> None:
    """Let a release serve."""
    artifacts.replace_link(prod / artifacts.CURRENT, f"{artifacts.RELEASES}/{name}")


def edit_config(config_path: Path, **settings: Any) -> None:
    """Change settings of a config.json, as an editor does."""
    changed = json.loads(config_path.read_text()) | settings
    artifacts.write_whole(config_path, json.dumps(changed))


def make_row(month: float | None = 0) -> dict[str, Any]:
    """Make one client."""
    return {"lastmonth_activity": month, "lastyear_activity": 7, "number_of_employees": 3}


def predict(client: FlaskClient, *rows: dict[str, Any]) -> TestResponse:
    """Ask for predictions."""
    return client.post("/predict", json={"data": rows})


def answer_of(response: TestResponse) -> dict[str, Any]:
    """Read a good answer."""
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    return dict(response.get_json())


def open_path(client: FlaskClient, path: str, method: str, **options: Any) -> TestResponse:
    """Ask for a path as a server hands it over; the client would take //x for the host x."""
    overrides = {"PATH_INFO": unquote(path)}
    return client.open("/", method=method, environ_overrides=overrides, **options)


def problem_of(response: TestResponse, status: int) -> dict[str, Any]:
    """Read an error, which is always a problem document."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    problem = dict(json.loads(response.data))
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    return problem


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tokens and proxies of whoever runs the tests out of them."""
    monkeypatch.delenv("ADRAS_API_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def prod(config_path: Path) -> Path:
    """A deployment folder whose first release serves."""
    folder = config_path.parent / "prod"
    write_release(folder, FIRST, make_model())
    switch(folder, FIRST)
    return folder


@pytest.fixture
def client(prod: Path, config_path: Path) -> FlaskClient:
    """A client of the service."""
    return create_app(config_path).test_client()


# Predictions


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
    config_path: Path, plan: str | None, probability: float
) -> None:
    write_release(config_path.parent / "prod", FIRST, make_model(categorical=True))
    switch(config_path.parent / "prod", FIRST)
    client = create_app(config_path).test_client()

    answer = answer_of(predict(client, make_row(0) | {"plan": plan}))

    assert answer["probabilities"] == pytest.approx([probability])


@pytest.mark.parametrize("plan", [1, True, 1.5, ["gold"], {"gold": 1}])
def test_a_category_is_text(config_path: Path, plan: object) -> None:
    write_release(config_path.parent / "prod", FIRST, make_model(categorical=True))
    switch(config_path.parent / "prod", FIRST)
    client = create_app(config_path).test_client()

    problem = problem_of(predict(client, make_row(0) | {"plan": plan}), 422)

    assert problem["errors"][0]["column"] == "plan"
    assert problem["errors"][0]["expected"] == "text or null"


GOOD = json.dumps(make_row()).encode()
JSON = "application/json"


def rows_body(*rows: bytes) -> bytes:
    """Spell a body of rows as they are."""
    return b'{"data": [' + b",".join(rows) + b"]}"


def cell_body(cell: bytes) -> bytes:
    """Spell a body of one row with this text as the cell of the last column."""
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
    predicted, probability = evaluation.predict_table(production.model, table)

    body = table.to_json(orient="table")
    answer = answer_of(client.post("/predict", data=body, content_type=JSON))

    assert answer["predictions"] == predicted.tolist()
    assert answer["probabilities"] == probability.tolist()


# The other questions


def test_score_is_the_f1_of_production(client: FlaskClient) -> None:
    assert answer_of(client.get("/score")) == {
        "score": 0.75,
        "release": FIRST,
        "model_stamp": FIRST[5:],
    }


def test_summarise_gives_means_then_medians_then_standard_deviations(client: FlaskClient) -> None:
    assert answer_of(client.get("/summarise")) == {
        "summary": [[2.0, 0.5], [1.0, 0.5], [0.25, None]],
        "columns": ["lastmonth_activity", "exited"],
        "release": FIRST,
    }


def test_diagnose_hands_out_what_was_measured(client: FlaskClient, prod: Path) -> None:
    (prod / artifacts.DIAGNOSTICS).write_text(json.dumps(DIAGNOSIS))

    assert answer_of(client.get("/diagnose")) == DIAGNOSIS


def test_diagnose_says_that_nothing_was_measured_yet(client: FlaskClient) -> None:
    problem = problem_of(client.get("/diagnose"), 503)

    assert "run python -m scripts.diagnostics" in problem["detail"]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[", b"[" * 100_000, b"[]"])
def test_damaged_measurements_are_not_handed_out(
    client: FlaskClient, prod: Path, content: bytes
) -> None:
    (prod / artifacts.DIAGNOSTICS).write_bytes(content)

    problem = problem_of(client.get("/diagnose"), 503)

    assert "cannot be read" in problem["detail"]


def test_health_says_what_serves(client: FlaskClient) -> None:
    assert answer_of(client.get("/health")) == {
        "live": True,
        "ready": True,
        "release": FIRST,
        "input_folder": "input",
        "errors": [],
    }


def test_the_first_page_lists_every_route(client: FlaskClient) -> None:
    routes = answer_of(client.get("/"))["routes"]

    assert list(routes) == [f"{method} {path}" for method, path, _ in app_module.ROUTES]
    assert all(routes.values())


@pytest.mark.parametrize("path", ["/score", "/summarise", "/diagnose", "/health", "/predict"])
def test_without_a_release_the_service_says_what_to_run(config_path: Path, path: str) -> None:
    client = create_app(config_path).test_client()

    response = predict(client, make_row()) if path == "/predict" else client.get(path)

    assert "run python -m scripts.fullprocess" in problem_of(response, 503)["detail"]


def test_health_is_alive_but_not_ready_before_the_first_release(config_path: Path) -> None:
    client = create_app(config_path).test_client()

    problem = problem_of(client.get("/health"), 503)

    assert (problem["live"], problem["ready"], problem["release"]) == (True, False, None)


def test_the_first_release_is_noticed(config_path: Path) -> None:
    client = create_app(config_path).test_client()
    write_release(config_path.parent / "prod", FIRST, make_model())
    switch(config_path.parent / "prod", FIRST)

    assert answer_of(predict(client, make_row()))["release"] == FIRST


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO")
PATHS = (*[path for _, path, _ in app_module.ROUTES], "/nothing", "//predict", "/%2e/predict",
         "//example.com/", "///", "/predict//", "/predict/", "/static/x",
         "/..%2f..%2fetc/passwd")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_path_has_an_answer(
    client: FlaskClient, method: str, path: str
) -> None:
    response = open_path(client, path, method)

    # Doubled slashes at the beginning count as one; they never lead to another host.
    path = f"/{path.lstrip('/')}"
    known = {route: verb for verb, route, _ in app_module.ROUTES}
    served = (known.get(path), "HEAD" if known.get(path) == "GET" else "", "OPTIONS")
    if path not in known:
        assert response.status_code == 404
    elif method == "OPTIONS":
        assert response.status_code == 200
    elif method in served:
        assert response.status_code == {"/diagnose": 503, "/predict": 415}.get(path, 200)
    else:
        assert response.status_code == 405
    if known.get(path) and method != known[path]:
        assert known[path] in response.headers.get("Allow", known[path])
    if method == "HEAD":
        assert response.data == b""
    elif response.status_code >= 400:
        problem_of(response, response.status_code)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Location" not in response.headers


def tree_hash(folder: Path) -> str:
    """Hash names, contents, links and times of change of everything in a folder."""
    entries = [
        (
            str(path.relative_to(folder)),
            path.lstat().st_mtime_ns,
            os.readlink(path) if path.is_symlink() else "",
            artifacts.digest_file(path) if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    ]
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def test_get_changes_nothing(client: FlaskClient, tmp_path: Path) -> None:
    before = tree_hash(tmp_path)

    for _ in range(200):
        for path in PATHS:
            open_path(client, path, "GET")

    assert tree_hash(tmp_path) == before


# Renewal while serving


def test_a_new_release_is_served_at_once(client: FlaskClient, prod: Path) -> None:
    write_release(prod, SECOND, make_model(intercept=0.0), f1=0.875)

    switch(prod, SECOND)

    # With the intercept 0 a silent month has odds 1.
    answer = answer_of(predict(client, make_row(0)))
    assert (answer["probabilities"], answer["release"]) == ([0.5], SECOND)
    assert answer_of(client.get("/score"))["score"] == 0.875


def test_a_rollback_is_a_new_release_too(client: FlaskClient, prod: Path) -> None:
    write_release(prod, SECOND, make_model())
    switch(prod, SECOND)
    answer_of(client.get("/score"))

    switch(prod, FIRST)

    assert answer_of(client.get("/score"))["release"] == FIRST


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request look again at what was bad."""
    monkeypatch.setattr(live, "RETRY_S", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", [*release.FILES, release.MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "flipped", "removed"])
def test_a_damaged_release_keeps_the_old_answers(
    client: FlaskClient, prod: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_release(prod, SECOND, make_model(intercept=0.0))
    content = (folder / name).read_bytes()
    if damage == "removed":
        (folder / name).unlink()
    else:
        flipped = bytes([content[0] ^ 1]) + content[1:]
        (folder / name).write_bytes(content[:-1] if damage == "cut" else flipped)
    switch(prod, SECOND)

    with caplog.at_level(logging.ERROR):
        answers = [answer_of(predict(client, make_row(0))) for _ in range(3)]
    health = answer_of(client.get("/health"))

    assert [answer["release"] for answer in answers] == [FIRST] * 3
    assert answers[0]["probabilities"] == pytest.approx([3 / 4])
    assert health["ready"]
    assert f"prod/releases/{SECOND}/{name}" in health["errors"][0]
    assert str(prod.parent) not in health["errors"][0]
    assert len(caplog.records) == 1


def test_a_model_that_cannot_predict_is_refused(client: FlaskClient, prod: Path) -> None:
    unfit = msgspec.structs.replace(make_model(), format=99)
    write_release(prod, SECOND, unfit)

    switch(prod, SECOND)

    assert answer_of(client.get("/score"))["release"] == FIRST
    assert "format 99" in answer_of(client.get("/health"))["errors"][0]


def test_the_last_good_release_serves_when_current_is_removed(
    client: FlaskClient, prod: Path
) -> None:
    (prod / artifacts.CURRENT).unlink()

    assert answer_of(client.get("/score"))["release"] == FIRST
    assert "no release" in answer_of(client.get("/health"))["errors"][0]


def test_the_last_good_release_serves_when_current_is_no_link(
    client: FlaskClient, prod: Path
) -> None:
    (prod / artifacts.CURRENT).unlink()
    (prod / artifacts.CURRENT).mkdir()

    assert answer_of(client.get("/score"))["release"] == FIRST
    assert "not a symbolic link" in answer_of(client.get("/health"))["errors"][0]


@pytest.mark.usefixtures("impatient")
def test_a_release_repaired_in_place_is_taken_up_later(client: FlaskClient, prod: Path) -> None:
    folder = write_release(prod, SECOND, make_model())
    content = (folder / release.MODEL).read_bytes()
    (folder / release.MODEL).unlink()
    switch(prod, SECOND)
    assert answer_of(client.get("/score"))["release"] == FIRST

    (folder / release.MODEL).write_bytes(content)

    assert answer_of(client.get("/score"))["release"] == SECOND
    assert answer_of(client.get("/health"))["errors"] == []


def test_an_edited_config_holds_at_once(client: FlaskClient, config_path: Path) -> None:
    edit_config(config_path, api={"max_rows": 1}, input_folder_path="sourcedata")

    problem = problem_of(predict(client, make_row(), make_row()), 422)

    assert "at most 1 rows" in problem["detail"]
    assert answer_of(client.get("/health"))["input_folder"] == "sourcedata"


def test_an_edited_config_can_name_another_deployment_folder(
    client: FlaskClient, config_path: Path
) -> None:
    other = config_path.parent / "elsewhere" / "prod"
    write_release(other, SECOND, make_model())
    switch(other, SECOND)

    edit_config(config_path, prod_deployment_path="elsewhere/prod")

    assert answer_of(client.get("/score"))["release"] == SECOND


BROKEN_CONFIGS = [
    b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000,
    b'{"input_folder_path": 1}', b'{"inputfolder": "x"}', b"\x00",
]  # fmt: skip


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("content", BROKEN_CONFIGS, ids=[f"{c[:20]!r}" for c in BROKEN_CONFIGS])
def test_a_broken_config_keeps_serving(
    client: FlaskClient, config_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    good = config_path.read_bytes()
    config_path.write_bytes(content)

    with caplog.at_level(logging.ERROR):
        releases = [answer_of(predict(client, make_row()))["release"] for _ in range(3)]
    faults = answer_of(client.get("/health"))["errors"]
    config_path.write_bytes(good)

    assert releases == [FIRST] * 3
    assert len(faults) == len(caplog.records) == 1
    assert answer_of(client.get("/health"))["errors"] == []


@pytest.mark.parametrize("folder", ["nowhere", "config.json", "\x00", "input/a.csv/deeper"])
def test_a_config_that_points_to_no_release_keeps_serving(
    client: FlaskClient, config_path: Path, folder: str
) -> None:
    edit_config(config_path, prod_deployment_path=folder)

    assert answer_of(predict(client, make_row()))["release"] == FIRST
    assert len(answer_of(client.get("/health"))["errors"]) == 1


def test_a_removed_config_keeps_serving(client: FlaskClient, config_path: Path) -> None:
    config_path.unlink()

    assert answer_of(predict(client, make_row()))["release"] == FIRST
    assert "config.json cannot be read" in answer_of(client.get("/health"))["errors"][0]


def test_answers_during_switches_are_those_of_the_release_they_name(
    client: FlaskClient, prod: Path, config_path: Path
) -> None:
    write_release(prod, SECOND, make_model(intercept=0.0), f1=0.875)
    expected = {FIRST: 3 / 4, SECOND: 1 / 2}
    answers: list[tuple[int, dict[str, Any]]] = []
    app = client.application

    def ask_often() -> None:
        mine = app.test_client()
        for _ in range(500):
            response = predict(mine, make_row(0), make_row(0))
            answers.append((response.status_code, response.get_json()))

    threads = [threading.Thread(target=ask_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(10):
        time.sleep(0.02)
        switch(prod, (SECOND, FIRST)[number % 2])
        edit_config(config_path, api={"max_rows": 100 + number})
    for thread in threads:
        thread.join()

    assert len(answers) == 2000
    assert {status for status, _ in answers} == {200}
    assert {answer["release"] for _, answer in answers} == {FIRST, SECOND}
    for _, answer in answers:
        assert answer["probabilities"] == pytest.approx([expected[answer["release"]]] * 2)


def test_threads_serve_on_while_one_loads(
    client: FlaskClient, prod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, may_end = threading.Event(), threading.Event()

    def load_slowly(folder: Path) -> release.Release | None:
        loading.set()
        may_end.wait(10)
        return release.load_current(folder)

    monkeypatch.setattr(live, "load_current", load_slowly)
    write_release(prod, SECOND, make_model())
    switch(prod, SECOND)
    slow = threading.Thread(target=lambda: client.application.test_client().get("/score"))
    slow.start()
    assert loading.wait(10)

    meanwhile = answer_of(client.get("/score"))
    may_end.set()
    slow.join()

    assert meanwhile["release"] == FIRST
    assert answer_of(client.get("/score"))["release"] == SECOND


# Access


@pytest.fixture
def guarded(prod: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A client of a service that wants a token."""
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    return create_app(config_path).test_client()


# What a client sends as bytes, WSGI hands over as latin-1.
SENT_TOKEN = TOKEN.encode().decode("latin-1")
WRONG_HEADERS = [
    None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {SENT_TOKEN}", SENT_TOKEN, "Bearer é",
    f"Bearer {SENT_TOKEN}x", f"Bearer {SENT_TOKEN[:-1]}", "Bearer \x00", f"Token {SENT_TOKEN}",
]  # fmt: skip


@pytest.mark.parametrize("header", WRONG_HEADERS)
def test_no_route_is_open_without_the_token(guarded: FlaskClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in PATHS:
        for method in METHODS:
            response = open_path(guarded, path, method, headers=headers)

            assert "Location" not in response.headers
            if path == "/health" and method in ("GET", "HEAD", "OPTIONS"):
                assert response.status_code == 200
            else:
                assert response.status_code == 401, (method, path)
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
                assert method == "HEAD" or problem_of(response, 401)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_the_token_opens_the_service(guarded: FlaskClient, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {SENT_TOKEN}"}

    assert answer_of(guarded.get("/score", headers=headers))["score"] == 0.75


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_other_machines_are_not_let_in_without_a_token(config_path: Path, host: str) -> None:
    edit_config(config_path, api={"host": host})

    with pytest.raises(ConfigError, match="Set ADRAS_API_TOKEN"):
        create_app(config_path)


def test_other_machines_are_let_in_with_a_token(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    edit_config(config_path, api={"host": "0.0.0.0"})

    assert create_app(config_path)


def test_a_broken_config_stops_the_start(config_path: Path) -> None:
    config_path.write_text("{")

    with pytest.raises(ConfigError, match="is not JSON"):
        create_app(config_path)


# What must never get out, in, or run


def test_no_data_of_a_client_and_no_token_gets_out(
    guarded: FlaskClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "CANARY-13-37"
    headers = {"Authorization": f"Bearer {SENT_TOKEN}", "X-Note": canary}
    row = make_row(1337.25) | {"corporation": canary, canary: canary}

    def fail(*_: object) -> None:
        raise ValueError(f"could not convert {canary} or 1337.25")

    def post(*rows: dict[str, Any], **options: Any) -> TestResponse:
        return guarded.post("/predict", json={"data": rows, canary: canary}, **options)

    responses = [
        post(row, headers=headers),
        post(row, make_row(-1), headers=headers),
        post(row, headers={"Authorization": f"Bearer {canary}"}),
        guarded.post(f"/{canary}?{canary}={canary}", headers=headers),
        guarded.post("/predict", data=f'{{"{canary}": 1337.25, '.encode() + b"\xff",
                     headers=headers, content_type=JSON),
        guarded.post("/predict", data=f'{{"data": [{{"{canary}": "'.encode() + b"\xff",
                     headers=headers, content_type=JSON),
        guarded.post("/predict", data=f'{{"data": [{{"{canary}": 1e999}}]}}', headers=headers,
                     content_type=JSON),
        guarded.post("/predict", data=canary, headers=headers, content_type=canary),
    ]  # fmt: skip
    monkeypatch.setattr(model, "contributions", fail)
    responses.append(post(row, headers=headers))

    assert [r.status_code for r in responses] == [200, 422, 401, 404, 400, 400, 422, 415, 500]
    told = [r.text + str(r.headers) for r in responses] + [caplog.text]
    assert not [text for text in told if canary in text or "1337.25" in text or "4711" in text]


def test_an_unexpected_error_is_logged_once_with_its_route_and_place(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "contributions", None)

    problem = problem_of(predict(client, make_row()), 500)

    assert problem["detail"] == "The service failed; its log says where."
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("TypeError on the route /predict, at ")
    assert "model.py:" in caplog.messages[0]


class Hostile:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Make the marker."""
        return (os.mkdir, (str(self.marker),))


def test_a_hostile_pickle_in_the_release_never_runs(config_path: Path, tmp_path: Path) -> None:
    marker, prod = tmp_path / "marker", tmp_path / "prod"
    write_release(prod, FIRST, make_model(), pickled=pickle.dumps(Hostile(marker)))
    switch(prod, FIRST)
    client = create_app(config_path).test_client()

    answer = answer_of(predict(client, make_row()))

    assert answer["release"] == FIRST
    assert not marker.exists()


def test_the_service_imports_nothing_heavy() -> None:
    code = (
        "import sys, scripts.app\n"
        "heavy = {'pandas', 'sklearn', 'scipy', 'matplotlib', 'seaborn', 'joblib', 'requests'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")


# The real server


def free_port() -> int:
    """Find a port that nobody uses."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(
    config_path: Path, token: str | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the real server as a program; give its address once it answers."""
    port = free_port()
    edit_config(config_path, api={"port": port, "max_rows": 20, "max_body_bytes": 2000})
    env = os.environ | ({"ADRAS_API_TOKEN": token} if token else {})
    command = [sys.executable, "-m", "scripts.app", "--config", str(config_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until_answering(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}", process
        finally:
            if process.poll() is None:
                process.kill()


def wait_until_answering(url: str, process: subprocess.Popen[str]) -> None:
    """Wait for the first answer of a server."""
    for _ in range(400):
        try:
            requests.get(f"{url}/health", timeout=5)
        except requests.ConnectionError:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


def test_the_real_server_answers_and_ends_at_sigterm(prod: Path, config_path: Path) -> None:
    with served(config_path) as (url, process):
        predicted = requests.post(f"{url}/predict", json={"data": [make_row(0)]}, timeout=5)
        too_large = requests.post(f"{url}/predict", data=b"x" * 5000, timeout=5,
                                  headers={"Content-Type": JSON})  # fmt: skip
        chunked = requests.post(f"{url}/predict", data=iter([rows_body(GOOD)]), timeout=5,
                                headers={"Content-Type": JSON})  # fmt: skip
        head = requests.head(f"{url}/score", timeout=5)
        doubled = requests.get(f"{url}//example.com//", timeout=5, allow_redirects=False)
        process.send_signal(signal.SIGTERM)
        _, log_text = process.communicate(timeout=20)

    assert predicted.json()["probabilities"] == pytest.approx([3 / 4])
    assert "Server" not in predicted.headers
    assert (too_large.status_code, chunked.status_code) == (413, 200)
    assert too_large.headers["Content-Type"] == "application/problem+json"
    assert (head.status_code, head.content, doubled.status_code) == (200, b"", 404)
    assert process.returncode == 0
    assert f"INFO app: Serving on {url}." in log_text
    assert "Traceback" not in log_text


def test_a_port_in_use_is_one_clear_line_and_exit_69(config_path: Path) -> None:
    with served(config_path) as (url, _):
        command = [sys.executable, "-m", "scripts.app", "--config", str(config_path)]
        second = subprocess.run(
            command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
        )

    assert second.returncode == ServiceUnavailableError.exit_code == 69
    complaint = second.stderr.splitlines()[-1]
    assert f"port {url.rsplit(':', 1)[1]}: Address already in use" in complaint
    assert "run python -m scripts.fullprocess" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_host_that_does_not_exist_is_said(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    edit_config(config_path, api={"host": "no-such-host.invalid"})
    app = create_app(config_path)

    with pytest.raises(ServiceUnavailableError, match="Cannot serve on no-such-host.invalid"):
        app_module.open_server(app, app.extensions["live"].now().config.api)
