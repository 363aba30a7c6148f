"""The interface of the engines, pandas and Spark, and the choice of the engine of a command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from scripts.core import capacity
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.name_hashes import NameFilter
from scripts.data.dataset import KnownLabels
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.data.schema_inference import Inference
from scripts.engine import input_folders
from scripts.engine.mature_rows import MatureInput
from scripts.engine.pandas_engine import CleanMore, PandasEngine, ReadTestData

if TYPE_CHECKING:
    from scripts.data.scanned_dataset import ScannedDataset
    from scripts.model.candidate import FittedCandidate
    from scripts.model.drift import DataDrift
    from scripts.model.logistic_model import Model
    from scripts.model.metrics import Evaluation


class Intake(Protocol):
    """The result of an ingestion before the dataset is written."""

    @property
    def n_labelled(self) -> int:
        """Return the number of rows with a label before cleaning."""

    @property
    def dropped(self) -> Dropped:
        """Return the number of rows dropped by cleaning, by class once the dataset is written."""

    @property
    def clients(self) -> pd.DataFrame:
        """Return today's clients: the rows without a label."""

    @property
    def readings(self) -> Sequence[FileReading]:
        """Return the read reports of the files."""

    def write(self, folder: Path, stamp: str) -> tuple[Path, int]:
        """Write the dataset and return the path and the number of rows."""


class Engine(Protocol):
    """The operations on tables, with the same results on a single machine and on a cluster."""

    @property
    def dataset_kind(self) -> Kind:
        """Return the artifact kind of the datasets of the engine."""

    def infer_schema(self, paths: Sequence[Path], declared: Schema) -> Inference:
        """Infer the undeclared part of a schema from files."""

    def ingest(self, paths: Sequence[Path], schema: Schema, clean_more: CleanMore | None) -> Intake:
        """Read files in the order given, clean the labelled rows and drop duplicates."""

    def read_mature(self, paths: Sequence[Path], schema: Schema) -> MatureInput:
        """Read the rows of dated files with a final outcome, as a table."""

    def fit(self, path: Path, schema: Schema, scan: "ScannedDataset | None") -> "FittedCandidate":
        """Fit a model to a dataset file, or to a scan of the file."""

    def score(
        self, model: "Model", read_test_data: ReadTestData
    ) -> "tuple[Evaluation, Sequence[FileReading], Dropped]":
        """Return the scores of a model on the test data, the file reports and the dropped rows."""

    def compare_drift(
        self, path: Path, schema: Schema, model: "Model | None"
    ) -> "tuple[DataDrift, ScannedDataset | None]":
        """Return a dataset's drift since the training of a model, and a large dataset's scan."""

    def kept_columns(
        self, paths: Sequence[Path], schema: Schema, columns: Sequence[str], clients: pd.DataFrame
    ) -> pd.DataFrame:
        """Return columns of today's clients beside the features, as texts from input files."""

    def outcome_labels(self, path: Path, schema: Schema, wanted: NameFilter) -> KnownLabels:
        """Collect the labels of the wanted clients from a dataset."""

    def close(self) -> None:
        """Release the cores of a cluster."""


def choose_engine(config: Config) -> Engine:
    """Return the engine named in config.json."""
    if capacity.is_cluster(config):
        engine: Engine = input_folders.import_spark().SparkEngine(config)
        return engine
    return PandasEngine(config)
