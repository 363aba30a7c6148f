"""Scored clients as columns, read from the blocks of a scoring."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from scripts.core import name_hashes
from scripts.core.errors import RecordsError
from scripts.records import client_blocks, column_blocks, tables
from scripts.records.column_blocks import Column
from scripts.records.runs import Row
from scripts.records.tables import BlockKind

# The lowest whole number stands for a missing moment.
NO_MOMENT = np.iinfo(np.int64).min
# Columns of features bear their kind, since a column may be a number for one model and text for
# another.
NUMBER, TEXT = "number:", "text:"
# Columns that are no features: names for people, and texts and numbers that the list shows.
NAME, KEPT_TEXT, KEPT_NUMBER = "name:", "kept text:", "kept number:"
FEATURES, KEPT = (NUMBER, TEXT), (NAME, KEPT_TEXT, KEPT_NUMBER)
TEXTS = (TEXT, NAME, KEPT_TEXT)
SECOND_US = 1_000_000
# By the kind of a block of values, the scoring that stored a client's values, and the row.
POINTERS_TO = {
    BlockKind.VALUES: ("values_at", "value_row"), BlockKind.TEXTS: ("texts_at", "text_row"),
}  # fmt: skip
POINTERS = tuple(name for pair in POINTERS_TO.values() for name in pair)
# Known only of scorings where the worth of a client is declared, or where some are held out.
GAINS = ("value", "gain")
OPTIONAL = (*GAINS, "held_out")
# Of the features, which every client has, and of the columns kept for people, which some have.
VALUE_POINTERS, TEXT_POINTERS = POINTERS_TO[BlockKind.VALUES], POINTERS_TO[BlockKind.TEXTS]
# The values of a client that is absent lie beside the score, in no block of values.
NOWHERE = -1

Places = NDArray[np.int64]


def as_microseconds(at: datetime | None) -> int:
    """Return a moment as microseconds since 1970 in UTC."""
    if at is None:
        return int(NO_MOMENT)
    whole = at.astimezone(UTC)
    return int(whole.replace(microsecond=0).timestamp()) * SECOND_US + whole.microsecond


def as_moment(microseconds: int) -> datetime | None:
    """Return microseconds since 1970 as a moment in UTC."""
    if microseconds == NO_MOMENT:
        return None
    seconds, rest = divmod(microseconds, SECOND_US)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def mark_features(features: Mapping[str, Column]) -> dict[str, Column]:
    """Return columns of features under names with their kind."""
    return {
        (TEXT if values.dtype == np.object_ else NUMBER) + name: values
        for name, values in features.items()
    }


def mark_kept(columns: Mapping[str, Column], names: Collection[str]) -> dict[str, Column]:
    """Return columns kept for people under names with their kind.

    `names` are those that name a client for people.
    """
    marked = {}
    for column, values in columns.items():
        kind = KEPT_TEXT if values.dtype == np.object_ else KEPT_NUMBER
        marked[(NAME if column in names else kind) + column] = values
    return marked


def is_feature(name: str) -> bool:
    """Return whether a packed column is a feature."""
    return name.startswith(FEATURES)


def is_kept(name: str) -> bool:
    """Return whether a packed column is none of the scores, and no feature."""
    return name.startswith(KEPT)


def may_lack(name: str) -> bool:
    """Return whether a part of the clients may lack a packed column."""
    return is_feature(name) or is_kept(name) or name in (*OPTIONAL, *TEXT_POINTERS)


class ScoredClients(Struct, frozen=True):
    """Names of clients and columns of equal length: scores and, if read, values."""

    names: list[str]
    columns: dict[str, Column]

    def select(self, places: Places) -> "ScoredClients":
        """Return some clients, in the order of their places."""
        names = [self.names[place] for place in places.tolist()]
        return ScoredClients(names, {name: column[places] for name, column in self.columns.items()})

    def rows(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Return clients as rows, with the values of the features in `values`.

        `names` are the names for people, and `kept` those and the other columns kept for the list.
        """
        columns = {name: column[places].tolist() for name, column in self.columns.items()}
        values = {n.partition(":")[2]: columns.pop(n) for n in list(columns) if is_feature(n)}
        kept = {n: columns.pop(n) for n in list(columns) if is_kept(n)}
        names = [n.partition(":")[2] for n in kept if n.startswith(NAME)]
        kept = {n.partition(":")[2]: column for n, column in kept.items()}
        return [
            {
                "client": self.names[place],
                **{name: column[number] for name, column in columns.items()},
                "values": {n: without_nan(column[number]) for n, column in values.items()},
                "kept": {n: without_nan(column[number]) for n, column in kept.items()},
                "names": {name: kept[name][number] for name in names},
            }
            for number, place in enumerate(places)
        ]


