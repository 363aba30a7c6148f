"""The worth of the clients in the test data, if declared in the config."""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import kept_columns
from scripts.data.arrays import Floats
from scripts.engine import input_folders
from scripts.model.logistic_model import Model
from scripts.production.run_context import RunContext

log = logging.getLogger(__name__)


def add_value(schema: Schema, value: str | float | None) -> Schema:
    """Return a schema with the column of the worth."""
    if not isinstance(value, str) or value in schema.columns:
        return schema
    kept = tuple(name for name in schema.ignore if name != value)
    return msgspec.structs.replace(schema, numeric=(*schema.numeric, value), ignore=kept)


def parse_values(texts: Sequence[str], column: str, schema: Schema) -> Floats:
    """Return the worth of clients out of cells that are no feature, NaN without a number.

    A cell that is no number counts as a blank, and the log has an example.
    """
    numbers, wrong = kept_columns.parse_numbers(texts, schema.marks(column))
    if wrong:
        log.warning(
            "worklist.value: the column %r has cells that are no number, such as %r. They count as"
            " blank.", column, wrong[0],
        )  # fmt: skip
    return numbers


def fill_missing(found: Floats, column: str) -> Floats:
    """Return the worth of each client, with the median for missing values.

    Raises
    ------
    DatasetError
        If no client has a worth.
    """
    is_missing = np.isnan(found)
    if len(found) and is_missing.all():
        raise DatasetError(
            f"worklist.value names {column!r}, and none of {len(found)} rows has a number there:"
            " expected the worth of a client in the files of the same clients and days."
        )
    return np.where(is_missing, np.median(found[~is_missing]) if len(found) else 0.0, found)


def find_values(table: pd.DataFrame, value: str | float) -> Floats:
    """Return the worth of each client of a table, with the median for missing values.

    Raises
    ------
    DatasetError
        If no client has a worth.
    """
    if not isinstance(value, str):
        return np.full(len(table), value)
    return fill_missing(np.asarray(table[value], np.float64), value)


def list_paths(context: RunContext) -> Sequence[Path]:
    """Return the files that dated test rows come from: input, then the folder of test data."""
    config, paths = context.config, context.input_paths
    if not paths:
        paths, _ = input_folders.open_folder(config.input_folder_path, config).settle(0)
    if config.tests_latest_rows:
        return paths
    return [*paths, *input_folders.open_folder(config.test_data_path, config).list_tables()]


def search_files(context: RunContext, rows: pd.DataFrame, schema: Schema, value: str) -> Floats:
    """Return the worth of dated test rows out of the files, NaN without one, searched once a run.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    rows : pandas.DataFrame of shape (n_rows, n_columns)
        With the client and the day.
    schema : Schema
        The schema of the dataset.
    value : str
        A column that is no feature.
    """
    keys = rows[[schema.client_key, schema.as_of]]
    if context.test_values is None or not context.test_values[0].equals(keys):
        found = context.engine.kept_columns(list_paths(context), schema, [value], rows)
        context.test_values = keys, parse_values(found[value].tolist(), value, schema)
    return context.test_values[1]


def read_dated(context: RunContext, schema: Schema, value: str) -> tuple[pd.DataFrame, Floats]:
    """Return dated test rows with the worth of each, by client and day out of the files."""
    declared = context.config.schema
    # The worth is found by these two, whatever identified a client for an earlier model.
    by_client = msgspec.structs.replace(
        schema, key=declared.key, date=declared.date, ids=(declared.client_key, declared.as_of)
    )
    table, _ = context.test_data.read(by_client)
    return table, fill_missing(search_files(context, table, by_client, value), value)


def read_test_values(context: RunContext, model: Model) -> tuple[pd.DataFrame, Floats]:
    """Return the test data with the worth of each client.

    Parameters
    ----------
    context : RunContext
        The context of the run, with `worklist.value` in the config.
    model : Model
        The columns to read.

    Returns
    -------
    tuple of pandas.DataFrame and numpy.ndarray of shape (n_rows,)
        Rows that differ in their worth only are not equal, so there may be more of them than
        without it. Dated test rows, which the ingestion wrote, have the worth of the client's row
        of that day in the files.

    Raises
    ------
    DatasetError
        If the test data lacks the column of the worth, or no client has a worth.
    """
    value = context.config.worklist.value
    assert value is not None
    is_feature = not isinstance(value, str) or value in model.schema.features
    if context.config.schema.date and isinstance(value, str) and not is_feature:
        return read_dated(context, model.schema, value)
    table, _ = context.test_data.read(add_value(model.schema, value))
    return table, find_values(table, value)
