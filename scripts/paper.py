"""Writes pages of lines, areas and plain text as PDF, with the fonts that every reader has."""

import itertools
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import matplotlib as mpl

from scripts.pens import Ink, Point, spell, trace

# In the fonts that every reader has, letters are bytes of this encoding.
LETTERS = "cp1252"
REGULAR, BOLD = "Helvetica", "Helvetica-Bold"
# Their widths, in thousandths of the size of the type, are in files that matplotlib brings.
USUAL_WIDTH, WIDE = 556, {"…": 1000, "—": 1000, "™": 1000, "‰": 1000}
# By how much the handles of a curve are shorter than the radius, so that four make a circle.
ARC = 0.5523


@cache
def widths_of(font: str) -> dict[str, int]:
    """Read how wide the letters of a font are, without marks above and below them."""
    path = Path(mpl.get_data_path()) / "fonts" / "pdfcorefonts" / f"{font}.afm"
    widths = dict(WIDE)
    for line in path.read_text("ascii").splitlines():
        if line.startswith("C ") and not line.startswith("C -1"):
            parts = line.split()
            # The names of other bytes than ASCII's differ from the encoding's.
            if int(parts[1]) < 127:
                widths[chr(int(parts[1]))] = int(parts[4])
    return widths


def width_of(text: str, size: float, font: str = REGULAR) -> float:
    """Measure a text in points; a letter with a mark is as wide as without."""
    widths = widths_of(font)
    letters = (
        letter if letter in widths else unicodedata.normalize("NFD", letter)[0] for letter in text
    )
    return sum(widths.get(letter, USUAL_WIDTH) for letter in letters) * size / 1000


def is_plain(text: str) -> bool:
    """Say whether the fonts that every reader has can spell a text."""
    try:
        text.encode(LETTERS)
    except UnicodeEncodeError:
        return False
    return True


def spell_colour(colour: str) -> str:
    """Spell #rrggbb as three shares."""
    return " ".join(f"{int(colour[at : at + 2], 16) / 255:.4g}" for at in (1, 3, 5))


def spell_text(text: str) -> str:
    """Spell a text as a string of PDF; what cannot be spelled is a question mark."""
    for special in "\\()":
        text = text.replace(special, "\\" + special)
    return f"({text.encode(LETTERS, 'replace').decode('latin-1')})"


def show(text: str, matrix: str, size: float, colour: str, font: str = REGULAR) -> str:
    """Spell one line of text where a matrix puts it."""
    name = "/F2" if font == BOLD else "/F1"
    look = f"{name} {spell(size)} Tf {spell_colour(colour)} rg"
    return f"BT {look} {matrix} Tm {spell_text(text)} Tj ET\n"


