"""Charts and the report: only what is listed, and nothing else of the folder.

Questions over HTTP, and an answer for every method on every path.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient

from scripts.app import create_app
from scripts.core import artifacts
from scripts.reports import chart_files
from scripts.reports.chart_files import Chart
from tests.support.service import (
    ALL_ROUTES,
    DIAGNOSIS,
    FIRST,
    METHODS,
    PATHS,
    answer_of,
    make_model,
    make_row,
    open_path,
    predict,
    problem_of,
    switch,
    tree_hash,
    write_release,
)

PICTURE = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    """A chart that is listed."""
    made = Chart(
        name="roc", file=chart_files.name_file("roc", PICTURE), title="ROC <curve>",
        alt='The area is "0.84".', width=640, height=480, page="models",
    )  # fmt: skip
    chart_files.write(tmp_path / "models", [(made, PICTURE)], datetime.now(UTC), "r")
    return made


def test_a_listed_chart_is_shown_with_its_words(client: FlaskClient, chart: Chart) -> None:
    page = client.get("/dashboard/models", headers={"Accept": "text/html"}).text

    assert f'src="/charts/{chart.file}" alt="The area is &#34;0.84&#34;."' in page
    assert "ROC &lt;curve&gt;" in page
    assert 'width="640" height="480"' in page


def test_a_chart_may_be_kept_for_ever_and_run_nothing(client: FlaskClient, chart: Chart) -> None:
    response = client.get(f"/charts/{chart.file}")

    assert (response.status_code, response.data) == (200, PICTURE)
    assert response.content_type == "image/svg+xml"
    assert "immutable" in response.headers["Cache-Control"]
    policy = response.headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


@pytest.mark.parametrize(
    "name", ["index.json", "x.svg", "roc-00000000.svg", "../config.json", "..%2fconfig.json", "%00",
             "roc", "/etc/passwd", "a" * 5000]
)  # fmt: skip
def test_what_is_not_listed_is_not_handed_out(client: FlaskClient, chart: Chart, name: str) -> None:
    problem_of(client.get(f"/charts/{name}"), 404)


def test_a_listed_chart_that_is_gone_is_404(
    client: FlaskClient, chart: Chart, tmp_path: Path
) -> None:
    (tmp_path / "models" / "charts" / chart.file).unlink()

    problem_of(client.get(f"/charts/{chart.file}"), 404)


def test_an_index_that_leads_elsewhere_is_not_followed(client: FlaskClient, tmp_path: Path) -> None:
    made = Chart(name="x", file="../secret.svg", title="", alt="", width=1, height=1, page="data")
    folder = tmp_path / "models" / "charts"
    chart_files.write(tmp_path / "models", [], datetime.now(UTC), None)
    (tmp_path / "models" / "secret.svg").write_bytes(b"secret")
    index = (
        (folder / "index.json")
        .read_text()
        .replace('"charts": []', f'"charts": [{msgspec.json.encode(made).decode()}]')
    )
    (folder / "index.json").write_text(index)

    problem_of(client.get("/charts/../secret.svg"), 404)


def test_the_newest_report_is_handed_out(client: FlaskClient, tmp_path: Path) -> None:
    for name in ("report_20250101T000000000000Z.pdf", "report_20250102T000000000000Z.pdf",
                 "report_20259999T000000000000Z.pdf", "report_zzz.pdf"):  # fmt: skip
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "models" / name).write_bytes(name.encode())

    response = client.get("/report.pdf")

    assert response.data == b"report_20250102T000000000000Z.pdf"
    assert response.content_type == "application/pdf"


def test_before_the_first_report_the_answer_says_how_to_make_one(client: FlaskClient) -> None:
    problem = problem_of(client.get("/report.pdf"), 404)

    assert "python -m scripts.reporting --pdf" in problem["detail"]


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
        "degraded": False,
        "release": FIRST,
        "input_folder": "input",
        "errors": [],
        "last_successful_run_at": None,
        "last_successful_run_age_s": None,
    }


def test_every_route_says_what_it_is_for() -> None:
    assert all(route.summary.endswith(".") for route in ALL_ROUTES)


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


# Without measurements, records, a body and such a file.
UNANSWERED = {"/predict": 415, "/invocations": 415, "/static/x": 404} | dict.fromkeys(
    [
        "/diagnose", "/releases", "/runs", "/worklist", "/worklist.csv", "/worklist.xlsx",
        "/worklist-crm.csv", "/clients/{client}",
        "/outcomes", "/calling", "GET /candidate", "HEAD /candidate", "GET /work", "HEAD /work",
    ],
    503,
) | {
    "GET /dashboard": 303, "HEAD /dashboard": 303,
    "POST /login": 401, "POST /logout": 303, "POST /dashboard/upload": 422,
    "POST /candidate/approve": 422, "POST /candidate/reject": 422, "POST /dashboard/candidate": 422,
    "POST /work": 422, "POST /work.csv": 422, "POST /dashboard/results": 422,
    "POST /dashboard/rank": 422, "/dashboard/client": 503, "/dashboard/run": 404,
    "/runs/compare": 422, "/runs/{run}": 404, "/docs/guide/{page}": 404,
    "/docs/pictures/{file}": 404, "/charts/{file}": 404, "/report.pdf": 404,
    "/model-card": 503, "/v2/models/{model}": 404, "/v2/models/{model}/ready": 404,
    "/v2/models/{model}/infer": 404,
}  # fmt: skip


def check_answer(client: FlaskClient, method: str, path: str) -> None:
    """Check status, headers and body of the answer to a method on a path."""
    response = open_path(client, path, method)

    known = {path: {r.method for r in ALL_ROUTES if r.path == path} for path in PATHS}
    known = {p: methods for p, methods in known.items() if methods} | {"/static/x": {"GET"}}
    served = known.get(path, set()) | ({"HEAD"} if "GET" in known.get(path, ()) else set())
    if method == "FOO":
        expected = 405
    elif "//" in path:
        expected = 400
    elif path not in known:
        expected = 404
    elif method == "OPTIONS":
        expected = 200
    elif method in served:
        expected = UNANSWERED.get(path, UNANSWERED.get(f"{method} {path}", 200))
    else:
        expected = 405
    assert response.status_code == expected, method
    if response.status_code == 405:
        assert known.get(path, set()) <= set(response.headers["Allow"].split(", "))
    if method == "HEAD":
        assert response.data == b""
    elif response.status_code >= 400 and response.status_code not in (401, 422):
        problem_of(response, response.status_code)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert ("Location" in response.headers) == (response.status_code == 303)
    goal = "/" if path == "/dashboard" else "/login"
    assert response.headers.get("Location", goal) == goal


@pytest.mark.parametrize("path", PATHS)
def test_every_method_on_every_path_has_an_answer(client: FlaskClient, path: str) -> None:
    for method in METHODS:
        check_answer(client, method, path)


def test_get_changes_nothing(client: FlaskClient, tmp_path: Path) -> None:
    before = tree_hash(tmp_path)

    for _ in range(200):
        for path in PATHS:
            open_path(client, path, "GET")

    assert tree_hash(tmp_path) == before
