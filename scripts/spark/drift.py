"""Drift of a dataset on a cluster against the reference of a model, from counts and moments."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from pyspark.sql import DataFrame

from scripts.core.config import EngineSettings, Schema
from scripts.data.profile import Reference, Running
from scripts.model import drift
from scripts.model.chunked_drift import Tally
from scripts.model.drift import DataDrift, TableStatistics
from scripts.model.logistic_model import Model
from scripts.spark import cluster, dataset, statistics


class DriftCounts(Struct, frozen=True, kw_only=True):
    """Counts and moments of the compared rows of a partition."""

    n_rows: int
    which: str
    cells: dict[str, list[int]]
    categories: dict[str, dict[str, int]]
    labels: list[int]
    values: dict[str, Running]
    terms: dict[str, Running]


def encode_tally(tally: Tally) -> bytes:
    """Encode a tally as JSON."""
    counts = DriftCounts(
        n_rows=tally.n_rows, which=tally.which, values=tally.values, terms=tally.terms,
        cells={name: cells.tolist() for name, cells in tally.cells.items()},
        categories={name: dict(rows) for name, rows in tally.categories.items()},
        labels=tally.labels.tolist(),
    )  # fmt: skip
    return msgspec.json.encode(counts)


def decode_tally(content: bytes, model: Model, kept: Reference) -> Tally:
    """Decode a tally from JSON."""
    counts = msgspec.json.decode(content, type=DriftCounts)
    return Tally(
        model, kept, n_rows=counts.n_rows, which=counts.which,
        values=counts.values, terms=counts.terms,
        cells={name: np.array(cells, np.int64) for name, cells in counts.cells.items()},
        categories={name: Counter(rows) for name, rows in counts.categories.items()},
        labels=np.array(counts.labels, np.int64),
    )  # fmt: skip


def to_pandas_types(part: pa.Table, schema: Schema) -> pa.Table:
    """Convert columns to the types of the pandas engine, with NaN for a missing number."""
    numbers = (*schema.numeric, schema.target)
    return pa.table(
        {
            name: part[name].to_numpy() if name in numbers else part[name].cast(pa.large_string())
            for name in schema.columns
        }
    )


def tally_rows(rows: DataFrame, model: Model, kept: Reference) -> Tally:
    """Count the compared rows in one pass."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        tally = Tally(model, kept)
        for part in parts:
            tally.add(to_pandas_types(part, model.schema))
        return encode_tally(tally)

    whole = Tally(model, kept)
    for piece in cluster.gather(rows, work):
        whole.merge(decode_tally(piece, model, kept))
    return whole


def describe_table(rows: DataFrame, schema: Schema) -> TableStatistics:
    """Compute the statistics of a table, as `model.drift.describe_table` does."""
    table = statistics.summarise_table(rows, schema)
    summaries = {summary.column: summary for summary in table.summary}
    return TableStatistics(table.n_rows, summaries, table.missing_fractions)


def compare(engine: EngineSettings, path: Path, schema: Schema, model: Model | None) -> DataDrift:
    """Compare a dataset with the training dataset of a model.

    Parameters
    ----------
    engine : EngineSettings
        The cluster.
    path : Path
        A dataset in parts.
    schema : Schema
        The columns.
    model : Model or None
        The model in production, or None without a comparable model.

    Returns
    -------
    DataDrift
        As from `model.drift.compare_data`, with means and deviations equal but for rounding.
    """
    kept = None if model is None else model.dataset.reference
    with cluster.open_cluster(engine) as session:
        rows = dataset.read_parts(session, path, schema)
        table = describe_table(rows, schema)
        if model is None or kept is None:
            return drift.describe_columns(table, schema, {}, drift.NOTHING)
        tally = tally_rows(rows, model, kept)
    counted = tally.counted() if tally.n_rows else {}
    return drift.describe_columns(table, model.schema, counted, tally.compared(counted))
