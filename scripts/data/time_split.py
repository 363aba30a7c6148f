"""The split of dated rows: the latest mature period is the test, training ends a horizon before."""

import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray

from scripts.data import client_dates

# Days that lie closer than this are no extracts: their rows are taken together by the month.
MIN_PERIOD_DAYS = 7
# A period is mature if at least this share of its rows is: of the others those who left are known
# before those who stay.
MATURE_FRACTION = 0.5
# Without an earlier period that is mature, a fifth of the clients is the test.
N_FOLDS = 5

Flags = NDArray[np.bool_]
Days = NDArray[np.int64]


class TimeSplit(Struct, frozen=True):
    """The rows of training and of the test, masks of shape (n_rows,), and the days of the test.

    `is_by_time` is False if the test is a share of the clients, for want of an earlier period.
    """

    is_training: Flags
    is_test: Flags
    first_test_day: int | None
    last_test_day: int | None
    last_training_day: int | None
    is_by_time: bool


def number_periods(days: Days, n_rows: Days | None = None) -> Days:
    """Return the number of the period of each row, counted from 0.

    Parameters
    ----------
    days : numpy.ndarray of shape (n_rows,)
        The day of each row, counted from 1970-01-01.
    n_rows : numpy.ndarray of shape (n_rows,), optional
        The number of equal rows that each row stands for, by default 1.

    Returns
    -------
    numpy.ndarray of shape (n_rows,)
        A period is an extract and the smaller additions after it. Where extracts are closer than a
        week, it is a month of the calendar.
    """
    whole = client_dates.find_whole_days(days, n_rows)
    if len(whole) > 1 and np.median(np.diff(whole)) < MIN_PERIOD_DAYS:
        months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return np.asarray(np.unique(months, return_inverse=True)[1], dtype=np.int64)
    return np.clip(np.searchsorted(whole, days, side="right") - 1, 0, None)


def has_both(labels: NDArray[np.int64], chosen: Flags) -> bool:
    """Return whether the chosen rows have both labels."""
    return bool((chosen & (labels != labels[chosen.argmax()])).any()) if chosen.any() else False


def find_test_period(
    days: Days, is_mature: Flags, labels: NDArray[np.int64], n_rows: Days | None = None
) -> Flags | None:
    """Return a mask of the rows of the latest mature period with both labels, or None."""
    found, counts = client_dates.count_days(days, n_rows)
    periods = number_periods(found, counts)
    for period in np.unique(periods)[::-1].tolist():
        of_period = found[periods == period]
        inside: Flags = (days >= of_period[0]) & (days <= of_period[-1])
        weights = None if n_rows is None else n_rows[inside]
        is_enough = np.average(is_mature[inside], weights=weights) >= MATURE_FRACTION
        if is_enough and has_both(labels, inside & is_mature):
            return inside
    return None


def in_fold(clients: "pd.Series[str]") -> Flags:
    """Return whether each client is in the test fold: always the same clients, about a fifth."""
    codes, names = pd.factorize(clients)
    folds = np.array([zlib.crc32(str(name).encode()) % N_FOLDS for name in names], np.int64)
    inside: Flags = folds[codes] == 0
    return inside


def split_rows(
    find_fold: Callable[[], Flags], days: Days, labels: NDArray[np.int64], is_mature: Flags,
    horizon_days: int, n_rows: Days | None = None,
) -> TimeSplit:  # fmt: skip
    """Split dated rows into training and test.

    Parameters
    ----------
    find_fold : callable
        Returns whether the client of each row is in the test fold, as `in_fold` does. It is called
        only if the split is by clients.
    days : numpy.ndarray of shape (n_rows,)
        The day of each row, counted from 1970-01-01.
    labels : numpy.ndarray of shape (n_rows,)
        1 left, 0 stayed, or UNLABELLED.
    is_mature : numpy.ndarray of shape (n_rows,)
        Whether the label of the row is known for good.
    horizon_days : int
        The days after a row in which its client may leave, 0 if unknown.
    n_rows : numpy.ndarray of shape (n_rows,), optional
        The number of equal rows that each row stands for, by default 1.

    Returns
    -------
    TimeSplit
        The test is the latest mature period. Training has the mature rows whose horizon is over
        when the test begins, so that it knows no more than was known then. Without such rows of
        both labels, the test is a fifth of the clients of that period, and training the other
        clients. Without a mature period of both labels nothing is tested.
    """
    none = np.zeros(len(days), np.bool_)
    inside = find_test_period(days, is_mature, labels, n_rows)
    if inside is None:
        return TimeSplit(is_mature, none, None, None, last_of(days, is_mature), is_by_time=False)
    is_test = is_mature & inside
    first = int(days[inside].min())
    is_training = is_mature & (days <= first - horizon_days) & (days < first)
    is_by_time = has_both(labels, is_training)
    if not is_by_time:
        fold = find_fold()
        is_test, is_training = is_test & fold, is_mature & ~fold
    last = last_of(days, is_test)
    return TimeSplit(is_training, is_test, first, last, last_of(days, is_training), is_by_time)


def last_of(days: Days, chosen: Flags) -> int | None:
    """Return the last day of the chosen rows, None without one."""
    ends = client_dates.first_and_last(days, chosen)
    return None if ends is None else ends[1]
