"""The worklist as an Excel workbook, read back by openpyxl and as XML."""

import io
import re
import tracemalloc
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl.worksheet.worksheet import Worksheet

from scripts.clients import workbook
from scripts.clients.workbook import Sheet
from scripts.data.safe_csv import Cell

COLUMNS = ["position", "client", "probability", "change", "previous_at", "contacted_on", "gain", ""]
MOMENT = "2026-11-02T03:04:05+00:00"
ROW: list[Cell] = [1, "x", 0.75, -0.25, MOMENT, "2026-11-03", 12.5, 71.0]
FORMULAS = (
    "=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1+1", "\n=1+1", " =1", "\uff1d1+1",
    "#N/A", "#DIV/0!", "=", "-",
)  # fmt: skip


def written(rows: Sequence[Sequence[Cell]], columns: Sequence[str] = COLUMNS) -> bytes:
    """Return a workbook of some rows."""
    buffer = io.BytesIO()
    workbook.write(Sheet(columns, columns, rows, {"Scored at": MOMENT}), buffer)
    return buffer.getvalue()


def opened(rows: Sequence[Sequence[Cell]], columns: Sequence[str] = COLUMNS) -> Worksheet:
    """Return the sheet of the clients, as openpyxl reads it."""
    book = openpyxl.load_workbook(io.BytesIO(written(rows, columns)))
    sheet: Worksheet = book["Worklist"]
    return sheet


def test_numbers_and_dates_are_real_ones_in_the_formats_of_their_columns() -> None:
    sheet = opened([ROW])

    values = [cell.value for cell in sheet[2]]
    assert values == [
        1, "x", 0.75, -0.25, datetime.fromisoformat(MOMENT[:19]),
        datetime.fromisoformat("2026-11-03"), 12.5, 71,
    ]  # fmt: skip
    assert [cell.number_format for cell in sheet[2]] == [
        "General", "General", "0.0%", "+0.0%;-0.0%;0.0%", "yyyy-mm-dd hh:mm", "yyyy-mm-dd",
        "#,##0.00", "General",
    ]  # fmt: skip
    assert [cell.data_type for cell in sheet[2]] == ["n", "s", "n", "n", "d", "d", "n", "n"]


def test_the_header_stays_in_view_and_filters_the_whole_table() -> None:
    sheet = opened([ROW, ROW, ROW])

    assert [cell.value for cell in sheet[1]][:3] == ["position", "client", "probability"]
    assert sheet.freeze_panes == "C2"
    assert sheet.auto_filter.ref == "A1:H4"
    assert sheet.column_dimensions["B"].width == 24
    assert sheet.print_title_rows == "$1:$1"
    assert sheet.page_setup.orientation == "landscape"
    assert sheet["A1"].font.bold


def test_a_text_that_looks_like_a_formula_stays_a_text() -> None:
    content = written([[*FORMULAS]], [*FORMULAS])

    sheet = openpyxl.load_workbook(io.BytesIO(content))["Worklist"]
    for row in (sheet[1], sheet[2]):
        assert [(cell.value, cell.data_type) for cell in row] == [(text, "s") for text in FORMULAS]
        # Excel keeps the text after an edit of the cell, too.
        assert all(cell.quotePrefix for cell in row)
    xml = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in xml
    assert 't="e"' not in xml


def test_a_text_without_a_sign_is_no_marked_cell() -> None:
    assert not opened([[1, "gold = best", 0.5]])["B2"].quotePrefix


@settings(max_examples=60, deadline=None)
@example("a\nb", 1)
@example(" ", 1)
@example(" a ", None)
@given(
    st.text(st.characters(codec="utf-8"), max_size=9)
    | st.sampled_from([*FORMULAS, " a ", "a\nb", "a\r", "<&>\"'", "]]>", "_x0041_", "\ufffe"]),
    st.none()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_a_row_is_as_openpyxl_writes_it(text: str, number: float | None) -> None:
    buffer = io.BytesIO()
    workbook.write(Sheet(["", ""], ["a", "b"], [[text, number]], {text: number}), buffer)

    archive = zipfile.ZipFile(buffer)
    own, by_openpyxl = (
        archive.read(f"xl/worksheets/sheet{number}.xml").decode() for number in (1, 2)
    )
    # The facts are written by openpyxl, the rows are not. A header stands above the rows.
    row = own[own.index('<row r="2">') : own.index("</sheetData>")].replace('2"', '1"')
    expected = by_openpyxl[by_openpyxl.index("<row") : by_openpyxl.index("</sheetData>")]
    assert row == expected.replace('2"', '1"')


def test_more_texts_than_are_kept_are_written_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_TEXTS", 3)
    rows: list[list[Cell]] = [[number, f"client {number % 7}", 0.5] for number in range(20)]

    sheet = opened(rows, COLUMNS[:3])

    assert [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)] == rows


def test_a_very_large_sheet_has_room_in_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "LARGE", 10)

    assert [cell.value for cell in opened([ROW])[2]][:2] == [1, "x"]


def test_control_characters_and_escapes_of_excel_are_no_surprise() -> None:
    content = written([[1, "a\x00\x1bb", 0.5], [2, "_x0041_", 0.5], [3, "w" * 40_000, 0.5]])

    sheet = openpyxl.load_workbook(io.BytesIO(content))["Worklist"]
    assert sheet["B2"].value == "a\ufffd\ufffdb"
    assert len(sheet["B4"].value) == 32_767
    xml = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").decode()
    # In a file _x005F_ is an underscore (ECMA-376, 22.9.2.19).
    assert "<t>_x005F_x0041_</t>" in xml


def test_an_empty_list_has_a_header() -> None:
    sheet = opened([])

    assert sheet.auto_filter.ref == "A1:H1"
    assert sheet.max_row == 1


def test_the_facts_of_the_list_are_on_a_sheet_of_their_own() -> None:
    book = openpyxl.load_workbook(io.BytesIO(written([ROW])))

    assert book.sheetnames == ["Worklist", "About"]
    assert [cell.value for cell in book["About"][1]] == ["Scored at", MOMENT]
    assert book.properties.creator == "Dynamic Risk Assessment System"


def test_memory_does_not_grow_with_the_rows() -> None:
    def peak_bytes(n_rows: int) -> int:
        rows: Iterator[list[Cell]] = ([number, f"client {number}", 0.5] for number in range(n_rows))
        tracemalloc.start()
        with io.BytesIO() as buffer:
            workbook.write(Sheet(COLUMNS[:3], COLUMNS[:3], rows), buffer)
            size = len(buffer.getvalue())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - 2 * size

    peak_bytes(10)
    assert peak_bytes(2_000) < peak_bytes(100) + 300_000


def test_a_sheet_xml_is_well_formed_with_inline_texts_only() -> None:
    archive = zipfile.ZipFile(io.BytesIO(written([ROW])))

    assert "xl/sharedStrings.xml" not in archive.namelist()
    xml = archive.read("xl/worksheets/sheet1.xml").decode()
    assert re.search(r'<c r="B2" t="inlineStr"><is><t>x</t></is></c>', xml)
