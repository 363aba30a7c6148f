"""Queries for the clients: the list, scores over time, and outcomes."""

import bisect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from scripts.core import name_hashes
from scripts.records import client_blocks, column_blocks, scored_clients, scoring_records
from scripts.records.runs import Row, all_rows
from scripts.records.tables import BlockKind, client_outcomes, scorings

# The probabilities of a band: from the first number on, below the second.
BandRanges = Mapping[str, tuple[float, float]]
NO_RANGES: BandRanges = MappingProxyType({})
# Clients in a block of an order.
PART_CLIENTS = 2**16
# A run that was killed leaves outcomes of a scoring that is not whole.
COUNTED = sa.or_(
    client_outcomes.c.recorded_by.is_(None),
    client_outcomes.c.recorded_by.not_in(sa.select(scorings.c.id).where(~scorings.c.is_whole)),
)

Mask = NDArray[np.bool_]


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
    scoring = scoring_records.last_scoring(connection)
    if scoring is None:
        return []
    found: set[str] = set()
    for kind in (BlockKind.SCORES, BlockKind.ABSENT):
        buckets = client_blocks.bucket_sizes(connection, scoring["id"], kind)
        for _, names, rows in scored_clients.find_names(
            connection, scoring["id"], kind, buckets, text
        ):
            every = names.split(column_blocks.SEPARATOR)
            found.update(every[row] for row in rows)
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
    """A part of the list: an order, a text in the name, and the places of a band by risk."""

    order: BlockKind
    search: str = ""
    places: tuple[int, int] | None = None


