"""The engine of a cluster: the same work on tables as that of one machine, by Spark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from scripts import (
    candidates,
    cluster,
    duplicates,
    findings,
    input_folders,
    plainmodel,
    sparkclients,
    sparkdrift,
    sparkinference,
    sparkintake,
    sparkscoring,
    sparktraining,
)
from scripts.artifacts import Kind
from scripts.candidates import Candidate
from scripts.config import Config, Schema
from scripts.digest import Digest
from scripts.drift import DataDrift
from scripts.duplicates import Dropped
from scripts.evaluation import Evaluation
from scripts.findings import FileReading
from scripts.inference import Inference
from scripts.joining import Labels
from scripts.model import Model
from scripts.sparkintake import SparkIntake
from scripts.sparkreading import Clean


@dataclass(frozen=True)
class SparkEngine:
    """The work on tables, on a cluster."""

    config: Config
    dataset_kind: Kind = Kind.PARTS

    def infer_schema(self, paths: Sequence[Path], declared: Schema) -> Inference:
        """Infer the part of a schema that is not declared."""
        return sparkinference.infer(self.config.engine, paths, declared)

    def ingest(
        self, paths: Sequence[Path], schema: Schema, clean_more: Clean | None
    ) -> SparkIntake:
        """Read files, clean the labelled rows and drop duplicates; the rows have no order."""
        return sparkintake.take_in(paths, schema, self.config, clean_more)

    def fit(self, path: Path, schema: Schema, read: Digest | None) -> Candidate:
        """Fit a model to a dataset of the cluster, which sends back numbers only."""
        config = msgspec.structs.replace(self.config, schema=schema)
        fitted = sparktraining.fit(config, path, candidates.package_versions())
        plainmodel.check_equal(fitted.model, fitted.pipeline, fitted.examples)
        y = np.arange(len(fitted.examples)) % 2
        wrapped = candidates.wrap(fitted.pipeline, fitted.model.threshold, fitted.examples, y)
        return Candidate(fitted.model, wrapped)

    def score(
        self,
        used: Model,
        read_test_data: Callable[[Schema], tuple[pd.DataFrame, Sequence[FileReading], Dropped]],
    ) -> tuple[Evaluation, Sequence[FileReading], Dropped]:
        """Measure a model on the test data, which the cluster reads."""
        place = input_folders.open_folder(self.config.test_data_path, self.config)
        drop_equal = duplicates.are_dropped_from_test_data(self.config.ingestion)
        measured, readings, dropped = sparkscoring.score(
            self.config.engine, place.list_tables(), used, drop_equal=drop_equal
        )
        findings.log_readings(readings)
        return measured, readings, dropped

    def compare_drift(
        self, path: Path, schema: Schema, used: Model | None
    ) -> tuple[DataDrift, Digest | None]:
        """Compare a dataset in parts with that of a model; nothing of it is in memory here."""
        return sparkdrift.compare(self.config.engine, path, schema, used), None

    def outcome_labels(self, path: Path, schema: Schema, wanted: set[str]) -> dict[str, Labels]:
        """Collect the labels of the wanted clients from a dataset in parts."""
        return sparkclients.collect_labels(self.config.engine, path, schema, wanted)

    def close(self) -> None:
        """Release the cores of the cluster; nothing happens without a session."""
        cluster.close_session()
