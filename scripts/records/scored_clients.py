"""Scored clients as columns, read from the blocks of a scoring."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

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
SECOND_US = 1_000_000
POINTERS = ("values_at", "value_row")

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


def is_feature(name: str) -> bool:
    """Return whether a packed column is a feature."""
    return name.startswith((NUMBER, TEXT))


@dataclass(frozen=True)
class ScoredClients:
    """Names of clients and columns of equal length: scores and, if read, values."""

    names: list[str]
    columns: dict[str, Column]

    def rows(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Return clients as rows, with the values of the features in `values`."""
        columns = {name: column[places].tolist() for name, column in self.columns.items()}
        values = {n.partition(":")[2]: columns.pop(n) for n in list(columns) if is_feature(n)}
        return [
            {
                "client": self.names[place],
                **{name: column[number] for name, column in columns.items()},
                "values": {n: without_nan(column[number]) for n, column in values.items()},
            }
            for number, place in enumerate(places)
        ]


def without_nan(value: Any) -> Any:
    """Return a value, None for NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def empty_column(name: str, n_rows: int) -> Column:
    """Return a column of a feature without values."""
    return np.full(n_rows, "", object) if name.startswith(TEXT) else np.full(n_rows, np.nan)


def concatenate(parts: Sequence[ScoredClients]) -> ScoredClients:
    """Return all clients of several parts, whose features may differ."""
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns: dict[str, Column] = {}
    for name in names:
        pieces = [
            part.columns[name] if name in part.columns else empty_column(name, len(part.names))
            for part in parts
            if name in part.columns or is_feature(name)
        ]
        columns[name] = np.concatenate(pieces)
    return ScoredClients([name for part in parts for name in part.names], columns)


def read_values(
    connection: Connection, bucket: int, columns: Mapping[str, Column]
) -> dict[str, Column]:
    """Read the values of clients of a bucket.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    bucket : int
        The bucket of the clients.
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The columns `values_at`, the scorings that stored the values, and `value_row`.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_rows,)
        The features, under names with their kind.
    """
    stored_at, rows = columns["values_at"], columns["value_row"]
    wanted = np.unique(stored_at).tolist()
    query = client_blocks.select_blocks(wanted, [BlockKind.VALUES], "content")
    found = connection.execute(query.where(tables.client_blocks.c.bucket == bucket))
    blocks = {row.scoring_id: column_blocks.unpack(row.content) for row in found}
    lacking = [scoring for scoring in wanted if scoring not in blocks]
    if lacking:
        raise RecordsError(f"The records lack the values of scoring {lacking[0]}.")
    if len(blocks) == 1:
        (block,) = blocks.values()
        return {name: column[rows] for name, column in block.items()}
    parts: dict[str, Column] = {}
    for scoring, block in blocks.items():
        places = np.flatnonzero(stored_at == scoring)
        for name, column in block.items():
            whole = parts.setdefault(name, empty_column(name, len(rows)))
            whole[places] = column[rows[places]]
    return parts


def read_bucket(
    connection: Connection,
    bucket: int,
    contents: Mapping[str, bytes],
    places: Places | None = None,
    *,
    with_values: bool = True,
) -> dict[str, Column]:
    """Return the columns of a bucket's clients, all or some, with or without values.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    bucket : int
        The bucket.
    contents : mapping of str to bytes
        The content of the blocks by kind: SCORES and PLACES, or ABSENT.
    places : numpy.ndarray of shape (n_chosen,), optional
        The rows of the clients in the block; without it, all.
    with_values : bool
        Whether to read the features.
    """
    columns: dict[str, Column] = {}
    for kind in (BlockKind.SCORES, BlockKind.PLACES, BlockKind.ABSENT):
        if kind in contents:
            columns |= column_blocks.unpack(contents[kind])
    if places is not None:
        columns = {name: column[places] for name, column in columns.items()}
    if with_values and "values_at" in columns:
        columns |= read_values(connection, bucket, columns)
    return columns


def group_contents(rows: Iterable[Any]) -> dict[int, dict[str, Any]]:
    """Return the content of blocks by bucket and kind, with the names of SCORES and ABSENT."""
    grouped: dict[int, dict[str, Any]] = {}
    for row in rows:
        bucket = grouped.setdefault(row.bucket, {})
        bucket[row.kind] = row.content
        if row.names is not None:
            bucket["names"] = (row.names, row.n_clients)
    return grouped


def read_clients(
    connection: Connection,
    scoring_id: int,
    buckets: Sequence[int],
    *,
    absent: bool = False,
    with_values: bool = True,
) -> ScoredClients:
    """Read the clients of some buckets of a scoring: those on the list, or the absent ones."""
    kinds = [BlockKind.ABSENT] if absent else [BlockKind.SCORES, BlockKind.PLACES]
    found = client_blocks.read_buckets(
        connection, scoring_id, kinds, buckets, "names", "content", "n_clients"
    )
    parts = []
    for bucket, contents in group_contents(found).items():
        names = column_blocks.unpack_texts(*contents["names"])
        columns = read_bucket(connection, bucket, contents, with_values=with_values)
        parts.append(ScoredClients(names, columns))
    return concatenate(parts) if parts else ScoredClients([], {})


def find_rows(
    connection: Connection,
    scoring: Row,
    indices: NDArray[np.integer[Any]],
) -> list[dict[str, Any]]:
    """Return clients of a scoring by their numbers, in the order of the numbers.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring : mapping
        The row of the scoring.
    indices : numpy.ndarray of shape (n_chosen,)
        The numbers of the clients in the order of the blocks.
    """
    sizes = client_blocks.bucket_sizes(connection, scoring["id"])
    buckets = np.fromiter(sizes, np.int64, len(sizes))
    ends = np.cumsum(np.fromiter(sizes.values(), np.int64, len(sizes)))
    blocks = np.searchsorted(ends, indices, side="right")
    starts = ends - np.fromiter(sizes.values(), np.int64, len(sizes))
    kinds = [BlockKind.SCORES, BlockKind.PLACES]
    wanted = buckets[np.unique(blocks)].tolist()
    rows: list[dict[str, Any]] = [{} for _ in indices]
    for start in range(0, len(wanted), client_blocks.BATCH_BLOCKS):
        found = client_blocks.read_buckets(
            connection, scoring["id"], kinds, wanted[start : start + client_blocks.BATCH_BLOCKS],
            "names", "content", "n_clients",
        )  # fmt: skip
        for bucket, contents in group_contents(found).items():
            block = int(np.searchsorted(buckets, bucket))
            chosen = np.flatnonzero(blocks == block)
            places = (indices[chosen] - starts[block]).astype(np.int64)
            names = column_blocks.unpack_texts(*contents["names"])
            columns = read_bucket(connection, bucket, contents, places)
            named = ScoredClients([names[place] for place in places.tolist()], columns)
            for number, row in zip(chosen.tolist(), named.rows(range(len(places))), strict=True):
                rows[number] = row
    return rows


def find_client(
    connection: Connection, scorings: Sequence[Row], client: str, bucket_of: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Return a client's row in each scoring that has the client, with the id of the scoring."""
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
            ((bucket, contents),) = group_contents(blocks).items()
            found_rows += find_in_bucket(connection, bucket, contents, client, scoring_id)
    return sorted(found_rows, key=lambda row: -int(row["scoring_id"]))


