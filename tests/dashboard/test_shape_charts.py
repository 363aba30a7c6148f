"""The shapes of a model: curves on one scale, distributions, categories and heat maps."""

import msgspec
import pytest

from scripts.core.config import Schema
from scripts.dashboard import shape_charts
from scripts.data.profile import Bins, Reference
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm, PairAxis, PairTerm
from tests.support.service import make_model

VALLEY = NumericTerm(
    column="age", median=40.0, missing_coefficient=0.3, knots=(20.0, 40.0, 60.0),
    values=(1.0, -0.5, 1.5), errors=(0.2, 0.1, 0.2),
)  # fmt: skip
FLAT = NumericTerm(column="use", median=0.0, knots=(0.0, 10.0), values=(-0.01, 0.01))
PLAN = CategoricalTerm(
    column="plan", categories=("", "gold"), coefficients=(-0.5, 0.25), rare=("tin",),
    rare_coefficient=0.1,
)  # fmt: skip
PAIR = PairTerm(
    first=PairAxis(column="age", knots=(20.0, 60.0)),
    second=PairAxis(column="plan", categories=("gold",)),
    values=((0.5, -0.25), (-1.0, 0.5), (0.0, 0.0)),
)


def make_shaped() -> Model:
    """Make a model of two curves, a categorical column and a pair, with a reference."""
    made = make_model()
    kept = Reference(
        numeric={
            "age": Bins(edges=(20.0, 40.0, 60.0), counts=(10, 30, 20, 0)),
            "use": Bins(edges=(0.0, 10.0), counts=(50, 10, 0)),
        },
        categorical={"plan": {"": 10, "gold": 45, "tin": 5}},
        contributions={},
        row_hashes=b"",
    )
    return msgspec.structs.replace(
        made,
        schema=Schema(numeric=("age", "use"), categorical=("plan",), minimum={}),
        numeric=(VALLEY, FLAT),
        categorical=(PLAN,),
        pairs=(PAIR,),
        dataset=msgspec.structs.replace(made.dataset, reference=kept),
    )


def heights(points: str) -> list[float]:
    """Return the vertical positions of SVG points."""
    return [float(point.split(",")[1]) for point in points.split()]


def test_curves_have_one_scale_and_the_widest_comes_first() -> None:
    shapes = shape_charts.draw_shapes(make_shaped())

    valley, flat = shapes.curves
    assert [valley.column, flat.column] == ["age", "use"]
    left, middle, right = heights(valley.line)
    # Heights grow downwards.
    assert right < left < valley.zero < middle
    low, high = heights(flat.line)
    assert abs(low - high) < 2
    assert (valley.low, valley.high, valley.missing) == (-0.5, 1.5, 0.3)


def test_the_interval_lies_around_the_curve() -> None:
    valley = shape_charts.draw_shapes(make_shaped()).curves[0]

    track = heights(valley.interval)
    upper, lower = track[:3], track[:2:-1]
    for above, on, below in zip(upper, heights(valley.line), lower, strict=True):
        assert above < on < below


def test_the_tallest_bar_stands_where_most_clients_are() -> None:
    bars = shape_charts.draw_shapes(make_shaped()).curves[0].bars

    assert len(bars) == 3
    assert max(bars, key=lambda bar: bar.height) is bars[1]
    assert bars[0].height / bars[1].height == pytest.approx(1 / 3, rel=0.01)


def test_categories_come_by_their_share_of_the_clients() -> None:
    (shape,) = shape_charts.draw_shapes(make_shaped()).categories

    assert [(e.name, e.value) for e in shape.entries] == [
        ("gold", 0.25), ("no entry", -0.5), ("tin", 0.1),
    ]  # fmt: skip
    assert [e.share for e in shape.entries] == pytest.approx([0.75, 1 / 6, 1 / 12])


def test_a_heat_map_leaves_out_levels_that_add_nothing() -> None:
    (heat,) = shape_charts.draw_shapes(make_shaped()).pairs

    assert heat.names == ("gold", "other")
    assert [(name, [cell.value for cell in cells]) for name, cells in heat.rows] == [
        ("20", [0.5, -0.25]), ("60", [-1.0, 0.5]),
    ]  # fmt: skip
    assert heat.rows[1][1][0].opacity == 1


def test_a_model_without_a_reference_has_no_curves() -> None:
    shapes = shape_charts.draw_shapes(make_model())

    assert shapes == shape_charts.Shapes((), (), ())
