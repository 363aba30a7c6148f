"""Queries for the checks of a run: outcomes beside predictions, lengths of lists, last findings."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records import alert_states, outcome_records
from scripts.records.alert_states import OK
from scripts.records.outcome_records import COUNTED, Tenth, read_groups
from scripts.records.runs import Row, all_rows, first_row
from scripts.records.tables import (
    WorkKind,
    client_outcomes,
    client_work,
    outcome_groups,
    scorings,
    states,
)

# The name of a check's state, before the name of the check.
PREFIX = "check "
ALARM = "alarm"


def find_contacted(connection: Connection, chosen: sa.ColumnElement[bool]) -> list[Row]:
    """Return the outcomes in groups of clients with a tried contact between score and outcome.

    The contacts come first, since they are few beside the outcomes.
    """
    work, outcome, group = client_work.c, client_outcomes.c, outcome_groups.c
    contacts = client_work.join(client_outcomes, outcome.client == work.client)
    query = (
        sa.select(outcome.group_id, outcome.client, outcome.probability)
        .select_from(contacts.join(outcome_groups, group.id == outcome.group_id))
        .where(work.kind == WorkKind.CONTACT, chosen)
        .where(work.at >= group.scored_at, work.at <= group.known_at)
        .distinct()
    )
    return all_rows(connection, query)


def sum_group(tenths: Sequence[Tenth], contacted: Sequence[float], *, exited: bool) -> Row:
    """Return the sums of a group without the contacted clients, given by their probabilities."""
    n_outcomes = outcome_records.count(tenths)
    n_known = n_outcomes - len(contacted)
    predicted = sum(tenth.sum_probability for tenth in tenths) - sum(contacted)
    variance = sum(tenth.sum_variance for tenth in tenths) - sum(p * (1 - p) for p in contacted)
    return {
        "n_outcomes": n_outcomes, "n_contacted": len(contacted), "n_known": n_known,
        "n_left": n_known if exited else 0,
        # A difference of sums of numbers is hardly ever nothing.
        "sum_predicted": predicted if n_known else 0.0,
        "sum_variance": variance if n_known else 0.0,
    }  # fmt: skip


def sum_outcomes(connection: Connection, run_id: int) -> list[Row]:
    """Sum the outcomes of each list with outcomes joined by a run, the newest list first.

    Dated rows of a day count as one list: who has left is on an older list than who stayed.

    Clients somebody tried to contact between score and outcome are counted in `n_contacted` only: a
    call may have kept them, so that the prediction cannot be judged by them. Who was not reached is
    among them, since those who answer leave less often.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    run_id : int
        The run.

    Returns
    -------
    list of mapping
        Columns date (the id of a list without dates), scoring_id, n_scored, n_contacted, n_known,
        n_left, sum_predicted and sum_variance.
    """
    group = outcome_groups.c
    date = sa.func.coalesce(group.as_of, sa.cast(group.scoring_id, sa.String))
    joined = sa.select(date).where(group.run_id == run_id).scalar_subquery()
    chosen = sa.and_(date.in_(joined), COUNTED)
    contacted: dict[int, list[float]] = {}
    for row in find_contacted(connection, chosen):
        contacted.setdefault(row["group_id"], []).append(row["probability"])
    lengths = {
        row.id: row.n_clients
        for row in connection.execute(sa.select(scorings.c.id, scorings.c.n_clients))
    }
    by_date: dict[str, list[Row]] = {}
    for found, tenths in read_groups(
        connection, chosen, date.label("date"), group.scoring_id, group.exited
    ):
        sums = sum_group(tenths, contacted.get(found.id, []), exited=found.exited)
        by_date.setdefault(found.date, []).append({**sums, "scoring_id": found.scoring_id})
    lists = [sum_list(date, groups, lengths) for date, groups in by_date.items()]
    return sorted(lists, key=lambda row: row["scoring_id"] or 0, reverse=True)


def sum_list(date: str, groups: Sequence[Row], lengths: Mapping[int, int]) -> Row:
    """Return the sums of the groups of a date, with the length of the longest list if known."""
    names = ("n_contacted", "n_known", "n_left", "sum_predicted", "sum_variance")
    numbers = {row["scoring_id"] for row in groups if row["scoring_id"] is not None}
    known = [lengths[number] for number in numbers if number in lengths]
    return {
        "date": date,
        "scoring_id": max(numbers, default=None),
        "n_scored": max(known, default=sum(row["n_outcomes"] for row in groups)),
        **{name: sum(row[name] for row in groups) for name in names},
    }


def list_lengths(connection: Connection) -> list[Row]:
    """List the run, the length and the date of the last two lists of clients, newest first."""
    facts = scorings.c.id, scorings.c.run_id, scorings.c.n_clients, scorings.c.as_of
    query = sa.select(*facts).where(scorings.c.is_whole)
    return all_rows(connection, query.order_by(scorings.c.id.desc()).limit(2))


def find_list_before(connection: Connection, as_of: str) -> Row | None:
    """Return id and length of the newest list of an earlier date, None without one."""
    query = sa.select(scorings.c.id, scorings.c.n_clients)
    earlier = query.where(scorings.c.is_whole, scorings.c.as_of < as_of)
    return first_row(connection, earlier.order_by(scorings.c.as_of.desc(), scorings.c.id.desc()))


def is_alarm(connection: Connection, name: str) -> bool:
    """Return whether the last finding of a check was a problem."""
    query = sa.select(states.c.state).where(states.c.name == PREFIX + name)
    return bool(connection.execute(query).scalar() == ALARM)


def record_finding(
    connection: Connection, name: str, run_id: int, at: datetime, detail: str, *, is_alarm: bool
) -> None:
    """Record the state of a check, with an alert after a change."""
    state = ALARM if is_alarm else OK
    alert_states.record_change(
        connection, PREFIX + name, state, at=at, detail=detail, run_id=run_id
    )


def list_checks(connection: Connection) -> list[Row]:
    """List the state of each check: name, state, since and the detail of the newest finding."""
    query = sa.select(states).where(states.c.name.startswith(PREFIX)).order_by(states.c.name)
    return [
        dict(row) | {"name": row["name"].removeprefix(PREFIX)}
        for row in all_rows(connection, query)
    ]


def forget_check(connection: Connection, name: str) -> None:
    """Delete the state of a switched-off check."""
    connection.execute(states.delete().where(states.c.name == PREFIX + name))