def match_names(connection: Connection, scoring_id: int, search: str) -> Mask:
    """Return which clients of a scoring have a text in their name, in upper or lower case."""
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
    connection: Connection, scoring_id: int, order: BlockKind, first_part: int, *wanted: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the parts of an order from a part on: the place of the first client, and columns."""
    parts = client_blocks.bucket_sizes(connection, scoring_id, order)
    for part in parts:
        if part < first_part:
            continue
        for row in client_blocks.read_buckets(connection, scoring_id, [order], [part], "content"):
            yield part * PART_CLIENTS, column_blocks.unpack(row.content, wanted)


def count_at_least(connection: Connection, scoring: Row, limit: float) -> int:
    """Count the clients with enough data from a probability on, which lead the list by risk."""
    n_ranked = scoring["n_clients"] - scoring["n_without_data"]
    starts = range(0, n_ranked, PART_CLIENTS)
    read: dict[int, Any] = {}

    def falling(start: int) -> Any:
        """Return the probabilities of a part of the list, negative, so that they rise."""
        if start not in read:
            part = read_order(
                connection, scoring["id"], BlockKind.RISK, start // PART_CLIENTS, "probability"
            )
            read[start] = -next(part)[1]["probability"][: n_ranked - start]
        return read[start]

    part = bisect.bisect_right(starts, -limit, key=lambda start: falling(start)[0]) - 1
    if part < 0:
        return 0
    within = np.searchsorted(falling(starts[part]), -limit, side="right")
    return starts[part] + int(within)


def find_band_places(
    connection: Connection, scoring: Row, ranges: BandRanges
) -> dict[str, tuple[int, int]]:
    """Return the places of each band on the list by risk: the first, and the one behind the last.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring : mapping
        The row of the scoring.
    ranges : mapping of str to tuple of float
        The probabilities of the bands. A band without a range is as it was recorded.
    """
    recorded = scoring["bands"] or []
    ends = itertools.accumulate(count for _, count in recorded)
    places = {word: (end - count, end) for (word, count), end in zip(recorded, ends, strict=True)}
    if not ranges:
        return places
    kept = {word: pair for word, pair in places.items() if word not in ranges}
    n_from = {
        limit: count_at_least(connection, scoring, limit)
        for limit in {limit for pair in ranges.values() for limit in pair}
    }
    return {word: (n_from[high], n_from[low]) for word, (low, high) in ranges.items()} | kept


def make_selection(
    connection: Connection, scoring: Row, order: str, search: str, band: str, ranges: BandRanges
) -> Selection:
    """Return the selection of a search, with the places of the band."""
    places = find_band_places(connection, scoring, ranges).get(band, (0, 0)) if band else None
    return Selection(scoring_records.ORDERS[order], search, places)


def select_clients(
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
    if not wanted.search:
        first, end = (0, None) if wanted.places is None else wanted.places
        if wanted.order is BlockKind.RISK or wanted.places is None:
            end = offset + first + limit if end is None else min(end, offset + first + limit)
            return select_range(connection, scoring_id, wanted.order, offset + first, end)
    rows: list[int] = []
    places: list[int] = []
    n_skipped = 0
    for start, chosen, numbers in iterate_matches(connection, scoring_id, wanted):
        first = min(max(offset - n_skipped, 0), len(chosen))
        n_skipped += len(chosen)
        page = slice(first, first + limit - len(rows))
        rows += numbers[page].tolist()
        places += (chosen[page] + start).tolist()
        if len(rows) == limit:
            break
    return rows, places


def iterate_matches(
    connection: Connection, scoring_id: int, wanted: Selection
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint32]]]:
    """Yield the clients that fit a selection, by parts of the order.

    Yields
    ------
    tuple of int, numpy.ndarray and numpy.ndarray
        The first place of the part, the places in the part, and the numbers of the clients.
    """
    matches = match_names(connection, scoring_id, wanted.search) if wanted.search else None
    columns = ("rows",) if wanted.order is BlockKind.RISK else ("rows", "place")
    for start, part in read_order(connection, scoring_id, wanted.order, 0, *columns):
        rows = part["rows"]
        kept = np.ones(len(rows), np.bool_) if matches is None else matches[rows]
        if wanted.places is not None:
            place = part.get("place", np.arange(start, start + len(rows)))
            kept &= (place >= wanted.places[0]) & (place < wanted.places[1])
        chosen = np.flatnonzero(kept)
        yield start, chosen, rows[chosen]


def select_range(
    connection: Connection, scoring_id: int, order: BlockKind, start: int, end: int
) -> tuple[list[int], list[int]]:
    """Return clients by their places in an order, as `select_clients` does."""
    rows: list[int] = []
    if start >= end:
        return [], []
    for first, part in read_order(connection, scoring_id, order, start // PART_CLIENTS, "rows"):
        rows += part["rows"][max(start - first, 0) : end - first].tolist()
        if first + PART_CLIENTS >= end:
            break
    return rows, list(range(start, start + len(rows)))


def count_listed(
    connection: Connection,
    scoring_id: int,
    search: str = "",
    band: str = "",
    ranges: BandRanges = NO_RANGES,
) -> int:
    """Count the clients of a scoring in a search."""
    scoring = scoring_records.find_scoring(connection, scoring_id)
    if scoring is None:
        return 0
    wanted = make_selection(connection, scoring, "risk", search, band, ranges)
    if search:
        found = iterate_matches(connection, scoring_id, wanted)
        return sum(len(chosen) for _, chosen, _ in found)
    first, end = wanted.places or (0, scoring["n_clients"])
    return int(end - first)


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
        A text in the name and a band, "" without a filter.
    ranges : mapping of str to tuple of float
        The probabilities of the bands. A band without a range is as it was recorded.
    order : str
        A key of `scoring_records.ORDERS`.

    Returns
    -------
    list of mapping
        Scores with their scoring, the values by column, and `place`, the place in the order.
        `previous_probability` and `previous_at` may be None.
    """
    scoring = scoring_records.find_scoring(connection, scoring_id)
    if scoring is None:
        return []
    wanted = make_selection(connection, scoring, order, search, band, ranges)
    rows, places = select_clients(connection, scoring_id, wanted, limit, offset)
    found = scored_clients.find_rows(connection, scoring_id, np.array(rows, np.int64))
    return [
        with_scoring(row, scoring) | {"place": place}
        for row, place in zip(found, places, strict=True)
    ]


def history_of_client(connection: Connection, client: str, limit: int) -> list[Row]:
    """List the scores of a client with their scorings, newest first."""
    known = scoring_records.list_scorings(connection)
    by_id = {row["id"]: row for row in known}
    name_hash = name_hashes.hash_name(client)
    bucket_of = {row["bits"]: name_hashes.find_bucket(name_hash, row["bits"]) for row in known}
    found = scored_clients.find_client(connection, known[:limit], client, bucket_of)
    rows: list[Row] = [with_scoring(row, by_id[row["scoring_id"]]) for row in found]
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


def count_bands(
    connection: Connection, scoring_id: int, ranges: BandRanges = NO_RANGES
) -> dict[str, int]:
    """Count the clients of a scoring by band, without bands that nobody is in."""
    scoring = scoring_records.find_scoring(connection, scoring_id)
    if scoring is None:
        return {}
    places = find_band_places(connection, scoring, ranges)
    return {word: end - first for word, (first, end) in places.items() if end > first}
