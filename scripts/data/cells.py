"""The rules of a cell of a client table: numbers, labels and identifiers."""

import functools
import math
import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from scripts.core import dates
from scripts.core.config import NumberMarks, Schema, normalise_label
from scripts.data.read_report import LABEL_REASON

MISSING_CATEGORY = ""
# The largest whole number up to which floats hold every integer exactly.
LARGEST_NUMBER = float(2**53)
MAX_SHOWN = 40
MAX_SHOWN_NAMES = 20
# Each text matches in at most one way: with "\d+\.?\d*" a long wrong cell would take hours.
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Groups of three digits, for each thousands separator that can be declared.
GROUPED = {
    mark: re.compile(rf"[+-]?\d{{1,3}}({re.escape(mark)}\d{{3}})+", re.ASCII) for mark in ",. '"
}
# Programs write these spaces for a thousands separator that is declared as a space.
WIDE_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " "})
PLAIN = NumberMarks()
EPOCH = date(1970, 1, 1).toordinal()
EXAMPLE = date(2026, 3, 31)
# The label of a client whose outcome is not known yet: the cell is empty.
UNLABELLED = -1


class BadCellError(ValueError):
    """A wrong cell: the expected format, the value found and the column.

    They are kept apart because the value is a client's data. It goes to the rejected rows and
    never to a log.
    """

    def __init__(self, expected: str, found: str = "", column: str = "") -> None:
        super().__init__(expected)
        self.expected, self.found, self.column = expected, found, column


def shorten(value: str) -> str:
    """Return a value for a message, shortened and quoted."""
    return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "...")


def shorten_all(names: Sequence[str]) -> str:
    """Return the first names for a message, shortened and quoted."""
    shown = [shorten(name) for name in names[:MAX_SHOWN_NAMES]]
    return ", ".join([*shown, "..."] if len(names) > len(shown) else shown)


def without_currency(text: str, sign: str) -> str:
    """Return a number without the declared currency sign, before or behind it."""
    plus = text[:1] if text[:1] in ("-", "+") else ""
    bare = text.removeprefix(plus).lstrip()
    if bare.startswith(sign):
        return plus + bare.removeprefix(sign).lstrip()
    return text.removesuffix(sign).rstrip() if text.endswith(sign) else text


def plain_number(text: str, marks: NumberMarks) -> str:
    """Return a number without its declared marks, or "" if the marks are wrong.

    Parameters
    ----------
    text : str
        A cell without spaces around the number.
    marks : NumberMarks
        The marks declared for the column.

    Returns
    -------
    str
        "1,234.5" is "1234.5" where "," is declared. "12,34" is no number, since groups have three
        digits. "12.5%" is "12.5" where a trailing % is declared, and "-$12" is "-12" where the
        currency is "$".
    """
    if marks.currency:
        text = without_currency(text, marks.currency)
    if marks.percent:
        text = text.removesuffix("%").rstrip()
    whole, mark, fraction = text.partition(marks.decimal)
    if marks.thousands:
        grouped = whole.translate(WIDE_BLANKS) if marks.thousands == " " else whole
        if marks.thousands in grouped:
            if not GROUPED[marks.thousands].fullmatch(grouped):
                return ""
            whole = grouped.replace(marks.thousands, "")
    if "." in whole or "." in fraction:
        return ""
    return f"{whole}.{fraction}" if mark else whole


def parse_number(text: str, minimum: float | None, marks: NumberMarks = PLAIN) -> float:
    """Return the number of a numeric cell, NaN for an empty cell.

    It must be finite, at most 2**53 and not below the minimum.
    """
    text = text.strip()
    if not text:
        return math.nan
    plain = text if marks == PLAIN else plain_number(text, marks)
    if not NUMBER.fullmatch(plain):
        sign = f", or with the sign {marks.currency}" if marks.currency else ""
        raise BadCellError(f"expected a number{sign} or nothing", text)
    number = float(plain)
    if abs(number) > LARGEST_NUMBER:
        raise BadCellError("expected a number up to 2**53", text)
    if minimum is not None and number < minimum:
        raise BadCellError(f"expected at least {minimum:g}", text)
    return number + 0.0  # turns -0.0 into 0.0, so that equal rows are equal


def is_number(text: str, marks: NumberMarks = PLAIN) -> bool:
    """Return whether a cell holds a number."""
    try:
        return not math.isnan(parse_number(text, None, marks))
    except BadCellError:
        return False


def parse_id(text: str) -> str:
    """Return the text of an identifier, which must not be empty."""
    text = text.strip()
    if not text:
        raise BadCellError("expected an identifier", text)
    return text


@functools.lru_cache(maxsize=2**14)
def day_of(text: str, date_format: str) -> float:
    """Return the day of a date, counted from 1970-01-01, with the last ones kept."""
    return float(dates.parse_date(text, date_format).toordinal() - EPOCH)


def parse_day(text: str, date_format: str, *, is_needed: bool = False) -> float:
    """Return the day of a date, counted from 1970-01-01, NaN for an empty cell if permitted."""
    text = text.strip()
    is_none = not text or dates.is_no_day(text)
    if is_none and not is_needed:
        return math.nan
    reason = f"expected a date such as {EXAMPLE:{date_format}}"
    if is_none:
        raise BadCellError(reason, text)
    try:
        return day_of(text, date_format)
    except ValueError as error:
        raise BadCellError(reason, text) from error


def name_client(identifiers: Sequence[str]) -> str:
    """Return the name of a client: the identifiers, joined by " | ".

    A stroke or backslash in one of several identifiers gets a backslash before it, so that two
    clients never have the same name.
    """
    if len(identifiers) == 1:
        return identifiers[0]
    return " | ".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in identifiers)


def parse_label(text: str, labels: dict[str, int], *, needs_label: bool = True) -> int:
    """Return the class of a declared label, or UNLABELLED for an empty cell if that is allowed."""
    try:
        return labels[normalise_label(text)]
    except (KeyError, OverflowError) as error:
        if not needs_label and not text.strip():
            return UNLABELLED
        raise BadCellError(f"{LABEL_REASON} {list(labels)}", text) from error


def cell_parsers(schema: Schema, *, needs_label: bool = True) -> dict[str, Callable[[str], Any]]:
    """Return the parser of the cells of each column of the schema."""
    labels, minimums = schema.labels, schema.minimums

    def number_parser(name: str) -> Callable[[str], float]:
        """Return the parser of a numeric column."""
        minimum, marks = minimums.get(name), schema.marks(name)
        return lambda text: parse_number(text, minimum, marks)

    parsers: dict[str, Callable[[str], Any]] = dict.fromkeys(schema.ids, parse_id)
    parsers |= {name: number_parser(name) for name in schema.numeric}
    parsers |= dict.fromkeys((*schema.categorical, *schema.status_columns), str.strip)
    parsers |= {
        name: functools.partial(parse_day, date_format=date_format, is_needed=name == schema.as_of)
        for name, date_format in schema.date_cells.items()
    }
    if schema.target:
        parsers[schema.target] = lambda text: parse_label(text, labels, needs_label=needs_label)
    return parsers
