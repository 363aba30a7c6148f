"""Scorings of a few clients in the records, without a model."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from scripts.core.name_hashes import hash_name
from scripts.records import (
    client_blocks,
    clients,
    column_blocks,
    database,
    outcome_records,
    runs,
    scored_clients,
    scoring_records,
)
from scripts.records.client_blocks import BulkWriter, ClientBlock
from scripts.records.clients import Selection
from scripts.records.runs import Row
from scripts.records.scored_clients import NO_MOMENT
from scripts.records.tables import BlockKind, client_outcomes, outcome_groups
from tests.support.outcomes import insert_outcomes

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def last_scores(connection: Connection) -> dict[str, Row]:
    """Return the last score of each client by name, with its scoring and `is_settled`.

    A score with a known outcome is settled.
    """
    scoring = scoring_records.last_scoring(connection)
    if scoring is None:
        return {}
    by_id = {row["id"]: row for row in scoring_records.list_scorings(connection)}
    settled = {
        (row.scoring_id, row.client)
        for row in connection.execute(
            sa.select(outcome_groups.c.scoring_id, client_outcomes.c.client)
            .select_from(outcome_records.GROUPED)
            .where(outcome_records.COUNTED)
        )
    }
    found: dict[str, Row] = {}
    for absent in (True, False):
        kind = BlockKind.ABSENT if absent else BlockKind.SCORES
        buckets = list(client_blocks.bucket_sizes(connection, scoring["id"], kind))
        read = scored_clients.read_clients(connection, scoring["id"], buckets, absent=absent)
        for row in read.rows(range(len(read.names))):
            scored_in = row.pop("scored_in", scoring["id"])
            found[row["client"]] = clients.with_scoring(row, by_id[scored_in]) | {
                "is_settled": (scored_in, row["client"]) in settled
            }
    return found


class ListedRows(NamedTuple):
    """The clients of a part of a list as rows with their scoring, and the number that fit."""

    rows: list[Row]
    n_found: int


def read_list(connection: Connection, scoring_id: int, limit: int = 9, **wanted: Any) -> ListedRows:
    """Return a part of the list of a scoring."""
    scoring = scoring_records.find_scoring(connection, scoring_id)
    assert scoring is not None
    part = clients.list_part(connection, scoring, Selection(**wanted), limit)
    rows = part.clients.rows(range(len(part.clients.names)))
    return ListedRows([clients.with_scoring(row, scoring) for row in rows], part.n_found)


def list_outcomes(connection: Connection) -> list[Row]:
    """List the outcomes of clients, oldest first."""
    return outcome_records.last_outcomes(connection, 1000)[::-1]


def read_bands(connection: Connection, scoring_id: int) -> dict[str, int]:
    """Return the number of clients of a scoring by recorded band."""
    scoring = scoring_records.find_scoring(connection, scoring_id)
    assert scoring is not None
    return clients.count_bands(connection, scoring)


def score_columns(scoring_id: int, names: list[str], last: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of clients with rising probabilities, a tenth per place."""
    before = [last.get(name, {}).get("probability", np.nan) for name in names]
    moments = [scored_clients.as_microseconds(last.get(n, {}).get("scored_at")) for n in names]
    return {
        "probability": np.arange(1, len(names) + 1) / 10,
        "previous_probability": np.array(before),
        "previous_at": np.array(moments),
        "first_high_at": np.full(len(names), NO_MOMENT),
        "values_at": np.full(len(names), scoring_id, np.int32),
        "value_row": np.arange(len(names), dtype=np.int32),
    }


