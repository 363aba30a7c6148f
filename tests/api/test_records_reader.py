"""What the service says of the records, and that it never needs them."""

import re
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts.api import records_reader
from scripts.app import create_app
from scripts.records import check_records, database, list_deliveries, runs
from scripts.records.tables import DeploymentKind, Status
from tests.support.service import FIRST, answer_of, edit_config, make_row, predict, problem_of


@pytest.fixture
def now() -> datetime:
    """The moment of a test, since the import may be half an hour ago."""
    return datetime.now(UTC)


@pytest.fixture
def records(config_path: Path, now: datetime) -> Path:
    """Records of five runs and two deployments, with a failed last run."""
    path = config_path.parent / "adras.db"
    with database.open_records(f"sqlite:///{path}") as engine, database.writing(engine) as row:
        for number in range(5):
            started = now - timedelta(minutes=50 - 10 * number)
            run_id = runs.start_run(row, started)
            status = Status.FAILED if number == 4 else Status.FINISHED
            runs.end_run(row, run_id, status=status, ended_at=started, reason=f"run {number}")
        for number, kind in enumerate(DeploymentKind):
            runs.record_deployment(
                row, at=now, kind=kind, release=f"000{number}", actor="someone", reason="better"
            )
    return path


def look(client: FlaskClient) -> None:
    """Let the service look at the records, as its thread does now and then."""
    client.application.extensions["records"].check()


PAGES = ("/", "/dashboard/worklist", "/dashboard/runs", "/dashboard/models", "/dashboard/data",
         "/dashboard/outcomes")  # fmt: skip


def test_before_the_first_run_no_page_calls_the_records_damaged(
    prod: Path, config_path: Path, records_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_DATABASE_URL", records_url)
    client = create_app(config_path).test_client()
    if records_url.startswith("sqlite"):
        # Another program may have made the file, and no table yet.
        (config_path.parent / "runs.db").touch()

    pages = {path: client.get(path, headers={"Accept": "text/html"}) for path in PAGES}

    for path, page in pages.items():
        assert page.status_code == 200, path
        assert "cannot be read" not in page.text, path
        assert "No records yet" in page.text, path
    look(client)
    assert answer_of(client.get("/health"))["errors"] == [records_reader.NO_RECORDS]


@pytest.mark.usefixtures("records")
def test_runs_come_newest_first_in_pages(client: FlaskClient) -> None:
    first = answer_of(client.get("/runs?limit=2"))
    second = answer_of(client.get(f"/runs?limit=2&offset={first['next_offset']}"))
    last = answer_of(client.get(f"/runs?limit=2&offset={second['next_offset']}"))

    pages = [[run["reason"] for run in page["runs"]] for page in (first, second, last)]
    assert pages == [["run 4", "run 3"], ["run 2", "run 1"], ["run 0"]]
    assert last["next_offset"] is None
    assert first["release"] == FIRST
    assert (first["runs"][0]["status"], first["runs"][0]["id"]) == ("failed", 5)
    assert datetime.fromisoformat(first["runs"][0]["ended_at"]).tzinfo is not None


@pytest.mark.usefixtures("records")
def test_releases_list_deployments_and_rollbacks(client: FlaskClient) -> None:
    answer = answer_of(client.get("/releases"))

    assert [(e["kind"], e["release"], e["actor"]) for e in answer["releases"]] == [
        ("rollback", "0001", "someone"),
        ("deploy", "0000", "someone"),
    ]
    assert answer["next_offset"] is None


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=", "offset=-1", "offset=1e3", "page=2",
     "limit=1&limit=2", "offset=9999999999"],
)  # fmt: skip
def test_a_page_that_cannot_be_is_refused(client: FlaskClient, query: str) -> None:
    assert "xpected" in problem_of(client.get(f"/runs?{query}"), 422)["detail"]


@pytest.mark.usefixtures("records")
def test_health_knows_the_last_successful_run(client: FlaskClient, now: datetime) -> None:
    look(client)

    answer = answer_of(client.get("/health"))

    # The failed run of ten minutes ago is none; the one of twenty minutes ago is.
    assert answer["last_successful_run_age_s"] == pytest.approx(20 * 60, abs=60)
    assert datetime.fromisoformat(answer["last_successful_run_at"]) == now - timedelta(minutes=20)
    assert (answer["degraded"], answer["errors"]) == (False, [])


