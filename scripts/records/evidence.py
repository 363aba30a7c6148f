"""Queries about the evidence of decisions: uses of the same test rows, metrics by group."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, all_rows
from scripts.records.tables import FileRole, decisions, files, group_metrics


def count_judged(connection: Connection, run_id: int) -> int:
    """Count the candidates judged on the test rows of a run, with its own candidate.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    run_id : int
        A run with recorded test files.

    Returns
    -------
    int
        At least 1. A file counts by its content, and the most used file decides, so rows added in
        a new file do not make the others fresh.
    """
    own = sa.select(files.c.sha256).where(files.c.run_id == run_id, files.c.role == FileRole.TEST)
    uses = (
        sa.select(sa.func.count(sa.distinct(decisions.c.run_id)).label("n_uses"))
        .join(files, files.c.run_id == decisions.c.run_id)
        .where(files.c.role == FileRole.TEST, files.c.sha256.in_(own), files.c.run_id != run_id)
        .group_by(files.c.sha256)
        .subquery()
    )
    most = connection.execute(sa.select(sa.func.max(uses.c.n_uses))).scalar()
    return 1 + int(most or 0)


def record_groups(connection: Connection, run_id: int, rows: Sequence[Row]) -> None:
    """Record the metrics of a run's candidate by group, as rows of `group_metrics`."""
    if rows:
        connection.execute(group_metrics.insert(), [{"run_id": run_id, **row} for row in rows])


def groups_of_run(connection: Connection, run_id: int) -> list[Row]:
    """List the metrics by group of a run, in the order of recording."""
    query = sa.select(group_metrics).filter_by(run_id=run_id).order_by(group_metrics.c.id)
    return all_rows(connection, query)
