"""Compares a dataset on a cluster with that of a model; counts and moments come back."""

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
    """What a partition tells of those of its rows that are to be compared."""

    n_rows: int
    which: str
    cells: dict[str, list[int]]
    categories: dict[str, dict[str, int]]
    labels: list[int]
    values: dict[str, Running]
    terms: dict[str, Running]


def encode_rows(tally: Tally) -> bytes:
    """Spell a tally, to bring it back."""
    told = DriftCounts(
        n_rows=tally.n_rows, which=tally.which, values=tally.values, terms=tally.terms,
        cells={name: counts.tolist() for name, counts in tally.cells.items()},
        categories={name: dict(counts) for name, counts in tally.categories.items()},
        labels=tally.labels.tolist(),
    )  # fmt: skip
    return msgspec.json.encode(told)


def read(piece: bytes, used: Model, kept: Reference) -> Tally:
    """Read a tally again."""
    told = msgspec.json.decode(piece, type=DriftCounts)
    return Tally(
        used, kept, n_rows=told.n_rows, which=told.which, values=told.values, terms=told.terms,
        cells={name: np.array(counts, np.int64) for name, counts in told.cells.items()},
        categories={name: Counter(counts) for name, counts in told.categories.items()},
        labels=np.array(told.labels, np.int64),
    )  # fmt: skip


def as_one_machine_has_it(part: pa.Table, schema: Schema) -> pa.Table:
    """Give rows in the kinds in which the pandas engine has them; a blank number is NaN there."""
    numbers = (*schema.numeric, schema.target)
    return pa.table(
        {
            name: part[name].to_numpy() if name in numbers else part[name].cast(pa.large_string())
            for name in schema.columns
        }
    )


def tally_rows(rows: DataFrame, used: Model, kept: Reference) -> Tally:
    """Count the rows that are to be compared, in one pass."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        tally = Tally(used, kept)
        for part in parts:
            tally.add(as_one_machine_has_it(part, used.schema))
        return encode_rows(tally)

    whole = Tally(used, kept)
    for piece in cluster.gather(rows, work):
        whole.merge(read(piece, used, kept))
    return whole


def look_over(rows: DataFrame, schema: Schema) -> TableStatistics:
    """Give the statistics of a dataset, as `drift.look_over` does."""
    seen = statistics.look_over(rows, schema)
    summaries = {summary.column: summary for summary in seen.summary}
    return TableStatistics(seen.n_rows, summaries, seen.missing_fractions)


def compare(engine: EngineSettings, path: Path, schema: Schema, used: Model | None) -> DataDrift:
    """Compare a dataset with the one that a model was trained on.

    Parameters
    ----------
    engine : EngineSettings
        The cluster.
    path : Path
        A dataset in parts.
    schema : Schema
        Its columns.
    used : Model or None
        The model in production, if it can be compared.

    Returns
    -------
    DataDrift
        As from `drift.compare_data`; a mean or a deviation may differ in its last digits.
    """
    kept = None if used is None else used.dataset.reference
    with cluster.working(engine) as session:
        rows = dataset.read_parts(session, path, schema)
        overview = look_over(rows, schema)
        if used is None or kept is None:
            return drift.describe_columns(overview, schema, {}, drift.NOTHING)
        tally = tally_rows(rows, used, kept)
    counted = tally.counted() if tally.n_rows else {}
    return drift.describe_columns(overview, used.schema, counted, tally.compared(counted))