def find_in_bucket(
    connection: Connection,
    bucket: int,
    contents: Mapping[str, Any],
    client: str,
    scoring_id: int,
) -> list[dict[str, Any]]:
    """Return a client's row in a bucket, or nothing."""
    names = column_blocks.unpack_texts(*contents["names"])
    if client not in names:
        return []
    columns = read_bucket(connection, bucket, contents, np.array([names.index(client)]))
    return [{"scoring_id": scoring_id, **ScoredClients([client], columns).rows([0])[0]}]


def read_names(
    connection: Connection,
    scoring_id: int,
    kind: BlockKind,
    buckets: Sequence[int],
) -> Iterable[tuple[int, bytes, int]]:
    """Yield the bucket, the packed names and their number of each block."""
    found = client_blocks.read_buckets(
        connection, scoring_id, [kind], buckets, "names", "n_clients"
    )
    for row in found:
        yield row.bucket, row.names, row.n_clients


def find_names(
    connection: Connection, scoring_id: int, kind: BlockKind, buckets: Collection[int], text: str
) -> Iterable[tuple[int, list[str], list[int]]]:
    """Yield the names with a text in upper or lower case, by bucket, and their rows."""
    needle = text.casefold()
    for bucket, packed, _ in read_names(connection, scoring_id, kind, list(buckets)):
        joined = column_blocks.join_texts(packed)
        folded = joined.casefold()
        if needle not in folded or column_blocks.SEPARATOR in needle:
            continue
        rows = [
            number
            for number, name in enumerate(folded.split(column_blocks.SEPARATOR))
            if needle in name
        ]
        yield bucket, joined.split(column_blocks.SEPARATOR), rows
