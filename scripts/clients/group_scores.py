"""A group of today's clients beside the known facts: outcomes, changes, scores before."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from scripts.core import name_hashes
from scripts.core.name_hashes import NameHashes
from scripts.data.dataset import KnownLabels
from scripts.model import ranking
from scripts.model.ranking import Band
from scripts.records import column_blocks, known_clients, outcome_writer, scored_clients
from scripts.records.client_blocks import ClientBlock
from scripts.records.column_blocks import CodedTexts, Column
from scripts.records.known_clients import KnownClients, LabelSets
from scripts.records.outcome_writer import OutcomeColumns
from scripts.records.runs import Row
from scripts.records.scored_clients import NO_MOMENT, ScoredClients
from scripts.records.tables import BlockKind

# No label, beside 0 for stayed and 1 for left.
UNKNOWN = -1
HASH_BITS = np.uint64(name_hashes.HASH_BITS)

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class ScoringFacts(Struct, frozen=True):
    """The facts common to all groups of a scoring.

    `bits` are the bits of a bucket. Values stored in scorings before `values_from` are stored
    again. `comparable` are the earlier scorings with the same columns of the input, `scored_at` and
    `release` of the earlier scorings are by their ids.
    """

    scoring_id: int
    run_id: int
    now: datetime
    bits: int
    values_from: int
    keeps_pointers: bool
    scorings: Mapping[int, Row]
    comparable: frozenset[int]


class Group(Struct, frozen=True):
    """Some of today's clients by rising hash of the name, and the known facts about them.

    `kept` are the columns kept for people, under names with their kind.
    """

    hashes: NameHashes
    names: list[str]
    values: Mapping[str, Column]
    kept: Mapping[str, Column]
    probability: NDArray[np.float64]
    band: NDArray[np.uint8]
    known: KnownClients
    labels: KnownLabels


class GroupScores(Struct, frozen=True):
    """The result of a group: the clients on the list, and the rows to record.

    `kept` is a mask over the clients of the group. `previous_probability` is that of the kept
    clients, NaN for a new one.
    """

    kept: Mask
    previous_probability: NDArray[np.float64]
    values_from: int
    absent_in: frozenset[int]
    outcomes: OutcomeColumns
    blocks: list[ClientBlock]


def find_places(lookup: Mapping[str, int], names: list[str]) -> Ints:
    """Return the place of each name, -1 for an unknown name."""
    get = lookup.get
    return np.fromiter((get(name, -1) for name in names), np.int64, len(names))


def pair(owners: Ints, hashes: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return a number for each pair of a client and a labelled row."""
    return (owners.astype(np.uint64) << HASH_BITS) | hashes.astype(np.uint64)


def first_of_each(pairs: NDArray[np.uint64]) -> Ints:
    """Return the places of the first of equal pairs, in order."""
    return np.sort(np.unique(pairs, return_index=True)[1])


def find_outcomes(known: KnownClients, owners: Ints, labels: KnownLabels, may_end: Mask) -> Ints:
    """Return each known client's newest label since the last score, or UNKNOWN.

    Parameters
    ----------
    known : KnownClients
        The clients, with the labelled rows known at the time of their last score.
    owners : numpy.ndarray of shape (n_labels,)
        The client of each labelled row, -1 for none.
    labels : KnownLabels
        The labelled rows in file order.
    may_end : numpy.ndarray of shape (n_clients,)
        Whether an outcome would be new, and comparable. If the schema has changed since the score,
        row hashes are incomparable. No outcome is better than a wrong outcome.
    """
    outcomes = np.full(len(may_end), UNKNOWN, np.int64)
    if not len(may_end):
        return outcomes
    rows = np.flatnonzero((owners >= 0) & may_end[owners])
    before = pair(known.labels.owners, known.labels.hashes)
    rows = rows[~np.isin(pair(owners[rows], labels.row_hashes[rows]), before)]
    rows = rows[first_of_each(pair(owners[rows], labels.row_hashes[rows]))]
    # Of several new labels the last one stays.
    outcomes[owners[rows]] = labels.labels[rows]
    return outcomes


