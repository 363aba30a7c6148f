"""The mature rows of dated files, for a backtest: those of all clients, or of a share of them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from msgspec import Struct

from scripts.core.config import Schema
from scripts.data import client_dates, time_split
from scripts.data.arrays import Ints
from scripts.data.read_report import FileReading
from scripts.engine.dated_ingest import DatedInput
from scripts.engine.labelled_rows import LabelledRows


class MatureRows(Struct, frozen=True):
    """The mature rows of dated files: the dataset, and period and day of each row."""

    table: pd.DataFrame
    periods: Ints
    days: Ints


class MatureInput(Struct, frozen=True):
    """The mature rows of a share of the clients, in (0, 1], and the reports of all files."""

    rows: MatureRows
    readings: Sequence[FileReading]
    share: float = 1.0


def find_periods(table: pd.DataFrame, read: LabelledRows, schema: Schema) -> MatureRows:
    """Return mature rows in the columns of the dataset with their periods.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Some of the rows, by day and client.
    read : LabelledRows
        All rows, or groups of them: an extract and the additions to it are told apart by all.
    schema : Schema
        With key and date.
    """
    days, places = np.unique(read.days, return_index=True)
    periods = time_split.number_periods(read.days, read.n_rows)[places]
    texts, of_rows = np.unique(table[schema.as_of].to_numpy(), return_inverse=True)
    found = np.array([client_dates.iso_day(str(text)) for text in texts], np.int64)[of_rows]
    return MatureRows(table, periods[np.searchsorted(days, found)], found)


def select(read: DatedInput, schema: Schema) -> MatureRows:
    """Return the mature rows of files in memory."""
    return find_periods(read.rows.select(read.found.is_mature, read.found.labels), read, schema)


def gather(
    table: pd.DataFrame, read: LabelledRows, schema: Schema, share: float = 1.0
) -> MatureInput:
    """Return the mature rows of a table with the reports of all files."""
    readings = (*read.readings, *read.test_readings, *read.outcomes.readings)
    return MatureInput(find_periods(table, read, schema), readings, share)
