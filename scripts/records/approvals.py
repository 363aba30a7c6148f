"""Queries for the approvals: pending candidates, and the decisions on them."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records import runs
from scripts.records.runs import Row
from scripts.records.tables import ApprovalState, approvals, deployments


def record_approval(
    connection: Connection, at: datetime, state: ApprovalState, release: str, **facts: Any
) -> None:
    """Record a new state of a candidate, with columns of `approvals` as facts.

    The fact `actor` is required.
    """
    connection.execute(approvals.insert().values(at=at, state=state, release=release, **facts))


def newest_approval(connection: Connection) -> Row | None:
    """Return the newest change of state of a candidate, or None without changes."""
    return runs.newest_row(connection, approvals)


def find_waiting(connection: Connection) -> Row | None:
    """Return the pending candidate, or None."""
    newest = newest_approval(connection)
    return newest if newest is not None and newest["state"] == ApprovalState.WAITING else None


def find_unfinished(connection: Connection) -> Row | None:
    """Return an approval without a deployment since, left by a killed program, or None."""
    newest = newest_approval(connection)
    if newest is None or newest["state"] != ApprovalState.APPROVED:
        return None
    # A rollback or another deployment since then was a later decision of a person.
    since = sa.select(deployments.c.id).where(deployments.c.at >= newest["at"]).limit(1)
    return newest if connection.execute(since).first() is None else None
