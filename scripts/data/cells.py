"""What a cell of a client table may hold: the one home of the rules of numbers, labels and ids."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from scripts.core.config import NumberMarks, Schema, normalise_label
from scripts.data.read_report import LABEL_REASON

MAX_SHOWN = 40
MAX_SHOWN_NAMES = 20
# Each text matches in at most one way: with "\d+\.?\d*" a long wrong cell would take hours.
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Groups of three digits, for each thousands separator that can be declared.
GROUPED = {
    mark: re.compile(rf"[+-]?\d{{1,3}}({re.escape(mark)}\d{{3}})+", re.ASCII) for mark in ",. '"
}
# What programs write for a thousands separator that is declared as a blank.
WIDE_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " "})
PLAIN = NumberMarks()
# Stands for the label of a client whose outcome is not known yet: the cell is blank.
UNLABELLED = -1


class BadCellError(ValueError):
    """A cell that cannot be right: what was expected, what was found, and in which column.

    They are kept apart because what was found is a client's data: it goes to the rejected rows,
    and never to a log.
    """

    def __init__(self, expected: str, found: str = "", column: str = "") -> None:
        super().__init__(expected)
        self.expected, self.found, self.column = expected, found, column


def shorten(value: str) -> str:
    """Quote a value for a message, shortened."""
    return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "...")


def shorten_all(names: Sequence[str]) -> str:
    """Quote names for a message: the first ones, shortened."""
    shown = [shorten(name) for name in names[:MAX_SHOWN_NAMES]]
    return ", ".join([*shown, "..."] if len(names) > len(shown) else shown)


def respell_number(text: str, marks: NumberMarks) -> str:
    """Respell a number that has the declared marks as a plain one; "" if its marks are not right.

    Parameters
    ----------
    text : str
        A cell without surrounding blanks.
    marks : NumberMarks
        The marks that are declared for its column.

    Returns
    -------
    str
        "1,234.5" is "1234.5" where "," is declared; "12,34" is no number, since groups have three
        digits; "12.5%" is "12.5" where a trailing % is declared.
    """
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
    """Read a numeric cell: a plain finite number not below the minimum; blank is NaN."""
    text = text.strip()
    if not text:
        return math.nan
    plain = text if marks == PLAIN else respell_number(text, marks)
    if not NUMBER.fullmatch(plain):
        raise BadCellError("expected a number or nothing", text)
    number = float(plain)
    if abs(number) > LARGEST_NUMBER:
        raise BadCellError("expected a number up to 2**53", text)
    if minimum is not None and number < minimum:
        raise BadCellError(f"expected at least {minimum:g}", text)
    return number + 0.0  # turns -0.0 into 0.0, so that equal rows are equal


def is_number(text: str, marks: NumberMarks = PLAIN) -> bool:
    """Say whether a cell that is not blank can be read as a number."""
    try:
        return not math.isnan(parse_number(text, None, marks))
    except BadCellError:
        return False


def parse_id(text: str) -> str:
    """Read an identifier: any text but none."""
    text = text.strip()
    if not text:
        raise BadCellError("expected an identifier", text)
    return text


def name_client(identifiers: Sequence[str]) -> str:
    """Name a client by the identifiers; several are joined by " | ".

    A stroke or backslash in one of several gets a backslash before it, so that two clients never
    have the same name.
    """
    if len(identifiers) == 1:
        return identifiers[0]
    return " | ".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in identifiers)


def parse_label(text: str, labels: dict[str, int], *, needs_label: bool = True) -> int:
    """Read the target: one of the two declared labels; where none is needed it may be blank."""
    try:
        return labels[normalise_label(text)]
    except (KeyError, OverflowError) as error:
        if not needs_label and not text.strip():
            return UNLABELLED
        raise BadCellError(f"{LABEL_REASON} {list(labels)}", text) from error


def cell_parsers(schema: Schema, *, needs_label: bool = True) -> dict[str, Callable[[str], Any]]:
    """Say for each column of the schema how a cell is read."""
    labels, minimums = schema.labels, schema.minimums

    def number_parser(name: str) -> Callable[[str], float]:
        minimum, marks = minimums.get(name), schema.marks(name)
        return lambda text: parse_number(text, minimum, marks)

    parsers: dict[str, Callable[[str], Any]] = dict.fromkeys(schema.ids, parse_id)
    parsers |= {name: number_parser(name) for name in schema.numeric}
    parsers |= dict.fromkeys(schema.categorical, str.strip)
    if schema.target:
        parsers[schema.target] = lambda text: parse_label(text, labels, needs_label=needs_label)
    return parsers


MISSING_CATEGORY = ""
# The largest whole number up to which floats hold every integer exactly.
LARGEST_NUMBER = float(2**53)
