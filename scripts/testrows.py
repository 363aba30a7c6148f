"""Reads on this machine the labelled rows on which models are compared, wherever they are."""

from pathlib import Path

import pandas as pd

from scripts import dataset, duplicates, engines
from scripts.addresses import Address
from scripts.config import Config, Schema
from scripts.duplicates import Dropped
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


def read_counted(config: Config, schema: Schema) -> tuple[pd.DataFrame, list[FileReading], Dropped]:
    """Read the test data as `dataset.read_test_table` does, without equal rows if so declared."""
    table, readings = dataset.read_test_table(find_place(config), schema)
    if not duplicates.are_dropped_from_test_data(config.ingestion):
        return table, readings, Dropped()
    kept = duplicates.drop_duplicates(table)
    labels = dataset.target(table, schema), dataset.target(kept, schema)
    return kept, readings, duplicates.count_dropped(*labels)


def read(config: Config, schema: Schema) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read the test data; equal rows are not counted."""
    table, readings, _ = read_counted(config, schema)
    return table, readings
