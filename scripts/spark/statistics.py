"""Statistics of a table on a cluster: of its columns, and what is kept of it for comparisons."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from scripts.core.config import Schema
from scripts.data import dataset, deduplicate, profile
from scripts.data.profile import Bins, ColumnSummary, DatasetFacts, Moments, Reference
from scripts.model import logistic_model
from scripts.model.logistic_model import Model
from scripts.spark.cluster import aggregate, column, gather
from scripts.spark.dataset import Identity, to_table

# Exact up to about a million rows; beyond, an edge is at most this share of the rows off.
QUANTILE_ACCURACY = 1_000_000

Floats = NDArray[np.float64]
Counts = dict[str, dict[str, int]]


class ColumnFacts(Struct, frozen=True, kw_only=True):
    """What is known of the numbers of one column; None where it is not defined."""

    n_values: int
    mean: float | None
    median: float | None
    standard_deviation: float | None


def describe_numbers(rows: DataFrame, names: list[str]) -> tuple[int, dict[str, ColumnFacts]]:
    """Count rows, and describe columns of numbers, in one pass; the median is exact."""
    asked = [F.count(F.lit(1))]
    for name in names:
        values = column(name).cast("double")
        asked += [F.count(values), F.avg(values), F.median(values), F.stddev_samp(values)]
    n_rows, *found = aggregate(rows, asked)
    facts = {}
    for place, name in enumerate(names):
        n_values, mean, median, deviation = found[4 * place : 4 * place + 4]
        facts[name] = ColumnFacts(
            n_values=n_values, mean=mean, median=median, standard_deviation=deviation
        )
    return n_rows, facts


def count_categories(rows: DataFrame, schema: Schema) -> Counts:
    """Count the categories of each categorical column."""
    names = schema.categorical

    def work(parts: Iterator[pa.Table]) -> bytes:
        counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        for part in parts:
            for name in names:
                counts[name].update(part[name].to_pylist())
        return msgspec.json.encode(counts)

    total: dict[str, Counter[str]] = {name: Counter() for name in names}
    if names:
        for piece in gather(rows, work):
            for name, counts in msgspec.json.decode(piece, type=Counts).items():
                total[name].update(counts)
    return {name: dict(counts) for name, counts in total.items()}


def find_edges(rows: DataFrame, names: list[str]) -> dict[str, tuple[float, ...]]:
    """Find the edges of the cells that `reference.make_cells` would cut, column by column."""
    n_cells = profile.N_BINS
    shares = [place / n_cells for place in range(1, n_cells + 1)]
    asked = []
    for name in names:
        values = column(name).cast("double")
        asked.append(F.percentile_approx(values, shares, QUANTILE_ACCURACY))
        asked.append(F.approx_count_distinct(values))
    found = aggregate(rows, asked)
    edges = {}
    for place, name in enumerate(names):
        quantiles, about = found[2 * place : 2 * place + 2]
        if quantiles and about <= 2 * n_cells:
            present = rows.select(column(name).cast("double")).dropna().distinct()
            distinct = sorted(row[0] for row in present.limit(4 * n_cells).collect())
            quantiles = distinct if len(distinct) <= n_cells else quantiles
        edges[name] = tuple(sorted(set(quantiles or [])))
    return edges


class Piece(Struct, frozen=True):
    """What a partition tells of its rows: counts per cell, moments of each term, small hashes."""

    n_rows: int
    counts: dict[str, list[int]]
    moments: dict[str, tuple[float, float]]
    hashes: bytes


def add_moments(left: Piece, right: Piece, name: str) -> tuple[float, float]:
    """Merge mean and sum of squared deviations of two parts, without cancellation."""
    n, m = left.n_rows, right.n_rows
    (one, spread), (other, more) = left.moments[name], right.moments[name]
    shift = other - one
    mean = one + shift * m / (n + m)
    return mean, spread + more + shift**2 * n * m / (n + m)


def merge(left: Piece, right: Piece) -> Piece:
    """Merge what two partitions tell."""
    if not left.n_rows or not right.n_rows:
        return left if left.n_rows else right
    hashes = np.frombuffer(left.hashes + right.hashes, deduplicate.HASH_TYPE)
    return Piece(
        left.n_rows + right.n_rows,
        {
            name: [a + b for a, b in zip(counts, right.counts[name], strict=True)]
            for name, counts in left.counts.items()
        },
        {name: add_moments(left, right, name) for name in left.moments},
        deduplicate.encode_smallest(hashes.astype(np.uint32)),
    )


def describe_part(part: pa.Table, used: Model, edges: dict[str, tuple[float, ...]]) -> Piece:
    """Describe some rows."""
    table = to_table(part, used.schema)
    columns = dataset.feature_arrays(table, used.schema)
    terms: dict[str, Any] = logistic_model.contributions(used, columns) if len(table) else {}
    return Piece(
        len(table),
        {
            name: profile.count_bins(found, columns[name][~np.isnan(columns[name])]).tolist()
            for name, found in edges.items()
        },
        {name: (float(v.mean()), float(np.sum((v - v.mean()) ** 2))) for name, v in terms.items()},
        deduplicate.encode_smallest(deduplicate.hash_rows(table, used.schema)),
    )


def make_reference(rows: DataFrame, used: Model, categories: Counts) -> Reference:
    """Describe the dataset of a model for later comparisons, as `reference.make_reference` does."""
    edges = find_edges(rows, list(used.schema.numeric)) if used.schema.numeric else {}
    nothing = Piece(0, {}, {}, b"")

    def work(parts: Iterator[pa.Table]) -> bytes:
        whole = nothing
        for part in parts:
            whole = merge(whole, describe_part(part, used, edges))
        return msgspec.json.encode(whole)

    whole = nothing
    for piece in gather(rows, work):
        whole = merge(whole, msgspec.json.decode(piece, type=Piece))
    return Reference(
        numeric={
            name: Bins(edges=found, counts=tuple(whole.counts[name]))
            for name, found in edges.items()
        },
        categorical=categories,
        contributions={
            name: Moments(mean=mean, standard_deviation=float(np.sqrt(spread / whole.n_rows)))
            for name, (mean, spread) in whole.moments.items()
        },
        row_hashes=whole.hashes,
    )


def find_typical(rows: DataFrame, used: Model) -> dict[str, float | str]:
    """Describe a typical client who stayed, as `reference.find_typical` does."""
    stayed = rows.where(column(used.schema.target) == 0)
    _, numbers = describe_numbers(stayed, list(used.schema.numeric))
    typical: dict[str, float | str] = {}
    for term in used.numeric:
        median = numbers[term.column].median
        typical[term.column] = term.median if median is None else median
    for name, counts in count_categories(stayed, used.schema).items():
        typical[name] = min(counts, key=lambda category: (-counts[category], category))
    return typical


class Seen(Struct, frozen=True, kw_only=True):
    """The statistics of a dataset: of its numeric columns and target, and each one's blanks."""

    n_rows: int
    summary: tuple[ColumnSummary, ...]
    missing_fractions: dict[str, float]


