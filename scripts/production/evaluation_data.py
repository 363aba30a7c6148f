"""Reads on this machine the labelled rows on which models are compared, wherever they are."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scripts.core import capacity
from scripts.core.config import Config, Schema
from scripts.data import dataset, deduplicate
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.engine import input_folders

# Below the output, and neither dated nor a leftover: a file is brought again when it has changed.
BROUGHT = "testdata"
# A table of test data is kept while the run goes on if so many of its size fit into memory.
N_FITTING = 4

Counted = tuple[pd.DataFrame, Sequence[FileReading], Dropped]


class EvaluationData:
    """The labelled rows on which models are compared, read once for each schema.

    Parameters
    ----------
    config : Config
        Where the test data is, and how much memory may be used.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._place: Path | None = None
        self._kept: list[tuple[Schema, Counted]] = []

    def _find_place(self) -> Path:
        """Return the folder on this machine; the files of an object store are fetched first."""
        if self._place is None:
            folder = input_folders.open_folder(self._config.test_data_path, self._config)
            self._place = folder.fetch(self._config.output_folder_path / BROUGHT)
        return self._place

    def read_counted(self, schema: Schema) -> Counted:
        """Return the test data by a schema, one reading per file, and the rows that were dropped.

        Parameters
        ----------
        schema : Schema
            That of the model which is to predict.

        Returns
        -------
        tuple of pandas.DataFrame, sequence of FileReading and Dropped
            The table belongs to all who ask, so that nobody may change it. Equal rows are dropped
            only if that is declared.

        Raises
        ------
        DatasetError
            If no usable row is found.
        """
        for known, counted in self._kept:
            if known == schema:
                return counted
        table, readings = dataset.read_test_table(self._find_place(), schema)
        dropped = Dropped()
        if deduplicate.are_dropped_from_test_data(self._config.ingestion):
            whole, table = table, deduplicate.drop_duplicates(table)
            labels = dataset.target(whole, schema), dataset.target(table, schema)
            dropped = deduplicate.count_dropped(*labels)
        n_bytes = sum(found.n_bytes for found in readings)
        if capacity.bound_bytes(N_FITTING * n_bytes, self._config.engine) is None:
            self._kept.append((schema, (table, readings, dropped)))
        return table, readings, dropped

    def read(self, schema: Schema) -> tuple[pd.DataFrame, Sequence[FileReading]]:
        """Return the test data by a schema, and one reading per file, as `read_counted` does."""
        table, readings, _ = self.read_counted(schema)
        return table, readings
