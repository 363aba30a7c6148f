"""The labelled test data for comparing models, fetched to this machine and read once."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pandas as pd

from scripts.core import artifacts, capacity
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.errors import InsufficientDataError
from scripts.data import csv_reader, csv_writer, dataset, deduplicate
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.engine import input_folders

# A folder below the output without a date, which retention therefore keeps: only changed files are
# fetched again.
# A test table stays in memory during the run if memory has room for so many of the same size.
N_FITTING = 4

TestTable = tuple[pd.DataFrame, Sequence[FileReading], Dropped]


class EvaluationData:
    """The labelled test data, read once for each schema.

    Parameters
    ----------
    config : Config
        With the folder of the test data and the memory limit.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder: Path | None = None
        self._kept: list[tuple[Schema, TestTable]] = []

    def _find_folder(self) -> Path:
        """Return the local folder of the test data, after fetching files of an object store."""
        if self._folder is None:
            folder = input_folders.open_folder(self._config.test_data_path, self._config)
            self._folder = folder.fetch(self._config.output_folder_path / artifacts.FETCHED_TESTS)
        return self._folder

    def _read_dated(self, schema: Schema) -> tuple[pd.DataFrame, Sequence[FileReading]]:
        """Read the test rows written by the latest ingestion of dated files."""
        folder = self._config.output_folder_path
        path = artifacts.find_latest(folder, Kind.TEST_ROWS, "ingestion")
        header = csv_reader.peek_header(path, Schema(ids=(), numeric=(), separator=","))
        # A model of an earlier schema may have had other identifiers, which do not matter here.
        ids = tuple(name for name in schema.ids if name in header)
        wanted = csv_writer.ingested_schema(msgspec.structs.replace(schema, ids=ids))
        table, readings = dataset.read_files([path], wanted)
        dataset.check_ingested(readings[0])
        if table.empty:
            raise InsufficientDataError(
                "There are no test rows yet: the mature rows of no period have both labels."
            )
        return table, readings

    def read_counted(self, schema: Schema) -> TestTable:
        """Return the test table of a schema, a reading per file, and the dropped duplicates.

        Parameters
        ----------
        schema : Schema
            The schema of the model to evaluate.

        Returns
        -------
        tuple of pandas.DataFrame, sequence of FileReading and Dropped
            The table is shared by all callers, and none may change it. Equal rows are dropped only
            if config.json declares them duplicates.

        Raises
        ------
        DatasetError
            If the files have no usable row.
        """
        for known, kept in self._kept:
            if known == schema:
                return kept
        if self._config.schema.date:
            table, readings = self._read_dated(schema)
        else:
            table, readings = dataset.read_test_table(self._find_folder(), schema)
        dropped = Dropped()
        if deduplicate.are_dropped_from_test_data(self._config.ingestion):
            whole, table = table, deduplicate.drop_duplicates(table)
            labels = dataset.target(whole, schema), dataset.target(table, schema)
            dropped = deduplicate.count_dropped(*labels)
        n_bytes = sum(reading.n_bytes for reading in readings)
        if capacity.bound_bytes(N_FITTING * n_bytes, self._config.engine) is None:
            self._kept.append((schema, (table, readings, dropped)))
        return table, readings, dropped

    def read(self, schema: Schema) -> tuple[pd.DataFrame, Sequence[FileReading]]:
        """Return the test table of a schema and a reading per file, like `read_counted`."""
        table, readings, _ = self.read_counted(schema)
        return table, readings
