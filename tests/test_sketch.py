"""A sketch puts everything where matplotlib puts it, and text stays text."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from scripts import canvas, charts, sketch
from scripts.canvas import Drawing, Look, Panel, Scale
from scripts.pens import Ink, SvgPen
from scripts.sketch import Sketch

SVG = "{http://www.w3.org/2000/svg}"
NAN = math.nan


def panel() -> Sketch:
    """Make a panel of 200 by 100 points whose data run from 0 to 10 and from 0 to 1."""
    made = Sketch(50, 20, 200, 100)
    made.set_xlim(0, 10)
    made.set_ylim(0, 1)
    return made


def read(made: Sketch) -> ET.Element:
    """Render a panel and read it with a program that forgives nothing."""
    return ET.fromstring(f'<svg xmlns="http://www.w3.org/2000/svg">{made.render(SvgPen())}</svg>')


def paths_of(made: Sketch) -> list[str]:
    """List the lines of a panel."""
    return [str(node.get("d")) for node in read(made).iter(f"{SVG}path")]


def texts_of(made: Sketch) -> list[str]:
    """List the texts of a panel."""
    return ["".join(node.itertext()) for node in read(made).iter(f"{SVG}text")]


def test_numbers_are_placed_by_the_scales_also_those_that_come_later() -> None:
    made = Sketch(0, 0, 200, 100)
    made.plot([0, 5, 10], [0, 0.25, 1], color="#000001")
    made.set_xlim(0, 10)
    made.set_ylim(0, 1)

    # A quarter up is three quarters down; SVG counts downwards.
    assert paths_of(made) == ["M0 100 L100 75 L200 0"]


def test_a_line_is_broken_where_a_number_is_missing() -> None:
    made = panel()
    made.plot([0, 1, 2, 3], [0, NAN, 0.5, 1], "o-", color="#000001")

    assert paths_of(made) == ["M0 100 M40 50 L60 0"]
    assert len(list(read(made).iter(f"{SVG}circle"))) == 3


def test_a_line_of_no_numbers_is_not_drawn() -> None:
    made = panel()
    made.plot([0, 1], [NAN, NAN], "o-", color="#000001")

    assert paths_of(made) == []


def test_an_axis_may_run_downwards() -> None:
    made = panel()
    made.set_ylim(2.5, -0.5)
    made.barh([0, 1], [5, -1], height=0.5, color=["#000001", "#000002"])

    # Each of three rows is 33.33 high; a bar takes half of it.
    assert paths_of(made) == [
        "M0 8.33 L100 8.33 L100 25 L0 25Z",
        "M0 41.67 L-20 41.67 L-20 58.33 L0 58.33Z",
    ]
    assert ["#000001" in made.render(SvgPen()), "#000002" in made.render(SvgPen())] == [True, True]


def test_a_band_is_filled_between_its_edges_and_broken_where_one_is_missing() -> None:
    made = panel()
    made.fill_between(
        [0, 5, 6, 10, 10], [0, 0, NAN, 0.5, 0.5], [1, 0.5, 1, 1, 1], color="#000001", alpha=0.2
    )

    assert paths_of(made) == ["M0 0 L100 50 L100 100 L0 100Z", "M200 0 L200 0 L200 50 L200 50Z"]
    assert "fill-opacity: 0.2" in made.render(SvgPen())


def test_upright_and_level_lines() -> None:
    made = panel()
    made.vlines([5], [0.25], [0.5], color="#000001", linewidth=2, alpha=0.5)
    made.vlines([1, 2], 0, 1, color="#000001", linewidth=2)
    made.hlines(np.array([0.5]), 0, 10, color="#000001", linewidth=1)
    made.axvline(10, color="#000001", linewidth=1, linestyle=":")

    assert paths_of(made) == [
        "M100 75 L100 50", "M20 100 L20 0", "M40 100 L40 0", "M0 50 L200 50", "M200 0 L200 100",
    ]  # fmt: skip


def test_what_has_a_lower_order_lies_below() -> None:
    made = panel()
    made.plot([0, 1], [0, 0], color="#000001")
    made.vlines([1], 0, 1, color="#000002", linewidth=1, zorder=0.5)

    drawn = made.render(SvgPen())
    assert drawn.index("#000002") < drawn.index("#000001")


def test_what_is_inside_is_cut_off_at_the_edges_and_what_is_around_is_not() -> None:
    made = panel()
    made.axvline(-5, color="#000001", linewidth=1)
    made.write_around("below", 100, 110, size=9, colour="#000001", ha="center", va="top")

    inner = read(made).find(f"{SVG}svg")
    assert inner is not None
    assert [inner.get(name) for name in ("x", "y", "width", "height")] == ["50", "20", "200", "100"]
    assert inner.find(f"{SVG}path") is not None
    assert inner.find(f"{SVG}text") is None
    assert texts_of(made) == ["below"]


@pytest.mark.parametrize(
    ("linestyle", "width", "dash"),
    [("-", 1, None), ("--", 1, "3.7,1.6"), ("--", 2, "7.4,3.2"), (":", 1, "1,1.65")],
)
def test_dashes_grow_with_the_line(linestyle: str, width: float, dash: str | None) -> None:
    found = re.search(r"dasharray: ([\d.,]+)", SvgPen().style(Ink("#000001", width, linestyle)))

    assert (found and found[1]) == dash


@pytest.mark.parametrize(
    ("kind", "fillstyle", "expected"),
    [
        ("o", "full", '<circle cx="10" cy="20" r="2.5" style="fill: #1"/>'),
        (".", "full", '<circle cx="10" cy="20" r="1.25" style="fill: #1"/>'),
        ("_", "full", '<path d="M8 20 L12 20"'),
        ("D", "none", '<path d="M7.17 20 L10 17.17 L12.83 20 L10 22.83Z" style="fill: none'),
    ],
)
def test_points_have_their_shapes(kind: str, fillstyle: str, expected: str) -> None:
    # A size of four; what is full has an edge of one around it.
    drawn = sketch.marker(SvgPen(), kind, (10, 20), size=4, colour="#1", fillstyle=fillstyle)

    assert drawn.startswith(expected)


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "a & b", "größe 中文 🙂", "]]>", '"quoted"', r"\ "]
)
def test_text_is_text(text: str) -> None:
    made = panel()
    made.text(1, 0.5, text, fontsize=8, color="#000001")

    assert texts_of(made) == [text]


@pytest.mark.parametrize("text", ["$x$", r"\$5", "a$", "no dollar"])
def test_what_is_marked_for_matplotlib_is_not_seen(text: str) -> None:
    made = panel()
    made.text(1, 0.5, canvas.clean(text), fontsize=8, color="#000001")

    assert texts_of(made) == [text]


@pytest.mark.parametrize(
    ("va", "offsets"),
    [
        ("baseline", [-12, 0]),
        ("top", [7.6, 19.6]),
        ("center", [-2.5, 9.5]),
        ("bottom", [-14.4, -2.4]),
    ],
)
def test_lines_of_text_stand_around_their_place(va: str, offsets: list[float]) -> None:
    # Type of ten points: twelve from line to line.
    written = sketch.write(SvgPen(), "one\ntwo", (7, 0), size=10, colour="#1", va=va)
    turned = sketch.write(SvgPen(), "one\ntwo", (0, 7), size=10, colour="#1", va=va, turned=True)

    assert [float(y) for y in re.findall(r"translate\(7 ([-\d.]+)\)", written)] == offsets
    assert [float(x) for x in re.findall(r"translate\(([-\d.]+) 7\) rot", turned)] == offsets


def test_the_legend_explains_what_has_a_label_in_its_order() -> None:
    made = panel()
    made.fill_between([0, 1], [0, 0], [1, 1], color="#000001", alpha=0.5, label="band")
    made.plot([0, 1], [0, 1], color="#000001")
    made.plot(1.0, 0.5, "o", color="#000001", label="point")
    made.legend("#000002", len)

    assert texts_of(made) == ["band", "point"]
    # A sample and its gap, four letters of one point each, a gap, and the next.
    places = re.findall(r'<text transform="translate\(([\d.]+)', made.render(SvgPen()))
    assert [float(x) for x in places] == [18, 18 + 4 + 12.6 + 18]


def draw(axes: Panel, look: Look) -> None:
    """Draw a line on scales of its own."""
    axes.plot([1, 2, 4], [10, 30, 20], "o-", color=look.accent, label="line")
    canvas.frame(
        axes, look, Scale(0, 5, (1, 4), ("one", "four")), Scale(0, 40, (20,), ("20",)), ("x", "y")
    )
    canvas.add_legend(axes, look)


def test_everything_is_where_matplotlib_puts_it() -> None:
    drawing = Drawing("n", "Title", "Words.", "data", 480, 400, (draw, draw), left=100)
    svg = canvas.render_svg(drawing).decode()
    lines = re.findall(r'd="(M[-\d. ]+ L[-\d. ]+ L[-\d. ]+)" ', svg)
    boxes = re.findall(r'<svg x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)

    figure = canvas.draw(drawing, canvas.LIGHT)
    for axes, line, box in zip(figure.axes, lines[::2], boxes, strict=True):
        left, top, width, height = map(float, box)
        position = axes.get_position()
        assert [left, 300 - top - height, left + width, 300 - top] == pytest.approx(
            [position.x0 * 360, position.y0 * 300, position.x1 * 360, position.y1 * 300], abs=0.01
        )
        pixels = axes.transData.transform(axes.lines[0].get_xydata())
        expected = [(x * 72 / figure.dpi, 300 - y * 72 / figure.dpi) for x, y in pixels]
        found = [float(number) for number in re.findall(r"[-\d.]+", line)]
        places = [(x + left, y + top) for x, y in zip(found[::2], found[1::2], strict=True)]
        assert np.array(places) == pytest.approx(np.array(expected), abs=0.02)


def test_both_ways_say_the_same_words() -> None:
    drawing = Drawing("n", "Title", "Words.", "data", 480, 300, (draw,))

    axes = canvas.draw(drawing, canvas.LIGHT).axes[0]
    svg = ET.fromstring(canvas.render_svg(drawing))

    plotted = {text.get_text() for text in [*axes.texts, *axes.get_legend().get_texts()]}  # type: ignore[union-attr]
    assert {"".join(node.itertext()) for node in svg.iter(f"{SVG}text")} == plotted


@pytest.mark.parametrize("counts", [[[26, 13], [3, 15]], [[0, 0], [0, 4]], [[1, 0], [0, 0]]])
def test_a_confusion_matrix_is_sketched_as_seaborn_draws_it(counts: list[list[int]]) -> None:
    def draw_matrix(axes: Panel, look: Look) -> None:
        told = np.array(counts), ("stayed", "left")
        if isinstance(axes, Sketch):
            charts.sketch_confusion_matrix(axes, look, counts=told[0], words=told[1])
        else:
            charts.draw_confusion_matrix(axes, look, counts=told[0], words=told[1])

    drawing = Drawing("n", "Title", "Words.", "models", 480, 400, (draw_matrix,))
    axes = canvas.draw(drawing, canvas.LIGHT).axes[0]
    svg = ET.fromstring(canvas.render_svg(drawing))
    texts = ["".join(node.itertext()) for node in svg.iter(f"{SVG}text")]

    cells = [line for text in axes.texts for line in text.get_text().split("\n")]
    assert texts[:8] == cells
    assert sorted(texts[8:]) == ["actual", "left", "left", "predicted", "stayed", "stayed"]
    # The colours of the four cells, as shares of the strongest.
    alphas = re.findall(r"fill-opacity: ([\d.e-]+)", ET.tostring(svg).decode())
    shares = axes.collections[0].get_array()
    expected = charts.STRONGEST * np.ravel(shares)  # type: ignore[arg-type]
    assert list(map(float, alphas)) == pytest.approx(expected.tolist(), abs=0.001)
