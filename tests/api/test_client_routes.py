"""What the service answers about clients."""

import csv
import io
import shutil
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts.api import client_routes
from scripts.api.records_reader import query_records
from scripts.app import create_app
from scripts.clients import list_pages
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import RecordsError
from scripts.records import database
from tests.conftest import write_installation
from tests.support.clientele import FIRST, ask, put_clients, score, score_twice, serve
from tests.support.recorded import read_list
from tests.support.service import TOKEN, answer_of, edit_config, make_row, predict, problem_of
from tests.support.trials import record_trial

PATHS = ("/worklist", "/worklist.csv", "/clients/x", "/outcomes", "/calling")


@pytest.fixture(scope="module")
def scored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation whose clients have been scored twice."""
    path = write_installation(tmp_path_factory.mktemp("scored"))
    edit_config(path, worklist={"capacity": 1})
    score_twice(read_config(path))
    return path.parent


@pytest.fixture
def scored(scored_once: Path, config_path: Path) -> FlaskClient:
    """A service with a copy of that installation."""
    shutil.copytree(scored_once, config_path.parent, symlinks=True, dirs_exist_ok=True)
    return create_app(config_path).test_client()


def test_the_worklist_names_clients_reasons_and_changes(scored: FlaskClient) -> None:
    page = answer_of(scored.get("/worklist?top=1"))

    (entry,) = page["clients"]
    assert (entry["client"], entry["position"], entry["band"]) == ("x", 1, "low")
    assert entry["probability"] == pytest.approx(0.1)
    assert entry["change"] == pytest.approx(-0.65)
    assert entry["reasons"][0]["text"].startswith("lastmonth_activity 2; clients who stay: 3")
    assert (page["n_clients"], page["next_offset"]) == (2, 1)
    # One client of one with data: all who left among the test rows are caught.
    assert page["capacity"]["caught"]["share"] == 1.0


def test_a_reason_tells_the_change_that_made_it(config_path: Path) -> None:
    config = read_config(config_path)
    serve(config, FIRST)
    put_clients(config, ["x,3,7,3,", "y,1,7,3,"])
    score(config)
    put_clients(config, ["x,0,7,3,", "y,1,7,3,"], "today2.csv")
    score(config)
    service = create_app(config_path).test_client()

    x, y = answer_of(service.get("/worklist"))["clients"]

    assert x["reasons"][0]["text"] == "lastmonth_activity fell from 3 to 0"
    assert x["reasons"][0]["before"] == 3.0
    assert "before" not in y["reasons"][0]
    details = answer_of(service.get("/clients/x"))
    assert details["reasons"] == x["reasons"]


def test_an_edit_of_the_limits_counts_at_once(scored: FlaskClient, config_path: Path) -> None:
    # x has a probability of 0.1, and z left with 0.25 before.
    edit_config(config_path, api={"medium_risk_from": 0.05, "high_risk_from": 0.09})

    assert answer_of(scored.get("/worklist"))["bands"] == {"high": 1, "no data": 1}
    found = answer_of(scored.get("/worklist?band=high"))
    assert [entry["client"] for entry in found["clients"]] == ["x"]
    details = answer_of(scored.get("/clients/x"))
    assert [entry["band"] for entry in details["history"]] == ["high", "high"]
    assert details["limits"] == {"medium": 0.05, "high": 0.09}
    assert {entry["band"] for entry in answer_of(scored.get("/outcomes"))["outcomes"]} == {"high"}
    page = scored.get("/dashboard/worklist").get_data(as_text=True)
    assert "high <b>1</b>" in page


@pytest.mark.parametrize(
    "query",
    [
        "top=0", "top=501", "top=-1", "top=x", "top=", "top=1&top=2", "offset=-1", "offset=1e3",
        "band=none", "order=worst", "page=2", "search=%00", "search=" + "a" * 201, "top=%D9%A3",
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_is_refused(scored: FlaskClient, query: str) -> None:
    for path in ("/worklist", "/worklist.csv"):
        problem = problem_of(
            scored.get(
                f"{path}?{query}".replace("501", "501" if path[-1] == "t" else "1000000000")
            ),
            422,
        )
        assert "xpected" in problem["detail"]


def test_the_list_as_csv_has_the_same_numbers(scored: FlaskClient) -> None:
    page = answer_of(scored.get("/worklist"))

    response = scored.get("/worklist.csv")

    assert response.content_type == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="worklist.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [(r["client"], float(r["probability"])) for r in rows] == [
        (e["client"], e["probability"]) for e in page["clients"]
    ]


def test_a_client_shows_why_the_risk_changed(scored: FlaskClient) -> None:
    page = answer_of(scored.get("/clients/x"))

    change = page["change"]
    effects = sum(m["effect"] for m in change["movements"]) + change["retraining"]
    assert change["after_log_odds"] - change["before_log_odds"] == pytest.approx(effects, abs=1e-9)
    assert len(page["history"]) == 2


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "a//b",
        "//",
        "a b",
        "ü?#%",
        "<script>alert(1)</script>",
        "=1+1",
        "'; DROP TABLE x",
        "..a",
    ],
)
def test_any_name_can_be_asked_for(config_path: Path, config: Config, name: str) -> None:
    score_twice(config)
    put_clients(config, [f'"{name}",1,7,3,'], "more.csv")
    score(config)
    client = create_app(config_path).test_client()

    page = answer_of(client.get(f"/clients/{quote(name, safe='')}"))

    assert page["client"] == name


@pytest.mark.parametrize("path", ["/clients/nobody", "/clients/%00", "/clients/x%0Ay", "/clients/"])
def test_an_unknown_client_is_not_found(scored: FlaskClient, path: str) -> None:
    problem_of(scored.get(path), 404)


def test_the_page_shows_what_the_api_says_of_calling(
    scored: FlaskClient, config_path: Path
) -> None:
    edit_config(config_path, worklist={"capacity": 1, "holdout_fraction": 0.2})
    config = read_config(config_path)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        record_trial(connection, held_out=False, n_left=400, n_stayed=3600, n_open=7)
        record_trial(connection, held_out=True, n_left=64, n_stayed=936)

    answer = answer_of(scored.get("/calling"))
    page = scored.get("/dashboard/calling").get_data(as_text=True)

    assert answer["verdict"] == "harms"
    assert answer["text"] in page
    for text in ("10.0%", "6.4%", "+3.6 pp", "400 of 4,000", "64 of 1,000", "widened for 2 looks"):
        assert text in page
    assert [entry["name"] for entry in answer["periods"]] == ["2026-08-01"]
    assert answer["save_rate"]["text"] in page


def test_without_a_trial_the_page_says_what_that_costs(scored: FlaskClient) -> None:
    answer = answer_of(scored.get("/calling"))
    page = scored.get("/dashboard/calling").get_data(as_text=True)

    assert (answer["is_on"], answer["verdict"]) == (False, "no outcomes yet")
    assert "There is no trial." in page
    assert "10.0 % of the clients contacted left, and 6.4 % of those left alone" in page
    assert "worklist.holdout_fraction = 0.1" in page


def test_outcomes_say_that_there_are_not_enough(scored: FlaskClient) -> None:
    page = answer_of(scored.get("/outcomes"))

    assert page["text"] == "Not enough outcomes yet: 2 of 30."
    assert page["n_outcomes"] == 2


@pytest.mark.parametrize("path", PATHS)
def test_a_token_is_wanted(guarded: FlaskClient, path: str) -> None:
    problem_of(guarded.get(path), 401)

    allowed = guarded.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert allowed.status_code == 503  # there are no records


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("damage", ["missing", "garbage", "old", "locked"])
def test_without_the_records_these_are_503_and_predictions_go_on(
    client: FlaskClient, config_path: Path, path: str, damage: str
) -> None:
    place = config_path.parent / "adras.db"
    if damage == "garbage":
        place.write_bytes(b"no database" * 1000)
    if damage in ("old", "locked"):
        connection = sqlite3.connect(place, isolation_level=None)
        connection.execute("CREATE TABLE runs (id INTEGER)")
        if damage == "locked":
            connection.execute("BEGIN EXCLUSIVE")
    before = place.read_bytes() if place.exists() else None

    problem = problem_of(client.get(path), 503)

    assert str(config_path.parent) not in problem["detail"]
    assert predict(client, make_row()).status_code == 200
    assert (place.read_bytes() if place.exists() else None) == before


def test_asking_changes_nothing(scored: FlaskClient, config_path: Path) -> None:
    folder = config_path.parent
    before = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    for path in PATHS:
        assert scored.get(path).status_code == 200

    assert {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()} == before


def test_scores_of_the_answer_are_those_of_the_records(scored: FlaskClient, config: Config) -> None:
    page = answer_of(scored.get("/worklist"))

    rows = ask(config, read_list, 2).rows
    assert [e["probability"] for e in page["clients"]] == [row["probability"] for row in rows]


def names_of(response: TestResponse) -> list[str]:
    """Return the names in a CSV of the worklist."""
    rows = csv.DictReader(io.StringIO(response.text, newline=""))
    return [row["client"] for row in rows]


@pytest.fixture
def many(config_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A service with thirty clients, of which a CSV has four in memory at a time."""
    monkeypatch.setattr(list_pages, "PART_CLIENTS", 4)
    serve(config, FIRST)
    put_clients(config, [f"c{number},{number},7,3," for number in range(30)])
    score(config)
    return create_app(config_path).test_client()


