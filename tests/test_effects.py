"""What each column of a model does to the odds."""

import math

import msgspec
import pytest

from scripts import effects
from scripts.model import CategoricalTerm
from tests.service import FEATURES, make_model


def test_a_number_has_the_effect_of_one_standard_deviation() -> None:
    first = effects.list_effects(make_model())[0]

    assert (first.column, first.step) == (FEATURES[0], "0.25 more (1 SD)")
    assert first.log_odds == pytest.approx(-0.25 * math.log(3))
    assert first.odds_ratio == pytest.approx(3**-0.25)


def test_scale_blanks_and_categories_count() -> None:
    made = make_model(categorical=True)
    term = msgspec.structs.replace(made.numeric[0], scale=2.0, missing_coefficient=0.5)
    plan = CategoricalTerm(
        column="plan", categories=("", "gold"), coefficients=(-1.0, 2.0), rare=("a", "b"),
        rare_coefficient=3.0,
    )  # fmt: skip
    used = msgspec.structs.replace(made, numeric=(term, *made.numeric[1:]), categorical=(plan,))

    found = [(e.column, e.step, e.log_odds) for e in effects.list_effects(used)]

    assert found[:4] == [
        ("plan", "2 rare categories", 3.0), ("plan", "gold", 2.0), ("plan", "blank", -1.0),
        (FEATURES[0], "blank instead of the median", 0.5),
    ]  # fmt: skip
    assert found[4][2] == pytest.approx(-0.25 * math.log(3) / 2)
    # Without a deviation the step is one.
    assert (FEATURES[1], "1 more", 0.0) in found


def test_odds_beyond_all_measure_are_still_a_number() -> None:
    assert math.isfinite(effects.Effect("a", "b", 1e6).odds_ratio)
