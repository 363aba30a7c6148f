"""The one look of all pictures: colours, sizes, clean text, and rendering them."""

import io
import re
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.gallery import Page

Place = Literal["lower left", "lower right", "upper left", "upper right", "center right"]

PX_PER_INCH = 96
TEXT_PX = 12
PT_PER_PX = 0.75
# Room around a panel for what is written there: left, right, top, bottom.
MARGINS = (64, 16, 14, 46)
# Of text nothing but what an XML document may hold, and nothing that turns the direction of what
# follows.
UNUSABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
FONTS = re.compile(r"'DejaVu Sans'[^;\"]*")
METADATA = re.compile(r" *<metadata>.*?</metadata>\n", re.DOTALL)
# Text stays text, so that it can be found and read aloud; ids are the same in every drawing.
SVG_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "adras"}


@dataclass(frozen=True)
class Look:
    """The colours of a picture."""

    paper: str
    ink: str
    faint: str
    guide: str
    accent: str
    second: str
    warning: str


LIGHT = Look("#ffffff", "#1f2933", "#d5dbe1", "#6b7680", "#1f5fa8", "#8a5a00", "#b42318")
DARK = Look("#161b22", "#e6edf3", "#3a434d", "#9aa4ae", "#79b8ff", "#e3c066", "#ff8f85")
# Drawn with these, an SVG is then given variables in their place, and so serves light and dark.
VARIABLE = Look(*(f"#fe01{number:02x}" for number in range(1, len(fields(Look)) + 1)))


@dataclass(frozen=True)
class Drawing:
    """A picture before it is drawn: what it shows, in words too, and how to draw each panel.

    Panels stand one below the other; each is drawn on axes of its own.
    """

    name: str
    title: str
    alt: str
    page: Page
    width: int
    height: int
    panels: tuple[Callable[[Axes, Look], None], ...]
    left: int = MARGINS[0]
    column: str | None = None


def clean(text: str, length: int = 40) -> str:
    """Make any text fit to be drawn as it is: one line, not too long, no formula, no controls."""
    kept = "".join("\ufffd" if unicodedata.category(c) in UNUSABLE else c for c in text)
    cut = kept if len(kept) <= length else kept[: length - 1].rstrip() + "…"
    # Between two dollar signs matplotlib reads a formula.
    return cut.replace("$", r"\$")


def style_axes(axes: Axes, look: Look) -> None:
    """Give axes the common look."""
    axes.set_facecolor("none")
    axes.tick_params(colors=look.ink, labelsize=9, length=0)
    axes.grid(True, color=look.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(look.guide)


def label_axes(axes: Axes, look: Look, x: str, y: str) -> None:
    """Name the axes."""
    axes.set_xlabel(x, fontsize=9, color=look.ink)
    axes.set_ylabel(y, fontsize=9, color=look.ink)


def add_legend(axes: Axes, look: Look, place: Place) -> None:
    """Explain the lines."""
    axes.legend(
        loc=place, fontsize=9, labelcolor=look.ink, facecolor=look.paper, edgecolor=look.faint,
        framealpha=0.85,
    )  # fmt: skip


def say(axes: Axes, look: Look, text: str) -> None:
    """Write one sentence in the middle of axes that have nothing to show."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, text, ha="center", va="center", color=look.ink, fontsize=10,
        transform=axes.transAxes,
    )  # fmt: skip


def draw(drawing: Drawing, look: Look, header: str = "") -> Figure:
    """Draw a picture, below lines of text if given any.

    Parameters
    ----------
    drawing : Drawing
        What to draw.
    look : Look
        The colours.
    header : str
        A title for a picture that stands alone.

    Returns
    -------
    matplotlib.figure.Figure
        Panels of equal height.
    """
    left, right, top, bottom = drawing.left, *MARGINS[1:]
    header_px = 20 * (header.count("\n") + 1) + 4 if header else 0
    width, height = drawing.width, drawing.height + header_px
    figure = Figure(figsize=(width / PX_PER_INCH, height / PX_PER_INCH), facecolor=look.paper)
    if header:
        figure.text(
            0.5, 1 - 10 / height, header, ha="center", va="top", fontsize=10, color=look.ink,
            linespacing=1.4,
        )  # fmt: skip
    panel_px = drawing.height / len(drawing.panels)
    for number, panel in enumerate(drawing.panels):
        low = drawing.height - (number + 1) * panel_px + bottom
        box = left, low, width - left - right, panel_px - top - bottom
        axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        style_axes(axes, look)
        panel(axes, look)
    return figure


def spell_style() -> str:
    """Spell the colours as variables that follow the reader's choice of light or dark."""
    light, dark = (
        "".join(f"--{name}:{colour};" for name, colour in asdict(look).items())
        for look in (LIGHT, DARK)
    )
    return f"<style>svg{{{light}}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"


def use_variables(svg: str) -> str:
    """Put variables in the place of the colours with which an SVG was drawn."""
    for name, colour in asdict(VARIABLE).items():
        svg = svg.replace(f": {colour}", f": var(--{name})")
    return svg


def render_svg(drawing: Drawing) -> bytes:
    """Render a picture as SVG that needs nothing else; equal pictures give equal bytes."""
    buffer = io.StringIO()
    figure = draw(drawing, VARIABLE)
    with mpl.rc_context(SVG_SETTINGS), warnings.catch_warnings():
        # Which glyphs are there decides the reader's machine.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = METADATA.sub("", text[text.index("<svg") :])
    text = FONTS.sub("system-ui, sans-serif", use_variables(text))
    head, rest = text.split(">", 1)
    title = f"<title>{escape(drawing.title)}</title>"
    return f"{head}>\n {title}\n {spell_style()}{rest}".encode()


def render_png(figure: Figure) -> bytes:
    """Render a figure as PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
