"""Ingestion of dated files: rows of training, rows of the test, and today's clients."""

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
    dated_files,
    dated_rows,
    key_spellings,
    outcome_files,
    outcomes,
    read_report,
    table_reader,
    time_split,
)
from scripts.data.cells import UNLABELLED
from scripts.data.dated_rows import History, TableHistory
from scripts.data.dated_table import DatedTable, PandasRows
from scripts.data.deduplicate import Dropped
from scripts.data.known_outcomes import KnownOutcomes
from scripts.data.read_report import FileReading
from scripts.data.time_split import TimeSplit
from scripts.engine import dated_notices, labelled_rows
from scripts.engine.labelled_rows import DataPeriods, LabelledRows, RespeltKeys, RowAccount

CleanMore = Callable[[pd.DataFrame], pd.DataFrame]
Flags = NDArray[np.bool_]


class DatedInput(LabelledRows, frozen=True, kw_only=True):
    """The rows of dated files with their derived columns and outcomes.

    `places` are key, day, label, OF_TEST and NUMBER of each row, and the column of leaving.
    """

    rows: DatedTable
    places: pd.DataFrame
    is_large: bool


class DatedIntake(Struct, frozen=True):
    """The result of an ingestion of dated files, before the dataset is written.

    `write_dataset` takes a folder and a stamp, and returns the path and the number of rows. Of
    today's clients `n_returned` had left before. Further `n_gone` clients in the newest extract
    have left, and are none of today's. Some extracts have `respelt` keys. `extract_days` are
    counted from 1970-01-01.
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
    extract_days: Sequence[int] = ()

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
        paths_of_outcomes = outcome_files.list_files(settings)
        known = outcome_files.read_outcomes(paths_of_outcomes, settings, table, schema, today)
        of_input = ~table[dated_rows.OF_TEST].to_numpy(np.bool_)
        whole = client_dates.find_whole_days(table[schema.as_of].to_numpy(np.int64), of_input)
        known = outcome_files.complete_by_rows(known, whole, settings, schema)
    found = outcomes.label_rows(table, known, settings, schema)
    return DatedInput(
        days=table[schema.as_of].to_numpy(np.int64),
        of_test=table[dated_rows.OF_TEST].to_numpy(np.bool_),
        find_fold=lambda: time_split.in_fold(table[schema.client_key]),
        found=found, outcomes=known, readings=readings, test_readings=test_readings,
        n_repeated=n_rows - len(table), rows=rows, places=table, is_large=is_large,
    )  # fmt: skip


def encode_rows(table: pd.DataFrame, *, is_large: bool) -> Iterable[bytes]:
    """Encode rows as CSV, with Polars if imported already."""
    if not is_large:
        return csv_writer.encode_table(table)
    encoded: Iterable[bytes] = table_reader.import_polars().encode_table(table)
    return encoded


def count_shared(read: DatedInput, parts: TimeSplit, schema: Schema) -> tuple[int, int]:
    """Count the clients of the test also in training, and all clients of the test."""
    keys = read.places[schema.client_key]
    tested, trained = keys[parts.is_test].unique(), set(keys[parts.is_training])
    return sum(key in trained for key in tested), len(tested)


def find_todays(read: DatedInput, schema: Schema) -> tuple[pd.DataFrame, int]:
    """Return today's clients, and the number of clients in the newest extract who have left.

    Today's clients are those of the newest extract, without an outcome after their row.
    """
    own, of_input = read.places[schema.target].to_numpy(np.int64), ~read.of_test
    chosen = (own == UNLABELLED) & ~read.found.left_after & of_input
    names = [schema.as_of, dated_rows.NUMBER]
    # To choose all of them would copy them.
    places = read.places if of_input.all() else read.places.loc[of_input, names]
    chosen[of_input] &= dated_rows.are_todays(places, schema, read.extract_days)
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


def check_mature(read: LabelledRows, config: Config) -> None:
    """Raise if no row has a final outcome."""
    reason = dated_notices.explain_immature(read, config)
    if reason:
        raise InsufficientDataError(reason)


def check_trainable(
    read: LabelledRows, config: Config, clients: pd.DataFrame, history: History, *, n_gone: int
) -> None:
    """Raise with the result of the reading if no row has a final outcome.

    Raises
    ------
    ImmatureRowsError
        Today's clients can be scored by an earlier model all the same, and the files be checked.
    """
    reason = dated_notices.explain_immature(read, config)
    if reason:
        raise ImmatureRowsError(
            reason,
            ReadRows(
                read.readings, read.test_readings, read.outcomes.readings, clients, history,
                labelled_rows.find_lengths(read), n_gone,
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
    n_returned = labelled_rows.count_returned(read.outcomes, clients, schema)
    respelt = labelled_rows.find_respelt(read, moves)
    return DatedIntake(
        n_labelled=read.n_labelled,
        dropped=chosen.dropped,
        write_dataset=chosen.write_dataset,
        test_parts=chosen.test_parts,
        clients=clients,
        n_returned=n_returned,
        n_gone=n_gone,
        respelt=respelt,
        extract_days=read.extract_days.tolist(),
        readings=read.readings,
        account=labelled_rows.count_rows(read, parts),
        history=history,
        periods=labelled_rows.find_periods(read.days, parts),
        notices=[
            *dated_notices.describe_outcomes(read, schema, n_returned, n_gone),
            *dated_notices.describe_respelt(respelt, schema),
            *dated_notices.describe_split(parts),
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
    parts = labelled_rows.split(read, config)
    training, dropped = encode_clean(read, parts.is_training, clean_more, schema)
    test, _ = encode_clean(
        read, parts.is_test, clean_more if config.tests_latest_rows else None, schema
    )
    overlap = [] if config.tests_latest_rows else dated_notices.describe_overlap(
        read.days, parts, count_shared(read, parts, schema)
    )  # fmt: skip
    keys, is_last = read.places[schema.client_key], dated_rows.is_last(read.places)
    return make_intake(
        read, parts, schema, ChosenRows(dropped, training.write, test.parts),
        clients=clients, n_gone=n_gone, history=history,
        moves=key_spellings.find_moves(keys, is_last, read.days, read.extract_days),
        notices=overlap,
    )  # fmt: skip
