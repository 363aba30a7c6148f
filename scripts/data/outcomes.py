"""Outcomes of clients in separate files: who left on which day, and which rows are mature.

A row is positive if its client left within the horizon after the day of the row, and negative if
the client is known to have stayed that long. Any other row is not mature. So is a row whose horizon
is not over, even if the client has left already: among the rows of such a day those who left are
known before those who stay, and a model would learn a share that is too high.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field
from msgspec.structs import astuple
from numpy.typing import NDArray

from scripts.core import dates, files
from scripts.core.config import OutcomeSettings, Schema
from scripts.data import (
    client_dates,
    csv_reader,
    dated_rows,
    key_spellings,
    leaving_days,
    table_reader,
)
from scripts.data.cells import EPOCH, UNLABELLED
from scripts.data.leaving_days import OwnLeaving
from scripts.data.read_report import FileReading, RejectedRow

# More days than any two dates are apart. Shifts take a fifth of the time of divisions.
SPAN_BITS = 23
SPAN = 2**SPAN_BITS
# So many rows at a time stay in the processor's cache while they are labelled.
PART_ROWS = 2**16
KEY, DAY, LEFT = "key", "day", "left"
NO_RECORDS = {KEY: "str", DAY: "int64", LEFT: "bool"}
Flags = NDArray[np.bool_]
Days = NDArray[np.int64]


def no_records() -> pd.DataFrame:
    """Return an empty table of records."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in NO_RECORDS.items()})


class KnownOutcomes(Struct, frozen=True):
    """The records of outcome files.

    `records` has a row per client and day, in the columns KEY, DAY (counted from 1970-01-01) and
    LEFT; of a client in no client table there may be several. `complete_until` is the day up to
    which all outcomes are known, None if unknown. `n_strangers` records are of clients in no client
    table. Further `n_future` records are of a day to come, and left out. `n_contradicted` records
    are left out for a later one that says the opposite of the same client and day. `extract_days`
    are the days of the extracts, without smaller additions, sorted.
    """

    records: pd.DataFrame = field(default_factory=no_records)
    complete_until: int | None = None
    readings: Sequence[FileReading] = ()
    n_strangers: int = 0
    n_future: int = 0
    n_contradicted: int = 0
    extract_days: tuple[int, ...] = ()


class RowOutcomes(Struct, frozen=True):
    """The outcomes of the rows of a table, arrays of shape (n_rows,).

    `labels` are 1, 0 or UNLABELLED. Only mature rows are trained on. A client has `left_before` a
    row if an outcome is of the day of the row or earlier, and `left_after` if one is later. Who has
    left before and is not back `is_gone`: no client of the day of the row.
    """

    labels: NDArray[np.int64]
    is_mature: Flags
    left_before: Flags
    left_after: Flags
    is_gone: Flags


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


class RowPlaces(Struct, frozen=True):
    """The client's number and the day of each row and record, joined to a sortable number."""

    rows: Days
    records: Days
    is_known: Flags


def join_places(numbers: Days, days: Days) -> Days:
    """Return client and day as a number in the order of clients, then of days."""
    joined: Days = numbers << SPAN_BITS
    joined += days
    joined += SPAN // 2
    return joined


def find_clients(table: pd.DataFrame, names: "pd.Series[str]", schema: Schema) -> Days:
    """Return the numbers of the named clients in rows by client, -1 for an unknown client."""
    is_first = dated_rows.is_first(table)
    known, wanted = (
        pa.array(column.astype("str"), pa.large_string())
        for column in (table[schema.client_key][is_first], names)
    )
    # The names are fewer than the clients, so the clients are looked for among them.
    whole = wanted.combine_chunks() if isinstance(wanted, pa.ChunkedArray) else wanted
    encoded = pc.dictionary_encode(whole)
    places = np.asarray(pc.index_in(known, value_set=encoded.dictionary).fill_null(-1))
    of_names = np.full(len(encoded.dictionary), -1, np.int64)
    found = np.flatnonzero(places >= 0)
    of_names[places[found]] = found
    numbers: Days = of_names[np.asarray(encoded.indices)]
    return numbers


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