@pytest.mark.parametrize("query", ["", "&order=client", "&search=1", "&search=c2&order=rise"])
def test_a_csv_in_parts_is_the_whole_list_once(many: FlaskClient, query: str) -> None:
    page = answer_of(many.get(f"/worklist?top=500{query}"))

    response = many.get(f"/worklist.csv?top=999999{query}")

    assert names_of(response) == [entry["client"] for entry in page["clients"]]
    assert "Content-Length" not in response.headers


def test_a_csv_is_of_one_list_also_when_a_run_scores_meanwhile(
    many: FlaskClient, config: Config
) -> None:
    whole = many.get("/worklist.csv?top=999999").data
    parts = many.get("/worklist.csv?top=999999", buffered=False).iter_encoded()
    first = next(parts)
    put_clients(config, ["new,0,7,3,", "c3,99,7,3,"], "new.csv")
    score(config)

    assert first + b"".join(parts) == whole
    assert "new" in names_of(many.get("/worklist.csv?top=999999"))


def test_behind_its_first_part_a_csv_reads_several_parts_at_a_time(
    many: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tops: list[int] = []

    def note(config: Config, question: partial[Any]) -> Any:
        tops.append(question.args[1]["top"])
        return query_records(config, question)

    monkeypatch.setattr(client_routes, "query_records", note)

    response = many.get("/worklist.csv?top=999999", buffered=False)
    sizes = [part.count(b"\n") for part in response.iter_encoded()]

    assert sizes == [5, *[4] * 6, 2]
    assert tops == [4, 32]


@pytest.mark.parametrize(("n_columns", "n_clients"), [(0, 8), (25, 8), (60, 3), (10_000, 1)])
def test_wide_clients_are_read_fewer_at_a_time(n_columns: int, n_clients: int) -> None:
    assert list_pages.choose_size(n_columns) == n_clients * list_pages.PART_CLIENTS


def test_a_csv_in_parts_has_no_more_clients_than_asked_for(many: FlaskClient) -> None:
    assert names_of(many.get("/worklist.csv?top=9")) == [f"c{n}" for n in range(9)]
    assert names_of(many.get("/worklist.csv?top=9&offset=3")) == [f"c{n}" for n in range(3, 12)]


def test_a_csv_that_breaks_off_says_so(
    many: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_given: object) -> None:
        raise RecordsError("The records are gone.")

    monkeypatch.setattr(client_routes, "query_records", fail)
    monkeypatch.setattr(client_routes, "run_query", lambda question: query_records(
        many.application.extensions["records"]._reloader.last().config, question))  # fmt: skip

    response = many.get("/worklist.csv?top=9")

    assert response.text.splitlines()[-1].startswith("INCOMPLETE: ")
    assert len(response.text.splitlines()) == 6
    assert "ended early: RecordsError" in caplog.text


@pytest.mark.parametrize("query", ["", "&order=client", "&search=1&band=high", "&order=rise"])
def test_pages_by_cursor_are_the_list(many: FlaskClient, query: str) -> None:
    whole = answer_of(many.get(f"/worklist?top=500{query}"))
    names: list[str] = []
    cursor, offsets = "", []

    while cursor is not None:
        page = answer_of(many.get(f"/worklist?top=7{query}&cursor={cursor}"))
        names += [entry["client"] for entry in page["clients"]]
        cursor = page["next_cursor"]
        offsets.append(page["next_offset"])
        assert page["n_found"] == len(whole["clients"])

    assert names == [entry["client"] for entry in whole["clients"]]
    assert offsets == [*range(7, len(names), 7), None]


def test_a_cursor_goes_on_in_its_list_after_a_new_scoring(
    many: FlaskClient, config: Config
) -> None:
    first = answer_of(many.get("/worklist?top=3"))
    put_clients(config, ["new,0,7,3,"], "new.csv")
    score(config)

    second = answer_of(many.get(f"/worklist?top=3&cursor={first['next_cursor']}"))

    assert [entry["client"] for entry in second["clients"]] == ["c3", "c4", "c5"]
    assert second["n_clients"] == 30
    assert answer_of(many.get("/worklist"))["n_clients"] == 31


@pytest.mark.parametrize("cursor", ["99.0", "0.0", "1", "x", "1.1&offset=3", "999999999.999999999"])
def test_a_cursor_of_no_list_is_refused(many: FlaskClient, cursor: str) -> None:
    problem = problem_of(many.get(f"/worklist?cursor={cursor}"), 422)

    assert "cursor" in problem["detail"]
