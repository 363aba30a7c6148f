"""The worklist as an Excel workbook, with real numbers and dates, and without formulas."""

import io
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import IO, Any
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZipFile

from msgspec import Struct, field
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ERROR_CODES, ILLEGAL_CHARACTERS_RE
from openpyxl.compat import safe_string
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.utils.datetime import to_excel
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
# The sheet of the list within the archive, and the tag behind its rows.
FIRST_SHEET, ROWS_END = "xl/worksheets/sheet1.xml", b"</sheetData>"
# The header stands in the first row.
FIRST_ROW = 2
# Different texts in memory, and bytes copied, at a time.
MAX_TEXTS, COPIED = 20_000, 2**20
# Of so many bytes a sheet might be too large for the plain format of archives.
LARGE = 2**30


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


# Most clients have the moments of a few scorings.
@lru_cache(maxsize=1_000)
def as_serial(text: str, number_format: str) -> str:
    """Return the day or the moment of a text as the number by which a workbook keeps it."""
    moment = as_day(text) if number_format == DAY else as_moment(text)
    return str(safe_string(to_excel(moment)))


def mark(cell: Any) -> Any:
    """Return a cell marked as a text, though a spreadsheet would take it for a formula."""
    # openpyxl takes a text that begins with = for a formula, and #N/A for an error.
    cell.data_type = "s"
    cell.quotePrefix = True
    return cell


def as_cell(sheet: Any, value: Cell) -> Any:
    """Return a cell for openpyxl, a text marked if it looks like a formula."""
    if not isinstance(value, str):
        return value
    text = as_text(value)
    return mark(WriteOnlyCell(sheet, text)) if is_risky(text) else text


def make_header(sheet: Any, titles: Sequence[str]) -> list[Any]:
    """Return the cells of the header, bold and broken into lines."""
    cells = []
    for title in titles:
        cell = mark(WriteOnlyCell(sheet, as_text(title)))
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


class TextCells(dict[str, str]):
    """Texts as the rest of an XML cell behind its place, each made once, since most come again.

    Parameters
    ----------
    marked : str
        The attribute of the style of a text that looks like a formula.
    """

    def __init__(self, marked: str) -> None:
        super().__init__()
        self._marked = marked

    def __missing__(self, text: str) -> str:
        """Make the cell of a text at the first time."""
        if len(self) >= MAX_TEXTS:
            self.clear()
        clean = as_text(text)
        style = self._marked if is_risky(clean) else ""
        space = ' xml:space="preserve"' if clean.strip() not in ("", clean) else ""
        self[text] = cell = (
            f'{style} t="inlineStr"><is><t{space}>{escape(clean)}</t></is></c>'
            if clean
            else f'{style} t="inlineStr" />'
        )
        return cell


class RowFormatter:
    """The formatter of rows as XML, in the form in which openpyxl writes them.

    Parameters
    ----------
    sheet : openpyxl.worksheet._write_only.WriteOnlyWorksheet
        The sheet, whose workbook keeps the styles.
    columns : sequence of str
        The names of the columns.
    """

    def __init__(self, sheet: Any, columns: Sequence[str]) -> None:
        self._letters = [get_column_letter(place) for place in range(1, len(columns) + 1)]
        self._texts = TextCells(f' s="{mark(WriteOnlyCell(sheet)).style_id}"')
        self._formats = [FORMATS.get(name, "") for name in columns]
        self._styles = [self._make_style(sheet, name) if name else "" for name in self._formats]

    def format(self, row: Sequence[Cell], number: int) -> str:
        """Return a row as XML, without empty cells."""
        texts = self._texts
        cells = [
            f'<c r="{letter}{number}"'
            + (
                texts[value]
                if isinstance(value, str) and not style
                else f'{style} t="n"><v>{self._number(value, name)}</v></c>'
            )
            for letter, value, style, name in zip(
                self._letters, row, self._styles, self._formats, strict=False
            )
            if value is not None
        ]
        return f'<row r="{number}">{"".join(cells)}</row>'

    @staticmethod
    def _make_style(sheet: Any, number_format: str) -> str:
        """Return the attribute of the style of a number format."""
        cell = WriteOnlyCell(sheet)
        cell.number_format = number_format
        return f' s="{cell.style_id}"'

    @staticmethod
    def _number(value: Cell, number_format: str) -> str:
        """Return the number of a cell as text."""
        if isinstance(value, str):
            return as_serial(value, number_format)
        return str(safe_string(value))


def write_facts(sheet: Any, facts: Mapping[str, Cell]) -> None:
    """Write the facts about a list, a row each."""
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = FACT_WIDTHS
    for row in facts.items():
        sheet.append([as_cell(sheet, value) for value in row])


def format_rows(formatter: RowFormatter, rows: Iterable[Sequence[Cell]], handle: IO[bytes]) -> int:
    """Write rows as XML from the second row of a sheet on, and return their number."""
    number = FIRST_ROW - 1
    for number, row in enumerate(rows, start=FIRST_ROW):
        handle.write(formatter.format(row, number).encode())
    return number + 1 - FIRST_ROW


def insert_rows(template: IO[bytes], rows: IO[bytes], handle: IO[bytes]) -> None:
    """Copy a workbook, with rows inserted at the end of the first sheet.

    Parameters
    ----------
    template : file object
        The workbook with a header only, open for reading.
    rows : file object
        The rows as XML, at their end.
    handle : file object
        Open for writing.
    """
    n_bytes = rows.tell()
    rows.seek(0)
    with ZipFile(template) as source, ZipFile(handle, "w", ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename != FIRST_SHEET:
                target.writestr(entry, content)
                continue
            head, tail = content.split(ROWS_END)
            with target.open(entry, "w", force_zip64=n_bytes > LARGE) as sheet:
                sheet.write(head)
                shutil.copyfileobj(rows, sheet, COPIED)
                sheet.write(ROWS_END + tail)


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
    openpyxl, "Optimised Modes", write-only mode, writes all but the rows, which as objects of
    openpyxl would take five times the time. ECMA-376, 18.3.1.4 (c), 18.18.11 (inlineStr). A text is
    marked with `quotePrefix` where it looks like a formula, so that it stays a text when somebody
    edits the cell.
    """
    book = Workbook(write_only=True)
    book.properties.creator = MAKER
    page = book.create_sheet(TITLE)
    lay_out(page, sheet.columns)
    page.append(make_header(page, sheet.titles))
    with tempfile.TemporaryFile() as rows, io.BytesIO() as template:
        n_rows = format_rows(RowFormatter(page, sheet.columns), sheet.rows, rows)
        page.auto_filter.ref = f"A1:{get_column_letter(len(sheet.columns))}{n_rows + 1}"
        write_facts(book.create_sheet(FACTS), sheet.facts)
        book.save(template)
        insert_rows(template, rows, handle)
    return n_rows