def day_of(places: Days) -> Days:
    """Return the day of each place."""
    days: Days = (places & (SPAN - 1)) - SPAN // 2
    return days


def day_at(places: Days, chosen: Days, index: Days) -> NDArray[np.float64]:
    """Return the day of the chosen record of each row, NaN for a different client's record.

    An index of -1, or behind the end, chooses none.
    """
    if not len(chosen):
        return np.full(len(places), np.nan)
    found = chosen.take(index, mode="clip")
    is_same = found >> SPAN_BITS == places >> SPAN_BITS
    return np.where(is_same & (index >= 0) & (index < len(chosen)), day_of(found), np.nan)


def count_until(chosen: Days, places: Days) -> Days:
    """Count the chosen records up to the place of each row, both sorted."""
    first, last = np.searchsorted(chosen, [places[0], places[-1] + 1])
    # There are fewer records than rows, so they are looked for among the rows.
    starts = np.searchsorted(places, chosen[first:last])
    counts: Days = first + np.cumsum(np.bincount(starts, minlength=len(places) + 1))
    return counts[: len(places)]


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

    A key is written otherwise than in the client tables by its leading zeros, its capitals, or a
    decimal such as `42.0`.
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
    records = pd.concat([no_records(), *of_files], ignore_index=True)
    places = locate(table, records, schema)
    before = np.searchsorted(places.rows, places.records, side="left") - 1
    days = records[DAY].to_numpy() - day_at(places.records, places.rows, before)
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
    tables = [no_records()]
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


class KnownDays(Struct, frozen=True):
    """The sorted places of leavers and of all named clients in outcome files.

    `complete_until` is the day up to which all who left are known, NaN if it is unknown.
    """

    leaves: Days
    named: Days
    complete_until: float


def find_known(places: RowPlaces, outcomes: KnownOutcomes) -> KnownDays:
    """Return the recorded days of the clients of some rows."""
    left = outcomes.records[LEFT].to_numpy(np.bool_) & places.is_known
    until = outcomes.complete_until
    return KnownDays(
        np.sort(places.records[left]), np.sort(places.records[places.is_known]),
        np.nan if until is None else float(until),
    )  # fmt: skip


def known_until(
    places: Days, known: KnownDays, settings: OutcomeSettings
) -> NDArray[np.float64] | float:
    """Return the last day with a known outcome of each row's client.

    Files with labels name those who stayed: a client whom they do not name is not known.
    """
    if not settings.label:
        return known.complete_until
    end_of_client = ((places >> SPAN_BITS) + 1) << SPAN_BITS
    return day_at(places, known.named, np.searchsorted(known.named, end_of_client) - 1)


def label_places(
    own: Days, places: Days, known: KnownDays, settings: OutcomeSettings
) -> RowOutcomes:
    """Return the outcomes of some rows by their places, as `label_rows` does."""
    is_labelled = own != UNLABELLED
    end = day_of(places) + settings.horizon_days
    after = count_until(known.leaves, places)
    following = day_at(places, known.leaves, after)
    left_before = ~np.isnan(day_at(places, known.leaves, after - 1))
    left = following <= end
    is_over = end <= known.complete_until
    stayed = ~left & is_over & (known_until(places, known, settings) >= end)
    found = np.where(left, 1, np.where(stayed, 0, UNLABELLED))
    return RowOutcomes(
        labels=np.where(is_labelled, own, found),
        is_mature=is_labelled | ((left | stayed) & is_over & ~left_before),
        left_before=left_before,
        left_after=~np.isnan(following),
        is_gone=np.zeros(len(own), np.bool_),
    )


