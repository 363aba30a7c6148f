"""Erasure of a client's scores: from the blocks of every scoring, the lists and the stored values.

Each function may be repeated: what a killed program has removed is not there the second time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from msgspec import Struct
from numpy.typing import NDArray
from sqlalchemy.engine import Connection, Engine

from scripts.core import name_hashes
from scripts.records import (
    client_blocks,
    clients,
    column_blocks,
    database,
    known_clients,
    scored_clients,
    scoring_records,
    tables,
)
from scripts.records.client_blocks import ClientBlock
from scripts.records.column_blocks import Column
from scripts.records.runs import Row
from scripts.records.tables import BlockKind

blocks = tables.client_blocks.c

Columns = dict[str, Column]
Mask = NDArray[np.bool_]


def read_block(
    connection: Connection, scoring_id: int, kind: BlockKind, bucket: int
) -> sa.Row[Any] | None:
    """Return a block, None if there is none."""
    query = client_blocks.select_blocks([scoring_id], [kind], "names", "content", "n_clients")
    return connection.execute(query.where(blocks.bucket == bucket)).first()


def read_blocks(
    connection: Connection, scoring_id: int, kind: BlockKind
) -> list[tuple[int, Columns]]:
    """Return the columns and buckets of every block of a kind, in order."""
    query = client_blocks.select_blocks([scoring_id], [kind], "content")
    return [(row.bucket, column_blocks.unpack(row.content)) for row in connection.execute(query)]


def remove_block(connection: Connection, scoring_id: int, kind: BlockKind, bucket: int) -> None:
    """Delete a block."""
    connection.execute(
        tables.client_blocks.delete().where(
            blocks.scoring_id == scoring_id, blocks.kind == kind, blocks.bucket == bucket
        )
    )


def replace_block(connection: Connection, scoring_id: int, block: ClientBlock) -> None:
    """Replace the block of the same kind and bucket, or delete the block without clients."""
    remove_block(connection, scoring_id, block.kind, block.bucket)
    if block.n_clients:
        row = {
            "scoring_id": scoring_id, "kind": str(block.kind), "bucket": block.bucket,
            "n_clients": block.n_clients, "names": block.names, "content": block.content,
        }  # fmt: skip
        connection.execute(tables.client_blocks.insert().values(**row))


def make_block(
    kind: BlockKind, bucket: int, columns: Columns, names: list[str] | None
) -> ClientBlock:
    """Return the block of some columns, perhaps without a row."""
    n_clients = len(next(iter(columns.values()))) if columns else 0
    packed = None if names is None or not names else column_blocks.pack_texts(names)
    content = column_blocks.pack(columns) if n_clients else b""
    return ClientBlock(kind, bucket, n_clients, content, packed)


def drop_row(columns: Columns, row: int) -> Columns:
    """Return columns without a row."""
    return {name: np.delete(column, row) for name, column in columns.items()}


def drop_labels(connection: Connection, scoring_id: int, kind: BlockKind, at: "Place") -> None:
    """Remove the hashes of the labelled rows of a client from the block of a bucket."""
    found = read_block(connection, scoring_id, kind, at.bucket)
    if found is None:
        return
    labels = known_clients.LabelSets(**column_blocks.unpack(found.content))
    kept = labels.select(np.delete(np.arange(len(labels.counts)), at.row))
    remove_block(connection, scoring_id, kind, at.bucket)
    if len(kept.hashes):
        content = known_clients.pack_labels(kept)
        block = ClientBlock(kind, at.bucket, len(kept.counts), content)
        replace_block(connection, scoring_id, block)


class Place(Struct, frozen=True):
    """The place of a client in a scoring.

    `row` is the row in the bucket, `number` the number in the scoring, `position` the place by
    risk, from 0, None if unknown.
    """

    bucket: int
    row: int
    number: int
    position: int | None


def remove_named(
    connection: Connection, scoring_id: int, kind: BlockKind, bucket: int, name: str
) -> tuple[int, Columns] | None:
    """Remove a client from a block with names, and return the row and the columns before."""
    found = read_block(connection, scoring_id, kind, bucket)
    names = [] if found is None else column_blocks.unpack_texts(found.names, found.n_clients)
    if found is None or name not in names:
        return None
    row, columns = names.index(name), column_blocks.unpack(found.content)
    kept = [*names[:row], *names[row + 1 :]]
    replace_block(connection, scoring_id, make_block(kind, bucket, drop_row(columns, row), kept))
    return row, columns


def remove_absent(connection: Connection, scoring_id: int, bucket: int, name: str) -> bool:
    """Remove a client from the absent clients of a scoring."""
    removed = remove_named(connection, scoring_id, BlockKind.ABSENT, bucket, name)
    if removed is None:
        return False
    at = Place(bucket, removed[0], -1, None)
    drop_labels(connection, scoring_id, BlockKind.ABSENT_LABELS, at)
    return True


def remove_places(connection: Connection, scoring_id: int, bucket: int, row: int) -> int | None:
    """Remove a client from the places by risk, and return the own place, from 0.

    Everybody behind moves up.
    """
    found = read_blocks(connection, scoring_id, BlockKind.PLACES)
    own = next((int(columns["position"][row]) for n, columns in found if n == bucket), None)
    if own is None:
        return None
    for number, columns in found:
        position = columns["position"]
        is_behind = position > own
        moved = {**columns, "position": position - is_behind.astype(position.dtype)}
        if number == bucket:
            moved = drop_row(moved, row)
        if number == bucket or is_behind.any():
            block = make_block(BlockKind.PLACES, number, moved, None)
            replace_block(connection, scoring_id, block)
    return own - 1


def close_gap(numbers: Column, gap: int) -> Column:
    """Return the numbers after the removal of a number, with the larger numbers moved down."""
    closed: Column = numbers - (numbers > gap).astype(numbers.dtype)
    return closed


def remove_from_order(connection: Connection, scoring_id: int, kind: BlockKind, at: Place) -> None:
    """Remove a client from an order of the list, and keep the length of the parts."""
    parts = read_blocks(connection, scoring_id, kind)
    if not parts:
        return
    names = list(parts[0][1])
    columns = {name: np.concatenate([part[name] for _, part in parts]) for name in names}
    kept = columns["rows"] != at.number
    columns = {name: column[kept] for name, column in columns.items()}
    columns["rows"] = close_gap(columns["rows"], at.number)
    if "place" in columns and at.position is not None:
        columns["place"] = close_gap(columns["place"], at.position)
    for bucket, _ in parts:
        start = bucket * clients.PART_CLIENTS
        part = {n: column[start : start + clients.PART_CLIENTS] for n, column in columns.items()}
        replace_block(connection, scoring_id, make_block(kind, bucket, part, None))


def remove_held_out(connection: Connection, scoring_id: int, at: Place) -> None:
    """Remove a client from the held-out clients of a list."""
    for bucket, columns in read_blocks(connection, scoring_id, BlockKind.HELD_OUT):
        places = columns["place"]
        if at.position is not None:
            places = close_gap(places[places != at.position], at.position)
        block = make_block(BlockKind.HELD_OUT, bucket, {"place": places}, None)
        replace_block(connection, scoring_id, block)


def count_down(connection: Connection, scoring: Row, band: str) -> None:
    """Count a client less in the facts of a scoring."""
    bands = scoring["bands"]
    facts: dict[str, Any] = {"n_clients": scoring["n_clients"] - 1}
    if bands:
        facts["bands"] = [[word, count - (word == band)] for word, count in bands]
        facts["n_without_data"] = scoring["n_without_data"] - (band == bands[-1][0])
    own = tables.scorings.update().where(tables.scorings.c.id == scoring["id"])
    connection.execute(own.values(**facts))


def remove_score(connection: Connection, scoring: Row, name: str) -> bool:
    """Remove the score of a client from a scoring, and from the list if kept."""
    number = scoring["id"]
    bucket = name_hashes.find_bucket(name_hashes.hash_name(name), scoring["bits"])
    start = 0
    for each, size in client_blocks.bucket_sizes(connection, number).items():
        start += size if each < bucket else 0
    removed = remove_named(connection, number, BlockKind.SCORES, bucket, name)
    if removed is None:
        return False
    row, columns = removed
    at = Place(bucket, row, start + row, remove_places(connection, number, bucket, row))
    drop_labels(connection, number, BlockKind.LABELS, at)
    for kind in scoring_records.ORDERS.values():
        remove_from_order(connection, number, kind, at)
    remove_held_out(connection, number, at)
    count_down(connection, scoring, str(columns["band"][row]))
    return True


def find_used(
    connection: Connection, same_bits: Sequence[int], bucket: int, kind: BlockKind
) -> dict[int, list[Column]]:
    """Return the used rows of stored values in a bucket, by scoring."""
    at, row_of = scored_clients.POINTERS_TO[kind]
    used: dict[int, list[Column]] = {}
    query = client_blocks.select_blocks(same_bits, [BlockKind.SCORES], "content")
    for row in connection.execute(query.where(blocks.bucket == bucket)):
        pointers = column_blocks.unpack(row.content, (at, row_of))
        if at not in pointers:
            continue
        for number in np.unique(pointers[at]).tolist():
            rows = pointers[row_of][pointers[at] == number]
            used.setdefault(number, []).append(rows)
    return used


def blank_rows(content: bytes, is_unused: Mask) -> Columns:
    """Return packed values with some rows blank."""
    return {
        name: np.where(is_unused, "" if column.dtype == np.object_ else np.nan, column)
        for name, column in column_blocks.unpack(content).items()
    }


def blank_unused(
    connection: Connection, same_bits: Sequence[int], bucket: int, kind: BlockKind
) -> None:
    """Blank the unused values in a bucket, for example the values of a removed client.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that writes.
    same_bits : sequence of int
        The scorings with buckets of the same size.
    bucket : int
        The bucket.
    kind : BlockKind
        VALUES, or TEXTS.
    """
    used = find_used(connection, same_bits, bucket, kind)
    query = client_blocks.select_blocks(same_bits, [kind], "content", "n_clients")
    for row in connection.execute(query.where(blocks.bucket == bucket)).all():
        is_unused = np.ones(row.n_clients, np.bool_)
        for rows in used.get(row.scoring_id, []):
            is_unused[rows] = False
        if is_unused.all():
            remove_block(connection, row.scoring_id, kind, bucket)
        elif is_unused.any():
            block = make_block(kind, bucket, blank_rows(row.content, is_unused), None)
            replace_block(connection, row.scoring_id, block)


def erase_scores(engine: Engine, name: str) -> int:
    """Remove a client from all scorings, and return the number of scores.

    A scoring is changed in one transaction, so that a reader sees it whole, before or after.
    """
    scoring_records.remove_broken_scorings(engine)
    with database.reading(engine) as connection:
        known = scoring_records.list_scorings(connection)
    hashed, n_removed = name_hashes.hash_name(name), 0
    for scoring in known:
        bucket = name_hashes.find_bucket(hashed, scoring["bits"])
        with database.writing(engine) as connection:
            n_removed += remove_score(connection, scoring, name)
            n_removed += remove_absent(connection, scoring["id"], bucket, name)
    for bits in {row["bits"] for row in known}:
        same_bits = [row["id"] for row in known if row["bits"] == bits]
        bucket = name_hashes.find_bucket(hashed, bits)
        for kind in scored_clients.POINTERS_TO:
            with database.writing(engine) as connection:
                blank_unused(connection, same_bits, bucket, kind)
    return n_removed


def list_values(connection: Connection, name: str) -> list[dict[str, Any]]:
    """List the kept values of a client's scores."""
    known = scoring_records.list_scorings(connection)
    hashed = name_hashes.hash_name(name)
    bucket_of = {row["bits"]: name_hashes.find_bucket(hashed, row["bits"]) for row in known}
    scored = scored_clients.find_client(connection, known, name, bucket_of)
    found = [row["values"] for row in scored]
    for scoring in known:
        bucket = bucket_of[scoring["bits"]]
        absent = scored_clients.read_clients(connection, scoring["id"], [bucket], absent=True)
        if name in absent.names:
            found += [row["values"] for row in absent.rows([absent.names.index(name)])]
    return found


def count_scores(connection: Connection, name: str) -> int:
    """Count the scorings of a client, as listed or as absent."""
    hashed, n_found = name_hashes.hash_name(name), 0
    for scoring in scoring_records.list_scorings(connection):
        bucket = name_hashes.find_bucket(hashed, scoring["bits"])
        for kind in (BlockKind.SCORES, BlockKind.ABSENT):
            found = read_block(connection, scoring["id"], kind, bucket)
            if found is not None:
                n_found += name in column_blocks.unpack_texts(found.names, found.n_clients)
    return n_found
