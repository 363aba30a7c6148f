"""The clients known before a scoring: the last score, values and labels of each, by name hash."""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from sqlalchemy.engine import Connection, Engine

from scripts.core import name_hashes
from scripts.core.name_hashes import NameHashes
from scripts.records import client_blocks, column_blocks, database, scored_clients
from scripts.records.column_blocks import Column
from scripts.records.runs import Row
from scripts.records.scored_clients import NOWHERE, ScoredClients
from scripts.records.tables import BlockKind

Mask = NDArray[np.bool_]
Hashes = NDArray[np.uint32]


class LabelSets(Struct, frozen=True):
    """The hashes of labelled rows by client, in sequence."""

    counts: NDArray[np.int32]
    hashes: Hashes

    def select(self, rows: Mask | NDArray[np.int64]) -> "LabelSets":
        """Return the hashes of some clients."""
        places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        ends = np.cumsum(self.counts, dtype=np.int64)
        counts = self.counts[places]
        starts = np.repeat(ends[places] - counts, counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return LabelSets(counts, self.hashes[starts + within])

    @property
    def owners(self) -> NDArray[np.int64]:
        """The row of the client of each hash."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


NO_LABELS = LabelSets(np.zeros(0, np.int32), np.zeros(0, np.uint32))


def join_labels(parts: Sequence[LabelSets]) -> LabelSets:
    """Return the hashes of all clients of several parts."""
    parts = [NO_LABELS, *parts]
    counts, hashes = ([getattr(part, name) for part in parts] for name in ("counts", "hashes"))
    return LabelSets(np.concatenate(counts), np.concatenate(hashes))


def pack_labels(labels: LabelSets) -> bytes:
    """Pack the hashes of the clients of a bucket, a hash or more."""
    return column_blocks.pack({"counts": labels.counts, "hashes": labels.hashes})


class KnownClients(Struct, frozen=True):
    """Clients with the last scores and values, and the labelled rows known at the time.

    Among the columns of the scores are `scored_in`, the scoring of the score, and `is_settled`,
    whether its outcome is known. `features` are the features of the last list, and `kept` its
    columns for people.
    """

    scored: ScoredClients
    labels: LabelSets
    features: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    def select(self, rows: Mask) -> "KnownClients":
        """Return some of the clients."""
        names = [self.scored.names[place] for place in np.flatnonzero(rows).tolist()]
        columns = {name: column[rows] for name, column in self.scored.columns.items()}
        return replace(self, scored=ScoredClients(names, columns), labels=self.labels.select(rows))

    def column(self, name: str) -> Column:
        """Return a column, perhaps of no client."""
        return self.scored.columns.get(name, np.zeros(0))


NOBODY = KnownClients(ScoredClients([], {}), NO_LABELS)


def add_state(scored: ScoredClients, scoring_id: int, *, absent: bool) -> ScoredClients:
    """Return clients with the missing columns of the common layout."""
    n_clients = len(scored.names)
    if absent:
        nowhere = np.full(n_clients, NOWHERE, np.int32)
        missing = {"values_at": nowhere, "value_row": nowhere}
    else:
        missing = {
            "scored_in": np.full(n_clients, scoring_id, np.int32),
            "is_settled": np.zeros(n_clients, np.bool_),
        }
    return replace(scored, columns=scored.columns | missing)


class KnownReader:
    """Reads the clients known before a scoring, in groups by the hash of their names.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    scoring : mapping or None
        The last whole scoring.
    """

    def __init__(self, engine: Engine, scoring: Row | None) -> None:
        self._engine = engine
        self._scoring = scoring
        # The last bucket read: one bucket of a short list may serve many groups of a long one.
        self._last: tuple[int, KnownClients, NameHashes] | None = None

    @property
    def bits(self) -> int:
        """The number of bits of a bucket of the last scoring."""
        return 0 if self._scoring is None else int(self._scoring["bits"])

    def count(self) -> int:
        """Count the known clients."""
        if self._scoring is None:
            return 0
        with database.reading(self._engine) as connection:
            sizes = [
                client_blocks.bucket_sizes(connection, self._scoring["id"], kind)
                for kind in (BlockKind.SCORES, BlockKind.ABSENT)
            ]
        return sum(sum(by_bucket.values()) for by_bucket in sizes)

    def hashes(self) -> Iterator[NameHashes]:
        """Yield the hashes of the names of all known clients."""
        if self._scoring is None:
            return
        number = self._scoring["id"]
        for kind in (BlockKind.SCORES, BlockKind.ABSENT):
            with database.reading(self._engine) as connection:
                buckets = list(client_blocks.bucket_sizes(connection, number, kind))
            for start in range(0, len(buckets), client_blocks.BATCH_BLOCKS):
                part = buckets[start : start + client_blocks.BATCH_BLOCKS]
                with database.reading(self._engine) as connection:
                    found = list(scored_clients.read_names(connection, number, kind, part))
                for _, names, n_names in found:
                    yield name_hashes.hash_names(column_blocks.unpack_texts(names, n_names))

    def read(self, group: int, group_bits: int) -> KnownClients:
        """Return the known clients of a group, by the common first bits of their name hashes."""
        if self._scoring is None:
            return NOBODY
        if group_bits <= self.bits:
            n_buckets = 1 << (self.bits - group_bits)
            return self._read(range(group * n_buckets, (group + 1) * n_buckets))
        bucket = group >> (group_bits - self.bits)
        if self._last is None or self._last[0] != bucket:
            known = self._read(range(bucket, bucket + 1))
            self._last = bucket, known, name_hashes.hash_names(known.scored.names)
        _, known, hashes = self._last
        return known.select(hashes >> np.uint32(name_hashes.HASH_BITS - group_bits) == group)

    def _read(self, buckets: range) -> KnownClients:
        """Return the known clients of some buckets."""
        assert self._scoring is not None
        with database.reading(self._engine) as connection:
            parts = [
                self._read_kind(connection, list(buckets), absent=absent)
                for absent in (False, True)
            ]
        filled = [part for part in parts if part.scored.names]
        if not filled:
            return NOBODY
        scored = scored_clients.concatenate([part.scored for part in filled])
        listed = parts[0].scored.columns
        return KnownClients(
            scored,
            join_labels([part.labels for part in filled]),
            features=frozenset(filter(scored_clients.is_feature, listed)),
            kept=frozenset(filter(scored_clients.is_kept, listed)),
        )

    def _read_kind(
        self, connection: Connection, buckets: list[int], *, absent: bool
    ) -> KnownClients:
        """Return the listed or the absent known clients."""
        assert self._scoring is not None
        number = self._scoring["id"]
        read = scored_clients.read_clients(connection, number, buckets, absent=absent)
        kind = BlockKind.ABSENT if absent else BlockKind.SCORES
        sizes = client_blocks.bucket_sizes(connection, number, kind, buckets)
        labelled = BlockKind.ABSENT_LABELS if absent else BlockKind.LABELS
        found = client_blocks.read_buckets(connection, number, [labelled], buckets, "content")
        blocks = {row.bucket: column_blocks.unpack(row.content) for row in found}
        labels = [
            LabelSets(**blocks[bucket])
            if bucket in blocks
            else LabelSets(np.zeros(size, np.int32), np.zeros(0, np.uint32))
            for bucket, size in sizes.items()
        ]
        return KnownClients(add_state(read, number, absent=absent), join_labels(labels))
