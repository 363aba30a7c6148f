"""Ingestion of dated files: rows of training, rows of the test, and today's clients."""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from msgspec import Struct, field
from numpy.typing import NDArray

from scripts.core import capacity, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.errors import ConfigError, DatasetError, InsufficientDataError
from scripts.data import (
    client_dates,
    csv_reader,
    csv_writer,
    dataset,
    dated_files,
    dated_rows,
    key_spellings,
    outcomes,
    read_report,
    table_reader,
    time_split,
)
from scripts.data.cells import UNLABELLED
from scripts.data.dated_rows import History, TableHistory
from scripts.data.dated_table import DatedTable, PandasRows
from scripts.data.deduplicate import Dropped
from scripts.data.outcomes import KnownOutcomes, RowOutcomes
from scripts.data.read_report import FileReading
from scripts.data.time_split import TimeSplit

CleanMore = Callable[[pd.DataFrame], pd.DataFrame]
Flags = NDArray[np.bool_]
# So many extracts with keys written otherwise are named in the log.
MAX_SHOWN = 3

log = logging.getLogger(__name__)


class LabelledRows(Struct, frozen=True, kw_only=True):
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

    def find_whole_days(self) -> NDArray[np.int64]:
        """Return the days of the extracts of the input, without smaller additions, sorted."""
        if not self.of_test.any():
            # To choose all of them would copy them.
            return client_dates.find_whole_days(self.days, self.n_rows)
        of_input = ~self.of_test
        n_rows = None if self.n_rows is None else self.n_rows[of_input]
        return client_dates.find_whole_days(self.days[of_input], n_rows)


class DatedInput(LabelledRows, frozen=True, kw_only=True):
    """The rows of dated files with their derived columns and outcomes.

    `places` are key, day, label, OF_TEST and NUMBER of each row, and the column of leaving.
    """

    rows: DatedTable
    places: pd.DataFrame
    is_large: bool


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


class DatedIntake(Struct, frozen=True):
    """The result of an ingestion of dated files, before the dataset is written.

    `write_dataset` takes a folder and a stamp, and returns the path and the number of rows. Of
    today's clients `n_returned` had left before. Further `n_gone` clients in the newest extract
    have left, and are none of today's. Some extracts have `respelt` keys.
    """

    n_labelled: int
    dropped: Dropped
    write_dataset: Callable[[Path, str], tuple[Path, int]]
    test_parts: Iterable[bytes]
    clients: pd.DataFrame
    readings: Sequence[FileReading]
    account: RowAccount
    history: History
    periods: DataPeriods
    notices: Sequence[str] = ()
    test_readings: Sequence[FileReading] = ()
    outcome_readings: Sequence[FileReading] = field(default=())
    n_returned: int = 0
    n_gone: int = 0
    respelt: Sequence[RespeltKeys] = ()

    def write(self, folder: Path, stamp: str) -> tuple[Path, int]:
        """Write the test rows and the dataset, and return the path and the number of rows."""
        # First, so that no dataset is ever without the test rows of the same ingestion.
        files.write_whole(Kind.TEST_ROWS.path(folder, stamp), self.test_parts)
        return self.write_dataset(folder, stamp)


class ReadRows(Struct, frozen=True):
    """The result of reading dated files before the first row with a final outcome.

    `lengths` are the numbers of rows of the newest extract and of the one before. Of the clients in
    the newest one `n_gone` have left, and are none of today's.
    """

    readings: Sequence[FileReading]
    test_readings: Sequence[FileReading]
    outcome_readings: Sequence[FileReading]
    clients: pd.DataFrame
    history: History
    lengths: tuple[int, int | None]
    n_gone: int = 0


class ImmatureRowsError(InsufficientDataError):
    """No row has a final outcome yet, while `read` is the result of reading the files."""

    def __init__(self, message: str, read: ReadRows) -> None:
        super().__init__(message)
        self.read = read


class EncodedRows(Struct, frozen=True):
    """Rows as the file of a dataset, and their number."""

    parts: Iterable[bytes]
    n_rows: int

    def write(self, folder: Path, stamp: str) -> tuple[Path, int]:
        """Write the file of the dataset, and return the path and the number of rows."""
        path = Kind.DATASET.path(folder, stamp)
        files.write_whole(path, self.parts)
        return path, self.n_rows


