"""Queries for the clients: the list and its parts, names, and scores over time."""

import bisect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from scripts.core import name_hashes
from scripts.records import client_blocks, column_blocks, scored_clients, scoring_records
from scripts.records.runs import Row
from scripts.records.scored_clients import ScoredClients
from scripts.records.tables import BlockKind

# The probabilities of a band: from the first number on, below the second.
BandRanges = Mapping[str, tuple[float, float]]
NO_RANGES: BandRanges = MappingProxyType({})
# Clients in a block of an order.
PART_CLIENTS = 2**16

Mask = NDArray[np.bool_]


def with_scoring(row: Mapping[str, Any], scoring: Row) -> dict[str, Any]:
    """Return a client's score with the facts of the scoring and with moments."""
    facts = ("columns", "scored_at", "release", "model_stamp", "n_clients", "as_of")
    moments = {
        name: scored_clients.as_moment(row[name]) for name in ("previous_at", "first_high_at")
    }
    before = scored_clients.without_nan(row["previous_probability"])
    gains = {
        name: scored_clients.without_nan(row[name]) for name in scored_clients.GAINS if name in row
    }
    is_held_out = row.get("held_out") and scoring["holdout_facts"] is not None
    until = scoring["holdout_facts"]["until"] if is_held_out else None
    return {
        **row, **moments, **gains, "held_out_until": until, "previous_probability": before,
        "scoring_id": scoring["id"],
        **{name: scoring[name] for name in facts},
    }  # fmt: skip


def match_people_names(
    connection: Connection, scoring_id: int, search: str, n_clients: int
) -> Mask:
    """Return a mask of clients with a text in a name for people, for example the company."""
    matches, needle = np.zeros(n_clients, np.bool_), search.casefold()
    marked = scored_clients.find_kept(connection, scoring_id)
    names = [name for name in marked if name.startswith(scored_clients.NAME)]
    if not names or column_blocks.SEPARATOR in needle:
        return matches
    for column in scored_clients.read_features(connection, scoring_id, names).values():
        folded = column_blocks.SEPARATOR.join(column.tolist()).casefold()
        if needle in folded:
            matches[scored_clients.find_matches(folded, needle)] = True
    return matches


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
    matches = match_people_names(connection, scoring["id"], text, scoring["n_clients"])
    numbers = np.flatnonzero(matches)[:limit].astype(np.int64)
    found.update(scored_clients.find_clients(connection, scoring["id"], numbers).names)
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


class Selection(Struct, frozen=True):
    """A part of the list: an order, filters, and the first place.

    `search` is a text in the name, and `band` a band, "" without a filter. `ranges` are the
    probabilities of the bands. A band without a range is as it was recorded. `away` are the places
    by risk, from 0 and rising, of clients who stand at the end of the orders to call by. `mask`
    says which clients fit, by number, and `sequence` are all numbers in an order of its own, in
    place of `order`. The part begins behind `start` clients that fit, and leaves out `offset` more.
    """

    order: str = "risk"
    search: str = ""
    band: str = ""
    ranges: BandRanges = field(default_factory=dict)
    away: Sequence[int] = ()
    mask: Mask | None = None
    sequence: NDArray[np.int64] | None = None
    start: int = 0
    offset: int = 0


class ListPart(Struct, frozen=True):
    """A part of the list: the clients, the matching clients in all and before, and the next place.

    `next_place` is the number of clients that fit before the next part, None at the end.
    """

    clients: ScoredClients
    n_found: int
    n_before: int
    next_place: int | None


class ChosenClients(Struct, frozen=True):
    """The numbers of the clients of a part, and the number of all matching clients."""

    numbers: NDArray[np.int64]
    n_found: int


