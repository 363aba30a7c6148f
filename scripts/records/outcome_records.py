"""Queries for the outcomes of clients: the last ones, counts beside the predictions, warnings."""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from scripts.core import progress
from scripts.records import database
from scripts.records.runs import Row, all_rows
from scripts.records.tables import (
    AMONG_FIRST,
    N_FIRST,
    BlockKind,
    client_blocks,
    client_outcomes,
    erasures,
    outcome_counts,
    outcome_groups,
    scorings,
)

outcome, group = client_outcomes.c, outcome_groups.c
# Fewer are counted in some hundredths of a second.
MANY_OUTCOMES = 50_000
# Outcomes and empty groups removed in a transaction, and on PostgreSQL, whose readers never wait,
# groups with their outcomes.
BATCH_OUTCOMES, BATCH_GROUPS, BATCH_REMOVED = 5_000, 1_000, 16
# Groups counted in a transaction.
BATCH_COUNTED = 64
N_TENTHS = 10
GROUPED = client_outcomes.join(outcome_groups, group.id == outcome.group_id)
# The number of a row of SQLite.
ROW = sa.literal_column("client_outcomes.rowid", sa.Integer)
# The sum keeps SQLite from reading the outcomes group by group: few of them are listed.
LISTED = client_outcomes.join(outcome_groups, group.id == outcome.group_id + 0)
FACTS = [
    outcome.client,
    outcome.probability,
    outcome.position,
    *(column for column in group if column.name != "counts"),
]
# A run that was killed leaves outcomes of a scoring that is not whole.
COUNTED = sa.or_(
    group.recorded_by.is_(None),
    group.recorded_by.not_in(sa.select(scorings.c.id).where(~scorings.c.is_whole)),
)
# An exit of dated rows is known at once, and a stay only after the horizon. Before a stay of
# the day is known, the exits of the day alone would make everybody a leaver. They wait until then.
known_stays = outcome_groups.alias("known_stays")
LAST_STAY = (
    sa.select(known_stays.c.as_of)
    .where(~known_stays.c.exited, known_stays.c.as_of.is_not(None))
    .where(sa.exists().where(outcome.group_id == known_stays.c.id).correlate(known_stays))
    .order_by(known_stays.c.as_of.desc())
    .limit(1)
    .scalar_subquery()
)
JUDGED = sa.and_(COUNTED, sa.or_(group.as_of.is_(None), group.as_of <= LAST_STAY))
# After an erasure or a correction.
IS_EMPTY = ~sa.exists().where(outcome.group_id == group.id)

log = logging.getLogger(__name__)


class Tenth(Struct, frozen=True, array_like=True):
    """Outcomes of a group with a probability in a tenth.

    `sum_variance` is the sum of p (1 - p).
    """

    tenth: int
    n_outcomes: int
    sum_probability: float
    sum_variance: float


# Columns of groups beside their counts.
Groups = list[tuple[sa.Row[Any], list[Tenth]]]
DECODER = msgspec.json.Decoder(list[Tenth])


def count(tenths: Iterable[Tenth]) -> int:
    """Return the number of outcomes of a group."""
    return sum(tenth.n_outcomes for tenth in tenths)


def warned_seconds(
    first_high_at: datetime | None, known_at: datetime, *, exited: bool
) -> float | None:
    """Return the seconds from a client's first `high` to the exit, None without either."""
    if first_high_at is None or not exited:
        return None
    return (known_at - first_high_at).total_seconds()


def last_outcomes(connection: Connection, limit: int) -> list[Row]:
    """List the last outcomes of clients, newest first."""
    query = sa.select(*FACTS).select_from(GROUPED).where(COUNTED)
    newest = outcome.group_id.desc(), outcome.position.desc()
    return all_rows(connection, query.order_by(*newest).limit(limit))


