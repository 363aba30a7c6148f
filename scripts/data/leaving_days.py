"""Clients who left by a column of their own rows: a day of leaving, or a status."""

import numpy as np
import pandas as pd
from msgspec import Struct

from scripts.core.config import Schema
from scripts.core.dates import parse_date
from scripts.data import client_dates, dated_rows
from scripts.data.arrays import Floats, Ints
from scripts.data.cells import EPOCH, UNLABELLED
from scripts.data.dated_rows import Flags

# A day such as 9999-12-31 stands for none.
NO_END = parse_date("9000-01-01").toordinal() - EPOCH


class OwnLeaving(Struct, frozen=True):
    """What the rows of clients say about leaving, arrays of shape (n_rows,).

    `labels` are 1, 0 or UNLABELLED. A client has `left_before` a row if the day of leaving is that
    of the row or earlier.
    """

    labels: Ints
    is_mature: Flags
    left_before: Flags


def mean_left(column: "pd.Series[str]", schema: Schema) -> Flags:
    """Return whether each status is declared as one of leavers."""
    known = {text: client_dates.has_left(text, 0, schema) for text in column.unique()}
    return column.map(known).to_numpy(np.bool_)


def days_of_status(gone: Flags, days: Floats, is_first: Flags, horizon_days: int) -> Floats:
    """Return the day of leaving in each row of rows by client and day, NaN for a client.

    The status says only that the client left after the row before. The day is that of the first row
    with the status, but at most the horizon after the row before, so that this row is one of a
    leaver.
    """
    begins = gone & (is_first | ~np.roll(gone, 1))
    before = np.where(is_first, np.inf, np.roll(days, 1))
    first = np.minimum(days, before + horizon_days)
    places = np.maximum.accumulate(np.where(begins, np.arange(len(gone)), 0))
    return np.where(gone, first[places], np.nan)


def find_days(table: pd.DataFrame, schema: Schema, horizon_days: int) -> Floats:
    """Return the day of leaving that each row knows, NaN without one.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, with NUMBER, and the column of leaving.
    schema : Schema
        With key, date and `leaving`.
    horizon_days : int
        The days after a row in which a client may leave.
    """
    days = table[schema.as_of].to_numpy(np.float64)
    (name,) = schema.leaving_names
    if not schema.status_columns:
        found = table[name].to_numpy(np.float64)
        return np.where(found < NO_END, found, np.nan)
    gone = mean_left(table[name], schema)
    return days_of_status(gone, days, dated_rows.is_first(table), horizon_days)


def settle(known: Floats, days: Floats, is_first: Flags) -> Floats:
    """Return the day on which the client of each row left, NaN if the client did not.

    The newest row with a day is right, for all rows up to it. A blank after a day means that the
    client is back, and begins anew. If that day had not come yet, nobody has left.
    """
    is_filled = ~np.isnan(known)
    begins = is_first | (~is_filled & np.roll(is_filled, 1))
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(known)) - 1
    found = known[ends]
    is_back = np.append(~is_first[starts[1:]], False)
    found[is_back & (found > days[ends])] = np.nan
    settled: Floats = np.repeat(found, ends - starts + 1)
    return settled


def judge(
    table: pd.DataFrame, schema: Schema, horizon_days: int, complete_until: int | None
) -> OwnLeaving:
    """Return what the rows of some clients say about their leaving.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        All rows of the clients by client and day, with NUMBER; at least one.
    schema : Schema
        With key, date and `leaving`.
    horizon_days : int
        The days after a row in which a client may leave.
    complete_until : int or None
        The day up to which all who left are known, counted from 1970-01-01.

    Returns
    -------
    OwnLeaving
        A client whose rows end early is known to have stayed up to the last row only.
    """
    days = table[schema.as_of].to_numpy(np.float64)
    is_first = dated_rows.is_first(table)
    left_on = settle(find_days(table, schema, horizon_days), days, is_first)
    end = days + horizon_days
    until = -np.inf if complete_until is None else float(complete_until)
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], len(days)) - 1
    last_row = np.repeat(days[ends], ends - starts + 1)
    left_before = left_on <= days
    within = (left_on > days) & (left_on <= end)
    known_until = np.where(np.isnan(left_on), last_row, np.inf)
    stayed = ~left_before & ~within & (end <= np.minimum(known_until, until))
    labels = np.where(within, 1, np.where(stayed, 0, UNLABELLED))
    return OwnLeaving(labels, (within & (end <= until)) | stayed, left_before)
