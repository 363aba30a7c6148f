"""Facts of all rows of a dataset on a cluster, and the rows drawn at random to fit or compare."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructField, StructType

from scripts.core.config import Config, Schema
from scripts.data import dataset as data_dataset
from scripts.data import deduplicate, profile, sampling
from scripts.data.arrays import Mask
from scripts.data.deduplicate import HASH_TYPE, Hashes, Numbers
from scripts.data.profile import Bins, ColumnSummary
from scripts.data.scanned_dataset import Comparison, ScannedDataset
from scripts.spark import cluster, dataset
from scripts.spark.cluster import aggregate, column, gather

# Quantiles are exact up to about a million rows. Beyond, the error is at most a millionth of the
# rows.
QUANTILE_ACCURACY = 1_000_000
KEY, PLACE = "adras key", "adras place"
LARGEST_KEY = 2**64 - 1
# Keys are spread evenly: the chance of fewer rows than wanted below the limit is about 1e-23.
N_DEVIATIONS = 10

Edges = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class NumberStatistics:
    """The statistics of a numeric column, NaN where undefined, and the bins of the values."""

    n_values: int
    n_missing: int
    mean: float
    deviation: float
    median: float
    stayed_median: float
    bins: Bins

    def summarise(self, name: str) -> ColumnSummary:
        """Return mean, median and standard deviation, as `dataset.summarise` does."""
        finite, n_free = data_dataset.finite_or_none, self.n_values - 1
        of_sample = self.deviation * math.sqrt(self.n_values / n_free) if n_free > 0 else math.nan
        return ColumnSummary(
            column=name, mean=finite(self.mean), median=finite(self.median),
            standard_deviation=finite(of_sample),
        )  # fmt: skip


class PartCounts(Struct, frozen=True):
    """The counts of a partition: bins, categories of stayers and leavers, smallest row hashes."""

    n_rows: int
    n_positives: int
    n_to_compare: int
    bins: dict[str, list[int]]
    categories: dict[str, dict[str, tuple[int, int]]]
    hashes: bytes


def hash_rows(rows: pa.Table, schema: Schema) -> Numbers:
    """Hash rows of a partition as `deduplicate.hash_table_rows` does."""
    texts = {*schema.ids, *schema.categorical}
    columns = [
        rows[name].cast(pa.large_string())
        if name in texts
        else rows[name].to_numpy().astype(np.float64)
        for name in schema.columns
    ]
    return deduplicate.number_rows(columns, rows.num_rows)


def number_aggregates(name: str, target: str) -> list[Column]:
    """Return the aggregates of a numeric column, in the order `read_numbers` expects."""
    values = column(name)
    shares = [place / profile.N_BINS for place in range(1, profile.N_BINS + 1)]
    return [
        F.count(values), F.avg(values), F.stddev_pop(values), F.median(values),
        F.median(F.when(column(target) == 0, values)),
        F.percentile_approx(values, shares, QUANTILE_ACCURACY), F.approx_count_distinct(values),
    ]  # fmt: skip


def find_edges(
    rows: DataFrame, name: str, quantiles: Sequence[float] | None, n_distinct: int
) -> tuple[float, ...]:
    """Return the edges of the bins of a column, as `profile.make_bins` does."""
    edges = quantiles or []
    if quantiles and n_distinct <= 2 * profile.N_BINS:
        present = rows.select(column(name)).dropna().distinct().limit(4 * profile.N_BINS)
        distinct = [row[0] for row in present.collect()]
        edges = distinct if len(distinct) <= profile.N_BINS else quantiles
    return tuple(sorted(set(edges)))


def count_categories(rows: pa.Table, schema: Schema) -> dict[str, dict[str, tuple[int, int]]]:
    """Count stayers and leavers of each category of each categorical column."""
    counts: dict[str, dict[str, tuple[int, int]]] = {}
    for name in schema.categorical:
        both = [(name, "count"), (schema.target, "sum")]
        found = rows.group_by(name).aggregate(both).to_pylist()
        counts[name] = {
            row[name]: (row[f"{name}_count"] - row[f"{schema.target}_sum"],
                        row[f"{schema.target}_sum"])
            for row in found
        }  # fmt: skip
    return counts


def find_to_compare(rows: pa.Table, comparison: Comparison | None) -> Mask:
    """Return a mask of the rows to compare with a reference."""
    if comparison is None:
        return np.zeros(rows.num_rows, np.bool_)
    return comparison.choose(deduplicate.short_hashes(hash_rows(rows, comparison.schema)))


def count_part(
    rows: pa.Table, schema: Schema, edges: Edges, comparison: Comparison | None
) -> PartCounts:
    """Count some rows of a partition."""
    values = {name: rows[name].to_numpy().astype(np.float64) for name in schema.numeric}
    hashes = deduplicate.short_hashes(hash_rows(rows, schema))
    return PartCounts(
        n_rows=rows.num_rows,
        n_positives=int(rows[schema.target].to_numpy().sum()),
        n_to_compare=int(find_to_compare(rows, comparison).sum()),
        bins={
            name: profile.count_bins(edges[name], numbers[~np.isnan(numbers)]).tolist()
            for name, numbers in values.items()
        },
        categories=count_categories(rows, schema),
        hashes=deduplicate.encode_smallest(hashes),
    )


def add_categories(
    counts: Sequence[dict[str, tuple[int, int]]],
) -> dict[str, tuple[int, int]]:
    """Add the counts of the categories of one column."""
    summed: dict[str, tuple[int, int]] = {}
    for part in counts:
        for text, (stayed, left) in part.items():
            before = summed.get(text, (0, 0))
            summed[text] = before[0] + stayed, before[1] + left
    return summed


def merge(parts: Sequence[PartCounts], schema: Schema) -> PartCounts:
    """Add the counts of partitions, of which there may be none."""
    smallest: Hashes = np.zeros(0, np.uint32)
    for part in parts:
        found = np.frombuffer(part.hashes, HASH_TYPE).astype(np.uint32)
        smallest = deduplicate.add_smallest(smallest, found)
    return PartCounts(
        n_rows=sum(part.n_rows for part in parts),
        n_positives=sum(part.n_positives for part in parts),
        n_to_compare=sum(part.n_to_compare for part in parts),
        bins={
            name: np.sum([part.bins[name] for part in parts], axis=0).tolist() if parts else []
            for name in schema.numeric
        },
        categories={
            name: add_categories([part.categories[name] for part in parts])
            for name in schema.categorical
        },
        hashes=deduplicate.encode_smallest(smallest),
    )


def count_rows(
    rows: DataFrame, schema: Schema, edges: Edges, comparison: Comparison | None
) -> PartCounts:
    """Count all rows in one pass."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        counted = [count_part(part, schema, edges, comparison) for part in parts]
        return msgspec.json.encode(merge(counted, schema) if counted else None)

    pieces = [msgspec.json.decode(piece, type=PartCounts | None) for piece in gather(rows, work)]
    return merge([piece for piece in pieces if piece is not None], schema)


