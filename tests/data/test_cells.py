"""Cells: numbers with their marks, identifiers and labels."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.core.config import NumberMarks, Schema
from scripts.data import cells
from scripts.data.cells import BadCellError

ENGLISH = NumberMarks(thousands=",")
GERMAN = NumberMarks(decimal=",", thousands=".")
FRENCH = NumberMarks(decimal=",", thousands=" ")
SWISS = NumberMarks(thousands="'")
COMMA = NumberMarks(decimal=",")
PERCENT = NumberMarks(percent=True)


@pytest.mark.parametrize(
    ("text", "sign", "decimal", "thousands", "number"),
    [
        ("$1,200.00", "$", ".", ",", 1200.0),
        ("-$1,200.00", "$", ".", ",", -1200.0),
        ("$-5", "$", ".", ",", -5.0),
        ("1.200 €", "€", ",", ".", 1200.0),
        ("-1.200,50 €", "€", ",", ".", -1200.5),
        ("CHF 300", "CHF", ".", "'", 300.0),
        ("CHF 1'300.50", "CHF", ".", "'", 1300.5),
        ("300", "CHF", ".", "", 300.0),
        ("", "$", ".", "", math.nan),
    ],
)
def test_an_amount_may_have_the_sign_of_its_currency(
    text: str, sign: str, decimal: Any, thousands: Any, number: float
) -> None:
    marks = NumberMarks(decimal=decimal, thousands=thousands, currency=sign)

    assert cells.parse_number(text, None, marks) == pytest.approx(number, nan_ok=True)


@pytest.mark.parametrize("text", ["€ 5", "$", "-$", "$5$", "$$5", "$-$5", "--$5", "-$-5", "5 US$"])
def test_an_amount_of_another_currency_is_no_number(text: str) -> None:
    with pytest.raises(BadCellError, match=r"with the sign \$"):
        cells.parse_number(text, None, NumberMarks(currency="$"))


@pytest.mark.parametrize(
    ("text", "marks", "expected"),
    [
        ("12", NumberMarks(), 12),
        ("  -3.5e2\t", NumberMarks(), -350),
        (".5", NumberMarks(), 0.5),
        ("1,234", ENGLISH, 1234),
        ("-1,234,567.25", ENGLISH, -1_234_567.25),
        ("1234.5", ENGLISH, 1234.5),
        ("1.234,5", GERMAN, 1234.5),
        ("0,5", COMMA, 0.5),
        ("1,5e3", COMMA, 1500),
        ("12 345,6", FRENCH, 12345.6),
        ("12\u00a0345", FRENCH, 12345),
        ("12\u202f345", FRENCH, 12345),
        ("1'234'567", SWISS, 1_234_567),
        ("12.5%", PERCENT, 12.5),
        ("12.5 %", PERCENT, 12.5),
        ("12.5", PERCENT, 12.5),
        ("1.234,5 %", NumberMarks(decimal=",", thousands=".", percent=True), 1234.5),
    ],
)
def test_a_number_is_read_by_its_declared_marks(
    text: str, marks: NumberMarks, expected: float
) -> None:
    assert cells.parse_number(text, None, marks) == expected


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("1,234", NumberMarks()),  # not declared
        ("12.5%", NumberMarks()),
        ("1 234", NumberMarks()),
        ("12,34", ENGLISH),  # groups have three digits
        ("1234,567", ENGLISH),
        (",123", ENGLISH),
        ("1,234,", ENGLISH),
        ("1,,234", ENGLISH),
        ("1.5,234", ENGLISH),
        ("1.5", COMMA),  # could be one and a half, or fifteen hundred elsewhere
        ("1.5", GERMAN),
        ("1.23.456", GERMAN),
        ("1,5,5", COMMA),
        ("1,234.5", COMMA),
        ("%", PERCENT),
        ("5%%", PERCENT),
        ("%5", PERCENT),
        ("N/A", NumberMarks()),
        ("--", NumberMarks()),
        ("1_000", NumberMarks()),
        ("0x10", NumberMarks()),
        ("١٢", NumberMarks()),  # digits of another script
        ("nan", NumberMarks()),
        ("inf", NumberMarks()),
        ("1e999", NumberMarks()),
        ("9" * 40, NumberMarks()),
    ],
)
def test_what_could_be_read_in_two_ways_is_no_number(text: str, marks: NumberMarks) -> None:
    with pytest.raises(BadCellError, match="expected a number"):
        cells.parse_number(text, None, marks)
    assert not cells.is_number(text, marks)


@pytest.mark.parametrize("text", ["", " ", "     ", "\t", "\u00a0", "\u2003\u3000"])
def test_blanks_of_any_width_are_missing(text: str) -> None:
    assert math.isnan(cells.parse_number(text, 0.0))
    assert not cells.is_number(text)


@pytest.mark.parametrize(("minimum", "fits"), [(0.0, False), (-1.0, True), (None, True)])
def test_a_minimum_is_the_smallest_value_that_fits(minimum: float | None, fits: bool) -> None:
    if fits:
        assert cells.parse_number("-1", minimum) == -1
    else:
        with pytest.raises(BadCellError, match="expected at least 0"):
            cells.parse_number("-1", minimum)


MARKS = st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", ".")])


@given(st.integers(-(10**12), 10**12), MARKS)
def test_a_number_spelled_with_groups_is_the_number(number: int, marks: tuple[str, str]) -> None:
    thousands, decimal = marks
    text = f"{number:,}".replace(",", thousands) + f"{decimal}25"

    read = cells.parse_number(text, None, NumberMarks(decimal=decimal, thousands=thousands))

    # -0.25 is spelled "-0,25", but the integer 0 has no sign.
    assert read == pytest.approx(number + math.copysign(0.25, number))


@given(st.text(max_size=30), st.sampled_from([ENGLISH, GERMAN, FRENCH, SWISS, COMMA, PERCENT]))
def test_any_text_is_a_finite_number_a_blank_or_refused(text: str, marks: NumberMarks) -> None:
    try:
        number = cells.parse_number(text, None, marks)
    except BadCellError:
        return
    assert abs(number) <= 2**53 or (math.isnan(number) and not text.strip())


@pytest.mark.parametrize(
    ("text", "positive", "expected"),
    [
        ("TRUE", True, 1),
        (" true ", "True", 1),
        ("False", True, 0),
        ("FALSE", "true", 0),
        ("True.", "true.", 1),
        (" False.", "True.", 0),
        ("YES", "yes", 1),
        ("no", "Yes", 0),
        ("1.0", 1, 1),
        ("0", "1", 0),
    ],
)
def test_a_label_is_one_value_in_every_spelling(
    text: str, positive: str | int | bool, expected: int
) -> None:
    assert cells.parse_label(text, Schema(positive=positive).labels) == expected


@pytest.mark.parametrize("text", ["", "2", "maybe", "truee", "y e s"])
def test_any_other_label_is_refused(text: str) -> None:
    with pytest.raises(BadCellError, match="expected one of"):
        cells.parse_label(text, Schema(positive="yes").labels)


def test_each_column_is_read_as_its_kind() -> None:
    schema = Schema(
        target="left", ids=("name",), numeric=("rate", "spent"), categorical=("plan",),
        percent=("rate",), thousands=",",
    )  # fmt: skip

    parsers = cells.cell_parsers(schema)

    row = {"name": " Ann ", "rate": "5 %", "spent": "1,000", "plan": " Gold ", "left": "1"}
    assert {name: parsers[name](cell) for name, cell in row.items()} == {
        "name": "Ann", "rate": 5.0, "spent": 1000.0, "plan": "Gold", "left": 1,
    }  # fmt: skip
    with pytest.raises(BadCellError):
        parsers["spent"]("5%")


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31", "0000-00-00", "null", "N/A", " - ", "1900-01-01", "1900-01-01 00:00:00",
        "01.01.1900", "1/1/1900 12:00:00 AM", "19000101", "01011900", "01-Jan-1900", "Jan 1, 1900",
        "Jan  1 1900 12:00AM", "1901-01-01", "1899-12-30", "31.12.1899", "12/30/1899",
        "31-Dec-1899", "1753-01-01", "0001-01-01T00:00:00Z", "1/1/0001", "31-Dec-9999",
    ],
)  # fmt: skip
def test_a_text_for_no_date_is_a_missing_day_and_no_day_far_away(text: str) -> None:
    assert math.isnan(cells.parse_day(text, "%Y-%m-%d"))
    with pytest.raises(cells.BadCellError):
        cells.parse_day(text, "%Y-%m-%d", is_needed=True)


@pytest.mark.parametrize(
    "text", ["1900-01-02", "1900-11-01", "1900-10-10", "1902-01-01", "1970-01-01", "2001-01-01"]
)
def test_a_day_beside_the_first_days_of_databases_is_a_day(text: str) -> None:
    assert not math.isnan(cells.parse_day(text, "%Y-%m-%d"))
