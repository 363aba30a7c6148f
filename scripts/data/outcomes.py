"""Outcomes of clients in separate files: who left on which day, and which rows are mature.

A row is positive if its client left within the horizon after the day of the row, and negative if
the client is known to have stayed that long. Any other row is not mature. So is a row whose horizon
is not over, even if the client has left already: among the rows of such a day those who left are
known before those who stay, and a model would learn a share that is too high.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scripts.core import dates, files
from scripts.core.config import OutcomeSettings, Schema
from scripts.data import client_dates, csv_reader, dated_rows, table_reader
from scripts.data.cells import EPOCH, UNLABELLED
from scripts.data.read_report import FileReading, RejectedRow

# More days than any two dates are apart.
SPAN = 2**23
KEY, DAY, LEFT = "key", "day", "left"
NO_RECORDS = {KEY: "str", DAY: "int64", LEFT: "bool"}
Flags = NDArray[np.bool_]
Days = NDArray[np.int64]


def no_records() -> pd.DataFrame:
    """Return an empty table of records."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in NO_RECORDS.items()})


@dataclass(frozen=True)
class Outcomes:
    """The records of outcome files.

    `records` has a row per client and day, in the columns KEY, DAY (counted from 1970-01-01) and
    LEFT. `complete_until` is the day up to which all outcomes are known, None if unknown.
    """

    records: pd.DataFrame = field(default_factory=no_records)
    complete_until: int | None = None
    readings: Sequence[FileReading] = ()


@dataclass(frozen=True)
class RowOutcomes:
    """The outcomes of the rows of a table, arrays of shape (n_rows,).

    `labels` are 1, 0 or UNLABELLED. Only mature rows are trained on. A client has `left_before` a
    row if an outcome is of the day of the row or earlier, and `left_after` if one is later.
    """

    labels: NDArray[np.int64]
    is_mature: Flags
    left_before: Flags
    left_after: Flags


def file_schema(settings: OutcomeSettings, schema: Schema) -> Schema:
    """Return the schema of the outcome files."""
    return msgspec.structs.replace(
        Schema(positive=schema.positive, negative=schema.negative),
        target=settings.label,
        ids=(settings.key or schema.client_key,),
        numeric=(),
        dates={settings.date: settings.format},
    )


def read_records(
    path: Path, settings: OutcomeSettings, schema: Schema
) -> tuple[pd.DataFrame, FileReading]:
    """Read a file of outcomes into records.

    A client without a day has not left. Where a column has the labels, every row needs a day: the
    day of leaving, or the last day on which the client is known to have stayed.
    """
    wanted = file_schema(settings, schema)
    if table_reader.are_large([path]):
        columns, reading = table_reader.import_polars().read_records(path, wanted)
    else:
        reading, columns = csv_reader.read_file(path, path.parent, wanted)
    days = np.array(columns[settings.date], dtype=np.float64)
    is_dated = ~np.isnan(days)
    left = np.ones(len(days), np.bool_)
    if settings.label:
        left = np.array(columns[settings.label], dtype=np.int64) == 1
        n_undated = int((~is_dated).sum())
        if n_undated:
            reason = f"{n_undated} of its rows have a label and no date; they are not used"
            reading.rejected.append(RejectedRow(path.name, 0, settings.date, reason))
    records = pd.DataFrame(
        {
            KEY: pd.Series(columns[wanted.ids[0]], dtype="str")[is_dated],
            DAY: days[is_dated].astype(np.int64),
            LEFT: left[is_dated],
        }
    )
    return records, reading


@dataclass(frozen=True)
class RowPlaces:
    """The client's number and the day of each row and record, joined to a sortable number."""

    rows: Days
    records: Days
    is_known: Flags


def join_places(numbers: Days, days: Days) -> Days:
    """Return client and day as a number in the order of clients, then of days."""
    joined: Days = numbers * SPAN + days + SPAN // 2
    return joined


def find_clients(table: pd.DataFrame, names: "pd.Series[str]", schema: Schema) -> Days:
    """Return the numbers of the named clients in rows by client, -1 for an unknown client."""
    is_first = np.diff(table[dated_rows.NUMBER].to_numpy(np.int64), prepend=-1) > 0
    known, wanted = (
        pa.array(column.astype("str"), pa.large_string())
        for column in (table[schema.client_key][is_first], names)
    )
    return np.asarray(pc.index_in(wanted, value_set=known).fill_null(-1)).astype(np.int64)


