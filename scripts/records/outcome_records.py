"""Queries for the outcomes of clients: the last ones, counts beside the predictions, warnings."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.records.runs import Row, all_rows
from scripts.records.tables import client_outcomes, erasures, outcome_counts, scorings

# A written outcome changes a page of each index as well. On SQLite the pages of a transaction stay
# below the page cache, as those of `client_blocks.BATCH_BYTES` do.
WRITTEN_BYTES = 500
# Fewer are counted in some hundredths of a second.
MANY_OUTCOMES = 50_000
# A run that was killed leaves outcomes of a scoring that is not whole.
COUNTED = sa.or_(
    client_outcomes.c.recorded_by.is_(None),
    client_outcomes.c.recorded_by.not_in(sa.select(scorings.c.id).where(~scorings.c.is_whole)),
)
# An exit of dated rows is known at once, and a stay only after the horizon. Before a stay of
# the day is known, the exits of the day alone would make everybody a leaver. They wait until then.
known_stays = client_outcomes.alias("known_stays")
LAST_STAY = (
    sa.select(known_stays.c.as_of)
    .where(~known_stays.c.exited, known_stays.c.as_of.is_not(None))
    .order_by(known_stays.c.as_of.desc())
    .limit(1)
    .scalar_subquery()
)
JUDGED = sa.and_(
    COUNTED, sa.or_(client_outcomes.c.as_of.is_(None), client_outcomes.c.as_of <= LAST_STAY)
)


def warned_seconds(
    first_high_at: datetime | None, known_at: datetime, *, exited: bool
) -> float | None:
    """Return the seconds from a client's first `high` to the exit, None without either."""
    if first_high_at is None or not exited:
        return None
    return (known_at - first_high_at).total_seconds()


def last_outcomes(connection: Connection, limit: int) -> list[Row]:
    """List the last outcomes of clients, newest first."""
    query = sa.select(client_outcomes).where(COUNTED)
    return all_rows(connection, query.order_by(client_outcomes.c.id.desc()).limit(limit))


def list_days(connection: Connection) -> list[str]:
    """List the days of the rows with an outcome, in ISO 8601."""
    days = client_outcomes.c.as_of
    query = sa.select(days).where(days.is_not(None)).distinct().order_by(days)
    return list(connection.execute(query).scalars())


def count_day(connection: Connection, day: str) -> tuple[int, int]:
    """Count those who stayed and those who left by the outcomes of rows of a day."""
    exited = client_outcomes.c.exited
    query = sa.select(exited, sa.func.count()).where(client_outcomes.c.as_of == day)
    found = {bool(label): n for label, n in connection.execute(query.group_by(exited))}
    return found.get(False, 0), found.get(True, 0)


def describe_state(connection: Connection) -> str:
    """Return a text that changes with each recorded, corrected, counted or erased outcome."""
    outcome, erasure = client_outcomes.c, erasures.c
    newest_erasure = sa.select(erasure.id, erasure.state).order_by(erasure.id.desc()).limit(1)
    facts = [
        connection.execute(query).scalar()
        for query in (
            sa.select(sa.func.max(outcome.id)),
            sa.select(sa.func.max(outcome.run_id)),
            sa.select(sa.func.max(scorings.c.id)).where(scorings.c.is_whole),
        )
    ]
    return repr([*facts, *connection.execute(newest_erasure).all()])


def has_many(connection: Connection) -> bool:
    """Return whether there are so many outcomes that a page should not count them."""
    newest = connection.execute(sa.select(sa.func.max(client_outcomes.c.id))).scalar()
    return newest is not None and newest >= MANY_OUTCOMES


def find_counts(connection: Connection, n_listed: int) -> bytes | None:
    """Return the recorded counts for a length of the list, None if they are no longer true."""
    query = sa.select(outcome_counts.c.content).where(
        outcome_counts.c.n_listed == n_listed,
        outcome_counts.c.state == describe_state(connection),
    )
    content: bytes | None = connection.execute(query).scalar()
    return content


def record_counts(connection: Connection, n_listed: int, content: bytes, state: str) -> None:
    """Record the counts for a length of the list in place of all earlier ones."""
    connection.execute(outcome_counts.delete())
    connection.execute(
        outcome_counts.insert().values(n_listed=n_listed, state=state, content=content)
    )


def count_outcomes(connection: Connection, n_listed: int) -> dict[str, int]:
    """Count the outcomes: all, exits, listed clients, and exits of listed clients.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    n_listed : int
        The number of clients on the list of each scoring.

    Returns
    -------
    dict of str to int
        `n_outcomes`, `n_exits`, `n_listed`, `n_caught`.
    """
    outcomes = client_outcomes.c
    is_listed = outcomes.position <= n_listed
    conditions = {
        "n_exits": outcomes.exited, "n_listed": is_listed,
        "n_caught": sa.and_(is_listed, outcomes.exited),
    }  # fmt: skip
    counts = [
        sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0).label(name)
        for name, condition in conditions.items()
    ]
    query = sa.select(sa.func.count().label("n_outcomes"), *counts).where(JUDGED)
    return {name: int(n) for name, n in connection.execute(query).one()._mapping.items()}


def count_by_probability(connection: Connection, n_bins: int) -> list[tuple[int, int, int, float]]:
    """Count the outcomes by bins of the probability: bin, outcomes, exits, sum of probabilities."""
    outcomes = client_outcomes.c
    scaled = outcomes.probability * n_bins
    # PostgreSQL rounds a number that is cast, and SQLite has no floor of its own.
    is_sqlite = connection.dialect.name == "sqlite"
    whole = sa.cast(scaled if is_sqlite else sa.func.floor(scaled), sa.Integer)
    number = sa.case((whole >= n_bins, n_bins - 1), else_=whole)
    query = (
        sa.select(
            number, sa.func.count(), sa.func.sum(sa.case((outcomes.exited, 1), else_=0)),
            sa.func.sum(outcomes.probability),
        )
        .where(JUDGED)
        .group_by(number)
    )  # fmt: skip
    return [(int(row[0]), row[1], row[2], row[3]) for row in connection.execute(query)]


def measure_warning(connection: Connection) -> tuple[int, float | None]:
    """Return the number of warned clients who left, and the median warning time in seconds."""
    warned = client_outcomes.c.warned_s
    counted = sa.select(sa.func.count(warned)).where(JUDGED)
    n_warned = int(connection.execute(counted).scalar_one())
    if not n_warned:
        return 0, None
    ordered = sa.select(warned).where(JUDGED, warned.is_not(None)).order_by(warned)
    middle = ordered.offset((n_warned - 1) // 2).limit(2 - n_warned % 2)
    values = list(connection.execute(middle).scalars())
    return n_warned, sum(values) / len(values)


def outcomes_of_client(connection: Connection, client: str) -> list[Row]:
    """List the outcomes of a client, the newest row first.

    A run joins the outcomes of the latest date first, so the order of the records says little.
    """
    query = sa.select(client_outcomes).where(COUNTED, client_outcomes.c.client == client)
    newest = sa.func.coalesce(client_outcomes.c.as_of, "").desc(), client_outcomes.c.id.desc()
    return all_rows(connection, query.order_by(*newest).limit(100))
