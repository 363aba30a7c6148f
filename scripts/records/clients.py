"""Queries for the clients: scores over time, their models, and outcomes."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.core.errors import RecordsError
from scripts.records.runs import Row, all_rows, first_row, newest_rows
from scripts.records.tables import client_outcomes, client_scores, scoring_models, scorings

# The probabilities of a band: from the first number on, below the second.
BandRanges = Mapping[str, tuple[float, float]]
NO_RANGES: BandRanges = MappingProxyType({})

previous = client_scores.alias("previous")
ORDERS = {
    "risk": (client_scores.c.position,),
    "client": (client_scores.c.client,),
    "rise": (
        sa.func.coalesce(client_scores.c.probability - previous.c.probability, 0.0).desc(),
        client_scores.c.position,
    ),
}


def last_scoring(connection: Connection) -> Row | None:
    """Return the last scoring of today's clients."""
    return first_row(connection, sa.select(scorings).order_by(scorings.c.id.desc()))


def record_scoring(connection: Connection, run_id: int, **facts: Any) -> int:
    """Record a scoring of today's clients, with its columns as facts, and return the id."""
    key = connection.execute(scorings.insert().values(run_id=run_id, **facts)).inserted_primary_key
    if key is None:
        raise RecordsError("The database gave a new scoring no id.")
    return int(key[0])


def record_model_content(connection: Connection, stamp: str, content: str) -> None:
    """Record the model of a scoring, unless present."""
    if find_model_content(connection, stamp) is None:
        connection.execute(scoring_models.insert().values(stamp=stamp, content=content))


def find_model_content(connection: Connection, stamp: str) -> str | None:
    """Return the model.json of a scoring."""
    query = sa.select(scoring_models.c.content).where(scoring_models.c.stamp == stamp)
    return connection.execute(query).scalar()