def look_over(rows: DataFrame, schema: Schema) -> Seen:
    """Give the statistics of a dataset."""
    names = [*schema.numeric, schema.target]
    n_rows, numbers = describe_numbers(rows, names)
    blank = {name: (n_rows - numbers[name].n_values) / n_rows for name in names}
    texts = [*schema.ids, *schema.categorical]
    if texts:
        asked = [F.sum((column(name) == "").cast("bigint")) for name in texts]
        n_blank = aggregate(rows, asked)
        blank |= {name: n / n_rows for name, n in zip(texts, n_blank, strict=True)}
    return Seen(
        n_rows=n_rows,
        missing_fractions={name: float(blank[name]) for name in schema.columns},
        summary=tuple(
            ColumnSummary(
                column=name,
                mean=numbers[name].mean,
                median=numbers[name].median,
                standard_deviation=numbers[name].standard_deviation,
            )
            for name in names
        ),
    )


def describe_dataset(rows: DataFrame, identity: Identity, schema: Schema) -> DatasetFacts:
    """Say what a model was trained on, as `candidates.describe_dataset` does."""
    seen = look_over(rows, schema)
    share = next(one.mean for one in seen.summary if one.column == schema.target)
    return DatasetFacts(
        sha256=identity.sha256,
        n_rows=seen.n_rows,
        n_positives=round((share or 0.0) * seen.n_rows),
        missing_fractions=seen.missing_fractions,
        summary=seen.summary,
    )