def limit_key(n_wanted: int, n_rows: int) -> int:
    """Return a key that at least `n_wanted` of the keys of `n_rows` rows do not exceed."""
    n_below = n_wanted + N_DEVIATIONS * (math.isqrt(n_wanted) + 1)
    return LARGEST_KEY if n_below >= n_rows else LARGEST_KEY * n_below // n_rows


def places_of(rows: pa.Table) -> NDArray[np.uint64] | None:
    """Return the number of each row among equal rows, None where no row is equal to another."""
    return rows[PLACE].to_numpy().astype(np.uint64) if PLACE in rows.column_names else None


def collect_below(
    rows: DataFrame, schema: Schema, limit: int, seed: int, choose: Callable[[pa.Table], Mask]
) -> pa.Table:
    """Collect features, target and key of the chosen rows with a key up to a limit."""
    names = [*schema.features, schema.target]
    types = {field.name: field for field in dataset.spark_types(schema).fields}
    kinds = StructType([*(types[name] for name in names), StructField(KEY, LongType())])

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in (pa.Table.from_batches([batch]) for batch in batches):
            keys = sampling.draw_keys(hash_rows(part, schema), seed, places_of(part))
            is_drawn = (keys <= np.uint64(limit)) & choose(part)
            listed = part.select(names).append_column(KEY, pa.array(keys.view(np.int64)))
            yield from listed.filter(pa.array(is_drawn)).to_batches()

    return rows.mapInArrow(work, kinds).toArrow()


def number_equal_rows(rows: DataFrame) -> DataFrame:
    """Number the rows that are equal to each other, so that each is drawn by itself."""
    equal = Window.partitionBy(*map(column, rows.columns)).orderBy(F.lit(0))
    return rows.withColumn(PLACE, F.row_number().over(equal))


