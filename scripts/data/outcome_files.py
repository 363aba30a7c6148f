"""Files of outcomes: their records, whether they fit the rows of clients, and refusals."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow.compute as pc
from msgspec import Struct
from msgspec.structs import astuple

from scripts.core import dates, files
from scripts.core.config import OutcomeSettings, Schema
from scripts.data import (
    client_dates,
    csv_reader,
    dated_rows,
    key_spellings,
    known_outcomes,
    table_reader,
)
from scripts.data.cells import EPOCH
from scripts.data.known_outcomes import DAY, KEY, LEFT, Days, Flags, KnownOutcomes
from scripts.data.read_report import FileReading, RejectedRow


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


def number_records(
    read: Sequence[tuple[pd.DataFrame, FileReading]], table: pd.DataFrame, schema: Schema
) -> list[tuple[pd.DataFrame, FileReading]]:
    """Return the records of files with the numbers of their clients in rows by client."""
    names = pd.concat([known_outcomes.no_records(), *(records for records, _ in read)])[KEY]
    ends = np.cumsum([len(records) for records, _ in read])[:-1]
    numbers = np.split(known_outcomes.find_clients(table, names, schema), ends)
    return [
        (records.assign(**{dated_rows.NUMBER: of_file}), reading)
        for (records, reading), of_file in zip(read, numbers[: len(read)], strict=True)
    ]


def find_repeated(records: pd.DataFrame) -> "pd.Series[bool]":
    """Return a mask of the records repeated later for their client and day."""
    if dated_rows.NUMBER not in records:
        return records.duplicated([KEY, DAY], keep="last")
    numbers = records[dated_rows.NUMBER]
    return records.duplicated([dated_rows.NUMBER, DAY], keep="last") & (numbers >= 0)


def count_contradicted(records: pd.DataFrame) -> int:
    """Count the records repeated later for their client and day with the other outcome."""
    if records[LEFT].all():
        # Files of leavers alone have nothing else to say.
        return 0
    client = dated_rows.NUMBER if dated_rows.NUMBER in records else KEY
    is_repeated = find_repeated(records).to_numpy()
    is_repeated_so = records.duplicated([client, DAY, LEFT], keep="last").to_numpy()
    return int((is_repeated & ~is_repeated_so).sum())


class RecordFit(Struct, frozen=True):
    """Counts of a file's records: of known clients, with a row, and with a key written otherwise.

    A key is written otherwise than in the client tables by its leading zeros, its capitals, its
    thousands marks, or a decimal such as `42.0`.
    """

    n_known: int = 0
    n_fitting: int = 0
    n_respelt: int = 0

    def __add__(self, other: "RecordFit") -> "RecordFit":
        """Return the counts of the clients of both parts."""
        return RecordFit(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def are_respelt(table: pd.DataFrame, unknown: "pd.Series[str]", schema: Schema) -> Flags:
    """Return whether keys of no client in rows by client are a client's, written otherwise."""
    if unknown.empty:
        return np.zeros(0, np.bool_)
    is_first = dated_rows.is_first(table)
    known = key_spellings.plain_keys(table[schema.client_key][is_first])
    return np.asarray(pc.is_in(key_spellings.plain_keys(unknown), value_set=known))


def count_fits(
    of_files: Sequence[pd.DataFrame], table: pd.DataFrame, schema: Schema, horizon_days: int
) -> list[RecordFit]:
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
    records = pd.concat([known_outcomes.no_records(), *of_files], ignore_index=True)
    places = known_outcomes.locate(table, records, schema)
    before = np.searchsorted(places.rows, places.records, side="left") - 1
    days = records[DAY].to_numpy() - known_outcomes.day_at(places.records, places.rows, before)
    is_left = records[LEFT].to_numpy(np.bool_)
    fits = places.is_known & (days > 0) & (~is_left | (days <= horizon_days))
    is_respelt = np.zeros(len(records), np.bool_)
    unknown = records[KEY][~places.is_known]
    is_respelt[~places.is_known] = are_respelt(table, unknown, schema)
    ends = np.cumsum([len(of_file) for of_file in of_files])[:-1]
    parts = (np.split(flags, ends) for flags in (places.is_known, fits, is_respelt))
    counts = [RecordFit(*(int(flags.sum()) for flags in part)) for part in zip(*parts, strict=True)]
    return counts[: len(of_files)]


def report_respelt(
    records: pd.DataFrame, fit: RecordFit, reading: FileReading, settings: OutcomeSettings,
    schema: Schema,
) -> None:  # fmt: skip
    """Add the records with a key written otherwise to the rejected rows of a file."""
    # A key of another part of the rows may be like one of this part.
    n_respelt = min(fit.n_respelt, len(records) - fit.n_known)
    reason = (
        f"the key is written otherwise than in the column {schema.client_key!r} of the client"
        " tables, such as without leading zeros"
    )
    row = RejectedRow(reading.path.name, 0, settings.key or schema.client_key, reason)
    reading.rejected.extend([row] * n_respelt)


