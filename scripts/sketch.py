"""Draws one panel of a chart as SVG, for a tenth of what a renderer of everything costs."""

import html
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# In points, as everything here: from line to line, and what of a letter stands below its middle
# and above its line, all as shares of the size of the type.
LINE, HALF, ABOVE, BELOW = 1.2, 0.35, 0.76, 0.24
ANCHORS = {"left": "start", "center": "middle", "right": "end"}
DASHES = {"-": "", "--": "3.7,1.6", ":": "1,1.65"}
# An entry of the legend: its sample, the gap to its words, the gap to the next entry.
SAMPLE, GAP, BETWEEN = 13.5, 4.5, 12.6

Numbers = Sequence[float] | NDArray[np.float64]


def listed(values: float | Numbers) -> list[float]:
    """List numbers, or the one number there is."""
    return [float(value) for value in np.atleast_1d(values)]


def spell(value: float) -> str:
    """Spell a length to a hundredth of a point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def stroke(colour: str, width: float, linestyle: str = "-", alpha: float = 1.0) -> str:
    """Say how a line looks."""
    dash = ",".join(spell(float(part) * width) for part in DASHES[linestyle].split(",") if part)
    return (
        f"fill: none; stroke: {colour}; stroke-width: {spell(width)}"
        + (f"; stroke-dasharray: {dash}" if dash else "")
        + (f"; stroke-opacity: {alpha:g}" if alpha < 1 else "")
    )


def fill(colour: str, alpha: float = 1.0) -> str:
    """Say how an area looks."""
    return f"fill: {colour}" + (f"; fill-opacity: {alpha:g}" if alpha < 1 else "")


def path(points: Iterable[tuple[float, float]], style: str, end: str = "") -> str:
    """Spell a line through points; it is broken where one is not a number."""
    parts, command = [], "M"
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            parts.append(f"{command}{spell(x)} {spell(y)}")
            command = "L"
        else:
            command = "M"
    return f'<path d="{" ".join(parts)}{end}" style="{style}"/>' if parts else ""


def marker(kind: str, x: float, y: float, size: float, colour: str, fillstyle: str) -> str:
    """Spell one point: a disc, a dot, a diamond or a dash."""
    # With an edge of one point around it, as matplotlib has it.
    half = size / 2 + (0.5 if fillstyle == "full" else 0)
    look = fill(colour) if fillstyle == "full" else stroke(colour, 1)
    if kind == "D":
        # A square of the size, on its corner.
        reach = half * math.sqrt(2)
        return path([(x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)], look, "Z")
    if kind == "_":
        return path([(x - half, y), (x + half, y)], stroke(colour, 1))
    radius = half / 2 if kind == "." else half
    return f'<circle cx="{spell(x)}" cy="{spell(y)}" r="{spell(radius)}" style="{look}"/>'


def write(
    text: str, x: float, y: float, *, size: float, colour: str, ha: str = "left",
    va: str = "baseline", turned: bool = False,
) -> str:  # fmt: skip
    """Spell text, of one line or more, at a place."""
    # Elsewhere a dollar sign would begin a formula, and is marked.
    lines = text.replace(r"\$", "$").split("\n")
    below = (len(lines) - 1) * LINE * size
    first = {
        "top": ABOVE * size, "center": HALF * size - below / 2, "bottom": -BELOW * size - below,
        "baseline": -below,
    }[va]  # fmt: skip
    style = f"font: {spell(size)}px system-ui, sans-serif; text-anchor: {ANCHORS[ha]}"
    place = f"translate({spell(x)} {spell(y)})" + (" rotate(-90)" if turned else "")
    return "".join(
        f'<text transform="{place}" y="{spell(first + number * LINE * size)}"'
        f' style="{style}; fill: {colour}">{html.escape(line, quote=False)}</text>\n'
        for number, line in enumerate(lines)
    )


class Sketch:
    """A panel that is drawn on as on matplotlib's axes, as far as the charts do that.

    What is drawn is in the units of the data, and is placed when the panel is rendered, since
    its scales come last.
    """

    def __init__(self, left: float, top: float, width: float, height: float) -> None:
        self.left, self.top, self.width, self.height = left, top, width, height
        self.x_limits, self.y_limits = (0.0, 1.0), (0.0, 1.0)
        self.samples: list[tuple[str, str]] = []
        self._inside: list[tuple[float, Callable[[], str]]] = []
        self._outside: list[Callable[[], str]] = []

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Place a point of the data within the panel."""
        (x_low, x_high), (y_low, y_high) = self.x_limits, self.y_limits
        return (
            self.width * (x - x_low) / (x_high - x_low),
            self.height * (1 - (y - y_low) / (y_high - y_low)),
        )

    def _draw(self, mark: Callable[[], str], zorder: float) -> None:
        """Draw something inside the panel, above everything of a lower order."""
        self._inside.append((zorder, mark))

    def _explain(self, label: str, sample: str) -> None:
        """Keep a sample of what has a label, for the legend."""
        if label:
            self.samples.append((label, sample))

    def set_axis_off(self) -> None:
        """Have no axes of its own, as ever."""

    def set_xlim(self, low: float, high: float) -> None:
        """Run from one number to another, from left to right."""
        self.x_limits = low, high

    def set_ylim(self, low: float, high: float) -> None:
        """Run from one number to another, upwards."""
        self.y_limits = low, high

    def plot(
        self, x: float | Numbers, y: float | Numbers, fmt: str = "-", *, color: str,
        linestyle: str | None = None, linewidth: float = 1.5, markersize: float = 6.0,
        fillstyle: str = "full", label: str = "", zorder: float = 2.0,
    ) -> None:  # fmt: skip
        """Draw a line, points, or a line with its points; one point may be two numbers."""
        points = list(zip(listed(x), listed(y), strict=True))
        kind = fmt.strip("-") or None
        line = linestyle or ("--" if "--" in fmt else "-" if "-" in fmt else None)
        line_style = None if line is None else stroke(color, linewidth, line)

        def mark() -> str:
            places = [self.place(*point) for point in points]
            drawn = [] if line_style is None else [path(places, line_style)]
            if kind is not None:
                known = [place for place in places if all(map(math.isfinite, place))]
                drawn += [marker(kind, *place, markersize, color, fillstyle) for place in known]
            return "\n".join(drawn)

        self._draw(mark, zorder)
        sample = "" if line_style is None else path([(0, 0), (SAMPLE, 0)], line_style)
        if kind is not None:
            sample += marker(kind, SAMPLE / 2, 0, markersize, color, fillstyle)
        self._explain(label, sample)

    def vlines(
        self, x: Numbers, low: float | Numbers, high: float | Numbers, *, color: str,
        linewidth: float, alpha: float = 1.0, label: str = "", zorder: float = 2.0,
    ) -> None:  # fmt: skip
        """Draw upright lines, each from one number to another."""
        style = stroke(color, linewidth, alpha=alpha)
        rows = np.column_stack(np.broadcast_arrays(x, low, high)).tolist()
        self._draw(
            lambda: "".join(path([self.place(x, a), self.place(x, b)], style) for x, a, b in rows),
            zorder,
        )
        self._explain(label, path([(0, 0), (SAMPLE, 0)], style))

    def hlines(
        self, y: Numbers, low: float, high: float, *, color: str, linewidth: float,
        zorder: float = 2.0,
    ) -> None:  # fmt: skip
        """Draw level lines, all from one number to another."""
        style = stroke(color, linewidth)
        self._draw(
            lambda: "".join(
                path([self.place(low, at), self.place(high, at)], style) for at in listed(y)
            ),
            zorder,
        )

    def axvline(
        self, x: float, *, color: str, linewidth: float, linestyle: str = "-", label: str = ""
    ) -> None:
        """Draw an upright line over the whole height."""
        style = stroke(color, linewidth, linestyle)

        def mark() -> str:
            at = self.place(x, self.y_limits[0])[0]
            return path([(at, 0), (at, self.height)], style)

        self._draw(mark, 2.0)
        self._explain(label, path([(0, 0), (SAMPLE, 0)], style))

    def fill_between(
        self, x: Numbers, low: Numbers, high: Numbers, *, color: str, alpha: float,
        linewidth: float = 0.0, label: str = "",
    ) -> None:  # fmt: skip
        """Fill what is between two lines; nothing where one of them is not a number."""
        style = fill(color, alpha)
        rows = zip(listed(x), listed(low), listed(high), strict=True)
        bands: list[list[tuple[float, ...]]] = [[]]
        for row in rows:
            if all(map(math.isfinite, row)):
                bands[-1].append(row)
            else:
                bands.append([])

        def mark() -> str:
            return "".join(
                path(
                    [self.place(x, top) for x, _, top in band]
                    + [self.place(x, bottom) for x, bottom, _ in reversed(band)],
                    style,
                    "Z",
                )
                for band in bands
            )

        self._draw(mark, 1.0)
        corners = [(0.0, -3.2), (SAMPLE, -3.2), (SAMPLE, 3.2), (0.0, 3.2)]
        self._explain(label, path(corners, style, "Z"))

    def barh(
        self, y: Sequence[int], width: Numbers, *, height: float, color: str | Sequence[str]
    ) -> None:
        """Draw level bars from zero."""
        colours = [color] * len(width) if isinstance(color, str) else color

        def mark() -> str:
            drawn = []
            for at, long, colour in zip(y, width, colours, strict=True):
                (x1, y1), (x2, y2) = (
                    self.place(end, at + side * height / 2) for end, side in ((0, -1), (long, 1))
                )
                drawn.append(path([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], fill(colour), "Z"))
            return "\n".join(drawn)

        self._draw(mark, 1.0)

    def text(
        self, x: float, y: float, text: str, *, fontsize: float, color: str, ha: str = "left",
        va: str = "baseline",
    ) -> None:  # fmt: skip
        """Write at a point of the data."""
        self.annotate(text, (x, y), fontsize=fontsize, color=color, ha=ha, va=va)

    def annotate(
        self, text: str, xy: tuple[float, float], *, fontsize: float, color: str,
        xytext: tuple[float, float] = (0.0, 0.0), textcoords: str = "offset points",
        ha: str = "left", va: str = "baseline",
    ) -> None:  # fmt: skip
        """Write beside a point of the data, so many points to the right and upwards."""

        def mark() -> str:
            x, y = self.place(*xy)
            return write(
                text, x + xytext[0], y - xytext[1], size=fontsize, colour=color, ha=ha, va=va
            )

        self._outside.append(mark)

    def outline(self, colour: str) -> None:
        """Draw the left and the lower edge."""
        ends = [(0.0, 0.0), (0.0, self.height), (self.width, self.height)]
        self._outside.append(lambda: path(ends, stroke(colour, 0.8)))

    def write_around(self, text: str, x: float, y: float, *, size: float, colour: str,
                     ha: str, va: str, turned: bool = False) -> None:  # fmt: skip
        """Write at a place in points from the upper left corner of the panel."""
        self._outside.append(
            lambda: write(text, x, y, size=size, colour=colour, ha=ha, va=va, turned=turned)
        )

    def legend(self, colour: str, width_of: Callable[[str], float], size: float = 9.0) -> None:
        """Explain the lines in a row above the panel; `width_of` measures words in points."""

        def mark() -> str:
            x, y, drawn = 0.0, -0.3 * size - size / 2, []
            for label, sample in self.samples:
                drawn.append(f'<g transform="translate({spell(x)} {spell(y)})">{sample}</g>\n')
                at = x + SAMPLE + GAP
                drawn.append(write(label, at, y, size=size, colour=colour, va="center"))
                x = at + width_of(label) + BETWEEN
            return "".join(drawn)

        self._outside.append(mark)

    def render(self) -> str:
        """Spell the panel: what is inside is cut off at its edges, what is around is not."""
        inside = "\n".join(mark() for _, mark in sorted(self._inside, key=lambda item: item[0]))
        outside = "".join(mark() for mark in self._outside)
        x, y, width, height = map(spell, (self.left, self.top, self.width, self.height))
        return (
            f'<svg x="{x}" y="{y}" width="{width}" height="{height}">\n{inside}\n</svg>\n'
            f'<g transform="translate({x} {y})">\n{outside}</g>\n'
        )
