"""Facts of all rows of a dataset on a cluster, and the rows drawn at random to fit or compare."""

import math
from collections.abc import Callable, Iterator, Sequence
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

from scripts.core.config import Config, Schema
from scripts.data import deduplicate, profile, sampling
from scripts.data.arrays import Mask
from scripts.data.deduplicate import HASH_TYPE
from scripts.data.profile import Bins
from scripts.data.scanned_dataset import Comparison, NumberStatistics, ScannedDataset
from scripts.spark import cluster, dataset
from scripts.spark.cluster import aggregate, column, gather

# Quantiles are exact up to about a million rows. Beyond, the error is at most a millionth of the
# rows.
QUANTILE_ACCURACY = 1_000_000
KEY, PLACE = "adras key", "adras place"

Edges = dict[str, tuple[float, ...]]


class PartCounts(Struct, frozen=True):
    """The counts of a partition: rows to compare, values by bin, and the smallest row hashes."""

    n_to_compare: int
    bins: dict[str, list[int]]
    hashes: bytes


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


def count_categories(rows: DataFrame, schema: Schema) -> dict[str, dict[str, tuple[int, int]]]:
    """Count stayers and leavers of each category of each categorical column."""
    target, counts = column(schema.target), {}
    for name in schema.categorical:
        left = F.sum(target.cast("bigint"))
        found = rows.groupBy(column(name)).agg(F.count(target) - left, left).collect()
        counts[name] = {text: (n_stayed, n_left) for text, n_stayed, n_left in found}
    return counts


def find_to_compare(rows: pa.Table, comparison: Comparison | None) -> Mask:
    """Return a mask of the rows to compare with a reference."""
    if comparison is None:
        return np.zeros(rows.num_rows, np.bool_)
    hashes = deduplicate.hash_arrow_rows(rows, comparison.schema)
    return comparison.choose(deduplicate.short_hashes(hashes))


def count_part(
    rows: pa.Table, schema: Schema, edges: Edges, comparison: Comparison | None
) -> PartCounts:
    """Count some rows of a partition."""
    values = {name: rows[name].to_numpy().astype(np.float64) for name in schema.numeric}
    hashes = deduplicate.short_hashes(deduplicate.hash_arrow_rows(rows, schema))
    return PartCounts(
        n_to_compare=int(find_to_compare(rows, comparison).sum()),
        bins={
            name: profile.count_bins(edges[name], numbers[~np.isnan(numbers)]).tolist()
            for name, numbers in values.items()
        },
        hashes=deduplicate.encode_smallest(hashes),
    )


def merge(parts: Sequence[PartCounts], edges: Edges) -> PartCounts:
    """Add the counts of partitions, of which there may be none."""
    hashes = [np.frombuffer(part.hashes, HASH_TYPE).astype(np.uint32) for part in parts]
    none = [np.zeros(0, np.uint32)]
    return PartCounts(
        n_to_compare=sum(part.n_to_compare for part in parts),
        bins={
            name: [sum(counts) for counts in zip(*(p.bins[name] for p in parts), strict=True)]
            or [0] * (len(of_column) + 1)
            for name, of_column in edges.items()
        },
        hashes=deduplicate.encode_smallest(np.concatenate(none + hashes)),
    )


def count_rows(
    rows: DataFrame, schema: Schema, edges: Edges, comparison: Comparison | None
) -> PartCounts:
    """Count bins, rows to compare and hashes of all rows in one pass."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        whole = merge([], edges)
        for part in parts:
            whole = merge([whole, count_part(part, schema, edges, comparison)], edges)
        return msgspec.json.encode(whole)

    pieces = [msgspec.json.decode(piece, type=PartCounts) for piece in gather(rows, work)]
    return merge(pieces, edges)


def places_of(rows: pa.Table) -> NDArray[np.uint64] | None:
    """Return the number of each row among equal rows, None where no row is equal to another."""
    return rows[PLACE].to_numpy().astype(np.uint64) if PLACE in rows.column_names else None


def collect_below(
    rows: DataFrame, schema: Schema, limit: int, seed: int, choose: Callable[[pa.Table], Mask]
) -> pa.Table:
    """Collect features, target and key of the chosen rows with a key up to a limit."""
    names = [*schema.features, schema.target]
    types = dataset.column_kinds(schema)
    kinds = {name: types[name] for name in names} | {KEY: "bigint"}

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in (pa.Table.from_batches([batch]) for batch in batches):
            keys = sampling.draw_keys(
                deduplicate.hash_arrow_rows(part, schema), seed, places_of(part)
            )
            is_drawn = (keys <= np.uint64(limit)) & choose(part)
            listed = part.select(names).append_column(KEY, pa.array(keys.view(np.int64)))
            yield from listed.filter(pa.array(is_drawn)).to_batches()

    return rows.mapInArrow(work, cluster.ddl(kinds)).toArrow()


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
    limit = sampling.likely_bound(settings.max_rows, n_offered)
    while True:
        found = collect_below(offered, schema, limit, settings.random_state, choose)
        if found.num_rows >= n_wanted or limit == sampling.LARGEST_KEY:
            break
        limit = min(2 * limit, sampling.LARGEST_KEY)
    keys = found[KEY].to_numpy().view(np.uint64)
    order = np.argsort(keys, kind="stable")[:n_wanted]
    drawn: pd.DataFrame = found.drop_columns([KEY]).take(pa.array(order)).to_pandas()
    return drawn


def describe_numbers(rows: DataFrame, schema: Schema) -> tuple[int, int, dict[str, list[Any]]]:
    """Count rows and leavers, and compute the aggregates of all numeric columns, in one pass."""
    target = column(schema.target)
    each = [number_aggregates(name, schema.target) for name in schema.numeric]
    wanted = [F.count(target), F.sum(target.cast("bigint"))]
    n_rows, n_positives, *results = aggregate(rows, wanted + [a for one in each for a in one])
    in_turn = iter(results)
    numbers = {n: [next(in_turn) for _ in of] for n, of in zip(schema.numeric, each, strict=True)}
    return n_rows, n_positives, numbers


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
        n_rows, n_positives, numbers = describe_numbers(rows, schema)
        edges = {name: find_edges(rows, name, *found[5:]) for name, found in numbers.items()}
        counted = count_rows(rows, schema, edges, comparison)
        categories = count_categories(rows, schema)
        drawn = draw(
            rows, config, n_rows, lambda part: np.ones(part.num_rows, np.bool_),
            by_place=by_place,
        )  # fmt: skip
        compared = draw(
            rows, config, counted.n_to_compare, lambda part: find_to_compare(part, comparison),
            by_place=by_place,
        ) if counted.n_to_compare else drawn[:0]  # fmt: skip
    return ScannedDataset(
        sha256=identity.sha256, schema=schema, n_rows=n_rows, n_positives=n_positives,
        categories=categories, row_hashes=counted.hashes,
        rows=drawn, compared=compared, n_to_compare=counted.n_to_compare,
        numeric={
            name: make_statistics(
                found, n_rows, Bins(edges=edges[name], counts=tuple(counted.bins[name]))
            )
            for name, found in numbers.items()
        },
    )  # fmt: skip