def find_misfit(
    records: pd.DataFrame, fit: RecordFit, days: tuple[int, int], schema: Schema, horizon_days: int
) -> str:
    """Return the reason for a file without any record for a row, or "".

    `days` are the first and the last day of the rows, counted from 1970-01-01.
    """
    if records.empty or fit.n_fitting:
        return ""
    if not fit.n_known:
        hint = "; the keys are written otherwise, such as without leading zeros"
        return (
            f"none of its {records[KEY].nunique()} clients is in the client tables; compare its"
            f" key with the column {schema.client_key!r}{hint if fit.n_respelt else ''}"
        )
    first, last = map(client_dates.format_day, days)
    return (
        f"none of its dates is within {horizon_days} days after a row of its client; the rows are"
        f" as of {first} to {last}"
    )


def find_complete_until(
    records: pd.DataFrame, settings: OutcomeSettings, whole_days: Days | None = None
) -> int | None:
    """Return the last day with known outcomes: declared, the latest record's, or of an extract.

    `whole_days` are the days of extracts whose rows have the outcomes of the rows before.
    """
    if settings.complete_until is not None:
        return dates.parse_date(settings.complete_until).toordinal() - EPOCH
    if not records.empty:
        return int(records[DAY].max())
    return int(whole_days[-1]) if whole_days is not None and len(whole_days) else None


def complete_by_rows(
    known: KnownOutcomes, whole_days: Days, settings: OutcomeSettings, schema: Schema
) -> KnownOutcomes:
    """Return outcomes with the days of the extracts, up to which a column of leaving is known."""
    until = known.complete_until
    if schema.leaving_names and until is None:
        until = find_complete_until(known.records, settings, whole_days)
    days = tuple(whole_days.tolist())
    return msgspec.structs.replace(known, complete_until=until, extract_days=days)


def accept(
    read: Sequence[tuple[pd.DataFrame, FileReading]], fits: Sequence[RecordFit],
    days: tuple[int, int],
    settings: OutcomeSettings, schema: Schema, today: int,
) -> KnownOutcomes:  # fmt: skip
    """Return the records of files with a record for a row, and refuse the remaining files.

    Parameters
    ----------
    read : sequence of tuple of pandas.DataFrame and FileReading
        The records of each file, and the report, in which a misfit is refused.
    fits : sequence of RecordFit
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
    tables = [known_outcomes.no_records()]
    for (records, reading), fit in zip(read, fits, strict=True):
        misfit = find_misfit(records, fit, days, schema, settings.horizon_days)
        if misfit and not reading.refused:
            csv_reader.refuse(reading, csv_reader.RefusedFileError(misfit))
        elif not reading.refused:
            report_respelt(records, fit, reading, settings, schema)
            tables.append(records)
    # The empty table has no numbers of clients.
    joined = pd.concat(tables if len(tables) == 1 else tables[1:], ignore_index=True)
    n_contradicted = count_contradicted(joined)
    joined = joined[~find_repeated(joined)]
    # A later day is a mistake, or an announcement: it is in no row's horizon, and nobody has left.
    is_future = joined[DAY] > max(today, days[1] + settings.horizon_days)
    n_strangers = sum(
        len(records) - fit.n_known
        for (records, reading), fit in zip(read, fits, strict=True)
        if not reading.refused
    )
    return KnownOutcomes(
        joined[~is_future],
        find_complete_until(joined[~is_future], settings),
        tuple(reading for _, reading in read),
        n_strangers=n_strangers,
        n_future=int(is_future.sum()),
        n_contradicted=n_contradicted,
    )


def read_outcomes(
    paths: Sequence[Path], settings: OutcomeSettings, table: pd.DataFrame, schema: Schema,
    today: int,
) -> KnownOutcomes:  # fmt: skip
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
    KnownOutcomes
        The records of the accepted files. A refused file counts for nothing. Of several records of
        a client and day the last one counts.
    """
    read = number_records([read_records(path, settings, schema) for path in paths], table, schema)
    records = [records for records, _ in read]
    fits = count_fits(records, table, schema, settings.horizon_days)
    days = int(table[schema.as_of].min()), int(table[schema.as_of].max())
    return accept(read, fits, days, settings, schema, today)


def list_files(settings: OutcomeSettings | None) -> list[Path]:
    """List the outcome files in name order, none without their folder."""
    place = None if settings is None else settings.input_folder_path
    return [] if place is None or not place.exists() else list(files.list_tables(place))
