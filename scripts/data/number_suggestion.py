"""Suggestions about the way numbers are written: marks, percent signs, leading zeros."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from scripts.core.config import NumberMarks
from scripts.data import cells, schema_inference

AMOUNT_NAME = re.compile(
    r"salary|income|amount|balance|price|revenue|charge|cost|limit|sales|spend|total|sum\b|minutes|"
    r"seconds|usage|value",
    re.I,
)
CURRENCY = r"[-+]?\s*(?:[$€£¥]|[A-Z]{3}\s)\s*\d[\d., ']*|[-+]?\d[\d., ']*\s*(?:[$€£¥]|[A-Z]{3})"
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
# This number of values shows the number format of a column.
N_SAMPLED = 1000
MIN_FRACTION = 0.5


def find_marks(table: pd.DataFrame) -> NumberMarks:
    """Return the number marks that make the most columns of a table numeric."""
    samples = []
    for name in table.columns:
        values = [text.removesuffix("%").rstrip() for text in table[name].unique()[: N_SAMPLED + 1]]
        values = [text for text in values if text]
        if any(character in text for text in values for character in ",.' "):
            samples.append(values)

    def count_numeric(marks: NumberMarks) -> int:
        return sum(
            schema_inference.is_numeric(
                sum(cells.is_number(text, marks) for text in values), len(values)
            )
            for values in samples
        )

    return max(MARKS, key=count_numeric)


def describe_marks(marks: NumberMarks) -> tuple[dict[str, Any], list[str]]:
    """Return the config keys of unusual number marks, with a sentence about them."""
    declared = {key: getattr(marks, key) for key in ("decimal", "thousands")}
    keys = {key: mark for key, mark in declared.items() if mark != getattr(PLAIN_MARKS, key)}
    shown = " and ".join(f"{key} {mark!r}" for key, mark in keys.items())
    return keys, [f"Numbers are written with {shown}."] if keys else []


def has_leading_zeros(column: pd.Series) -> bool:
    """Return whether whole numbers have leading zeros, which a number would lose."""
    return bool(column.str.fullmatch(r"0\d+").any())


def has_currency(column: pd.Series) -> bool:
    """Return whether most filled cells are amounts with the sign of a currency."""
    filled = column[column != ""]
    return len(filled) > 0 and float(filled.str.fullmatch(CURRENCY).mean()) > MIN_FRACTION


def find_percent(table: pd.DataFrame) -> list[str]:
    """List the columns of numbers in which most filled cells end in a percent sign."""
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
