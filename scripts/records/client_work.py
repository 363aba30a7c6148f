"""Queries for the work with clients: contacts, assignments and snoozes, as a history."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, all_rows
from scripts.records.tables import WorkKind, client_work

# Names in one query; SQLite takes 32,766 values.
BATCH_NAMES = 1_000
work = client_work.c


def record_work(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add entries to the history, with columns of `client_work` by name."""
    for row in rows:
        connection.execute(client_work.insert().values(**row))


def last_entry(connection: Connection) -> int:
    """Return the number of the last entry, 0 without entries."""
    number = connection.execute(sa.select(sa.func.max(work.id))).scalar()
    return int(number or 0)


def list_work(connection: Connection, names: Iterable[str]) -> dict[str, list[Row]]:
    """Return the entries of some clients by name, the oldest first."""
    found: dict[str, list[Row]] = {}
    wanted = list(names)
    for start in range(0, len(wanted), BATCH_NAMES):
        part = wanted[start : start + BATCH_NAMES]
        for row in all_rows(
            connection, sa.select(client_work).where(work.client.in_(part)).order_by(work.id)
        ):
            found.setdefault(row["client"], []).append(row)
    return found


def latest_work(connection: Connection, limit: int, offset: int) -> list[Row]:
    """Return a page of the entries about all clients, newest first."""
    query = sa.select(client_work).order_by(work.id.desc())
    return all_rows(connection, query.limit(limit).offset(offset))


def list_snoozed(connection: Connection, today: date, up_to: int) -> list[Row]:
    """List the last snooze of each client with an end after a day.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    today : datetime.date
        The day, in UTC.
    up_to : int
        The number of the last entry that counts.
    """
    later = client_work.alias()
    is_older = sa.exists().where(
        later.c.client == work.client, later.c.kind == WorkKind.SNOOZE, later.c.id > work.id,
        later.c.id <= up_to,
    )  # fmt: skip
    query = sa.select(client_work).where(
        work.kind == WorkKind.SNOOZE, work.snoozed_until > today.isoformat(), work.id <= up_to,
        ~is_older,
    )  # fmt: skip
    return all_rows(connection, query)


def list_states(connection: Connection, up_to: int) -> dict[str, list[Row]]:
    """Return the current state of the work by client: the latest entry of each kind.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    up_to : int
        The number of the last entry that counts.
    """
    rank = (
        sa.func.row_number()
        .over(
            partition_by=(work.client, work.kind),
            order_by=(sa.func.coalesce(work.contacted_on, "").desc(), work.id.desc()),
        )
        .label("rank")
    )
    ranked = sa.select(client_work, rank).where(work.id <= up_to).subquery()
    query = sa.select(*[ranked.c[column.name] for column in client_work.c])
    found: dict[str, list[Row]] = {}
    for row in all_rows(connection, query.where(ranked.c.rank == 1).order_by(ranked.c.id)):
        found.setdefault(row["client"], []).append(row)
    return found


def count_results(connection: Connection, since: datetime | None) -> dict[str, int]:
    """Count the contacts recorded after a moment by their result, the most frequent first."""
    number = sa.func.count()
    query = sa.select(work.result, number).where(work.kind == WorkKind.CONTACT)
    if since is not None:
        query = query.where(work.at > since)
    rows = connection.execute(query.group_by(work.result).order_by(number.desc(), work.result))
    return {str(result): int(n) for result, n in rows}


def list_assignees(connection: Connection) -> list[str]:
    """List everybody with a client assigned at any time."""
    query = sa.select(work.assigned_to).where(work.kind == WorkKind.ASSIGNMENT)
    return sorted(name for name in connection.execute(query.distinct()).scalars() if name)
