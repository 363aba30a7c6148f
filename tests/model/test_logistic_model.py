"""A model as plain numbers: probabilities, and refused numbers."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.core.config import Schema
from scripts.core.errors import ModelError
from scripts.data.profile import ColumnSummary, DatasetFacts
from scripts.model import logistic_model
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm

ORIGIN = Path("somewhere/model.json")
SCHEMA = Schema(numeric=("age", "visits"), categorical=("plan",), minimum={})


def make_model(**changes: Any) -> Model:
    """Return a model with log-odds 0.5 + 2 age - visits, and 1 more with the plan gold."""
    made = Model(
        format=1,
        schema=SCHEMA,
        numeric=(
            NumericTerm(column="age", median=3.0, coefficient=2.0),
            NumericTerm(column="visits", median=10.0, coefficient=-1.0),
        ),
        categorical=(
            CategoricalTerm(column="plan", categories=("", "gold"), coefficients=(-0.25, 1.0)),
        ),
        intercept=0.5,
        threshold=0.5,
        dataset=DatasetFacts(
            sha256="0" * 64,
            n_rows=2,
            n_positives=1,
            missing_fractions={"age": 0.0},
            summary=(ColumnSummary(column="age", mean=1.0, median=1.0, standard_deviation=None),),
        ),
        n_training_rows=2,
        settings={},
        validation={},
        versions={},
    )
    return msgspec.structs.replace(made, **changes)


def columns_of(*rows: tuple[float, float, str]) -> dict[str, Any]:
    """Turn rows of age, visits and plan into columns."""
    age, visits, plan = zip(*rows, strict=True)
    return {"age": np.array(age), "visits": np.array(visits), "plan": np.array(plan, dtype=object)}


def test_contributions_are_those_worked_out_by_hand() -> None:
    columns = columns_of((1.0, 2.0, "gold"), (math.nan, math.nan, ""), (0.0, 0.0, "unheard of"))

    terms = logistic_model.contributions(make_model(), columns)

    assert terms["age"].tolist() == [2.0, 6.0, 0.0]
    assert terms["visits"].tolist() == [-2.0, -10.0, 0.0]
    assert terms["plan"].tolist() == [1.0, -0.25, 0.0]


def test_contributions_and_intercept_add_up_to_the_log_odds() -> None:
    columns = columns_of((1.0, 2.0, "gold"), (0.3, 1.7, ""), (math.nan, 8.0, "x"))
    used = make_model()

    probability = logistic_model.probabilities(used, columns)

    total = used.intercept + sum(logistic_model.contributions(used, columns).values())
    np.testing.assert_allclose(np.log(probability / (1 - probability)), total, rtol=1e-12)


def test_probabilities_are_those_worked_out_by_hand() -> None:
    # Log-odds 0.5 + 2 * 1 - 3.5 + 1 = 0 and 0.5 + 2 * 3 - 10 - 0.25 = -3.75.
    columns = columns_of((1.0, 3.5, "gold"), (math.nan, math.nan, ""))

    probability = logistic_model.probabilities(make_model(), columns)

    assert probability.tolist() == [0.5, pytest.approx(1 / (1 + math.exp(3.75)), rel=1e-15)]


def test_a_single_row_gives_an_array_of_one() -> None:
    assert logistic_model.probabilities(make_model(), columns_of((0.0, 0.0, ""))).shape == (1,)


def test_no_row_gives_no_probability() -> None:
    nothing: dict[str, Any] = {name: np.array([]) for name in SCHEMA.features}

    assert logistic_model.probabilities(make_model(), nothing).shape == (0,)


@pytest.mark.parametrize(
    ("log_odds", "probability"),
    [
        (0.0, 0.5),
        (math.log(3), 0.75),
        (-math.log(3), 0.25),
        (800.0, 1.0),
        (-800.0, 0.0),
        (1e300, 1.0),
        (-1e300, 0.0),
        (-700.0, math.exp(-700.0)),
    ],
)
def test_sigmoid_neither_overflows_nor_loses_small_numbers(
    log_odds: float, probability: float
) -> None:
    with np.errstate(over="raise", invalid="raise"):
        found = logistic_model.sigmoid(np.array([log_odds]))[0]

    assert found == pytest.approx(probability, rel=1e-14, abs=0)


@given(st.floats(-1e6, 1e6))
def test_sigmoid_of_the_opposite_is_the_rest_to_one(log_odds: float) -> None:
    up, down = logistic_model.sigmoid(np.array([log_odds, -log_odds]))

    assert 0 <= up <= 1
    assert up + down == pytest.approx(1.0, rel=1e-15)


def test_a_probability_that_reaches_the_threshold_is_an_exit() -> None:
    used = make_model(threshold=0.3)

    assert logistic_model.predictions(used, np.array([0.2999, 0.3, 0.3001])).tolist() == [0, 1, 1]


def test_equal_models_give_equal_bytes_and_come_back_as_they_were() -> None:
    first, second = (
        logistic_model.encode_model(make_model()),
        logistic_model.encode_model(make_model()),
    )

    assert first == second
    assert first.endswith(b"}\n")
    assert logistic_model.decode_model(first, ORIGIN) == make_model()


@given(
    intercept=st.floats(-1e290, 1e290),
    threshold=st.floats(0, 1),
    coefficient=st.floats(-1e280, 1e280, allow_subnormal=True),
    median=st.floats(-1e15, 1e15),
)
def test_every_float_comes_back_to_the_last_bit(
    intercept: float, threshold: float, coefficient: float, median: float
) -> None:
    term = NumericTerm(column="visits", median=median, coefficient=coefficient)
    made = make_model(
        intercept=intercept, threshold=threshold, numeric=(make_model().numeric[0], term)
    )

    read = logistic_model.decode_model(logistic_model.encode_model(made), ORIGIN)

    before, after = (np.array(logistic_model.plain_numbers(m)) for m in (made, read))
    assert before.tobytes() == after.tobytes()


AGE, VISITS = make_model().numeric
PLAN = make_model().categorical[0]


def changed_term(term: Any, **changes: Any) -> Any:
    """Change a term."""
    return msgspec.structs.replace(term, **changes)


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"format": 4}, "has format 4; this version reads 1, 2, 3"),
    ({"numeric": (AGE,)}, "has terms for"),
    ({"numeric": (VISITS, AGE)}, "has terms for"),
    ({"numeric": (AGE, VISITS, AGE)}, "has terms for"),
    ({"categorical": ()}, "has terms for"),
    ({"schema": Schema(numeric=(), categorical=())}, "no numeric and no categorical column"),
    ({"schema": Schema(numeric=("age", "age"))}, "more than once"),
    ({"schema": Schema(positive="gone")}, "the opposite of positive"),
    ({"categorical": (changed_term(PLAN, coefficients=(1.0,)),)}, "category without a coefficient"),
    ({"intercept": math.nan}, "not finite"),
    ({"intercept": -math.inf}, "not finite"),
    ({"threshold": math.nan}, "not finite"),
    ({"threshold": 1.0001}, "has the threshold 1.0001; expected 0 to 1"),
    ({"threshold": -1e-9}, "expected 0 to 1"),
    ({"numeric": (changed_term(AGE, median=math.inf), VISITS)}, "not finite"),
    ({"numeric": (changed_term(AGE, coefficient=math.nan), VISITS)}, "not finite"),
    ({"categorical": (changed_term(PLAN, coefficients=(0.0, math.inf)),)}, "not finite"),
    ({"numeric": (changed_term(AGE, coefficient=1e300), VISITS)}, "so large"),
    ({"numeric": (changed_term(AGE, median=1e200, coefficient=1e200), VISITS)}, "so large"),
]


@pytest.mark.parametrize(("changes", "reason"), UNFIT)
def test_a_model_that_could_answer_wrong_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        logistic_model.check_model(make_model(**changes))


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_ends_of_the_threshold_are_right(threshold: float) -> None:
    logistic_model.check_model(make_model(threshold=threshold))


GOOD = logistic_model.encode_model(make_model())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", b"\x80\x04.", b"\xff", GOOD[:-3], GOOD + b"x",
        b"[" * 100_000, GOOD.replace(b'"format"', b'"formats"'),
        GOOD.replace(b'"intercept": 0.5', b'"intercept": "0.5"'),
        GOOD.replace(b'"intercept": 0.5', b'"intercept": null'),
        GOOD.replace(b'"intercept": 0.5', b'"intercept": 1e999'),
        GOOD.replace(b'"intercept": 0.5', b'"intercept": NaN'),
        GOOD.replace(b'"intercept": 0.5,', b'"intercept": 0.5, "more": 1,'),
        GOOD.replace(b'"intercept": 0.5,', b""),
        GOOD.replace(b'"median": 3.0', b'"median": true'),
    ],
)  # fmt: skip
def test_bytes_that_are_no_model_are_refused_with_their_origin(content: bytes) -> None:
    assert content != GOOD
    with pytest.raises(ModelError, match="somewhere/model.json"):
        logistic_model.decode_model(content, ORIGIN)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.json cannot be read: No such file"):
        logistic_model.load_model(tmp_path / "model.json")
