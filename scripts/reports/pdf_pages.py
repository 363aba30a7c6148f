"""The layout of text, tables and charts on numbered pages, and the rendering as PDF."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from msgspec import Struct

from scripts.core import sentences
from scripts.reports import chart_style
from scripts.reports.chart_style import LIGHT, PT_PER_PX, Drawing

# A4 in points of 1/72 inch.
WIDTH, HEIGHT, MARGIN = 595.0, 842.0, 48.0
BOTTOM = 60.0
TEXT, SMALL, SMALLEST = 9.0, 7.5, 5.5
# Between two columns of a table.
GAP = 6.0
LINE = 13.0
ABOVE_HEADING, BELOW_HEADING = 22.0, 18.0
# The 14 standard fonts of PDF cost nothing and make a small file. Letters besides cp1252 need an
# embedded font.
PLAIN: Any = {"pdf.use14corefonts": True}
EMBEDDED: Any = {"pdf.fonttype": 42}
PLAIN_LETTERS = "cp1252"
# The width of a letter, as a share of the size of its type.
LETTER = 0.6
# The ends of a line over the width of a page, as shares of the page, and its colour.
Rule = tuple[list[tuple[float, float]], str]


class TableColumn(Struct, frozen=True):
    """A column of a table: heading, share of the width, and kind of the cells."""

    heading: str
    share: float
    is_number: bool = False
    is_sentence: bool = False


def is_plain(text: str) -> bool:
    """Return whether the standard fonts of PDF have every letter of a text."""
    try:
        text.encode(PLAIN_LETTERS)
    except UnicodeEncodeError:
        return False
    return True


def texts_of(figure: Figure) -> list[Text]:
    """Return the texts of a page."""
    texts = list(figure.texts)
    for axes in figure.axes:
        legend = axes.get_legend()
        texts += axes.texts if legend is None else [*axes.texts, *legend.get_texts()]
        # `findobj` makes the ticks of an axis, which takes longer than drawing axes without ticks.
        if axes.axison:
            texts += axes.findobj(Text)
    return texts


def choose_fonts(figures: Sequence[Figure]) -> Any:
    """Return the font settings for the texts of a document, and set Helvetica if possible."""
    texts = [text for figure in figures for text in texts_of(figure)]
    if not all(is_plain(text.get_text()) for text in texts):
        return EMBEDDED
    for text in texts:
        text.set_fontfamily("Helvetica")
        # Helvetica's normal weight has this name.
        if text.get_fontweight() == "normal":
            text.set_fontweight("medium")
    return PLAIN


def wrap(text: str, width: float, size: float) -> list[str]:
    """Break a text into lines of limited width in points."""
    return textwrap.wrap(chart_style.safe_line(text, 2000), int(width / (size * LETTER * 0.92)))


def fits(text: str, width: float, size: float) -> bool:
    """Return whether a text fits into a width in points."""
    # `width_of` is for type of 12 pixels, and on the low side for some letters.
    return 1.06 * chart_style.width_of(text) * size / 12 <= width


def fit_cell(text: str, width: float, size: float = SMALL) -> str:
    """Shorten a text in the middle to the width of a cell, as the end of a path is important."""
    if fits(text, width, size):
        return text
    length = len(text)
    while length > 3:
        length -= 1
        head = length // 2
        cut = text[:head] + "…" + text[len(text) - (length - head - 1) :]
        if fits(cut, width, size):
            return cut
    return text[:1] + "…"


def fit_sentence(text: str, width: float, size: float = SMALL) -> str:
    """Shorten a sentence to whole clauses of limited width in points."""
    cut = text
    while len(cut) > 3 and not fits(cut, width, size):
        cut = sentences.shorten(text, len(cut) - 1)
    return cut


def first_words(text: str, width: float, size: float = SMALL) -> str:
    """Shorten a text to the words that fit on a line of limited width in points."""
    words, cut = text.split(), text
    while len(words) > 1 and not fits(cut, width, size):
        words.pop()
        cut = f"{' '.join(words)} …"
    return cut


def fit_size(n_letters: int, width: float, n_columns: int) -> float:
    """Return the size of type at which a line of a table fits, no more than the usual one."""
    return max(SMALLEST, min(SMALL, (width - n_columns * GAP) / (n_letters * LETTER)))


class PdfLayout:
    """The pages of a document, filled from top to bottom, with a new page for overflow."""

    def __init__(self, title: str, made_at: datetime) -> None:
        self.title = title
        self.made_at = made_at
        self.figures: list[Figure] = []
        self.rules: list[list[Rule]] = []
        self.y = 0.0
        self.start_page()

    @property
    def width(self) -> float:
        """The width of the text in points."""
        return WIDTH - 2 * MARGIN

    def start_page(self) -> None:
        """Start a new page."""
        self.figures.append(Figure(figsize=(WIDTH / 72, HEIGHT / 72), facecolor="white"))
        self.rules.append([])
        self.y = HEIGHT - MARGIN

    def make_room(self, height: float) -> None:
        """Start a new page unless the height fits on the current page."""
        if self.y - height < BOTTOM:
            self.start_page()

    def write(
        self, text: str, x: float, size: float = TEXT, *, bold: bool = False, right: bool = False,
        colour: str = LIGHT.ink,
    ) -> None:  # fmt: skip
        """Write a line at the current height, without moving down."""
        if not text:
            return
        self.figures[-1].text(
            x / WIDTH, self.y / HEIGHT, chart_style.safe_label(text, 200), fontsize=size,
            color=colour, fontweight="bold" if bold else "normal",
            ha="right" if right else "left", va="baseline",
        )  # fmt: skip

    def draw_rule(self, colour: str) -> None:
        """Draw a line over the whole width a little below the current height."""
        y = (self.y - 4) / HEIGHT
        self.rules[-1].append(([(MARGIN / WIDTH, y), (1 - MARGIN / WIDTH, y)], colour))

    def heading(self, text: str, needed: float = 60.0) -> None:
        """Write the heading of a section, on a page with room for the beginning."""
        self.make_room(needed + ABOVE_HEADING + BELOW_HEADING)
        self.y -= ABOVE_HEADING
        self.write(text, MARGIN, 12, bold=True)
        self.draw_rule(LIGHT.guide)
        self.y -= BELOW_HEADING

    def paragraph(self, text: str) -> None:
        """Write a paragraph over the whole width."""
        for line in wrap(text, self.width, TEXT) or [""]:
            self.make_room(LINE)
            self.write(line, MARGIN)
            self.y -= LINE
        self.y -= 3

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Write names with texts beside, over several lines if necessary."""
        for name, text in rows:
            lines = wrap(text, self.width - 130, TEXT) or ["-"]
            self.make_room(LINE * min(len(lines), 4))
            self.write(name, MARGIN, colour=LIGHT.guide)
            for line in lines:
                self.make_room(LINE)
                self.write(line, MARGIN + 130)
                self.y -= LINE
            self.y -= 2

    def write_row(
        self, columns: Sequence[TableColumn], cells: Sequence[str], *, bold: bool, size: float
    ) -> None:
        """Write a row of a table, with long cells shortened."""
        x = MARGIN
        for column, cell in zip(columns, cells, strict=True):
            width = column.share * self.width - GAP
            fit = fit_sentence if column.is_sentence else fit_cell
            text = fit(cell, width, size)
            at = x + width if column.is_number else x
            self.write(text, at, size, bold=bold, right=column.is_number)
            x += column.share * self.width
        self.draw_rule(LIGHT.guide if bold else LIGHT.faint)
        self.y -= LINE

    def table(
        self, columns: Sequence[TableColumn], rows: Sequence[Sequence[str]], size: float = SMALL
    ) -> None:
        """Write a table, with the headings repeated on each page."""
        headings = [column.heading for column in columns]
        self.make_room(3 * LINE)
        self.write_row(columns, headings, bold=True, size=size)
        for row in rows:
            if self.y - LINE < BOTTOM:
                self.start_page()
                self.write_row(columns, headings, bold=True, size=size)
            self.write_row(columns, row, bold=False, size=size)
        self.y -= 4

    def charts(self, drawings: Sequence[Drawing], n_across: int, height: float) -> None:
        """Draw charts side by side, each below the title."""
        width = self.width / n_across
        for number, drawing in enumerate(drawings):
            column = number % n_across
            if column == 0:
                self.make_room(height + LINE)
            x = MARGIN + column * width
            title = fit_sentence(drawing.title, width - 8, TEXT - 1)
            self.write(title, x, TEXT - 1, bold=True)
            box = x - 8, self.y - height, width - 4, height - 6
            left, bottom, wide, high = (part / PT_PER_PX for part in box)
            chart_style.draw_into(self.figures[-1], drawing, LIGHT, (left, bottom, wide, high))
            if column == n_across - 1 or number == len(drawings) - 1:
                self.y -= height + LINE

    def finish_pages(self) -> None:
        """Draw the lines of each page, and write title, time and page number at the foot."""
        self.y = 34.0
        pages, self.figures = self.figures, []
        for number, (figure, rules) in enumerate(zip(pages, self.rules, strict=True), start=1):
            self.figures.append(figure)
            self.write(f"{self.title}, {self.made_at:%Y-%m-%d %H:%M} UTC", MARGIN, SMALL)
            self.write(f"page {number} of {len(pages)}", WIDTH - MARGIN, SMALL, right=True)
            ends, colours = [rule[0] for rule in rules], [rule[1] for rule in rules]
            # One collection costs less than as many single lines.
            lines = LineCollection(
                ends, colors=colours, linewidths=0.6, transform=figure.transFigure
            )
            figure.add_artist(lines)

    def render(self) -> bytes:
        """Render the pages as PDF, with equal bytes for equal content and time."""
        self.finish_pages()
        buffer = io.BytesIO()
        facts = {
            "Title": self.title,
            "Creator": "Dynamic Risk Assessment System",
            "CreationDate": self.made_at,
            "ModDate": self.made_at,
        }
        with mpl.rc_context(choose_fonts(self.figures)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            with PdfPages(buffer, metadata=facts) as pages:
                for figure in self.figures:
                    pages.savefig(figure)
        return buffer.getvalue()
