"""Spells tables as CSV that a spreadsheet cannot take for formulas."""

import csv
import io
from collections.abc import Iterable, Sequence

# What spreadsheets begin a formula with, or skip before one.
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")
# A spreadsheet shows what follows it as text.
PREFIX = "'"

Cell = str | int | float | None


def spell_cell(cell: Cell) -> str:
    """Spell a cell: text that could be a formula gets a prefix, a number stays what it is."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return PREFIX + cell if cell.startswith(DANGEROUS) else cell
    return repr(cell)


def spell_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
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
        Every text cell that begins with = + - @, tab, CR or LF has a ' before it.

    Notes
    -----
    OWASP, "CSV Injection".
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([spell_cell(name) for name in header])
    writer.writerows([spell_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()
