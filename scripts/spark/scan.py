"""Facts of all rows of a dataset on a cluster, and the rows drawn at random to fit or compare."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from scripts.core.config import Config, Schema
from scripts.data import dataset_scan, deduplicate, sampling
from scripts.data.numeric_column import NumberBuffer
from scripts.data.scanned_dataset import (
    NumberStatistics,
    RowChoice,
    ScannedDataset,
    describe_column,
)
from scripts.spark import cluster, dataset
from scripts.spark.cluster import Batches, column

# A number, its column, and whether its client left.
VALUE, NAME, HAS_LEFT = "value", "name", "left"
# The number of a row among equal rows, its short hash, the key by which it is drawn, and whether it
# is to be compared.
PLACE, HASH, KEY, IS_NEW = "adras place", "adras hash", "adras key", "adras new"


def describe_numbers(rows: DataFrame, schema: Schema, n_rows: int) -> dict[str, NumberStatistics]:
    """Describe each numeric column, with all numbers of a column in a task."""
    if not schema.numeric:
        return {}
    folder = Path(tempfile.gettempdir())

    def work(batches: Batches) -> dict[str, NumberStatistics]:
        """Describe the numbers of the columns of a task."""
        buffers = defaultdict[str, NumberBuffer](lambda: NumberBuffer(n_rows, folder))
        for part in map(pl.DataFrame, batches):
            for (name,), numbers in part.group_by(NAME):
                has_left = numbers[HAS_LEFT].to_numpy()
                buffers[str(name)].add(numbers[VALUE].to_numpy(), has_left)
        return {name: describe_column(buffer.finish(), name) for name, buffer in buffers.items()}

    has_left = (column(schema.target) == 1).alias(HAS_LEFT)
    numbers = rows.unpivot(has_left, [*map(column, schema.numeric)], NAME, VALUE)
    described = cluster.gather(numbers, NAME, work, dict[str, NumberStatistics])
    return {name: described[name] for name in schema.numeric}


def count_categories(rows: DataFrame, schema: Schema) -> dict[str, dict[str, tuple[int, int]]]:
    """Count stayers and leavers of each category of each categorical column."""
    n_left, counts = F.sum(column(schema.target).cast("bigint")), {}
    for name in schema.categorical:
        found = rows.groupBy(column(name)).agg(F.count("*") - n_left, n_left).collect()
        counts[name] = {text: (n_stayed, n_left) for text, n_stayed, n_left in found}
    return counts


def add_keys(
    rows: DataFrame, config: Config, comparison: RowChoice | None, *, by_place: bool = False
) -> DataFrame:
    """Return features and target with HASH, KEY and IS_NEW, equal rows with keys of their own."""
    schema = config.schema
    whole = dataset.arrow_schema(schema)
    names = [*schema.features, schema.target]
    kinds = [(HASH, pa.int64()), (KEY, pa.int64()), (IS_NEW, pa.bool_())]

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Add hash, key and novelty to the rows of a task."""
        for batch in batches:
            part = pl.DataFrame(batch)
            hashes = dataset_scan.hash_rows(part, schema)
            places = part[PLACE].to_numpy().astype(np.uint64) if PLACE in part.columns else None
            keys = sampling.draw_keys(hashes, config.training.random_state, places)
            is_new = np.zeros(part.height, np.bool_)
            if comparison is not None:
                compared = dataset_scan.hash_rows(part, comparison.schema)
                is_new = comparison.choose(deduplicate.short_hashes(compared))
            # As signed numbers in the same order.
            more = {HASH: deduplicate.short_hashes(hashes), KEY: keys >> np.uint64(1)}
            kept = {name: batch[name] for name in names}
            yield pa.table(kept | more | {IS_NEW: is_new})

    equal = Window.partitionBy(*map(column, rows.columns)).orderBy(F.lit(0))
    offered = rows.withColumn(PLACE, F.row_number().over(equal)) if by_place else rows
    return cluster.map_batches(offered, work, pa.schema([*map(whole.field, names), *kinds]))


def smallest_hashes(keyed: DataFrame) -> bytes:
    """Return the smallest short hashes of the rows, as `deduplicate.encode_smallest` does."""
    hashes = keyed.select(column(HASH)).distinct().orderBy(HASH).limit(deduplicate.N_HASHES)
    return deduplicate.encode_smallest(hashes.toArrow()[HASH].to_numpy().astype(np.uint32))


def draw(keyed: DataFrame, n_offered: int, max_rows: int | None) -> pd.DataFrame:
    """Draw at most `max_rows` of the offered rows with keys at random, in the order of the keys.

    The rows and their order depend on the set of rows and on `training.random_state` alone.
    """
    n_wanted = n_offered if max_rows is None else min(max_rows, n_offered)
    for bound in (sampling.likely_bound(max_rows, n_offered), sampling.LARGEST_KEY):
        found = keyed.where(column(KEY) <= bound >> 1).drop(HASH, IS_NEW).toArrow()
        if found.num_rows >= n_wanted:
            break
    drawn: pd.DataFrame = found.sort_by(KEY).slice(0, n_wanted).drop_columns([KEY]).to_pandas()
    return drawn


def scan(
    path: Path, config: Config, *, by_place: bool, comparison: RowChoice | None = None
) -> ScannedDataset:
    """Find the facts of all rows of a dataset in parts, and draw rows, like `dataset_scan.scan`.

    With `by_place` the dataset may have equal rows.
    """
    schema, max_rows = config.schema, config.training.max_rows
    identity = dataset.read_identity(path)
    with cluster.open_cluster(config.engine) as session:
        rows = dataset.read_parts(session, path, schema)
        target = column(schema.target)
        ((n_rows, n_positives),) = rows.agg(F.count(target), F.sum(target.cast("bigint"))).collect()
        numeric = describe_numbers(rows, schema, n_rows)
        categories = count_categories(rows, schema)
        keyed = add_keys(rows, config, comparison, by_place=by_place)
        new = keyed.where(column(IS_NEW))
        n_to_compare = 0 if comparison is None else new.count()
        drawn = draw(keyed, n_rows, max_rows)
        compared = draw(new, n_to_compare, max_rows) if n_to_compare else drawn[:0]
        hashes = smallest_hashes(keyed)
    return ScannedDataset(
        sha256=identity.sha256, schema=schema, n_rows=n_rows, n_positives=n_positives,
        categories=categories, row_hashes=hashes, rows=drawn, compared=compared,
        n_to_compare=n_to_compare, numeric=numeric,
    )  # fmt: skip
