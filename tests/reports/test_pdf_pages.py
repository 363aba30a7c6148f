"""The PDF pages: room, page breaks, headings and fonts."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from matplotlib.axes import Axes
from pypdf import PdfReader

from scripts.reports import chart_style, pdf_pages
from scripts.reports.chart_style import Drawing, Theme
from scripts.reports.pdf_pages import (
    BOTTOM,
    LINE,
    PdfLayout,
    TableColumn,
    fit_cell,
    fit_sentence,
    is_plain,
    wrap,
)

NOW = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
COLUMNS = (TableColumn("name", 0.6), TableColumn("number", 0.2, True))


def read(layout: PdfLayout) -> PdfReader:
    """Render pages and read the PDF with another program in strict mode."""
    return PdfReader(io.BytesIO(layout.render()), strict=True)


def texts_of(layout: PdfLayout) -> list[str]:
    """Read the text of each page."""
    return [page.extract_text() for page in read(layout).pages]


def fonts_of(reader: PdfReader) -> set[str]:
    """Return the fonts of a document."""
    resources: list[Any] = [page["/Resources"] for page in reader.pages]
    fonts = [font for one in resources for font in one["/Font"].values()]
    return {str(font.get_object()["/BaseFont"]) for font in fonts}


def test_a_text_is_cut_between_words() -> None:
    text = "Revenue to date 30,743 EUR; clients who stay: 1,321 EUR"

    assert pdf_pages.first_words(text, 1000) == text
    cut = pdf_pages.first_words(text, 150)
    assert text.startswith(cut.removesuffix(" …"))
    assert cut.endswith(" …")
    assert pdf_pages.fits(cut, 150, pdf_pages.SMALL)


def test_a_report_knows_its_title_and_time() -> None:
    reader = read(PdfLayout("A report", NOW))

    assert reader.metadata is not None
    assert reader.metadata.title == "A report"
    assert reader.metadata.creation_date == NOW
    assert (reader.pages[0].mediabox.width, reader.pages[0].mediabox.height) == (595, 842)


def test_each_page_tells_its_number() -> None:
    layout = PdfLayout("A report", NOW)
    layout.start_page()

    first, second = texts_of(layout)

    assert "A report, 2026-11-24 10:30 UTC" in first
    assert "page 1 of 2" in first
    assert "page 2 of 2" in second


def test_a_long_table_goes_on_with_its_headings() -> None:
    layout = PdfLayout("A report", NOW)
    layout.heading("Files")
    layout.table(COLUMNS, [(f"file {number}", str(number)) for number in range(100)])

    pages = texts_of(layout)

    assert len(pages) == 2
    assert all("name" in page and "number" in page for page in pages)
    # Each row is there once, whole.
    found = [line for page in pages for line in page.splitlines() if line.startswith("file ")]
    assert [int(line.split()[1]) for line in found] == list(range(100))


def test_nothing_is_written_below_the_margin() -> None:
    layout = PdfLayout("A report", NOW)
    for number in range(60):
        layout.heading(f"Section {number}")
        layout.paragraph("Some words. " * 40)
        layout.facts([("A fact", "It is so. " * 50)])

    lowest = min(text.get_position()[1] for figure in layout.figures for text in figure.texts)

    assert lowest * 842 >= BOTTOM - 15


@pytest.mark.parametrize("used", range(60, 100, 4))
def test_a_heading_stays_with_the_table_of_one_row_below_it(used: int) -> None:
    layout = PdfLayout("A report", NOW)
    layout.y = BOTTOM + used

    layout.heading("Runs", 3 * LINE)
    layout.table(COLUMNS, [("only row", "1")])

    pages = [number for number, text in enumerate(texts_of(layout)) if "Runs" in text]
    assert pages == [n for n, text in enumerate(texts_of(layout)) if "only row" in text]


def test_a_heading_stays_with_what_it_is_for() -> None:
    layout = PdfLayout("A report", NOW)
    layout.y = BOTTOM + 50
    layout.heading("Alone?")

    assert len(layout.figures) == 2


def draw(axes: Axes, theme: Theme) -> None:
    """Draw a line."""
    axes.plot([0, 1], [0, 1], color=theme.accent)


def test_pictures_stand_side_by_side_below_their_titles() -> None:
    pictures = [
        Drawing(f"n{n}", f"Title {n}", "A line.", "models", 480, 360, (draw,)) for n in range(3)
    ]
    layout = PdfLayout("A report", NOW)
    layout.charts(pictures, 2, 200)

    boxes = [axes.get_position() for axes in layout.figures[0].axes]
    assert boxes[0].y0 == boxes[1].y0 > boxes[2].y1
    assert boxes[0].x1 < boxes[1].x0
    assert all(f"Title {n}" in texts_of(layout)[0] for n in range(3))


def test_pictures_that_do_not_fit_start_a_page() -> None:
    picture = Drawing("n", "Title", "A line.", "models", 480, 360, (draw,))
    layout = PdfLayout("A report", NOW)
    layout.charts([picture] * 4, 1, 300)

    assert [len(figure.axes) for figure in layout.figures] == [2, 2]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("größe ± …", True),
        ("plain", True),
        ("Кириллица", False),
        ("中文", False),
        ("\ufffd", False),
    ],
)
def test_what_every_reader_can_spell_needs_no_font_of_ours(text: str, plain: bool) -> None:
    layout = PdfLayout("A report", NOW)
    layout.paragraph(text)
    fonts = fonts_of(read(layout))

    assert is_plain(text) is plain
    assert all(font.startswith("/Helvetica") for font in fonts) is plain


def draw_cyrillic(axes: Axes, theme: Theme) -> None:
    """Draw a line with a legend in Cyrillic letters."""
    axes.plot([0, 1], [0, 1], color=theme.accent, label="Кириллица")
    chart_style.add_legend(axes, theme)


def test_other_letters_in_a_picture_are_embedded_and_can_be_read_again() -> None:
    layout = PdfLayout("A report", NOW)
    picture = Drawing("n", "Plain title", "A line.", "models", 480, 360, (draw_cyrillic,))
    layout.charts([picture], 1, 300)

    reader = read(layout)

    assert "Кириллица" in reader.pages[0].extract_text()
    assert not any(font.startswith("/Helvetica") for font in fonts_of(reader))


def test_other_letters_can_be_read_again() -> None:
    layout = PdfLayout("A report", NOW)
    layout.paragraph("Кириллица και Ελληνικά")

    assert "Кириллица και Ελληνικά" in texts_of(layout)[0]


def test_equal_content_at_the_same_time_is_equal_bytes() -> None:
    first, second = (PdfLayout("A report", NOW) for _ in range(2))

    assert first.render() == second.render()


@pytest.mark.parametrize("text", ["$x$ and $y$", "<b>", "a\x00b\x1b[31m", "(bracket \\) \\n"])
def test_hostile_text_is_text(text: str) -> None:
    layout = PdfLayout("A report", NOW)
    layout.table(COLUMNS, [(text, "1")])

    assert text.replace("\x00", "\ufffd").replace("\x1b", "\ufffd") in texts_of(layout)[0]


@pytest.mark.parametrize("length", [1, 10, 60, 300])
def test_a_cell_is_shortened_in_its_middle(length: int) -> None:
    text = "a" + "x" * length + "b"

    cell = fit_cell(text, 100)

    assert (cell[0], cell[-1]) == ("a", "b")
    assert cell == text or ("…" in cell and len(cell) < len(text))


@pytest.mark.parametrize("width", range(34, 400, 7))
def test_a_sentence_is_shortened_at_its_end_and_never_in_a_number(width: int) -> None:
    cut = fit_sentence("the candidate is better: F1 0.7134 on 1000 rows (364 positive)", width)

    assert cut.removesuffix(" …") in (
        "the candidate is better: F1 0.7134 on 1000 rows (364 positive)",
        "the candidate is better: F1 0.7134 on 1000 rows", "the candidate is better",
        "the candidate is", "the candidate", "the",
    )  # fmt: skip


def test_the_reason_of_a_run_is_a_sentence() -> None:
    reason = "nothing new: the candidate has F1 0.71345678 on 1000 test rows of 12 files"
    layout = PdfLayout("A report", NOW)
    layout.table((TableColumn("why", 0.36, is_sentence=True),), [(reason,)])

    assert "nothing new …" in texts_of(layout)[0]


def test_lines_are_broken_between_words() -> None:
    assert wrap("one two three", 40, 9.0) == ["one two", "three"]
