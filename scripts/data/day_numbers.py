"""Recognises days written as numbers: those of a spreadsheet, and seconds since 1970."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray

MIN_FRACTION = 0.99
# The newest day of a column that grows with the extracts is near the day of each of them.
MAX_AWAY_DAYS = 62
FIRST_DAY, LAST_DAY = np.datetime64("1980-01-01"), np.datetime64("2100-01-01")
# 9 digits of seconds are of 1973 and later, as many as a code has.
WHOLE = r"\d{5,13}(?:\.0*)?"


class Unit(Struct, frozen=True):
    """A way to write a day as a number: what the number counts, from when, how many a day."""

    words: str
    first_day: np.datetime64
    per_day: int


# https://support.microsoft.com: day 1 is 1900-01-01, and 1900 is taken for a leap year.
SPREADSHEET = Unit("days of a spreadsheet", np.datetime64("1899-12-30"), 1)
SECONDS = Unit("seconds since 1970", np.datetime64("1970-01-01"), 86_400)
MILLISECONDS = Unit("milliseconds since 1970", np.datetime64("1970-01-01"), 86_400_000)
UNITS = (SPREADSHEET, SECONDS, MILLISECONDS)

Days = NDArray[np.datetime64]


def read_days(column: pd.Series, unit: Unit) -> pd.Series | None:
    """Return the days of the filled cells, None if too few are whole numbers of likely days."""
    filled = column[column != ""]
    if not len(filled) or filled.str.fullmatch(WHOLE).mean() < MIN_FRACTION:
        return None
    counts = pd.to_numeric(filled, errors="coerce").dropna() // unit.per_day
    first, last = ((day - unit.first_day).astype(int) for day in (FIRST_DAY, LAST_DAY))
    counts = counts[(counts >= first) & (counts < last)]
    if len(counts) < MIN_FRACTION * len(filled):
        return None
    return pd.Series(unit.first_day + counts.to_numpy().astype("timedelta64[D]"), counts.index)


def describe(column: pd.Series, days: pd.Series, unit: Unit) -> str:
    """Return the end of a sentence about a column of day numbers, with the first one as a day."""
    place = days.index[0]
    return f"dates as {unit.words}: {column[place]} is {days[place]:%Y-%m-%d}"


def find_features(table: pd.DataFrame, group: pd.Series | None) -> dict[str, str]:
    """Return the columns of days as numbers, each with a description, beside the days of the rows.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows, as text.
    group : pandas.Series of shape (n_rows,) or None
        The day of each row as an ISO date.

    Returns
    -------
    dict of str to str
        By column. A measure of the same size, such as a salary, has no largest value that is near
        the day of each of several extracts.
    """
    if group is None or group.nunique() < 2:
        return {}
    own = pd.to_datetime(group, errors="coerce").astype("datetime64[s]")
    found = {}
    for name in table.columns:
        for unit in UNITS:
            days = read_days(table[name], unit)
            if days is None:
                continue
            newest = days.groupby(own[days.index]).max()
            away = np.abs(newest.to_numpy() - newest.index.to_numpy())
            if len(away) > 1 and (away <= np.timedelta64(MAX_AWAY_DAYS, "D")).all():
                found[name] = describe(table[name], days, unit)
    return found


def find_own(table: pd.DataFrame, files: pd.Series, names: Mapping[str, bool]) -> str:
    """Return a sentence about a column with the day of each file as a number, "" without one.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of several files, as text.
    files : pandas.Series of shape (n_rows,)
        The number of the file of each row.
    names : mapping of str to bool
        The columns to look at, and whether each is named as the day of a row.
    """
    for name in sorted(names, key=lambda name: not names[name]):
        per_file = table[name].groupby(files).unique()
        if not (per_file.str.len() == 1).all() or per_file.str[0].nunique() < len(per_file):
            continue
        for unit in UNITS:
            days = read_days(table[name], unit)
            if days is not None and (len(per_file) > 1 or names[name]):
                return (
                    f"{name!r} looks like {describe(table[name], days, unit)}. Write the dates as"
                    " such, like 2026-03-31, and try again."
                )
    return ""
