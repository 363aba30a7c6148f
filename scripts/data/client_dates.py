"""Columns derived from dates: days, changes since a client's row before, and ratios.

A dated file has a row per client as of a day. Ingestion turns the dates into plain numbers, so
that the dataset, the model, drift and pages know nothing of time. The schema in `model.json`
carries the definition, for requests and for tables that are ranked.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from scripts.core.config import AS_OF, FILE_NAME, Schema, normalise_label
from scripts.core.dates import parse_date
from scripts.data.cells import EPOCH, LARGEST_NUMBER

# So many days are counted at once, in the processor's cache.
PART_ROWS = 2**16

Floats = NDArray[np.float64]


def today() -> int:
    """Return the day of now in UTC, counted from 1970-01-01."""
    return datetime.now(UTC).date().toordinal() - EPOCH


def days_since(name: str) -> str:
    """Return the name of the column with the days since a date."""
    return f"days since {name}"


def change_of(name: str) -> str:
    """Return the name of the column with the change of a number since the row before."""
    return f"{name}, change since the row before"


def derived_names(schema: Schema) -> tuple[str, ...]:
    """Return the names of the derived columns: days, changes, ratios."""
    return (
        *map(days_since, schema.date_formats),
        *map(change_of, schema.changes or ()),
        *(schema.ratios or {}),
    )


def dataset_schema(schema: Schema) -> Schema:
    """Return the schema of a dataset, for the schema of its files.

    The derived columns are numeric columns. The day of a row is an identifier beside the key. A
    schema without dates is returned unchanged.
    """
    if not schema.date:
        return schema
    return msgspec.structs.replace(
        schema,
        ids=(schema.client_key, schema.as_of),
        numeric=(*schema.numeric, *derived_names(schema)),
    )


def row_schema(schema: Schema) -> Schema:
    """Return the schema of rows with the derived columns of single rows: all but changes."""
    return dataset_schema(msgspec.structs.replace(schema, changes=UNSET))


def reading_schema(schema: Schema) -> Schema:
    """Return the schema of files, for the schema of a dataset.

    A schema without dates is returned unchanged.
    """
    if not schema.date:
        return schema
    derived = set(derived_names(schema))
    return msgspec.structs.replace(
        schema,
        ids=(schema.client_key,),
        numeric=tuple(name for name in schema.numeric if name not in derived),
    )


def format_days(days: NDArray[Any]) -> NDArray[np.str_]:
    """Return days, counted from 1970-01-01, as ISO dates."""
    moments = np.asarray(days).astype(np.int64).astype("datetime64[D]")
    return np.datetime_as_string(moments)


def format_day(day: int) -> str:
    """Return a day, counted from 1970-01-01, as an ISO date."""
    return str(np.datetime64(day, "D"))


def iso_day(text: str) -> int:
    """Return the day of an ISO date, counted from 1970-01-01."""
    return parse_date(text).toordinal() - EPOCH


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Return the ratio of two columns, missing where undefined."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = numerator / denominator
    return np.where(np.abs(ratio) <= LARGEST_NUMBER, ratio + 0.0, np.nan)


def derive_alone(columns: Mapping[str, Floats], schema: Schema) -> dict[str, Floats]:
    """Compute the derived columns of single rows.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        The numeric columns, and the columns of dates and the row's own date as days counted from
        1970-01-01. NaN is missing.
    schema : Schema
        With dates and ratios.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_rows,)
        Days and ratios by the names of `derived_names`. A ratio is missing if either side is, or if
        it is not defined.
    """
    days = {days_since(name): columns[schema.as_of] - columns[name] for name in schema.date_formats}
    ratios = {
        name: divide(columns[above], columns[below])
        for name, (above, below) in (schema.ratios or {}).items()
    }
    return days | ratios


def derive_changes(
    columns: Mapping[str, Floats], before: Mapping[str, Floats], schema: Schema
) -> dict[str, Floats]:
    """Compute the changes of rows since the client's row before, NaN without a row before."""
    return {change_of(name): columns[name] - before[name] for name in schema.changes or ()}


def derive(
    columns: Mapping[str, Floats], before: Mapping[str, Floats], schema: Schema
) -> dict[str, Floats]:
    """Compute the derived columns of rows.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray of shape (n_rows,)
        As for `derive_alone`.
    before : mapping of str to numpy.ndarray of shape (n_rows,)
        The columns of `schema.changes` in the client's row before, NaN without one.
    schema : Schema
        With dates, changes and ratios.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_rows,)
        Days, changes and ratios by the names of `derived_names`.
    """
    return derive_alone(columns, schema) | derive_changes(columns, before, schema)


