"""Effects, reasons and risk changes, worked out by hand and exact."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.core.column_words import ColumnWords
from scripts.core.config import ColumnLabel, Schema
from scripts.data.profile import DatasetFacts, Reference
from scripts.model import effects, explanation, logistic_model
from scripts.model.explanation import Reason, ReasonPart
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm, PairAxis, PairTerm
from tests.support.service import FEATURES
from tests.support.service import make_model as service_make_model


def test_a_number_has_the_effect_of_one_standard_deviation() -> None:
    first = effects.list_effects(service_make_model())[0]

    assert (first.column, first.step) == (FEATURES[0], "0.25 more (1 SD)")
    assert first.log_odds == pytest.approx(-0.25 * math.log(3))
    assert first.odds_ratio == pytest.approx(3**-0.25)


def test_scale_blanks_and_categories_count() -> None:
    made = service_make_model(categorical=True)
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


def test_a_column_has_one_range_and_categories_count_from_the_lowest_to_the_highest() -> None:
    made = service_make_model(categorical=True)
    plan = CategoricalTerm(
        column="plan", categories=("", "gold", "basic"), coefficients=(-1.0, 2.0, 0.5), rare=(),
        rare_coefficient=0.0,
    )  # fmt: skip
    pair = PairTerm(
        first=PairAxis(column="plan", categories=("gold",)),
        second=PairAxis(column=FEATURES[1], knots=(0.0, 1.0)),
        values=((0.0, 0.25, 0.0), (0.0, 0.0, -0.5)),
    )
    used = msgspec.structs.replace(made, categorical=(plan,), pairs=(pair,))

    ranges = effects.list_ranges(used)

    assert [(e.columns, e.log_odds) for e in ranges[:1]] == [(("plan",), 3.0)]
    assert ranges[0].step == "gold instead of blank"
    assert {e.columns: e.log_odds for e in ranges}[("plan", FEATURES[1])] == 0.75
    assert len({e.columns for e in ranges}) == len(ranges) == len(FEATURES) + 2


def test_odds_beyond_all_measure_are_still_a_number() -> None:
    assert math.isfinite(effects.Effect(("a",), "b", 1e6).odds_ratio)


NUMBERS = st.floats(-1000, 1000)


def make_model(
    numeric: dict[str, tuple[float, float]],
    categorical: dict[str, dict[str, float]] | None = None,
    intercept: float = 0.0,
) -> Model:
    """Make a model of medians and coefficients, and of the coefficients of categories."""
    categories = categorical or {}
    return Model(
        format=logistic_model.FORMAT,
        schema=Schema(numeric=tuple(numeric), categorical=tuple(categories)),
        numeric=tuple(
            NumericTerm(column=name, median=median, coefficient=coefficient)
            for name, (median, coefficient) in numeric.items()
        ),
        categorical=tuple(
            CategoricalTerm(
                column=name, categories=tuple(effects), coefficients=tuple(effects.values())
            )
            for name, effects in categories.items()
        ),
        intercept=intercept,
        threshold=0.5,
        dataset=DatasetFacts(sha256="", n_rows=0, n_positives=0, missing_fractions={}, summary=()),
        n_training_rows=0,
        settings={},
        validation={},
        versions={},
    )


def column(*values: Any) -> np.ndarray[Any, Any]:
    """Make a column of text or numbers."""
    return np.array(values, dtype=object if isinstance(values[0], str) else np.float64)


def test_without_a_new_model_all_of_the_change_is_movement() -> None:
    used = make_model({"month": (0, -0.5), "year": (0, 0.1)}, intercept=1.0)

    change = explanation.split_change(
        used, used, {"month": column(10), "year": column(20)},
        {"month": column(4), "year": column(30)},
    )  # fmt: skip

    # 1 - 5 + 2 = -2 before; 1 - 2 + 3 = 2 after.
    assert change.before == pytest.approx(-2)
    assert change.after == pytest.approx(2)
    assert change.movements == {"month": pytest.approx(3), "year": pytest.approx(1)}
    assert change.retraining == pytest.approx(0)


def test_without_movement_all_of_the_change_is_the_retraining() -> None:
    old, new = make_model({"month": (0, -0.5)}, intercept=1.0), make_model({"month": (0, -0.2)})

    change = explanation.split_change(old, new, {"month": column(10)}, {"month": column(10)})

    # The term goes from -5 to -2, the intercept from 1 to 0.
    assert change.movements == {"month": pytest.approx(0)}
    assert change.retraining == pytest.approx(2)


def test_what_both_share_is_halved() -> None:
    old, new = make_model({"month": (0, -1.0)}), make_model({"month": (0, -3.0)})

    change = explanation.split_change(old, new, {"month": column(10)}, {"month": column(6)})

    # The term goes from -10 to -18. Movement: 4 under the old model, 12 under the new one;
    # retraining: -20 at the old value, -12 at the new one.
    assert change.movements == {"month": pytest.approx(8)}
    assert change.retraining == pytest.approx(-16)


def test_a_column_that_came_with_the_new_model_counts_as_retraining() -> None:
    old = make_model({"month": (0, -1.0)})
    new = make_model({"month": (0, -1.0)}, {"plan": {"gold": -2.0, "basic": 0.5}})

    change = explanation.split_change(
        old, new, {"month": column(5)}, {"month": column(5), "plan": column("gold")}
    )

    assert change.movements == {"month": pytest.approx(0), "plan": pytest.approx(0)}
    assert change.retraining == pytest.approx(-2)


def test_a_column_that_left_with_the_old_model_counts_as_retraining() -> None:
    old, new = make_model({"month": (0, -1.0), "year": (0, 0.1)}), make_model({"month": (0, -1.0)})

    change = explanation.split_change(
        old, new, {"month": column(5), "year": column(30)}, {"month": column(5)}
    )

    assert change.movements == {"month": pytest.approx(0), "year": pytest.approx(0)}
    assert change.retraining == pytest.approx(-3)


def test_a_blank_moves_from_and_to_the_median() -> None:
    used = make_model({"month": (50, -0.1)})

    change = explanation.split_change(
        used, used, {"month": column(math.nan, 20)}, {"month": column(20, math.nan)}
    )

    assert change.movements["month"] == pytest.approx([3, -3])


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_the_terms_add_up(values: tuple[float, ...], coefficients: tuple[float, ...]) -> None:
    scaled = [c / 1000 for c in coefficients]
    old = make_model({"a": (1, scaled[0]), "b": (2, scaled[1])}, intercept=0.3)
    new = make_model({"a": (5, scaled[2]), "b": (6, scaled[3])}, intercept=-0.9)
    earlier = {"a": column(values[0]), "b": column(values[1])}
    later = {"a": column(values[2]), "b": column(values[3])}

    change = explanation.split_change(old, new, earlier, later)

    added = change.before + sum(change.movements.values()) + change.retraining
    assert np.abs(added - change.after).max() <= 1e-9
    assert logistic_model.sigmoid(change.after) == pytest.approx(
        logistic_model.probabilities(new, later)
    )


def test_reasons_are_ranked_by_their_effect_beside_a_typical_staying_client() -> None:
    used = make_model({"month": (0, -0.01), "year": (0, 0.001), "size": (0, 0.0)},
                      {"plan": {"gold": -1.0, "basic": 0.25}})  # fmt: skip
    columns = {
        "month": column(14, 230), "year": column(900, 400), "size": column(5, 5),
        "plan": column("basic", "gold"),
    }  # fmt: skip

    reasons = explanation.find_reasons(
        used, columns, {"month": 230.0, "year": 400.0, "size": 9.0, "plan": "gold"}
    )

    # -0.01 * (14 - 230) = 2.16; 0.25 + 1 = 1.25; 0.001 * (900 - 400) = 0.5; size has no effect.
    assert [r.parts[0].column for r in reasons[0]] == ["month", "plan", "year"]
    assert [r.effect for r in reasons[0]] == pytest.approx([2.16, 1.25, 0.5])
    assert reasons[1] == []


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason((ReasonPart("lastmonth_activity", 14.0, 230.0),), 2.16),
         "lastmonth_activity 14; clients who stay: 230"),
        (Reason((ReasonPart("revenue", 1234567.0, 0.5),), -1.0),
         "in favour: revenue 1,234,567; clients who stay: 0.5"),
        (Reason((ReasonPart("plan", "", "gold"),), 0.2),
         "plan no entry; clients who stay: gold"),
        (Reason((ReasonPart("year", math.nan, 12345.678),), 0.2),
         "year no entry; clients who stay: 12,346"),
    ],
)  # fmt: skip
def test_a_reason_is_said_in_plain_words(reason: Reason, text: str) -> None:
    assert explanation.format_reason(reason) == text


WORDS = ColumnWords(
    {
        "logins": ColumnLabel(name="Logins, 30 days"),
        "mrr": ColumnLabel(name="Revenue", unit="EUR"),
        "plan": ColumnLabel(name="Plan"),
    },
    {"logins": "Usage", "seats": "Usage"},
)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason((ReasonPart("logins", 4.0, 65.0, before=71.0),), 2.0),
         "Logins, 30 days fell from 71 to 4"),
        (Reason((ReasonPart("mrr", 900.0, 100.0, before=100.0),), -0.5),
         "in favour: Revenue rose from 100 EUR to 900 EUR"),
        (Reason((ReasonPart("mrr", 90.5, 1200.0),), 0.5),
         "Revenue 90.5 EUR; clients who stay: 1,200 EUR"),
        (Reason((ReasonPart("plan", "basic", "gold", share=0.123),), 0.5),
         "Plan basic, as 12% of clients"),
        (Reason((ReasonPart("plan", "", "gold", share=0.004),), 0.5),
         "Plan no entry, as under 1% of clients"),
        (Reason((ReasonPart("plan", "new", "gold", share=0.0),), 0.5),
         "Plan new, as no client before"),
        (Reason((ReasonPart("plan", "basic", "gold", 0.1, "gold"),), 0.5),
         "Plan changed from gold to basic, as 10% of clients"),
        (Reason((ReasonPart("logins", 4.0, 65.0, before=71.0), ReasonPart("seats", 2.0, 9.0)), 2.0,
                "Usage"), "Usage: Logins, 30 days fell from 71 to 4, seats 2"),
        (Reason((ReasonPart("logins", math.nan, 65.0, before=71.0),), 2.0),
         "Logins, 30 days changed from 71 to no entry"),
    ],
)  # fmt: skip
def test_a_reason_is_a_sentence_in_the_words_of_the_settings(reason: Reason, text: str) -> None:
    assert explanation.format_reason(reason, WORDS) == text


def test_what_raises_the_risk_comes_before_what_lowers_it() -> None:
    used = make_model(dict.fromkeys("abcdefg", (0, 1.0)), {})
    values = {"a": -9.0, "b": 1.0, "c": 2.0, "d": 3.0, "e": 4.0, "f": -0.5, "g": -1.0}

    (reasons,) = explanation.find_reasons(
        used, {name: column(value) for name, value in values.items()}, dict.fromkeys(values, 0.0)
    )

    assert [reason.parts[0].column for reason in reasons] == ["e", "d", "c", "a", "g"]


def test_a_group_is_one_reason_with_the_exact_sum_of_its_columns_and_pairs() -> None:
    used = make_model({"logins": (0, -0.1), "seats": (0, -0.2), "mrr": (0, 0.01)}, {})
    columns = {"logins": column(4.0), "seats": column(1.0), "mrr": column(100.0)}
    typical: dict[str, float | str] = {"logins": 24.0, "seats": 3.0, "mrr": 50.0}

    (reasons,) = explanation.find_reasons(used, columns, typical, WORDS)

    # -0.1 (4 - 24) - 0.2 (1 - 3) = 2.4, and 0.01 (100 - 50) = 0.5.
    assert [reason.group for reason in reasons] == ["Usage", ""]
    assert [reason.effect for reason in reasons] == pytest.approx([2.4, 0.5])
    assert [part.column for part in reasons[0].parts] == ["logins", "seats"]


def test_a_change_is_told_where_it_made_the_effect() -> None:
    used = make_model({"a": (0, -0.1), "b": (0, -0.1), "c": (0, -0.1)}, {})
    columns = {"a": column(4.0), "b": column(4.0), "c": column(4.0)}
    before = {"a": column(20.0), "b": column(6.0), "c": column(2.0)}

    (reasons,) = explanation.find_reasons(used, columns, dict.fromkeys("abc", 24.0), before=before)

    # Of a the fall by 16 made most of the 20 below the typical; of b 2; c has risen.
    assert {r.parts[0].column: r.parts[0].before for r in reasons} == {
        "a": 20.0,
        "b": None,
        "c": None,
    }


def test_a_category_is_compared_with_the_mean_of_all_clients() -> None:
    used = make_model({}, {"plan": {"gold": -1.0, "tin": 1.0}})
    reference = Reference(
        numeric={}, categorical={"plan": {"gold": 3, "tin": 1}}, contributions={}, row_hashes=b""
    )
    used = msgspec.structs.replace(
        used, dataset=msgspec.structs.replace(used.dataset, reference=reference)
    )
    columns = {"plan": column("tin", "gold")}

    tin, gold = explanation.find_reasons(used, columns, {"plan": "gold"})

    # The mean is (3 * -1 + 1) / 4 = -0.5.
    assert tin[0].effect == pytest.approx(1.5)
    assert (tin[0].parts[0].share, gold[0].parts[0].share) == (0.25, 0.75)
    assert gold[0].effect == pytest.approx(-0.5)
    baseline = explanation.baseline_terms(used, {"plan": "gold"})
    assert used.intercept + sum(baseline.values()) + tin[0].effect == pytest.approx(
        explanation.sum_of_terms(used, {"plan": column("tin")})
    )


def test_models_of_earlier_versions_have_medians_for_what_is_typical() -> None:
    made = make_model({"month": (7.0, 1.0)}, {"plan": {"gold": 1.0, "tin": 2.0}})

    assert explanation.typical_values(made) == {"month": 7.0, "plan": "gold"}


def test_the_recorded_typical_client_is_used() -> None:
    made = make_model({"month": (7.0, 1.0)})
    facts = msgspec.structs.replace(made.dataset, typical={"month": 9.0})

    assert explanation.typical_values(msgspec.structs.replace(made, dataset=facts)) == {
        "month": 9.0
    }


def test_values_of_one_client_become_columns_of_one_row() -> None:
    made = make_model({"month": (7.0, 1.0)}, {"plan": {"gold": 1.0}})

    columns = explanation.as_columns(made, {"month": None, "plan": "gold"})

    assert math.isnan(columns["month"][0])
    assert columns["plan"].tolist() == ["gold"]
