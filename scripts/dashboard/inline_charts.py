"""Coordinates of the small SVG charts in the pages: histories, bars and trends."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

WIDTH, HEIGHT = 600.0, 140.0
# Space for the dots at the edges.
MARGIN = 8.0
HALF = 50.0


class Dot(Struct, frozen=True):
    """A score on the line."""

    x: float
    y: float
    at: str
    probability: float
    band: str


class HistoryLine(Struct, frozen=True):
    """A history of probabilities, with the heights of the band limits."""

    dots: tuple[Dot, ...]
    limits: tuple[float, ...]
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def ticks(self) -> tuple[float, ...]:
        """Return the heights of the axis from 100 to 0 %."""
        return tuple(height_of(percent / 100) for percent in (100, 75, 50, 25, 0))

    @property
    def dated(self) -> tuple[Dot, ...]:
        """Return the dots with a written date: the first, the middle and the last dot."""
        if len(self.dots) <= len(("first", "last")):
            return self.dots
        middle = (self.dots[0].x + self.dots[-1].x) / 2
        nearest = min(self.dots[1:-1], key=lambda dot: abs(dot.x - middle))
        third = self.width / 3
        return (
            (self.dots[0], nearest, self.dots[-1])
            if third <= nearest.x <= 2 * third
            else (self.dots[0], self.dots[-1])
        )

    @property
    def points(self) -> str:
        """Return the points of an SVG polyline."""
        return " ".join(f"{dot.x:g},{dot.y:g}" for dot in self.dots)


def height_of(probability: float) -> float:
    """Return the vertical position of a probability, with 1 at the top."""
    return round(MARGIN + (1 - probability) * (HEIGHT - 2 * MARGIN), 2)


def draw_line(scores: Sequence[tuple[str, float, str]], limits: Sequence[float]) -> HistoryLine:
    """Return the chart of a history of scores.

    Parameters
    ----------
    scores : sequence of tuple of str, float and str
        Time, probability and band, oldest first.
    limits : sequence of float
        The lower limits of the bands.

    Returns
    -------
    HistoryLine
        With 0 at the bottom, 1 at the top, and a linear time axis.
    """
    times = [datetime.fromisoformat(at).timestamp() for at, _, _ in scores]
    first, whole = (times[0], times[-1] - times[0]) if times else (0.0, 0.0)
    room = WIDTH - 2 * MARGIN
    dots = [
        Dot(
            round(MARGIN + room * ((time_s - first) / whole if whole else 0.5), 2),
            height_of(probability),
            at,
            probability,
            band,
        )
        for time_s, (at, probability, band) in zip(times, scores, strict=True)
    ]
    return HistoryLine(tuple(dots), tuple(map(height_of, limits)))


class TermBar(Struct, frozen=True):
    """A term on a scale from -50 to 50, with x from 0 to 100 as its left end."""

    name: str
    value: float
    x: float
    width: float


def draw_bars(terms: Mapping[str, float]) -> list[TermBar]:
    """Return the bars of a sum's terms, the strongest first."""
    largest = max(map(abs, terms.values()), default=0.0) or 1.0
    bars = []
    for name, value in sorted(terms.items(), key=lambda term: -abs(term[1])):
        width = round(HALF * abs(value) / largest, 2)
        bars.append(TermBar(name, value, HALF if value >= 0 else round(HALF - width, 2), width))
    return bars


def draw_trend(values: Sequence[float | None]) -> str:
    """Return the points of a line of 100 by 20 units, or "" for fewer than two numbers."""
    known = [value for value in values if value is not None]
    if len(known) < len(("first", "last")):
        return ""
    low, span = min(known), max(known) - min(known)
    step = 100 / (len(known) - 1)
    return " ".join(
        f"{place * step:.4g},{18 - 16 * ((value - low) / span if span else 0.5):.4g}"
        for place, value in enumerate(known)
    )
