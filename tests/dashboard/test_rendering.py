"""The pages: what they show is what the records and the API say, and nothing becomes a script.

How numbers, moments and words are spelled on the pages.
"""

import html
import re
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from flask.testing import FlaskClient

from scripts.api.run_comparer import RunComparer
from scripts.app import PAGES, create_app
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.dashboard import rendering
from scripts.pipeline import run_comparison
from scripts.production import promotion_gate
from scripts.records import database, runs
from scripts.records.tables import DeploymentKind, Status, Verdict
from scripts.reports import chart_files
from scripts.reports.chart_files import Chart
from tests.conftest import write_installation
from tests.support.clientele import FIRST, SECOND, score_twice
from tests.support.recorded import rename_clients
from tests.support.service import (
    answer_of,
    edit_config,
    make_model,
    problem_of,
    switch,
    write_release,
)

BROWSER = {"Accept": "text/html"}
THIRD = "000003_20250103T000000000000Z"
SHOWN = (
    "/", "/dashboard/worklist", "/dashboard/client?name=x", "/dashboard/runs",
    "/dashboard/results", "/dashboard/run?id=1", "/dashboard/models", "/dashboard/data",
    "/dashboard/outcomes", "/dashboard/calling", "/dashboard/backtest", "/dashboard/candidate",
    "/dashboard/upload", "/dashboard/compare?a=1&b=2",
    "/login",
)  # fmt: skip


class Reader(HTMLParser):
    """Reads the cells of all rows of a page, and what could run or load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._is_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._is_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.rows[-1][-1] += data.strip()


def read(client: FlaskClient, path: str) -> Reader:
    """Read a page."""
    response = client.get(path, headers=BROWSER)
    assert response.status_code == 200, response.text
    assert response.content_type == "text/html; charset=utf-8"
    return Reader(response.text)


def record(config: Config) -> None:
    """Record what runs record: a model, its decision, its deployment, columns and a failure."""
    now = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        runs.end_run(
            connection, 1, status=Status.FINISHED, verdict=Verdict.DEPLOYED, ended_at=now,
            reason="the candidate is better", durations_s={"training": 0.25, "scoring": 90.0},
            candidate_f1=0.8125, production_f1=0.75, release=SECOND, trigger="cron",
        )  # fmt: skip
        runs.record_model(connection, 1, stamp=SECOND[5:], n_rows=1234, n_positives=56)
        runs.record_scores(
            connection, 1, f1=0.8125, f1_low=0.7011, f1_high=0.9022, precision=0.6033,
            recall=0.7044, roc_auc=0.8055, n_test_rows=400,
        )  # fmt: skip
        runs.record_decision(
            connection, 1, now, answer="deploy", reason="the candidate is better",
            candidate_stamp=SECOND[5:], candidate_f1=0.8125, production_f1=0.75,
            difference=0.0625, difference_low=0.0111, difference_high=0.1222,
            probability_better=0.987, n_test_rows=400, n_test_positives=125,
        )  # fmt: skip
        runs.record_deployment(
            connection, now, DeploymentKind.DEPLOY, SECOND, previous_release=FIRST,
            model_stamp=SECOND[5:], f1=0.8125, actor="ada", reason="because", run_id=1,
        )  # fmt: skip
        column = {
            "dataset_stamp": "s", "kind": "numeric", "n_rows": 1234, "missing_fraction": 0.0625,
            "mean": 12.5, "median": 11.0, "standard_deviation": 3.25, "drift": 0.31,
            "drift_limit": 0.12, "n_compared": 99, "shift": -0.5, "effect": 1.234,
        }  # fmt: skip
        runs.record_column_statistics(connection, 1, [{"column": "lastmonth_activity", **column}])
        runs.end_run(
            connection, 2, status=Status.FAILED, ended_at=now,
            error=f"{config.input_folder_path / 'a.csv'} cannot be read.",
        )  # fmt: skip


@pytest.fixture(scope="module")
def full_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation with clients scored twice and records of all kinds."""
    path = write_installation(tmp_path_factory.mktemp("full"))
    edit_config(path, worklist={"capacity": 1})
    config = read_config(path)
    score_twice(config)
    record(config)
    return path.parent


