"""What a sketch is drawn with, whatever the paper is made of."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

Point = tuple[float, float]
DASHES: dict[str, tuple[float, ...]] = {"-": (), "--": (3.7, 1.6), ":": (1.0, 1.65)}
ANCHORS = {"left": "start", "center": "middle", "right": "end"}


@dataclass(frozen=True)
class Ink:
    """How a line looks, or an area, which has no width."""

    colour: str
    width: float | None = None
    linestyle: str = "-"
    alpha: float = 1.0

    @property
    def dashes(self) -> list[float]:
        """How long dashes and gaps are, in points; they grow with the line."""
        return [part * (self.width or 0.0) for part in DASHES[self.linestyle]]


class Pen(Protocol):
    """Spells what is drawn, in points from the upper left corner of a panel."""

    def path(self, points: Iterable[Point], ink: Ink, *, is_closed: bool = False) -> str:
        """Spell a line through points; it is broken where one is not a number."""

    def disc(self, x: float, y: float, radius: float, ink: Ink) -> str:
        """Spell a disc."""

    def write(
        self, line: str, x: float, y: float, *, size: float, colour: str, ha: str, turned: bool
    ) -> str:
        """Spell one line of text on its base line."""

    def panel(self, box: Sequence[float], inside: str, outside: str) -> str:
        """Spell a panel: what is inside is cut off at its edges, what is around is not."""


def spell(value: float) -> str:
    """Spell a length to a hundredth of a point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def trace(points: Iterable[Point], move: str, draw: str) -> list[str]:
    """Spell a line by two patterns: to begin it, also after a gap, and to go on."""
    steps, pattern = [], move
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            steps.append(pattern.format(spell(x), spell(y)))
            pattern = draw
        else:
            pattern = move
    return steps


class SvgPen:
    """Spells SVG, whose readers have fonts and know how wide words are."""

    def style(self, ink: Ink) -> str:
        """Spell how something looks."""
        alpha = f"-opacity: {ink.alpha:g}" if ink.alpha < 1 else ""
        if ink.width is None:
            return f"fill: {ink.colour}" + (f"; fill{alpha}" if alpha else "")
        dashes = ",".join(map(spell, ink.dashes))
        return (
            f"fill: none; stroke: {ink.colour}; stroke-width: {spell(ink.width)}"
            + (f"; stroke-dasharray: {dashes}" if dashes else "")
            + (f"; stroke{alpha}" if alpha else "")
        )

    def path(self, points: Iterable[Point], ink: Ink, *, is_closed: bool = False) -> str:
        """Spell a line through points; it is broken where one is not a number."""
        steps = " ".join(trace(points, "M{} {}", "L{} {}"))
        end = "Z" if is_closed else ""
        return f'<path d="{steps}{end}" style="{self.style(ink)}"/>\n' if steps else ""

    def disc(self, x: float, y: float, radius: float, ink: Ink) -> str:
        """Spell a disc."""
        place = f'cx="{spell(x)}" cy="{spell(y)}" r="{spell(radius)}"'
        return f'<circle {place} style="{self.style(ink)}"/>\n'

    def write(
        self, line: str, x: float, y: float, *, size: float, colour: str, ha: str, turned: bool
    ) -> str:
        """Spell one line of text on its base line."""
        style = f"font: {spell(size)}px system-ui, sans-serif; text-anchor: {ANCHORS[ha]}"
        turn = " rotate(-90)" if turned else ""
        return (
            f'<text transform="translate({spell(x)} {spell(y)}){turn}"'
            f' style="{style}; fill: {colour}">{html.escape(line, quote=False)}</text>\n'
        )

    def panel(self, box: Sequence[float], inside: str, outside: str) -> str:
        """Spell a panel: what is inside is cut off at its edges, what is around is not."""
        x, y, width, height = map(spell, box)
        return (
            f'<svg x="{x}" y="{y}" width="{width}" height="{height}">\n{inside}</svg>\n'
            f'<g transform="translate({x} {y})">\n{outside}</g>\n'
        )
