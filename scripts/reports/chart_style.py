"""The style of the charts: colours, sizes, axes, safe text, and rendering as SVG and PNG."""

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation
from msgspec import Struct
from msgspec.structs import asdict, fields

from scripts.reports.chart_files import Page

PX_PER_INCH = 96
PT_PER_PX = 0.75
# Room around a panel for the labels: left, right, top, bottom.
MARGINS = (72, 16, 26, 46)
# The least number for a unit, the factor and the letter. Four digits need no unit.
UNITS = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
# Unicode categories that an XML document may not hold or that change the direction of text.
UNUSABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
FONTS = re.compile(r"'DejaVu Sans'[^;\"]*")
# Without date and program, equal charts are equal files.
NO_METADATA: Any = dict.fromkeys(("Creator", "Date", "Format", "Type"))
# Text stays text for search and screen readers. The fixed salt gives every drawing the same ids.
SVG_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "adras"}


class Theme(Struct, frozen=True):
    """The colours of a chart."""

    paper: str
    ink: str
    faint: str
    guide: str
    accent: str
    second: str
    warning: str


LIGHT = Theme("#ffffff", "#1f2933", "#d5dbe1", "#6b7680", "#1f5fa8", "#8a5a00", "#b42318")
DARK = Theme("#161b22", "#e6edf3", "#3a434d", "#9aa4ae", "#79b8ff", "#e3c066", "#ff8f85")
# Placeholder colours, replaced by CSS variables in the SVG, so that a file is both light and dark.
VARIABLE = Theme(*(f"#fe01{number:02x}" for number in range(1, len(fields(Theme)) + 1)))


class Drawing(Struct, frozen=True):
    """The description of a chart: titles, size, and a drawing function for each panel.

    The panels are below each other, each on axes of its own. `alt` is the text alternative.
    """

    name: str
    title: str
    alt: str
    page: Page
    width: int
    height: int
    panels: tuple[Callable[[Axes, Theme], None], ...]
    left: int = MARGINS[0]
    column: str | None = None


class AxisScale(Struct, frozen=True):
    """The scale of an axis: limits, ticks and labels."""

    low: float
    high: float
    ticks: Sequence[float]
    labels: Sequence[str]


QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
PERCENT = AxisScale(-0.03, 1.03, QUARTERS, ("0%", "25%", "50%", "75%", "100%"))
FRACTION = AxisScale(-0.03, 1.03, QUARTERS, ("0", "0.25", "0.5", "0.75", "1"))


def safe_line(text: str, length: int = 60) -> str:
    """Return a text as a line of limited length, with characters valid in XML."""
    kept = "".join("\ufffd" if unicodedata.category(c) in UNUSABLE else c for c in text)
    return kept if len(kept) <= length else kept[: length - 1].rstrip() + "…"


def safe_label(text: str, length: int = 40) -> str:
    """Return a text as a `safe_line` for matplotlib, with escaped dollar signs."""
    # Between two dollar signs matplotlib reads a formula.
    return safe_line(text, length).replace("$", r"\$")


def width_of(text: str) -> float:
    """Estimate the width of a text in pixels, with square letters for scripts besides Latin."""
    return sum(
        6.6 if c.islower() or not c.isalpha() else 9.0 if c.isascii() else 12.0
        for c in text.replace("m", "M").replace("w", "W")
    ) + 3.0 * (text.count("W") + text.count("M"))


def fit_label(text: str, width: float) -> str:
    """Return a text as a `safe_label` of limited width in pixels."""
    length = len(text)
    while width_of(safe_line(text, length)) > width and length > 1:
        length -= 1
    return safe_label(text, length)


def format_ticks(ticks: Sequence[float]) -> list[str]:
    """Format the numbers along an axis, large ones in thousands, millions or more."""
    largest = max(map(abs, ticks), default=0.0)
    known = (unit for unit in UNITS if unit[0] <= largest < 1e15)
    _, factor, unit = next(known, (0.0, 1.0, ""))
    return [f"{tick / factor:.6g}{unit if tick else ''}" for tick in ticks]


def round_scale(low: float, high: float) -> AxisScale:
    """Return the scale of an axis for a range, with ticks at round numbers."""
    largest = max(abs(low), abs(high))
    if high - low <= 1e-9 * largest or high == low:
        # Nearly equal numbers need an axis on which numbers still differ.
        half = max(1e-3 * largest, 0.5)
        low, high = low - half, high + half
    room = 0.04 * (high - low)
    values = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ticks = [float(tick) for tick in values if low - room <= tick <= high + room]
    # Rounding may leave 1e-17 where 0 is meant.
    ticks = [0.0 if abs(tick) < 1e-9 * (high - low) else tick for tick in ticks]
    return AxisScale(low - room, high + room, ticks, format_ticks(ticks))


def draw_tick_labels(axes: Axes, theme: Theme, x: AxisScale, y: AxisScale) -> None:
    """Draw the labels of the ticks below and left of the axes."""
    below = axes.get_xaxis_transform() + ScaledTranslation(0, -4 / 72, axes.figure.dpi_scale_trans)
    beside = axes.get_yaxis_transform() + ScaledTranslation(-4 / 72, 0, axes.figure.dpi_scale_trans)
    for tick, label in zip(x.ticks, x.labels, strict=True):
        axes.text(
            tick, 0, label, transform=below, ha="center", va="top", fontsize=9, color=theme.ink
        )
    for tick, label in zip(y.ticks, y.labels, strict=True):
        axes.text(
            0, tick, label, transform=beside, ha="right", va="center", fontsize=9, color=theme.ink
        )


