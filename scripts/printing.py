"""Renders the pages of the report as PDF."""

from collections.abc import Sequence
from datetime import datetime

from scripts import canvas, paper, pens
from scripts.canvas import LIGHT, PT_PER_PX
from scripts.marks import CREATOR, HEIGHT, MARGIN, WIDTH, Mark, Picture, Rule, Words
from scripts.paper import PdfPen
from scripts.pens import Ink
from scripts.sketch import Sketch

Sketched = tuple[Mark, list[Sketch]]


def sketch_mark(mark: Mark) -> Sketched:
    """Draw the panels of a mark that is a picture."""
    if not isinstance(mark, Picture):
        return mark, []
    left, bottom, width, height = (length / PT_PER_PX for length in mark.box)
    # A sketch counts downwards.
    top = HEIGHT / PT_PER_PX - bottom - height
    return mark, canvas.sketch_panels(mark.drawing, LIGHT, (left, top, width, height))


def words_of(panels: Sequence[Sketch]) -> list[str]:
    """List what is written in panels."""
    return [word for panel in panels for word in panel.words]


def spell_mark(sketched: Sketched, pen: PdfPen) -> str:
    """Spell a mark in the language of PDF."""
    mark, panels = sketched
    if isinstance(mark, Words):
        font = paper.BOLD if mark.bold else paper.REGULAR
        x = mark.x - (paper.width_of(mark.text, mark.size, font) if mark.right else 0.0)
        return paper.show(
            mark.text, f"1 0 0 1 {pens.spell(x)} {pens.spell(mark.y)}", mark.size, mark.colour, font
        )
    if isinstance(mark, Rule):
        return pen.path([(MARGIN, mark.y), (WIDTH - MARGIN, mark.y)], Ink(mark.colour, 0.6))
    return pen.upside_down(HEIGHT, "".join(panel.render(pen) for panel in panels))


def write_plain(pages: Sequence[Sequence[Sketched]], title: str, made_at: datetime) -> bytes:
    """Write pages whose letters are in the fonts that every reader has."""
    pen = PdfPen()
    spelled = ["".join(spell_mark(mark, pen) for mark in page) for page in pages]
    return paper.write_pages(
        spelled, pen.alphas, size=(WIDTH, HEIGHT), title=title, creator=CREATOR, made_at=made_at
    )


def render(pages: Sequence[Sequence[Mark]], title: str, made_at: datetime) -> bytes:
    """Render pages; the same content at the same time gives the same bytes."""
    sketched = [[sketch_mark(mark) for mark in page] for page in pages]
    words = [word for page in sketched for _, panels in page for word in words_of(panels)]
    words += [mark.text for page in pages for mark in page if isinstance(mark, Words)]
    if all(map(paper.is_plain, words)):
        return write_plain(sketched, title, made_at)
    # matplotlib's PDF brings a library for fonts, which hardly any report needs.
    from scripts import embedding  # noqa: PLC0415

    return embedding.write(pages, title, made_at)
