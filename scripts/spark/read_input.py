"""Rows of files on a cluster: strict reading, today's clients, cleaning."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.core.config import Schema
from scripts.core.errors import ConfigError
from scripts.core.files import RemotePath
from scripts.data import dataset as data_dataset
from scripts.data import kept_columns
from scripts.data.cells import UNLABELLED
from scripts.data.kept_columns import CLIENT, DAY
from scripts.data.polars_ranges import RowForm
from scripts.data.read_report import FileReading
from scripts.spark import dataset, read_files, read_store
from scripts.spark.cluster import column
from scripts.spark.read_files import FILE, REPORT, ROW

Clean = Callable[[Any], Any]


def read_rows(
    session: SparkSession, paths: Sequence[Path], form: RowForm
) -> tuple[DataFrame, list[FileReading]]:
    """Read files strictly into rows with their order in `FILE` and `ROW`, and a report per file."""
    stored = [path for path in paths if isinstance(path, RemotePath)]
    if stored:
        read, readings = read_store.read_store(session, stored, form)
    else:
        read, readings = read_files.read_folder(session, paths, form)
    refused = [number for number, reading in enumerate(readings) if reading.refused]
    rows = read.where(column(REPORT).isNull() & ~column(FILE).isin(refused))
    return rows.drop(REPORT), readings


def find_todays_clients(rows: DataFrame, schema: Schema) -> pd.DataFrame:
    """Return today's clients, by the same rule as the pandas engine."""
    is_unlabelled = column(schema.target) == UNLABELLED
    unlabelled = rows.where(is_unlabelled)
    if schema.ids:
        ids = [column(name) for name in schema.ids]
        mentioned = rows.join(unlabelled.select(*ids).distinct(), list(schema.ids), "left_semi")
        everything = F.struct(*(column(name) for name in rows.columns))
        place = F.struct(column(FILE), column(ROW))
        last = mentioned.groupBy(*ids).agg(F.max_by(everything, place).alias("last"))
        unlabelled = last.select("last.*").where(is_unlabelled)
    # Each client becomes a row of the records with values and reasons. Next to that the cost of
    # the probabilities is 1 %, hence no work for the cluster.
    return dataset.to_pandas(unlabelled, schema, (FILE, ROW))


def read_kept_columns(
    session: SparkSession, paths: Sequence[Path], schema: Schema, columns: Sequence[str],
    table: pd.DataFrame,
) -> pd.DataFrame:  # fmt: skip
    """Read columns of today's clients that are no features, as `data.kept_columns.read` does.

    A file that lacks one of the columns is left out: each of them is read for the whole table.
    """
    clients = kept_columns.name_clients(table, schema)
    form = RowForm(kept_columns.reading_schema(schema, columns), has_outcomes=True)
    known, keys = clients[list(schema.client_ids)], list(schema.client_ids)
    if schema.date:
        known, keys = known.assign(**{schema.as_of: clients[DAY]}), [*keys, schema.as_of]
    wanted = F.broadcast(session.createDataFrame(known.drop_duplicates()))
    todays = read_rows(session, paths, form)[0].join(wanted, keys, "left_semi")
    in_order = todays.orderBy(column(FILE), column(ROW)).select(*map(column, [*keys, *columns]))
    found: pd.DataFrame = in_order.toArrow().to_pandas()
    found[CLIENT] = data_dataset.client_names(found, schema)
    found[DAY] = found[schema.as_of] if schema.date else 0
    return kept_columns.join(clients, found, columns)


def apply_cleaning(rows: DataFrame, clean_more: Clean, schema: Schema) -> DataFrame:
    """Apply the user's `clean_more`, written for both engines, to rows of the cluster.

    Raises
    ------
    ConfigError
        If the function works with pandas only.
    """
    try:
        cleaned = nw.to_native(clean_more(nw.from_native(rows)), pass_through=True)
        if not isinstance(cleaned, DataFrame):
            raise TypeError(f"it returned {type(cleaned).__name__}")
        lacking = [name for name in schema.columns if name not in cleaned.columns]
        if lacking:
            raise ConfigError(
                f"clean_more in scripts/ingestion.py leaves out the columns {lacking}, which the"
                " schema names. To train without a column list it in schema.ignore."
            )
        return cleaned.select(*(column(name) for name in schema.columns))
    except (AttributeError, TypeError, NotImplementedError, KeyError) as error:
        raise ConfigError(
            f"clean_more in scripts/ingestion.py does what only pandas can ({error}). On Spark"
            " the table is a lazy frame of narwhals, and what is written for narwhals serves both"
            ' engines: narwhals.from_native(table).filter(narwhals.col("age") > 17).to_native().'
            " See docs/spark.md."
        ) from error


def clean(
    rows: DataFrame, clean_more: Clean | None, schema: Schema, *, drop_equal: bool
) -> DataFrame:
    """Return the rows after `clean_more` and, with `drop_equal`, without duplicates."""
    chosen = rows.select(*(column(name) for name in schema.columns))
    if clean_more is not None:
        chosen = apply_cleaning(chosen, clean_more, schema)
    return chosen.dropDuplicates() if drop_equal else chosen


def count_labels(rows: DataFrame, schema: Schema) -> dict[int, int]:
    """Count the rows of each class."""
    return {int(label): n for label, n in rows.groupBy(column(schema.target)).count().collect()}