def without_nan(value: Any) -> Any:
    """Return a value, None for NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def empty_column(name: str, n_rows: int) -> Column:
    """Return a column without values."""
    if name in TEXT_POINTERS:
        return np.full(n_rows, NOWHERE, np.int32)
    return np.full(n_rows, "", object) if name.startswith(TEXTS) else np.full(n_rows, np.nan)


def concatenate(parts: Sequence[ScoredClients]) -> ScoredClients:
    """Return all clients of several parts, perhaps with different features."""
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns: dict[str, Column] = {}
    for name in names:
        pieces = [
            part.columns[name] if name in part.columns else empty_column(name, len(part.names))
            for part in parts
            if name in part.columns or may_lack(name)
        ]
        columns[name] = np.concatenate(pieces)
    return ScoredClients([name for part in parts for name in part.names], columns)


def gather_values(
    blocks: Mapping[int, Mapping[str, Column]], stored_at: Column, rows: Column
) -> dict[str, Column]:
    """Return the values of clients from the blocks of the scorings with their values."""
    lacking = set(stored_at.tolist()) - set(blocks)
    if lacking:
        raise RecordsError(f"The records lack the values of scoring {min(lacking)}.")
    if len(blocks) == 1:
        (block,) = blocks.values()
        return {name: column[rows] for name, column in block.items()}
    parts: dict[str, Column] = {}
    for scoring_id, block in blocks.items():
        places = np.flatnonzero(stored_at == scoring_id)
        for name, column in block.items():
            whole = parts.setdefault(name, empty_column(name, len(rows)))
            whole[places] = column[rows[places]]
    return parts


def read_values(
    connection: Connection,
    pointers: Mapping[int, Mapping[str, Column]],
    wanted: Collection[str] | None = None,
    kind: BlockKind = BlockKind.VALUES,
) -> dict[int, dict[str, Column]]:
    """Read the values of clients of some buckets.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    pointers : mapping of int to mapping of str to numpy.ndarray of shape (n_rows,)
        By bucket, the columns of POINTERS_TO: the scorings that stored the values, and the rows.
    wanted : collection of str, optional
        The columns to read, under names with their kind. Without it, all.
    kind : BlockKind
        VALUES for features, TEXTS for the columns kept for people.

    Returns
    -------
    dict of int to dict of str to numpy.ndarray of shape (n_rows,)
        By bucket, the columns under names with their kind.
    """
    at, row_of = POINTERS_TO[kind]
    buckets_of: dict[int, list[int]] = {}
    for bucket, columns in pointers.items():
        for scoring_id in set(columns[at].tolist()):
            buckets_of.setdefault(scoring_id, []).append(bucket)
    read: dict[int, dict[int, dict[str, Column]]] = {bucket: {} for bucket in pointers}
    for scoring_id, buckets in buckets_of.items():
        for row in client_blocks.read_buckets(connection, scoring_id, [kind], buckets, "content"):
            read[row.bucket][scoring_id] = column_blocks.unpack(row.content, wanted)
    return {
        bucket: gather_values(read[bucket], columns[at], columns[row_of])
        for bucket, columns in pointers.items()
    }


class BucketContents(Struct, frozen=True):
    """The blocks of a bucket: the packed names, and the packed columns by kind."""

    names: bytes
    n_clients: int
    contents: dict[str, bytes]


def group_contents(rows: Iterable[Any]) -> dict[int, BucketContents]:
    """Return blocks by bucket, with the names from SCORES and ABSENT."""
    contents: dict[int, dict[str, bytes]] = {}
    named: dict[int, Any] = {}
    for row in rows:
        contents.setdefault(row.bucket, {})[row.kind] = row.content
        if row.names is not None:
            named[row.bucket] = row
    return {
        bucket: BucketContents(named[bucket].names, named[bucket].n_clients, blocks)
        for bucket, blocks in contents.items()
    }


def read_parts(
    connection: Connection,
    buckets: Mapping[int, BucketContents],
    places: Mapping[int, Places] | None = None,
) -> dict[int, ScoredClients]:
    """Return the clients of some or all buckets, with their values.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    buckets : mapping of int to BucketContents
        The blocks SCORES and PLACES of a bucket, or ABSENT.
    places : mapping of int to numpy.ndarray of shape (n_chosen,), optional
        The rows of the clients in each bucket; without it, all.
    """
    found: dict[int, ScoredClients] = {}
    for bucket, blocks in buckets.items():
        names = column_blocks.unpack_texts(blocks.names, blocks.n_clients)
        columns: dict[str, Column] = {}
        for content in blocks.contents.values():
            columns |= column_blocks.unpack(content)
        whole = ScoredClients(names, columns)
        found[bucket] = whole if places is None else whole.select(places[bucket])
    for kind, (at, _) in POINTERS_TO.items():
        pointers = {b: part.columns for b, part in found.items() if at in part.columns}
        for bucket, values in read_values(connection, pointers, kind=kind).items():
            found[bucket].columns.update(values)
    return found


def read_clients(
    connection: Connection, scoring_id: int, buckets: Sequence[int], *, absent: bool = False
) -> ScoredClients:
    """Read the listed or the absent clients of some buckets of a scoring."""
    kinds = [BlockKind.ABSENT] if absent else [BlockKind.SCORES, BlockKind.PLACES]
    found = client_blocks.read_buckets(
        connection, scoring_id, kinds, buckets, "names", "content", "n_clients"
    )
    parts = read_parts(connection, group_contents(found))
    return concatenate(list(parts.values())) if parts else ScoredClients([], {})


def read_scores(
    connection: Connection, scoring_id: int, buckets: Sequence[int], names: Collection[str]
) -> ScoredClients:
    """Read columns of the scores and places of the clients of some buckets, without values."""
    kinds = [BlockKind.SCORES, BlockKind.PLACES]
    found = client_blocks.read_buckets(
        connection, scoring_id, kinds, buckets, "names", "content", "n_clients"
    )
    parts = []
    for bucket in group_contents(found).values():
        columns: dict[str, Column] = {}
        for content in bucket.contents.values():
            columns |= column_blocks.unpack(content, names)
        parts.append(
            ScoredClients(column_blocks.unpack_texts(bucket.names, bucket.n_clients), columns)
        )
    return concatenate(parts) if parts else ScoredClients([], {})


class Numbering(Struct, frozen=True):
    """The numbers of the clients of a scoring: by bucket, and in a bucket by row."""

    buckets: NDArray[np.int64]
    ends: NDArray[np.int64]

    def split(self, numbers: NDArray[np.int64]) -> dict[int, tuple[Places, Places]]:
        """Return by bucket the places of the bucket's clients among the numbers, and their rows."""
        blocks = np.searchsorted(self.ends, numbers, side="right")
        starts = np.concatenate([[0], self.ends[:-1]])
        order = np.argsort(blocks, kind="stable")
        present, first = np.unique(blocks[order], return_index=True)
        parts = np.split(order, first[1:])
        return {
            int(self.buckets[block]): (part, numbers[part] - starts[block])
            for block, part in zip(present.tolist(), parts, strict=True)
        }