def read_dated_file(
    path: Path, schema: Schema, *, has_outcomes: bool
) -> tuple[FileReading, dict[str, list[Any]]]:
    """Read a small file of dated rows into columns, days counted from 1970-01-01."""
    plan = dated_files.plan_file(path, schema, has_outcomes=has_outcomes)
    if plan.refused is not None:
        return plan.refused, {}
    reading, columns = csv_reader.read_file(path, path.parent, plan.schema, needs_label=False)
    n_rows = len(columns[schema.client_key])
    if plan.day is not None:
        columns[schema.as_of] = [plan.day] * n_rows
    columns.setdefault(schema.target, [UNLABELLED] * n_rows)
    return reading, columns


def make_column(name: str, values: list[Any], schema: Schema) -> "pd.Series[Any]":
    """Return a column of a dated table: text, numbers, whole days, or labels."""
    if name in (schema.target, schema.as_of):
        return pd.Series(np.array(values, dtype=np.float64).astype(np.int64))
    is_number = name in schema.numeric or name in schema.date_cells
    return pd.Series(values, dtype="float64" if is_number else "str")


def read_small_files(
    paths: Sequence[Path], schema: Schema, *, has_outcomes: bool
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read small files of dated rows in the order given, with a report per file."""
    gathered: dict[str, list[Any]] = {name: [] for name in dated_files.column_names(schema)}
    readings = []
    for path in paths:
        reading, columns = read_dated_file(path, schema, has_outcomes=has_outcomes)
        readings.append(reading)
        for name, values in columns.items():
            gathered[name].extend(values)
    table = {name: make_column(name, values, schema) for name, values in gathered.items()}
    return pd.DataFrame(table), readings


SortedRows = tuple[DatedTable, int, list[FileReading], list[FileReading]]


def read_small(
    paths: Sequence[Path], test_paths: Sequence[Path], schema: Schema, *, has_outcomes: bool
) -> SortedRows:
    """Read small files row by row.

    Returns
    -------
    tuple of DatedTable, int, list of FileReading and list of FileReading
        The rows by client and day with the derived columns, the number of rows with the repeated
        ones, and the reports of input and test files. Where a row is in both, it is the test's.
    """
    read, readings = read_small_files(paths, schema, has_outcomes=has_outcomes)
    tested, test_readings = read_small_files(test_paths, schema, has_outcomes=has_outcomes)
    both = pd.concat(
        [read.assign(**{dated_rows.OF_TEST: False}), tested.assign(**{dated_rows.OF_TEST: True})]
    )
    ordered = dated_rows.number_clients(dated_rows.sort_rows(both, schema), schema)
    rows = PandasRows(dated_rows.add_derived(ordered, schema), schema)
    return rows, len(both), readings, test_readings


def read_large(
    paths: Sequence[Path], test_paths: Sequence[Path], schema: Schema, *, has_outcomes: bool
) -> SortedRows:
    """Read large files with Polars, with the same result as `read_small`."""
    read: SortedRows = table_reader.import_polars().read_dated(
        paths, test_paths, schema, has_outcomes=has_outcomes
    )
    return read


def check_memory(paths: Sequence[Path], config: Config) -> None:
    """Refuse dated files beyond the memory limit."""
    n_bytes = files.total_bytes(paths)
    if capacity.bound_bytes(n_bytes, config.engine) is not None:
        raise ConfigError(
            f"The input has {n_bytes} bytes, which may not fit into engine.memory_limit_gb, and"
            " this command reads files with schema.date into memory as a whole. Raise the limit,"
            " or leave older extracts out."
        )


def read_input(paths: Sequence[Path], schema: Schema, config: Config, today: int) -> DatedInput:
    """Read dated files, the folder of test data if declared, and the outcomes.

    Parameters
    ----------
    paths : sequence of Path
        CSV files of clients.
    schema : Schema
        The schema by which files are read.
    config : Config
        With outcomes and test data.
    today : int
        The day of the run, counted from 1970-01-01.

    Returns
    -------
    DatedInput
        The rows by client and day.

    Raises
    ------
    DatasetError
        If no row is usable.
    """
    settings = config.outcomes
    test_paths = [] if config.tests_latest_rows else files.list_tables(config.test_data_path)
    check_memory([*paths, *test_paths], config)
    is_large = table_reader.are_large([*paths, *test_paths])
    read = read_large if is_large else read_small
    rows, n_rows, readings, test_readings = read(
        paths, test_paths, schema, has_outcomes=settings is not None
    )
    table = rows.places
    if table.empty:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints(readings)}")
    known = KnownOutcomes()
    if settings is not None:
        paths_of_outcomes = outcomes.list_files(settings)
        known = outcomes.read_outcomes(paths_of_outcomes, settings, table, schema, today)
        of_input = ~table[dated_rows.OF_TEST].to_numpy(np.bool_)
        whole = client_dates.find_whole_days(table[schema.as_of].to_numpy(np.int64), of_input)
        known = outcomes.complete_by_rows(known, whole, settings, schema)
    found = outcomes.label_rows(table, known, settings, schema)
    return DatedInput(
        days=table[schema.as_of].to_numpy(np.int64),
        of_test=table[dated_rows.OF_TEST].to_numpy(np.bool_),
        find_fold=lambda: time_split.in_fold(table[schema.client_key]),
        found=found, outcomes=known, readings=readings, test_readings=test_readings,
        n_repeated=n_rows - len(table), rows=rows, places=table, is_large=is_large,
    )  # fmt: skip


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


def encode_rows(table: pd.DataFrame, *, is_large: bool) -> Iterable[bytes]:
    """Encode rows as CSV, with Polars if imported already."""
    if not is_large:
        return csv_writer.encode_table(table)
    encoded: Iterable[bytes] = table_reader.import_polars().encode_table(table)
    return encoded


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


def describe_split(parts: TimeSplit) -> list[str]:
    """Return sentences about the days of training and test."""
    if parts.first_test_day is None or parts.last_test_day is None:
        return []
    first, last = map(client_dates.format_day, (parts.first_test_day, parts.last_test_day))
    shown = first if first == last else f"{first} to {last}"
    if not parts.is_by_time:
        return [
            f"The test is a fifth of the clients as of {shown}: no earlier rows are mature, and a"
            " test on clients of the same time says less about the next period."
        ]
    end = parts.last_training_day
    trained = "" if end is None else f" Training ends with {client_dates.format_day(end)}."
    return [f"The test rows are as of {shown}.{trained}"]


def count_returned(known: KnownOutcomes, clients: pd.DataFrame, schema: Schema) -> int:
    """Count today's clients who have left by a record of the day of their row or before."""
    left = known.records[known.records[outcomes.LEFT].to_numpy(np.bool_)]
    if left.empty:
        return 0
    named = clients[dataset.are_among(clients[schema.client_key], left[outcomes.KEY])]
    if named.empty:
        return 0
    first = left.groupby(outcomes.KEY)[outcomes.DAY].min()
    texts = {str(text): client_dates.iso_day(str(text)) for text in named[schema.as_of].unique()}
    days = named[schema.as_of].astype("str").map(texts)
    return int((named[schema.client_key].map(first) <= days).sum())


def count_announced(read: LabelledRows) -> int:
    """Count the clients in the newest extract known to leave within the horizon."""
    whole = read.find_whole_days()
    newest = whole[-1] if len(whole) else read.days.max()
    is_announced = (read.found.labels == 1) & ~read.found.left_before & ~read.of_test
    return read.count(is_announced & (read.days >= newest))


def count_records(known: KnownOutcomes) -> int:
    """Count the records of the outcome files, used and of a day to come."""
    return len(known.records) + known.n_future


def describe_leaving(read: LabelledRows, schema: Schema, n_gone: int) -> list[str]:
    """Return a sentence about outcomes by a column of the rows, [] without one."""
    until, leaving = read.outcomes.complete_until, schema.leaving_column
    if leaving is None:
        return []
    end = "no day" if until is None else client_dates.format_day(until)
    known, source = f"Outcomes are known up to {end}, by the column {leaving.column!r}. ", "it"
    if count_records(read.outcomes):
        # Then the sentence about the files says how far outcomes are known.
        known, source = "", f"the column {leaving.column!r} or the files"
    n_announced = count_announced(read)
    announced = f" Nor are {n_announced} who leave within the horizon." if n_announced else ""
    return [
        f"{known}{n_gone} clients of the newest extract have left by {source}, and are not on the"
        f" list.{announced}"
    ]


def describe_left_since(known: KnownOutcomes, newest: int) -> list[str]:
    """Return a sentence about clients who left by a record after a day, [] without any."""
    is_left = known.records[outcomes.LEFT].to_numpy(np.bool_)
    is_later = (known.records[outcomes.DAY] > newest).to_numpy()
    n_since = int(known.records[outcomes.KEY][is_left & is_later].nunique())
    if not n_since:
        return []
    day = client_dates.format_day(newest)
    return [f"{n_since} clients have left since {day} by the outcomes, and are not on the list."]


def describe_records(known: KnownOutcomes, n_returned: int) -> list[str]:
    """Return sentences about the records of outcome files, [] without records.

    Of today's clients `n_returned` had left by them.
    """
    n_records = count_records(known)
    if not n_records:
        return []
    returned = [
        f"{n_returned} of today's clients had left by the outcomes, were missing in an extract, and"
        " stand in the newest one again. They count as back, and are on the list."
    ]
    until = known.complete_until
    end = "no day" if until is None else client_dates.format_day(until)
    future = (
        f" Of them {known.n_future} are of a day to come, and not used." if known.n_future else ""
    )
    contradicted = [
        f"{known.n_contradicted} records of outcomes are not used: a later one, by file name and"
        " line, says the opposite of the same client and day. Remove the wrong one."
    ]
    return [
        f"Outcomes are known up to {end}: {n_records} records, {known.n_strangers} of them of"
        f" clients in no client table.{future}",
        *(contradicted if known.n_contradicted else []),
        *(returned if n_returned else []),
    ]


def describe_gone(n_gone: int, schema: Schema) -> list[str]:
    """Return a sentence about leavers by the outcome files in the newest extract."""
    if not n_gone or schema.leaving_names:
        return []
    return [
        f"{n_gone} clients of the newest extract had left by the outcomes, and are not on the list."
        " Who is missing in an extract after leaving, and is in a later one, counts as back."
    ]


def find_respelt(read: LabelledRows, moves: pd.DataFrame) -> list[RespeltKeys]:
    """Return the extracts with keys written otherwise than in the extract before.

    `moves` are as from `key_spellings.find_moves`.
    """
    found = key_spellings.find_respelt(moves, read.find_whole_days())
    return [
        RespeltKeys(
            client_dates.format_day(day), n_respelt, read.count(~read.of_test & (read.days == day))
        )
        for day, n_respelt in found.items()
    ]


def describe_respelt(respelt: Sequence[RespeltKeys], schema: Schema) -> list[str]:
    """Return sentences about keys that are written otherwise, of the extracts with most of them."""
    worst = sorted(respelt, key=lambda keys: -keys.n_respelt)[:MAX_SHOWN]
    return [
        f"{keys.n_respelt} clients of the extract as of {keys.day} are new, and their keys in"
        f" {schema.client_key!r} are those of clients who have vanished, written otherwise, such as"
        " with other leading zeros, capitals or another prefix. Correct the file, or they count as"
        " other clients."
        for keys in worst
    ]


def describe_outcomes(
    read: LabelledRows, schema: Schema, n_returned: int, n_gone: int
) -> list[str]:
    """Return sentences about the outcomes of files and of a column of the rows.

    Of today's clients `n_returned` had left by them, and are back. Further `n_gone` clients of the
    newest extract have left.
    """
    whole = read.find_whole_days()
    return [
        *describe_leaving(read, schema, n_gone),
        *describe_records(read.outcomes, n_returned),
        *describe_gone(n_gone, schema),
        *(describe_left_since(read.outcomes, int(whole[-1])) if len(whole) else []),
    ]


def count_shared(read: DatedInput, parts: TimeSplit, schema: Schema) -> tuple[int, int]:
    """Count the clients of the test also in training, and all clients of the test."""
    keys = read.places[schema.client_key]
    tested, trained = keys[parts.is_test].unique(), set(keys[parts.is_training])
    return sum(key in trained for key in tested), len(tested)


def describe_overlap(
    days: NDArray[np.int64], parts: TimeSplit, shared_clients: tuple[int, int]
) -> list[str]:
    """Return a sentence about the clients and days of a test folder also in training."""
    if not parts.is_test.any():
        return []
    n_shared, n_clients = shared_clients
    test_days = set(days[parts.is_test].tolist())
    shared = test_days & set(days[parts.is_training].tolist())
    newest, last = int(days.max()), max(test_days)
    return [
        f"{n_shared} of the {n_clients} clients of the test data and"
        f" {len(shared)} of its {len(test_days)} days are in training, too. Its newest row is as of"
        f" {client_dates.format_day(last)}, {newest - last} days before the newest row of all."
    ]


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


def find_todays(read: DatedInput, schema: Schema) -> tuple[pd.DataFrame, int]:
    """Return today's clients, and the number of clients in the newest extract who have left.

    Today's clients are those of the newest extract, without an outcome after their row.
    """
    own, of_input = read.places[schema.target].to_numpy(np.int64), ~read.of_test
    chosen = (own == UNLABELLED) & ~read.found.left_after & of_input
    names = [schema.as_of, dated_rows.NUMBER]
    # To choose all of them would copy them.
    places = read.places if of_input.all() else read.places.loc[of_input, names]
    chosen[of_input] &= dated_rows.are_todays(places, schema)
    is_gone = read.found.is_gone
    return read.rows.select(chosen & ~is_gone), int((chosen & is_gone).sum())


def list_history(read: DatedInput, schema: Schema) -> TableHistory:
    """Return client, day and outcome of all rows."""
    return TableHistory(
        pd.DataFrame(
            {
                dated_rows.CLIENT: read.places[schema.client_key],
                dated_rows.DAY: read.days,
                dated_rows.LABEL: read.found.labels,
            },
            copy=False,
        )
    )


def explain_outcomes(read: LabelledRows, config: Config) -> str:
    """Return what keeps outcomes from being known, "" without declared outcomes."""
    settings = config.outcomes
    if settings is None:
        return ""
    if read.outcomes.readings:
        return read_report.format_complaints(read.outcomes.readings)
    if settings.input_folder_path is None:
        return (
            f"The column {config.schema.leaving_names[0]!r} tells the outcomes of the rows of an"
            " extract once there is an extract that is later by the horizon."
        )
    key = settings.key or config.schema.client_key
    return (
        f"There is no CSV file in {settings.input_folder_path}: put those who left there, in the"
        f" columns {key!r} and {settings.date!r}."
    )


def explain_immature(read: LabelledRows, config: Config) -> str:
    """Return the reason for rows without any final outcome, or ""."""
    if read.found.is_mature.any():
        return ""
    until = read.outcomes.complete_until
    horizon = "" if config.outcomes is None else (
        f" The horizon is {config.outcomes.horizon_days} days, and outcomes are known up to"
        f" {'no day' if until is None else client_dates.format_day(until)}."
    )  # fmt: skip
    n_rows = read.count(np.ones(len(read.days), np.bool_))
    return (
        f"None of {n_rows} rows has an outcome that is known for good.{horizon}"
        f" {explain_outcomes(read, config)}"
    ).rstrip()


def count_gone(read: LabelledRows) -> int:
    """Count the clients in the newest extract who have left, by groups of rows."""
    whole = read.find_whole_days()
    newest = whole[-1] if len(whole) else read.days.max()
    return read.count(read.found.is_gone & (read.days >= newest))


def check_mature(read: LabelledRows, config: Config) -> None:
    """Raise if no row has a final outcome."""
    reason = explain_immature(read, config)
    if reason:
        raise InsufficientDataError(reason)


def find_lengths(read: LabelledRows) -> tuple[int, int | None]:
    """Return the numbers of rows of the newest extract and of the extract before, or None."""
    whole = read.find_whole_days()[-2:]
    lengths = [read.count(~read.of_test & (read.days == day)) for day in whole] or [0]
    return lengths[-1], lengths[0] if len(lengths) > 1 else None


def check_trainable(
    read: LabelledRows, config: Config, clients: pd.DataFrame, history: History, *, n_gone: int
) -> None:
    """Raise with the result of the reading if no row has a final outcome.

    Raises
    ------
    ImmatureRowsError
        Today's clients can be scored by an earlier model all the same, and the files be checked.
    """
    reason = explain_immature(read, config)
    if reason:
        raise ImmatureRowsError(
            reason,
            ReadRows(
                read.readings, read.test_readings, read.outcomes.readings, clients, history,
                find_lengths(read), n_gone,
            ),
        )  # fmt: skip


def clean_rows(
    table: pd.DataFrame, clean_more: CleanMore, schema: Schema
) -> tuple[pd.DataFrame, Dropped]:
    """Return rows after the cleaning of the installation, and the number of dropped rows."""
    cleaned = clean_more(table)
    labels = cleaned if schema.target in cleaned else table
    n_rows = len(table) - len(labels)
    n_left = int(table[schema.target].sum()) - int(labels[schema.target].sum())
    return cleaned, Dropped(n_rows, n_left)


def encode_clean(
    read: DatedInput, chosen: Flags, clean_more: CleanMore | None, schema: Schema
) -> tuple[EncodedRows, Dropped]:
    """Encode some rows after the cleaning of the installation, with the number of dropped rows."""
    labels = read.found.labels
    if clean_more is None:
        return EncodedRows(read.rows.encode(chosen, labels), int(chosen.sum())), Dropped()
    cleaned, dropped = clean_rows(read.rows.select(chosen, labels), clean_more, schema)
    return EncodedRows(encode_rows(cleaned, is_large=read.is_large), len(cleaned)), dropped


class ChosenRows(Struct, frozen=True):
    """The rows for training and test, to be written, and the rows that cleaning left out.

    `write_dataset` and `test_parts` are those of `DatedIntake`.
    """

    dropped: Dropped
    write_dataset: Callable[[Path, str], tuple[Path, int]]
    test_parts: Iterable[bytes]


def make_intake(
    read: LabelledRows, parts: TimeSplit, schema: Schema, chosen: ChosenRows, *,
    clients: pd.DataFrame, n_gone: int, history: History, moves: pd.DataFrame,
    notices: Sequence[str],
) -> DatedIntake:  # fmt: skip
    """Return the result of an ingestion of dated files, with its sentences for the log.

    Parameters
    ----------
    read : LabelledRows
        The rows with their outcomes, or groups of equal rows.
    parts : TimeSplit
        Which of them are training, and which are the test.
    schema : Schema
        The schema by which files are read.
    chosen : ChosenRows
        The rows of both.
    clients : pandas.DataFrame of shape (n_clients, n_columns)
        Today's clients.
    n_gone : int
        The number of clients in the newest extract who have left.
    history : History
        The outcomes of all rows.
    moves : pandas.DataFrame of shape (n_moves, 3)
        As from `key_spellings.find_moves`.
    notices : sequence of str
        Further sentences, after those about outcomes, keys and the split.
    """
    n_returned, respelt = count_returned(read.outcomes, clients, schema), find_respelt(read, moves)
    return DatedIntake(
        n_labelled=read.n_labelled,
        dropped=chosen.dropped,
        write_dataset=chosen.write_dataset,
        test_parts=chosen.test_parts,
        clients=clients,
        n_returned=n_returned,
        n_gone=n_gone,
        respelt=respelt,
        readings=read.readings,
        account=count_rows(read, parts),
        history=history,
        periods=find_periods(read.days, parts),
        notices=[
            *describe_outcomes(read, schema, n_returned, n_gone),
            *describe_respelt(respelt, schema),
            *describe_split(parts),
            *notices,
        ],
        test_readings=read.test_readings,
        outcome_readings=read.outcomes.readings,
    )


def ingest_files(
    paths: Sequence[Path], schema: Schema, config: Config, clean_more: CleanMore | None = None,
    today: int | None = None,
) -> DatedIntake:  # fmt: skip
    """Read dated files into training rows, test rows and today's clients.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        The schema by which files are read, with key and date.
    config : Config
        The installation.
    clean_more : callable, optional
        The cleaning of this installation.
    today : int, optional
        The day of the run, counted from 1970-01-01; by default that of now.

    Returns
    -------
    DatedIntake
        The rows by day and client, whatever the names of the files.

    Raises
    ------
    DatasetError
        If no row is usable.
    ImmatureRowsError
        If no outcome is known for good.
    """
    day = client_dates.today() if today is None else today
    read = read_input(paths, schema, config, day)
    (clients, n_gone), history = find_todays(read, schema), list_history(read, schema)
    check_trainable(read, config, clients, history, n_gone=n_gone)
    parts = split(read, config)
    training, dropped = encode_clean(read, parts.is_training, clean_more, schema)
    test, _ = encode_clean(
        read, parts.is_test, clean_more if config.tests_latest_rows else None, schema
    )
    overlap = [] if config.tests_latest_rows else describe_overlap(
        read.days, parts, count_shared(read, parts, schema)
    )  # fmt: skip
    keys, whole = read.places[schema.client_key], read.find_whole_days()
    return make_intake(
        read, parts, schema, ChosenRows(dropped, training.write, test.parts),
        clients=clients, n_gone=n_gone, history=history,
        moves=key_spellings.find_moves(keys, read.days, whole), notices=overlap,
    )  # fmt: skip
