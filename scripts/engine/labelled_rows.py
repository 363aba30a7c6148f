"""Dated rows with their outcomes: the split into training and test, and the counts by use."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core.config import Config, Schema
from scripts.data import client_dates, dataset, key_spellings, known_outcomes, time_split
from scripts.data.cells import UNLABELLED
from scripts.data.known_outcomes import KnownOutcomes
from scripts.data.outcomes import RowOutcomes
from scripts.data.read_report import FileReading
from scripts.data.time_split import TimeSplit

Flags = NDArray[np.bool_]


class LabelledRows(Struct, frozen=True, kw_only=True, dict=True):
    """Dated rows with their outcomes, or groups of equal rows.

    Arrays have an element per row or group. `n_rows` is the number of rows of each group, None if
    each is one row. `days` are counted from 1970-01-01, and `of_test` are the rows of the folder of
    test data. `find_fold` returns the rows of clients in the test fold. `n_repeated` earlier rows
    of an equal client and day are left out.
    """

    days: NDArray[np.int64]
    of_test: Flags
    find_fold: Callable[[], Flags]
    found: RowOutcomes
    outcomes: KnownOutcomes
    readings: Sequence[FileReading]
    test_readings: Sequence[FileReading]
    n_repeated: int
    n_rows: NDArray[np.int64] | None = None

    @property
    def n_labelled(self) -> int:
        """The number of rows with an outcome."""
        return self.count(self.found.labels != UNLABELLED)

    def count(self, chosen: Flags) -> int:
        """Count the rows of the chosen elements."""
        return int(chosen.sum() if self.n_rows is None else self.n_rows[chosen].sum())

    @cached_property
    def extract_days(self) -> NDArray[np.int64]:
        """The days of the extracts of the input, without smaller additions, sorted."""
        if not self.of_test.any():
            # To choose all of them would copy them.
            return client_dates.find_whole_days(self.days, self.n_rows)
        of_input = ~self.of_test
        n_rows = None if self.n_rows is None else self.n_rows[of_input]
        return client_dates.find_whole_days(self.days[of_input], n_rows)


class RowAccount(Struct, frozen=True):
    """The numbers of rows by their use."""

    n_read: int
    n_rejected: int
    n_repeated: int
    n_training: int
    n_test: int
    n_left_before: int
    n_not_mature: int
    n_between: int

    def describe(self) -> str:
        """Describe the use of every row, for the log."""
        return (
            f"Of {self.n_read} rows {self.n_training} are trained on, {self.n_test} are the test,"
            f" {self.n_not_mature} are not mature, {self.n_between} lie between training and test,"
            f" {self.n_left_before} are of clients who had left, {self.n_repeated} are repeated for"
            f" a client and day, and {self.n_rejected} were rejected."
        )


class DataPeriods(Struct, frozen=True):
    """The first and last days of the rows of training and test, in ISO 8601, None without rows."""

    first_training_day: str | None
    last_training_day: str | None
    first_test_day: str | None
    last_test_day: str | None


class RespeltKeys(Struct, frozen=True):
    """The day of an extract in ISO 8601, its keys written otherwise than before, and its rows."""

    day: str
    n_respelt: int
    n_rows: int


def split(read: LabelledRows, config: Config) -> TimeSplit:
    """Split the rows into training and test: by time, or by the folder of test data."""
    days, found, of_test = read.days, read.found, read.of_test
    if config.tests_latest_rows:
        horizon_days = 0 if config.outcomes is None else config.outcomes.horizon_days
        return time_split.split_rows(
            read.find_fold, days, found.labels, found.is_mature, horizon_days,
            read.n_rows,
        )  # fmt: skip
    is_training, is_test = found.is_mature & ~of_test, found.is_mature & of_test
    return TimeSplit(
        is_training=is_training,
        is_test=is_test,
        first_test_day=int(days[is_test].min()) if is_test.any() else None,
        last_test_day=time_split.last_of(days, is_test),
        last_training_day=time_split.last_of(days, is_training),
        is_by_time=True,
    )


def find_periods(days: NDArray[np.int64], parts: TimeSplit) -> DataPeriods:
    """Return the days of the rows of training and test.

    Parameters
    ----------
    days : numpy.ndarray of shape (n_rows,)
        The day of each row, or of each group of equal rows, counted from 1970-01-01.
    parts : TimeSplit
        Which rows are training, and which are the test.
    """
    ends = [
        client_dates.first_and_last(days, chosen) for chosen in (parts.is_training, parts.is_test)
    ]
    return DataPeriods(
        *(None if day is None else client_dates.format_day(day)
          for of_part in ends for day in of_part or (None, None))
    )  # fmt: skip


def count_returned(known: KnownOutcomes, clients: pd.DataFrame, schema: Schema) -> int:
    """Count today's clients who have left by a record of the day of their row or before."""
    left = known.records[known.records[known_outcomes.LEFT].to_numpy(np.bool_)]
    if left.empty:
        return 0
    named = clients[dataset.are_among(clients[schema.client_key], left[known_outcomes.KEY])]
    if named.empty:
        return 0
    first = left.groupby(known_outcomes.KEY)[known_outcomes.DAY].min()
    texts = {str(text): client_dates.iso_day(str(text)) for text in named[schema.as_of].unique()}
    days = named[schema.as_of].astype("str").map(texts)
    return int((named[schema.client_key].map(first) <= days).sum())