def collect_hashes(owners: Ints, labels: KnownLabels, n_clients: int) -> LabelSets:
    """Return the labelled rows known of each of today's clients."""
    rows = np.flatnonzero(owners >= 0)
    pairs = np.unique(pair(owners[rows], labels.row_hashes[rows]))
    counts = np.bincount((pairs >> HASH_BITS).astype(np.int64), minlength=n_clients)
    return LabelSets(counts.astype(np.int32), pairs.astype(np.uint32))


def are_equal(left: Column, right: Column) -> Mask:
    """Compare values, with missing numbers equal to each other."""
    same: Mask = np.asarray(left == right, np.bool_)
    if left.dtype != np.object_:
        same |= np.isnan(left) & np.isnan(right)
    return same


def find_unchanged(group: Group, places: Ints, marked: Mapping[str, Column]) -> Mask:
    """Return a mask of the clients with the values of their last score in some columns."""
    columns = group.known.scored.columns
    if not marked.keys() <= columns.keys():
        return np.zeros(len(places), np.bool_)
    unchanged: Mask = places >= 0
    for name, values in marked.items():
        unchanged &= are_equal(values, columns[name][places])
    return unchanged


def gather(column: Column, places: Ints, missing: Any) -> Column:
    """Return the value of the last score of each client, or a value for new clients."""
    if not len(column):
        return np.full(len(places), missing)
    return np.where(places >= 0, column[places], missing)


def describe_outcomes(group: Group, outcomes: Ints, facts: ScoringFacts) -> OutcomeColumns:
    """Return the outcomes of the clients whose label is known now."""
    places, known = np.flatnonzero(outcomes != UNKNOWN), group.known
    names = [known.scored.names[place] for place in places.tolist()]
    if not names:
        return outcome_writer.NO_OUTCOMES
    scored_in = known.column("scored_in")[places].astype(np.int64)
    days = {number: facts.scorings[number]["as_of"] for number in np.unique(scored_in).tolist()}
    return OutcomeColumns(
        pa.array(names, pa.large_string()),
        {
            "probability": known.column("probability")[places],
            "position": known.column("position")[places],
            "scoring_id": scored_in,
            "as_of": np.array([days[number] for number in scored_in.tolist()], object),
            "exited": outcomes[places].astype(np.bool_),
            "band": known.column("band")[places],
            "first_high_at": known.column("first_high_at")[places].astype(np.int64),
        },
    )


def split_buckets(hashes: NameHashes, bits: int) -> Iterator[tuple[int, slice]]:
    """Yield the buckets of rising hashes, with the rows of each."""
    if not len(hashes):
        return
    shift = name_hashes.HASH_BITS - bits
    buckets = range(int(hashes[0]) >> shift, (int(hashes[-1]) >> shift) + 1)
    first_hashes = np.array([bucket << shift for bucket in buckets], hashes.dtype)
    starts = np.searchsorted(hashes, first_hashes).tolist()
    for bucket, start, end in zip(buckets, starts, [*starts[1:], len(hashes)], strict=True):
        if start < end:
            yield bucket, slice(start, end)


def pack_bucket(
    bucket: int, names: list[str], scores: dict[str, Any], labels: LabelSets, kinds: Any
) -> list[ClientBlock]:
    """Return the blocks of a bucket with scores, and with known labels if there are any."""
    kind, labels_kind = kinds
    packed = column_blocks.pack(scores)
    blocks = [ClientBlock(kind, bucket, len(names), packed, column_blocks.pack_texts(names))]
    if len(labels.hashes):
        content = known_clients.pack_labels(labels)
        blocks.append(ClientBlock(labels_kind, bucket, len(names), content))
    return blocks


