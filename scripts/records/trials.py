"""Queries for the trials: clients to call, some of them held out, and their outcomes."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from scripts.records import outcome_records
from scripts.records.tables import (
    WorkKind,
    client_outcomes,
    client_work,
    outcome_groups,
    trial_clients,
)

# Names in one query; SQLite takes 32,766 values.
BATCH_NAMES = 1_000
# The result of a contact that was none.
NOT_REACHED = "not reached"
trial = trial_clients.c


class TrialGroup(Struct, frozen=True):
    """Counts of the listed or held-out clients of a period and a band.

    `n_known` are those with a known outcome, `n_left` those of them that left.
    """

    period: str
    band: str
    is_held_out: bool
    n_clients: int
    n_known: int
    n_left: int


def enrolled_names(connection: Connection, period: str, names: Sequence[str]) -> set[str]:
    """Return the names already in the trial of a period."""
    found: set[str] = set()
    for start in range(0, len(names), BATCH_NAMES):
        part = names[start : start + BATCH_NAMES]
        query = sa.select(trial.client).where(trial.period == period, trial.client.in_(part))
        found.update(connection.execute(query).scalars())
    return found


def enrol(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    """Record clients of a trial, once per period, and return the number of new clients."""
    known: set[str] = set()
    for period in {row["period"] for row in rows}:
        known |= enrolled_names(connection, period, [row["client"] for row in rows])
    new = [row for row in rows if row["client"] not in known]
    if new:
        connection.execute(trial_clients.insert(), new)
    return len(new)


def outcome_of_each() -> sa.Subquery:
    """Return the query for each client of a trial with the outcomes of scores in the period.

    A client with several outcomes left if one of them is an exit. The outcomes are counted in
    `n_outcomes` and `n_exits`.
    """
    outcomes, groups = client_outcomes.c, outcome_groups.c
    is_exit = sa.case((groups.exited, 1), else_=0)
    known = (
        sa.select(
            trial.id, sa.func.count().label("n_outcomes"), sa.func.sum(is_exit).label("n_exits")
        )
        .select_from(
            trial_clients.join(client_outcomes, outcomes.client == trial.client).join(
                outcome_groups, groups.id == outcomes.group_id
            )
        )
        .where(groups.scored_at >= trial.enrolled_at, groups.scored_at < trial.ends_at)
        .where(outcome_records.JUDGED)
        .group_by(trial.id)
        .subquery()
    ).c
    return (
        sa.select(
            trial.id, trial.period, trial.band, trial.is_held_out,
            sa.func.coalesce(known.n_outcomes, 0).label("n_outcomes"),
            sa.func.coalesce(known.n_exits, 0).label("n_exits"),
        )
        .select_from(trial_clients.outerjoin(known.id.table, known.id == trial.id))
        .subquery()
    )  # fmt: skip


def count_groups(connection: Connection) -> list[TrialGroup]:
    """Count the clients of all trials with their outcomes, by period, band and group."""
    each = outcome_of_each()
    is_known = sa.case((each.c.n_outcomes > 0, 1), else_=0)
    has_left = sa.case((each.c.n_exits > 0, 1), else_=0)
    keys = each.c.period, each.c.band, each.c.is_held_out
    query = sa.select(*keys, sa.func.count(), sa.func.sum(is_known), sa.func.sum(has_left))
    rows = connection.execute(query.group_by(*keys).order_by(*keys))
    return [TrialGroup(row[0], row[1], bool(row[2]), *map(int, row[3:])) for row in rows]


def was_contacted() -> sa.ColumnElement[bool]:
    """Return the condition for a contact between enrolment and the end of a trial.

    Who was not reached was not contacted.
    """
    work = client_work.c
    return sa.exists().where(
        work.client == trial.client,
        work.kind == WorkKind.CONTACT,
        work.result != NOT_REACHED,
        work.contacted_on >= trial.enrolled_on,
        work.contacted_on <= trial.until,
    )


def count_contacts(connection: Connection) -> list[tuple[bool, int, int]]:
    """Count the listed and the held-out clients with an outcome, and the contacted clients."""
    each = outcome_of_each()
    reached = sa.select(trial.id, sa.case((was_contacted(), 1), else_=0).label("n")).subquery()
    query = (
        sa.select(each.c.is_held_out, sa.func.count(), sa.func.sum(reached.c.n))
        .join(reached, reached.c.id == each.c.id)
        .where(each.c.n_outcomes > 0)
        .group_by(each.c.is_held_out)
    )
    return [(bool(row[0]), int(row[1]), int(row[2])) for row in connection.execute(query)]
