"""Stores the watched states and the alerts about their changes."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, all_rows, first_row
from scripts.records.tables import alerts, states

# The state without a problem.
OK = "ok"


def current_state(connection: Connection, name: str) -> Row | None:
    """Return the recorded state of a name: name, state, since, run_id."""
    return first_row(connection, sa.select(states).where(states.c.name == name))


def list_states(connection: Connection) -> list[Row]:
    """List the recorded states by name."""
    return all_rows(connection, sa.select(states).order_by(states.c.name))


def set_state(
    connection: Connection, name: str, state: str, since: datetime, run_id: int | None = None,
    detail: str | None = None,
) -> bool:  # fmt: skip
    """Record a state and return whether it differs from the previous state, if any.

    The detail is that of the newest finding, also where the state stays.
    """
    before = current_state(connection, name)
    changed = {"state": state, "since": since, "run_id": run_id, "detail": detail}
    if before is None:
        connection.execute(states.insert().values(name=name, **changed))
        return True
    known = states.update().where(states.c.name == name)
    if before["state"] == state:
        connection.execute(known.values(detail=detail))
        return False
    connection.execute(known.values(**changed))
    return True


def record_change(
    connection: Connection,
    name: str,
    state: str,
    *,
    at: datetime,
    detail: str,
    run_id: int | None,
) -> bool:
    """Record a state, and an unsent alert after a change of state.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    name, state : str
        Name of the watched thing and its state, "ok" without a problem. A first "ok" causes no
        alert.
    at : datetime
        The present.
    detail : str
        A sentence for people.
    run_id : int or None
        The run with the new state.

    Returns
    -------
    bool
        Whether an alert is due.
    """
    before = current_state(connection, name)
    changed = set_state(connection, name, state, at, run_id, detail)
    if not changed or (before is None and state == OK):
        return False
    previous = None if before is None else before["state"]
    connection.execute(
        alerts.insert().values(
            name=name, state=state, previous_state=previous, at=at, detail=detail, run_id=run_id
        )
    )
    return True


def unsent_alerts(connection: Connection, since: datetime) -> list[Row]:
    """List the unsent alerts since a moment, oldest first."""
    due = sa.select(alerts).where(alerts.c.sent_at.is_(None), alerts.c.at >= since)
    return all_rows(connection, due.order_by(alerts.c.id))


def mark_sent(connection: Connection, ids: Sequence[int], at: datetime) -> None:
    """Record the time of sending for alerts."""
    connection.execute(alerts.update().where(alerts.c.id.in_(ids)).values(sent_at=at))
