"""Dated rows on a cluster: derived columns and outcomes, with all rows of a client in one task.

A task does with the rows of its clients what one machine does with all rows.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import asdict
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.core.config import EngineSettings, OutcomeSettings, Schema
from scripts.data import client_dates, dated_rows, key_spellings, outcome_files, polars_dated
from scripts.data.arrays import Ints
from scripts.data.cells import UNLABELLED
from scripts.data.dated_rows import OF_TEST
from scripts.data.judged_rows import judge_rows
from scripts.data.key_spellings import IS_NEW, KEY, PLACE
from scripts.data.known_outcomes import KnownOutcomes
from scripts.data.outcome_files import RecordFit
from scripts.data.polars_ranges import RowForm
from scripts.data.read_report import FileReading
from scripts.spark import cluster, dataset, read_input
from scripts.spark.cluster import column
from scripts.spark.read_files import FILE, ROW

# Beside the columns of the dataset: the day of a row, and of the client's next row.
DAY, NEXT_DAY = "adras day", "adras next day"
# Whether the outcome of a row is known for good, its client had left, or is in the test fold, and
# whether it is the last row of a client whose outcome is open, or of one who has left.
FLAGS = [f"adras {flag}" for flag in ("mature", "left", "fold", "open", "gone")]
MATURE, LEFT_BEFORE, FOLD, OPEN, GONE = FLAGS
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


def derive(rows: DataFrame, schema: Schema) -> DataFrame:
    """Return the row of each client and day with derived columns, by client and day in a task.

    Days are numbers counted from 1970-01-01.
    """
    kept = dataset.dated_schema(client_dates.dataset_schema(schema))
    kinds = kept.append(pa.field(OF_TEST, pa.bool_()))

    def work(read: pa.Table) -> pa.Table:
        """Derive the columns of the clients of a task."""
        in_order = pl.DataFrame(read).sort(OF_TEST, FILE, ROW)
        derived = polars_dated.add_changes(polars_dated.sort_rows(in_order, schema), schema)
        return derived.select(kinds.names).to_arrow(compat_level=pl.CompatLevel.oldest())

    by_client = rows.repartition(column(schema.client_key))
    return cluster.map_partitions(by_client, work, kinds).persist()


def places_of(rows: pa.Table, schema: Schema) -> pd.DataFrame:
    """Return client and day of rows by client and day, with the numbers of the clients."""
    names = polars_dated.place_names(schema)
    return dated_rows.number_clients(rows.select(names).to_pandas(), schema)


def find_fits(
    rows: DataFrame, records: Sequence[pd.DataFrame], schema: Schema, horizon_days: int
) -> list[RecordFit]:
    """Count the records with a row for each outcome file, by client and day in a task."""
    shared = rows.sparkSession.sparkContext.broadcast(records)
    kinds = pa.schema([(name, pa.int64()) for name in (FILE, *RecordFit.__struct_fields__)])

    def work(read: pa.Table) -> pa.Table:
        """Count the fitting records of the clients of a task."""
        fits = outcome_files.count_fits(shared.value, places_of(read, schema), schema, horizon_days)
        return pa.Table.from_pylist([{FILE: n, **asdict(fit)} for n, fit in enumerate(fits)], kinds)

    found = cluster.map_partitions(rows, work, kinds).toArrow().to_pandas()
    return [RecordFit(*counts) for counts in found.groupby(FILE).sum().to_numpy().tolist()]


def label(
    rows: DataFrame, known: KnownOutcomes, settings: OutcomeSettings | None, schema: Schema
) -> DataFrame:
    """Return the rows with their outcomes as the target, the day as an ISO date, and the flags."""
    whole = dataset.arrow_schema(client_dates.dataset_schema(schema))
    days, flags = [(DAY, pa.int64()), (NEXT_DAY, pa.int64())], [(n, pa.bool_()) for n in FLAGS]
    kinds = pa.schema([*whole, (OF_TEST, pa.bool_()), *days, *flags])
    shared = rows.sparkSession.sparkContext.broadcast(known)

    def work(read: pa.Table) -> pa.Table:
        """Label the rows of the clients of a task."""
        table = places_of(read, schema)
        judged, days = judge_rows(table, shared.value, settings, schema), table[schema.as_of]
        columns = {
            schema.target: judged.found.labels, DAY: days,
            schema.as_of: dated_rows.format_days(days.to_numpy()),
            NEXT_DAY: np.where(dated_rows.is_last(table), NO_DAY, np.roll(days, -1)),
            MATURE: judged.found.is_mature, LEFT_BEFORE: judged.found.left_before,
            FOLD: judged.in_fold, OPEN: judged.is_open, GONE: judged.is_gone,
        }  # fmt: skip
        return pa.table({name: read[name] for name in read.column_names} | columns)

    return cluster.map_partitions(rows, work, kinds).persist()


def count_groups(rows: DataFrame, schema: Schema) -> pd.DataFrame:
    """Count the rows of each day, outcome and use, in the column N_ROWS."""
    names = (DAY, schema.target, MATURE, LEFT_BEFORE, FOLD, GONE, OF_TEST)
    counted: pd.DataFrame = rows.groupBy(*map(column, names)).count().toArrow().to_pandas()
    return counted


def find_moves(rows: DataFrame, extract_days: Ints, schema: Schema) -> pd.DataFrame:
    """Return who is new or absent in an extract, as `key_spellings.find_moves` does.

    The rows are as from `label`, all of a client in a task.
    """
    kinds = pa.schema([(KEY, pa.string()), (PLACE, pa.int32()), (IS_NEW, pa.bool_())])

    def work(read: pa.Table) -> pa.Table:
        """Find the moves of the clients of a task."""
        ordered = polars_dated.to_pandas(pl.DataFrame(read).sort(KEY, DAY))
        keys, days = ordered[KEY], ordered[DAY].to_numpy()
        is_last = key_spellings.are_last(keys)
        found = key_spellings.find_moves(keys, is_last, days, extract_days)
        return pa.Table.from_pandas(found, preserve_index=False)

    places = rows.select(column(schema.client_key).alias(KEY), column(DAY))
    moves: pd.DataFrame = cluster.map_partitions(places, work, kinds).toArrow().to_pandas()
    return moves


def select_groups(rows: DataFrame, groups: pd.DataFrame) -> DataFrame:
    """Return the rows of some of the groups of `count_groups`."""
    names = [str(name) for name in groups if name != N_ROWS]
    wanted = rows.sparkSession.createDataFrame(pa.Table.from_pandas(groups[names]))
    return rows.join(F.broadcast(wanted), names, "left_semi")


def count_shared(training: DataFrame, test: DataFrame, schema: Schema) -> tuple[int, int]:
    """Count the clients of the test rows also in training, and all clients of the test rows."""
    key = column(schema.client_key)
    tested, trained = (rows.select(key).distinct() for rows in (test, training))
    return tested.join(trained, [schema.client_key], "left_semi").count(), tested.count()


class ClusterHistory(Struct, frozen=True):
    """The outcomes of rows on a cluster."""

    engine: EngineSettings
    rows: DataFrame
    schema: Schema

    def find_period(self, day: int) -> pd.DataFrame:
        """Return each client's row at a day, if the outcome of the row is known."""
        return self._find((column(DAY) <= day) & (column(NEXT_DAY) > day))

    def find_labelled(self, days: Sequence[int]) -> pd.DataFrame:
        """Return the rows of some days with a known outcome."""
        return self._find(column(DAY).isin(list(days)))

    def _find(self, chosen: Column) -> pd.DataFrame:
        """Return client, day and outcome of the chosen rows with a known outcome."""
        label = column(self.schema.target).cast("bigint").alias(dated_rows.LABEL)
        client = column(self.schema.client_key).alias(dated_rows.CLIENT)
        with cluster.open_cluster(self.engine):
            rows = self.rows.where(chosen).select(client, column(DAY).alias(dated_rows.DAY), label)
            known = rows.where(column(dated_rows.LABEL) != UNLABELLED)
            # In the same order each time, for the digest of the rows.
            in_order: pd.DataFrame = known.orderBy(*known.columns[:2]).toArrow().to_pandas()
        return in_order
