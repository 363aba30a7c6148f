"""Dated rows on a cluster: derived columns and outcomes, with all rows of a client in one task.

A task does with the rows of its clients what one machine does with all rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.core.config import EngineSettings, OutcomeSettings, Schema
from scripts.data import client_dates, dated_rows, outcomes, polars_dated, time_split
from scripts.data.cells import UNLABELLED
from scripts.data.dated_rows import OF_TEST
from scripts.data.outcomes import Fit, Outcomes
from scripts.data.polars_ranges import RowForm
from scripts.data.read_report import FileReading
from scripts.data.time_split import TimeSplit
from scripts.spark import cluster, dataset, read_input
from scripts.spark.cluster import column
from scripts.spark.read_files import FILE, ROW

# Beside the columns of the dataset: the day of a row, and of the client's next row.
DAY, NEXT_DAY = "adras day", "adras next day"
# Whether the outcome of a row is known for good, its client had left, or is in the test fold, and
# whether it is the last row of a client whose outcome is open.
MATURE, LEFT_BEFORE, FOLD, OPEN = "adras mature", "adras left", "adras fold", "adras open"
FLAGS = (MATURE, LEFT_BEFORE, FOLD, OPEN)
# The next day of a client's last row.
NO_DAY = 2**31
N_ROWS = "count"


def read_rows(
    session: SparkSession, paths: Sequence[Path], test_paths: Sequence[Path], form: RowForm
) -> tuple[DataFrame, list[FileReading], list[FileReading]]:
    """Read files, and files of test data, into rows with OF_TEST and the reports of both."""
    read, readings = read_input.read_rows(session, paths, form)
    rows = read.withColumn(OF_TEST, F.lit(False))
    if not test_paths:
        return rows, readings, []
    tested, test_readings = read_input.read_rows(session, test_paths, form)
    return rows.unionAll(tested.withColumn(OF_TEST, F.lit(True))), readings, test_readings


def derived_kinds(schema: Schema) -> dict[str, str]:
    """Return the Spark types of rows with derived columns, in which days are numbers."""
    kinds = dataset.column_kinds(client_dates.dataset_schema(schema))
    return kinds | {schema.as_of: "bigint", OF_TEST: "boolean"}


def derive(rows: DataFrame, schema: Schema) -> DataFrame:
    """Return the row of each client and day with derived columns, by client and day in a task."""
    kinds = derived_kinds(schema)

    def work(read: pa.Table) -> pa.Table:
        in_order = pl.DataFrame(read).sort(OF_TEST, FILE, ROW)
        derived = polars_dated.add_derived(polars_dated.sort_rows(in_order, schema), schema)
        arrow = derived.select([*kinds]).to_arrow(compat_level=pl.CompatLevel.oldest())
        return arrow.cast(cluster.arrow_schema(kinds))

    by_client = rows.repartition(column(schema.client_key))
    return cluster.map_partitions(by_client, work, kinds).persist()


def places_of(rows: pa.Table, schema: Schema) -> pd.DataFrame:
    """Return client and day of rows by client and day, with the numbers of the clients."""
    names = [schema.client_key, schema.as_of, schema.target, OF_TEST]
    return dated_rows.number_clients(rows.select(names).to_pandas(), schema)


class PartFit(msgspec.Struct, frozen=True):
    """The first and the last day of the rows of a partition, and the fit of each outcome file."""

    days: tuple[int, int]
    fits: list[tuple[int, int]]


def find_fits(
    rows: DataFrame, records: Sequence[pd.DataFrame], schema: Schema, horizon_days: int
) -> tuple[list[Fit], tuple[int, int]]:
    """Count the records of each outcome file that belong to a row.

    Parameters
    ----------
    rows : pyspark.sql.DataFrame
        The rows by client and day in each task, at least one.
    records : sequence of pandas.DataFrame
        The records of each file.
    schema : Schema
        With key and date.
    horizon_days : int
        The days after a row in which a client may leave.

    Returns
    -------
    tuple of list of Fit and tuple of int and int
        The fit of each file, and the first and the last day of all rows.
    """
    shared = rows.sparkSession.sparkContext.broadcast(records)

    def work(parts: Iterator[pa.Table]) -> bytes:
        found = [*parts]
        if not found:
            return msgspec.json.encode(None)
        table = places_of(pa.concat_tables(found), schema)
        fits = outcomes.count_fits(shared.value, table, schema, horizon_days)
        days = table[schema.as_of]
        counts = [(fit.n_known, fit.n_fitting) for fit in fits]
        return msgspec.json.encode(PartFit((int(days.min()), int(days.max())), counts))

    pieces = [msgspec.json.decode(p, type=PartFit | None) for p in cluster.gather(rows, work)]
    parts = [part for part in pieces if part is not None]
    sums = np.sum([part.fits for part in parts], axis=0).reshape(-1, 2).tolist()
    days = [part.days for part in parts]
    return [Fit(*of_file) for of_file in sums], (min(d[0] for d in days), max(d[1] for d in days))


def label(
    rows: DataFrame, known: Outcomes, settings: OutcomeSettings | None, schema: Schema
) -> DataFrame:
    """Return the rows with their outcomes as the target, the day as an ISO date, and the flags."""
    kinds = derived_kinds(schema) | {schema.as_of: "string", DAY: "bigint", NEXT_DAY: "bigint"}
    kinds |= dict.fromkeys(FLAGS, "boolean")
    shared = rows.sparkSession.sparkContext.broadcast(known)

    def work(read: pa.Table) -> pa.Table:
        table = places_of(read, schema)
        found = outcomes.label_rows(table, shared.value, settings, schema)
        days, of_test = table[schema.as_of].to_numpy(), table[OF_TEST].to_numpy()
        is_open = np.zeros(len(table), np.bool_)
        is_open[~of_test] = dated_rows.is_last(table[~of_test])
        is_open &= (table[schema.target].to_numpy() == UNLABELLED) & ~found.left_after
        following = np.where(dated_rows.is_last(table), NO_DAY, np.roll(days, -1))
        columns = {
            schema.target: found.labels, schema.as_of: dated_rows.format_days(days),
            DAY: days, NEXT_DAY: following, MATURE: found.is_mature,
            LEFT_BEFORE: found.left_before, OPEN: is_open,
            FOLD: time_split.in_fold(table[schema.client_key]),
        }  # fmt: skip
        kept = {name: read[name] for name in kinds if name not in columns}
        return pa.table(kept | columns).select([*kinds]).cast(cluster.arrow_schema(kinds))

    return cluster.map_partitions(rows, work, kinds).persist()


def count_groups(rows: DataFrame, schema: Schema) -> pd.DataFrame:
    """Count the rows of each day, outcome and use, in the column N_ROWS."""
    names = (DAY, schema.target, MATURE, LEFT_BEFORE, FOLD, OF_TEST)
    counted: pd.DataFrame = rows.groupBy(*map(column, names)).count().toArrow().to_pandas()
    return counted


def choose_training(parts: TimeSplit, *, by_time: bool) -> Column:
    """Return which rows `time_split.split_rows`, or the folder of test data, chose for training."""
    if not by_time:
        return column(MATURE) & ~column(OF_TEST)
    chosen = column(MATURE) & (column(DAY) <= F.lit(parts.last_training_day))
    is_by_fold = parts.first_test_day is not None and not parts.is_by_time
    return chosen & ~column(FOLD) if is_by_fold else chosen


def choose_test(parts: TimeSplit, *, by_time: bool) -> Column:
    """Return which rows are the test."""
    if not by_time:
        return column(MATURE) & column(OF_TEST)
    inside = column(DAY).between(F.lit(parts.first_test_day), F.lit(parts.last_test_day))
    return column(MATURE) & inside if parts.is_by_time else column(MATURE) & inside & column(FOLD)


def count_shared(training: DataFrame, test: DataFrame, schema: Schema) -> tuple[int, int]:
    """Count the clients of the test rows that are in training too, and all clients of the test."""
    tested, trained = (
        rows.select(column(schema.client_key)).distinct() for rows in (test, training)
    )
    return tested.join(trained, [schema.client_key], "left_semi").count(), tested.count()


def collect(rows: DataFrame, schema: Schema) -> pd.DataFrame:
    """Collect rows as a table of the pandas engine, by day and client."""
    order = (schema.as_of, schema.client_key)
    return read_input.to_pandas(rows, client_dates.dataset_schema(schema), order)


@dataclass(frozen=True)
class ClusterHistory:
    """The outcomes of rows on a cluster."""

    engine: EngineSettings
    rows: DataFrame
    schema: Schema

    def find_period(self, day: int) -> pd.DataFrame:
        """Return the row that each client had at a day, where the outcome of the row is known."""
        return self._find((column(DAY) <= day) & (column(NEXT_DAY) > day))

    def find_labelled(self, days: Sequence[int]) -> pd.DataFrame:
        """Return the rows of some days with a known outcome."""
        return self._find(column(DAY).isin(list(days)))

    def _find(self, chosen: Column) -> pd.DataFrame:
        """Return client, day and outcome of the chosen rows with a known outcome."""
        schema, target = self.schema, column(self.schema.target)
        with cluster.open_cluster(self.engine):
            found: pd.DataFrame = (
                self.rows.where(chosen & (target != UNLABELLED))
                .select(
                    column(schema.client_key).alias(dated_rows.CLIENT),
                    column(DAY).alias(dated_rows.DAY),
                    target.cast("bigint").alias(dated_rows.LABEL),
                )
                .toArrow()
                .to_pandas()
            )
        return found