def draw_axes(
    axes: Axes, theme: Theme, x: AxisScale, y: AxisScale, labels: tuple[str, str]
) -> None:
    """Draw the scales, grid and labels of axes.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Before or after the drawing of the data.
    theme : Theme
        The colours.
    x, y : AxisScale
        The scales. Lines and texts replace matplotlib's own axes, which cost three times as much
        as the rest of a chart.
    labels : tuple of two str
        The labels of the x axis and the y axis.
    """
    axes.set_axis_off()
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)
    grid = [((tick, y.low), (tick, y.high)) for tick in x.ticks]
    grid += [((x.low, tick), (x.high, tick)) for tick in y.ticks]
    lines = LineCollection(grid, colors=theme.faint, linewidths=0.6, zorder=0.5)
    axes.add_collection(lines, autolim=False)
    corner = [x.low, x.low, x.high], [y.high, y.low, y.low]
    axes.plot(*corner, color=theme.guide, linewidth=0.8, clip_on=False, zorder=1)
    draw_tick_labels(axes, theme, x, y)
    shift = ScaledTranslation(0, -44 * PT_PER_PX / 72, axes.figure.dpi_scale_trans)
    axes.text(
        0.5, 0, labels[0], transform=axes.transAxes + shift, ha="center", va="bottom", fontsize=9,
        color=theme.ink,
    )  # fmt: skip
    shift = ScaledTranslation((8 - MARGINS[0]) * PT_PER_PX / 72, 0, axes.figure.dpi_scale_trans)
    axes.text(
        0, 0.5, labels[1], transform=axes.transAxes + shift, ha="center", va="center", fontsize=9,
        color=theme.ink, rotation=90,
    )  # fmt: skip


def add_legend(axes: Axes, theme: Theme) -> None:
    """Draw the legend above the axes, where no data is hidden."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=9, labelcolor=theme.ink,
        frameon=False, borderpad=0, borderaxespad=0.3, handlelength=1.5, columnspacing=1.4,
        handletextpad=0.5,
    )  # fmt: skip


def draw_message(axes: Axes, theme: Theme, text: str) -> None:
    """Draw a sentence in the middle of empty axes."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, text, ha="center", va="center", color=theme.ink, fontsize=10,
        transform=axes.transAxes,
    )  # fmt: skip


def draw_into(
    figure: Figure, drawing: Drawing, theme: Theme, box: tuple[float, float, float, float]
) -> None:
    """Draw a chart into a part of a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure, changed in place.
    drawing : Drawing
        The chart, with panels of equal height below each other.
    theme : Theme
        The colours.
    box : tuple of four float
        Left, bottom, width and height in pixels, 96 to an inch.
    """
    width, height = (float(inches) * PX_PER_INCH for inches in figure.get_size_inches())
    _, right, top, bottom = MARGINS
    panel_px = box[3] / len(drawing.panels)
    for number, panel in enumerate(drawing.panels):
        low = box[1] + box[3] - (number + 1) * panel_px + bottom
        axes = figure.add_axes(
            (
                (box[0] + drawing.left) / width,
                low / height,
                (box[2] - drawing.left - right) / width,
                (panel_px - top - bottom) / height,
            )
        )
        axes.set_facecolor("none")
        panel(axes, theme)


def draw(drawing: Drawing, theme: Theme, header: str = "") -> Figure:
    """Return a chart as a figure of its own, below the lines of a header."""
    header_px = 20 * (header.count("\n") + 1) + 4 if header else 0
    width, height = drawing.width, drawing.height + header_px
    figure = Figure(figsize=(width / PX_PER_INCH, height / PX_PER_INCH), facecolor=theme.paper)
    if header:
        figure.text(
            0.5, 1 - 10 / height, header, ha="center", va="top", fontsize=10, color=theme.ink,
            linespacing=1.4,
        )  # fmt: skip
    draw_into(figure, drawing, theme, (0, 0, width, drawing.height))
    return figure


def format_style() -> str:
    """Return the colours as CSS variables for a light or dark colour scheme."""
    light, dark = (
        "".join(f"--{name}:{colour};" for name, colour in asdict(theme).items())
        for theme in (LIGHT, DARK)
    )
    return f"<style>svg{{{light}}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"


def use_variables(svg: str) -> str:
    """Replace the placeholder colours of an SVG by CSS variables."""
    for name, colour in asdict(VARIABLE).items():
        svg = svg.replace(f": {colour}", f": var(--{name})")
    return svg


def render_svg(drawing: Drawing) -> bytes:
    """Render a chart as a self-contained SVG, with equal bytes for equal charts."""
    buffer = io.StringIO()
    figure = draw(drawing, VARIABLE)
    with mpl.rc_context(SVG_SETTINGS), warnings.catch_warnings():
        # The fonts are those of the reader's machine.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata=NO_METADATA)
    text = buffer.getvalue()
    text = FONTS.sub("system-ui, sans-serif", use_variables(text[text.index("<svg") :]))
    head, rest = text.split(">", 1)
    title = f"<title>{escape(safe_line(drawing.title, 120))}</title>"
    return f"{head}>\n {title}\n {format_style()}{rest}".encode()


def render_png(figure: Figure) -> bytes:
    """Render a figure as PNG, with equal bytes for equal figures."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