def are_back(
    rows: Days, places: Days, known: KnownDays, extract_days: Days, settings: OutcomeSettings
) -> Flags:
    """Return whether leavers are clients again in some of their rows after leaving.

    Who is in no row of an extract after the day of leaving, and in a row of a later one, was away
    and is back. So is a client with a later label of those who stayed.

    Parameters
    ----------
    rows : numpy.ndarray of shape (n_places,)
        Which of the places are asked about. Their clients have left before.
    places : numpy.ndarray of shape (n_rows,)
        The places of all rows, sorted.
    known : KnownDays
        The recorded days.
    extract_days : numpy.ndarray of shape (n_days,)
        The days of the extracts, sorted.
    settings : OutcomeSettings
        Whether files have labels.
    """
    asked = places[rows]
    left = known.leaves[np.searchsorted(known.leaves, asked, side="right") - 1]
    n_extracts = np.searchsorted(extract_days, [day_of(asked), day_of(left)], side="right")
    n_present = np.append(0, np.cumsum(np.isin(day_of(places), extract_days)))
    n_rows = n_present[rows + 1] - n_present[np.searchsorted(places, left, side="right")]
    is_back: Flags = n_rows < n_extracts[0] - n_extracts[1]
    if settings.label:
        end_of_client = ((asked >> SPAN_BITS) + 1) << SPAN_BITS
        last = known.named[np.searchsorted(known.named, end_of_client) - 1]
        is_back |= last > left
    return is_back


def label_by_files(
    table: pd.DataFrame, outcomes: KnownOutcomes, settings: OutcomeSettings, schema: Schema
) -> RowOutcomes:
    """Return the outcome of each row by the records of files, as `label_rows` does."""
    own = table[schema.target].to_numpy(np.int64)
    places = locate(table, outcomes.records, schema)
    known = find_known(places, outcomes)
    parts = [
        label_places(own[start : start + PART_ROWS], rows, known, settings)
        for start in range(0, len(own), PART_ROWS)
        if len(rows := places.rows[start : start + PART_ROWS])
    ]
    names = ("labels", "is_mature", "left_before", "left_after", "is_gone")
    found = RowOutcomes(*(np.concatenate([getattr(part, n) for part in parts]) for n in names))
    rows = np.flatnonzero(found.left_before)
    if len(rows):
        days = np.array(outcomes.extract_days, np.int64)
        found.is_gone[rows] = ~are_back(rows, places.rows, known, days, settings)
    return found


def add_leaving(found: RowOutcomes, own: OwnLeaving, is_labelled: Flags) -> RowOutcomes:
    """Return outcomes with those of the column of leaving.

    Who left by the files or by the column has left. A label of the row counts before both, in the
    rows that have one.
    """
    is_left = (own.labels == 1) & ~is_labelled
    is_added = is_left | (found.labels == UNLABELLED)
    return RowOutcomes(
        labels=np.where(is_added, own.labels, found.labels),
        # A row after a leaving by the files teaches nothing, whatever the column says.
        is_mature=(found.is_mature | (own.is_mature & ~found.left_before)) & ~own.left_before,
        left_before=found.left_before | own.left_before,
        left_after=found.left_after | is_left,
        is_gone=found.is_gone | own.left_before,
    )


def label_rows(
    table: pd.DataFrame, outcomes: KnownOutcomes, settings: OutcomeSettings | None, schema: Schema
) -> RowOutcomes:
    """Return the outcome of each row.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, with the number of the client, and a label of their own or
        UNLABELLED.
    outcomes : KnownOutcomes
        The records of the outcome files.
    settings : OutcomeSettings or None
        With the horizon; None without declared outcomes.
    schema : Schema
        With key, date and target.

    Returns
    -------
    RowOutcomes
        A label in the row counts before the files and the column of leaving.
    """
    own = table[schema.target].to_numpy(np.int64)
    none = np.zeros(len(table), np.bool_)
    found = RowOutcomes(own, own != UNLABELLED, none, none, none)
    if settings is None or not len(table):
        return found
    if settings.input_folder_path is not None:
        found = label_by_files(table, outcomes, settings, schema)
    if not schema.leaving_names:
        return found
    horizon_days, until = settings.horizon_days, outcomes.complete_until
    judged = leaving_days.judge(table, schema, horizon_days, until)
    return add_leaving(found, judged, own != UNLABELLED)


def list_files(settings: OutcomeSettings | None) -> list[Path]:
    """List the outcome files in name order, none without their folder."""
    place = None if settings is None else settings.input_folder_path
    return [] if place is None or not place.exists() else list(files.list_tables(place))
