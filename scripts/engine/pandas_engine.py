"""The engine of a single machine: tables in memory by pandas, large datasets by Polars."""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
import pandas as pd
from msgspec import Struct

from scripts.core import capacity, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config, IngestionSettings, Schema
from scripts.core.name_hashes import NameFilter
from scripts.data import (
    client_dates,
    csv_writer,
    dataset,
    deduplicate,
    kept_columns,
    schema_inference,
    table_reader,
)
from scripts.data.dataset import KnownLabels
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.data.scanned_dataset import ScannedDataset
from scripts.data.schema_inference import Inference
from scripts.engine import dated_in_parts, dated_ingest, mature_rows
from scripts.engine.dated_ingest import DatedIntake
from scripts.engine.mature_rows import MatureInput

if TYPE_CHECKING:
    from scripts.data.polars_dataset import Ingested
    from scripts.data.scanned_dataset import ScannedDataset
    from scripts.model.candidate import FittedCandidate
    from scripts.model.drift import DataDrift
    from scripts.model.logistic_model import Model
    from scripts.model.metrics import Evaluation

DEFAULTS = IngestionSettings()

CleanMore = Callable[[pd.DataFrame], pd.DataFrame]
ReadTestData = Callable[[Schema], tuple[pd.DataFrame, Sequence[FileReading], Dropped]]

log = logging.getLogger(__name__)