def read_numbering(connection: Connection, scoring_id: int) -> Numbering:
    """Read how the clients of a scoring are numbered."""
    sizes = client_blocks.bucket_sizes(connection, scoring_id)
    buckets = np.fromiter(sizes, np.int64, len(sizes))
    return Numbering(buckets, np.cumsum(np.fromiter(sizes.values(), np.int64, len(sizes))))


def read_chosen(
    connection: Connection, pointers: Mapping[int, Mapping[str, Column]], names: Collection[str]
) -> dict[int, dict[str, Column]]:
    """Return features and columns kept for people of clients of some buckets, by bucket."""
    chosen: dict[int, dict[str, Column]] = {bucket: {} for bucket in pointers}
    for kind, is_of_kind in ((BlockKind.VALUES, is_feature), (BlockKind.TEXTS, is_kept)):
        wanted, at = list(filter(is_of_kind, names)), POINTERS_TO[kind][0]
        stored = {bucket: columns for bucket, columns in pointers.items() if at in columns}
        if wanted:
            for bucket, values in read_values(connection, stored, wanted, kind).items():
                chosen[bucket].update(values)
    return chosen


def find_kept(connection: Connection, scoring_id: int) -> tuple[str, ...]:
    """Return the columns kept for people in a scoring, under names with their kind."""
    buckets = list(client_blocks.bucket_sizes(connection, scoring_id))[:1]
    for row in client_blocks.read_buckets(
        connection, scoring_id, [BlockKind.SCORES], buckets, "content"
    ):
        stored_at = column_blocks.unpack(row.content, TEXT_POINTERS).get(TEXT_POINTERS[0])
        if stored_at is None:
            return ()
        for block in client_blocks.read_buckets(
            connection, int(stored_at[0]), [BlockKind.TEXTS], buckets, "content"
        ):
            return tuple(head.name for head in column_blocks.read_headers(block.content)[0])
    return ()


