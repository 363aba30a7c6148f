"""Finds on a cluster what has become of clients who were scored."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from scripts import cluster, joining, sparkdata
from scripts.config import EngineSettings, Schema
from scripts.joining import Labels

Found = dict[str, Labels]


def in_order(labels: Labels) -> Labels:
    """Put the labels of a client into an order that does not depend on that of the rows.

    Of several that have become known at once the last counts, which then is that of leaving.
    """
    return dict(sorted(labels.items(), key=lambda entry: (entry[1], entry[0])))


def collect_labels(engine: EngineSettings, path: Path, schema: Schema, wanted: set[str]) -> Found:
    """Collect the labels of the wanted clients off a dataset in parts, as `joining` does."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        tables = (sparkdata.to_table(part, schema) for part in parts)
        return msgspec.json.encode(joining.collect_labels(tables, schema, wanted))

    with cluster.working(engine) as session:
        pieces = cluster.gather(sparkdata.read_parts(session, path, schema), work)
    found: Found = {}
    for piece in pieces:
        for name, labels in msgspec.json.decode(piece, type=Found).items():
            found.setdefault(name, {}).update(labels)
    return {name: in_order(labels) for name, labels in found.items()}