def draw(
    rows: DataFrame,
    config: Config,
    n_offered: int,
    choose: Callable[[pa.Table], Mask],
    *,
    by_place: bool,
) -> pd.DataFrame:
    """Draw `training.max_rows` of the chosen rows at random, in the order of their keys.

    Parameters
    ----------
    rows : pyspark.sql.DataFrame
        The dataset.
    config : Config
        Its schema, and the settings of the training.
    n_offered : int
        The number of chosen rows.
    choose : callable
        A picklable function from rows of a partition to a mask of the chosen rows.
    by_place : bool
        Whether the dataset may have equal rows, which are drawn each by itself.

    Returns
    -------
    pandas.DataFrame of shape (n_drawn_rows, n_columns)
        Features and target. The rows and their order depend on the set of rows and on
        `training.random_state` alone.
    """
    schema, settings = config.schema, config.training
    n_wanted = n_offered if settings.max_rows is None else min(settings.max_rows, n_offered)
    offered = number_equal_rows(rows) if by_place else rows
    limit = limit_key(n_wanted, n_offered) if n_offered else 0
    while True:
        found = collect_below(offered, schema, limit, settings.random_state, choose)
        if found.num_rows >= n_wanted or limit == LARGEST_KEY:
            break
        limit = min(2 * limit, LARGEST_KEY)
    keys = found[KEY].to_numpy().view(np.uint64)
    order = np.argsort(keys, kind="stable")[:n_wanted]
    drawn: pd.DataFrame = found.drop_columns([KEY]).take(pa.array(order)).to_pandas()
    return drawn


def describe_numbers(rows: DataFrame, schema: Schema) -> dict[str, list[Any]]:
    """Compute the aggregates of all numeric columns in one pass."""
    each = [number_aggregates(name, schema.target) for name in schema.numeric]
    results = iter(aggregate(rows, [one for of_column in each for one in of_column]))
    return {
        name: [next(results) for _ in of_column]
        for name, of_column in zip(schema.numeric, each, strict=True)
    }


def make_statistics(results: Sequence[Any], n_rows: int, bins: Bins) -> NumberStatistics:
    """Return the statistics of a column from the results of its aggregates."""
    n_values, *numbers = results[:5]
    mean, deviation, median, stayed = (math.nan if n is None else float(n) for n in numbers)
    return NumberStatistics(n_values, n_rows - n_values, mean, deviation, median, stayed, bins)


def scan(
    path: Path, config: Config, *, by_place: bool, comparison: Comparison | None = None
) -> ScannedDataset:
    """Find the facts of all rows of a dataset in parts, and draw rows, as `dataset_scan.scan` does.

    Parameters
    ----------
    path : Path
        A dataset in parts.
    config : Config
        The cluster, the schema of the dataset, and the settings of the training.
    by_place : bool
        Whether the dataset may have equal rows.
    comparison : Comparison, optional
        The choice of rows to compare with a reference.

    Returns
    -------
    ScannedDataset
        The facts of all rows, and the drawn rows on this machine.

    Raises
    ------
    ClusterError
        If the cluster does not succeed.
    """
    schema, identity = config.schema, dataset.read_identity(path)
    with cluster.open_cluster(config.engine) as session:
        rows = dataset.read_parts(session, path, schema)
        numbers = describe_numbers(rows, schema) if schema.numeric else {}
        edges = {name: find_edges(rows, name, *found[5:]) for name, found in numbers.items()}
        counted = count_rows(rows, schema, edges, comparison)
        drawn = draw(
            rows, config, counted.n_rows, lambda part: np.ones(part.num_rows, np.bool_),
            by_place=by_place,
        )  # fmt: skip
        compared = draw(
            rows, config, counted.n_to_compare, lambda part: find_to_compare(part, comparison),
            by_place=by_place,
        ) if counted.n_to_compare else drawn[:0]  # fmt: skip
    return ScannedDataset(
        sha256=identity.sha256, schema=schema, n_rows=counted.n_rows,
        n_positives=counted.n_positives, categories=counted.categories, row_hashes=counted.hashes,
        rows=drawn, compared=compared, n_to_compare=counted.n_to_compare,
        numeric={
            name: make_statistics(
                found, counted.n_rows, Bins(edges=edges[name], counts=tuple(counted.bins[name]))
            )
            for name, found in numbers.items()
        },
    )  # fmt: skip
