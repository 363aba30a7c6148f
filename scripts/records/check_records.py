"""Queries for the checks of a run: outcomes beside predictions, lengths of lists, last findings."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records import alert_states
from scripts.records.alert_states import OK
from scripts.records.outcome_records import COUNTED
from scripts.records.runs import Row, all_rows, first_row
from scripts.records.tables import WorkKind, client_outcomes, client_work, scorings, states

# The name of a check's state, before the name of the check.
PREFIX = "check "
ALARM = "alarm"


def was_contacted() -> sa.ColumnElement[bool]:
    """Return the condition for a tried contact between score and outcome."""
    work, outcome = client_work.c, client_outcomes.c
    return sa.exists().where(
        work.client == outcome.client,
        work.kind == WorkKind.CONTACT,
        work.at >= outcome.scored_at,
        work.at <= outcome.known_at,
    )


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
    outcome, scoring = client_outcomes.c, scorings.c
    date = sa.func.coalesce(outcome.as_of, sa.cast(outcome.scoring_id, sa.String))
    with_scoring = client_outcomes.outerjoin(scorings, scoring.id == outcome.scoring_id)
    joined = sa.select(date).where(outcome.run_id == run_id)
    each = (
        sa.select(
            date.label("date"), outcome.scoring_id, outcome.exited, outcome.probability,
            scoring.n_clients, sa.case((was_contacted(), 1), else_=0).label("contacted"),
        )
        .select_from(with_scoring)
        .where(date.in_(joined), COUNTED)
        .subquery()
    ).c  # fmt: skip
    p, is_free = each.probability, each.contacted == 0
    newest = sa.func.max(each.scoring_id)
    query = (
        sa.select(
            each.date,
            newest.label("scoring_id"),
            sa.func.coalesce(sa.func.max(each.n_clients), sa.func.count()).label("n_scored"),
            sa.func.sum(each.contacted).label("n_contacted"),
            sa.func.sum(1 - each.contacted).label("n_known"),
            sa.func.sum(sa.case((sa.and_(is_free, each.exited), 1), else_=0)).label("n_left"),
            sa.func.sum(sa.case((is_free, p), else_=0.0)).label("sum_predicted"),
            sa.func.sum(sa.case((is_free, p * (1 - p)), else_=0.0)).label("sum_variance"),
        )
        .group_by(each.date)
        .order_by(newest.desc())
    )
    return all_rows(connection, query)


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
