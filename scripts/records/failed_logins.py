"""Queries for the failed logins of the service, counted by minute and address.

The service writes them in batches, and several processes add to the same rows.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.core.failed_logins import MAX_PER_HOUR, Counted, FailedLogin, Failures, Way
from scripts.records.runs import first_row
from scripts.records.tables import failed_logins

logins = failed_logins.c
KEPT = timedelta(days=90)
HOUR = timedelta(hours=1)


def is_row_of(login: FailedLogin) -> "sa.ColumnElement[bool]":
    """Return the condition of the row that counts some failures."""
    return sa.and_(
        logins.minute == login.minute, logins.address == login.address,
        logins.way == login.way, logins.actor == login.actor,
    )  # fmt: skip


def find(connection: Connection, login: FailedLogin) -> Failures | None:
    """Return what is counted already, None without a row."""
    row = first_row(connection, sa.select(failed_logins).where(is_row_of(login)))
    if row is None:
        return None
    return Failures(row["at"], row["last_at"], row["n_failed"], row["n_locked_out"])


def is_full(connection: Connection, hour: datetime) -> bool:
    """Return whether an hour has as many rows as are kept of it."""
    query = sa.select(sa.func.count()).where(
        logins.minute >= hour, logins.minute < hour + HOUR, logins.way != Way.LEFT_OUT
    )
    return int(connection.execute(query).scalar_one()) >= MAX_PER_HOUR


def add(connection: Connection, login: FailedLogin, failures: Failures) -> None:
    """Add failures to their row, or to that of the left out ones if the hour is full."""
    known = find(connection, login)
    if known is None and login.way is not Way.LEFT_OUT and is_full(connection, login.hour):
        return add(connection, login.left_out, failures)
    counted = failures if known is None else known.plus(failures)
    counts = {
        "at": counted.at, "last_at": counted.last_at,
        "n_failed": counted.n_failed, "n_locked_out": counted.n_locked_out,
    }  # fmt: skip
    if known is not None:
        connection.execute(failed_logins.update().where(is_row_of(login)).values(counts))
        return None
    own = {
        "minute": login.minute, "address": login.address, "way": login.way, "actor": login.actor
    }  # fmt: skip
    connection.execute(failed_logins.insert().values(own | counts))
    return None


def forget_old(connection: Connection, now: datetime) -> None:
    """Delete the failed logins that are older than they are kept."""
    connection.execute(failed_logins.delete().where(logins.minute < now - KEPT))


def record(connection: Connection, counted: Counted, now: datetime) -> None:
    """Add failed logins to the records, and remove the old ones.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A writing transaction, which excludes other writers.
    counted : mapping of FailedLogin to Failures
        The failures since the last call.
    now : datetime
        The present.
    """
    for login, failures in counted.items():
        add(connection, login, failures)
    forget_old(connection, now)
