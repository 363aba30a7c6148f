"""Queries for charts and reports, on both databases."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from scripts.records import approvals, database, run_details, runs, shadows
from scripts.records.tables import ApprovalState, DeploymentKind

START = datetime(2026, 3, 1, tzinfo=UTC)


def record_runs(connection: Connection, n_runs: int) -> None:
    """Record runs a day apart, each with a score, a model, a column and a deployment."""
    for number in range(n_runs):
        at = START + timedelta(days=number)
        run_id = runs.start_run(connection, at)
        runs.record_production_score(connection, run_id, f"r{number}", f1=0.5, n_rows=9)
        runs.record_model(connection, run_id, stamp=f"s{number}")
        column = {
            "column": "a", "kind": "numeric", "dataset_stamp": "d", "n_rows": number,
        }  # fmt: skip
        runs.record_column_statistics(connection, run_id, [column, column | {"column": "b"}])
        runs.record_deployment(
            connection, at, DeploymentKind.DEPLOY, f"r{number}", actor="hand", run_id=run_id
        )


def test_rows_come_oldest_first_with_the_start_of_their_run(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        record_runs(connection, 3)

        history = run_details.read_measurements(connection)

    moments = [START + timedelta(days=number) for number in range(3)]
    assert [row["started_at"] for row in history.scores] == moments
    assert [row["stamp"] for row in history.candidates] == ["s0", "s1", "s2"]
    assert [row["release"] for row in history.deployments] == ["r0", "r1", "r2"]
    assert [(row["column"], row["n_rows"]) for row in history.columns] == [
        ("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2),
    ]  # fmt: skip


def test_only_the_newest_runs_are_read(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        record_runs(connection, run_details.N_DATASETS + 5)

        history = run_details.read_measurements(connection)

    assert len(history.scores) == run_details.N_DATASETS + 5
    assert {row["n_rows"] for row in history.columns} == set(range(5, run_details.N_DATASETS + 5))


def test_empty_records_have_no_measurements(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.reading(engine) as connection:
        history = run_details.read_measurements(connection)

    assert not any((history.scores, history.candidates, history.deployments, history.columns))


def test_a_run_has_its_shadow_its_approvals_and_the_later_ways_of_its_release(
    records_url: str,
) -> None:
    client = {
        "kind": "move", "client": "acme", "candidate_probability": 0.5, "candidate_position": 1,
        "production_probability": 0.25, "production_position": 2, "reasons": ["a 1"],
    }  # fmt: skip
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        record_runs(connection, 2)
        runs.record_decision(
            connection, 2, START, answer="deploy", reason="better",
            shadow={"production_release": "r0"},
        )  # fmt: skip
        shadows.record_clients(connection, 2, [client])
        approvals.record_approval(
            connection, START, ApprovalState.APPROVED, "r1", run_id=2, actor="ada"
        )
        runs.record_deployment(
            connection, START, DeploymentKind.ROLLBACK, "r0", previous_release="r1", actor="bob"
        )

        details = run_details.find_run_details(connection, 2)
        n_kept = shadows.forget_old_clients(connection, 1)
        forgotten = shadows.find_shadow(connection, 2)

    assert details is not None
    assert details["trained_before"] == 1
    assert details["shadow"]["moves"][0]["client"] == "acme"
    assert [row["actor"] for row in details["approvals"]] == ["ada"]
    assert [(row["kind"], row["release"]) for row in details["deployments"]] == [
        ("rollback", "r0"), ("deploy", "r1"),
    ]  # fmt: skip
    assert n_kept == 0
    assert forgotten == details["shadow"]
