"""The style of the charts: text as it is, variables instead of colours, no outside links."""

import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.axes import Axes

from scripts.reports import chart_style
from scripts.reports.chart_style import Drawing, Theme

SVG = "{http://www.w3.org/2000/svg}"


def draw_line(axes: Axes, theme: Theme) -> None:
    """Draw a line in two colours, with a legend."""
    axes.plot([0, 1], [0, 1], color=theme.accent, label="a line")
    axes.plot([0, 1], [1, 0], color=theme.second, label="another")
    chart_style.draw_axes(
        axes,
        theme,
        chart_style.PERCENT,
        chart_style.FRACTION,
        (chart_style.safe_label("$x$ <script>"), "y & z"),
    )
    chart_style.add_legend(axes, theme)


def drawing(title: str = "A title") -> Drawing:
    """Make a small chart."""
    return Drawing("line", title, "A line.", "models", 480, 320, (draw_line,))


def texts_of(svg: bytes) -> list[str]:
    """Read the texts of an SVG."""
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lastmonth_activity", "lastmonth_activity"),
        ("a\nb\tc", "a\ufffdb\ufffdc"),
        ("\x00\x1b[31m", "\ufffd\ufffd[31m"),
        ("right\u202eleft", "right\ufffdleft"),
        ("$x$", r"\$x\$"),
        ("größe 中文 🙂", "größe 中文 🙂"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 39 + "…"),
        ("", ""),
    ],
)
def test_text_is_cleaned_and_not_more(text: str, expected: str) -> None:
    assert chart_style.safe_label(text) == expected


def test_text_stays_text_and_formulas_are_not_read() -> None:
    texts = texts_of(chart_style.render_svg(drawing()))

    assert "$x$ <script>" in texts
    assert "y & z" in texts
    assert {"a line", "another"} <= set(texts)


def test_an_svg_has_variables_for_light_and_dark_and_no_colour_of_its_own() -> None:
    svg = chart_style.render_svg(drawing()).decode()
    body = svg.split("</style>", 1)[1]

    assert "@media (prefers-color-scheme:dark)" in svg
    assert {"var(--paper)", "var(--ink)", "var(--accent)", "var(--second)"} <= {
        part.split(";")[0].split('"')[0] for part in body.split(": ")
    }
    assert "#fe01" not in svg


def test_an_svg_needs_nothing_else_and_carries_its_title() -> None:
    svg = chart_style.render_svg(drawing("F1 <of> & more"))
    root = ET.fromstring(svg)
    addresses = {
        value for node in root.iter() for name, value in node.attrib.items() if "href" in name
    }

    assert root.find(f"{SVG}title").text == "F1 <of> & more"  # type: ignore[union-attr]
    assert (root.get("width"), root.get("height")) == ("360pt", "240pt")
    assert all(address.startswith("#") for address in addresses)
    assert b"<!DOCTYPE" not in svg
    assert b"<metadata" not in svg
    assert b"<script" not in svg
    assert b"DejaVu" not in svg
    assert b"system-ui" in svg
    assert b"matplotlib" not in svg.lower()
    assert not re.search(rb"20[0-9][0-9]-[0-9][0-9]", svg)


def test_equal_pictures_are_equal_bytes() -> None:
    assert chart_style.render_svg(drawing()) == chart_style.render_svg(drawing())
    first, second = (
        chart_style.render_png(chart_style.draw(drawing(), chart_style.LIGHT, "A title"))
        for _ in range(2)
    )
    assert first == second


def test_panels_stand_one_below_the_other_at_equal_height() -> None:
    two = Drawing("two", "Two", "Two lines.", "data", 480, 400, (draw_line, draw_line))

    upper, lower = (axes.get_position() for axes in chart_style.draw(two, chart_style.LIGHT).axes)

    assert upper.height == pytest.approx(lower.height)
    assert upper.y0 > lower.y1
    assert (upper.x0, upper.x1) == (lower.x0, lower.x1)


def luminance(colour: str) -> float:
    """Compute the relative luminance of a colour by WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Compute the contrast of two colours by WCAG 2.2."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [chart_style.LIGHT, chart_style.DARK])
def test_text_and_lines_stand_out_from_the_paper(theme: Theme) -> None:
    assert contrast(theme.ink, theme.paper) >= 7
    assert all(
        contrast(colour, theme.paper) >= 4.5
        for colour in (theme.guide, theme.accent, theme.second, theme.warning)
    )


def test_a_picture_that_stands_alone_has_its_title_above_it() -> None:
    plain = chart_style.draw(drawing(), chart_style.LIGHT)
    titled = chart_style.draw(drawing(), chart_style.LIGHT, "Model x\nF1 1.000")

    assert [text.get_text() for text in titled.texts] == ["Model x\nF1 1.000"]
    assert titled.get_figheight() > plain.get_figheight()
