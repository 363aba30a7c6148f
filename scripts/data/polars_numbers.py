"""Numbers in cells of text as expressions of Polars, with the declared number marks."""

import math
import re

import polars as pl

from scripts.core.config import NumberMarks
from scripts.data.cells import LARGEST_NUMBER

# The blanks that `str.strip` takes off, without control characters: the rules reject these.
BLANKS = "\t \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
# Programs write these for a thousands separator that is declared as a space.
WIDE_BLANKS = " \u00a0\u202f\u2009"
EXPONENT = "(?:[eE][+-]?[0-9]{1,4})?"


def thousands_class(marks: NumberMarks) -> str:
    """Return the pattern of the declared thousands separator."""
    return f"[{WIDE_BLANKS if marks.thousands == ' ' else re.escape(marks.thousands)}]"


def number_pattern(marks: NumberMarks) -> str:
    """Return the pattern of a number without outer blanks, by `cells.parse_number`."""
    mark = re.escape(marks.decimal)
    number = f"(?:[0-9]+(?:{mark}[0-9]*)?|{mark}[0-9]+){EXPONENT}"
    if marks.thousands:
        groups = f"[0-9]{{1,3}}(?:{thousands_class(marks)}[0-9]{{3}})+"
        number = f"(?:{groups}(?:{mark}[0-9]*{EXPONENT})?|{number})"
    percent = f"(?:[{BLANKS}]*%)?" if marks.percent else ""
    return f"^[+-]?{number}{percent}$"


def prove_number(number: pl.Expr, minimum: float | None, *, is_whole: bool) -> pl.Expr:
    """Return whether a number lies within the limits of the column, False for NaN."""
    lowest = max(-math.inf if minimum is None else minimum, -LARGEST_NUMBER)
    if is_whole:
        # As integers: the float next to 2**53 + 1 is 2**53.
        return number.is_between(math.ceil(lowest), int(LARGEST_NUMBER))
    return number.is_between(lowest, LARGEST_NUMBER) & number.is_not_nan()


def without_minus(number: pl.Expr) -> pl.Expr:
    """Return a number, or 0.0 for -0.0, for the comparison of equal rows."""
    # Polars takes the addition of zero for nothing.
    return pl.when(number != 0.0).then(number).when(number.is_not_null()).then(0.0)


def plain_text(cell: pl.Expr, marks: NumberMarks) -> pl.Expr:
    """Return a cell without outer blanks, and without the declared currency sign."""
    text = cell.str.strip_chars(BLANKS)
    if not marks.currency:
        return text
    sign = re.escape(marks.currency)
    before = rf"^([+-]?)[{BLANKS}]*{sign}[{BLANKS}]*"
    behind = text.str.replace(rf"[{BLANKS}]*{sign}$", "")
    return (
        pl.when(text.str.contains(before)).then(text.str.replace(before, "${1}")).otherwise(behind)
    )


def has_number_form(cell: pl.Expr, marks: NumberMarks) -> pl.Expr:
    """Return whether a cell has the form of a number of any size."""
    return plain_text(cell, marks).str.contains(number_pattern(marks))


def convert(cell: pl.Expr, marks: NumberMarks) -> pl.Expr:
    """Return the number of a cell of the right form, null for an empty cell."""
    text = plain_text(cell, marks)
    if marks.percent:
        text = text.str.strip_suffix("%").str.strip_chars_end(BLANKS)
    if marks.thousands == " ":
        text = text.str.replace_all(thousands_class(marks), "")
    elif marks.thousands:
        text = text.str.replace_all(marks.thousands, "", literal=True)
    if marks.decimal != ".":
        text = text.str.replace(marks.decimal, ".", literal=True)
    return without_minus(text.cast(pl.Float64, strict=False))


def parse_number(
    cell: pl.Expr, marks: NumberMarks, minimum: float | None
) -> tuple[pl.Expr, pl.Expr]:
    """Return the number of a cell, null for a missing value, and whether the number is proven.

    Parameters
    ----------
    cell : polars.Expr
        A cell of text without control characters.
    marks : NumberMarks
        The marks declared for the column.
    minimum : float or None
        The lowest number of the column.

    Returns
    -------
    tuple of polars.Expr and polars.Expr
        A float, which `cells.parse_number` returns as well if the proof is True.
    """
    number = convert(cell, marks)
    within = prove_number(number, minimum, is_whole=False).fill_null(value=False)
    is_missing = cell.str.strip_chars(BLANKS) == ""
    return number, (has_number_form(cell, marks) & within) | is_missing
