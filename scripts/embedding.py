"""Renders pages whose letters not every reader of PDF has, with the fonts in the document."""

import io
import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scripts import canvas
from scripts.canvas import LIGHT, PT_PER_PX
from scripts.marks import CREATOR, HEIGHT, MARGIN, WIDTH, Mark, Rule, Words

SETTINGS: Any = {"pdf.fonttype": 42}


def draw_mark(figure: Figure, mark: Mark) -> None:
    """Draw a mark on a page."""
    if isinstance(mark, Words):
        figure.text(
            mark.x / WIDTH, mark.y / HEIGHT, canvas.clean(mark.text, 200), fontsize=mark.size,
            color=mark.colour, fontweight="bold" if mark.bold else "normal",
            ha="right" if mark.right else "left", va="baseline",
        )  # fmt: skip
    elif isinstance(mark, Rule):
        line = Line2D([MARGIN / WIDTH, 1 - MARGIN / WIDTH], [mark.y / HEIGHT] * 2)
        line.set(color=mark.colour, linewidth=0.6)
        figure.add_artist(line)
    else:
        left, bottom, width, height = (length / PT_PER_PX for length in mark.box)
        canvas.place(figure, mark.drawing, LIGHT, (left, bottom, width, height))


def write(pages: Sequence[Sequence[Mark]], title: str, made_at: datetime) -> bytes:
    """Write pages as PDF; the same content at the same time gives the same bytes."""
    buffer = io.BytesIO()
    facts = {"Title": title, "Creator": CREATOR, "CreationDate": made_at, "ModDate": made_at}
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        with PdfPages(buffer, metadata=facts) as document:
            for page in pages:
                figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), facecolor="white")
                for mark in page:
                    draw_mark(figure, mark)
                document.savefig(figure)
    return buffer.getvalue()
