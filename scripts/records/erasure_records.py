"""Queries for the erasures of clients: intended, done and taken back, by keyed hash."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, all_rows
from scripts.records.tables import ErasureState, erasures


def record(
    connection: Connection,
    state: ErasureState,
    client_hash: str,
    facts: Mapping[str, Any] | None = None,
    **told: Any,
) -> None:
    """Record a step of an erasure.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    state : ErasureState
        The step.
    client_hash : str
        The keyed hash of the client, who is not named.
    facts : mapping, optional
        Numbers of what was removed.
    **told : object
        `at`, `actor` and `reason`.
    """
    row = {"state": state, "client_hash": client_hash, "facts": facts, **told}
    connection.execute(erasures.insert().values(**row))


def list_erasures(connection: Connection) -> list[Row]:
    """List the steps of all erasures, the oldest first."""
    return all_rows(connection, sa.select(erasures).order_by(erasures.c.id))


def count_since(connection: Connection, moment: datetime) -> int:
    """Count the clients whose erasure began after a moment."""
    is_later = sa.and_(erasures.c.at >= moment, erasures.c.state == ErasureState.BEGUN)
    query = sa.select(sa.func.count(sa.distinct(erasures.c.client_hash))).where(is_later)
    return int(connection.execute(query).scalar_one())


def find_unknown(connection: Connection, listed: Iterable[str]) -> set[str]:
    """Return the listed keyed hashes without a recorded erasure, as after a restored backup."""
    known = connection.execute(sa.select(erasures.c.client_hash).distinct()).scalars()
    return set(listed) - set(known)


def find_unfinished(connection: Connection) -> dict[str, Row]:
    """Return the first step of each unfinished erasure, by keyed hash."""
    begun: dict[str, Row] = {}
    for row in list_erasures(connection):
        if row["state"] == ErasureState.BEGUN:
            begun.setdefault(row["client_hash"], row)
        else:
            begun.pop(row["client_hash"], None)
    return begun