def list_blocks(
    scoring_id: int, names: list[str], band: str, last: Mapping[str, Any]
) -> list[ClientBlock]:
    """Return the blocks of a list, in one bucket: the first client is the first on the list."""
    kinds, n_clients = BlockKind, len(names)
    hashed = sorted(range(n_clients), key=lambda place: hash_name(names[place]))
    columns = score_columns(scoring_id, names, last)
    changes = np.nan_to_num(columns["probability"] - columns["previous_probability"], nan=0.0)
    orders = {
        kinds.RISK: list(range(n_clients)),
        kinds.CLIENT: sorted(range(n_clients), key=names.__getitem__),
        kinds.RISE: sorted(range(n_clients), key=lambda place: (-changes[place], place)),
    }
    scores: dict[str, Any] = {name: column[hashed] for name, column in columns.items()}
    scores["value_row"] = columns["value_row"]
    scores["band"] = np.array([band] * n_clients, object)
    values = {
        "number:a": np.full(n_clients, 1.5),
        "number:b": np.full(n_clients, np.nan),
        "text:c": np.full(n_clients, "gold", object),
    }
    packed_names = column_blocks.pack_texts([names[place] for place in hashed])
    contents: list[tuple[BlockKind, dict[str, Any], bytes | None]] = [
        (kinds.SCORES, scores, packed_names),
        (kinds.PLACES, {"position": np.array(hashed, np.int32) + 1}, None),
        (kinds.VALUES, values, None),
    ]
    for kind, order in orders.items():
        rows = {"rows": np.array([hashed.index(place) for place in order], np.uint32)}
        extra = {"place": np.array(order, np.int32)}
        if kind is kinds.RISK:
            extra = {"probability": -columns["probability"]}
        contents.append((kind, rows | extra, None))
    return [
        ClientBlock(kind, 0, n_clients, column_blocks.pack(packed), packed_names)
        for kind, packed, packed_names in contents
    ]


def absent_block(scoring_id: int, gone: Mapping[str, Any]) -> ClientBlock:
    """Return the block of the clients that are not on the list."""
    names = list(gone)
    columns: dict[str, Any] = {
        "probability": np.array([row["probability"] for row in gone.values()]),
        "previous_probability": np.full(len(names), np.nan),
        "previous_at": np.full(len(names), NO_MOMENT),
        "first_high_at": np.full(len(names), NO_MOMENT),
        "position": np.array([row["position"] for row in gone.values()], np.int32),
        "band": np.array([row["band"] for row in gone.values()], object),
        "scored_in": np.array([row["scoring_id"] for row in gone.values()], np.int32),
        "is_settled": np.array([row["is_settled"] for row in gone.values()]),
        "number:a": np.full(len(names), 1.5),
    }
    packed = column_blocks.pack(columns)
    return ClientBlock(BlockKind.ABSENT, 0, len(names), packed, column_blocks.pack_texts(names))


def record_scoring(engine: Engine, number: int, *names: str, band: str = "low") -> int:
    """Record a whole scoring of a few clients, the first of them first on the list."""
    with database.writing(engine) as connection:
        last = last_scores(connection)
        run_id = runs.start_run(connection, NOW)
        scoring_records.record_model_content(connection, f"stamp{number}", f"model {number}")
    scoring_id = scoring_records.begin_scoring(
        engine, run_id, scored_at=NOW + timedelta(days=number), release=f"r{number}",
        model_stamp=f"stamp{number}", columns="[]", n_clients=len(names), n_without_data=0,
        n_test_rows=3, gains=b"\xa0",
    )  # fmt: skip
    writer = BulkWriter(engine)
    for block in list_blocks(scoring_id, list(names), band, last) if names else ():
        writer.put_block(scoring_id, block)
    gone = {name: row for name, row in last.items() if name not in names}
    if gone:
        writer.put_block(scoring_id, absent_block(scoring_id, gone))
    writer.flush()
    with database.writing(engine) as connection:
        scoring_records.finish_scoring(
            connection, scoring_id, bands=[[band, len(names)]], values_from=scoring_id,
            absent_in=sorted({row["scoring_id"] for row in gone.values()}),
        )  # fmt: skip
    return scoring_id


def record_outcome(engine: Engine, client: str, *, exited: bool) -> None:
    """Record the outcome of a client's last score."""
    facts = (
        "client", "scored_at", "release", "probability", "band", "position", "first_high_at",
        "scoring_id",
    )  # fmt: skip
    with database.writing(engine) as connection:
        last = last_scores(connection)[client]
        run_id = runs.start_run(connection, NOW)
        row = {name: last[name] for name in facts} | {"known_at": NOW, "exited": exited}
        insert_outcomes(connection, [row | {"run_id": run_id}])


def rename_clients(path: Path, texts: Sequence[str]) -> None:
    """Let the first clients of every block with names in a SQLite file have other names."""
    with closing(sqlite3.connect(path)) as connection, connection:
        found = connection.execute(
            "SELECT rowid, names, n_clients FROM client_blocks WHERE names IS NOT NULL"
        ).fetchall()
        for number, packed, n_clients in found:
            names = column_blocks.unpack_texts(packed, n_clients)
            names[: len(texts)] = texts[:n_clients]
            connection.execute(
                "UPDATE client_blocks SET names = ? WHERE rowid = ?",
                [column_blocks.pack_texts(names), number],
            )