def read_features(
    connection: Connection, scoring_id: int, names: Collection[str]
) -> dict[str, Column]:
    """Return columns of all clients of a scoring, under names with their kind.

    The clients are in the order of their numbers. A value that a client has not is missing.
    """
    sizes = client_blocks.bucket_sizes(connection, scoring_id)
    parts: dict[str, list[Column]] = {name: [] for name in names}
    buckets = list(sizes)
    for start in range(0, len(buckets), client_blocks.BATCH_BLOCKS):
        part = buckets[start : start + client_blocks.BATCH_BLOCKS]
        found = client_blocks.read_buckets(
            connection, scoring_id, [BlockKind.SCORES], part, "content"
        )
        pointers = {row.bucket: column_blocks.unpack(row.content, POINTERS) for row in found}
        values = read_chosen(connection, pointers, names)
        for bucket in part:
            for name in names:
                column = values[bucket].get(name)
                parts[name].append(empty_column(name, sizes[bucket]) if column is None else column)
    return {
        name: np.concatenate(pieces) if pieces else empty_column(name, 0)
        for name, pieces in parts.items()
    }


def find_clients(
    connection: Connection, scoring_id: int, numbers: NDArray[np.int64]
) -> ScoredClients:
    """Return clients of a scoring by their numbers, in the order of the numbers."""
    split = read_numbering(connection, scoring_id).split(numbers) if len(numbers) else {}
    kinds = [BlockKind.SCORES, BlockKind.PLACES]
    parts: list[ScoredClients] = []
    wanted = list(split)
    for start in range(0, len(wanted), client_blocks.BATCH_BLOCKS):
        part = wanted[start : start + client_blocks.BATCH_BLOCKS]
        found = client_blocks.read_buckets(
            connection, scoring_id, kinds, part, "names", "content", "n_clients"
        )
        places = {bucket: split[bucket][1] for bucket in part}
        read = read_parts(connection, group_contents(found), places)
        parts += [read[bucket] for bucket in part]
    if not parts:
        return ScoredClients([], {})
    # By bucket up to here.
    order = np.argsort(np.concatenate([split[bucket][0] for bucket in wanted]))
    return concatenate(parts).select(order)


