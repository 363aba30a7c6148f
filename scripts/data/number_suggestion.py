"""Suggestions about the format of numbers: marks, percent signs, leading zeros."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from scripts.core.config import NumberMarks
from scripts.data import cells, schema_inference, unlikely_keys

AMOUNT_NAME = re.compile(
    r"salary|income|amount|balance|price|revenue|charge|cost|limit|sales|spend|total|sum\b|minutes|"
    r"seconds|usage|value",
    re.I,
)
# A sign with letters before it, such as US$; a code, such as CHF; or an abbreviation.
SIGN = (
    r"(?:[A-Z]{0,3}[$€£¥₹₽₩₪₺₴₫₦฿]|(?:AED|ARS|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EUR|GBP|HKD|HUF|"
    r"IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RON|RUB|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR)"
    r"|kr\.?|Kč|zł|Ft|lei|S?Fr\.)"
)
AMOUNT = r"[-+]?\d[\d.,' \u00a0\u202f\u2009]*"
CURRENCY = re.compile(rf"[-+]?\s*({SIGN})\s*{AMOUNT}|{AMOUNT}?\s*({SIGN})")
# How numbers may be written, the likeliest first; the first of equals is taken.
MARKS = (
    NumberMarks(),
    NumberMarks(thousands=","),
    NumberMarks(decimal=","),
    NumberMarks(decimal=",", thousands="."),
    NumberMarks(decimal=",", thousands=" "),
    NumberMarks(thousands=" "),
    NumberMarks(thousands="'"),
)
PLAIN_MARKS = MARKS[0]
THOUSANDTHS = {mark: re.compile(rf"{re.escape(mark)}\d{{3}}$") for mark in ".,"}
# This number of values shows the number format of a column.
N_SAMPLED = 1000
MIN_FRACTION = 0.5
# More different words are categories.
MAX_STAND_INS = 3


def find_marks(table: pd.DataFrame, currency: Mapping[str, str]) -> NumberMarks:
    """Return the number marks with the most numeric columns of a table.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Cells of text.
    currency : mapping of str to str
        The currency sign of a column.
    """
    samples = []
    for name in table.columns:
        is_money = name in currency
        values = [text.removesuffix("%").rstrip() for text in table[name].unique()[: N_SAMPLED + 1]]
        if is_money:
            values = [cells.without_currency(text, currency[name]) for text in values]
        values = [text for text in values if text]
        if any(character in text for text in values for character in ",.' "):
            samples.append((values, is_money))

    def fits(text: str, marks: NumberMarks, *, is_money: bool) -> bool:
        """Return whether a text is a number by some marks."""
        # 1.200 € are twelve hundred: money has no three decimals.
        has_thousandths = is_money and THOUSANDTHS[marks.decimal].search(text) is not None
        return cells.is_number(text, marks) and not has_thousandths

    def count_numeric(marks: NumberMarks) -> int:
        """Count the samples that are numeric by some marks."""
        return sum(
            schema_inference.is_numeric(
                sum(fits(text, marks, is_money=is_money) for text in values), len(values)
            )
            for values, is_money in samples
        )

    return max(MARKS, key=count_numeric)


def describe_marks(marks: NumberMarks) -> tuple[dict[str, Any], list[str]]:
    """Return the config keys of unusual number marks, with a sentence about them."""
    declared = {key: getattr(marks, key) for key in ("decimal", "thousands")}
    keys = {key: mark for key, mark in declared.items() if mark != getattr(PLAIN_MARKS, key)}
    shown = " and ".join(f"{key} {mark!r}" for key, mark in keys.items())
    return keys, [f"Numbers are written with {shown}."] if keys else []


def find_stand_in(column: pd.Series, marks: NumberMarks) -> str:
    """Return the word in place of a missing number in a column of numbers, or "".

    Most of the filled cells are numbers, and the others one of a few texts. Of few different
    numbers, as in 1, 2, 3 and 4+, only a known word is one.
    """
    counts = column[column != ""].value_counts()
    is_number = pd.Series([cells.is_number(text, marks) for text in counts.index], counts.index)
    n_numbers, words = int(counts[is_number].sum()), counts[~is_number]
    is_mixed = MIN_FRACTION * counts.sum() <= n_numbers and 0 < len(words) <= MAX_STAND_INS
    if not is_mixed or schema_inference.is_numeric(n_numbers, int(counts.sum())):
        return ""
    word = str(words.index[0])
    is_likely = schema_inference.is_many_numbers(int(is_number.sum()))
    return word if is_likely or word.casefold() in unlikely_keys.STAND_INS else ""


def has_leading_zeros(column: pd.Series) -> bool:
    """Return whether whole numbers have leading zeros, lost as numbers."""
    return bool(column.str.fullmatch(r"0\d+").any())


def find_signs(column: pd.Series) -> list[str]:
    """List the currency signs of a column with amounts in most filled cells."""
    counts = column[column != ""].value_counts()
    found = {text: CURRENCY.fullmatch(text) for text in counts.index}
    signs = {text: match[1] or match[2] for text, match in found.items() if match}
    n_amounts = int(counts[list(signs)].sum())
    return sorted(set(signs.values())) if n_amounts > MIN_FRACTION * counts.sum() else []


def find_currency(table: pd.DataFrame) -> dict[str, str]:
    """Return the currency sign of each column of amounts of a single currency."""
    found = {name: find_signs(table[name]) for name in table.columns if name}
    return {name: signs[0] for name, signs in found.items() if len(signs) == 1}


def find_percent(table: pd.DataFrame) -> list[str]:
    """List the columns of numbers with a percent sign in most filled cells."""
    found = []
    for name in (name for name in table.columns if name):
        filled = table[name][table[name] != ""]
        if len(filled) and filled.str.endswith("%").mean() > MIN_FRACTION:
            found.append(name)
    return found


def find_measures(table: pd.DataFrame, marks: Mapping[str, NumberMarks]) -> set[str]:
    """Return the columns of numbers with fractions, or named as amounts."""
    found = set()
    for name in (name for name in table.columns if name):
        texts = [str(text) for text in table[name].unique() if text]
        n_numbers = sum(cells.is_number(text, marks[name]) for text in texts)
        if schema_inference.is_numeric(n_numbers, len(texts)) and (
            AMOUNT_NAME.search(name) or schema_inference.is_measure(texts, marks[name])
        ):
            found.add(name)
    return found
