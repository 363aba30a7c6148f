"""Queries for the logged predictions of the service."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, all_rows, first_row
from scripts.records.tables import RowsOf, column_statistics, deployments, predictions, runs

OPEN_HASH_LENGTH = 16


def record_predictions(connection: Connection, rows: Sequence[Row]) -> None:
    """Record predicted rows, as rows of `predictions`."""
    if rows:
        connection.execute(predictions.insert(), rows)


def forget_old_predictions(connection: Connection, n_kept: int) -> int:
    """Delete the predictions before the newest, and return their number."""
    newest = connection.execute(sa.select(sa.func.max(predictions.c.id))).scalar()
    if newest is None:
        return 0
    # A limit by id costs the same for any number of rows. Gaps between the ids count as rows.
    old = predictions.delete().where(predictions.c.id <= newest - n_kept)
    return connection.execute(old).rowcount


def forget_open_hashes(connection: Connection) -> int:
    """Remove the unkeyed client hashes of earlier versions, and return their number.

    The rows stay, and count like rows of unknown clients.
    """
    is_open = sa.func.length(predictions.c.client) == OPEN_HASH_LENGTH
    return connection.execute(predictions.update().where(is_open).values(client=None)).rowcount


def serves_since(connection: Connection, release: str) -> datetime | None:
    """Return the time of the last deployment of a release, or None if not recorded."""
    query = sa.select(deployments.c.at).where(deployments.c.release == release)
    at: datetime | None = connection.execute(
        query.order_by(deployments.c.id.desc()).limit(1)
    ).scalar()
    return at


def recent_predictions(connection: Connection, release: str, limit: int) -> list[Row]:
    """List the last predictions of a release since its last deployment, newest first."""
    query = sa.select(predictions).where(predictions.c.release == release)
    since = serves_since(connection, release)
    # The record of a deployment is written a moment after the switch, so the first rows may be
    # left out. A release that serves again starts without its earlier rows.
    query = query if since is None else query.where(predictions.c.at >= since)
    return all_rows(connection, query.order_by(predictions.c.id.desc()).limit(limit))


def last_live_comparison(connection: Connection) -> datetime | None:
    """Return the start of the last run with a comparison of live rows, or None."""
    query = (
        sa.select(runs.c.started_at)
        .join(column_statistics, column_statistics.c.run_id == runs.c.id)
        .where(column_statistics.c.role == RowsOf.LIVE)
        .order_by(column_statistics.c.id.desc())
    )
    row = first_row(connection, query)
    return None if row is None else row["started_at"]


def has_predictions_since(connection: Connection, release: str, since: datetime | None) -> bool:
    """Return whether a release has predictions, only since a moment if given."""
    newest = sa.select(predictions.c.at).where(predictions.c.release == release)
    at: Any = connection.execute(newest.order_by(predictions.c.id.desc()).limit(1)).scalar()
    return at is not None and (since is None or at > since)