def count_announced(read: LabelledRows) -> int:
    """Count the clients in the newest extract known to leave within the horizon."""
    whole = read.extract_days
    newest = whole[-1] if len(whole) else read.days.max()
    is_announced = (read.found.labels == 1) & ~read.found.left_before & ~read.of_test
    return read.count(is_announced & (read.days >= newest))


def count_records(known: KnownOutcomes) -> int:
    """Count the records of the outcome files, used and of a day to come."""
    return len(known.records) + known.n_future


def count_rows(read: LabelledRows, parts: TimeSplit) -> RowAccount:
    """Count the rows by their use."""
    readings = [r for r in (*read.readings, *read.test_readings) if not r.refused]
    left_before = read.found.left_before & ~parts.is_training & ~parts.is_test
    is_mature = read.found.is_mature
    return RowAccount(
        n_read=sum(r.n_rows for r in readings),
        n_rejected=sum(len(r.rejected) for r in readings),
        n_repeated=read.n_repeated,
        n_training=read.count(parts.is_training),
        n_test=read.count(parts.is_test),
        n_left_before=read.count(left_before),
        n_not_mature=read.count(~is_mature & ~left_before),
        n_between=read.count(is_mature & ~parts.is_training & ~parts.is_test & ~left_before),
    )


def count_gone(read: LabelledRows) -> int:
    """Count the clients in the newest extract who have left, by groups of rows."""
    whole = read.extract_days
    newest = whole[-1] if len(whole) else read.days.max()
    return read.count(read.found.is_gone & (read.days >= newest))


def find_lengths(read: LabelledRows) -> tuple[int, int | None]:
    """Return the numbers of rows of the newest extract and of the extract before, or None."""
    whole = read.extract_days[-2:]
    lengths = [read.count(~read.of_test & (read.days == day)) for day in whole] or [0]
    return lengths[-1], lengths[0] if len(lengths) > 1 else None


def find_respelt(read: LabelledRows, moves: pd.DataFrame) -> list[RespeltKeys]:
    """Return the extracts with keys written otherwise than in the extract before.

    `moves` are as from `key_spellings.find_moves`.
    """
    found = key_spellings.find_respelt(moves, read.extract_days)
    return [
        RespeltKeys(
            client_dates.format_day(day), n_respelt, read.count(~read.of_test & (read.days == day))
        )
        for day, n_respelt in found.items()
    ]
