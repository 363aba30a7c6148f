"""Numbers with declared marks are the same by expressions of Polars as by the rules of cells."""

import math
from itertools import product

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.config import NumberMarks
from scripts.data import cells, polars_numbers
from scripts.data.cells import BadCellError

ALL_MARKS = [
    NumberMarks(decimal=decimal, thousands=thousands, percent=percent)
    for decimal, thousands, percent in product(".,", ["", ",", ".", " ", "'"], [False, True])
    if decimal != thousands
]
SIGNS = ("$", "R$", "€", "CHF", "kr.", "Fr.", "$$")
WITH_SIGNS = [
    NumberMarks(decimal=decimal, thousands=thousands, currency=sign)
    for (decimal, thousands), sign in product([(".", ","), (",", "."), (".", "")], SIGNS)
]


def parse(text: str, marks: NumberMarks, minimum: float | None) -> float | None:
    """Return the number of a cell by the rules, None for a wrong cell."""
    try:
        return cells.parse_number(text, minimum, marks)
    except BadCellError:
        return None


@pytest.mark.parametrize("marks", ALL_MARKS, ids=str)
@given(
    texts=st.lists(st.text("0123456789..,, ''%%+-eE\u00a0\u202f\u2009", max_size=12), max_size=40),
    numbers=st.lists(st.integers(-(10**17), 10**17)),
    minimum=st.sampled_from([None, 0.0, 12.5]),
)
@settings(max_examples=25, deadline=None)
def test_numbers_are_proven_exactly_where_the_rules_take_them(
    marks: NumberMarks, texts: list[str], numbers: list[int], minimum: float | None
) -> None:
    grouped = [f"{number:,}".replace(",", marks.thousands) for number in numbers]
    written = [*texts, *grouped, *(f"{text}{marks.decimal}25 %" for text in grouped)]
    number, proof = polars_numbers.parse_number(pl.col("cell"), marks, minimum)

    found = pl.DataFrame({"cell": written}, schema={"cell": pl.String}).select(
        number=number, proof=proof
    )

    for text, value, is_proven in zip(written, found["number"], found["proof"], strict=True):
        expected = parse(text, marks, minimum)
        assert is_proven == (expected is not None), text
        if is_proven:
            assert value == expected or (value is None and expected is not None), text
            assert (value is None) == math.isnan(expected or 0.0), text


@pytest.mark.parametrize("marks", WITH_SIGNS, ids=str)
@given(parts=st.lists(st.lists(
    st.sampled_from(["-", "+", " ", "\u00a0", "1", "200", ",", ".", "5", "%", "SIGN", "$", "e3"]),
    max_size=6,
), max_size=60))  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_amounts_with_the_sign_of_a_currency_are_proven_where_the_rules_take_them(
    marks: NumberMarks, parts: list[list[str]]
) -> None:
    written = ["".join(part).replace("SIGN", marks.currency) for part in parts]
    number, proof = polars_numbers.parse_number(pl.col("cell"), marks, None)

    found = pl.DataFrame({"cell": written}, schema={"cell": pl.String}).select(
        number=number, proof=proof
    )

    for text, value, is_proven in zip(written, found["number"], found["proof"], strict=True):
        expected = parse(text, marks, None)
        assert is_proven == (expected is not None), text
        if expected is not None and not math.isnan(expected):
            assert value == expected, text
