"""What the records tell the pictures and the report: measurements over the runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts import database, runstory, states
from scripts.database import Row
from scripts.tables import (
    RowsOf,
    column_statistics,
    deployments,
    models,
    production_scores,
    runs,
)

# More than so many points of a line are no longer told apart.
N_SCORES = 300
N_DATASETS = 100
N_RUNS = 20
# Far enough back to find how what serves came to serve.
N_LOOKED_AT = 500


@dataclass(frozen=True)
class Past:
    """Measurements of the runs, oldest first; each row knows when its run started."""

    scores: Sequence[Row] = ()
    candidates: Sequence[Row] = ()
    deployments: Sequence[Row] = ()
    columns: Sequence[Row] = ()


NOTHING = Past()


@dataclass(frozen=True)
class Story:
    """How the model in production came to serve, and what happened last, newest first."""

    deployment: Row | None = None
    decision: Row | None = None
    files: Sequence[Row] = ()
    columns: Sequence[Row] = ()
    durations_s: Row | None = None
    runs: Sequence[Row] = ()
    states: Sequence[Row] = ()


NO_STORY = Story()


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


def read(connection: Connection) -> Past:
    """Read what the pictures show of the past."""
    scores = of_runs(connection, production_scores, N_SCORES)
    return Past(
        scores=scores,
        candidates=of_runs(connection, models, N_SCORES),
        deployments=list_deployments(connection, scores[0]["started_at"] if scores else None),
        columns=newest_columns(connection, N_DATASETS),
    )


def first_of(rows: Sequence[Row], **wanted: str) -> Row | None:
    """Find the first row that has these values."""
    return next((row for row in rows if wanted.items() <= dict(row).items()), None)


def read_story(connection: Connection, release: str, model_stamp: str) -> Story:
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
    run_id = runstory.last_described_run(connection)
    told = None if run_id is None else runstory.find_story(connection, run_id)
    last = database.latest_runs(connection, N_RUNS)
    timed = [row for row in last if row["durations_s"] and "training" in row["durations_s"]]
    return Story(
        deployment=first_of(database.list_deployments(connection, N_LOOKED_AT), release=release),
        decision=first_of(
            database.list_decisions(connection, N_LOOKED_AT), candidate_stamp=model_stamp
        ),
        files=() if told is None else told["files"],
        columns=() if told is None else told["columns"],
        durations_s=timed[0]["durations_s"] if timed else None,
        runs=last,
        states=states.list_states(connection),
    )
