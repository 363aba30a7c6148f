"""Queries for the deliveries of the list: the weekly mails, and the events for a webhook."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, first_row
from scripts.records.tables import list_events, list_mails, list_snapshots

mails, events = list_mails.c, list_events.c
# The only row of the snapshots.
SNAPSHOT = 1
# Events are kept so long after they were sent or given up, and mails after their week.
KEPT_EVENTS, KEPT_MAILS = timedelta(days=90), timedelta(days=400)
WAITING = sa.and_(events.sent_at.is_(None), events.given_up_at.is_(None))


class MailState(StrEnum):
    """The state of the mail of a week.

    `handed` is written before the last byte goes to the server. A program that is killed after
    that cannot know whether the server has the mail, which is then `unknown`.
    """

    TRYING = "trying"
    HANDED = "handed"
    SENT = "sent"
    UNKNOWN = "unknown"


def find_mail(connection: Connection, week: str) -> Row | None:
    """Return the mail of a week, None before the first attempt."""
    return first_row(connection, sa.select(list_mails).where(mails.week == week))


def last_mail(connection: Connection) -> Row | None:
    """Return the mail of the latest week, None before the first mail."""
    return first_row(connection, sa.select(list_mails).order_by(mails.week.desc()))


def last_sent_mail(connection: Connection, before: str) -> Row | None:
    """Return the last mail before a week with the state sent or unknown, with the members."""
    query = sa.select(list_mails).where(
        mails.week < before, mails.state.in_([MailState.SENT, MailState.UNKNOWN]),
        mails.members.is_not(None),
    )  # fmt: skip
    return first_row(connection, query.order_by(mails.week.desc()))


def begin_mail(
    connection: Connection, week: str, *, run_id: int | None, at: datetime, message_id: str
) -> Row:
    """Record an attempt to send the mail of a week, and return the row of the mail."""
    known = find_mail(connection, week)
    if known is None:
        connection.execute(
            list_mails.insert().values(
                week=week, run_id=run_id, at=at, message_id=message_id, state=MailState.TRYING,
                n_attempts=1, n_clients=0,
            )
        )  # fmt: skip
    else:
        attempt = list_mails.update().where(mails.week == week)
        connection.execute(attempt.values(n_attempts=mails.n_attempts + 1, state=MailState.TRYING))
    found = find_mail(connection, week)
    # The row was written above in this transaction.
    assert found is not None
    return found


def mark_mail(connection: Connection, week: str, state: MailState, **facts: Any) -> None:
    """Record the state of the mail of a week, with further columns of `list_mails`."""
    connection.execute(list_mails.update().where(mails.week == week).values(state=state, **facts))


def find_snapshot(connection: Connection) -> Row | None:
    """Return the last list reported to the receiver of events, None before the first list."""
    return first_row(connection, sa.select(list_snapshots))


def replace_snapshot(connection: Connection, **facts: Any) -> None:
    """Record the list reported to the receiver of events, with columns by name."""
    connection.execute(list_snapshots.delete())
    connection.execute(list_snapshots.insert().values(id=SNAPSHOT, **facts))


def add_events(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add waiting events, in order."""
    for row in rows:
        connection.execute(list_events.insert().values(n_attempts=0, n_refused=0, **row))


def next_event(connection: Connection) -> Row | None:
    """Return the first waiting event."""
    return first_row(connection, sa.select(list_events).where(WAITING).order_by(events.id))


def count_waiting(connection: Connection) -> int:
    """Count the waiting events."""
    query = sa.select(sa.func.count()).select_from(list_events).where(WAITING)
    return int(connection.execute(query).scalar_one())


def count_given_up(connection: Connection) -> int:
    """Count the events given up after too many attempts."""
    given_up = events.given_up_at.is_not(None)
    query = sa.select(sa.func.count()).select_from(list_events).where(given_up)
    return int(connection.execute(query).scalar_one())


def mark_event(connection: Connection, event: int, **facts: Any) -> None:
    """Record the result of an attempt to send an event, with columns of `list_events`."""
    changed = list_events.update().where(events.id == event)
    connection.execute(changed.values(n_attempts=events.n_attempts + 1, **facts))


def retry_given_up(connection: Connection, at: datetime) -> int:
    """Mark the given-up events as waiting again, and return their number."""
    again = list_events.update().where(events.given_up_at.is_not(None))
    result = connection.execute(again.values(given_up_at=None, n_refused=0, at=at))
    return int(result.rowcount)


def forget_old(connection: Connection, now: datetime) -> None:
    """Delete old events and mails, and the clients of all mails but the last two."""
    done_at = sa.func.coalesce(events.sent_at, events.given_up_at)
    connection.execute(list_events.delete().where(done_at < now - KEPT_EVENTS))
    connection.execute(list_mails.delete().where(mails.at < now - KEPT_MAILS))
    newest = sa.select(mails.week).order_by(mails.week.desc()).limit(2)
    old = mails.week.not_in(newest.scalar_subquery())
    connection.execute(list_mails.update().where(old).values(members=sa.null()))