def match_names(connection: Connection, scoring_id: int, search: str) -> Mask:
    """Return a mask of the clients of a scoring with a text in the name, in either case."""
    sizes = client_blocks.bucket_sizes(connection, scoring_id)
    ends = np.cumsum(np.fromiter(sizes.values(), np.int64, len(sizes))).tolist()
    starts = dict(zip(sizes, [0, *ends], strict=False))
    matches = np.zeros(ends[-1] if ends else 0, np.bool_)
    for bucket, _, rows in scored_clients.find_names(
        connection, scoring_id, BlockKind.SCORES, sizes, search
    ):
        matches[starts[bucket] + np.array(rows, np.int64)] = True
    return matches | match_people_names(connection, scoring_id, search, len(matches))


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
    """Count the clients with enough data from a probability on, the first of the list by risk."""
    n_ranked = scoring["n_clients"] - scoring["n_without_data"]
    starts = range(0, n_ranked, PART_CLIENTS)
    read: dict[int, Any] = {}

    def falling(start: int) -> Any:
        """Return the probabilities of a part of the list, negated into rising order."""
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
    """Return the range of places of each band on the list by risk, without the end.

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


def iterate_order(
    connection: Connection, scoring: Row, wanted: Selection
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the numbers of the clients in the wanted order, and their places by risk, by parts."""
    if wanted.sequence is not None:
        places = np.empty(scoring["n_clients"], np.int64)
        for start, part in read_order(connection, scoring["id"], BlockKind.RISK, 0, "rows"):
            places[part["rows"]] = np.arange(start, start + len(part["rows"]))
        yield wanted.sequence, places[wanted.sequence]
        return
    order = scoring_records.ORDERS[wanted.order]
    columns = ("rows",) if order is BlockKind.RISK else ("rows", "place")
    for start, part in read_order(connection, scoring["id"], order, 0, *columns):
        rows = part["rows"].astype(np.int64)
        yield rows, part.get("place", np.arange(start, start + len(rows)))


def find_matches(
    connection: Connection, scoring: Row, wanted: Selection, places: tuple[int, int] | None
) -> NDArray[np.int64]:
    """Return the numbers of all matching clients, in the order of the list.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring : mapping
        The row of the scoring.
    wanted : Selection
        The order, the filters, and the clients who are away.
    places : tuple of int or None
        The places of the band on the list by risk.
    """
    fits = np.ones(scoring["n_clients"], np.bool_) if wanted.mask is None else wanted.mask
    if wanted.search:
        fits = fits & match_names(connection, scoring["id"], wanted.search)
    gone = np.array(wanted.away, np.int64)
    active, away = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for rows, place in iterate_order(connection, scoring, wanted):
        kept = fits[rows]
        if places is not None:
            kept = kept & (place >= places[0]) & (place < places[1])
        is_away = np.isin(place, gone)
        active.append(rows[kept & ~is_away])
        away.append(rows[kept & is_away])
    return np.concatenate([*active, *away])


def choose_matches(
    connection: Connection,
    scoring: Row,
    wanted: Selection,
    places: tuple[int, int] | None,
    limit: int,
) -> ChosenClients:
    """Choose the clients of a part by reading the whole order."""
    found = find_matches(connection, scoring, wanted, places)
    first = wanted.start + wanted.offset
    return ChosenClients(found[first : first + limit], len(found))


def move_away(places: tuple[int, int], away: Sequence[int], wanted: range) -> NDArray[np.int64]:
    """Return the places by risk of a part of the list, with clients who are away at the end.

    Parameters
    ----------
    places : tuple of int
        The first place of the list by risk, and the one behind the last.
    away : sequence of int
        The places of the clients who are away, rising.
    wanted : range
        The part, counted from 0 within the list as it is shown.
    """
    first, end = places
    gone = np.array([place for place in away if first <= place < end], np.int64)
    n_active = end - first - len(gone)
    shown = np.arange(wanted.start, min(wanted.stop, end - first), dtype=np.int64)
    active = shown[shown < n_active]
    # So many active clients stand before each one who is away.
    n_before = gone - first - np.arange(len(gone))
    moved = first + active + np.searchsorted(n_before, active, side="right")
    return np.concatenate([moved, gone[shown[shown >= n_active] - n_active]])


def choose_range(
    connection: Connection,
    scoring_id: int,
    wanted: Selection,
    places: tuple[int, int],
    limit: int,
) -> ChosenClients:
    """Choose the clients of a part by reading only the blocks of their places."""
    first = wanted.start + wanted.offset
    chosen = move_away(places, wanted.away, range(first, first + limit))
    numbers = np.empty(len(chosen), np.int64)
    order = scoring_records.ORDERS[wanted.order]
    parts = chosen // PART_CLIENTS
    for part in np.unique(parts).tolist():
        _, columns = next(read_order(connection, scoring_id, order, part, "rows"))
        here = parts == part
        numbers[here] = columns["rows"][chosen[here] - part * PART_CLIENTS]
    return ChosenClients(numbers, places[1] - places[0])


