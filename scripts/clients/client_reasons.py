"""The reasons for the risk of clients, as response types with sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from scripts.clients.response_types import ReasonEntry, ReasonPartner
from scripts.core.column_words import PLAIN, ColumnWords
from scripts.model import explanation
from scripts.model.explanation import Reason
from scripts.model.logistic_model import Columns, Model
from scripts.records import scored_clients, scoring_records
from scripts.records.runs import Row

Value = float | str | None


def read_values(model: Model, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """Return the values of scored clients as arrays by column."""
    columns: dict[str, NDArray[Any]] = {}
    for name in model.schema.features:
        values = [row["values"][name] for row in rows]
        is_number = name in model.schema.numeric
        columns[name] = np.array(values, dtype=np.float64 if is_number else object)
    return columns


def as_value(value: Any) -> Value:
    """Return a value for JSON, None for a missing number."""
    if isinstance(value, str):
        return value
    return None if math.isnan(value) else float(value)


def as_before(value: float | str) -> float | str:
    """Return a value before as a type of JSON, without numbers of numpy."""
    return value if isinstance(value, str) else float(value)


def as_reason(reason: Reason, words: ColumnWords) -> ReasonEntry:
    """Return a reason as the response type, with a sentence."""
    first, *others = reason.parts
    further = [
        ReasonPartner(column=part.column, value=as_value(part.value), typical=part.typical)
        for part in others
    ]
    return ReasonEntry(
        column=first.column,
        value=as_value(first.value),
        typical=first.typical,
        effect=reason.effect,
        text=explanation.format_reason(reason, words),
        share=UNSET if first.share is None else first.share,
        before=UNSET if first.before is None else as_before(first.before),
        partner=further[0] if further and not reason.group else UNSET,
        group=reason.group or UNSET,
        members=further if reason.group else UNSET,
    )


def list_reasons(
    model: Model, columns: Columns, words: ColumnWords = PLAIN, before: Columns | None = None
) -> list[list[ReasonEntry]]:
    """Return the strongest reasons of each client."""
    typical = explanation.typical_values(model)
    per_client = explanation.find_reasons(model, columns, typical, words, before)
    return [[as_reason(reason, words) for reason in reasons] for reasons in per_client]


def find_values_before(connection: Connection, rows: Sequence[Row]) -> dict[str, Mapping[str, Any]]:
    """Return the kept values of clients at the score before by name."""
    scorings = {row["scored_at"]: row for row in scoring_records.list_scorings(connection)}
    names: dict[Any, list[str]] = {}
    for row in rows:
        if row["previous_at"] in scorings:
            names.setdefault(row["previous_at"], []).append(row["client"])
    found: dict[str, Mapping[str, Any]] = {}
    for at, wanted in names.items():
        for row in scored_clients.read_named(connection, scorings[at], wanted):
            found[row["client"]] = row["values"]
    return found


def fill_before(
    model: Model, rows: Sequence[Row], before: Mapping[str, Mapping[str, Any]]
) -> Columns:
    """Return the values at the score before as columns, with present values for unknown."""
    filled: list[Row] = []
    for row in rows:
        values = dict(row["values"])
        for name, value in before.get(row["client"], {}).items():
            # A column may have been text for an earlier model.
            if name in values and isinstance(value, str) is isinstance(values[name], str):
                values[name] = value
        filled.append({"values": values})
    return read_values(model, filled)


def explain_rows(
    connection: Connection, model: Model, rows: Sequence[Row], words: ColumnWords
) -> list[list[ReasonEntry]]:
    """Return the reasons of scored clients, with the values at the score before."""
    if not rows:
        return []
    before = fill_before(model, rows, find_values_before(connection, rows))
    return list_reasons(model, read_values(model, rows), words, before)
