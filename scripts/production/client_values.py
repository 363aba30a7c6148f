"""The worth of the clients in the test data, where the config declares one."""

import msgspec
import numpy as np
import pandas as pd

from scripts.core.config import Schema
from scripts.data.arrays import Floats
from scripts.model.logistic_model import Model
from scripts.production.run_context import RunContext


def add_value(schema: Schema, value: str | float | None) -> Schema:
    """Return a schema with the column of the worth."""
    if not isinstance(value, str) or value in schema.columns:
        return schema
    kept = tuple(name for name in schema.ignore if name != value)
    return msgspec.structs.replace(schema, numeric=(*schema.numeric, value), ignore=kept)


def find_values(table: pd.DataFrame, value: str | float) -> Floats:
    """Return the worth of each client of a table, with the median for missing values."""
    if not isinstance(value, str):
        return np.full(len(table), value)
    found = np.asarray(table[value], np.float64)
    known = found[~np.isnan(found)]
    return np.where(np.isnan(found), np.median(known) if len(known) else 0.0, found)


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
        Rows that differ in their worth only are not equal, so there may be more of them.

    Raises
    ------
    DatasetError
        If the test data lacks the column of the worth.
    """
    value = context.config.worklist.value
    assert value is not None
    table, _ = context.test_data.read(add_value(model.schema, value))
    return table, find_values(table, value)
