"""The history of the runs, also under concurrent writers."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from sqlalchemy.engine import Connection, Engine

from scripts.core.errors import RecordsError
from scripts.core.files import KnownFile
from scripts.records import alert_states, database, runs, tables
from scripts.records.tables import DeploymentKind, FileRole, Status, Verdict

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def url(records_url: str) -> str:
    """Return the URL of a missing database, on SQLite and on PostgreSQL."""
    return records_url


def test_a_run_is_found_again_with_its_zone(url: str) -> None:
    with database.open_records(url) as engine, database.writing(engine) as connection:
        run_id = runs.start_run(connection, NOW)
        runs.end_run(
            connection, run_id, status=Status.FINISHED, verdict=Verdict.HELD, durations_s={"a": 1.5}
        )

        run = runs.latest_runs(connection, 1)[0]

    assert run["started_at"] == NOW
    assert run["durations_s"] == {"a": 1.5}


def test_the_last_decided_run_is_neither_a_failed_nor_an_idle_one(url: str) -> None:
    ends = [
        (Status.FINISHED, Verdict.DEPLOYED),
        (Status.FINISHED, Verdict.NOTHING_NEW),
        (Status.FAILED, None),
        (Status.SKIPPED, None),
    ]
    with database.open_records(url) as engine, database.writing(engine) as connection:
        assert runs.last_decided_run(connection) is None
        for status, verdict in ends:
            run_id = runs.start_run(connection, NOW)
            runs.end_run(connection, run_id, status=status, verdict=verdict, fingerprint="abc")

        last = runs.last_decided_run(connection)

    assert last is not None
    assert last["verdict"] == Verdict.DEPLOYED


def test_an_imported_run_is_never_the_last_decided_run(url: str) -> None:
    with database.open_records(url) as engine, database.writing(engine) as connection:
        run_id = runs.start_run(connection, NOW, Status.FINISHED)
        runs.end_run(connection, run_id, verdict=Verdict.DEPLOYED)

        assert runs.last_decided_run(connection) is None


def test_a_run_that_never_ended_is_aborted(url: str) -> None:
    with database.open_records(url) as engine, database.writing(engine) as connection:
        runs.start_run(connection, NOW)

        n_dead = runs.abort_dead_runs(connection, NOW + timedelta(hours=1))

        assert n_dead == 1
        assert runs.latest_runs(connection, 1)[0]["status"] == Status.ABORTED
        assert runs.abort_dead_runs(connection, NOW) == 0


def test_known_files_are_replaced_whole_with_inodes_of_64_bits(url: str) -> None:
    known = {"a.csv": KnownFile(10, 2**62, 2**64 - 1, "f" * 64)}
    with database.open_records(url) as engine, database.writing(engine) as connection:
        runs.replace_known_files(connection, {"old.csv": KnownFile(1, 1, 1, "0" * 64)})

        runs.replace_known_files(connection, known)

        assert runs.known_files(connection) == known


def start_and_fail(engine: Engine) -> None:
    """Start a run in a failing transaction."""
    with database.writing(engine) as connection:
        runs.start_run(connection, NOW)
        raise ZeroDivisionError


def test_an_error_rolls_the_transaction_back(url: str) -> None:
    with database.open_records(url) as engine:
        with pytest.raises(ZeroDivisionError):
            start_and_fail(engine)

        with database.writing(engine) as connection:
            assert runs.latest_runs(connection, 5) == []


@pytest.fixture
def rows(url: str) -> Iterator[Connection]:
    """Return a transaction on new records with run number 1."""
    with database.open_records(url) as engine, database.writing(engine) as connection:
        runs.start_run(connection, NOW, trigger="cron", versions={"python": "3.13"})
        yield connection


def test_a_run_remembers_what_started_it_and_with_which_versions(rows: Connection) -> None:
    run = runs.find_run(rows, 1)

    assert run is not None
    assert (run["trigger"], run["versions"]) == ("cron", {"python": "3.13"})
    assert runs.find_run(rows, 2) is None
    assert len(runs.newest_rows(rows, tables.runs, 10**6)) == 1


def test_runs_are_listed_newest_first_in_pages(rows: Connection) -> None:
    for _ in range(4):
        # Clocks may step back: the order is that of the ids.
        runs.start_run(rows, NOW - timedelta(days=1))

    assert [run["id"] for run in runs.latest_runs(rows, 2)] == [5, 4]
    assert [run["id"] for run in runs.latest_runs(rows, 2, offset=3)] == [2, 1]
    assert runs.latest_runs(rows, 2, offset=5) == []


def test_the_last_run_that_ended_well_may_be_idle(rows: Connection) -> None:
    assert runs.last_finished_run(rows) is None
    runs.end_run(rows, 1, status=Status.FINISHED, verdict=Verdict.NOTHING_NEW)
    runs.start_run(rows, NOW, Status.FAILED)

    last = runs.last_finished_run(rows)

    assert last is not None
    assert last["id"] == 1


def test_the_files_of_a_run_keep_their_order_and_role(rows: Connection) -> None:
    read = {"sha256": "a" * 64, "n_bytes": 10, "n_rows": 3, "n_rejected": 1, "refused": ""}
    unread = {"sha256": "b" * 64, "n_bytes": 0, "n_rows": None, "n_rejected": None, "refused": None}
    runs.record_files(
        rows,
        1,
        [
            {"role": FileRole.INPUT, "path": "z.csv", **read},
            {"role": FileRole.TEST, "path": "a.csv", **unread},
        ],
    )
    runs.record_files(rows, 1, [])

    recorded = [(file["role"], file["path"], file["n_rows"]) for file in runs.files_of_run(rows, 1)]

    assert recorded == [("input", "z.csv", 3), ("test", "a.csv", None)]
    assert runs.files_of_run(rows, 2) == []


def test_a_model_is_found_by_its_stamp(rows: Connection) -> None:
    runs.record_model(
        rows, 1, stamp="S1", dataset_sha256="d", settings={"C": 1.0}, f1=0.5, n_test_rows=2**40
    )

    model = runs.find_model(rows, "S1")

    assert model is not None
    assert (model["settings"], model["f1"], model["n_test_rows"]) == ({"C": 1.0}, 0.5, 2**40)
    assert runs.newest_rows(rows, tables.models, 10) == [model]
    assert runs.find_model(rows, "S2") is None


def test_a_decision_keeps_its_evidence(rows: Connection) -> None:
    runs.record_decision(
        rows, 1, NOW, answer="deploy", reason="better", candidate_f1=0.75, production_f1=0.5,
        difference=0.25, difference_low=0.1, difference_high=0.4, probability_better=0.99,
        n_test_rows=1000, n_test_positives=300,
    )  # fmt: skip
    runs.record_decision(rows, 1, NOW, answer="hold", reason="worse")

    newest, oldest = runs.list_decisions(rows, 10)

    assert newest["answer"] == "hold"
    assert newest["difference"] is None
    assert (oldest["decided_at"], oldest["probability_better"]) == (NOW, 0.99)
    assert runs.list_decisions(rows, 1, offset=1) == [oldest]


def test_a_rollback_by_hand_belongs_to_no_run(rows: Connection) -> None:
    runs.record_deployment(rows, NOW, DeploymentKind.DEPLOY, "0001_x", run_id=1, actor="cron")
    runs.record_deployment(
        rows, NOW, DeploymentKind.ROLLBACK, "0001_x", previous_release="0002_y", actor="ann",
        reason="complaints",
    )  # fmt: skip

    rollback, deployment = runs.list_deployments(rows, 10)

    assert (rollback["kind"], rollback["run_id"], rollback["actor"]) == ("rollback", None, "ann")
    assert (deployment["kind"], deployment["run_id"]) == ("deploy", 1)


def test_the_statistics_of_a_column_are_found_by_run_and_over_the_runs(rows: Connection) -> None:
    second = runs.start_run(rows, NOW)
    common = {"dataset_stamp": "S", "kind": "numeric", "n_rows": 9, "mean": 1.5}
    for run_id in (1, second):
        runs.record_column_statistics(
            rows, run_id, [{"column": "age", **common}, {"column": "month", **common}]
        )
    runs.record_column_statistics(rows, second, [])

    of_run = runs.column_statistics_of_run(rows, 1)
    over_runs = runs.list_column_statistics(rows, "age", 10)

    assert [row["column"] for row in of_run] == ["age", "month"]
    assert [row["run_id"] for row in over_runs] == [second, 1]
    assert over_runs[0]["mean"] == 1.5


def test_production_is_scored_over_time(rows: Connection) -> None:
    runs.record_production_score(rows, 1, "0001_x", f1=0.5, f1_low=0.4, f1_high=0.6, n_rows=9)

    (score,) = runs.newest_rows(rows, tables.production_scores, 10)

    assert (score["release"], score["f1_low"], score["n_rows"]) == ("0001_x", 0.4, 9)


def test_a_state_has_the_time_of_its_last_change(rows: Connection) -> None:
    later = NOW + timedelta(hours=1)
    assert alert_states.current_state(rows, "model drift") is None
    assert alert_states.set_state(rows, "model drift", "ok", NOW, run_id=1)
    assert not alert_states.set_state(rows, "model drift", "ok", later, run_id=1)
    assert alert_states.set_state(rows, "data drift", "ok", NOW)
    assert alert_states.current_state(rows, "model drift") == {
        "name": "model drift", "state": "ok", "since": NOW, "run_id": 1, "detail": None,
    }  # fmt: skip

    assert alert_states.set_state(rows, "model drift", "alarm", later)

    assert [
        (row["name"], row["state"], row["since"]) for row in alert_states.list_states(rows)
    ] == [
        ("data drift", "ok", NOW),
        ("model drift", "alarm", later),
    ]


def test_a_state_that_stays_has_the_newest_finding_and_causes_no_alert(rows: Connection) -> None:
    for detail in ("12 of 100", "80 of 100"):
        alert_states.record_change(rows, "x", "alarm", at=NOW, detail=detail, run_id=1)

    state = alert_states.current_state(rows, "x")

    assert state is not None
    assert state["detail"] == "80 of 100"
    assert [row["detail"] for row in alert_states.unsent_alerts(rows, NOW)] == ["12 of 100"]


def test_old_runs_are_forgotten_but_for_what_they_decided(rows: Connection) -> None:
    ends: list[dict[str, object]] = [
        {"status": Status.FINISHED, "verdict": Verdict.HELD, "fingerprint": "a"},
        {"status": Status.FINISHED, "verdict": Verdict.DEPLOYED, "fingerprint": "b"},
        {"status": Status.FINISHED, "verdict": Verdict.NOTHING_NEW},
        {"status": Status.SKIPPED},
        {"status": Status.FAILED},
        {"status": Status.FINISHED, "verdict": Verdict.POSTPONED},
        {"status": Status.FINISHED, "verdict": Verdict.NOTHING_NEW},
    ]
    file = {"role": FileRole.INPUT, "path": "a.csv", "sha256": "a" * 64, "n_bytes": 1}
    runs.end_run(rows, 1, **ends[0])
    for facts in ends[1:]:
        runs.end_run(rows, runs.start_run(rows, NOW), **facts)
    for run_id in (1, 2):
        runs.record_files(rows, run_id, [file])
        runs.record_model(rows, run_id, stamp=f"S{run_id}")
    alert_states.set_state(rows, "run", "ok", NOW, run_id=3)

    runs.forget_old_runs(rows, 1)

    # Run 2 is the last decided run, whose files the next run compares with the new files.
    assert [run["id"] for run in runs.latest_runs(rows, 10)] == [7, 5, 2, 1]
    assert [len(runs.files_of_run(rows, run_id)) for run_id in (1, 2)] == [0, 1]
    assert len(runs.newest_rows(rows, tables.models, 10)) == 2
    assert runs.forget_old_runs(rows, 4) == 0


def test_a_release_that_serves_unrecorded_is_recorded_once(rows: Connection) -> None:
    assert not runs.record_found_release(rows, NOW, None)
    assert runs.record_found_release(rows, NOW, "0001_x")
    assert not runs.record_found_release(rows, NOW, "0001_x")

    assert runs.record_found_release(rows, NOW, "0002_y")

    newest, oldest = runs.list_deployments(rows, 10)
    assert (newest["release"], newest["previous_release"]) == ("0002_y", "0001_x")
    assert (oldest["previous_release"], oldest["actor"]) == (None, "recovery")
    assert runs.served_releases(rows) == ["0002_y", "0001_x"]


def record_for_no_run(engine: Engine) -> None:
    """Record a model of an unknown run."""
    with database.writing(engine) as connection:
        runs.record_model(connection, 99, stamp="S")


def misspell_a_column(engine: Engine) -> None:
    """Record a fact without a column."""
    with database.writing(engine) as connection:
        runs.start_run(connection, NOW)
        runs.record_model(connection, 1, stamp="S", F1=0.5)


def record_a_column_twice(engine: Engine) -> None:
    """Record two rows of statistics of the same column and run."""
    row = {"dataset_stamp": "S", "kind": "numeric", "n_rows": 9, "column": "age"}
    with database.writing(engine) as connection:
        run_id = runs.start_run(connection, NOW)
        runs.record_column_statistics(connection, run_id, [row, row])


@pytest.mark.parametrize("wrong", [record_for_no_run, misspell_a_column, record_a_column_twice])
def test_what_cannot_be_right_is_refused_as_a_whole(
    url: str, wrong: Callable[[Engine], None]
) -> None:
    with database.open_records(url) as engine:
        with pytest.raises(RecordsError):
            wrong(engine)

        with database.reading(engine) as connection:
            assert runs.newest_rows(connection, tables.models, 10) == []
            assert runs.latest_runs(connection, 10) == []


WRITER = """
import sys
from datetime import UTC, datetime
from scripts.records import database
from scripts.records import runs
from scripts.core.files import KnownFile
with database.open_records(sys.argv[1]) as engine:
    for _ in range(int(sys.argv[2])):
        with database.writing(engine) as connection:
            known = runs.known_files(connection)
            count = known["x"].n_bytes if known else 0
            runs.replace_known_files(
                connection, {"x": KnownFile(count + 1, 0, 0, "")})
