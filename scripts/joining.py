"""Joins the outcomes of clients, when they become known, to what was said of them before."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import pandas as pd

from scripts import dataset, reference
from scripts.bands import Band
from scripts.config import Schema
from scripts.database import Row

# The labels known of a client: the hash of each labelled row, and its label, in file order.
Labels = dict[int, int]


def collect_labels(
    tables: Iterable[pd.DataFrame], schema: Schema, wanted: set[str]
) -> dict[str, Labels]:
    """Collect the labels of the wanted clients off labelled tables, one after the other.

    A labelled row that came since a client was scored tells the outcome; the hashes tell it from
    those that were there before.
    """
    found: dict[str, Labels] = {}
    for table in tables:
        names = dataset.client_names(table, schema)
        is_wanted = names.isin(wanted)
        rows = table[is_wanted]
        hashes = reference.hash_rows(rows, schema).tolist()
        labels = dataset.target(rows, schema).tolist()
        for name, row_hash, label in zip(names[is_wanted], hashes, labels, strict=True):
            found.setdefault(name, {})[row_hash] = label
    return found


def find_outcome(last: Row, known: Labels, columns: str) -> int | None:
    """Find the label that a client has got since the last score; None if there is none.

    Under another schema than then, rows cannot be told apart; no outcome is better than a wrong
    one.
    """
    if last["is_settled"] or last["columns"] != columns:
        return None
    before = set(msgspec.json.decode(last["labels"], type=list[int]))
    new = [label for row_hash, label in known.items() if row_hash not in before]
    return new[-1] if new else None


def find_outcomes(
    last_scores: Mapping[str, Row], labels: Mapping[str, Labels], columns: str, now: datetime
) -> list[dict[str, Any]]:
    """Join the outcomes that have become known to the last score of each client."""
    kept = (
        "client", "scored_at", "release", "probability", "band", "position", "first_high_at",
    )  # fmt: skip
    found = []
    for name in last_scores.keys() & labels.keys():
        last = last_scores[name]
        label = find_outcome(last, labels[name], columns)
        if label is not None:
            facts = {key: last[key] for key in kept}
            found.append(facts | {"score_id": last["id"], "known_at": now, "exited": bool(label)})
    return sorted(found, key=lambda row: int(row["score_id"]))


def is_open(values: str, last: Row | None, settled: set[int]) -> bool:
    """Say whether a client is to be scored: not if the outcome of just these values is known."""
    if last is None or last["values"] != values:
        return True
    return not last["is_settled"] and last["id"] not in settled


def first_high(band: str, last: Row | None, settled: set[int], now: datetime) -> datetime | None:
    """Say since when a client, whose last outcome is past, has once been `high`."""
    if last is not None and not last["is_settled"] and last["id"] not in settled:
        earlier: datetime | None = last["first_high_at"]
        if earlier is not None:
            return earlier
    return now if band == Band.HIGH else None
