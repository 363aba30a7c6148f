"""Ingestion on a cluster, with the messages of one machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from msgspec import Struct, field
from pyspark.sql import DataFrame

from scripts.core.artifacts import Kind
from scripts.core.config import Config, EngineSettings, Schema
from scripts.core.errors import DatasetError
from scripts.data import deduplicate, read_report
from scripts.data.cells import UNLABELLED
from scripts.data.deduplicate import Dropped
from scripts.data.polars_ranges import RowForm
from scripts.data.read_report import FileReading
from scripts.spark import cluster, dataset, read_input
from scripts.spark.cluster import column
from scripts.spark.read_input import Clean


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
                kept = read_input.count_labels(written, self.schema)
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
        rows, readings = read_input.read_rows(session, paths, RowForm(schema))
        if not read_report.count_usable(readings):
            complaints = read_report.format_complaints(readings)
            raise DatasetError(f"No usable row was found. {complaints}")
        labelled = rows.where(column(schema.target) != UNLABELLED)
        cleaned = read_input.clean(labelled, clean_more, schema, drop_equal=drop_equal)
        return SparkIntake(
            config.engine, schema, cleaned, read_input.find_todays_clients(rows, schema), readings,
            read_input.count_labels(labelled, schema),
        )  # fmt: skip