def find_todays_clients(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return today's clients: the last row of each client, if without a label.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of all files in file order.
    schema : Schema
        Its columns; without identifiers each row is a client.

    Returns
    -------
    pandas.DataFrame of shape (n_clients, n_columns)
        The last row of each client, if unlabelled. A later row with a label is the outcome of a
        client, who is then not among them.
    """
    _, unlabelled = dataset.split_unlabelled(table, schema)
    if unlabelled.empty or not schema.ids:
        return unlabelled
    names = dataset.client_names(table, schema)
    # Only the rows of these clients are compared: there may be millions of others.
    mentioned = names.isin(dataset.client_names(unlabelled, schema))
    last = table[mentioned & ~names.where(mentioned).duplicated(keep="last")]
    return dataset.split_unlabelled(last, schema)[1]


def clean(
    table: pd.DataFrame, clean_more: CleanMore | None, *, drop_equal: bool = True
) -> pd.DataFrame:
    """Return a table after `clean_more`, if defined, without equal rows if they are dropped."""
    cleaned = table if clean_more is None else clean_more(table)
    return deduplicate.drop_duplicates(cleaned) if drop_equal else cleaned


def read_table(
    paths: Sequence[Path],
    schema: Schema,
    settings: IngestionSettings,
    clean_more: CleanMore | None = None,
) -> tuple[pd.DataFrame, Dropped, pd.DataFrame, list[FileReading]]:
    """Read files like `read_input`, with the number of rows dropped by cleaning."""
    table, readings = dataset.read_tables(paths, schema, needs_label=False)
    labelled, _ = dataset.split_unlabelled(table, schema)
    drop_equal = deduplicate.are_dropped_from_input(settings, schema)
    cleaned = clean(labelled, clean_more, drop_equal=drop_equal)
    # A cleaning that renames the target fails later, with a message.
    labels = dataset.target(cleaned if schema.target in cleaned else labelled, schema)
    dropped = deduplicate.count_dropped(dataset.target(labelled, schema), labels)
    return cleaned, dropped, find_todays_clients(table, schema), readings


def read_input(
    paths: Sequence[Path],
    schema: Schema,
    settings: IngestionSettings = DEFAULTS,
    clean_more: CleanMore | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, list[FileReading]]:
    """Read and clean files in the order given, without any output file.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        Their columns.
    settings : IngestionSettings
        Whether equal rows are dropped.
    clean_more : callable, optional
        The cleaning of this installation.

    Returns
    -------
    tuple of pandas.DataFrame, pandas.DataFrame and list of FileReading
        The cleaned rows to train on; today's clients; one report per file.

    Raises
    ------
    DatasetError
        If no usable row is found.
    """
    table, _, clients, readings = read_table(paths, schema, settings, clean_more)
    return table, clients, readings


class TableIntake(Struct, frozen=True):
    """The result of an ingestion before the dataset is written: CSV bytes, clients, reports.

    The classes of the dropped rows are known once the dataset is written.
    """

    n_rows: int
    n_labelled: int
    dropped: Dropped
    parts: Iterable[bytes]
    clients: pd.DataFrame
    readings: Sequence[FileReading]

    def write(self, folder: Path, stamp: str) -> tuple[Path, int]:
        """Write the dataset and return the path and the number of rows."""
        path = Kind.DATASET.path(folder, stamp)
        files.write_whole(path, self.parts)
        return path, self.n_rows


def from_result(result: "Ingested") -> TableIntake:
    """Return the rows of a dataset as they are written."""
    return TableIntake(
        result.n_rows, result.n_labelled, result.dropped, result.parts, result.clients,
        result.readings,
    )  # fmt: skip


def ingest_files(
    paths: Sequence[Path], schema: Schema, config: Config, clean_more: CleanMore | None = None
) -> TableIntake:
    """Read and clean files in the order given: as a table, or in parts if they are large.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        Their columns.
    config : Config
        `engine.memory_limit_gb`, and the folder for rows beyond the memory limit.
    clean_more : callable, optional
        The cleaning of this installation.

    Returns
    -------
    TableIntake
        The rows and their order are always those of `read_input`.

    Raises
    ------
    DatasetError
        If no usable row is found.
    """
    n_bytes = files.total_bytes(paths)
    bound = capacity.bound_bytes(n_bytes, config.engine)
    drop_equal = deduplicate.are_dropped_from_input(config.ingestion, schema)
    if bound is not None:
        log.info("The input may not fit into memory, so it goes through files in parts.")
        return from_result(
            table_reader.import_polars().ingest_in_files(
                paths, schema, config.output_folder_path,
                bound_bytes=bound, drop_equal=drop_equal, clean=clean_more,
            )
        )  # fmt: skip
    if table_reader.are_large(paths):
        ingest = table_reader.import_polars().ingest
        return from_result(ingest(paths, schema, drop_equal=drop_equal, clean=clean_more))
    table, dropped, clients, readings = read_table(paths, schema, config.ingestion, clean_more)
    n_labelled, parts = len(table) + dropped.n_rows, csv_writer.encode_table(table)
    return TableIntake(len(table), n_labelled, dropped, parts, clients, readings)


def bound_dated(paths: Sequence[Path], config: Config) -> int | None:
    """Return the memory for the rows of dated files and test files, None if all rows fit."""
    test_paths = [] if config.tests_latest_rows else files.list_tables(config.test_data_path)
    return capacity.bound_bytes(files.total_bytes([*paths, *test_paths]), config.engine)


def ingest_dated(
    paths: Sequence[Path], schema: Schema, config: Config, clean_more: CleanMore | None
) -> DatedIntake:
    """Read and clean dated files in memory, or in parts if they may not fit."""
    bound = bound_dated(paths, config)
    if bound is None:
        return dated_ingest.ingest_files(paths, schema, config, clean_more)
    return dated_in_parts.ingest_files(
        paths, schema, config, clean_more, client_dates.today(), bound
    )


def read_mature(paths: Sequence[Path], schema: Schema, config: Config) -> MatureInput:
    """Read the mature rows of dated files, or of a share of the clients if beyond memory."""
    bound, today = bound_dated(paths, config), client_dates.today()
    if bound is not None:
        return dated_in_parts.read_mature(paths, schema, config, today, bound)
    read = dated_ingest.read_input(paths, schema, config, today)
    dated_ingest.check_mature(read, config)
    table = read.rows.select(read.found.is_mature, read.found.labels)
    return mature_rows.gather(table, read, schema)


def import_models() -> ModuleType:
    """Import the operations with a model, and return the module."""
    # scikit-learn and scipy: ingestion must not pay for their import.
    from scripts.engine import pandas_models  # noqa: PLC0415

    return pandas_models


class PandasEngine(Struct, frozen=True):
    """The operations on tables on a single machine."""

    config: Config
    dataset_kind: Kind = Kind.DATASET

    def infer_schema(self, paths: Sequence[Path], declared: Schema) -> Inference:
        """Infer the undeclared part of a schema from files."""
        return schema_inference.infer(paths, declared)

    def ingest(
        self, paths: Sequence[Path], schema: Schema, clean_more: CleanMore | None
    ) -> TableIntake | DatedIntake:
        """Read files in the order given, clean the labelled rows and drop duplicates."""
        if schema.date:
            return ingest_dated(paths, schema, self.config, clean_more)
        return ingest_files(paths, schema, self.config, clean_more)

    def read_mature(self, paths: Sequence[Path], schema: Schema) -> MatureInput:
        """Read the rows of dated files whose outcome is known for good, as a table."""
        return read_mature(paths, schema, self.config)

    def fit(self, path: Path, schema: Schema, scan: "ScannedDataset | None") -> "FittedCandidate":
        """Fit a model to a dataset file, or to a scan of the file."""
        config = msgspec.structs.replace(self.config, schema=schema)
        candidate: FittedCandidate = import_models().read_and_fit(path, config, scan)
        return candidate

    def score(
        self, model: "Model", read_test_data: ReadTestData
    ) -> "tuple[Evaluation, Sequence[FileReading], Dropped]":
        """Measure a model on the test data of the installation."""
        table, readings, dropped = read_test_data(model.schema)
        return import_models().metrics.evaluate_model(model, table), readings, dropped

    def compare_drift(
        self, path: Path, schema: Schema, model: "Model | None"
    ) -> "tuple[DataDrift, ScannedDataset | None]":
        """Return a dataset's drift since the training of a model, and a large dataset's scan."""
        config = msgspec.structs.replace(self.config, schema=schema)
        compared: tuple[DataDrift, ScannedDataset | None] = import_models().compare_drift(
            path, config, model
        )
        return compared

    def kept_columns(
        self, paths: Sequence[Path], schema: Schema, columns: Sequence[str], clients: pd.DataFrame
    ) -> pd.DataFrame:
        """Return columns of today's clients beside the features, as texts from input files."""
        return kept_columns.read(paths, schema, columns, clients)

    def outcome_labels(self, path: Path, schema: Schema, wanted: NameFilter) -> KnownLabels:
        """Collect the labels of the wanted clients from a dataset."""
        # In parts: the rows may exceed the memory, and few of them are these clients' rows.
        return dataset.collect_labels(dataset.iterate_dataset(path, schema), schema, wanted)

    def close(self) -> None:
        """Do nothing, without a cluster to release."""