def list_days(connection: Connection) -> list[str]:
    """List the days of the rows with an outcome, in ISO 8601."""
    query = sa.select(group.as_of).where(group.as_of.is_not(None)).distinct().order_by(group.as_of)
    return list(connection.execute(query).scalars())


def count_day(connection: Connection, day: str) -> tuple[int, int]:
    """Count those who stayed and those who left by the outcomes of rows of a day."""
    found = [0, 0]
    for row, tenths in read_groups(connection, group.as_of == day, group.exited):
        found[row.exited] += count(tenths)
    return found[0], found[1]


def describe_state(connection: Connection) -> str:
    """Return a text that changes with each recorded, corrected, counted or erased outcome."""
    erasure = erasures.c
    newest_erasure = sa.select(erasure.id, erasure.state).order_by(erasure.id.desc()).limit(1)
    facts = [
        connection.execute(query).scalar()
        for query in (
            sa.select(sa.func.max(group.id)),
            sa.select(sa.func.max(group.run_id)),
            sa.select(sa.func.max(scorings.c.id)).where(scorings.c.is_whole),
        )
    ]
    return repr([*facts, *connection.execute(newest_erasure).all()])


def has_many(connection: Connection) -> bool:
    """Return whether there are so many outcomes that a page should not count them."""
    query = sa.select(outcome.group_id).offset(MANY_OUTCOMES - 1).limit(1)
    return connection.execute(query).first() is not None


def find_counts(connection: Connection, n_listed: int | None = None) -> bytes | None:
    """Return the recorded counts for a length of the list, None if they are no longer true.

    Without a length they are those for any one.
    """
    query = sa.select(outcome_counts.c.content)
    query = query.where(outcome_counts.c.state == describe_state(connection))
    if n_listed is not None:
        query = query.where(outcome_counts.c.n_listed == n_listed)
    content: bytes | None = connection.execute(query).scalar()
    return content


def record_counts(connection: Connection, n_listed: int, content: bytes, state: str) -> None:
    """Record the counts for a length of the list in place of all earlier ones."""
    connection.execute(outcome_counts.delete())
    connection.execute(
        outcome_counts.insert().values(n_listed=n_listed, state=state, content=content)
    )


def count_rows(connection: Connection, group_ids: Sequence[int]) -> dict[int, list[Tenth]]:
    """Count the outcomes of groups by tenth of the probability, by the id of the group."""
    p = outcome.probability
    # PostgreSQL rounds a number that is cast, and SQLite has no floor of its own.
    is_sqlite = connection.dialect.name == "sqlite"
    whole = sa.cast(p * N_TENTHS if is_sqlite else sa.func.floor(p * N_TENTHS), sa.Integer)
    tenth = sa.case((whole >= N_TENTHS, N_TENTHS - 1), else_=whole)
    facts = sa.func.count(), sa.func.sum(p), sa.func.sum(p * (1 - p))
    query = sa.select(outcome.group_id, tenth, *facts).group_by(outcome.group_id, tenth)
    counted: dict[int, list[Tenth]] = {group_id: [] for group_id in group_ids}
    for start in range(0, len(group_ids), BATCH_GROUPS):
        part = outcome.group_id.in_(group_ids[start : start + BATCH_GROUPS])
        for row in connection.execute(query.where(part)):
            counted[row[0]].append(Tenth(*row[1:]))
    return counted


def decode_counts(content: bytes | None) -> list[Tenth] | None:
    """Return the recorded counts of a group, None for missing or damaged ones."""
    try:
        return None if content is None else DECODER.decode(content)
    except msgspec.DecodeError as error:
        log.warning("The counts of a group of outcomes are damaged, so it is counted: %s", error)
        return None


