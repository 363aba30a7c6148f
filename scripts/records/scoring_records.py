"""Scorings in the records and their models: begun, written in parts, whole at once, forgotten."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy.engine import Connection, Engine

from scripts.core.errors import RecordsError
from scripts.records import client_blocks, database, outcome_records, shadows
from scripts.records.runs import Row, all_rows, first_row
from scripts.records.tables import (
    BlockKind,
    outcome_groups,
    scoring_models,
    scorings,
)
from scripts.records.tables import (
    client_blocks as blocks,
)

ORDERS = {
    "risk": BlockKind.RISK, "client": BlockKind.CLIENT, "rise": BlockKind.RISE,
    "gain": BlockKind.GAIN,
}  # fmt: skip
# The orders by which a team calls. Clients who are away stand at their end.
CALL_ORDERS = ("gain", "risk", "rise")
WHOLE = scorings.c.is_whole
SCORING_FACTS = [column for column in scorings.c if column.name not in ("gains", "joined")]
# The list itself is kept for the newest scorings only, since a cursor may still point to one.
N_LISTS = 2
LIST_KINDS = (
    *ORDERS.values(), BlockKind.LABELS, BlockKind.ABSENT, BlockKind.ABSENT_LABELS,
    BlockKind.HELD_OUT,
)  # fmt: skip

log = logging.getLogger(__name__)


class JoinedDate(Struct, frozen=True):
    """The rows joined to the scorings of a date.

    `n_left_before` of those who left are on no list of the date, and it `is_late` if so many of
    those who stayed are missing as well that the lists are no fair part of the period.
    """

    digest: str
    n_left_before: int
    is_late: bool = False


class JoinedOutcomes(Struct, frozen=True):
    """The dated outcomes as of the last join: a digest of the rows by day, and by date of a list.

    While a digest is the same, nothing has to be joined or corrected.
    """

    days: dict[str, str] = field(default_factory=dict)
    dates: dict[str, JoinedDate] = field(default_factory=dict)


def read_joined(connection: Connection) -> JoinedOutcomes:
    """Read what the last join of dated outcomes has recorded, nothing of a damaged record."""
    query = sa.select(scorings.c.joined).where(scorings.c.joined.is_not(None))
    found = connection.execute(query.order_by(scorings.c.id.desc()).limit(1)).scalar()
    try:
        return msgspec.json.decode(found or b"{}", type=JoinedOutcomes)
    except msgspec.DecodeError as error:
        log.warning("The record of joined outcomes is damaged, so all are compared: %s", error)
        return JoinedOutcomes()


def record_joined(engine: Engine, scoring_id: int | None, joined: JoinedOutcomes) -> None:
    """Record a join of dated outcomes with the newest scoring, None where there is none."""
    changed = scorings.update().where(scorings.c.id == scoring_id)
    with database.writing(engine) as connection:
        connection.execute(changed.values(joined=msgspec.json.encode(joined)))


def last_scoring(connection: Connection) -> Row | None:
    """Return the last whole scoring of today's clients."""
    return first_row(connection, sa.select(scorings).where(WHOLE).order_by(scorings.c.id.desc()))


def find_scoring(connection: Connection, scoring_id: int) -> Row | None:
    """Return a whole scoring, perhaps with forgotten clients."""
    return first_row(connection, sa.select(scorings).where(WHOLE, scorings.c.id == scoring_id))


def has_list(connection: Connection, scoring_id: int) -> bool:
    """Return whether the list of a scoring is still kept."""
    query = sa.select(blocks.c.bucket).where(blocks.c.scoring_id == scoring_id)
    return connection.execute(query.where(blocks.c.kind == BlockKind.RISK)).first() is not None


def has_scores(connection: Connection, scoring_id: int) -> bool:
    """Return whether the scores of a scoring are kept, also without the list."""
    query = sa.select(blocks.c.bucket).where(blocks.c.scoring_id == scoring_id)
    return connection.execute(query.where(blocks.c.kind == BlockKind.SCORES)).first() is not None


def list_scorings(connection: Connection) -> list[Row]:
    """List the whole scorings without their gains and joined outcomes, newest first."""
    query = sa.select(*SCORING_FACTS).where(WHOLE)
    return all_rows(connection, query.order_by(scorings.c.id.desc()))


def find_model_content(connection: Connection, stamp: str) -> str | None:
    """Return the model.json of a scoring."""
    query = sa.select(scoring_models.c.content).where(scoring_models.c.stamp == stamp)
    return connection.execute(query).scalar()


def record_model_content(connection: Connection, stamp: str, content: str) -> None:
    """Record the model of a scoring, unless present."""
    if find_model_content(connection, stamp) is None:
        connection.execute(scoring_models.insert().values(stamp=stamp, content=content))


