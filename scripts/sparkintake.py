"""What a cluster reads for a dataset, and how it is written there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame

from scripts import cluster, sparkdata, sparkreading
from scripts.artifacts import Kind
from scripts.config import Config, EngineSettings, Schema
from scripts.findings import FileReading
from scripts.sparkreading import Clean


@dataclass(frozen=True)
class SparkIntake:
    """What was read: the cleaned rows, which stay on the cluster, today's clients, the findings."""

    engine: EngineSettings
    schema: Schema
    rows: DataFrame
    clients: pd.DataFrame
    readings: Sequence[FileReading]

    def write(self, folder: Path, stamp: str) -> tuple[Path, int]:
        """Write the dataset as parts; give the path of their folder and the number of rows."""
        path = Kind.PARTS.path(folder, stamp)
        with cluster.working(self.engine):
            made = sparkdata.write_dataset(self.rows, path, self.schema, self.engine)
            return path, made.n_rows


def take_in(
    paths: Sequence[Path], schema: Schema, config: Config, clean_more: Clean | None
) -> SparkIntake:
    """Read files and clean the rows to train on, as `pandas_engine.take_in` does on one machine."""
    with cluster.working(config.engine) as session:
        found = sparkreading.read_input(session, paths, schema, clean_more)
    return SparkIntake(config.engine, schema, *found)