def read_groups(
    connection: Connection, chosen: sa.ColumnElement[bool], *columns: sa.ColumnElement[Any]
) -> Groups:
    """Read columns of the chosen groups beside the counts of their outcomes.

    Groups without recorded counts are counted.
    """
    query = sa.select(group.id, group.counts, *columns)
    rows = connection.execute(query.where(chosen).order_by(group.id)).all()
    recorded = [decode_counts(row.counts) for row in rows]
    uncounted = [row.id for row, tenths in zip(rows, recorded, strict=True) if tenths is None]
    counted = count_rows(connection, uncounted)
    return [
        (row, counted[row.id] if tenths is None else tenths)
        for row, tenths in zip(rows, recorded, strict=True)
    ]


def record_group_counts(engine: Engine) -> None:
    """Record the counts of groups that have none, in short transactions."""
    with database.reading(engine) as connection:
        query = sa.select(group.id).where(group.counts.is_(None))
        uncounted = connection.execute(query).scalars().all()
    for start in range(0, len(uncounted), BATCH_COUNTED):
        with database.writing(engine, is_one_of_many=True) as connection:
            part = uncounted[start : start + BATCH_COUNTED]
            set_counts(connection, count_rows(connection, part))
        progress.advance()


def set_counts(connection: Connection, counts: Mapping[int, Sequence[Tenth]]) -> None:
    """Record the counts of some groups."""
    if counts:
        changed = outcome_groups.update().where(group.id == sa.bindparam("number"))
        connection.execute(
            changed.values(counts=sa.bindparam("content")),
            [{"number": n, "content": msgspec.json.encode(each)} for n, each in counts.items()],
        )


def forget_counts(connection: Connection, client: str) -> None:
    """Remove the counts with the outcomes of a client."""
    of_client = sa.select(outcome.group_id).where(outcome.client == client)
    connection.execute(outcome_groups.update().where(group.id.in_(of_client)).values(counts=None))


def read_judged(connection: Connection) -> Groups:
    """Read the groups of outcomes that count, with exited and warned_s."""
    return read_groups(connection, JUDGED, group.exited, group.warned_s)


def count_outcomes(connection: Connection, groups: Groups, n_listed: int) -> dict[str, int]:
    """Count the outcomes: all, exits, listed clients, and exits of listed clients.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    groups : list of tuple
        The groups of `read_judged`.
    n_listed : int
        The number of clients on the list of each scoring.

    Returns
    -------
    dict of str to int
        `n_outcomes`, `n_exits`, `n_listed`, `n_caught`.
    """
    sizes = [(row.exited, count(tenths)) for row, tenths in groups]
    is_listed = outcome.position <= n_listed
    if n_listed <= N_FIRST:
        # With these words SQLite uses the index of the first clients.
        is_listed = sa.and_(is_listed, sa.text(AMONG_FIRST))
    query = sa.select(group.exited, sa.func.count()).select_from(LISTED)
    listed = connection.execute(query.where(is_listed, JUDGED).group_by(group.exited)).all()
    return {
        "n_outcomes": sum(n for _, n in sizes),
        "n_exits": sum(n for exited, n in sizes if exited),
        "n_listed": sum(row[1] for row in listed),
        "n_caught": sum(row[1] for row in listed if row[0]),
    }


def count_by_tenth(groups: Groups) -> list[tuple[int, int, int, float]]:
    """Count the outcomes by tenths of the probability: tenth, outcomes, exits, sum of it."""
    totals: dict[int, list[float]] = {}
    for row, tenths in groups:
        for tenth in tenths:
            total = totals.setdefault(tenth.tenth, [0, 0, 0.0])
            total[0] += tenth.n_outcomes
            total[1] += tenth.n_outcomes if row.exited else 0
            total[2] += tenth.sum_probability
    return [(tenth, int(n), int(left), total) for tenth, (n, left, total) in sorted(totals.items())]


