"""The join of dated outcomes to scores, by the period of the row."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy.engine import Connection, Engine

from scripts.data import client_dates
from scripts.data.dated_rows import CLIENT, DAY, LABEL, History
from scripts.records import (
    client_blocks,
    database,
    outcome_records,
    scored_clients,
    scoring_records,
)
from scripts.records.runs import Row
from scripts.records.tables import client_outcomes

# Buckets of clients read in one transaction.
N_BUCKETS = 16
# With more of the clients who stayed on no list, the others are no fair part of the period.
MAX_UNLISTED_FRACTION = 0.02

# Day and outcome of each client's row.
Wanted = dict[str, tuple[str, int]]

log = logging.getLogger(__name__)


class JoinFacts(Struct, frozen=True):
    """The run of a join, its moment, and the scoring of the run."""

    run_id: int
    now: datetime
    recorded_by: int | None


class Joined(Struct, frozen=True):
    """The joined outcomes of a run.

    `left_before` has by date the clients who left in the period and are on no list of the date,
    since that was known when the first list of the date was made. `late_dates` are those whose
    first list was made so late that clients who left after the period are missing as well.
    """

    n_joined: int = 0
    n_corrected: int = 0
    left_before: Mapping[str, int] = field(default_factory=dict)
    late_dates: frozenset[str] = frozenset()


def recorded(connection: Connection) -> dict[tuple[str, str], tuple[int, bool]]:
    """Return the recorded dated outcomes: id and outcome by client and date of the row."""
    known = client_outcomes.c
    query = sa.select(known.client, known.as_of, known.id, known.exited)
    rows = connection.execute(query.where(known.as_of.is_not(None)))
    return {(row.client, row.as_of): (row.id, row.exited) for row in rows}


def read_scores(
    engine: Engine, scoring_id: int, wanted: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the scores of the wanted clients on the list of a scoring."""
    with database.reading(engine) as connection:
        buckets = list(client_blocks.bucket_sizes(connection, scoring_id))
    for start in range(0, len(buckets), N_BUCKETS):
        part = buckets[start : start + N_BUCKETS]
        with database.reading(engine) as connection:
            scored = scored_clients.read_clients(connection, scoring_id, part)
        yield from scored.rows([k for k, name in enumerate(scored.names) if name in wanted])


def make_outcome(
    row: dict[str, Any], scoring: Row, day: str, label: int, facts: JoinFacts
) -> dict[str, Any]:
    """Return the outcome of a score as a row of the records."""
    first_high_at = scored_clients.as_moment(row["first_high_at"])
    return {
        "run_id": facts.run_id, "scoring_id": scoring["id"], "client": row["client"],
        "as_of": day, "known_at": facts.now, "exited": bool(label),
        "scored_at": scoring["scored_at"], "release": scoring["release"],
        "probability": row["probability"], "band": row["band"], "position": row["position"],
        "first_high_at": first_high_at,
        "warned_s": outcome_records.warned_seconds(first_high_at, facts.now, exited=bool(label)),
        "recorded_by": facts.recorded_by,
    }  # fmt: skip


def correct(connection: Connection, history: History, facts: JoinFacts) -> int:
    """Replace the recorded outcomes corrected by a later file, and return their number.

    The outcome before stays in `previously`.
    """
    known = recorded(connection)
    if not known:
        return 0
    outcome_names = {client for client, _ in known}
    recorded_days = sorted(client_dates.iso_day(day) for day in {day for _, day in known})
    labelled = history.find_labelled(recorded_days)
    labelled = labelled[labelled[CLIENT].isin(outcome_names)]
    days = client_dates.format_days(labelled[DAY].to_numpy()).tolist()
    rows = zip(labelled[CLIENT], days, labelled[LABEL], strict=True)
    changed = [
        (known[client, day], bool(label))
        for client, day, label in rows
        if (client, day) in known and known[client, day][1] != bool(label)
    ]
    for (number, before), exited in changed:
        outcome = client_outcomes.c.id == number
        first_high_at = connection.execute(
            sa.select(client_outcomes.c.first_high_at).where(outcome)
        ).scalar()
        connection.execute(
            client_outcomes.update()
            .where(outcome)
            .values(
                exited=exited,
                previously=before,
                known_at=facts.now,
                run_id=facts.run_id,
                warned_s=outcome_records.warned_seconds(first_high_at, facts.now, exited=exited),
            )
        )
    return len(changed)


def join_date(
    engine: Engine, scorings: Sequence[Row], wanted: Wanted, earlier: str, facts: JoinFacts
) -> list[dict[str, Any]]:
    """Record the outcomes of a date's scorings, and return them.

    A client who is known to have left is not on the newest list of the date, so the score of
    such a client is that of an older list.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    scorings : sequence of mapping
        The scorings of the date, newest first.
    wanted : dict of str to tuple of str and int
        Day and outcome of the row of each client without a recorded outcome.
    earlier : str
        The date before. Leavers with rows up to it are of lists of that date.
    facts : JoinFacts
        The run.
    """
    joined: list[dict[str, Any]] = []
    for scoring in scorings:
        if not wanted:
            break
        new = [
            make_outcome(row, scoring, *wanted[row["client"]], facts)
            for row in read_scores(engine, scoring["id"], wanted)
        ]
        if new:
            with database.writing(engine) as connection:
                connection.execute(client_outcomes.insert(), new)
        joined += new
        found = {row["client"] for row in new}
        wanted = {
            client: (day, label)
            for client, (day, label) in wanted.items()
            if label and day > earlier and client not in found
        }
    return joined


def join(engine: Engine, history: History, facts: JoinFacts) -> Joined:
    """Join known outcomes to the scores of their periods, each once.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    history : History
        All rows with their outcomes.
    facts : JoinFacts
        The run.

    Returns
    -------
    Joined
        The number of joined outcomes, of corrected ones, and of those who had left before.
    """
    with database.writing(engine) as connection:
        n_corrected = correct(connection, history, facts)
    with database.reading(engine) as connection:
        known = set(recorded(connection))
        dates = scoring_records.group_by_date(scoring_records.list_scorings(connection))
    n_joined, left_before, late = 0, dict[str, int](), list[str]()
    for scorings, before in zip(dates, [*dates, None][1:], strict=True):
        found = history.find_period(client_dates.iso_day(scorings[0]["as_of"]))
        days = client_dates.format_days(found[DAY].to_numpy()).tolist()
        rows = zip(found[CLIENT], days, found[LABEL], strict=True)
        wanted = {client: (day, label) for client, day, label in rows if (client, day) not in known}
        earlier = before[0]["as_of"] if before else ""
        new = join_date(engine, scorings, wanted, earlier, facts)
        known |= {(row["client"], row["as_of"]) for row in new}
        n_joined += len(new)
        as_of = scorings[0]["as_of"]
        unlisted = [
            bool(label)
            for client, (day, label) in wanted.items()
            if day == as_of and (client, day) not in known
        ]
        left_before[as_of] = sum(unlisted)
        if len(unlisted) - sum(unlisted) > MAX_UNLISTED_FRACTION * len(found):
            late.append(as_of)
    if n_joined or n_corrected:
        log.info(
            "Joined %d outcomes to the scores of their periods, and corrected %d.",
            n_joined, n_corrected,
        )  # fmt: skip
    return Joined(n_joined, n_corrected, left_before, frozenset(late))
