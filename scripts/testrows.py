"""Reads on this machine the labelled rows on which models are compared, wherever they are."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scripts import capacity, dataset, input_folders
from scripts.config import Config, Schema
from scripts.findings import FileReading

# Below the output, and neither dated nor a leftover: a file is brought again when it has changed.
BROUGHT = "testdata"
# A table of test data is kept while the run goes on if so many of its size fit into memory.
N_FITTING = 4


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
        self._kept: list[tuple[Schema, pd.DataFrame, Sequence[FileReading]]] = []

    def _find_place(self) -> Path:
        """Return the folder on this machine; the files of an object store are fetched first."""
        if self._place is None:
            folder = input_folders.open_folder(self._config.test_data_path, self._config)
            self._place = folder.fetch(self._config.output_folder_path / BROUGHT)
        return self._place

    def read(self, schema: Schema) -> tuple[pd.DataFrame, Sequence[FileReading]]:
        """Return the test data by a schema, and one reading per file.

        Parameters
        ----------
        schema : Schema
            That of the model which is to predict.

        Returns
        -------
        tuple of pandas.DataFrame and sequence of FileReading
            The table belongs to all who ask, so that nobody may change it.

        Raises
        ------
        DatasetError
            If no usable row is found.
        """
        for known, table, readings in self._kept:
            if known == schema:
                return table, readings
        table, readings = dataset.read_test_table(self._find_place(), schema)
        n_bytes = sum(found.n_bytes for found in readings)
        if capacity.bound_bytes(N_FITTING * n_bytes, self._config.engine) is None:
            self._kept.append((schema, table, readings))
        return table, readings
