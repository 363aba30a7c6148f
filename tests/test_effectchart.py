"""What moves a model's probabilities, in bars and in words."""

import warnings

import pytest

from scripts import canvas, effectchart
from scripts.config import Schema
from scripts.model import (
    CategoricalTerm,
    DatasetFacts,
    Model,
    NumericTerm,
)


def make_model(
    numeric: tuple[NumericTerm, ...] = (), categorical: tuple[CategoricalTerm, ...] = ()
) -> Model:
    """Make a model of some terms."""
    facts = DatasetFacts(sha256="", n_rows=10, n_positives=3, missing_fractions={}, summary=())
    schema = Schema(
        ids=(), numeric=tuple(t.column for t in numeric),
        categorical=tuple(t.column for t in categorical),
    )  # fmt: skip
    return Model(
        format=2, schema=schema, numeric=numeric, categorical=categorical, intercept=0,
        threshold=0.5, dataset=facts, n_training_rows=9, settings={}, validation={}, versions={},
    )  # fmt: skip


def test_the_strongest_fifteen_are_drawn_strongest_first() -> None:
    terms = tuple(
        NumericTerm(column=f"c{number}", median=0, coefficient=(-1) ** number * number)
        for number in range(1, 21)
    )
    drawing = effectchart.draw_model(make_model(terms), "0001_x")

    axes = canvas.draw(drawing, canvas.LIGHT).axes[0]
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == [20, -19, 18, -17, 16, -15, 14, -13, 12, -11, 10, -9, 8, -7, 6]
    assert drawing.title == "Strongest effects on the risk (15 of 20)"
    assert (
        "the strongest 5 of 20: c20: 1 more +20.000; c19: 1 more -19.000; c18: 1 more"
        in drawing.alt
    )


def test_what_raises_the_risk_and_what_lowers_it_differ_in_colour() -> None:
    terms = tuple(NumericTerm(column=n, median=0, coefficient=c) for n, c in (("a", 1), ("b", -1)))

    svg = canvas.render_svg(effectchart.draw_model(make_model(terms), "r")).decode()

    assert "fill: var(--warning)" in svg
    assert "fill: var(--accent)" in svg


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "$x$", "W" * 80, "größe 中文", "a\x00"]
)
def test_any_name_of_a_column_fits(name: str) -> None:
    term = CategoricalTerm(column=name, categories=(name,), coefficients=(0.5,))
    drawing = effectchart.draw_model(make_model((), (term,)), "r")

    figure = canvas.draw(drawing, canvas.LIGHT)
    with warnings.catch_warnings():
        # The measure of a glyph that this machine does not have is that of a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        boxes = [t.get_window_extent() for t in figure.axes[0].texts]

    assert all(box.x0 >= -3 and box.x1 <= figure.bbox.width for box in boxes)
    assert canvas.render_svg(drawing).count(b"<script") == 0


def test_a_model_without_columns_says_so() -> None:
    assert b"The model has no columns." in canvas.render_svg(
        effectchart.draw_model(make_model(), "r")
    )


def test_without_any_effect_there_is_still_a_picture() -> None:
    term = NumericTerm(column="a", median=0, coefficient=0)

    assert canvas.render_svg(effectchart.draw_model(make_model((term,)), "r")).startswith(b"<svg")
