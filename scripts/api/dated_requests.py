"""Rows of prediction requests to a model of dated clients: dates become the model's numbers."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from scripts.api.request_rows import (
    MAX_FAULTY_ROWS,
    FaultyRowsError,
    expected_number,
    find_faults,
    format_value,
)
from scripts.api.responses import Fault
from scripts.core.config import AS_OF, FILE_NAME, ISO_FORMAT, Schema
from scripts.core.dates import is_no_day, parse_date
from scripts.data import client_dates
from scripts.data.cells import EPOCH, EXAMPLE, LARGEST_NUMBER

# The member of a row with the columns of the client's row before.
BEFORE = "row_before"
MAX_DAY_BYTES = 100
Row = dict[str, Any]


class AsOf(Struct):
    """The member of a body for the day of all rows, of any type so that a wrong one is refused."""

    as_of: Raw | UnsetType = UNSET


def request_columns(schema: Schema) -> tuple[str, ...]:
    """Return the names of all used members of a row.

    They are the features and identifiers, and with dates the dates, the day and the row before.
    """
    names = (*schema.client_ids, *schema.features)
    if not schema.date:
        return names
    return tuple(dict.fromkeys((*names, *schema.date_formats, schema.as_of, AS_OF, BEFORE)))


def own_format(schema: Schema) -> str:
    """Return the format of the row's own day: that of the column, and ISO 8601 for `as_of`.

    A format of the names of files is no format of requests.
    """
    own = schema.date_column
    return ISO_FORMAT if own is None or own.column == FILE_NAME else own.format


def required_schema(schema: Schema) -> Schema:
    """Return the schema with the required features of a row, without derived columns."""
    return client_dates.reading_schema(schema)


def body_day(body: bytes) -> object:
    """Return the member `as_of` of a JSON body, or None."""
    try:
        given = msgspec.json.decode(body, type=AsOf).as_of
        if given is UNSET:
            return None
        # A longer value is no date. Its beginning is enough for the message.
        return msgspec.json.decode(given) if len(given) <= MAX_DAY_BYTES else bytes(given).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # A table of MLflow or CSV, or a fault that the strict reader has reported.
        return None


def as_number(value: object) -> float | None:
    """Return a number of a row as a float, None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if abs(value) > LARGEST_NUMBER else float(value)


def as_day(value: object, date_format: str) -> int:
    """Return a day, counted from 1970-01-01.

    Raises
    ------
    ValueError
        If the value is no date of this format.
    """
    if not isinstance(value, str):
        raise ValueError("no text")
    return parse_date(value.strip(), date_format).toordinal() - EPOCH


def is_blank(value: object) -> bool:
    """Return whether a member is no date, as a cell of a file may be, such as `0000-00-00`."""
    if isinstance(value, str):
        text = value.strip()
        return not text or is_no_day(text)
    return value is None


def divide(above: float | None, below: float | None) -> float | None:
    """Return a ratio, None where undefined."""
    if above is None or not below:
        return None
    ratio = above / below
    return ratio if abs(ratio) <= LARGEST_NUMBER else None


