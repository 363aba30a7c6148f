"""What a cluster reads for a dataset, and how it is written there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame

from scripts import cluster, duplicates, sparkdata, sparkreading
from scripts.artifacts import Kind
from scripts.config import Config, EngineSettings, Schema
from scripts.duplicates import Dropped
from scripts.findings import FileReading
from scripts.sparkreading import Clean


@dataclass(frozen=True)
class SparkIntake:
    """What was read: the cleaned rows, which stay on the cluster, today's clients, the findings.

    `labels` counts the rows of each class before cleaning; how many of them were dropped is known
    when the dataset has been written.
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
        """Write the dataset as parts; give the path of their folder and the number of rows."""
        path = Kind.PARTS.path(folder, stamp)
        with cluster.working(self.engine) as session:
            made = sparkdata.write_dataset(self.rows, path, self.schema, self.engine)
            self.dropped.n_rows = self.n_labelled - made.n_rows
            if self.dropped.n_rows:
                written = sparkdata.read_parts(session, path, self.schema)
                kept = sparkreading.count_labels(written, self.schema)
                self.dropped.n_positives = self.labels.get(1, 0) - kept.get(1, 0)
            return path, made.n_rows


def take_in(
    paths: Sequence[Path], schema: Schema, config: Config, clean_more: Clean | None
) -> SparkIntake:
    """Read files and clean the rows to train on, as `pandas_engine.take_in` does on one machine."""
    with cluster.working(config.engine) as session:
        rows, labels, clients, readings = sparkreading.read_input(
            session,
            paths,
            schema,
            clean_more,
            drop_equal=duplicates.are_dropped_from_input(config.ingestion, schema),
        )
    return SparkIntake(config.engine, schema, rows, clients, readings, labels)
