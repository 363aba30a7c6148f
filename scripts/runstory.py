"""All that the records hold of one run, and of the data over the runs."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts import database, filebook
from scripts.database import Row, newest_rows
from scripts.tables import column_statistics, decisions, deployments, models, runs

N_DEPLOYMENTS = 5


def first(rows: Sequence[Row]) -> Row | None:
    """Give the first of some rows, if there is one."""
    return rows[0] if rows else None


def find_story(connection: Connection, run_id: int) -> dict[str, Any] | None:
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
    run = database.find_run(connection, run_id)
    if run is None:
        return None
    return {
        "run": run,
        "files": filebook.files_of_run(connection, run_id),
        "model": first(newest_rows(connection, models, 1, run_id=run_id)),
        "decision": first(newest_rows(connection, decisions, 1, run_id=run_id)),
        "deployments": newest_rows(connection, deployments, N_DEPLOYMENTS, run_id=run_id),
        "columns": database.column_statistics_of_run(connection, run_id),
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
