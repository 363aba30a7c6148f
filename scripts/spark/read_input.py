"""Ingestion on a cluster: strict reading, today's clients, cleaning, writing of the dataset."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd
from msgspec import Struct, field
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.core.artifacts import Kind
from scripts.core.config import Config, EngineSettings, Schema
from scripts.core.errors import ConfigError, DatasetError
from scripts.data import deduplicate, read_report
from scripts.data.cells import UNLABELLED
from scripts.data.deduplicate import Dropped
from scripts.data.polars_ranges import RowForm
from scripts.data.read_report import FileReading
from scripts.spark import cluster, dataset, read_store
from scripts.spark.cluster import column
from scripts.spark.read_files import FILE, REPORT, ROW

Clean = Callable[[Any], Any]


def read_rows(
    session: SparkSession, paths: Sequence[Path], form: RowForm
) -> tuple[DataFrame, list[FileReading]]:
    """Read files strictly into rows with their order in `FILE` and `ROW`, and a report per file."""
    read, readings = read_store.read_anywhere(session, paths, form)
    refused = [number for number, reading in enumerate(readings) if reading.refused]
    rows = read.where(column(REPORT).isNull() & ~column(FILE).isin(refused))
    return rows.drop(REPORT), readings


def to_pandas(rows: DataFrame, schema: Schema, order: Sequence[str] = (FILE, ROW)) -> pd.DataFrame:
    """Collect rows as a table of the pandas engine, by default in the order of files."""
    return dataset.to_table(rows.orderBy(*map(column, order)).toArrow(), schema)


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
    return to_pandas(unlabelled, schema)


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


class SparkIntake(Struct, frozen=True):
    """The result of reading input files: cleaned rows on the cluster, today's clients, readings.

    `labels` counts the rows of each class before cleaning. `dropped` is known after writing.
    """

    engine: EngineSettings
    schema: Schema
    rows: DataFrame
    clients: pd.DataFrame
    readings: Sequence[FileReading]
    labels: Mapping[int, int]
    dropped: Dropped = field(default_factory=Dropped)

    @property
    def n_labelled(self) -> int:
        """The number of rows with a label before cleaning."""
        return sum(self.labels.values())

    def write(self, folder: Path, stamp: str) -> tuple[Path, int]:
        """Write the dataset as parts, and return the folder and the number of rows."""
        path = Kind.PARTS.path(folder, stamp)
        with cluster.open_cluster(self.engine) as session:
            identity = dataset.write_dataset(self.rows, path, self.schema, self.engine)
            self.dropped.n_rows = self.n_labelled - identity.n_rows
            if self.dropped.n_rows:
                written = dataset.read_parts(session, path, self.schema)
                kept = count_labels(written, self.schema)
                self.dropped.n_positives = self.labels.get(1, 0) - kept.get(1, 0)
            return path, identity.n_rows


def ingest_files(
    paths: Sequence[Path], schema: Schema, config: Config, clean_more: Clean | None
) -> SparkIntake:
    """Read files and clean the training rows on the cluster.

    Raises
    ------
    DatasetError
        If no row is usable.
    """
    drop_equal = deduplicate.are_dropped_from_input(config.ingestion, schema)
    with cluster.open_cluster(config.engine) as session:
        rows, readings = read_rows(session, paths, RowForm(schema))
        if not read_report.count_usable(readings):
            complaints = read_report.format_complaints(readings)
            raise DatasetError(f"No usable row was found. {complaints}")
        labelled = rows.where(column(schema.target) != UNLABELLED)
        return SparkIntake(
            config.engine, schema, clean(labelled, clean_more, schema, drop_equal=drop_equal),
            find_todays_clients(rows, schema), readings, count_labels(labelled, schema),
        )  # fmt: skip
