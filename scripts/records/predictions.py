"""What the records keep of live predictions: rows as they were predicted, the newest ones."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, first_row
from scripts.records.tables import RowsOf, column_statistics, deployments, predictions, runs

OPEN_HASH_LENGTH = 16


def record_predictions(connection: Connection, rows: Sequence[Row]) -> None:
    """Record predicted rows; the keys are columns of `predictions`."""
    if rows:
        connection.execute(predictions.insert(), rows)


def forget_old_predictions(connection: Connection, n_kept: int) -> int:
    """Forget predictions before the newest ones, and count them."""
    newest = connection.execute(sa.select(sa.func.max(predictions.c.id))).scalar()
    if newest is None:
        return 0
    # By id, which costs the same however many are kept; ids that were never used count as well.
    old = predictions.delete().where(predictions.c.id <= newest - n_kept)
    return connection.execute(old).rowcount


def forget_open_hashes(connection: Connection) -> int:
    """Forget the hashes of clients that earlier versions logged without a key, and count them.

    The rows stay, and count one by one, as those of unknown clients do.
    """
    is_open = sa.func.length(predictions.c.client) == OPEN_HASH_LENGTH
    return connection.execute(predictions.update().where(is_open).values(client=None)).rowcount


def serves_since(connection: Connection, release: str) -> datetime | None:
    """Say when a release last began to serve; None if that is not recorded."""
    query = sa.select(deployments.c.at).where(deployments.c.release == release)
    at: datetime | None = connection.execute(
        query.order_by(deployments.c.id.desc()).limit(1)
    ).scalar()
    return at


def recent_predictions(connection: Connection, release: str, limit: int) -> list[Row]:
    """List the last rows that a release predicted since it last began to serve, newest first."""
    query = sa.select(predictions).where(predictions.c.release == release)
    since = serves_since(connection, release)
    # The record of a deployment is written a moment after the switch: its first rows may be left
    # out. Of a release that came back, those of its earlier time are.
    query = query if since is None else query.where(predictions.c.at >= since)
    found = connection.execute(query.order_by(predictions.c.id.desc()).limit(limit))
    return [dict(row) for row in found.mappings()]


def last_live_comparison(connection: Connection) -> datetime | None:
    """Say when a run last compared live rows; None if none has."""
    query = (
        sa.select(runs.c.started_at)
        .join(column_statistics, column_statistics.c.run_id == runs.c.id)
        .where(column_statistics.c.role == RowsOf.LIVE)
        .order_by(column_statistics.c.id.desc())
    )
    row = first_row(connection, query)
    return None if row is None else row["started_at"]


def has_predictions_since(connection: Connection, release: str, since: datetime | None) -> bool:
    """Say whether a release predicted anything since a moment; None is ever."""
    newest = sa.select(predictions.c.at).where(predictions.c.release == release)
    at: Any = connection.execute(newest.order_by(predictions.c.id.desc()).limit(1)).scalar()
    return at is not None and (since is None or at > since)