def list_part(connection: Connection, scoring: Row, wanted: Selection, limit: int) -> ListPart:
    """List a part of the clients of a scoring.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring : mapping
        The row of the scoring.
    wanted : Selection
        The order, the filters and the beginning.
    limit : int
        Number of clients.

    Returns
    -------
    ListPart
        The clients with their scores and values.
    """
    has_own_order = wanted.sequence is not None
    if has_own_order or wanted.order not in scoring_records.CALL_ORDERS:
        wanted = replace(wanted, away=())
    places = None
    if wanted.band:
        bands = find_band_places(connection, scoring, wanted.ranges)
        places = bands.get(wanted.band, (0, 0))
    is_part = bool(wanted.search) or wanted.mask is not None or has_own_order
    if is_part or (wanted.order != "risk" and (wanted.away or places is not None)):
        chosen = choose_matches(connection, scoring, wanted, places, limit)
    else:
        every = (0, scoring["n_clients"])
        chosen = choose_range(connection, scoring["id"], wanted, places or every, limit)
    found = scored_clients.find_clients(connection, scoring["id"], chosen.numbers)
    n_before = min(wanted.start + wanted.offset, chosen.n_found)
    end = n_before + len(found.names)
    return ListPart(found, chosen.n_found, n_before, end if end < chosen.n_found else None)


def read_held_out(connection: Connection, scoring: Row) -> list[int]:
    """Return the rising places by risk, from 0, of the held-out clients of a list."""
    places: list[int] = []
    for row in client_blocks.read_buckets(
        connection, scoring["id"], [BlockKind.HELD_OUT], [0], "content"
    ):
        places += column_blocks.unpack(row.content)["place"].tolist()
    return places


def read_gains(
    connection: Connection, scoring: Row
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the expected gains of a list with gains, and the parts a call can save.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring : mapping
        The row of the scoring.

    Returns
    -------
    tuple of two numpy.ndarray of shape (n_ranked,)
        By falling gain, without the clients that lack data or are held out.
    """
    wanted = ("gain", "saved", "place")
    parts = [
        tuple(part[name] for name in wanted)
        for _, part in read_order(connection, scoring["id"], BlockKind.GAIN, 0, *wanted)
    ]
    if not parts:
        return np.zeros(0), np.zeros(0)
    n_ranked = scoring["n_clients"] - scoring["n_without_data"]
    gain, saved, place = (
        np.concatenate([np.zeros(0), *columns])[:n_ranked] for columns in zip(*parts, strict=True)
    )
    may_be_called = ~np.isin(place, read_held_out(connection, scoring))
    return gain[may_be_called], saved[may_be_called]


def absent_score(connection: Connection, client: str, known: Sequence[Row]) -> list[Row]:
    """Return the last score of a client with forgotten scorings, or []."""
    if not known:
        return []
    bucket = name_hashes.find_bucket(name_hashes.hash_name(client), known[0]["bits"])
    read = scored_clients.read_clients(connection, known[0]["id"], [bucket], absent=True)
    if client not in read.names:
        return []
    row = read.rows([read.names.index(client)])[0]
    scoring = next(scoring for scoring in known if scoring["id"] == row["scored_in"])
    return [with_scoring(row, scoring)]


def history_of_client(connection: Connection, client: str, limit: int) -> list[Row]:
    """List the scores of a client with their scorings, newest first."""
    known = scoring_records.list_scorings(connection)
    by_id = {row["id"]: row for row in known}
    name_hash = name_hashes.hash_name(client)
    bucket_of = {row["bits"]: name_hashes.find_bucket(name_hash, row["bits"]) for row in known}
    found = scored_clients.find_client(connection, known[:limit], client, bucket_of)
    rows: list[Row] = [with_scoring(row, by_id[row["scoring_id"]]) for row in found]
    return rows or absent_score(connection, client, known)


def count_bands(
    connection: Connection, scoring: Row, ranges: BandRanges = NO_RANGES
) -> dict[str, int]:
    """Count the clients of a scoring by band, without empty bands."""
    places = find_band_places(connection, scoring, ranges)
    return {word: end - first for word, (first, end) in places.items() if end > first}