def locate(table: pd.DataFrame, records: pd.DataFrame, schema: Schema) -> RowPlaces:
    """Return the places of rows by client and of records, perhaps of unknown clients.

    Records may have the numbers of their clients in the rows already.
    """
    numbers = table[dated_rows.NUMBER].to_numpy(np.int64)
    if dated_rows.NUMBER in records:
        found = records[dated_rows.NUMBER].to_numpy(np.int64)
    else:
        found = find_clients(table, records[KEY], schema)
    return RowPlaces(
        join_places(numbers, table[schema.as_of].to_numpy(np.int64)),
        join_places(found, records[DAY].to_numpy(np.int64)),
        found >= 0,
    )


def number_records(
    read: Sequence[tuple[pd.DataFrame, FileReading]], table: pd.DataFrame, schema: Schema
) -> list[tuple[pd.DataFrame, FileReading]]:
    """Return the records of files with the numbers of their clients in rows by client."""
    names = pd.concat([no_records(), *(records for records, _ in read)])[KEY]
    ends = np.cumsum([len(records) for records, _ in read])[:-1]
    numbers = np.split(find_clients(table, names, schema), ends)
    return [
        (records.assign(**{dated_rows.NUMBER: of_file}), reading)
        for (records, reading), of_file in zip(read, numbers[: len(read)], strict=True)
    ]