def count_days(
    days: NDArray[np.int64], n_rows: NDArray[np.int64] | NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the different days, sorted, with their numbers of rows.

    Each of the `days` stands for `n_rows` rows, by default for one.
    """
    if not len(days):
        return days, days
    # Faster than a sort, and the days from the year 1 to 9999 are few.
    first, last = int(days.min()), int(days.max())
    counts = np.zeros(last - first + 1)
    for start in range(0, len(days), PART_ROWS):
        part = days[start : start + PART_ROWS] - first
        weights = None if n_rows is None else n_rows[start : start + PART_ROWS]
        if weights is not None and weights.dtype == np.bool_:
            part, weights = part[weights], None
        counts += np.bincount(part, weights=weights, minlength=len(counts))
    found = np.flatnonzero(counts)
    return found + first, counts[found].astype(np.int64)


def first_and_last(days: NDArray[np.int64], chosen: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return the first and the last day of the chosen rows, None without one."""
    ends: list[int] = []
    for start in range(0, len(days), PART_ROWS):
        part = days[start : start + PART_ROWS][chosen[start : start + PART_ROWS]]
        ends += [int(part.min()), int(part.max())] if len(part) else []
    return (min(ends), max(ends)) if ends else None


def find_whole_days(
    days: NDArray[np.int64], n_rows: NDArray[np.int64] | NDArray[np.bool_] | None = None,
    share: float = 0.1,
) -> NDArray[np.int64]:  # fmt: skip
    """Return the days with at least a tenth of the rows of the fullest day, sorted.

    A day with fewer rows is an addition to the extract before, such as an upload of some clients.
    Each day stands for `n_rows` rows, by default for one.
    """
    found, counts = count_days(days, n_rows)
    whole: NDArray[np.int64] = found[counts >= share * counts.max(initial=0)]
    return whole


def ranking_schema(schema: Schema, header: Sequence[str]) -> Schema:
    """Return the schema of a client table for a ranking with a model.

    Parameters
    ----------
    schema : Schema
        The schema of the model.
    header : sequence of str
        The columns of the table. Without the column of the row's own date `as_of` counts, and
        without both the rows are of today. The column of leaving may be missing.

    Returns
    -------
    Schema
        Without a target. Without dates otherwise the schema of the model.
    """
    wanted = msgspec.structs.replace(reading_schema(schema), target="")
    if not set(schema.leaving_names) <= set(header):
        wanted = msgspec.structs.replace(wanted, leaving=UNSET)
    own = schema.date_column
    if own is None or own.column in header:
        return wanted
    return msgspec.structs.replace(wanted, date=AS_OF if AS_OF in header else FILE_NAME)


def list_days(columns: Mapping[str, Sequence[Any]], schema: Schema, day: int) -> list[int]:
    """Return the day of each row of a table: of its column, of `as_of`, or the same for all."""
    n_rows = len(columns[schema.client_key])
    return list(columns.get(schema.as_of) or columns.get(AS_OF) or [day] * n_rows)


def has_left(cell: Any, day: int, schema: Schema) -> bool:
    """Return whether a cell of the column of leaving says that a client has left on a day."""
    leaving = schema.leaving_column
    if leaving is not None and leaving.labels:
        return normalise_label(cell) in map(normalise_label, leaving.labels)
    return bool(cell <= day)


def leave_out_leavers(
    columns: Mapping[str, Sequence[Any]], schema: Schema, day: int
) -> tuple[dict[str, list[Any]], int]:
    """Return the rows of a table without those of clients who have left by their latest row.

    Parameters
    ----------
    columns : mapping of str to sequence of shape (n_rows,)
        The columns read by `ranking_schema`, days counted from 1970-01-01, NaN where blank.
    schema : Schema
        The schema of the model.
    day : int
        The day of rows without a date of their own.

    Returns
    -------
    tuple of dict of str to list and int
        The columns, and the number of clients left out. Without a column of leaving it is 0.
    """
    everything = {name: list(values) for name, values in columns.items()}
    if not schema.leaving_names or schema.leaving_names[0] not in columns:
        return everything, 0
    clients, cells = columns[schema.client_key], columns[schema.leaving_names[0]]
    days = list_days(columns, schema, day)
    latest: dict[str, int] = {}
    for place, client in enumerate(clients):
        if client not in latest or days[place] >= days[latest[client]]:
            latest[client] = place
    gone = {name for name, n in latest.items() if has_left(cells[n], days[n], schema)}
    kept = [place for place, client in enumerate(clients) if client not in gone]
    return {name: [values[n] for n in kept] for name, values in everything.items()}, len(gone)


def derive_latest(
    columns: Mapping[str, Sequence[Any]], schema: Schema, day: int
) -> dict[str, list[Any]]:
    """Return the latest row of each client of a table, with the columns of a model.

    Parameters
    ----------
    columns : mapping of str to sequence of shape (n_rows,)
        The columns read by `ranking_schema`, days counted from 1970-01-01.
    schema : Schema
        The schema of the model.
    day : int
        The day of rows without a date of their own.

    Returns
    -------
    dict of str to list of shape (n_clients,)
        The features and the key. Without dates the columns of the table.
    """
    if not schema.date:
        return {name: list(values) for name, values in columns.items()}
    clients = columns[schema.client_key]
    days = list_days(columns, schema, day)
    order = sorted(range(len(clients)), key=lambda place: (clients[place], days[place]))
    following = [*order[1:], None]
    last, before = [], []
    previous: int | None = None
    for place, after in zip(order, following, strict=True):
        if after is None or clients[after] != clients[place]:
            last.append(place)
            before.append(previous)
            previous = None
        else:
            previous = place
    chosen = {name: [values[place] for place in last] for name, values in columns.items()}
    chosen[schema.as_of] = [days[place] for place in last]
    earlier = {
        name: np.array([np.nan if k is None else columns[name][k] for k in before], np.float64)
        for name in schema.changes or ()
    }
    sources = {*reading_schema(schema).numeric, *schema.date_formats, schema.as_of}
    numbers = {name: np.array(chosen[name], np.float64) for name in sources}
    derived = derive(numbers, earlier, schema)
    return chosen | {name: values.tolist() for name, values in derived.items()}
