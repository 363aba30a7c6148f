"""Queries for the audit: every recorded act of a person or a run, in the order of time."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, all_rows, newest_row
from scripts.records.tables import (
    approvals,
    client_work,
    config_changes,
    decisions,
    deployments,
    erasures,
    failed_logins,
    list_events,
    list_mails,
    runs,
)

Settings = dict[str, Any]
# The kind of an act, its table, and the column of its moment.
SOURCES = (
    ("settings", config_changes, "at"),
    ("decision", decisions, "decided_at"),
    ("approval", approvals, "at"),
    ("deployment", deployments, "at"),
    ("work", client_work, "at"),
    ("erasure", erasures, "at"),
    ("mail", list_mails, "at"),
    ("event", list_events, "at"),
    ("failed login", failed_logins, "at"),
)


def record_settings(
    connection: Connection, run_id: int, at: datetime, actor: str, settings: Settings
) -> None:
    """Record the settings of a run and the changes since the last record, if any.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    run_id : int
        The run that found them.
    at : datetime
        The present.
    actor : str
        Who changed them, as far as known.
    settings : dict
        The value by name, such as "promotion.mode", without secrets.
    """
    last = newest_row(connection, config_changes)
    before: Settings = {} if last is None else last["settings"]
    if before == settings:
        return
    changed = [
        f"{name}: {before.get(name)!r} -> {settings.get(name)!r}"
        for name in sorted(before.keys() | settings.keys())
        if before.get(name) != settings.get(name)
    ]
    reason = "; ".join(changed) if last is not None else "the first recorded settings"
    connection.execute(
        config_changes.insert().values(
            run_id=run_id, at=at, actor=actor, reason=reason, settings=settings
        )
    )


def list_acts(connection: Connection) -> Iterator[tuple[datetime, str, Row]]:
    """List every recorded act with its moment and kind, the oldest first.

    Acts of one moment stand in the order of SOURCES: a decision before the deployment it led to.
    """
    acts = [
        (row[moment], order, kind, row)
        for order, (kind, table, moment) in enumerate(SOURCES)
        for row in all_rows(connection, sa.select(table).order_by(table.c.id))
    ]
    starters = {
        row["id"]: row["actor"] or row["trigger"]
        for row in all_rows(connection, sa.select(runs.c.id, runs.c.actor, runs.c.trigger))
    }
    for at, _, kind, row in sorted(acts, key=lambda act: (act[0], act[1], act[3]["id"])):
        # A decision is the run's, so its actor is whoever started the run.
        actor = row.get("actor") or starters.get(row["run_id"]) or "unknown"
        yield at, kind, {**row, "actor": actor}