@pytest.mark.usefixtures("records")
def test_a_missed_run_is_seen(client: FlaskClient, config_path: Path) -> None:
    edit_config(config_path, api={"stale_after_minutes": 15})
    answer_of(client.get("/score"))
    look(client)

    answer = answer_of(client.get("/health"))

    assert answer["degraded"]
    # A busy machine may take a minute to come here.
    assert re.search(r"2[0-2] minutes ago", answer["errors"][0])
    assert "is cron running?" in answer["errors"][0]


def test_health_says_how_many_messages_about_the_list_were_given_up(
    client: FlaskClient, records: Path, config_path: Path, now: datetime
) -> None:
    edit_config(config_path, worklist={"webhook_url": "http://127.0.0.1:1/"})
    answer_of(client.get("/score"))
    event = {"at": now, "event_id": "evt_1", "kind": "client.left", "client": "x", "body": "{}"}
    with database.open_records(f"sqlite:///{records}") as engine, database.writing(engine) as row:
        list_deliveries.add_events(row, [event])
        list_deliveries.mark_event(row, 1, given_up_at=now, fault="it answered 422")
    look(client)

    answer = answer_of(client.get("/health"))

    assert answer["degraded"]
    assert answer["errors"][0].startswith("1 events of the list were given up")


def test_health_names_each_problem_with_its_number_and_what_to_do(
    client: FlaskClient, records: Path, now: datetime
) -> None:
    details = ("12 of 100 rows were rejected.", "80 of 100 rows were rejected. See why.")
    with database.open_records(f"sqlite:///{records}") as engine, database.writing(engine) as row:
        for detail in details:
            check_records.record_finding(row, "rejected_rows", 1, now, detail, is_alarm=True)
    look(client)

    answer = answer_of(client.get("/health"))

    assert answer["degraded"]
    assert answer["errors"] == [
        "Many rows of a file were rejected: 80 of 100 rows were rejected. See why."
    ]


def test_a_check_that_was_just_switched_off_is_no_problem_any_more(
    client: FlaskClient, records: Path, now: datetime, config_path: Path
) -> None:
    with database.open_records(f"sqlite:///{records}") as engine, database.writing(engine) as row:
        check_records.record_finding(row, "rejected_rows", 1, now, "80 of 100", is_alarm=True)
    edit_config(config_path, checks={"rejected_rows": "off"})
    client.get("/health")
    look(client)

    answer = answer_of(client.get("/health"))
    page = client.get("/").text

    assert not answer["degraded"]
    assert "Many rows of a file were rejected" not in page


@pytest.mark.parametrize("damage", ["removed", "garbage", "empty", "locked", "folder"])
def test_predictions_go_on_without_the_records(
    client: FlaskClient, records: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_reader, "WAIT_S", 0.1)
    holder = sqlite3.connect(records)
    if damage == "locked":
        holder.execute("BEGIN EXCLUSIVE")
    else:
        records.unlink()
    if damage == "garbage":
        records.write_bytes(b"no database" * 1000)
    if damage == "empty":
        records.write_bytes(b"")
    if damage == "folder":
        records.mkdir()
    look(client)

    health = answer_of(client.get("/health"))

    assert answer_of(predict(client, make_row()))["release"] == FIRST
    assert (health["ready"], health["degraded"]) == (True, True)
    assert "ecords" in health["errors"][0]
    assert str(records.parent) not in health["errors"][0]
    problem_of(client.get("/runs"), 503)
    problem_of(client.get("/releases"), 503)
    assert records.exists() == (damage != "removed")
    holder.close()


def test_the_records_are_looked_at_aside(client: FlaskClient, records: Path) -> None:
    watch: records_reader.RecordsReader = client.application.extensions["records"]
    n_before = threading.active_count()

    watch.start()
    for _ in range(100):
        if watch.last.last_success_at is not None:
            break
        time.sleep(0.05)
    watch.stop()

    assert watch.last.last_success_at is not None
    assert threading.active_count() <= n_before + 1


def test_the_numbers_tell_ages(client: FlaskClient, records: Path) -> None:
    look(client)

    numbers = dict(
        line.rsplit(" ", 1)
        for line in client.get("/metrics").text.splitlines()
        if not line.startswith("#")
    )

    age_s = float(numbers["adras_last_successful_run_age_seconds"])
    assert age_s == pytest.approx(20 * 60, abs=60)
    assert 0 <= float(numbers["adras_release_age_seconds"]) < 60


def test_a_service_without_records_starts(config_path: Path) -> None:
    client = create_app(config_path).test_client()
    look(client)

    assert "There are no records yet" in problem_of(client.get("/health"), 503)["errors"][1]
