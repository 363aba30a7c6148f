"""Queries for pages and reports: details of a run, measurements over the runs, release history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from scripts.records import alert_states, evidence, people_names, runs, shadows, tables
from scripts.records.runs import Row
from scripts.records.tables import RowsOf

N_DEPLOYMENTS = 20
# A chart cannot show more points of a line.
N_SCORES = 300
N_DATASETS = 100
N_RUNS = 20
# Number of decisions and deployments in the search for those of the serving release.
N_SEARCHED = 500


class MeasurementHistory(Struct, frozen=True):
    """Measurements of the runs with the start of each run, oldest first."""

    scores: Sequence[Row] = ()
    candidates: Sequence[Row] = ()
    deployments: Sequence[Row] = ()
    columns: Sequence[Row] = ()


NO_MEASUREMENTS = MeasurementHistory()


class ReleaseHistory(Struct, frozen=True):
    """Deployment and decision behind the serving release, and the last runs, newest first."""

    deployment: Row | None = None
    decision: Row | None = None
    shadow: Row | None = None
    files: Sequence[Row] = ()
    columns: Sequence[Row] = ()
    durations_s: Row | None = None
    runs: Sequence[Row] = ()
    states: Sequence[Row] = ()


NO_RELEASE_HISTORY = ReleaseHistory()


def list_changes(connection: Connection, run_id: int) -> list[Row]:
    """List the changes of the serving release that concern a run, newest first.

    These are the deployments of the run, and every later deployment or rollback to or from its
    release.
    """
    table = tables.deployments
    of_run = [
        sa.select(own.c.release).where(own.c.run_id == run_id)
        for own in (tables.deployments, tables.approvals)
    ]
    released = sa.union(*of_run).subquery()
    concerned = sa.select(released.c.release)
    query = sa.select(table).where(
        sa.or_(
            table.c.run_id == run_id,
            table.c.release.in_(concerned),
            table.c.previous_release.in_(concerned),
        )
    )
    return runs.all_rows(connection, query.order_by(table.c.id.desc()).limit(N_DEPLOYMENTS))


def find_run_details(connection: Connection, run_id: int) -> dict[str, Any] | None:
    """Return the details of a run, or None for an unknown id.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction for reading.
    run_id : int
        Id of the run.

    Returns
    -------
    dict or None
        The run, the run that trained before, its files, model, decision and shadow, approvals,
        deployments and alerts, newest first, and the columns of its dataset.
    """
    run = runs.find_run(connection, run_id)
    if run is None:
        return None
    before = sa.select(sa.func.max(tables.models.c.run_id)).where(tables.models.c.run_id < run_id)
    return {
        "run": run,
        "trained_before": connection.execute(before).scalar(),
        "files": runs.files_of_run(connection, run_id),
        "model": runs.newest_row(connection, tables.models, run_id=run_id),
        "decision": runs.newest_row(connection, tables.decisions, run_id=run_id),
        "approvals": runs.newest_rows(connection, tables.approvals, N_DEPLOYMENTS, run_id=run_id),
        "deployments": list_changes(connection, run_id),
        "alerts": runs.newest_rows(connection, tables.alerts, N_DEPLOYMENTS, run_id=run_id),
        "shadow": people_names.add_names(connection, shadows.find_shadow(connection, run_id)),
        "groups": evidence.groups_of_run(connection, run_id),
        "columns": runs.column_statistics_of_run(connection, run_id),
    }


def last_described_run(connection: Connection) -> int | None:
    """Return the id of the last run with column statistics, or None."""
    return connection.execute(sa.select(sa.func.max(tables.column_statistics.c.run_id))).scalar()


def measured_states(connection: Connection, since: datetime) -> set[str]:
    """Return which of the states "data" and "model" were measured in runs after a moment."""
    later = sa.select(tables.runs.c.id).where(tables.runs.c.started_at > since)
    columns, scores = tables.column_statistics.c, tables.production_scores.c
    measured = {
        "data": sa.select(columns.run_id).where(columns.run_id.in_(later), columns.n_compared > 0),
        "model": sa.select(scores.run_id).where(scores.run_id.in_(later)),
    }
    return {name for name, query in measured.items() if connection.execute(query.limit(1)).first()}


def decided_models(connection: Connection, limit: int) -> list[Row]:
    """List the last models with the start of their run and the decision, newest first."""
    query = (
        sa.select(tables.models, tables.runs.c.started_at, tables.decisions.c.answer)
        .join(tables.runs, tables.runs.c.id == tables.models.c.run_id)
        .outerjoin(tables.decisions, tables.decisions.c.run_id == tables.models.c.run_id)
        .order_by(tables.models.c.id.desc())
    )
    return runs.all_rows(connection, query.limit(limit))


def rows_with_start(connection: Connection, table: sa.Table, limit: int) -> list[Row]:
    """List the newest rows of a table with the start of their run, oldest first."""
    query = sa.select(table, tables.runs.c.started_at).join(
        tables.runs, table.c.run_id == tables.runs.c.id
    )
    return runs.all_rows(connection, query.order_by(table.c.id.desc()).limit(limit))[::-1]


def statistics_of_datasets(connection: Connection, n_datasets: int) -> list[Row]:
    """List the column statistics of the newest datasets, oldest first."""
    table = tables.column_statistics
    of_datasets = table.c.role == RowsOf.DATASET
    newest = sa.select(table.c.run_id).where(of_datasets).distinct()
    newest = newest.order_by(table.c.run_id.desc()).limit(n_datasets)
    query = (
        sa.select(table, tables.runs.c.started_at)
        .join(tables.runs, table.c.run_id == tables.runs.c.id)
        .where(of_datasets, table.c.run_id.in_(newest))
        .order_by(table.c.id)
    )
    return runs.all_rows(connection, query)


def deployments_since(connection: Connection, since: datetime | None) -> list[Row]:
    """List the deployments and rollbacks since a moment, oldest first."""
    query = sa.select(tables.deployments).order_by(tables.deployments.c.id)
    if since is not None:
        query = query.where(tables.deployments.c.at >= since)
    return runs.all_rows(connection, query)


def read_measurements(connection: Connection) -> MeasurementHistory:
    """Return the measurements for the charts."""
    scores = rows_with_start(connection, tables.production_scores, N_SCORES)
    return MeasurementHistory(
        scores=scores,
        candidates=rows_with_start(connection, tables.models, N_SCORES),
        deployments=deployments_since(connection, scores[0]["started_at"] if scores else None),
        columns=statistics_of_datasets(connection, N_DATASETS),
    )


def first_match(rows: Sequence[Row], **values: str) -> Row | None:
    """Return the first row with given values, or None."""
    return next((row for row in rows if values.items() <= dict(row).items()), None)


def read_release_history(connection: Connection, release: str, model_stamp: str) -> ReleaseHistory:
    """Return the history of a release and the last runs, for the report.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction for reading.
    release : str
        Name of the serving release.
    model_stamp : str
        Stamp of its model.
    """
    run_id = last_described_run(connection)
    details = None if run_id is None else find_run_details(connection, run_id)
    last_runs = runs.latest_runs(connection, N_RUNS)
    timed = [row for row in last_runs if row["durations_s"] and "training" in row["durations_s"]]
    decision = first_match(runs.list_decisions(connection, N_SEARCHED), candidate_stamp=model_stamp)
    return ReleaseHistory(
        deployment=first_match(runs.list_deployments(connection, N_SEARCHED), release=release),
        decision=decision,
        shadow=None
        if decision is None
        else people_names.add_names(
            connection, shadows.find_shadow(connection, decision["run_id"])
        ),
        files=() if details is None else details["files"],
        columns=() if details is None else details["columns"],
        durations_s=timed[0]["durations_s"] if timed else None,
        runs=last_runs,
        states=alert_states.list_states(connection),
    )
