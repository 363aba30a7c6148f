"""Queries for the shadows of candidates: the clients moved by a candidate beside production."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records import approvals
from scripts.records.runs import Row, all_rows, newest_row
from scripts.records.tables import ShadowKind, decisions, shadow_clients

# The lists of a comparison, by the kind of their rows.
LISTS = {ShadowKind.ENTER: "enter", ShadowKind.LEAVE: "leave", ShadowKind.MOVE: "moves"}
CLIENT_FACTS = (
    "client", "candidate_probability", "production_probability", "candidate_position",
    "production_position", "reasons",
)  # fmt: skip


def split_shadow(members: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split a comparison into the summary without names and the rows of the clients."""
    summary = {name: value for name, value in members.items() if name not in LISTS.values()}
    rows = [{"kind": kind, **client} for kind, name in LISTS.items() for client in members[name]]
    return summary, rows


def record_clients(connection: Connection, run_id: int, rows: Sequence[Row]) -> None:
    """Record the clients moved by the candidate of a run, as rows of `shadow_clients`."""
    if rows:
        connection.execute(shadow_clients.insert(), [{"run_id": run_id, **row} for row in rows])


def find_shadow(connection: Connection, run_id: int) -> dict[str, Any] | None:
    """Return the shadow of a run's candidate with the clients still kept, or None.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    run_id : int
        The run.

    Returns
    -------
    dict or None
        The summary of the decision, and the clients in the lists `enter`, `leave` and `moves`.
    """
    decision = newest_row(connection, decisions, run_id=run_id)
    if decision is None or decision["shadow"] is None:
        return None
    query = sa.select(shadow_clients).filter_by(run_id=run_id).order_by(shadow_clients.c.id)
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in LISTS.values()}
    for row in all_rows(connection, query):
        client = {name: row[name] for name in CLIENT_FACTS}
        lists[LISTS[ShadowKind(row["kind"])]].append(client)
    return {**decision["shadow"], **lists}


def forget_old_clients(connection: Connection, n_kept: int) -> int:
    """Delete the clients of all but the newest shadows, and return their number.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    n_kept : int
        The number of runs whose clients stay. Those of the candidate that waits stay as well.
    """
    of_run = shadow_clients.c.run_id
    newest = sa.select(of_run).distinct().order_by(of_run.desc()).limit(n_kept)
    kept = set(connection.execute(newest).scalars())
    waiting = approvals.find_waiting(connection)
    kept |= set() if waiting is None else {waiting["run_id"]}
    return connection.execute(shadow_clients.delete().where(of_run.not_in(kept))).rowcount
