"""Tells whether predictions came true, from the outcomes in the records."""

from dataclasses import asdict

import msgspec
from sqlalchemy.engine import Connection

from scripts import clientparts, clients, outcomes
from scripts.clientcontract import DecileEntry, Outcomes
from scripts.clientparts import N_SHOWN
from scripts.config import WorklistSettings
from scripts.database import Row
from scripts.outcomes import Followed


def as_followed(row: Row, n_listed: int) -> Followed:
    """Give an outcome as it is counted."""
    return Followed(
        client=row["client"],
        scored_at=row["scored_at"],
        probability=row["probability"],
        is_listed=row["position"] <= n_listed,
        exited=row["exited"],
        known_at=row["known_at"],
        first_high_at=row["first_high_at"],
    )


def outcomes_page(connection: Connection, settings: WorklistSettings) -> Outcomes:
    """Tell whether predictions came true.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    settings : WorklistSettings
        How many clients the team can call; so many of each scoring count as listed.
    """
    rows, n_listed = clients.list_outcomes(connection), clientparts.list_length(settings)
    counted = outcomes.follow_up([as_followed(row, n_listed) for row in rows])
    scoring = clients.last_scoring(connection)
    precision, recall = (
        clientparts.as_interval(counted.precision),
        clientparts.as_interval(counted.recall),
    )
    text = f"Not enough outcomes yet: {counted.n_outcomes} of {outcomes.MIN_OUTCOMES}."
    if counted.is_enough:
        left, listed = map(clientparts.spell_share, (precision, recall))
        text = f"Of those listed {left} left; of those who left {listed} were listed."
    return Outcomes(
        is_enough=counted.is_enough,
        text=text,
        n_outcomes=counted.n_outcomes,
        n_needed=outcomes.MIN_OUTCOMES,
        n_listed_per_scoring=n_listed,
        precision=precision,
        recall=recall,
        n_missed=counted.n_missed,
        n_false_alarms=counted.n_false_alarms,
        deciles=[msgspec.convert(asdict(decile), DecileEntry) for decile in counted.deciles],
        warning_days_median=counted.warning_days_median,
        n_warned=counted.n_warned,
        outcomes=[clientparts.as_outcome(row, n_listed) for row in reversed(rows[-N_SHOWN:])],
        release=None if scoring is None else scoring["release"],
    )
