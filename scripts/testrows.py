"""Reads on this machine the labelled rows on which models are compared, wherever they are."""

from pathlib import Path

import pandas as pd

from scripts import dataset, engines
from scripts.addresses import Address
from scripts.config import Config, Schema
from scripts.findings import FileReading

# Below the output, and neither dated nor a leftover: a file is brought again when it has changed.
BROUGHT = "testdata"


def find_place(config: Config) -> Path:
    """Say where the test data is here; what is in an object store is brought first."""
    place = config.test_data_path
    if not isinstance(place, Address) or not engines.is_cluster(config):
        return place
    # PySpark and Java are for who has a cluster.
    from scripts import sparkstore  # noqa: PLC0415

    folder = config.output_folder_path / BROUGHT
    sparkstore.bring(place, folder)
    return folder


def read(config: Config, schema: Schema) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read the test data, as `dataset.read_test_table` does."""
    return dataset.read_test_table(find_place(config), schema)
