"""Draws one panel of a chart, for a tenth of what a renderer of everything costs."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.pens import Ink, Pen, Point

# From line to line, and what of a letter stands below its middle and above its line, as shares of
# the size of the type.
LINE, HALF, ABOVE, BELOW = 1.2, 0.35, 0.76, 0.24
# In points: a sample in the legend, the gap to its words, the gap to the next entry.
SAMPLE, GAP, BETWEEN = 13.5, 4.5, 12.6
SAMPLE_UP = 3.2

Numbers = Sequence[float] | NDArray[np.float64]
Mark = Callable[[Pen], str]
Sample = Callable[[Pen, float, float], str]


def listed(values: float | Numbers) -> list[float]:
    """List numbers, or the one number there is."""
    return [float(value) for value in np.atleast_1d(values)]


def marker(
    pen: Pen, kind: str, at: Point, *, size: float, colour: str, fillstyle: str = "full"
) -> str:
    """Draw one point: a disc, a dot, a diamond or a dash."""
    x, y = at
    is_full = fillstyle == "full"
    # With an edge of one point around it, as matplotlib has it.
    half = size / 2 + (0.5 if is_full else 0)
    ink = Ink(colour) if is_full else Ink(colour, 1.0)
    if kind == "D":
        # A square of the size, on its corner.
        reach = half * math.sqrt(2)
        corners = [(x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)]
        return pen.path(corners, ink, is_closed=True)
    if kind == "_":
        return pen.path([(x - size / 2, y), (x + size / 2, y)], Ink(colour, 1.0))
    return pen.disc(x, y, half / 2 if kind == "." else half, ink)


def write(
    pen: Pen, text: str, at: Point, *, size: float, colour: str, ha: str = "left",
    va: str = "baseline", turned: bool = False,
) -> str:  # fmt: skip
    """Write text, of one line or more, at a place."""
    # Elsewhere a dollar sign would begin a formula, and is marked.
    lines = text.replace(r"\$", "$").split("\n")
    below = (len(lines) - 1) * LINE * size
    first = {
        "top": ABOVE * size, "center": HALF * size - below / 2, "bottom": -BELOW * size - below,
        "baseline": -below,
    }[va]  # fmt: skip
    downs = [first + number * LINE * size for number in range(len(lines))]
    # Turned, the next line stands to the right of the one before.
    places = [(at[0] + down, at[1]) if turned else (at[0], at[1] + down) for down in downs]
    return "".join(
        pen.write(line, *place, size=size, colour=colour, ha=ha, turned=turned)
        for line, place in zip(lines, places, strict=True)
    )


class Sketch:
    """A panel that is drawn on as on matplotlib's axes, as far as the charts do that.

    What is drawn is in the units of the data, and is placed when the panel is rendered, since
    its scales come last.
    """

    def __init__(self, left: float, top: float, width: float, height: float) -> None:
        self.box = (left, top, width, height)
        self.width, self.height = width, height
        self.x_limits, self.y_limits = (0.0, 1.0), (0.0, 1.0)
        self.words: list[str] = []
        self._samples: list[tuple[str, Sample]] = []
        self._inside: list[tuple[float, Mark]] = []
        self._outside: list[Mark] = []

    def place(self, x: float, y: float) -> Point:
        """Place a point of the data within the panel."""
        (x_low, x_high), (y_low, y_high) = self.x_limits, self.y_limits
        return (
            self.width * (x - x_low) / (x_high - x_low),
            self.height * (1 - (y - y_low) / (y_high - y_low)),
        )

    def _draw(self, mark: Mark, zorder: float) -> None:
        """Draw something inside the panel, above everything of a lower order."""
        self._inside.append((zorder, mark))

    def _explain(self, label: str, ink: Ink) -> None:
        """Explain a line in the legend, if it has a label."""
        if label:
            self._samples.append(
                (label, lambda pen, x, y: pen.path([(x, y), (x + SAMPLE, y)], ink))
            )

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
        ink = None if line is None else Ink(color, linewidth, line)

        def spell(pen: Pen, places: Sequence[Point], marked: Sequence[Point]) -> str:
            drawn = "" if ink is None else pen.path(places, ink)
            for at in marked if kind is not None else ():
                drawn += marker(
                    pen, str(kind), at, size=markersize, colour=color, fillstyle=fillstyle
                )
            return drawn

        def mark(pen: Pen) -> str:
            places = [self.place(*point) for point in points]
            return spell(pen, places, [p for p in places if all(map(math.isfinite, p))])

        self._draw(mark, zorder)
        if label:
            self._samples.append(
                (
                    label,
                    lambda pen, x, y: spell(pen, [(x, y), (x + SAMPLE, y)], [(x + SAMPLE / 2, y)]),
                )
            )

    def vlines(
        self, x: Numbers, low: float | Numbers, high: float | Numbers, *, color: str,
        linewidth: float, alpha: float = 1.0, label: str = "", zorder: float = 2.0,
    ) -> None:  # fmt: skip
        """Draw upright lines, each from one number to another."""
        ink = Ink(color, linewidth, alpha=alpha)
        rows = np.column_stack(np.broadcast_arrays(x, low, high)).tolist()
        self._draw(
            lambda pen: "".join(
                pen.path([self.place(at, start), self.place(at, end)], ink)
                for at, start, end in rows
            ),
            zorder,
        )
        self._explain(label, ink)

    def hlines(
        self, y: Numbers, low: float, high: float, *, color: str, linewidth: float,
        zorder: float = 2.0,
    ) -> None:  # fmt: skip
        """Draw level lines, all from one number to another."""
        ink, rows = Ink(color, linewidth), listed(y)
        self._draw(
            lambda pen: "".join(
                pen.path([self.place(low, at), self.place(high, at)], ink) for at in rows
            ),
            zorder,
        )

    def axvline(
        self, x: float, *, color: str, linewidth: float, linestyle: str = "-", label: str = ""
    ) -> None:
        """Draw an upright line over the whole height."""
        ink = Ink(color, linewidth, linestyle)

        def mark(pen: Pen) -> str:
            at = self.place(x, self.y_limits[0])[0]
            return pen.path([(at, 0), (at, self.height)], ink)

        self._draw(mark, 2.0)
        self._explain(label, ink)

    def fill_between(
        self, x: Numbers, low: Numbers, high: Numbers, *, color: str, alpha: float,
        linewidth: float = 0.0, label: str = "",
    ) -> None:  # fmt: skip
        """Fill what is between two lines; nothing where one of them is not a number."""
        ink = Ink(color, alpha=alpha)
        bands: list[list[tuple[float, float, float]]] = [[]]
        for row in zip(listed(x), listed(low), listed(high), strict=True):
            if all(map(math.isfinite, row)):
                bands[-1].append(row)
            else:
                bands.append([])

        def mark(pen: Pen) -> str:
            edges = (
                [self.place(at, top) for at, _, top in band]
                + [self.place(at, bottom) for at, bottom, _ in reversed(band)]
                for band in bands
            )
            return "".join(pen.path(edge, ink, is_closed=True) for edge in edges)

        def sample(pen: Pen, x: float, y: float) -> str:
            right, top, bottom = x + SAMPLE, y - SAMPLE_UP, y + SAMPLE_UP
            corners = [(x, top), (right, top), (right, bottom), (x, bottom)]
            return pen.path(corners, ink, is_closed=True)

        self._draw(mark, 1.0)
        if label:
            self._samples.append((label, sample))

    def barh(
        self, y: Sequence[int], width: Numbers, *, height: float, color: str | Sequence[str]
    ) -> None:
        """Draw level bars from zero."""
        colours = [color] * len(y) if isinstance(color, str) else list(color)
        bars = list(zip(y, listed(width), colours, strict=True))

        def mark(pen: Pen) -> str:
            drawn = ""
            for at, long, colour in bars:
                (x1, y1), (x2, y2) = (
                    self.place(end, at + side * height / 2) for end, side in ((0, -1), (long, 1))
                )
                corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
                drawn += pen.path(corners, Ink(colour), is_closed=True)
            return drawn

        self._draw(mark, 1.0)

    def text(
        self, x: float, y: float, text: str, *, fontsize: float, color: str, ha: str = "left",
        va: str = "baseline",
    ) -> None:  # fmt: skip
        """Write at a point of the data."""
        self.annotate(text, (x, y), fontsize=fontsize, color=color, ha=ha, va=va)

    def annotate(
        self, text: str, xy: Point, *, fontsize: float, color: str, xytext: Point = (0.0, 0.0),
        textcoords: str = "offset points", ha: str = "left", va: str = "baseline",
    ) -> None:  # fmt: skip
        """Write beside a point of the data, so many points to the right and upwards."""

        def mark(pen: Pen) -> str:
            x, y = self.place(*xy)
            at = x + xytext[0], y - xytext[1]
            return write(pen, text, at, size=fontsize, colour=color, ha=ha, va=va)

        self.words.append(text)
        self._outside.append(mark)

    def outline(self, colour: str) -> None:
        """Draw the left and the lower edge."""
        ends = [(0.0, 0.0), (0.0, self.height), (self.width, self.height)]
        self._outside.append(lambda pen: pen.path(ends, Ink(colour, 0.8)))

    def write_around(
        self, text: str, x: float, y: float, *, size: float, colour: str, ha: str, va: str,
        turned: bool = False,
    ) -> None:  # fmt: skip
        """Write at a place in points from the upper left corner of the panel."""
        self.words.append(text)
        self._outside.append(
            lambda pen: write(
                pen, text, (x, y), size=size, colour=colour, ha=ha, va=va, turned=turned
            )
        )

    def legend(self, colour: str, width_of: Callable[[str], float], size: float = 9.0) -> None:
        """Explain the lines in a row above the panel; `width_of` measures words in points."""

        def mark(pen: Pen) -> str:
            x, y, drawn = 0.0, -0.3 * size - size / 2, ""
            for label, sample in self._samples:
                at = x + SAMPLE + GAP, y
                drawn += sample(pen, x, y)
                drawn += write(pen, label, at, size=size, colour=colour, va="center")
                x = at[0] + width_of(label) + BETWEEN
            return drawn

        self.words += [label for label, _ in self._samples]
        self._outside.append(mark)

    def render(self, pen: Pen) -> str:
        """Spell the panel with a pen."""
        ranked = sorted(self._inside, key=lambda item: item[0])
        inside = "".join(mark(pen) for _, mark in ranked)
        return pen.panel(self.box, inside, "".join(mark(pen) for mark in self._outside))
