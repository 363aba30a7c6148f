"""Queries for the clients: scores over time, their models, and outcomes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from scripts.core import name_hashes
from scripts.records import client_blocks, column_blocks, scored_clients
from scripts.records.runs import Row, all_rows, first_row, newest_rows
from scripts.records.tables import BlockKind, client_outcomes, scoring_models, scorings

ORDERS = {"risk": BlockKind.RISK, "client": BlockKind.CLIENT, "rise": BlockKind.RISE}
# Clients in a block of an order.
PART_CLIENTS = 2**16
WHOLE = scorings.c.is_whole
# A run that was killed leaves outcomes of a scoring that is not whole.
COUNTED = sa.or_(
    client_outcomes.c.recorded_by.is_(None),
    client_outcomes.c.recorded_by.not_in(sa.select(scorings.c.id).where(~WHOLE)),
)

Mask = NDArray[np.bool_]
Numbers = NDArray[np.uint32]


def last_scoring(connection: Connection) -> Row | None:
    """Return the last whole scoring of today's clients."""
    return first_row(connection, sa.select(scorings).where(WHOLE).order_by(scorings.c.id.desc()))


def find_scoring(connection: Connection, scoring_id: int) -> Row | None:
    """Return a whole scoring, with its clients perhaps forgotten."""
    return first_row(connection, sa.select(scorings).where(WHOLE, scorings.c.id == scoring_id))


def list_scorings(connection: Connection) -> list[Row]:
    """List the whole scorings, newest first."""
    return all_rows(connection, sa.select(scorings).where(WHOLE).order_by(scorings.c.id.desc()))


def record_model_content(connection: Connection, stamp: str, content: str) -> None:
    """Record the model of a scoring, unless present."""
    if find_model_content(connection, stamp) is None:
        connection.execute(scoring_models.insert().values(stamp=stamp, content=content))


def find_model_content(connection: Connection, stamp: str) -> str | None:
    """Return the model.json of a scoring."""
    query = sa.select(scoring_models.c.content).where(scoring_models.c.stamp == stamp)
    return connection.execute(query).scalar()


def last_scores(connection: Connection) -> dict[str, Row]:
    """Return the last score of each client by name, with its scoring and `is_settled`.

    A score with a known outcome is settled. All clients are in memory afterwards: for a few.
    """
    scoring = last_scoring(connection)
    if scoring is None:
        return {}
    by_id = {row["id"]: row for row in list_scorings(connection)}
    settled = {
        (row.scoring_id, row.client)
        for row in connection.execute(
            sa.select(client_outcomes.c.scoring_id, client_outcomes.c.client).where(COUNTED)
        )
    }
    found: dict[str, Row] = {}
    for absent in (True, False):
        kind = BlockKind.ABSENT if absent else BlockKind.SCORES
        buckets = list(client_blocks.bucket_sizes(connection, scoring["id"], kind))
        read = scored_clients.read_clients(connection, scoring["id"], buckets, absent=absent)
        for row in read.rows(range(len(read.names))):
            scored_in = row.pop("scored_in", scoring["id"])
            found[row["client"]] = with_scoring(row, by_id[scored_in]) | {
                "is_settled": (scored_in, row["client"]) in settled
            }
    return found


def with_scoring(row: Mapping[str, Any], scoring: Row) -> dict[str, Any]:
    """Return a client's score with the facts of the scoring and with moments."""
    facts = ("columns", "scored_at", "release", "model_stamp", "n_clients")
    moments = {
        name: scored_clients.as_moment(row[name]) for name in ("previous_at", "first_high_at")
    }
    before = scored_clients.without_nan(row["previous_probability"])
    return {
        **row, **moments, "previous_probability": before, "scoring_id": scoring["id"],
        **{name: scoring[name] for name in facts},
    }  # fmt: skip