class PdfPen:
    """Spells the contents of a PDF page, within which a panel counts downwards as in SVG."""

    def __init__(self) -> None:
        self.alphas: set[float] = set()

    def _ink(self, shape: str, ink: Ink) -> str:
        """Spell a shape with its look."""
        colour = spell_colour(ink.colour)
        look = f"{colour} rg" if ink.width is None else f"{colour} RG {spell(ink.width)} w"
        if ink.dashes:
            look += f" [{' '.join(map(spell, ink.dashes))}] 0 d"
        if ink.alpha < 1:
            self.alphas.add(ink.alpha)
            look += f" {name_alpha(ink.alpha)} gs"
        return f"q {look} {shape} {'f' if ink.width is None else 'S'} Q\n"

    def path(self, points: Iterable[Point], ink: Ink, *, is_closed: bool = False) -> str:
        """Spell a line through points; it is broken where one is not a number."""
        steps = trace(points, "{} {} m", "{} {} l")
        return self._ink(" ".join([*steps, "h"] if is_closed else steps), ink) if steps else ""

    def disc(self, x: float, y: float, radius: float, ink: Ink) -> str:
        """Spell a disc."""
        corners = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0), (1.0, 0.0)]
        shape = f"{spell(x + radius)} {spell(y)} m"
        for (a, b), (c, d) in itertools.pairwise(corners):
            handles = (a + ARC * c, b + ARC * d), (c + ARC * a, d + ARC * b), (c, d)
            places = [(x + radius * right, y + radius * down) for right, down in handles]
            shape += " " + " ".join(f"{right:.3f} {down:.3f}" for right, down in places) + " c"
        return self._ink(shape, ink)

    def write(
        self, line: str, x: float, y: float, *, size: float, colour: str, ha: str, turned: bool
    ) -> str:
        """Spell one line of text on its base line."""
        back = width_of(line, size) * {"left": 0.0, "center": 0.5, "right": 1.0}[ha]
        if turned:
            return show(line, f"0 -1 -1 0 {spell(x)} {spell(y + back)}", size, colour)
        return show(line, f"1 0 0 -1 {spell(x - back)} {spell(y)}", size, colour)

    def panel(self, box: Sequence[float], inside: str, outside: str) -> str:
        """Spell a panel: what is inside is cut off at its edges, what is around is not."""
        x, y, width, height = map(spell, box)
        return f"q 1 0 0 1 {x} {y} cm q 0 0 {width} {height} re W n\n{inside}Q\n{outside}Q\n"

    def upside_down(self, height: float, content: str) -> str:
        """Count downwards from the upper edge, as panels do."""
        return f"q 1 0 0 -1 0 {spell(height)} cm\n{content}Q\n"


def name_alpha(alpha: float) -> str:
    """Name a degree of transparency."""
    return f"/A{round(alpha * 1000)}"


def spell_moment(moment: datetime) -> str:
    """Spell a moment in UTC."""
    return f"(D:{moment:%Y%m%d%H%M%S}Z)"


def spell_page(page: str, number: int, size: tuple[float, float]) -> list[bytes]:
    """Spell a page and, as the object of a number, what is on it."""
    content = zlib.compress(page.encode("latin-1"))
    head = f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode()
    facts = (
        f"<< /Type /Page /Parent 2 0 R /Resources 3 0 R /Contents {number} 0 R"
        f" /MediaBox [0 0 {spell(size[0])} {spell(size[1])}] >>"
    )
    return [facts.encode(), head + content + b"\nendstream"]


def spell_file(objects: Sequence[bytes]) -> bytes:
    """Spell numbered objects, of which the last one tells of the document, as a file."""
    # The bytes of the second line tell programs that this is no text.
    written, places = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return written + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n"
    ) % (size, table, size, len(objects), len(written))


def write_pages(
    pages: Sequence[str], alphas: Iterable[float], *, size: tuple[float, float], title: str,
    creator: str, made_at: datetime,
) -> bytes:  # fmt: skip
    """Write a document; the same pages at the same time give the same bytes.

    Parameters
    ----------
    pages : sequence of str
        What is on them, in the language of PDF.
    alphas : iterable of float
        The degrees of transparency that they use.
    size : tuple of two float
        Width and height of a page in points.
    title, creator : str
        What it is called, and what made it; plain text.
    made_at : datetime
        When, in UTC.

    Returns
    -------
    bytes
        A PDF.
    """
    states = " ".join(f"{name_alpha(a)} << /ca {a:g} /CA {a:g} >>" for a in sorted(alphas))
    fonts = [
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{font} /Encoding /WinAnsiEncoding >>"
        for font in (REGULAR, BOLD)
    ]
    first = 4 + len(fonts)
    kids = " ".join(f"{first + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        f"<< /Font << /F1 4 0 R /F2 5 0 R >> /ExtGState << {states} >> >>",
        *fonts,
    ]
    spelled = [one.encode("ascii") for one in objects]
    for number, page in enumerate(pages):
        spelled += spell_page(page, first + 1 + 2 * number, size)
    moment = spell_moment(made_at)
    spelled.append(
        f"<< /Title {spell_text(title)} /Creator {spell_text(creator)} /CreationDate {moment}"
        f" /ModDate {moment} >>".encode("latin-1")
    )
    return spell_file(spelled)