def list_blocks(
    group: Group, kept: Ints, scores: dict[str, Column], labels: LabelSets, facts: ScoringFacts
) -> Iterator[ClientBlock]:
    """Yield the blocks of the clients on the list: values, scores and labels.

    Parameters
    ----------
    group : Group
        The group.
    kept : numpy.ndarray of shape (n_kept,)
        The rows of these clients.
    scores : dict of str to numpy.ndarray of shape (n_kept,)
        Their scores. The rows of their values are changed in place to where the values are.
    labels : LabelSets
        Their known labels.
    facts : ScoringFacts
        The scoring.
    """
    stored: dict[BlockKind, Mapping[str, Column]] = {
        BlockKind.VALUES: scored_clients.mark_features(group.values)
    }
    if group.kept:
        stored[BlockKind.TEXTS] = group.kept
    bands = scores.pop("band")
    for bucket, rows in split_buckets(group.hashes[kept], facts.bits):
        here = {name: column[rows] for name, column in scores.items()}
        for kind, columns in stored.items():
            at, row_of = scored_clients.POINTERS_TO[kind]
            is_new = here[at] == facts.scoring_id
            if is_new.any():
                here[row_of][is_new] = np.arange(is_new.sum())
                new = {name: column[kept[rows][is_new]] for name, column in columns.items()}
                yield ClientBlock(kind, bucket, int(is_new.sum()), column_blocks.pack(new))
        packed: dict[str, Any] = here | {"band": CodedTexts(ranking.WORDS, bands[rows])}
        yield from pack_bucket(
            bucket, [group.names[row] for row in kept[rows].tolist()], packed,
            labels.select(np.arange(rows.start, rows.stop)), (BlockKind.SCORES, BlockKind.LABELS),
        )  # fmt: skip


def list_absent(known: KnownClients, facts: ScoringFacts) -> Iterator[ClientBlock]:
    """Yield the blocks of known clients absent from the list, with their last scores."""
    hashes = name_hashes.hash_names(known.scored.names)
    order = np.argsort(hashes, kind="stable")
    columns = {
        name: column
        for name, column in known.scored.columns.items()
        if name not in (*scored_clients.POINTERS, *scored_clients.OPTIONAL)
    }
    for bucket, rows in split_buckets(hashes[order], facts.bits):
        places = order[rows]
        here = {name: column[places] for name, column in columns.items()}
        yield from pack_bucket(
            bucket, [known.scored.names[place] for place in places.tolist()], here,
            known.labels.select(places), (BlockKind.ABSENT, BlockKind.ABSENT_LABELS),
        )  # fmt: skip


def find_first_high(
    group: Group, places: Ints, is_settled: Mask, now: datetime
) -> NDArray[np.int64]:
    """Return the moment of each client's first `high` band since the last outcome."""
    first = gather(group.known.column("first_high_at"), places, NO_MOMENT).astype(np.int64)
    settled = gather(is_settled, places, missing=True).astype(np.bool_)
    first[settled] = NO_MOMENT
    is_high = group.band == ranking.WORDS.index(Band.HIGH)
    first[is_high & (first == NO_MOMENT)] = scored_clients.as_microseconds(now)
    return first


def find_pointers(
    group: Group, places: Ints, kind: BlockKind, stays: Mask, facts: ScoringFacts
) -> dict[str, Column]:
    """Return the places of a kind of values: new places for changed values only."""
    at, row_of = scored_clients.POINTERS_TO[kind]
    stored_at = gather(group.known.column(at), places, scored_clients.NOWHERE).astype(np.int32)
    stays = stays & (stored_at >= facts.values_from) & facts.keeps_pointers
    return {
        at: np.where(stays, stored_at, np.int32(facts.scoring_id)).astype(np.int32),
        row_of: gather(group.known.column(row_of), places, 0).astype(np.int32),
    }


