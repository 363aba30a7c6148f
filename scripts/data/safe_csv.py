"""Spells tables as CSV that a spreadsheet cannot take for formulas."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

# The signs of full width count as the others where text is typed in Chinese, Japanese or Korean.
SIGNS = "=+@\uff1d\uff0b\uff0d\uff20-"
# What spreadsheets begin a formula with, or skip before one.
DANGEROUS = (*SIGNS, "\t", "\r", "\n")
# Where a spreadsheet takes ; or a tab for the separator, a cell begins within ours. What stands
# between is matched from its start only, so that a long cell of blanks takes no longer than others.
BETWEEN = re.compile(rf'(?<![;\s"])[;\s"]++(?=[{SIGNS}])')
SEPARATOR = re.compile(r"[;\t\r\n]")
# A spreadsheet shows what follows it as text.
PREFIX = "'"

Cell = str | int | float | None


def protect(found: re.Match[str]) -> str:
    """Return what stands before a sign, with the prefix behind it if a cell may begin there."""
    return found[0] + PREFIX if SEPARATOR.search(found[0]) else found[0]


def format_cell(cell: Cell) -> str:
    """Spell a cell: text that could be a formula gets a prefix, a number stays what it is."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        text = BETWEEN.sub(protect, cell)
        return PREFIX + text if text.startswith(DANGEROUS) else text
    return repr(cell)


def format_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Spell a table as CSV, with CRLF line ends as RFC 4180 has them.

    Parameters
    ----------
    header : sequence of str
        The names of the columns.
    rows : iterable of sequence of str, int, float or None
        None is a blank.

    Returns
    -------
    str
        Every text cell that begins with = + - @ (also of full width), tab, CR or LF has a '
        before it, and so has each such sign after a ; tab or line end within a cell.

    Notes
    -----
    OWASP, "CSV Injection".
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([format_cell(name) for name in header])
    writer.writerows([format_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()
