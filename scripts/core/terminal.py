"""Formats tables and sentences for the width of the terminal."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

import click

GAP = 2
# A last column is wrapped in its place if so many characters are left for it.
LEAST_WRAPPED = 40
INDENT = "    "

Row = Sequence[str]


def find_width() -> int | None:
    """Return $COLUMNS or the width of the terminal. A file and a pipe have None."""
    if not os.environ.get("COLUMNS") and not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def break_line(line: str, width: int) -> list[str]:
    """Break a line at blanks. A path stays whole, so that it can be copied."""
    return textwrap.wrap(
        line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def wrap(text: str) -> str:
    """Break the lines of a text at the width of the terminal."""
    width = find_width()
    if width is None:
        return text
    return "\n".join(
        line if len(line) <= width else "\n".join(break_line(line, width))
        for line in text.split("\n")
    )


def echo(text: str) -> None:
    """Print a text, with its lines broken at the width of the terminal."""
    click.echo(wrap(text))


def wrap_cell(cell: str, width: int) -> list[str]:
    """Return the lines of a cell, each no longer than a width."""
    lines = []
    for line in cell.split("\n"):
        lines += break_line(line, width)
    return lines


def wrap_value(text: str, start: int) -> list[str]:
    """Return the lines of a text behind a label of a given length."""
    width = find_width()
    return [text] if width is None else wrap_cell(text, max(width - start, 1)) or [""]


def align(rows: Sequence[Row]) -> list[str]:
    """Return rows of cells as lines, in columns with two spaces between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gap = " " * GAP
    return [gap.join(map(str.ljust, row, widths)).rstrip() for row in rows]


def choose_columns(widths: Sequence[int], width: int) -> list[int]:
    """Choose the columns of a table of limited width, from the left, each column with room."""
    chosen: list[int] = []
    used = 0
    for number, wanted in enumerate(widths):
        needed = wanted + (GAP if chosen else 0)
        if used + needed <= width:
            chosen.append(number)
            used += needed
    return chosen


def wrap_last(rows: Sequence[Row], width: int) -> list[str]:
    """Return rows as lines, with the last column wrapped in the remaining width."""
    heads = align([row[:-1] for row in rows])
    start = max(map(len, heads)) + GAP
    lines = []
    for head, row in zip(heads, rows, strict=True):
        first, *others = wrap_cell(row[-1], width - start) or [""]
        lines.append((head.ljust(start) + first).rstrip())
        lines += [" " * start + part for part in others]
    return lines


def pack(cells: Iterable[str], width: int) -> list[str]:
    """Join cells into lines of limited width."""
    packed: list[str] = []
    for cell in cells:
        if packed and "\n" not in packed[-1] + cell and len(packed[-1]) + 2 + len(cell) <= width:
            packed[-1] += f", {cell}"
        else:
            packed.append(cell)
    return packed


def list_below(rows: Sequence[Row], chosen: Sequence[int], width: int, names: Row) -> list[str]:
    """Return rows as lines: the chosen columns in a line, the remaining columns below.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells.
    chosen : sequence of int
        The numbers of the columns that stand beside each other.
    width : int
        The longest line.
    names : sequence of str
        The name of each column, which stands before a cell of one line below.
    """
    lines = []
    heads = align([[row[n] for n in chosen] for row in rows])
    for head, row in zip(heads, rows, strict=True):
        if head:
            lines.append(head)
        if row is names:
            continue
        rest = [
            f"{name}: {cell}" if name and "\n" not in cell else cell
            for number, (name, cell) in enumerate(zip(names, row, strict=True))
            if number not in chosen and cell
        ]
        for cell in pack(rest, width - len(INDENT)):
            lines += [INDENT + part for part in wrap_cell(cell, width - len(INDENT))]
    return lines


def format_columns(rows: Sequence[Row], *, has_header: bool = True) -> str:
    """Format a table for the terminal.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells. A cell of several lines is one line where all columns fit beside each other.
    has_header : bool
        Whether the first row names the columns.

    Returns
    -------
    str
        The columns beside each other, if they fit or nobody looks at a terminal. Else the last
        column is wrapped, or the columns that do not fit stand below each row.
    """
    width = find_width()
    joined = [[cell.replace("\n", "; ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*joined, strict=True)]
    if width is None or sum(widths) + GAP * (len(widths) - 1) <= width:
        return "\n".join(align(joined))
    chosen = choose_columns(widths, width)
    room = width - sum(widths[number] + GAP for number in chosen)
    if chosen == list(range(len(widths) - 1)) and room >= LEAST_WRAPPED:
        return "\n".join(wrap_last(rows, width))
    names = rows[0] if has_header else [""] * len(widths)
    return "\n".join(list_below(rows, chosen, width, names))
