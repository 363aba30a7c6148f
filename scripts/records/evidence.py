"""Queries about the evidence of decisions: how often the same test rows have judged."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.tables import FileRole, decisions, files


def count_judged(connection: Connection, run_id: int) -> int:
    """Count the candidates that the test rows of a run have judged, its own included.

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
