"""PDF that another program reads: words, places, fonts, transparency, and nothing broken out of."""

import io
import re
from datetime import UTC, datetime

import pytest
from pypdf import PdfReader

from scripts import paper
from scripts.paper import BOLD, PdfPen
from scripts.pens import Ink

NOW = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)


def write(*pages: str, alphas: tuple[float, ...] = (), title: str = "A title") -> PdfReader:
    """Write pages of 400 by 300 points, and read them with a program that forgives nothing."""
    written = paper.write_pages(
        pages, alphas, size=(400, 300), title=title, creator="Us", made_at=NOW
    )
    return PdfReader(io.BytesIO(written), strict=True)


def show(text: str) -> str:
    """Write one line."""
    return paper.show(text, "1 0 0 1 50 200", 10, "#000000")


@pytest.mark.parametrize(
    ("text", "font", "thousandths"),
    [
        # As Adobe publishes them: H 722, e 556, l 222, o 556, a blank 278; bold l 278, o 611.
        ("Hello", paper.REGULAR, 722 + 556 + 222 + 222 + 556),
        ("Hello", BOLD, 722 + 556 + 278 + 278 + 611),
        ("o o", paper.REGULAR, 556 + 278 + 556),
        ("ö", paper.REGULAR, 556),
        ("…", paper.REGULAR, 1000),
        ("", paper.REGULAR, 0),
    ],
)
def test_words_are_as_wide_as_their_letters(text: str, font: str, thousandths: int) -> None:
    assert paper.width_of(text, 10, font) == pytest.approx(thousandths / 100)


@pytest.mark.parametrize(
    "text",
    ["plain", "größe ± … €", "(bracket", "back\\slash", r"a\)b", ") Tj ET 0 0 m", "$x$", "<<>>"],
)
def test_text_is_read_again_as_it_was(text: str) -> None:
    assert write(show(text)).pages[0].extract_text() == text


def test_letters_that_the_fonts_lack_are_question_marks() -> None:
    assert write(show("中文")).pages[0].extract_text() == "??"


@pytest.mark.parametrize("n_pages", [1, 2, 11])
def test_pages_come_in_their_order(n_pages: int) -> None:
    reader = write(*(show(f"page {number}") for number in range(n_pages)))

    texts = [page.extract_text() for page in reader.pages]
    assert texts == [f"page {number}" for number in range(n_pages)]
    assert (reader.pages[-1].mediabox.width, reader.pages[-1].mediabox.height) == (400, 300)


def test_a_document_knows_what_it_is_and_when_it_was_made() -> None:
    found = write("", title="A (strange) title").metadata

    assert found is not None
    assert (found.title, found.creator) == ("A (strange) title", "Us")
    assert found.creation_date == found.modification_date == NOW


def test_objects_are_where_the_table_says() -> None:
    written = paper.write_pages(
        [show("one"), show("two")], (), size=(400, 300), title="t", creator="c", made_at=NOW
    )

    start = int(written.rsplit(b"startxref\n", 1)[1].split()[0])
    assert written[start:].startswith(b"xref\n0 11\n")
    places = [int(place) for place in re.findall(rb"(\d{10}) 00000 n \n", written)]
    assert [written[at:].split(b" ", 1)[0] for at in places] == [b"%d" % n for n in range(1, 11)]


def test_what_is_transparent_is_named_in_the_document() -> None:
    pen = PdfPen()
    drawn = pen.path([(0, 0), (1, 0), (1, 1)], Ink("#ff0000", alpha=0.2), is_closed=True)

    resources = write(drawn, alphas=tuple(pen.alphas)).pages[0]["/Resources"]
    assert pen.alphas == {0.2}
    assert "/A200 gs" in drawn
    assert resources["/ExtGState"]["/A200"]["/ca"] == 0.2  # type: ignore[index]


@pytest.mark.parametrize(
    ("ink", "expected"),
    [
        (Ink("#ff0000", 1.0), "q 1 0 0 RG 1 w 0 0 m 2 0 l S Q\n"),
        (Ink("#000000"), "q 0 0 0 rg 0 0 m 2 0 l f Q\n"),
        (Ink("#000000", 2.0, ":"), "q 0 0 0 RG 2 w [2 3.3] 0 d 0 0 m 2 0 l S Q\n"),
    ],
)
def test_lines_have_their_looks(ink: Ink, expected: str) -> None:
    assert PdfPen().path([(0, 0), (2, 0)], ink) == expected


def test_a_line_is_broken_where_a_number_is_missing() -> None:
    points = [(0.0, 0.0), (float("nan"), 1.0), (2.0, 2.0), (3.0, 3.0)]

    drawn = PdfPen().path(points, Ink("#000000", 1.0))

    assert "0 0 m 2 2 m 3 3 l S" in drawn
    assert PdfPen().path(points[1:2], Ink("#000000", 1.0)) == ""


def test_a_disc_comes_back_to_where_it_began() -> None:
    drawn = PdfPen().disc(10, 20, 5, Ink("#000000"))

    assert "15 20 m" in drawn
    assert drawn.rstrip().endswith("15.000 20.000 c f Q")
    assert drawn.count(" c") == 4


@pytest.mark.parametrize(
    ("ha", "turned", "matrix"),
    [
        ("left", False, "1 0 0 -1 50 20"),
        # "oo" is 11.12 points wide.
        ("center", False, "1 0 0 -1 44.44 20"),
        ("right", False, "1 0 0 -1 38.88 20"),
        # Upwards, which is towards smaller numbers.
        ("center", True, "0 -1 -1 0 50 25.56"),
    ],
)
def test_words_are_placed_by_their_width(ha: str, turned: bool, matrix: str) -> None:
    drawn = PdfPen().write("oo", 50, 20, size=10, colour="#000000", ha=ha, turned=turned)

    assert f"{matrix} Tm (oo) Tj" in drawn


def test_a_panel_counts_downwards_and_its_text_stands_upright() -> None:
    pen = PdfPen()
    words = pen.write("upright", 5, 10, size=9, colour="#000000", ha="left", turned=False)
    page = pen.upside_down(300, pen.panel((40, 50, 100, 60), "", words))
    found: list[tuple[str, float, float, float]] = []

    def visit(text: str, cm: list[float], tm: list[float], _font: object, _size: float) -> None:
        if text.strip():
            x, y = tm[4] * cm[0] + cm[4], tm[5] * cm[3] + cm[5]
            found.append((text.strip(), x, y, tm[3] * cm[3]))

    write(page).pages[0].extract_text(visitor_text=visit)

    # 60 below the upper edge of 300, 45 from the left, letters upwards.
    assert found == [("upright", 45, 240, 1)]


def test_equal_pages_at_the_same_time_are_equal_bytes() -> None:
    first, second = (
        paper.write_pages([show("a")], {0.5, 0.2}, size=(9, 9), title="t", creator="c", made_at=NOW)
        for _ in range(2)
    )

    assert first == second