@pytest.fixture
def full(full_once: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A service with a copy of that installation, which compares runs itself."""
    shutil.copytree(full_once, config_path.parent, symlinks=True, dirs_exist_ok=True)
    config = read_config(config_path)
    monkeypatch.setattr(
        RunComparer, "compare", lambda _, a, b: run_comparison.compare(config, a, b)
    )
    return create_app(config_path).test_client()


@pytest.mark.parametrize("path", SHOWN)
def test_every_page_is_shown(full: FlaskClient, path: str) -> None:
    page = read(full, path)

    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1
    assert {"header", "main", "footer", "title"} <= set(tags)


@pytest.mark.parametrize("path", SHOWN)
def test_no_page_has_anything_inline_or_from_elsewhere(full: FlaskClient, path: str) -> None:
    response = full.get(path, headers=BROWSER)

    for tag, attributes in Reader(response.text).tags:
        assert tag not in ("script", "style", "iframe", "object", "base")
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), (tag, attributes)
            assert not (attributes.get(name) or "/").startswith("//")
    assert response.headers["Content-Security-Policy"] == rendering.POLICY
    assert "unsafe" not in rendering.POLICY
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", SHOWN)
def test_every_field_has_a_label_and_every_table_a_caption(full: FlaskClient, path: str) -> None:
    text = full.get(path, headers=BROWSER).text

    for tag, attributes in Reader(text).tags:
        if tag == "input" and attributes.get("type") != "hidden":
            labelled = f'for="{attributes.get("id")}"' in text
            assert labelled or re.search(rf"<label>[^<]*<input[^>]*{attributes['name']}", text)
        if tag == "img":
            assert "alt" in attributes
    assert text.count("<table") == text.count("<caption")


def risk_of(entry: dict[str, Any]) -> str:
    """Format the risk of a client like a page, without a risk for a client without data."""
    return "\N{EN DASH}" if entry["band"] == "no data" else f"{entry['probability']:.1%}"


def test_the_worklist_shows_the_numbers_of_the_api(full: FlaskClient) -> None:
    entries = answer_of(full.get("/worklist"))["clients"]

    rows = read(full, "/dashboard/worklist").rows[1:]

    assert [row[:4] for row in rows] == [
        [str(e["position"]), e["client"], risk_of(e), e["band"]] for e in entries
    ]
    assert [row[4] for row in rows] == ["\N{MINUS SIGN}65.0 pp", "0.0 pp"][:1] + [
        f"{100 * e['change']:+.1f} pp".replace("-", "\N{MINUS SIGN}") for e in entries[1:]
    ]
    assert all(e["reasons"][0]["text"] in row[5] for e, row in zip(entries, rows, strict=True)
               if e["band"] != "no data" and e["reasons"])  # fmt: skip


def test_search_band_and_order_are_those_of_the_api(full: FlaskClient) -> None:
    for query in ("search=x", "band=no%20data", "order=client", "order=rise", "top=1&offset=1",
                  "search=nobody"):  # fmt: skip
        entries = answer_of(full.get(f"/worklist?{query}"))["clients"]
        rows = read(full, f"/dashboard/worklist?{query}").rows[1:]
        assert [row[1] for row in rows] == [e["client"] for e in entries], query


def test_links_keep_the_search(full: FlaskClient) -> None:
    text = full.get("/dashboard/worklist?search=x&top=1&order=client", headers=BROWSER).text

    targets = [html.unescape(found) for found in re.findall(r'href="([^"]*)"', text)]
    n_found = answer_of(full.get("/worklist?search=x"))["n_found"]
    assert f"/worklist.csv?search=x&order=client&top={n_found}" in targets
    assert "/dashboard/worklist?search=x&order=risk" in targets
    assert 'value="x"' in text


def test_a_wrong_query_is_a_page_that_says_so(full: FlaskClient) -> None:
    response = full.get("/dashboard/worklist?top=0", headers=BROWSER)

    assert response.status_code == 422
    assert "Expected top to be a number from 1 to 500." in response.text


def test_a_client_shows_the_numbers_of_the_api(full: FlaskClient) -> None:
    told = answer_of(full.get("/clients/x"))

    page = full.get("/dashboard/client?name=x", headers=BROWSER).text
    cells = [cell for row in Reader(page).rows for cell in row]

    assert f"{told['last']['probability']:.1%}" in page
    assert all(html.escape(reason["text"]) in page for reason in told["reasons"])
    wanted = [told["change"]["retraining"], *(m["effect"] for m in told["change"]["movements"])]
    wanted += [reason["effect"] for reason in told["reasons"]]
    for number in wanted:
        assert f"{number:+.3f}".replace("-", "\N{MINUS SIGN}") in cells
    assert [c for c in cells if c.endswith("%")] == [
        f"{score['probability']:.1%}" for score in told["history"]
    ]


def test_a_client_is_compared_with_the_typical_one_throughout(full: FlaskClient) -> None:
    # Of the odds, a step of the last month's activity leaves a third. x has 2 steps, and the
    # typical client who stays has 3. The other columns are as usual.
    rows = [row for row in read(full, "/dashboard/client?name=x").rows if len(row) == 4]

    minus = "\N{MINUS SIGN}"
    assert rows[1:4] == [
        ["The baseline", "", "", f"{minus}3.296"],
        ["lastmonth_activity", "2", "3", "+1.099"],
        ["lastyear_activity", "7", "7", "+0.000"],
    ]
    assert ["Log-odds of this risk", "", "", f"{minus}2.197"] in rows


def test_a_first_model_is_not_compared_with_one_before(full: FlaskClient, config: Config) -> None:
    decision = promotion_gate.should_deploy(
        np.array([0, 1]), np.array([0, 1]), None, config.promotion
    ).as_row() | {"candidate_stamp": SECOND[5:]}
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        runs.record_decision(connection, 2, datetime.now(UTC), **decision)

    text = full.get("/", headers=BROWSER).text

    assert "Nothing was in production before; F1 1.0000." in text
    assert "is in production" not in text
    assert "F1 of the model before" not in text
    assert "Probability that it is better" not in text


LONG_REASON = (
    "the candidate is not better: candidate F1 0.7134, production F1 0.7225 on 1000 test rows (364"
    " positive), difference -0.0091 (95 % interval -0.0212 to +0.0006), P(better) 0.099, on folder"
)


def test_reasons_of_runs_are_cut_between_clauses(full: FlaskClient, config: Config) -> None:
    ends = {
        LONG_REASON[: LONG_REASON.index(end)]
        for end in (" (364", ", diff", " (95 %", ", P(", ", on")
    }

    for padding in (0, 3, 6, 9, 12, 15, 18, 21):
        with (
            database.open_records(config.database_url) as engine,
            database.writing(engine) as connection,
        ):
            runs.end_run(
                connection,
                2,
                status=Status.FINISHED,
                error=None,
                reason="x" * padding + LONG_REASON,
            )
        for path in ("/", "/dashboard/runs"):
            text = html.unescape(full.get(path, headers=BROWSER).text)
            shown = next(s for s in re.findall(r">x*(the candidate is not[^<]*)<", text))
            assert shown.removesuffix(" …") in ends


@pytest.mark.parametrize("name", ["nobody", "", "%00", "x%0Ay"])
def test_an_unknown_client_is_a_page_that_says_so(full: FlaskClient, name: str) -> None:
    response = full.get(f"/dashboard/client?name={name}", headers=BROWSER)

    assert response.status_code == 404
    assert "No client of this name was scored." in response.text


def test_the_overview_shows_what_the_records_say(full: FlaskClient) -> None:
    text = full.get("/", headers=BROWSER).text

    for part in (
        "0.750", "0.701 to 0.902", "on 400 test rows", "The candidate is better.", "98.7%",
        "400, 125 who left", "Run 1", "deployed", "failed", "by cron",
        "Not enough outcomes yet: 2 of 30.", "since <time datetime=\"2025-01-02T03:04:05+00:00\"",
    ):  # fmt: skip
        assert part in text, part


def test_a_run_shows_what_the_records_say(full: FlaskClient) -> None:
    page = read(full, "/dashboard/run?id=1")
    text = full.get("/dashboard/run?id=1", headers=BROWSER).text

    assert ["training", "", "0.25 s"] in page.rows
    assert ["scoring", "", "2 min"] in page.rows
    for part in ("0.8125", "0.7500", "+0.0625", "+0.0111 to +0.1222", "98.7%", "0.6033", "0.7044",
                 "0.8055", "1,234, 56", "because", "by ada", SECOND):  # fmt: skip
        assert part in text, part
    row = next(row for row in page.rows if row and row[0].startswith("lastmonth_activity"))
    assert row[1:] == [
        "drift", "0.310", "0.120", "6.2%", "12.5", "11", "3.25", "\N{MINUS SIGN}0.50", "1.234",
    ]  # fmt: skip


def test_the_runs_are_those_of_the_api(full: FlaskClient) -> None:
    entries = answer_of(full.get("/runs"))["runs"]

    rows = read(full, "/dashboard/runs").rows[1:]

    assert [row[0] for row in rows] == [f"Run {entry['id']}" for entry in entries]
    assert rows[1][2:6] == ["cron", "deployed", "0.8125", "0.7500"]
    assert rows[0][3] == "failed"


def test_a_page_names_no_folder_of_this_machine(full: FlaskClient, tmp_path: Path) -> None:
    for path in (*SHOWN, "/dashboard/run?id=2"):
        assert str(tmp_path) not in full.get(path, headers=BROWSER).text
    assert "input/a.csv cannot be read." in full.get("/dashboard/run?id=2", headers=BROWSER).text


@pytest.mark.parametrize("number", ["3", "0", "-1", "", "x", "1e0", "9" * 30, "1 OR 1=1"])
def test_an_unknown_run_is_a_page_that_says_so(full: FlaskClient, number: str) -> None:
    response = full.get("/dashboard/run", query_string={"id": number}, headers=BROWSER)

    assert response.status_code == 404


def test_models_and_data_show_what_the_records_say(full: FlaskClient) -> None:
    models, data = (
        full.get(f"/dashboard/{name}", headers=BROWSER).text for name in ("models", "data")
    )

    for part in (
        "0.701 to 0.902",
        "0.603, 0.704",
        "AUC 0.805",
        "deploy",
        "serving",
        "No charts yet",
    ):
        assert part in models, part
    # One more contact makes the odds a third: exp(-ln 3), here for 0.25, the deviation.
    row = next(r for r in Reader(models).rows if r and r[0] == "lastmonth_activity")
    assert row == ["lastmonth_activity", "0.25 more (1 SD)", "\N{MINUS SIGN}0.275", "0.76"]
    for part in ("1,234", ">99 <", "drift", "12.5"):
        assert part in data, part


@pytest.mark.parametrize(("drawn_of", "is_said"), [(FIRST, True), (SECOND, False)])
def test_charts_of_a_release_that_no_longer_serves_are_told_apart(
    full: FlaskClient, config_path: Path, drawn_of: str, is_said: bool
) -> None:
    chart = Chart(
        name="roc", file=chart_files.name_file("roc", b"<svg/>"), title="The ROC", alt="It shows.",
        width=10, height=10, page="models",
    )  # fmt: skip
    folder = read_config(config_path).output_model_path
    chart_files.write(folder, [(chart, b"<svg/>")], datetime(2025, 1, 2, tzinfo=UTC), drawn_of)

    page = full.get("/dashboard/models", headers=BROWSER).text

    assert chart.file in page
    assert ("which served when they were drawn" in page) == is_said


def test_the_pages_say_how_many_rows_were_drawn_of_how_many(
    full: FlaskClient, config_path: Path
) -> None:
    config, model = read_config(config_path), make_model()
    facts = msgspec.structs.replace(model.dataset, n_rows=8_012_345, n_drawn_rows=1_000_000)
    drawn = msgspec.structs.replace(model, dataset=facts)
    write_release(config.prod_deployment_path, THIRD, drawn)
    switch(config.prod_deployment_path, THIRD)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        settings = {"n_drawn_rows": 1_000_000}
        runs.record_model(connection, 2, stamp="s", n_rows=8_012_345, settings=settings)

    of_models = full.get("/dashboard/models", headers=BROWSER).text
    of_run = full.get("/dashboard/run?id=2", headers=BROWSER).text

    assert "1,000,000 <span" in of_models
    assert "drawn at random of 8,012,345;" in of_models
    assert "8,012,345" in of_run
    assert "1,000,000 rows, drawn at random" in of_run


def test_one_column_over_the_runs(full: FlaskClient) -> None:
    page = read(full, "/dashboard/data?column=lastmonth_activity")

    assert ["Run 1", "1,234", "6.2%", "12.5", "11", "3.25", "0.310", "0.120"] in page.rows


def test_records_that_no_run_has_made_yet_are_no_fault(client: FlaskClient) -> None:
    for path in ("/", "/dashboard/worklist", "/dashboard/models", "/dashboard/runs",
                 "/dashboard/data", "/dashboard/outcomes"):  # fmt: skip
        text = client.get(path, headers=BROWSER).text
        assert "No records yet" in text
        assert "records cannot be read" not in text
        assert "python -m scripts.fullprocess" in text


def test_the_footer_leads_to_a_report_once_there_is_one(
    client: FlaskClient, config: Config
) -> None:
    before = client.get("/", headers=BROWSER).text
    config.output_model_path.mkdir(exist_ok=True)
    (config.output_model_path / "report_20260101T000000000000Z.pdf").write_bytes(b"%PDF-")

    after = client.get("/", headers=BROWSER).text

    assert "/report.pdf" not in before
    assert 'href="/report.pdf"' in after
    assert client.get("/report.pdf", headers=BROWSER).data == b"%PDF-"


@pytest.mark.parametrize("damage", ["garbage", "old", "locked"])
def test_without_the_records_the_pages_say_so(
    client: FlaskClient, config_path: Path, damage: str, tmp_path: Path
) -> None:
    place = config_path.parent / "adras.db"
    if damage == "garbage":
        place.write_bytes(b"no database" * 1000)
    if damage in ("old", "locked"):
        connection = sqlite3.connect(place, isolation_level=None)
        connection.execute("CREATE TABLE runs (id INTEGER)")
        if damage == "locked":
            connection.execute("BEGIN EXCLUSIVE")

    for path in ("/", "/dashboard/worklist", "/dashboard/models"):
        response = client.get(path, headers=BROWSER)
        assert response.status_code == 200
        assert "The records cannot be read" in response.text
        assert "python -m scripts.fullprocess" in response.text
        assert str(tmp_path) not in response.text
    assert "0.7500" in response.text


def test_before_the_first_run_each_page_says_what_to_do_first(config_path: Path) -> None:
    client = create_app(config_path).test_client()

    for path in ("/", "/dashboard/worklist", "/dashboard/runs", "/dashboard/models",
                 "/dashboard/data", "/dashboard/outcomes"):  # fmt: skip
        assert "python -m scripts.fullprocess" in client.get(path, headers=BROWSER).text, path
    assert "How to begin" in client.get("/", headers=BROWSER).text


def test_records_without_clients_say_what_to_do_first(client: FlaskClient, config: Config) -> None:
    with database.open_records(config.database_url):
        pass

    for path, part in {
        "/": "No client has been scored yet",
        "/dashboard/worklist": "No client has been scored yet",
        "/dashboard/runs": "No run yet", "/dashboard/data": "No dataset has been described yet",
        "/dashboard/outcomes": "Not enough outcomes yet: 0 of 30",
    }.items():  # fmt: skip
        assert part in client.get(path, headers=BROWSER).text


def test_errors_are_pages_for_browsers_and_problems_for_programs(client: FlaskClient) -> None:
    page = client.get("/nothing", headers=BROWSER)

    assert (page.status_code, page.content_type) == (404, "text/html; charset=utf-8")
    assert "<h1>Not Found</h1>" in page.text
    problem_of(client.get("/nothing", headers={"Accept": "application/json"}), 404)
    problem_of(client.get("/nothing"), 404)
    assert "Allow" in client.post("/", headers=BROWSER | {"Origin": "http://localhost"}).headers


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_nothing_that_is_shown_becomes_markup(config_path: Path) -> None:
    edit_config(config_path, worklist={"capacity": 1})
    config = read_config(config_path)
    score_twice(config)
    record(config)
    rename_clients(config_path.parent / "adras.db", [HOSTILE] * 4)
    with sqlite3.connect(config_path.parent / "adras.db") as connection:
        for table, column in (("runs", "reason"), ("runs", "error"), ("runs", "trigger"),
                              ("runs", "verdict"), ("decisions", "reason"),
                              ("deployments", "actor"), ("deployments", "reason"),
                              ("client_outcomes", "client"), ("decisions", "answer")):  # fmt: skip
            connection.execute(f"UPDATE {table} SET {column} = ?", [HOSTILE])
        connection.execute('UPDATE column_statistics SET "column" = ?', [HOSTILE])
    client = create_app(config_path).test_client()

    for path in SHOWN:
        response = client.get(path.replace("=x", f"={HOSTILE}"), headers=BROWSER)
        assert response.status_code == 200
        tags = Reader(response.text).tags
        assert not [tag for tag, _ in tags if tag == "script"]
        assert not [a for _, attributes in tags for a in attributes if a.startswith("on")]


def test_every_page_has_a_table_row_in_the_list_of_pages() -> None:
    asked = {path.partition("?")[0] for path in SHOWN}

    # Charts and pictures are no pages, sheets for the printer have no header, the guide has its own
    # tests, and the folder leads to the overview.
    others = {"/charts/{file}", "/dashboard/worklist/print", "/dashboard"}
    shown = {page.path for page in PAGES if page.method == "GET"} - others
    assert {path for path in shown if not path.startswith("/docs/")} == asked


def test_the_folder_of_the_pages_leads_to_the_overview(full: FlaskClient) -> None:
    response = full.get("/dashboard", headers=BROWSER)

    assert (response.status_code, response.headers["Location"]) == (303, "/")


def test_a_page_is_told_apart_by_what_a_browser_accepts() -> None:
    accepts: dict[str, Any] = {"text/html,*/*": True, "*/*": False, "": False}

    assert {a: rendering.wants_page({"HTTP_ACCEPT": a}) for a in accepts} == accepts


NOW = datetime(2026, 11, 24, 9, 5, 7, tzinfo=UTC)
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def test_a_moment_is_for_people_and_machines() -> None:
    spelled = rendering.format_moment(NOW)

    assert spelled == (
        '<time datetime="2026-11-24T09:05:07+00:00" title="2026-11-24T09:05:07+00:00">'
        "24 Nov 2026, 09:05 UTC</time>"
    )
    assert rendering.format_moment(NOW.isoformat()) == spelled
    assert rendering.format_moment(None) == "&ndash;"


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3599, "60 min ago"), (3600, "1 h ago"),
     (2 * 86400 - 1, "48 h ago"), (2 * 86400, "2 days ago"), (-120, "in 2 min")],
)  # fmt: skip
def test_a_moment_is_shown_by_its_distance_in_the_largest_unit(seconds: int, spelled: str) -> None:
    assert rendering.format_ago(NOW - timedelta(seconds=seconds), NOW) == spelled


@pytest.mark.parametrize(
    ("value", "spelled"),
    [(None, DASH), ("", DASH), ("gold", "gold"), (0.0, "0"), (1234567.0, "1,234,567"),
     (12.5, "12.5"), (0.000123456, "0.0001235"), (-3, "-3")],
)  # fmt: skip
def test_a_number_has_four_digits_and_commas_between_thousands(
    value: float | str | None, spelled: str
) -> None:
    assert rendering.format_number(value) == spelled


def test_percentages_and_changes_are_rounded_for_people() -> None:
    assert rendering.format_percent(0.12345) == "12.3%"
    assert rendering.format_percent(None) == DASH
    assert rendering.format_signed(-0.5) == f"{MINUS}0.500"
    assert rendering.format_percentage_points(-0.65) == f"{MINUS}65.0 pp"
    assert rendering.format_percentage_points(0.0004) == "0.0 pp"
    assert rendering.format_percentage_points(None) == DASH


@pytest.mark.parametrize(
    ("change", "name"), [(0.0, "quiet"), (0.0006, "rise"), (-0.0006, "fall"), (-0.0004, "quiet")]
)
def test_a_change_has_a_direction_as_far_as_it_is_shown(change: float, name: str) -> None:
    assert rendering.name_direction(change) == name


@pytest.mark.parametrize(
    ("n_bytes", "spelled"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (8 * 2**20, "8.0 MiB"), (2**31, "2.0 GiB")],
)
def test_a_size_is_shown_in_binary_units(n_bytes: int, spelled: str) -> None:
    assert rendering.format_bytes(n_bytes) == spelled


@pytest.mark.parametrize(
    ("seconds", "spelled"), [(None, DASH), (0.004, "0.00 s"), (9.994, "9.99 s"), (61.0, "1 min")]
)
def test_a_short_duration_has_hundredths_of_a_second(seconds: float | None, spelled: str) -> None:
    assert rendering.format_duration(seconds) == spelled


def test_releases_are_called_by_their_number() -> None:
    assert rendering.format_stamp("0012_20250101T000000000000Z") == "#12"
    assert rendering.format_stamp(None) == DASH


def test_unknown_words_have_a_calm_colour() -> None:
    assert (rendering.tone_of("high"), rendering.tone_of("<b>"), rendering.tone_of(None)) == (
        "bad", "calm", "calm",
    )  # fmt: skip