class DatedRows:
    """The derivation of the model's columns from the rows of a request.

    Parameters
    ----------
    schema : Schema
        The schema of the model.
    day : object
        The day of all rows, as sent; None for today.
    today : int
        The day of the request, counted from 1970-01-01.
    """

    def __init__(self, schema: Schema, day: object, today: int) -> None:
        self._schema = schema
        self._day = day
        self._today = today
        self._format = own_format(schema)
        self.faults: list[Fault] = []

    def _note(self, place: int, column: str, value: object, expected: str) -> None:
        """Note a fault."""
        fault = Fault(row=place, column=column, found=format_value(value), expected=expected)
        self.faults.append(fault)

    def _read_day(self, row: Row, place: int) -> int | None:
        """Return the day of a row: the row's date or `as_of`, the day of the body, or today."""
        for name, date_format in ((self._schema.as_of, self._format), (AS_OF, ISO_FORMAT)):
            value = row.get(name)
            if value is not None:
                return self._convert(place, name, value, date_format)
        if self._day is not None:
            return self._convert(place, AS_OF, self._day, ISO_FORMAT)
        return self._today

    def _convert(self, place: int, name: str, value: object, date_format: str) -> int | None:
        """Return the number of a day, or note a fault."""
        try:
            return as_day(value, date_format)
        except ValueError:
            self._note(place, name, value, f"a date such as {EXAMPLE:{date_format}}, or null")
            return None

    def _read_before(self, row: Row, place: int, day: int | None) -> Row:
        """Return the client's row before, empty where not sent, and note its faults."""
        schema, before = self._schema, row.get(BEFORE)
        wanted = tuple(schema.changes or ())
        if before is None or before == {}:
            return {}
        if not isinstance(before, dict) or (wanted and not any(name in before for name in wanted)):
            columns = f", such as {' and '.join(wanted)}" if wanted else ""
            self._note(place, BEFORE, before,
                       f"an object with the columns of the client's row before{columns}, or null"
                       )  # fmt: skip
            return {}
        for name in wanted:
            expected = expected_number(before.get(name), schema.minimums.get(name, -math.inf))
            if expected:
                self._note(place, f"{BEFORE}.{name}", before[name], expected)
        self._check_client(row, before, place)
        self._check_earlier(before, place, day)
        return before

    def _check_client(self, row: Row, before: Row, place: int) -> None:
        """Note a row before of another client."""
        name = self._schema.client_key
        own, other = row.get(name), before.get(name)
        if own is not None and other is not None and str(own).strip() != str(other).strip():
            self._note(place, f"{BEFORE}.{name}", other, f"the client of the row, {own}")

    def _check_earlier(self, before: Row, place: int, day: int | None) -> None:
        """Note a row before that is not of an earlier day."""
        for name, date_format in ((self._schema.as_of, self._format), (AS_OF, ISO_FORMAT)):
            value = before.get(name)
            if value is not None:
                then = self._convert(place, f"{BEFORE}.{name}", value, date_format)
                if then is not None and day is not None and then >= day:
                    expected = f"a day before that of the row, {client_dates.format_day(day)}"
                    self._note(place, f"{BEFORE}.{name}", value, expected)
                return

    def _days_since(self, row: Row, place: int, name: str, day: int | None) -> float | None:
        """Return the days from a date to the day of the row, None for a missing date."""
        value = row[name]
        if is_blank(value):
            return None
        date_format = self._schema.date_formats[name]
        then = self._convert(place, name, value, date_format)
        return None if then is None or day is None else float(day - then)

    def add(self, row: Row, place: int) -> None:
        """Add the derived columns to a row, except columns sent by the client."""
        schema, day = self._schema, self._read_day(row, place)
        before = self._read_before(row, place, day)
        for name in schema.date_formats:
            derived = client_dates.days_since(name)
            if derived not in row and name in row:
                row[derived] = self._days_since(row, place, name, day)
            elif derived not in row:
                row[derived] = None
                self.faults.append(
                    Fault(row=place, column=name, found="no such column",
                          expected="a date or null")
                )  # fmt: skip
        for name in schema.changes or ():
            now, then = as_number(row.get(name)), as_number(before.get(name))
            change = None if now is None or then is None else now - then
            row.setdefault(client_dates.change_of(name), change)
        for name, (above, below) in (schema.ratios or {}).items():
            row.setdefault(name, divide(as_number(row.get(above)), as_number(row.get(below))))


def first_faults(faults: list[Fault]) -> list[Fault]:
    """Return the faults of the first faulty rows, in the order of the rows."""
    rows = sorted({fault.row for fault in faults})[:MAX_FAULTY_ROWS]
    return sorted((f for f in faults if f.row in rows), key=lambda fault: fault.row)


def add_derived(
    rows: list[Row], schema: Schema, day: object, clock: Callable[[], int] = client_dates.today
) -> list[Row]:
    """Add the columns derived from dates to the rows of a request.

    Parameters
    ----------
    rows : list of dict
        The rows as sent: dates as text, perhaps the day and the row before.
    schema : Schema
        The schema of the model. Without dates the rows stay as they are.
    day : object
        The day of rows without one, as sent; None for today.
    clock : callable
        Returns today, the day of rows without any.

    Returns
    -------
    list of dict
        The same rows with the derived columns. A column that was sent is kept.

    Raises
    ------
    FaultyRowsError
        If a date is missing from a row or is no date, or a row before cannot be right. Faults of
        other columns of these rows are listed, too.
    """
    if not schema.date:
        return rows
    dated = DatedRows(schema, day, clock())
    for place, row in enumerate(rows):
        dated.add(row, place)
        if len({fault.row for fault in dated.faults}) == MAX_FAULTY_ROWS:
            break
    if dated.faults:
        raise FaultyRowsError(first_faults(dated.faults + find_faults(rows[: place + 1], schema)))
    return rows
