"""Tables of dated rows: one row per client and day, derived columns, today's clients, history."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.data import client_dates
from scripts.data.arrays import Floats, Places
from scripts.data.cells import UNLABELLED

# Whether a row is of the folder of test data.
OF_TEST = "adras of test"
# In a table of rows by client, the number of the client of each row.
NUMBER = "\x00client"
FEW_DAYS = 16
# The columns of the outcomes of all rows: client, day of the row, and label.
CLIENT, DAY, LABEL = "client", "day", "label"

Flags = NDArray[np.bool_]
Labels = NDArray[np.int64]


def sort_rows(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return rows by client and day, with the last row of equal client and day.

    Of several rows of a client as of one day a row with a label counts before one without, and
    then the last one.
    """
    keys = [schema.client_key, schema.as_of]
    is_labelled = table[schema.target] >= 0
    ordered = table.assign(_labelled=is_labelled).sort_values([*keys, "_labelled"], kind="stable")
    return ordered.drop(columns="_labelled").drop_duplicates(keys, keep="last", ignore_index=True)


def format_days(days: NDArray[np.int64]) -> "pd.Series[str]":
    """Return days, counted from 1970-01-01, as ISO dates: each of the few days formatted once."""
    found, _ = client_dates.count_days(days)
    places = np.searchsorted(found, days)
    texts = pd.Series(client_dates.format_days(found).tolist(), dtype="str")
    return texts.take(places).reset_index(drop=True)


def number_clients(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return rows by client with the number of the client of each row, from 0."""
    key = table[schema.client_key]
    is_first = (key != key.shift()).to_numpy()
    return table.assign(**{NUMBER: np.cumsum(is_first) - 1})


def find_before(
    columns: Mapping[str, Floats], has_before: Flags, schema: Schema
) -> dict[str, Floats]:
    """Return the columns of changes in the client's row before, NaN without a row before."""
    before = {}
    for name in schema.changes or ():
        before[name] = np.full(len(has_before), np.nan)
        before[name][1:] = columns[name][:-1]
        before[name][~has_before] = np.nan
    return before


def add_derived(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return rows with the derived columns.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, with NUMBER, as from `number_clients`.
    schema : Schema
        The schema by which the rows were read.

    Returns
    -------
    pandas.DataFrame of shape (n_rows, n_columns)
        The same rows and columns, and the derived columns.
    """
    names = {*schema.numeric, *schema.date_formats, schema.as_of}
    columns = {name: table[name].to_numpy(np.float64) for name in names}
    before = find_before(columns, ~is_first(table), schema)
    return table.assign(**client_dates.derive(columns, before, schema))


def is_first(table: pd.DataFrame) -> Flags:
    """Return a mask of the first row of each client among rows by client and day."""
    numbers = table[NUMBER].to_numpy()
    return np.append(True, numbers[1:] != numbers[:-1])[: len(table)]


def is_last(table: pd.DataFrame) -> Flags:
    """Return a mask of the last row of each client among rows by client and day."""
    numbers = table[NUMBER].to_numpy()
    return np.append(numbers[1:] != numbers[:-1], True)[: len(table)]


def are_todays(table: pd.DataFrame, schema: Schema, extract_days: NDArray[np.int64]) -> Flags:
    """Return a mask of today's rows: each client's latest row, of the newest extract or after.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, with NUMBER.
    schema : Schema
        With key and date.
    extract_days : numpy.ndarray of shape (n_days,)
        The days of the extracts, sorted.

    Returns
    -------
    numpy.ndarray of shape (n_rows,)
        A client whose last row is of an earlier extract is none of today's.
    """
    are_last = is_last(table)
    if len(extract_days):
        are_last &= table[schema.as_of].to_numpy(np.int64) >= extract_days[-1]
    return are_last


def group_by_day(days: NDArray[np.int64], chosen: Flags | None = None) -> list[Places]:
    """Return the places of the chosen rows, by default of all, of each day in their order."""
    found, n_rows = client_dates.count_days(days, chosen)
    if not len(found):
        return []
    # Of short integers more are compared at a time, and they are sorted in one pass.
    kind = np.uint16 if found[-1] - found[0] < 2**16 else np.int64
    shifted = np.subtract(days, found[0], out=np.empty(len(days), kind), casting="unsafe")
    if len(found) <= FEW_DAYS:
        # One pass for each day takes less time and memory than a sort.
        are_of_days = (shifted == day for day in (found - found[0]).astype(kind))
        return [np.flatnonzero(of if chosen is None else of & chosen) for of in are_of_days]
    rows = np.arange(len(days)) if chosen is None else np.flatnonzero(chosen)
    ordered = rows[np.argsort(shifted[rows], kind="stable")]
    return np.split(ordered, np.cumsum(n_rows)[:-1])


def order_by_day(days: NDArray[np.int64], chosen: Flags | None = None) -> Places:
    """Return the places of the chosen rows, by default of all, by day and in their order."""
    return np.concatenate([np.zeros(0, np.int64), *group_by_day(days, chosen)])


class History(Protocol):
    """The rows of clients over time, and their outcomes, in any storage."""

    def find_period(self, day: int) -> pd.DataFrame:
        """Return each client's row at a day, if the outcome of the row is known.

        Days are counted from 1970-01-01, and the columns are CLIENT, DAY and LABEL.
        """

    def find_labelled(self, days: Sequence[int]) -> pd.DataFrame:
        """Return the rows of some days with a known outcome, in the same columns."""


class TableHistory(Struct, frozen=True, dict=True):
    """The outcomes of rows in memory.

    `table` has all rows by client and day, in the columns CLIENT, DAY and LABEL.
    """

    table: pd.DataFrame

    @cached_property
    def next_days(self) -> NDArray[np.float64]:
        """The day of the client's next row for each row, infinite for the last one."""
        following = np.append(self.table[DAY].to_numpy(np.float64)[1:], np.inf)[: len(self.table)]
        clients = self.table[CLIENT]
        is_same = np.append((clients == clients.shift(-1)).to_numpy(np.bool_)[:-1], False)
        return np.where(is_same[: len(self.table)], following, np.inf)

    def find_period(self, day: int) -> pd.DataFrame:
        """Return each client's row at a day, if the outcome of the row is known."""
        is_last = (self.table[DAY].to_numpy() <= day) & (self.next_days > day)
        found: pd.DataFrame = self.table[is_last & (self.table[LABEL].to_numpy() != UNLABELLED)]
        return found

    def find_labelled(self, days: Sequence[int]) -> pd.DataFrame:
        """Return the rows of some days with a known outcome."""
        return self.table[self.table[DAY].isin(days) & (self.table[LABEL] != UNLABELLED)]