def make_scores(
    group: Group, places: Ints, unchanged: Mask, is_settled: Mask, facts: ScoringFacts
) -> dict[str, Column]:
    """Return the score columns of all clients of a group, without the places."""
    known = group.known
    moments = {
        number: scored_clients.as_microseconds(row["scored_at"])
        for number, row in facts.scorings.items()
    }
    scored_in = gather(known.column("scored_in"), places, UNKNOWN).astype(np.int64)
    previous_at = np.full(len(places), NO_MOMENT, np.int64)
    for number in np.unique(scored_in[places >= 0]).tolist():
        previous_at[scored_in == number] = moments[number]
    is_same = set(scored_clients.mark_features(group.values)) == known.features
    pointers = find_pointers(group, places, BlockKind.VALUES, unchanged & is_same, facts)
    if group.kept:
        stays = find_unchanged(group, places, group.kept) & (set(group.kept) == known.kept)
        pointers |= find_pointers(group, places, BlockKind.TEXTS, stays, facts)
    return {
        "probability": group.probability,
        "band": group.band,
        "previous_probability": gather(known.column("probability"), places, np.nan),
        "previous_at": previous_at,
        "first_high_at": find_first_high(group, places, is_settled, facts.now),
        **pointers,
    }


def lookup_names(names: list[str]) -> dict[str, int]:
    """Return the place of each name."""
    return dict(zip(names, range(len(names)), strict=True))


def with_outcomes(known: KnownClients, is_settled: Mask) -> KnownClients:
    """Return known clients with the outcomes known now."""
    if not known.scored.names:
        return known
    columns = known.scored.columns | {"is_settled": is_settled}
    scored = ScoredClients(known.scored.names, columns)
    return replace(known, scored=scored)


def find_oldest(scores: Mapping[str, Column], facts: ScoringFacts) -> Iterator[int]:
    """Yield the oldest scoring with values of the clients, for each kind of values."""
    for at, _ in scored_clients.POINTERS_TO.values():
        yield int(scores.get(at, np.zeros(0)).min(initial=facts.scoring_id))


def score_group(group: Group, facts: ScoringFacts) -> GroupScores:
    """Join a group of today's clients with the known facts about them.

    Parameters
    ----------
    group : Group
        The clients, their last scores, and their labelled rows.
    facts : ScoringFacts
        The scoring.

    Returns
    -------
    GroupScores
        Clients with the values of a known outcome are not kept on the list.
    """
    known, labels = group.known, group.labels
    known_places = lookup_names(known.scored.names)
    places = find_places(known_places, group.names)
    label_names = labels.names.tolist()
    is_settled = known.column("is_settled").astype(np.bool_)
    comparable = np.isin(known.column("scored_in"), list(facts.comparable))
    outcomes = find_outcomes(
        known, find_places(known_places, label_names), labels, ~is_settled & comparable
    )
    is_settled = is_settled | (outcomes != UNKNOWN)
    unchanged = find_unchanged(group, places, scored_clients.mark_features(group.values))
    kept = ~(unchanged & gather(is_settled, places, missing=False).astype(np.bool_))
    scores = make_scores(group, places, unchanged, is_settled, facts)
    scores = {name: column[kept] for name, column in scores.items()}
    owners = find_places(lookup_names(group.names), label_names) if label_names else places[:0]
    hashes = collect_hashes(owners, labels, len(group.names)).select(kept)
    blocks = list(list_blocks(group, np.flatnonzero(kept), scores, hashes, facts))
    is_absent = np.ones(len(known.scored.names), np.bool_)
    is_absent[places[kept & (places >= 0)]] = False
    absent = with_outcomes(known, is_settled).select(is_absent)
    return GroupScores(
        kept,
        scores["previous_probability"],
        min(find_oldest(scores, facts)),
        frozenset(absent.column("scored_in").astype(np.int64).tolist()),
        describe_outcomes(group, outcomes, facts),
        [*blocks, *list_absent(absent, facts)],
    )
