"""The engine of a cluster: the operations of `PandasEngine` with Spark."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pandas as pd
import pyspark
from msgspec import Struct
from msgspec.structs import replace

from scripts.core import progress
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.files import RemotePath
from scripts.core.name_hashes import NameFilter
from scripts.data.dataset import KnownLabels
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.data.scanned_dataset import ScannedDataset
from scripts.data.schema_inference import Inference
from scripts.engine import spark_dated, spark_ingest, store_folder
from scripts.engine.dated_ingest import DatedIntake
from scripts.engine.mature_rows import MatureInput
from scripts.engine.pandas_engine import ReadTestData
from scripts.engine.spark_ingest import SparkIntake
from scripts.engine.store_folder import StoreFolder
from scripts.model import candidate, drift, metrics
from scripts.model.candidate import FittedCandidate
from scripts.model.drift import DataDrift
from scripts.model.logistic_model import Model
from scripts.model.metrics import Evaluation
from scripts.spark import (
    cluster,
    dataset,
    read_input,
    schema_inference,
)
from scripts.spark import scan as spark_scan
from scripts.spark.read_input import Clean


def open_store(place: RemotePath) -> StoreFolder:
    """Return a folder of an object store."""
    return StoreFolder(place)


class SparkEngine(Struct, frozen=True):
    """The operations on tables on a cluster."""

    config: Config
    dataset_kind: Kind = Kind.PARTS

    def infer_schema(self, paths: Sequence[Path], declared: Schema) -> Inference:
        """Infer the undeclared part of a schema from files."""
        return schema_inference.infer(self.config.engine, paths, declared)

    def ingest(
        self, paths: Sequence[Path], schema: Schema, clean_more: Clean | None
    ) -> SparkIntake | DatedIntake:
        """Read files, clean the labelled rows and drop duplicates, without an order of rows."""
        if schema.date:
            return spark_dated.ingest_files(paths, schema, self.config, clean_more)
        return spark_ingest.ingest_files(paths, schema, self.config, clean_more)

    def read_mature(self, paths: Sequence[Path], schema: Schema) -> MatureInput:
        """Read the rows of dated files with a final outcome, as a local table."""
        return spark_dated.read_mature(paths, schema, self.config)

    def scan_dataset(
        self, path: Path, schema: Schema, model: Model | None = None
    ) -> ScannedDataset:
        """Find the facts of a dataset in parts, and draw the rows to fit to and to compare."""
        config = msgspec.structs.replace(self.config, schema=schema)
        return spark_scan.scan(
            path, config, by_place=candidate.has_equal_rows(config),
            comparison=None if model is None else drift.comparison_for(model),
        )  # fmt: skip

    def fit(self, path: Path, schema: Schema, scan: ScannedDataset | None) -> FittedCandidate:
        """Fit a model on this machine to the drawn rows of a dataset in parts."""
        config = msgspec.structs.replace(self.config, schema=schema)
        scan = self.scan_dataset(path, schema) if scan is None else scan
        with progress.shown("Fitting"):
            fitted = candidate.fit_scan(scan, config)
        versions = fitted.model.versions | {"pyspark": pyspark.__version__}
        return replace(fitted, model=msgspec.structs.replace(fitted.model, versions=versions))

    def score(
        self, model: Model, read_test_data: ReadTestData
    ) -> tuple[Evaluation, Sequence[FileReading], Dropped]:
        """Measure a model on the test data of the installation, on this machine."""
        table, copies, dropped = read_test_data(model.schema)
        place = self.config.test_data_path
        readings = copies if model.schema.date else store_folder.as_stored(copies, place)
        return metrics.evaluate_model(model, table), readings, dropped

    def compare_drift(
        self, path: Path, schema: Schema, model: Model | None
    ) -> tuple[DataDrift, ScannedDataset | None]:
        """Return the drift of a dataset in parts since the training of a model, and the scan."""
        scan = self.scan_dataset(path, schema, model)
        return drift.compare_scan(scan, model), scan

    def kept_columns(
        self, paths: Sequence[Path], schema: Schema, columns: Sequence[str], clients: pd.DataFrame
    ) -> pd.DataFrame:
        """Return columns of today's clients beside the features, as texts from input files."""
        with cluster.open_cluster(self.config.engine) as session:
            return read_input.read_kept_columns(session, paths, schema, columns, clients)

    def outcome_labels(self, path: Path, schema: Schema, wanted: NameFilter) -> KnownLabels:
        """Collect the labels of the wanted clients from a dataset in parts."""
        return dataset.collect_labels(self.config.engine, path, schema, wanted)

    def close(self) -> None:
        """Release the cores of the cluster, if there is a session."""
        cluster.close_session()
