"""What alerts remember: the state of each thing that is watched, and who is still to be told."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, first_row
from scripts.records.tables import alerts, states

# The state in which all is well.
OK = "ok"


def current_state(connection: Connection, name: str) -> Row | None:
    """Find the state that an alert remembers: name, state, since, run_id."""
    return first_row(connection, sa.select(states).where(states.c.name == name))


def list_states(connection: Connection) -> list[Row]:
    """List all states that alerts remember, by name."""
    rows = connection.execute(sa.select(states).order_by(states.c.name)).mappings()
    return [dict(row) for row in rows]


def set_state(
    connection: Connection, name: str, state: str, since: datetime, run_id: int | None = None
) -> bool:
    """Remember a state and say whether it is another one than before; the first one is."""
    before = current_state(connection, name)
    if before is None:
        connection.execute(
            states.insert().values(name=name, state=state, since=since, run_id=run_id)
        )
        return True
    if before["state"] == state:
        return False
    changed = states.update().where(states.c.name == name)
    connection.execute(changed.values(state=state, since=since, run_id=run_id))
    return True


def record_change(
    connection: Connection, name: str, state: str, at: datetime, detail: str, run_id: int | None
) -> bool:
    """Remember a state and, if it is another one than before, that an alert is due; say whether.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    name, state : str
        Of what, and which; "ok" when all is well. That all is well at first is no news.
    at : datetime
        Now.
    detail : str
        One sentence for people.
    run_id : int or None
        The run that found it.
    """
    before = current_state(connection, name)
    changed = set_state(connection, name, state, at, run_id)
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
    """List the alerts since a moment that nobody has been told, oldest first."""
    due = sa.select(alerts).where(alerts.c.sent_at.is_(None), alerts.c.at >= since)
    return [dict(row) for row in connection.execute(due.order_by(alerts.c.id)).mappings()]


def mark_sent(connection: Connection, ids: Sequence[int], at: datetime) -> None:
    """Remember that alerts were sent."""
    connection.execute(alerts.update().where(alerts.c.id.in_(ids)).values(sent_at=at))
