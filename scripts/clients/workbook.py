"""The worklist as an Excel workbook, with real numbers and dates, and without formulas."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import IO, Any

from msgspec import Struct, field
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ERROR_CODES, ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties

from scripts.data.safe_csv import DANGEROUS, Cell

TITLE, FACTS = "Worklist", "About"
MAKER = "Dynamic Risk Assessment System"
# Excel reads _x0041_ in a text as the letter A, unless the underscore is written the same way.
ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
UNDERSCORE = "_x005F_"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# The longest text of a cell, by Microsoft's "Excel specifications and limits".
MAX_TEXT = 32_767
PERCENT, POINTS, AMOUNT = "0.0%", "+0.0%;-0.0%;0.0%", "#,##0.00"
DAY, MOMENT = "yyyy-mm-dd", "yyyy-mm-dd hh:mm"
# The number format of the columns that are no plain numbers and texts.
FORMATS = {
    "probability": PERCENT, "previous_probability": PERCENT, "change": POINTS,
    "value": AMOUNT, "gain": AMOUNT, "previous_at": MOMENT, "held_out_until": DAY,
    "contacted_on": DAY, "snoozed_until": DAY,
}  # fmt: skip
# Widths in characters; a name of a column may break into two lines.
WIDTHS = {
    "position": 9, "client": 24, "band": 9, "reason_1": 44, "reason_2": 44, "reason_3": 44,
    "favour_1": 36, "favour_2": 36, "note": 40, "previous_at": 17,
}  # fmt: skip
WIDTH = 14
FACT_WIDTHS = (24, 60)
# The number of the paper size in ECMA-376, 18.3.1.63.
A4 = 9


class Sheet(Struct, frozen=True):
    """The content of a workbook: columns, titles, rows, and facts about the list.

    `columns` are the names by which formats and widths are chosen, "" for a column without a name
    of ours. `titles` stand in the first row.
    """

    columns: Sequence[str]
    titles: Sequence[str]
    rows: Iterable[Sequence[Cell]]
    facts: Mapping[str, Cell] = field(default_factory=dict)


def as_text(text: str) -> str:
    """Return a text for a cell, with a sign in place of each control character."""
    clean = ILLEGAL_CHARACTERS_RE.sub(REPLACEMENT, text)
    return ESCAPED.sub(UNDERSCORE, clean)[:MAX_TEXT]


def as_day(text: str) -> date:
    """Return a day of ISO 8601."""
    return date.fromisoformat(text)


def as_moment(text: str) -> datetime:
    """Return a moment in UTC without zone, since a workbook has no zones."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def is_risky(text: str) -> bool:
    """Return whether a program could take a text for a formula or an error."""
    return text.lstrip(" ").startswith(DANGEROUS) or text in ERROR_CODES


def as_dated(value: str | int | float, number_format: str) -> int | float | date | datetime:
    """Return the day or the moment of a text, and a number unchanged."""
    if not isinstance(value, str):
        return value
    return as_day(value) if number_format == DAY else as_moment(value)


def as_cell(sheet: Any, value: str) -> Any:
    """Return a text for a cell, marked if a spreadsheet would take the text for a formula."""
    text = as_text(value)
    if not is_risky(text):
        return text
    cell = WriteOnlyCell(sheet, text)
    # openpyxl takes a text that begins with = for a formula, and #N/A for an error.
    cell.data_type = "s"
    cell.quotePrefix = True
    return cell


def make_header(sheet: Any, titles: Sequence[str]) -> list[Any]:
    """Return the cells of the header, bold and broken into lines."""
    cells = []
    for title in titles:
        cell = WriteOnlyCell(sheet, as_text(title))
        cell.data_type = "s"
        cell.quotePrefix = is_risky(title)
        cell.font = Font(bold=True)
        cell.alignment = Alignment(wrap_text=True, vertical="top")
        cells.append(cell)
    return cells


def lay_out(page: Any, columns: Sequence[str]) -> None:
    """Set widths, the frozen header, and the print on A4, before the first row."""
    for place, name in enumerate(columns, start=1):
        page.column_dimensions[get_column_letter(place)].width = WIDTHS.get(name, WIDTH)
    page.freeze_panes = "C2"
    page.page_setup.orientation = "landscape"
    page.page_setup.paperSize = A4
    page.page_setup.fitToHeight = 0
    page.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    page.print_title_rows = "1:1"


class RowWriter:
    """The writer of the rows of a sheet, with the same memory for any number of rows.

    Parameters
    ----------
    sheet : openpyxl.worksheet._write_only.WriteOnlyWorksheet
        The sheet.
    columns : sequence of str
        The names of the columns.
    """

    def __init__(self, sheet: Any, columns: Sequence[str]) -> None:
        self._sheet = sheet
        # A cell is written at once, so the cell of a column serves every row.
        self._formatted = {
            place: self._make_cell(FORMATS[name])
            for place, name in enumerate(columns)
            if name in FORMATS
        }

    def append(self, row: Sequence[Cell]) -> None:
        """Write a row."""
        self._sheet.append([self._cell(value, place) for place, value in enumerate(row)])

    def _make_cell(self, number_format: str) -> Any:
        """Return an empty cell of a number format."""
        cell = WriteOnlyCell(self._sheet)
        cell.number_format = number_format
        return cell

    def _cell(self, value: Cell, place: int) -> object:
        """Return a cell, or a plain number or text."""
        if value is None:
            return None
        cell = self._formatted.get(place)
        if cell is not None:
            cell.value = as_dated(value, cell.number_format)
            return cell
        return as_cell(self._sheet, value) if isinstance(value, str) else value


def write_facts(sheet: Any, facts: Mapping[str, Cell]) -> None:
    """Write the facts about a list, a row each."""
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = FACT_WIDTHS
    writer = RowWriter(sheet, ())
    for row in facts.items():
        writer.append(row)


def write(sheet: Sheet, handle: IO[bytes]) -> int:
    """Write a workbook, and return the number of rows below the header.

    Parameters
    ----------
    sheet : Sheet
        The content. Of the rows one is in memory at a time.
    handle : file object
        Open for writing bytes.

    Returns
    -------
    int
        The number of rows.

    Notes
    -----
    openpyxl, "Optimised Modes", write-only mode. A text is marked with `quotePrefix` where it looks
    like a formula, so that it stays a text when somebody edits the cell.
    """
    book = Workbook(write_only=True)
    book.properties.creator = MAKER
    page = book.create_sheet(TITLE)
    lay_out(page, sheet.columns)
    page.append(make_header(page, sheet.titles))
    writer, n_rows = RowWriter(page, sheet.columns), 0
    for row in sheet.rows:
        writer.append(row)
        n_rows += 1
    page.auto_filter.ref = f"A1:{get_column_letter(len(sheet.columns))}{n_rows + 1}"
    write_facts(book.create_sheet(FACTS), sheet.facts)
    book.save(handle)
    return n_rows