"""


def write_together(url: str, n_processes: int, n_updates: int) -> int:
    """Increment a number from several processes, and return its value."""
    command = [sys.executable, "-c", WRITER, url, str(n_updates)]
    writers = [subprocess.Popen(command, cwd=ROOT) for _ in range(n_processes)]
    assert [writer.wait() for writer in writers] == [0] * n_processes
    with database.open_records(url) as engine, database.reading(engine) as connection:
        return runs.known_files(connection)["x"].n_bytes


def kill_writers(url: str, n_kills: int) -> None:
    """Kill writers during their work, and check their commits and the next writer."""
    chance, before = Random(n_kills), 0
    for _ in range(n_kills):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, url, "100000"], cwd=ROOT)
        time.sleep(chance.uniform(0.2, 1.0))
        writer.kill()
        writer.wait()
        with database.open_records(url) as engine, database.writing(engine) as connection:
            known = runs.known_files(connection)
            count = known["x"].n_bytes if known else 0
            if url.startswith("sqlite"):
                checked = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
                assert checked == "ok"
        assert count >= before
        before = count


def test_no_update_is_lost_between_concurrent_writers(url: str) -> None:
    assert write_together(url, 4, 20) == 80


def test_a_killed_writer_leaves_the_records_whole(url: str) -> None:
    kill_writers(url, 2)


@pytest.mark.campaign
def test_6_writers_of_150_updates_lose_none(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    count = write_together(url, 6, 150)

    with capsys.disabled():
        print(f"\n{url.split(':')[0]}: {count} of {6 * 150} updates kept")
    assert count == 6 * 150


@pytest.mark.campaign
def test_200_killed_writers_leave_the_records_whole(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kill_writers(url, 200)

    with capsys.disabled():
        print(f"\n{url.split(':')[0]}: 200 writers killed, records whole each time")
