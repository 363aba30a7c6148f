"""All that the records hold of one run, and of the data over the runs.

What the records tell the pictures and the report: measurements over the runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records import alert_states
from scripts.records import runs as records_runs
from scripts.records.runs import Row, newest_rows
from scripts.records.tables import (
    RowsOf,
    column_statistics,
    decisions,
    deployments,
    models,
    production_scores,
    runs,
)

N_DEPLOYMENTS = 5


def first(rows: Sequence[Row]) -> Row | None:
    """Give the first of some rows, if there is one."""
    return rows[0] if rows else None


def find_run_details(connection: Connection, run_id: int) -> dict[str, Any] | None:
    """Find all of one run; None if there was no such run.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    run_id : int
        Its number.

    Returns
    -------
    dict or None
        The run, its files, model, decision, deployments and the columns of its dataset.
    """
    run = records_runs.find_run(connection, run_id)
    if run is None:
        return None
    return {
        "run": run,
        "files": records_runs.files_of_run(connection, run_id),
        "model": first(newest_rows(connection, models, 1, run_id=run_id)),
        "decision": first(newest_rows(connection, decisions, 1, run_id=run_id)),
        "deployments": newest_rows(connection, deployments, N_DEPLOYMENTS, run_id=run_id),
        "columns": records_runs.column_statistics_of_run(connection, run_id),
    }


def last_described_run(connection: Connection) -> int | None:
    """Find the last run whose dataset is described column by column."""
    return connection.execute(sa.select(sa.func.max(column_statistics.c.run_id))).scalar()


def decided_models(connection: Connection, limit: int) -> list[Row]:
    """List the last models with the time of their run and what was decided, newest first."""
    query = (
        sa.select(models, runs.c.started_at, decisions.c.answer)
        .join(runs, runs.c.id == models.c.run_id)
        .outerjoin(decisions, decisions.c.run_id == models.c.run_id)
        .order_by(models.c.id.desc())
    )
    return [dict(row) for row in connection.execute(query.limit(limit)).mappings()]


# More than so many points of a line are no longer told apart.
N_SCORES = 300
N_DATASETS = 100
N_RUNS = 20
# Far enough back to find how what serves came to serve.
N_LOOKED_AT = 500


@dataclass(frozen=True)
class MeasurementHistory:
    """Measurements of the runs, oldest first; each row knows when its run started."""

    scores: Sequence[Row] = ()
    candidates: Sequence[Row] = ()
    deployments: Sequence[Row] = ()
    columns: Sequence[Row] = ()


NO_MEASUREMENTS = MeasurementHistory()


@dataclass(frozen=True)
class ReleaseHistory:
    """How the model in production came to serve, and what happened last, newest first."""

    deployment: Row | None = None
    decision: Row | None = None
    files: Sequence[Row] = ()
    columns: Sequence[Row] = ()
    durations_s: Row | None = None
    runs: Sequence[Row] = ()
    states: Sequence[Row] = ()


NO_RELEASE_HISTORY = ReleaseHistory()


def of_runs(connection: Connection, table: sa.Table, limit: int) -> list[Row]:
    """List the newest rows of a table that belong to runs, oldest first, with the runs' starts."""
    query = sa.select(table, runs.c.started_at).join(runs, table.c.run_id == runs.c.id)
    rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit)).mappings()
    return [dict(row) for row in reversed(rows.all())]


def newest_columns(connection: Connection, n_datasets: int) -> list[Row]:
    """List the statistics of all columns of the newest datasets, oldest first."""
    table = column_statistics
    of_datasets = table.c.role == RowsOf.DATASET
    newest = sa.select(table.c.run_id).where(of_datasets).distinct()
    newest = newest.order_by(table.c.run_id.desc()).limit(n_datasets)
    query = (
        sa.select(table, runs.c.started_at)
        .join(runs, table.c.run_id == runs.c.id)
        .where(of_datasets, table.c.run_id.in_(newest))
        .order_by(table.c.id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def list_deployments(connection: Connection, since: datetime | None) -> list[Row]:
    """List the deployments and rollbacks since a moment, oldest first."""
    query = sa.select(deployments).order_by(deployments.c.id)
    if since is not None:
        query = query.where(deployments.c.at >= since)
    return [dict(row) for row in connection.execute(query).mappings()]


def read_measurements(connection: Connection) -> MeasurementHistory:
    """Read what the pictures show of the past."""
    scores = of_runs(connection, production_scores, N_SCORES)
    return MeasurementHistory(
        scores=scores,
        candidates=of_runs(connection, models, N_SCORES),
        deployments=list_deployments(connection, scores[0]["started_at"] if scores else None),
        columns=newest_columns(connection, N_DATASETS),
    )


def first_of(rows: Sequence[Row], **wanted: str) -> Row | None:
    """Find the first row that has these values."""
    return next((row for row in rows if wanted.items() <= dict(row).items()), None)


def read_release_history(connection: Connection, release: str, model_stamp: str) -> ReleaseHistory:
    """Read what a report tells of the release that serves and of the last runs.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    release : str
        What serves.
    model_stamp : str
        Its model.
    """
    run_id = last_described_run(connection)
    told = None if run_id is None else find_run_details(connection, run_id)
    last = records_runs.latest_runs(connection, N_RUNS)
    timed = [row for row in last if row["durations_s"] and "training" in row["durations_s"]]
    return ReleaseHistory(
        deployment=first_of(
            records_runs.list_deployments(connection, N_LOOKED_AT), release=release
        ),
        decision=first_of(
            records_runs.list_decisions(connection, N_LOOKED_AT), candidate_stamp=model_stamp
        ),
        files=() if told is None else told["files"],
        columns=() if told is None else told["columns"],
        durations_s=timed[0]["durations_s"] if timed else None,
        runs=last,
        states=alert_states.list_states(connection),
    )