def record_outcomes(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record outcomes of clients in bulk, as rows of `client_outcomes`."""
    client_blocks.insert_rows(connection, client_outcomes, [dict(row) for row in rows])


def list_outcomes(connection: Connection) -> list[Row]:
    """List the outcomes of clients, oldest first."""
    query = sa.select(client_outcomes).where(COUNTED)
    return all_rows(connection, query.order_by(client_outcomes.c.id))


def outcomes_of_client(connection: Connection, client: str) -> list[Row]:
    """List the outcomes of a client, newest first."""
    query = sa.select(client_outcomes).where(COUNTED, client_outcomes.c.client == client)
    return all_rows(connection, query.order_by(client_outcomes.c.id.desc()).limit(100))


def names_with(connection: Connection, text: str, limit: int) -> list[str]:
    """List the clients with a text in their name, in upper or lower case."""
    scoring, found = last_scoring(connection), set()
    for kind in (BlockKind.SCORES, BlockKind.ABSENT) if scoring else ():
        buckets = client_blocks.bucket_sizes(connection, scoring["id"], kind)
        for _, names, rows in scored_clients.find_names(
            connection, scoring["id"], kind, buckets, text
        ):
            found.update(names[row] for row in rows)
    return sorted(found)[:limit]


def names_of_scoring(connection: Connection, scoring_id: int, limit: int) -> list[str]:
    """List the names of clients of a scoring, up to a limit."""
    names: list[str] = []
    buckets = list(client_blocks.bucket_sizes(connection, scoring_id))
    for _, packed, n_names in scored_clients.read_names(
        connection, scoring_id, BlockKind.SCORES, buckets
    ):
        names += column_blocks.unpack_texts(packed, n_names)
        if len(names) >= limit:
            break
    return names[:limit]


@dataclass(frozen=True)
class Selection:
    """A part of the list: an order, a text in the name and a band, "" without a filter."""

    search: str = ""
    band: str = ""
    order: str = "risk"


def match_names(connection: Connection, scoring_id: int, search: str) -> Mask | None:
    """Return which clients of a scoring have a text in their name, None without a text."""
    if not search:
        return None
    sizes = client_blocks.bucket_sizes(connection, scoring_id)
    ends = np.cumsum(np.fromiter(sizes.values(), np.int64, len(sizes))).tolist()
    starts = dict(zip(sizes, [0, *ends], strict=False))
    matches = np.zeros(ends[-1] if ends else 0, np.bool_)
    for bucket, _, rows in scored_clients.find_names(
        connection, scoring_id, BlockKind.SCORES, sizes, search
    ):
        matches[starts[bucket] + np.array(rows, np.int64)] = True
    return matches


def read_order(
    connection: Connection, scoring_id: int, order: BlockKind, first_part: int, *, bands: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the parts of an order from a part on: the number, and the columns."""
    parts = [
        part
        for part in client_blocks.bucket_sizes(connection, scoring_id, order)
        if part >= first_part
    ]
    wanted = ("rows", "band") if bands else ("rows",)
    for part in parts:
        for row in client_blocks.read_buckets(connection, scoring_id, [order], [part], "content"):
            yield part, column_blocks.unpack(row.content, wanted)


def select_places(
    connection: Connection, scoring_id: int, wanted: Selection, limit: int, offset: int
) -> tuple[list[int], list[int]]:
    """Return the numbers of the clients on a page of the list, and their places in the order.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring_id : int
        The scoring.
    wanted : Selection
        The order and the filters.
    limit, offset : int
        Number of clients, and number of clients to skip.
    """
    order = ORDERS[wanted.order]
    if not wanted.search and not wanted.band:
        return select_unfiltered(connection, scoring_id, order, limit, offset)
    matches = match_names(connection, scoring_id, wanted.search)
    rows: list[int] = []
    places: list[int] = []
    n_skipped = 0
    for part, columns in read_order(connection, scoring_id, order, 0, bands=bool(wanted.band)):
        chosen = matching_places(columns, matches, wanted.band)
        start = min(max(offset - n_skipped, 0), len(chosen))
        n_skipped += len(chosen)
        page = chosen[start : start + limit - len(rows)]
        rows += columns["rows"][page].tolist()
        places += (page + part * PART_CLIENTS).tolist()
        if len(rows) == limit:
            break
    return rows, places


def matching_places(
    columns: Mapping[str, Any], matches: Mask | None, band: str
) -> NDArray[np.int64]:
    """Return the places in a part of an order with clients of a search and of a band."""
    kept = np.ones(len(columns["rows"]), np.bool_)
    if matches is not None:
        kept &= matches[columns["rows"]]
    if band:
        kept &= columns["band"] == band
    return np.flatnonzero(kept)


def select_unfiltered(
    connection: Connection, scoring_id: int, order: BlockKind, limit: int, offset: int
) -> tuple[list[int], list[int]]:
    """Return clients of the whole list by their place in an order, as `select_places` does."""
    rows: list[int] = []
    first = offset // PART_CLIENTS
    for part, columns in read_order(connection, scoring_id, order, first, bands=False):
        start = max(offset - part * PART_CLIENTS, 0)
        rows += columns["rows"][start : start + limit - len(rows)].tolist()
        if len(rows) == limit:
            break
    return rows, list(range(offset, offset + len(rows)))


def count_listed(connection: Connection, scoring_id: int, search: str = "", band: str = "") -> int:
    """Count the clients of a scoring in a search."""
    if not search:
        counts = count_bands(connection, scoring_id)
        return counts.get(band, 0) if band else sum(counts.values())
    matches = match_names(connection, scoring_id, search)
    if matches is None or not band:
        return 0 if matches is None else int(matches.sum())
    parts = read_order(connection, scoring_id, BlockKind.RISK, 0, bands=True)
    return sum(len(matching_places(columns, matches, band)) for _, columns in parts)


def list_clients(
    connection: Connection,
    scoring_id: int,
    *,
    limit: int,
    offset: int = 0,
    search: str = "",
    band: str = "",
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
        A text in the name and a band, "" without a filter.
    order : str
        A key of ORDERS.

    Returns
    -------
    list of mapping
        Scores with their scoring, the values by column, and `place`, the place in the order.
        `previous_probability` and `previous_at` may be None.
    """
    scoring = find_scoring(connection, scoring_id)
    if scoring is None:
        return []
    wanted = Selection(search, band, order)
    rows, places = select_places(connection, scoring_id, wanted, limit, offset)
    found = scored_clients.find_rows(connection, scoring, np.array(rows, np.int64))
    return [
        with_scoring(row, scoring) | {"place": place}
        for row, place in zip(found, places, strict=True)
    ]


def history_of_client(connection: Connection, client: str, limit: int) -> list[Row]:
    """List the scores of a client with their scorings, newest first."""
    known = list_scorings(connection)
    by_id = {row["id"]: row for row in known}
    name_hash = name_hashes.hash_name(client)
    bucket_of = {
        row["bits"]: name_hashes.find_bucket(name_hash, row["bits"]) for row in known
    }
    found = scored_clients.find_client(connection, known[:limit], client, bucket_of)
    rows = [with_scoring(row, by_id[row["scoring_id"]]) for row in found]
    return rows or absent_score(connection, client, known)


def absent_score(connection: Connection, client: str, known: Sequence[Row]) -> list[Row]:
    """Return the last score of a client whose scorings are forgotten, or nothing."""
    if not known:
        return []
    bucket = name_hashes.find_bucket(name_hashes.hash_name(client), known[0]["bits"])
    read = scored_clients.read_clients(connection, known[0]["id"], [bucket], absent=True)
    if client not in read.names:
        return []
    row = read.rows([read.names.index(client)])[0]
    scoring = next(scoring for scoring in known if scoring["id"] == row["scored_in"])
    return [with_scoring(row, scoring)]


def count_bands(connection: Connection, scoring_id: int) -> dict[str, int]:
    """Count the clients of a scoring by band."""
    scoring = find_scoring(connection, scoring_id)
    return {} if scoring is None or scoring["bands"] is None else dict(scoring["bands"])