def day_at(places: Days, chosen: Days, index: Days) -> NDArray[np.float64]:
    """Return the day of the chosen record of each row, NaN for a different client's record."""
    padded = np.append(chosen, -1)
    found = padded[np.where((index >= 0) & (index < len(chosen)), index, len(chosen))]
    is_same = found // SPAN == places // SPAN
    return np.where(is_same, found % SPAN - SPAN // 2, np.nan)


@dataclass(frozen=True)
class Fit:
    """Counts of a file's records: of known clients, and of records with a row."""

    n_known: int
    n_fitting: int


def count_fits(
    of_files: Sequence[pd.DataFrame], table: pd.DataFrame, schema: Schema, horizon_days: int
) -> list[Fit]:
    """Count the records with a row for each of several files.

    Parameters
    ----------
    of_files : sequence of pandas.DataFrame of shape (n_records, 3)
        The records of each file.
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of the clients, by client and day; of parts of whole clients the counts add up.
    schema : Schema
        With key and date.
    horizon_days : int
        The days after a row in which a client may leave.
    """
    records = pd.concat([no_records(), *of_files], ignore_index=True)
    places = locate(table, records, schema)
    before = np.searchsorted(places.rows, places.records, side="left") - 1
    days = records[DAY].to_numpy() - day_at(places.records, places.rows, before)
    is_left = records[LEFT].to_numpy(np.bool_)
    fits = places.is_known & (days > 0) & (~is_left | (days <= horizon_days))
    ends = np.cumsum([len(of_file) for of_file in of_files])[:-1]
    parts = zip(np.split(places.is_known, ends), np.split(fits, ends), strict=True)
    return [Fit(int(known.sum()), int(fitting.sum())) for known, fitting in parts][: len(of_files)]


def find_misfit(
    records: pd.DataFrame, fit: Fit, days: tuple[int, int], schema: Schema, horizon_days: int
) -> str:
    """Return the reason for a file without any record for a row, or "".

    `days` are the first and the last day of the rows, counted from 1970-01-01.
    """
    if records.empty or fit.n_fitting:
        return ""
    if not fit.n_known:
        return (
            f"none of its {records[KEY].nunique()} clients is in the client tables; compare its"
            f" key with the column {schema.client_key!r}"
        )
    first, last = map(client_dates.format_day, days)
    return (
        f"none of its dates is within {horizon_days} days after a row of its client; the rows are"
        f" as of {first} to {last}"
    )


def find_complete_until(
    records: pd.DataFrame, settings: OutcomeSettings, latest: int
) -> int | None:
    """Return the last day with known outcomes: declared, or the latest record's day.

    A day after `latest` does not count: it is a mistake, or an announcement.
    """
    if settings.complete_until is not None:
        return dates.parse_date(settings.complete_until).toordinal() - EPOCH
    days = records[DAY][records[DAY] <= latest]
    return None if days.empty else int(days.max())


def accept(
    read: Sequence[tuple[pd.DataFrame, FileReading]], fits: Sequence[Fit], days: tuple[int, int],
    settings: OutcomeSettings, schema: Schema, today: int,
) -> Outcomes:  # fmt: skip
    """Return the records of files with a record for a row, and refuse the remaining files.

    Parameters
    ----------
    read : sequence of tuple of pandas.DataFrame and FileReading
        The records of each file, and the report, in which a misfit is refused.
    fits : sequence of Fit
        The fit of the records of each file.
    days : tuple of int and int
        The first and the last day of the rows, counted from 1970-01-01.
    settings : OutcomeSettings
        The horizon.
    schema : Schema
        With key and date.
    today : int
        The day of the run, counted from 1970-01-01.
    """
    tables = [no_records()]
    for (records, reading), fit in zip(read, fits, strict=True):
        misfit = find_misfit(records, fit, days, schema, settings.horizon_days)
        if misfit and not reading.refused:
            csv_reader.refuse(reading, csv_reader.RefusedFileError(misfit))
        elif not reading.refused:
            tables.append(records)
    joined = pd.concat(tables, ignore_index=True).drop_duplicates([KEY, DAY], keep="last")
    latest = max(today, days[1] + settings.horizon_days)
    until = find_complete_until(joined, settings, latest)
    return Outcomes(joined, until, tuple(reading for _, reading in read))


def read_outcomes(
    paths: Sequence[Path], settings: OutcomeSettings, table: pd.DataFrame, schema: Schema,
    today: int,
) -> Outcomes:  # fmt: skip
    """Read files of outcomes, and refuse files without any record for a row.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    settings : OutcomeSettings
        Their columns and the horizon.
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of the clients, with key and day; at least one.
    schema : Schema
        With key, date and labels.
    today : int
        The day of the run, counted from 1970-01-01.

    Returns
    -------
    Outcomes
        The records of the accepted files. A refused file counts for nothing. Of several records of
        a client and day the last one counts.
    """
    read = number_records([read_records(path, settings, schema) for path in paths], table, schema)
    records = [records for records, _ in read]
    fits = count_fits(records, table, schema, settings.horizon_days)
    days = int(table[schema.as_of].min()), int(table[schema.as_of].max())
    return accept(read, fits, days, settings, schema, today)


def known_until(
    places: RowPlaces, outcomes: Outcomes, settings: OutcomeSettings
) -> NDArray[np.float64]:
    """Return the last day with a known outcome of each row's client.

    Files with labels name those who stayed: a client whom they do not name is not known.
    """
    if not settings.label:
        until = np.nan if outcomes.complete_until is None else float(outcomes.complete_until)
        return np.full(len(places.rows), until)
    named = np.sort(places.records[places.is_known])
    end_of_client = (places.rows // SPAN + 1) * SPAN
    return day_at(places.rows, named, np.searchsorted(named, end_of_client) - 1)


def label_rows(
    table: pd.DataFrame, outcomes: Outcomes, settings: OutcomeSettings | None, schema: Schema
) -> RowOutcomes:
    """Return the outcome of each row.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, with the number of the client, and a label of their own or
        UNLABELLED.
    outcomes : Outcomes
        The records of the outcome files.
    settings : OutcomeSettings or None
        With the horizon; None without outcome files.
    schema : Schema
        With key, date and target.

    Returns
    -------
    RowOutcomes
        A label in the row counts before the files.
    """
    own = table[schema.target].to_numpy(np.int64)
    is_labelled = own != UNLABELLED
    none = np.zeros(len(table), np.bool_)
    if settings is None:
        return RowOutcomes(own, is_labelled, none, none)
    day = table[schema.as_of].to_numpy(np.float64)
    end = day + settings.horizon_days
    places = locate(table, outcomes.records, schema)
    leaving = outcomes.records[LEFT].to_numpy(np.bool_) & places.is_known
    leaves = np.sort(places.records[leaving])
    after = np.searchsorted(leaves, places.rows, side="right")
    following = day_at(places.rows, leaves, after)
    left_before = ~np.isnan(day_at(places.rows, leaves, after - 1))
    left = following <= end
    complete = np.nan if outcomes.complete_until is None else outcomes.complete_until
    is_over = end <= complete
    stayed = ~left & is_over & (known_until(places, outcomes, settings) >= end)
    found = np.where(left, 1, np.where(stayed, 0, UNLABELLED))
    return RowOutcomes(
        labels=np.where(is_labelled, own, found),
        is_mature=is_labelled | ((left | stayed) & is_over & ~left_before),
        left_before=left_before,
        left_after=~np.isnan(following),
    )


def list_files(settings: OutcomeSettings | None) -> list[Path]:
    """List the outcome files in name order, none without their folder."""
    if settings is None or not settings.input_folder_path.exists():
        return []
    return list(files.list_tables(settings.input_folder_path))
