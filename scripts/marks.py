"""What may stand on a page of the report, and how large a page is."""

from dataclasses import dataclass

from scripts.canvas import Drawing

# A4 in points of 1/72 inch.
WIDTH, HEIGHT, MARGIN = 595.0, 842.0, 48.0
CREATOR = "Dynamic risk assessment system"


@dataclass(frozen=True)
class Words:
    """One line of text on a page, in points from its lower left corner."""

    text: str
    x: float
    y: float
    size: float
    bold: bool
    right: bool
    colour: str


@dataclass(frozen=True)
class Rule:
    """A line over the whole width."""

    y: float
    colour: str


@dataclass(frozen=True)
class Picture:
    """A drawing, in a box of points: left, bottom, width and height."""

    drawing: Drawing
    box: tuple[float, float, float, float]


Mark = Words | Rule | Picture