def measure_warning(groups: Groups) -> tuple[int, float | None]:
    """Return the number of warned clients who left, and the median warning time in seconds."""
    sizes = sorted(
        (float(row.warned_s), count(tenths)) for row, tenths in groups if row.warned_s is not None
    )
    ends = list(accumulate(n for _, n in sizes))
    n_warned = ends[-1] if ends else 0
    if not n_warned:
        return 0, None
    # The median is between two clients if their number is even.
    middle = [sizes[bisect_right(ends, n)][0] for n in ((n_warned - 1) // 2, n_warned // 2)]
    return n_warned, sum(middle) / 2


def forget_old(engine: Engine, before: datetime) -> int:
    """Remove the outcomes known before a moment, and return their number.

    Outcomes of scorings whose scores are kept stay, since dated rows would be joined to them again.
    """
    with_scores = sa.select(client_blocks.c.scoring_id).where(
        client_blocks.c.kind == BlockKind.SCORES
    )
    is_of_kept = sa.and_(group.scoring_id.is_not(None), group.scoring_id.in_(with_scores))
    is_old = sa.and_(group.known_at < before, ~is_of_kept)
    with database.reading(engine) as connection:
        if connection.execute(sa.select(group.id).where(is_old).limit(1)).first() is None:
            return 0
    with database.writing(engine) as connection:
        # They are no longer true from the first removed outcome on.
        connection.execute(outcome_counts.delete())
    return remove_groups(engine, is_old)


def outcomes_of_client(connection: Connection, client: str) -> list[Row]:
    """List the outcomes of a client, the newest row first.

    A run joins the outcomes of the latest date first, so the order of the records says little.
    """
    query = sa.select(*FACTS).select_from(GROUPED).where(COUNTED, outcome.client == client)
    newest = sa.func.coalesce(group.as_of, "").desc(), group.id.desc()
    return all_rows(connection, query.order_by(*newest).limit(100))


def split_outcomes(
    connection: Connection, chosen: sa.ColumnElement[bool]
) -> list[sa.ColumnElement[bool]]:
    """Return conditions for parts of the outcomes of the chosen groups, to remove one by one.

    Neighbouring rows of SQLite have neighbouring names, so they change the same pages of the index
    of the names. Without that a transaction would lock readers out for a third of a second.
    """
    mine = sa.select(group.id).where(chosen)
    if connection.dialect.name == "sqlite":
        query = sa.select(ROW).where(outcome.group_id.in_(mine))
        rows = sorted(connection.execute(query).scalars())
        parts = (rows[n : n + BATCH_OUTCOMES] for n in range(0, len(rows), BATCH_OUTCOMES))
        # The sum keeps SQLite from the index of the group.
        of_groups = (outcome.group_id + 0).in_(mine)
        return [sa.and_(of_groups, ROW.between(part[0], part[-1])) for part in parts]
    ids = connection.execute(mine).scalars().all()
    return [
        outcome.group_id.in_(ids[n : n + BATCH_REMOVED]) for n in range(0, len(ids), BATCH_REMOVED)
    ]


def remove_groups(engine: Engine, chosen: sa.ColumnElement[bool]) -> int:
    """Remove groups with their outcomes in short transactions, and return the number of outcomes.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    chosen : sqlalchemy.ColumnElement of bool
        The condition for the groups to remove.
    """
    n_removed, n_groups = 0, BATCH_GROUPS
    with database.reading(engine) as connection:
        parts = split_outcomes(connection, chosen)
    for part in parts:
        with database.writing(engine, is_one_of_many=True) as connection:
            n_removed += connection.execute(client_outcomes.delete().where(part)).rowcount
            # A program that is killed now leaves groups whose outcomes are counted.
            left = outcome_groups.update().where(chosen, group.counts.is_not(None))
            connection.execute(left.values(counts=None))
        progress.advance()
    some = sa.select(group.id).where(chosen).limit(BATCH_GROUPS).scalar_subquery()
    while n_groups == BATCH_GROUPS:
        with database.writing(engine, is_one_of_many=True) as connection:
            gone = outcome_groups.delete().where(group.id.in_(some))
            n_groups = connection.execute(gone).rowcount
    return n_removed
