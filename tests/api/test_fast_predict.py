"""The quick way through a request says, to the last bit, what the strict way says."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.api.columnar import RequestRows
from scripts.api.fast_predict import FastPredictor, make_fast_predictor
from scripts.api.request_bodies import read_rows
from scripts.api.request_rows import read_columns
from scripts.api.responses import RefusedError
from scripts.core.config import ApiSettings, Schema
from scripts.model import logistic_model
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm, PairAxis, PairTerm
from tests.support.service import GOOD, make_model, rows_body

ODD_NAMES = ("lastmonth_activity", "class", "c0 \u00e9")


def make_odd_model() -> Model:
    """Make a model whose columns have odd names, with scales and coefficients of blanks."""
    numeric = tuple(
        NumericTerm(
            column=name, median=3.0, coefficient=0.37 / (k + 1), missing_coefficient=-0.11,
            mean=1.7, scale=2.3,
        )
        for k, name in enumerate(ODD_NAMES)
    )  # fmt: skip
    plan = CategoricalTerm(
        column="plan", categories=("", "gold"), coefficients=(-0.3, 0.7), rare=("tin",),
        rare_coefficient=0.13,
    )  # fmt: skip
    return msgspec.structs.replace(
        make_model(),
        schema=Schema(
            ids=("client", "region"), numeric=ODD_NAMES, categorical=("plan",),
            minimum={ODD_NAMES[1]: -5},
        ),
        numeric=numeric,
        categorical=(plan,),
        intercept=-0.21,
    )  # fmt: skip


def make_curved_model() -> Model:
    """Make the same model with curves, a pair of numbers, and a pair of a number and a category."""
    knots = [(-2.5, 0.0, 1.7, 40.0), (0.0,), (-1e6, 3.0, 3.1, 2e9)]
    values = [(-1.3, 0.21, 0.4, -0.9), (0.0,), (0.7, -0.1, 0.35, 1.9)]
    numeric = tuple(
        NumericTerm(
            column=name, median=3.0, missing_coefficient=-0.11, knots=knots[k], values=values[k]
        )
        for k, name in enumerate(ODD_NAMES)
    )
    first = PairAxis(column=ODD_NAMES[0], knots=(-1.0, 2.0, 30.0))
    last = PairAxis(column=ODD_NAMES[2], knots=(0.0, 7.3))
    plan = PairAxis(column="plan", categories=("gold",))
    return msgspec.structs.replace(
        make_odd_model(),
        numeric=numeric,
        pairs=(
            PairTerm(
                first=first, second=last,
                values=((0.1, -0.7, 0.3), (0.9, 0.33, -0.2), (-0.4, 0.6, 0.77), (0.01, 0.2, -0.5)),
            ),
            PairTerm(first=last, second=plan, values=((0.3, -0.1), (1.7, 0.9), (-0.6, 0.13))),
        ),
    )  # fmt: skip


ODD, CURVED = make_odd_model(), make_curved_model()
CELLS = st.one_of(
    st.none(), st.integers(-(2**54), 2**54), st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(), st.text(max_size=3),
)  # fmt: skip
PLANS = st.one_of(st.none(), st.sampled_from(["gold", " gold ", "tin", "", "  ", "iron"]), CELLS)
LARGE = 2**53
NUMBERS = st.one_of(st.none(), st.integers(-LARGE, LARGE), st.floats(-LARGE, LARGE))
GOOD_ROWS = st.fixed_dictionaries(
    {
        ODD_NAMES[0]: NUMBERS,
        ODD_NAMES[1]: st.none() | st.integers(-5, 500) | st.floats(-5, 1e9),
        ODD_NAMES[2]: NUMBERS,
        "plan": st.none() | st.sampled_from(["gold", " gold ", "tin", "", "  ", "iron"]),
    },
    optional={"client": CELLS, "more": CELLS},
)
BAD_ROWS = st.fixed_dictionaries(
    {ODD_NAMES[0]: CELLS, ODD_NAMES[1]: CELLS, ODD_NAMES[2]: CELLS},
    optional={"plan": PLANS, "client": CELLS, "more": CELLS},
)
ROWS = st.one_of(GOOD_ROWS, GOOD_ROWS, GOOD_ROWS, BAD_ROWS)


def quick_rows(fast_predictor: FastPredictor, body: bytes) -> list[Any] | None:
    """Read rows with names the quick way."""
    rows = fast_predictor.read(body)
    assert not isinstance(rows, RequestRows)
    return rows


def strict(body: bytes) -> dict[str, Any] | None:
    """Read a body the strict way, None for a refusal."""
    try:
        rows = read_rows(body, "application/json", "", ApiSettings(), ODD.schema)
        return dict(read_columns(rows, ODD.schema))
    except RefusedError:
        return None


def check_same(body: bytes) -> bool:
    """Compare both ways for a straight and a curved model, and return whether the fast way read."""
    return min(check_model(ODD, body), check_model(CURVED, body))


def check_model(used: Model, body: bytes) -> bool:
    """Compare both ways, and return whether the fast way read the body."""
    fast_predictor, expected = FastPredictor(used), strict(body)
    rows = quick_rows(fast_predictor, body)
    if not rows:
        return False
    assert expected is not None
    columns = fast_predictor.columns(rows)
    assert list(columns) == list(expected)
    for name, column in columns.items():
        assert np.array_equal(column, expected[name], equal_nan=name != "plan")
    probabilities = logistic_model.probabilities(used, expected).tolist()
    for position, row in enumerate(rows):
        quick = fast_predictor.probability(row)
        is_known = expected["plan"][position] in ("", "gold", "tin")
        assert quick == (probabilities[position] if is_known else None)
    return True


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rows=st.lists(ROWS, max_size=4))
def test_what_the_quick_way_takes_it_reads_as_the_strict_one(rows: list[dict[str, Any]]) -> None:
    check_same(json.dumps({"data": rows}).encode())


@pytest.mark.campaign
def test_campaign_the_quick_way_reads_as_the_strict_one() -> None:
    counts = {True: 0, False: 0}

    @settings(max_examples=5_000, deadline=None, database=None)
    @given(rows=st.lists(ROWS, min_size=1, max_size=3))
    def compare(rows: list[dict[str, Any]]) -> None:
        counts[check_same(json.dumps({"data": rows}).encode())] += 1

    compare()
    print(f"{counts[True]} bodies read the same both ways, {counts[False]} left to the strict one")
    assert counts[True] > 1000


GOOD_ROW = {ODD_NAMES[0]: 0, ODD_NAMES[1]: -5, ODD_NAMES[2]: 2**53, "plan": "gold"}


@pytest.mark.parametrize(
    ("change", "is_quick"),
    [
        ({}, True),
        ({ODD_NAMES[2]: -(2**53)}, True),
        ({ODD_NAMES[1]: -5.0}, True),
        ({ODD_NAMES[1]: -5.001}, False),  # below the column's minimum
        ({ODD_NAMES[2]: 2**53 + 2}, False),
        ({ODD_NAMES[2]: True}, False),
        ({ODD_NAMES[2]: "1"}, False),
        ({"plan": 1}, False),
        ({"plan": None, "more": [{}]}, True),
        ({"client": {}}, True),  # identifiers are not read unless they are wanted
    ],
)
def test_a_value_that_cannot_be_right_is_left_to_the_strict_way(
    change: dict[str, Any], is_quick: bool
) -> None:
    body = json.dumps({"data": [GOOD_ROW | change]}).encode()

    assert check_same(body) is is_quick
    assert (strict(body) is not None) is is_quick


def test_a_key_spelled_by_escapes_and_one_given_twice_are_read_alike() -> None:
    row = json.dumps(GOOD_ROW).encode()
    escaped = row.replace(b'"plan"', b'"\\u0070lan"')
    doubled = row[:-1] + b', "plan": "tin"}'

    assert check_same(rows_body(escaped))
    assert check_same(rows_body(doubled))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"data": [null]}'])
def test_what_is_no_body_is_left_to_the_strict_way(body: bytes) -> None:
    assert quick_rows(FastPredictor(ODD), body) is None


def test_identifiers_are_read_where_they_are_wanted() -> None:
    fast_predictor = FastPredictor(ODD, with_ids=True)
    rows = [GOOD_ROW | {"client": 7, "region": "n"}, GOOD_ROW | {"client": None}]
    read = quick_rows(fast_predictor, json.dumps({"data": rows}).encode())

    assert read is not None
    assert fast_predictor.identifiers(read) == [(7, "n"), (None, msgspec.UNSET)]


def test_a_row_worked_out_by_hand() -> None:
    # Odds 3 for a silent month, a third of that with each activity.
    fast_predictor = FastPredictor(make_model())
    rows = quick_rows(fast_predictor, rows_body(GOOD, GOOD.replace(b": 0", b": 2")))

    assert rows is not None
    assert [fast_predictor.probability(row) for row in rows] == pytest.approx(
        [3 / 4, 1 / 4], abs=1e-15
    )


@pytest.mark.parametrize("intercept", [-800.0, -40.0, 0.0, 40.0, 800.0])
def test_extreme_log_odds_stay_probabilities(intercept: float) -> None:
    used = make_model(intercept)
    fast_predictor = FastPredictor(used)
    rows = quick_rows(fast_predictor, rows_body(GOOD))

    assert rows is not None
    probability = fast_predictor.probability(rows[0])
    assert probability == logistic_model.probabilities(used, fast_predictor.columns(rows))[0]
    assert probability == pytest.approx(1 / (1 + math.exp(-max(intercept, -700))), abs=1e-300)


@pytest.mark.parametrize("name", ['a "b"', "a\\b", "a\tb"])
def test_a_name_that_cannot_be_looked_for_is_left_to_the_strict_way(name: str) -> None:
    schema = Schema(numeric=(name,))
    used = msgspec.structs.replace(
        make_model(), schema=schema, numeric=(NumericTerm(column=name, median=0, coefficient=1),)
    )

    assert make_fast_predictor(used, with_ids=False) is None