def group_by_date(scorings: Sequence[Row]) -> list[list[Row]]:
    """Return the scorings of each date, the latest date first, and within a date newest first.

    Parameters
    ----------
    scorings : sequence of mapping
        Whole scorings, newest first. Those without a date have no dated rows.
    """
    by_date: dict[str, list[Row]] = {}
    for row in scorings:
        if row["as_of"]:
            by_date.setdefault(row["as_of"], []).append(row)
    return [by_date[date] for date in sorted(by_date, reverse=True)]


def newest_by_date(scorings: Sequence[Row]) -> list[Row]:
    """Return the newest scoring of each date, the latest date first."""
    return [of_date[0] for of_date in group_by_date(scorings)]


def remove_broken_scorings(engine: Engine) -> None:
    """Remove the rest of a scoring left by a killed run."""
    with database.reading(engine) as connection:
        broken = connection.execute(
            sa.select(scorings.c.id).where(~scorings.c.is_whole)
        ).scalars().all()  # fmt: skip
    for scoring_id in broken:
        client_blocks.remove_blocks(engine, scoring_id, BlockKind)
        outcome_records.remove_groups(engine, outcome_groups.c.recorded_by == scoring_id)
        with database.writing(engine) as connection:
            connection.execute(scorings.delete().where(scorings.c.id == scoring_id))


def begin_scoring(engine: Engine, run_id: int, **facts: Any) -> int:
    """Record a scoring before it counts, and return the id.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    run_id : int
        The run.
    **facts : object
        Columns of `scorings`.
    """
    remove_broken_scorings(engine)
    with database.writing(engine) as connection:
        begun = scorings.insert().values(run_id=run_id, is_whole=False, **facts)
        key = connection.execute(begun).inserted_primary_key
    if key is None:
        raise RecordsError("The database gave a new scoring no id.")
    return int(key[0])


def finish_scoring(connection: Connection, scoring_id: int, **facts: Any) -> None:
    """Let a scoring count, with the facts known at its end."""
    finished = scorings.update().where(scorings.c.id == scoring_id)
    connection.execute(finished.values(is_whole=True, **facts))


def blocks_of(connection: Connection, kinds: Iterable[BlockKind]) -> list[int]:
    """List the scorings with blocks of some kinds."""
    query = sa.select(blocks.c.scoring_id).where(blocks.c.kind.in_([str(kind) for kind in kinds]))
    return list(connection.execute(query.distinct().order_by(blocks.c.scoring_id)).scalars())


def forget_lists(engine: Engine) -> None:
    """Delete the orders, labels and absent clients of all but the newest scorings."""
    with database.reading(engine) as connection:
        kept = [row["id"] for row in list_scorings(connection)[:N_LISTS]]
        old = [number for number in blocks_of(connection, LIST_KINDS) if number not in kept]
    for scoring_id in old:
        client_blocks.remove_blocks(engine, scoring_id, LIST_KINDS)


def forget_scorings(connection: Connection, old: list[int]) -> None:
    """Delete old scorings without blocks or absent clients, and models without a scoring."""
    needed = set(connection.execute(sa.select(blocks.c.scoring_id).distinct()).scalars())
    # The absent clients are kept with the newest scorings.
    newer = sa.select(scorings.c.absent_in).where(scorings.c.id.not_in(old))
    for absent_in in connection.execute(newer).scalars():
        needed.update(absent_in or ())
    gone = [scoring_id for scoring_id in old if scoring_id not in needed]
    connection.execute(scorings.delete().where(scorings.c.id.in_(gone)))
    stamps = sa.select(scorings.c.model_stamp)
    connection.execute(scoring_models.delete().where(scoring_models.c.stamp.not_in(stamps)))


def forget_old_scores(engine: Engine, n_kept: int) -> int:
    """Delete the scores before the newest scorings, and return their number.

    The last score of a client stays among the absent clients of the newest scoring, since the
    outcome may come later. Scorings and models without a remaining score are deleted as well, and
    so are the clients of older shadows. The transactions are short, so that no reader waits long.
    """
    forget_lists(engine)
    with database.reading(engine) as connection:
        known = list_scorings(connection)
        with_scores = set(blocks_of(connection, [BlockKind.SCORES]))
        with_values = blocks_of(connection, [BlockKind.VALUES, BlockKind.TEXTS])
    # The outcomes of a date may come long after the newest scorings.
    dates = {row["id"] for row in newest_by_date(known)[:n_kept]}
    kept = [row for place, row in enumerate(known) if place < n_kept or row["id"] in dates]
    old = [row for row in known if row not in kept]
    n_removed = sum(
        client_blocks.remove_blocks(engine, row["id"], [BlockKind.SCORES, BlockKind.PLACES])
        for row in old
        if row["id"] in with_scores
    )
    values_from = min((row["values_from"] or row["id"] for row in kept), default=0)
    for scoring_id in with_values:
        if scoring_id < values_from:
            client_blocks.remove_blocks(engine, scoring_id, [BlockKind.VALUES, BlockKind.TEXTS])
    with database.writing(engine) as connection:
        shadows.forget_old_clients(connection, n_kept)
        if old:
            forget_scorings(connection, [row["id"] for row in old])
    return n_removed