def record_scores(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record scores of clients, as rows of `client_scores`."""
    if rows:
        connection.execute(client_scores.insert(), rows)


def last_score_ids() -> sa.Select[Any]:
    """Return the query for the id of the last score of each client."""
    return sa.select(sa.func.max(client_scores.c.id)).group_by(client_scores.c.client)


def last_scores(connection: Connection) -> dict[str, Row]:
    """Return the last score of each client by name, with its scoring and `is_settled`.

    A score with a known outcome is settled.
    """
    query = (
        sa.select(
            client_scores,
            scorings.c.columns,
            scorings.c.scored_at,
            scorings.c.release,
            client_outcomes.c.id.is_not(None).label("is_settled"),
        )
        .join(scorings, scorings.c.id == client_scores.c.scoring_id)
        .outerjoin(client_outcomes, client_outcomes.c.score_id == client_scores.c.id)
        .where(client_scores.c.id.in_(last_score_ids()))
    )
    return {row["client"]: row for row in all_rows(connection, query)}


def record_outcomes(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record outcomes of clients, as rows of `client_outcomes`."""
    if rows:
        connection.execute(client_outcomes.insert(), rows)


def list_outcomes(connection: Connection) -> list[Row]:
    """List the outcomes of clients, oldest first."""
    return all_rows(connection, sa.select(client_outcomes).order_by(client_outcomes.c.id))


def outcomes_of_client(connection: Connection, client: str) -> list[Row]:
    """List the outcomes of a client, newest first."""
    return newest_rows(connection, client_outcomes, 100, client=client)


def names_with(connection: Connection, text: str, limit: int) -> list[str]:
    """List the clients with a text in their name, in upper or lower case."""
    column = client_scores.c.client
    query = sa.select(column).where(column.icontains(text, autoescape=True)).distinct()
    return list(connection.execute(query.order_by(column).limit(limit)).scalars())


def names_of_scoring(connection: Connection, scoring_id: int, limit: int) -> list[str]:
    """List the names of clients of a scoring, up to a limit."""
    query = sa.select(client_scores.c.client).where(client_scores.c.scoring_id == scoring_id)
    return list(connection.execute(query.limit(limit)).scalars())


def in_band(band: str, ranges: BandRanges) -> sa.ColumnElement[bool]:
    """Return the condition of a band: its range of probabilities, else the recorded word."""
    recorded, probability = client_scores.c.band, client_scores.c.probability
    if band not in ranges:
        return recorded == band
    low, high = ranges[band]
    return sa.and_(recorded.in_(ranges), probability >= low, probability < high)


def with_search(
    query: sa.Select[Any], search: str, band: str, ranges: BandRanges
) -> sa.Select[Any]:
    """Return a query restricted to clients with a text in their name and to a band, unless ""."""
    if search:
        query = query.where(client_scores.c.client.icontains(search, autoescape=True))
    return query.where(in_band(band, ranges)) if band else query


def count_listed(
    connection: Connection,
    scoring_id: int,
    search: str = "",
    band: str = "",
    ranges: BandRanges = NO_RANGES,
) -> int:
    """Count the clients of a scoring in a search."""
    query = sa.select(sa.func.count()).where(client_scores.c.scoring_id == scoring_id)
    return int(connection.execute(with_search(query, search, band, ranges)).scalar_one())


def list_clients(
    connection: Connection,
    scoring_id: int,
    *,
    limit: int,
    offset: int = 0,
    search: str = "",
    band: str = "",
    ranges: BandRanges = NO_RANGES,
    order: str = "risk",
) -> list[Row]:
    """List clients of a scoring, with probability and time of their previous scores.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction.
    scoring_id : int
        The scoring.
    limit, offset : int
        Number of clients, and number of clients to skip.
    search, band : str
        As for `with_search`.
    ranges : BandRanges
        The probabilities of each band by the limits of today.
    order : str
        A key of ORDERS.

    Returns
    -------
    list of mapping
        Columns of `client_scores`, `previous_probability` and `previous_at`, which may be None.
    """
    earlier = scorings.alias("earlier")
    query = (
        sa.select(
            client_scores,
            previous.c.probability.label("previous_probability"),
            earlier.c.scored_at.label("previous_at"),
        )
        .outerjoin(previous, previous.c.id == client_scores.c.previous_id)
        .outerjoin(earlier, earlier.c.id == previous.c.scoring_id)
        .where(client_scores.c.scoring_id == scoring_id)
        .order_by(*ORDERS[order])
    )
    page = with_search(query, search, band, ranges).limit(limit).offset(offset)
    return all_rows(connection, page)


def history_of_client(connection: Connection, client: str, limit: int) -> list[Row]:
    """List the scores of a client with their scorings, newest first."""
    query = (
        sa.select(
            client_scores,
            scorings.c.scored_at,
            scorings.c.release,
            scorings.c.model_stamp,
            scorings.c.n_clients,
        )
        .join(scorings, scorings.c.id == client_scores.c.scoring_id)
        .where(client_scores.c.client == client)
        .order_by(client_scores.c.id.desc())
    )
    return all_rows(connection, query.limit(limit))


def count_bands(
    connection: Connection, scoring_id: int, ranges: BandRanges = NO_RANGES
) -> dict[str, int]:
    """Count the clients of a scoring by band."""
    cases = [(in_band(name, ranges), name) for name in ranges]
    recorded = client_scores.c.band
    band = (sa.case(*cases, else_=recorded) if cases else recorded).label("shown")
    query = (
        sa.select(band, sa.func.count())
        .where(client_scores.c.scoring_id == scoring_id)
        .group_by("shown")
    )
    return {str(band): int(count) for band, count in connection.execute(query)}


def forget_old_scores(connection: Connection, n_kept: int) -> int:
    """Delete the scores before the newest scorings, and return their number.

    The last score of a client stays, since the outcome may come later. Scorings and models without
    a remaining score are deleted as well.
    """
    newest = sa.select(scorings.c.id).order_by(scorings.c.id.desc()).offset(n_kept).limit(1)
    oldest_id = connection.execute(newest).scalar()
    if oldest_id is None:
        return 0
    old = client_scores.delete().where(client_scores.c.scoring_id <= oldest_id)
    n_removed = connection.execute(old.where(client_scores.c.id.not_in(last_score_ids()))).rowcount
    needed = sa.select(client_scores.c.scoring_id)
    connection.execute(
        scorings.delete().where(scorings.c.id <= oldest_id, scorings.c.id.not_in(needed))
    )
    stamps = sa.select(scorings.c.model_stamp)
    connection.execute(scoring_models.delete().where(scoring_models.c.stamp.not_in(stamps)))
    return n_removed
