"""Statistics of a table on a cluster: column summaries, categories, and a model's reference."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from scripts.core.config import Schema
from scripts.data import dataset, deduplicate, profile
from scripts.data.profile import Bins, ColumnSummary, DatasetFacts, Moments, Reference
from scripts.model import logistic_model
from scripts.model.logistic_model import Model
from scripts.spark.cluster import aggregate, column, gather
from scripts.spark.dataset import Identity, to_table

# Quantiles are exact up to about a million rows. Beyond, the error is at most a millionth of the
# rows.
QUANTILE_ACCURACY = 1_000_000

Counts = dict[str, dict[str, int]]


class ColumnFacts(Struct, frozen=True, kw_only=True):
    """The statistics of a numeric column, None where undefined."""

    n_values: int
    mean: float | None
    median: float | None
    standard_deviation: float | None


def describe_numbers(rows: DataFrame, names: list[str]) -> tuple[int, dict[str, ColumnFacts]]:
    """Count rows and summarise numeric columns in one pass, with exact medians."""
    aggregates = [F.count(F.lit(1))]
    for name in names:
        values = column(name).cast("double")
        aggregates += [F.count(values), F.avg(values), F.median(values), F.stddev_samp(values)]
    n_rows, *results = aggregate(rows, aggregates)
    facts = {}
    for place, name in enumerate(names):
        n_values, mean, median, deviation = results[4 * place : 4 * place + 4]
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
    """Compute the bin edges of numeric columns, as `profile.make_bins` does."""
    n_bins = profile.N_BINS
    shares = [place / n_bins for place in range(1, n_bins + 1)]
    aggregates = []
    for name in names:
        values = column(name).cast("double")
        aggregates.append(F.percentile_approx(values, shares, QUANTILE_ACCURACY))
        aggregates.append(F.approx_count_distinct(values))
    results = aggregate(rows, aggregates)
    edges = {}
    for place, name in enumerate(names):
        quantiles, n_distinct = results[2 * place : 2 * place + 2]
        if quantiles and n_distinct <= 2 * n_bins:
            present = rows.select(column(name).cast("double")).dropna().distinct()
            distinct = sorted(row[0] for row in present.limit(4 * n_bins).collect())
            quantiles = distinct if len(distinct) <= n_bins else quantiles
        edges[name] = tuple(sorted(set(quantiles or [])))
    return edges


class PartStatistics(Struct, frozen=True):
    """The statistics of a partition: counts per bin, moments of the terms, smallest hashes."""

    n_rows: int
    counts: dict[str, list[int]]
    moments: dict[str, tuple[float, float]]
    hashes: bytes


def add_moments(left: PartStatistics, right: PartStatistics, name: str) -> tuple[float, float]:
    """Merge mean and sum of squared deviations of two parts, without cancellation."""
    n, m = left.n_rows, right.n_rows
    (mean, squares), (right_mean, right_squares) = left.moments[name], right.moments[name]
    shift = right_mean - mean
    merged_mean = mean + shift * m / (n + m)
    return merged_mean, squares + right_squares + shift**2 * n * m / (n + m)


def merge(left: PartStatistics, right: PartStatistics) -> PartStatistics:
    """Merge the statistics of two partitions."""
    if not left.n_rows or not right.n_rows:
        return left if left.n_rows else right
    hashes = np.frombuffer(left.hashes + right.hashes, deduplicate.HASH_TYPE)
    return PartStatistics(
        left.n_rows + right.n_rows,
        {
            name: [a + b for a, b in zip(counts, right.counts[name], strict=True)]
            for name, counts in left.counts.items()
        },
        {name: add_moments(left, right, name) for name in left.moments},
        deduplicate.encode_smallest(hashes.astype(np.uint32)),
    )


def describe_part(
    part: pa.Table, model: Model, edges: dict[str, tuple[float, ...]]
) -> PartStatistics:
    """Compute the statistics of a batch of rows."""
    table = to_table(part, model.schema)
    columns = dataset.feature_arrays(table, model.schema)
    terms: dict[str, Any] = logistic_model.contributions(model, columns) if len(table) else {}
    return PartStatistics(
        len(table),
        {
            name: profile.count_bins(of_column, columns[name][~np.isnan(columns[name])]).tolist()
            for name, of_column in edges.items()
        },
        {name: (float(v.mean()), float(np.sum((v - v.mean()) ** 2))) for name, v in terms.items()},
        deduplicate.encode_smallest(deduplicate.hash_rows(table, model.schema)),
    )


def make_reference(rows: DataFrame, model: Model, categories: Counts) -> Reference:
    """Return the reference of a model from the rows of its training dataset."""
    edges = find_edges(rows, list(model.schema.numeric)) if model.schema.numeric else {}
    empty = PartStatistics(0, {}, {}, b"")

    def work(parts: Iterator[pa.Table]) -> bytes:
        whole = empty
        for part in parts:
            whole = merge(whole, describe_part(part, model, edges))
        return msgspec.json.encode(whole)

    whole = empty
    for piece in gather(rows, work):
        whole = merge(whole, msgspec.json.decode(piece, type=PartStatistics))
    return Reference(
        numeric={
            name: Bins(edges=of_column, counts=tuple(whole.counts[name]))
            for name, of_column in edges.items()
        },
        categorical=categories,
        contributions={
            name: Moments(mean=mean, standard_deviation=float(np.sqrt(spread / whole.n_rows)))
            for name, (mean, spread) in whole.moments.items()
        },
        row_hashes=whole.hashes,
    )


def find_typical(rows: DataFrame, model: Model) -> dict[str, float | str]:
    """Return a typical staying client, by the rule of `reference.find_typical`."""
    stayed = rows.where(column(model.schema.target) == 0)
    _, numbers = describe_numbers(stayed, list(model.schema.numeric))
    typical: dict[str, float | str] = {}
    for term in model.numeric:
        median = numbers[term.column].median
        typical[term.column] = term.median if median is None else median
    for name, counts in count_categories(stayed, model.schema).items():
        typical[name] = min(counts, key=lambda category: (-counts[category], category))
    return typical


class TableSummary(Struct, frozen=True, kw_only=True):
    """The summaries of numeric columns and target, and the fraction of missing values by column."""

    n_rows: int
    summary: tuple[ColumnSummary, ...]
    missing_fractions: dict[str, float]


def summarise_table(rows: DataFrame, schema: Schema) -> TableSummary:
    """Compute the statistics of a table."""
    names = [*schema.numeric, schema.target]
    n_rows, numbers = describe_numbers(rows, names)
    missing = {name: (n_rows - numbers[name].n_values) / n_rows for name in names}
    texts = [*schema.ids, *schema.categorical]
    if texts:
        aggregates = [F.sum((column(name) == "").cast("bigint")) for name in texts]
        n_missing = aggregate(rows, aggregates)
        missing |= {name: n / n_rows for name, n in zip(texts, n_missing, strict=True)}
    return TableSummary(
        n_rows=n_rows,
        missing_fractions={name: float(missing[name]) for name in schema.columns},
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
    """Return identity, counts and column statistics of a training dataset."""
    table = summarise_table(rows, schema)
    share = next(column.mean for column in table.summary if column.column == schema.target)
    return DatasetFacts(
        sha256=identity.sha256,
        n_rows=table.n_rows,
        n_positives=round((share or 0.0) * table.n_rows),
        missing_fractions=table.missing_fractions,
        summary=table.summary,
    )
