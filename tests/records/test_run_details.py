"""Queries for charts and reports, on both databases."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from scripts.records import database, run_details, runs
from scripts.records.tables import DeploymentKind

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
