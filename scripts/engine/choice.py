"""The engine of a command: the work on tables that pandas and Spark each do in their own way."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd

from scripts.core import capacity
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.data.chunked_dataset import Digest
from scripts.data.dataset import Labels
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.data.schema_inference import Inference
from scripts.engine.pandas_engine import CleanMore, PandasEngine
from scripts.model.candidate import Candidate
from scripts.model.drift import DataDrift
from scripts.model.logistic_model import Model
from scripts.model.metrics import Evaluation

ReadTestData = Callable[[Schema], tuple[pd.DataFrame, Sequence[FileReading], Dropped]]


class Intake(Protocol):
    """The result of reading the input: rows to write, today's clients, a report of each file."""

    @property
    def n_labelled(self) -> int:
        """Return the number of rows with a label before cleaning."""

    @property
    def dropped(self) -> Dropped:
        """Return how many rows cleaning left out; by class when the dataset has been written."""

    @property
    def clients(self) -> pd.DataFrame:
        """Return today's clients: the rows without a label."""

    @property
    def readings(self) -> Sequence[FileReading]:
        """Return one report per file."""

    def write(self, folder: Path, stamp: str) -> tuple[Path, int]:
        """Write the dataset; return its path and the number of its rows."""


class Engine(Protocol):
    """The work on tables, on this machine or on a cluster, with the same results."""

    @property
    def dataset_kind(self) -> Kind:
        """Return the kind of artifact that a dataset of this engine is."""

    def infer_schema(self, paths: Sequence[Path], declared: Schema) -> Inference:
        """Infer the part of a schema that is not declared."""

    def ingest(self, paths: Sequence[Path], schema: Schema, clean_more: CleanMore | None) -> Intake:
        """Read files in the order given, clean the labelled rows and drop duplicates."""

    def fit(self, path: Path, schema: Schema, read: Digest | None) -> Candidate:
        """Fit a model to a dataset; `read` is the dataset where it is in memory already."""

    def score(
        self, used: Model, read_test_data: ReadTestData
    ) -> tuple[Evaluation, Sequence[FileReading], Dropped]:
        """Measure a model on the test data; report its files and the rows dropped, too."""

    def compare_drift(
        self, path: Path, schema: Schema, used: Model | None
    ) -> tuple[DataDrift, Digest | None]:
        """Compare a dataset with that of a model; return the dataset, too, if it is in memory."""

    def outcome_labels(self, path: Path, schema: Schema, wanted: set[str]) -> dict[str, Labels]:
        """Collect the labels of the wanted clients from a dataset."""

    def close(self) -> None:
        """Release the cores of a cluster."""


def choose_engine(config: Config) -> Engine:
    """Choose the engine that config.json names; refuse Spark without PySpark."""
    if capacity.is_cluster(config):
        # PySpark and Java are for who has a cluster.
        from scripts.engine import spark_engine  # noqa: PLC0415

        return spark_engine.SparkEngine(config)
    return PandasEngine(config)
