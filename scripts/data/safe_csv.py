"""CSV without formulas: cells that a spreadsheet would evaluate get a prefix."""

import re
from collections.abc import Iterable, Sequence

# The signs of full width count as the others where text is typed in Chinese, Japanese or Korean.
SIGNS = "=+@\uff1d\uff0b\uff0d\uff20-"
# A formula begins with a sign; spreadsheets skip tabs and line ends before it.
DANGEROUS = (*SIGNS, "\t", "\r", "\n")
# Where a spreadsheet takes ; or a tab for the separator, a cell begins within ours. The spaces
# before a sign are matched from their start only, so that a long cell of spaces stays fast.
BETWEEN = re.compile(rf'(?<![;\s"])[;\s"]++(?=[{SIGNS}])')
SEPARATOR = re.compile(r"[;\t\r\n]")
# RFC 4180 wants a cell with one of these in quotes.
QUOTED = re.compile(r'[,"\r\n]')
# A spreadsheet shows the rest of such a cell as text.
PREFIX = "'"
# A prefix behind a separator within a cell.
PROTECTED = re.compile(rf'([;\t\r\n][;\s"]*){PREFIX}(?=[{SIGNS}])')

Cell = str | int | float | None


def protect(match: re.Match[str]) -> str:
    """Return the characters before a sign, followed by the prefix if a cell may begin there."""
    return match[0] + PREFIX if SEPARATOR.search(match[0]) else match[0]


def format_text(text: str) -> str:
    """Return a text with a prefix before every possible formula."""
    protected = BETWEEN.sub(protect, text)
    return PREFIX + protected if protected.startswith(DANGEROUS) else protected


def format_cell(cell: Cell) -> str:
    """Format a cell as text, with a prefix before every possible formula."""
    if cell is None:
        return ""
    return format_text(cell) if isinstance(cell, str) else repr(cell)


class FormattedTexts(dict[str, str]):
    """The texts of a table as cells of CSV, each formatted once, since most texts come again."""

    def __missing__(self, text: str) -> str:
        """Format a text at the first time, in quotes where RFC 4180 wants them."""
        cell = format_text(text)
        if QUOTED.search(cell):
            cell = '"' + cell.replace('"', '""') + '"'
        self[text] = cell
        return cell


def unprotect(cell: str) -> str:
    """Return the text of a cell written by `format_cell`, without the prefixes."""
    is_prefixed = cell.startswith(PREFIX) and cell[1:].startswith(DANGEROUS)
    return PROTECTED.sub(r"\1", cell[1:] if is_prefixed else cell)


def format_csv(header: Sequence[str] | None, rows: Iterable[Sequence[Cell]]) -> str:
    """Format a table as CSV without formulas, with the CRLF line ends of RFC 4180.

    Parameters
    ----------
    header : sequence of str or None
        The names of the columns. None is for rows behind others.
    rows : iterable of sequence of str, int, float or None
        Of two columns or more. None becomes an empty cell.

    Returns
    -------
    str
        Every text cell that begins with = + - @ (also of full width), tab, CR or LF has a '
        before it, and so has each such sign after a ; tab or line end within a cell.

    Notes
    -----
    OWASP, "CSV Injection".
    """
    texts = FormattedTexts()
    lines = [] if header is None else [",".join([texts[name] for name in header])]
    lines += [
        ",".join(
            [
                "" if cell is None else texts[cell] if isinstance(cell, str) else repr(cell)
                for cell in row
            ]
        )
        for row in rows
    ]
    return "\r\n".join([*lines, ""])
