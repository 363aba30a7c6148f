"""Rows of prediction requests, checked strictly and turned into columns or a list of faults."""

import math
from itertools import chain
from types import NoneType
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from scripts.api.responses import Fault, RefusedError
from scripts.core.config import Schema
from scripts.data.cells import LARGEST_NUMBER, MISSING_CATEGORY

MAX_FAULTY_ROWS = 20
MAX_SHOWN = 40
ABSENT = object()
NUMBER_TYPES = {int, float, NoneType}
TEXT_TYPES = {str, NoneType}


class FaultyRowsError(RefusedError):
    """Faulty rows of a request, with a description of each fault."""

    def __init__(self, faults: list[Fault]) -> None:
        detail = (
            "The data has values that cannot be right; `errors` lists those of the first"
            f" {MAX_FAULTY_ROWS} faulty rows, counted from 0."
        )
        super().__init__(422, detail, errors=faults)
        self.faults = faults


def shorten(text: str) -> str:
    """Shorten a long text for display."""
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def format_value(value: object) -> str:
    """Format a request value for an error message, shortened."""
    if value is ABSENT:
        return "no such column"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    return shorten(msgspec.json.encode(value).decode())


def expected_number(value: object, minimum: float) -> str:
    """Return the expectation for a numeric cell, or "" for a valid value."""
    if value is None:
        return ""
    if type(value) not in NUMBER_TYPES:
        return "a number or null"
    try:
        number = float(cast("float", value))
    except OverflowError:
        number = math.inf
    if abs(number) > LARGEST_NUMBER:
        return "a number from -2**53 to 2**53"
    return f"a number of at least {minimum:g}" if number < minimum else ""


def expected_text(value: object) -> str:
    """Return the expectation for a text cell, or "" for a valid value."""
    return "" if value is None or isinstance(value, str) else "text or null"


def find_faults(rows: list[dict[str, Any]], schema: Schema) -> list[Fault]:
    """List every fault of the first faulty rows."""
    faults: list[Fault] = []
    n_faulty = 0
    for index, row in enumerate(rows):
        cells = {name: row.get(name, ABSENT) for name in schema.features}
        wanted = {
            n: expected_number(cells[n], schema.minimums.get(n, -math.inf)) for n in schema.numeric
        }
        wanted |= {name: expected_text(cells[name]) for name in schema.categorical}
        faults += [
            Fault(row=index, column=name, found=format_value(cells[name]), expected=expected)
            for name, expected in wanted.items()
            if expected
        ]
        n_faulty += any(wanted.values())
        if n_faulty == MAX_FAULTY_ROWS:
            break
    return faults


def single_number_arrays(
    row: dict[str, Any], schema: Schema
) -> dict[str, NDArray[np.float64]] | None:
    """Return the arrays of `number_arrays` for a single row, without whole-table checks."""
    minimums = schema.minimums
    arrays = {}
    for name in schema.numeric:
        value = row.get(name, ABSENT)
        if type(value) not in NUMBER_TYPES or expected_number(value, minimums.get(name, -math.inf)):
            return None
        arrays[name] = np.array([value], dtype=np.float64)
    return arrays


def number_arrays(
    rows: list[dict[str, Any]], schema: Schema
) -> dict[str, NDArray[np.float64]] | None:
    """Return an array per numeric column with NaN for null, or None for invalid values."""
    names = schema.numeric
    if len(rows) == 1:
        return single_number_arrays(rows[0], schema)
    columns = [[row.get(name, ABSENT) for row in rows] for name in names]
    if not set(map(type, chain.from_iterable(columns))) <= NUMBER_TYPES:
        return None
    minimums = schema.minimums
    lowest = np.array([[minimums.get(name, -math.inf)] for name in names])
    try:
        # A single table, so that the checks cost the same for one column or thirty.
        table = np.array(columns, dtype=np.float64).reshape(len(names), len(rows))
    except OverflowError:
        return None
    wrong = (np.abs(table) > LARGEST_NUMBER) | (table < lowest)
    return None if wrong.any() else dict(zip(names, table, strict=True))


def text_array(values: list[Any]) -> NDArray[np.object_] | None:
    """Return the array of a text column with "" for null, or None for invalid values."""
    if not set(map(type, values)) <= TEXT_TYPES:
        return None
    texts = [MISSING_CATEGORY if value is None else value.strip() for value in values]
    return np.array(texts, dtype=object)


def read_columns(rows: list[dict[str, Any]], schema: Schema) -> dict[str, NDArray[Any]]:
    """Return an array per feature.

    Parameters
    ----------
    rows : list of dict
        At least one row, column name to value. Further columns are ignored, null is missing.
    schema : Schema
        The columns of the model.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_rows,)
        The input of `logistic_model.probabilities`.

    Raises
    ------
    FaultyRowsError
        If a column is absent from a row, or a value has the wrong type or is out of range.
    """
    numbers = number_arrays(rows, schema)
    texts = {n: text_array([row.get(n, ABSENT) for row in rows]) for n in schema.categorical}
    right = {name: array for name, array in texts.items() if array is not None}
    if numbers is None or len(right) < len(texts):
        raise FaultyRowsError(find_faults(rows, schema))
    return numbers | right
