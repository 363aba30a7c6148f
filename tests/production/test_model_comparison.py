"""The terms of two models beside each other, and the rows on which both can be measured."""

import math

import msgspec
import numpy as np
import pytest

from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm, PairAxis, PairTerm
from scripts.production import model_comparison
from scripts.production.comparison_types import TermChange
from tests.support.service import FEATURES, make_model

MONTH = FEATURES[0]


def with_month(made: Model, **values: object) -> Model:
    """Return a model with another term of the first column."""
    term = msgspec.structs.replace(made.numeric[0], **values)
    return msgspec.structs.replace(made, numeric=(term, *made.numeric[1:]))


def only(changes: tuple[list[TermChange], int]) -> TermChange:
    """Return the one term that differs."""
    (change,), _ = changes
    return change


def test_equal_models_have_no_different_term() -> None:
    assert model_comparison.compare_terms(make_model(), make_model()) == ([], 3)


def test_a_line_differs_most_at_an_end_of_the_clients() -> None:
    # The column has mean 0 and scale 1, and no distribution is kept: from -2 to 2.
    change = only(
        model_comparison.compare_terms(make_model(), with_month(make_model(), coefficient=0.0))
    )

    assert (change.columns, change.kind_a, change.kind_b) == ([MONTH], "line", "line")
    assert change.largest == pytest.approx(2 * math.log(3))
    assert change.widest == "-2"
    assert change.points[0].value == -2
    assert change.points[0].a == pytest.approx(2 * math.log(3))
    # The last point is that of a missing value.
    assert change.points[-1].value is None


def test_a_line_that_became_a_curve_is_compared_at_the_knots() -> None:
    curve = {"knots": (0.0, 1.0, 5.0), "values": (0.0, 4.0, 0.0), "coefficient": 0.0}

    change = only(model_comparison.compare_terms(make_model(), with_month(make_model(), **curve)))

    by_place = {point.value: point for point in change.points}
    assert (change.kind_a, change.kind_b) == ("line", "curve")
    assert by_place[1.0].b == 4
    assert by_place[1.0].a == pytest.approx(-math.log(3))
    numbers = [float(point.value or 0) for point in change.points[:-1]]
    assert numbers == sorted(numbers)


def test_a_column_of_one_model_only_differs_also_without_an_effect() -> None:
    plain, gold = make_model(), make_model(categorical=True)

    change = only(model_comparison.compare_terms(plain, gold))

    assert (change.columns, change.kind_a, change.kind_b) == (["plan"], "absent", "categories")
    assert [(point.value, point.a) for point in change.points] == [("", None), ("gold", None)]
    assert change.largest == pytest.approx(math.log(3))


def test_categories_are_compared_by_name() -> None:
    gold = make_model(categorical=True)
    term = CategoricalTerm(column="plan", categories=("", "blue"), coefficients=(-math.log(3), 0.5))
    blue = msgspec.structs.replace(gold, categorical=(term,))

    change = only(model_comparison.compare_terms(gold, blue))

    assert [(point.value, point.b) for point in change.points] == [
        ("", pytest.approx(-math.log(3))), ("blue", 0.5), ("gold", None),
    ]  # fmt: skip
    assert change.widest == "gold"


def test_a_number_that_became_a_text_is_told_as_both() -> None:
    text = CategoricalTerm(column=MONTH, categories=("a",), coefficients=(1.0,))
    plain = make_model()
    changed = msgspec.structs.replace(plain, numeric=plain.numeric[1:], categorical=(text,))

    for pair in ((plain, changed), (changed, plain)):
        change = only(model_comparison.compare_terms(*pair))
        assert {change.kind_a, change.kind_b} == {"line", "categories"}


def test_a_pair_that_one_model_has_differs_by_its_largest_value() -> None:
    pair = PairTerm(
        first=PairAxis(column=MONTH, knots=(0.0, 2.0)),
        second=PairAxis(column=FEATURES[1], knots=(0.0, 1.0)),
        values=((0.0, 0.0, 0.0), (0.0, -0.75, 0.0), (0.0, 0.0, 0.0)),
    )
    paired = msgspec.structs.replace(make_model(), pairs=(pair,))

    change = only(model_comparison.compare_terms(make_model(), paired))

    assert (change.kind_a, change.kind_b) == ("absent", "pair")
    assert change.largest == pytest.approx(0.75)
    assert change.widest == f"{MONTH} 2 with {FEATURES[1]} 1"


def test_the_rows_for_two_models_have_the_columns_of_both() -> None:
    a, b = Schema(numeric=("x", "y")), Schema(numeric=("y",), categorical=("z",))

    merged = model_comparison.merge_schemas(a, b)

    assert (merged.numeric, merged.categorical) == (("y", "x"), ("z",))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Schema(target="gone"), "different labels"),
        (Schema(numeric=(), categorical=(MONTH,)), "as numbers, the other as texts"),
    ],
)
def test_models_without_common_rows_are_refused(other: Schema, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        model_comparison.merge_schemas(Schema(), other)


def test_a_term_without_knots_and_distribution_has_ends() -> None:
    term = NumericTerm(column="x", median=0.0, mean=10.0, scale=3.0)
    made = msgspec.structs.replace(make_model(), numeric=(term,))

    assert model_comparison.find_ends(made, "x") == (4.0, 16.0)
    assert model_comparison.find_ends(made, "y") is None
    assert np.isfinite(model_comparison.choose_numbers([made], "x")).all()
