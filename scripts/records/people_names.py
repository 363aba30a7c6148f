"""The names of clients for people, such as the company, out of their last scores."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.core import name_hashes
from scripts.records import (
    client_blocks,
    column_blocks,
    scored_clients,
    scoring_records,
    shadows,
)
from scripts.records.column_blocks import Column
from scripts.records.scored_clients import NAME, TEXT_POINTERS
from scripts.records.tables import BlockKind

Names = dict[str, str]


def read_columns(
    connection: Connection, block: sa.Row[Any], columns: tuple[str, ...]
) -> Mapping[str, Column]:
    """Return columns of the names for people of a block, those of absent clients out of it."""
    found = column_blocks.unpack(block.content, (*TEXT_POINTERS, *columns))
    if block.kind == BlockKind.ABSENT or not {*TEXT_POINTERS} <= {*found}:
        return found
    pointers = {block.bucket: found}
    return scored_clients.read_values(connection, pointers, columns, BlockKind.TEXTS)[block.bucket]


def read_block(
    connection: Connection, block: sa.Row[Any], columns: tuple[str, ...], wanted: set[str]
) -> dict[str, Names]:
    """Return the names for people of the wanted clients in a block, by client."""
    clients = column_blocks.unpack_texts(block.names, block.n_clients)
    rows = np.array([n for n, client in enumerate(clients) if client in wanted], np.int64)
    if not len(rows):
        return {}
    read = read_columns(connection, block, columns)
    texts = {name.removeprefix(NAME): read[name][rows].tolist() for name in columns if name in read}
    return {
        clients[row]: {name: column[place] for name, column in texts.items()}
        for place, row in enumerate(rows.tolist())
    }


def find_names(connection: Connection, clients: Iterable[str]) -> dict[str, Names]:
    """Return the names for people of some clients, by client and column.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    clients : iterable of str
        Clients of today, or with a score of an earlier day.

    Returns
    -------
    dict of str to dict of str to str
        Without the clients that have no score, {} if no names are declared.
    """
    scoring, wanted = scoring_records.last_scoring(connection), {*clients}
    if scoring is None or not wanted:
        return {}
    kept = scored_clients.find_kept(connection, scoring["id"])
    columns = tuple(name for name in kept if name.startswith(NAME))
    if not columns:
        return {}
    hashes = map(name_hashes.hash_name, wanted)
    buckets = sorted({name_hashes.find_bucket(each, scoring["bits"]) for each in hashes})
    found: dict[str, Names] = {}
    # Who is on the list today has the names of today.
    for kind in (BlockKind.ABSENT, BlockKind.SCORES):
        blocks = client_blocks.read_buckets(
            connection, scoring["id"], [kind], buckets, "names", "content", "n_clients"
        )
        for block in list(blocks):
            found |= read_block(connection, block, columns, wanted)
    return found


def add_names(connection: Connection, shadow: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a recorded shadow with the names for people of its clients, None for None."""
    if shadow is None:
        return None
    lists = {name: shadow[name] for name in shadows.LISTS.values()}
    found = find_names(connection, [row["client"] for rows in lists.values() for row in rows])
    named = {
        name: [
            row | ({"names": found[row["client"]]} if row["client"] in found else {})
            for row in rows
        ]
        for name, rows in lists.items()
    }
    return {**shadow, **named}
