"""Queries for the checks of a run: outcomes beside predictions, lengths of lists, last findings."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records import alert_states
from scripts.records.alert_states import OK
from scripts.records.clients import COUNTED
from scripts.records.runs import Row, all_rows
from scripts.records.tables import client_outcomes, scorings, states

# The name of a check's state, before the name of the check.
PREFIX = "check "
ALARM = "alarm"


def sum_outcomes(connection: Connection, run_id: int) -> list[Row]:
    """Sum the outcomes of each scoring that a run joined outcomes to, the newest scoring first.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    run_id : int
        The run.

    Returns
    -------
    list of mapping
        Columns scoring_id, n_scored, n_known, n_left, sum_predicted and sum_variance.
    """
    p, outcome = client_outcomes.c.probability, client_outcomes.c
    joined = sa.select(outcome.scoring_id).where(outcome.run_id == run_id)
    query = (
        sa.select(
            outcome.scoring_id,
            scorings.c.n_clients.label("n_scored"),
            sa.func.count().label("n_known"),
            sa.func.sum(sa.case((outcome.exited, 1), else_=0)).label("n_left"),
            sa.func.sum(p).label("sum_predicted"),
            sa.func.sum(p * (1 - p)).label("sum_variance"),
        )
        .join(scorings, scorings.c.id == outcome.scoring_id)
        .where(outcome.scoring_id.in_(joined), COUNTED)
        .group_by(outcome.scoring_id, scorings.c.n_clients)
        .order_by(outcome.scoring_id.desc())
    )
    return all_rows(connection, query)


def list_lengths(connection: Connection) -> list[Row]:
    """List the run and the length of the last two lists of today's clients, newest first."""
    query = sa.select(scorings.c.run_id, scorings.c.n_clients).where(scorings.c.is_whole)
    return all_rows(connection, query.order_by(scorings.c.id.desc()).limit(2))


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
    """Delete the state of a check that is switched off."""
    connection.execute(states.delete().where(states.c.name == PREFIX + name))