def find_rows(
    connection: Connection, scoring_id: int, numbers: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return clients of a scoring by their numbers as rows, in the order of the numbers."""
    return find_clients(connection, scoring_id, numbers).rows(range(len(numbers)))


class Located(Struct, frozen=True):
    """The place of a client in a scoring: the number, the position by risk, and the risk."""

    number: int
    position: int
    probability: float


def locate(connection: Connection, scoring: Row, names: Iterable[str]) -> dict[str, Located]:
    """Return the place of clients in a scoring by name, without unknown clients."""
    buckets: dict[int, list[str]] = {}
    for name in names:
        bucket = name_hashes.find_bucket(name_hashes.hash_name(name), scoring["bits"])
        buckets.setdefault(bucket, []).append(name)
    if not buckets:
        return {}
    sizes = client_blocks.bucket_sizes(connection, scoring["id"])
    starts = dict(zip(sizes, [0, *np.cumsum(list(sizes.values())).tolist()], strict=False))
    kinds = [BlockKind.SCORES, BlockKind.PLACES]
    present = [bucket for bucket in sizes if bucket in buckets]
    read = client_blocks.read_buckets(
        connection, scoring["id"], kinds, present, "names", "content", "n_clients"
    )
    found: dict[str, Located] = {}
    for bucket, blocks in group_contents(read).items():
        texts = column_blocks.unpack_texts(blocks.names, blocks.n_clients)
        row_of = {name: row for row, name in enumerate(texts)}
        columns: dict[str, Column] = {}
        for content in blocks.contents.values():
            columns |= column_blocks.unpack(content, ("probability", "position"))
        for name in buckets[bucket]:
            row = row_of.get(name)
            if row is not None:
                found[name] = Located(
                    starts[bucket] + row,
                    int(columns["position"][row]),
                    float(columns["probability"][row]),
                )
    return found


def read_named(connection: Connection, scoring: Row, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return clients of a scoring by name with their values, without unknown clients."""
    found = locate(connection, scoring, names)
    numbers = np.array([at.number for at in found.values()], np.int64)
    return find_rows(connection, scoring["id"], numbers)


def group_by_bucket(names: Sequence[str], bits: int) -> dict[int, Places]:
    """Return the places of names by the bucket of a scoring, by rising bucket."""
    buckets = name_hashes.hash_names(names).astype(np.int64) >> (name_hashes.HASH_BITS - bits)
    order = np.argsort(buckets, kind="stable")
    present, first = np.unique(buckets[order], return_index=True)
    return dict(zip(present.tolist(), np.split(order, first[1:]), strict=True))


def find_features(
    connection: Connection, scoring: Row, names: Sequence[str]
) -> tuple[Places, dict[str, Column]]:
    """Return the features of clients of a scoring by name.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring : mapping
        The row of the scoring.
    names : sequence of str
        One or more clients, each once. Some may be unknown to the scoring.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_known,) and dict of str to numpy.ndarray of shape (n_known,)
        The places of the known clients among the names, and the features under names with their
        kind.
    """
    wanted = group_by_bucket(names, scoring["bits"])
    places: list[int] = []
    parts: list[ScoredClients] = []
    buckets = list(wanted)
    for start in range(0, len(buckets), client_blocks.BATCH_BLOCKS):
        part = buckets[start : start + client_blocks.BATCH_BLOCKS]
        known: dict[int, list[int]] = {}
        pointers: dict[int, dict[str, Column]] = {}
        for row in client_blocks.read_buckets(
            connection, scoring["id"], [BlockKind.SCORES], part, "names", "content", "n_clients"
        ):
            texts = column_blocks.unpack_texts(row.names, row.n_clients)
            row_of = dict(zip(texts, range(row.n_clients), strict=True))
            here = [place for place in wanted[row.bucket].tolist() if names[place] in row_of]
            rows = np.array([row_of[names[place]] for place in here], np.int64)
            columns = column_blocks.unpack(row.content, VALUE_POINTERS)
            known[row.bucket] = here
            pointers[row.bucket] = {name: column[rows] for name, column in columns.items()}
        for bucket, values in read_values(connection, pointers).items():
            places += known[bucket]
            parts.append(ScoredClients([names[place] for place in known[bucket]], values))
    return np.array(places, np.int64), concatenate(parts).columns


def find_in_bucket(
    connection: Connection, bucket: Mapping[int, BucketContents], client: str, scoring_id: int
) -> list[dict[str, Any]]:
    """Return a client's row in a bucket, or []."""
    ((number, blocks),) = bucket.items()
    names = column_blocks.unpack_texts(blocks.names, blocks.n_clients)
    if client not in names:
        return []
    places = {number: np.array([names.index(client)], np.int64)}
    read = read_parts(connection, bucket, places)[number]
    return [{"scoring_id": scoring_id, **read.rows([0])[0]}]


def find_client(
    connection: Connection, scorings: Sequence[Row], client: str, bucket_of: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Return the rows of a client in the scorings, newest first.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scorings : sequence of mapping
        The scorings to search.
    client : str
        The name.
    bucket_of : mapping of int to int
        The bucket of the client by the number of bits of a bucket.
    """
    found_rows = []
    for bits in dict.fromkeys(row["bits"] for row in scorings):
        ids = [row["id"] for row in scorings if row["bits"] == bits]
        query = client_blocks.select_blocks(
            ids, [BlockKind.SCORES, BlockKind.PLACES], "names", "content", "n_clients"
        ).where(tables.client_blocks.c.bucket == bucket_of[bits])
        by_scoring: dict[int, list[Any]] = {}
        for row in connection.execute(query):
            by_scoring.setdefault(row.scoring_id, []).append(row)
        for scoring_id, blocks in by_scoring.items():
            found_rows += find_in_bucket(connection, group_contents(blocks), client, scoring_id)
    return sorted(found_rows, key=lambda row: -int(row["scoring_id"]))


def read_names(
    connection: Connection, scoring_id: int, kind: BlockKind, buckets: Sequence[int]
) -> Iterator[tuple[int, bytes, int]]:
    """Yield the bucket, the packed names and their number of each block."""
    found = client_blocks.read_buckets(
        connection, scoring_id, [kind], buckets, "names", "n_clients"
    )
    for row in found:
        yield row.bucket, row.names, row.n_clients


def find_matches(folded: str, needle: str) -> list[int]:
    """Return the rows of names with a text, by a search in joined names.

    The bytes of a character stand in no other character of UTF-8, so bytes may be compared.
    """
    text, wanted = (
        np.frombuffer(t.encode("utf-8", "surrogatepass"), np.uint8) for t in (folded, needle)
    )
    hits = np.flatnonzero(text[: len(text) - len(wanted) + 1] == wanted[0])
    for place, byte in enumerate(wanted[1:], start=1):
        hits = hits[text[hits + place] == byte]
    ends = np.flatnonzero(text == ord(column_blocks.SEPARATOR))
    rows = np.searchsorted(ends, hits)
    # A name may contain the text several times. The rows rise.
    different: list[int] = rows[np.diff(rows, prepend=-1) > 0].tolist()
    return different


def find_names(
    connection: Connection, scoring_id: int, kind: BlockKind, buckets: Collection[int], text: str
) -> Iterator[tuple[int, str, list[int]]]:
    """Yield the bucket, the joined names, and the rows of names with a text, in either case."""
    needle = text.casefold()
    if column_blocks.SEPARATOR in needle:
        return
    for bucket, packed, _ in read_names(connection, scoring_id, kind, list(buckets)):
        joined = column_blocks.join_texts(packed)
        folded = joined.casefold()
        if needle in folded:
            yield bucket, joined, find_matches(folded, needle)
