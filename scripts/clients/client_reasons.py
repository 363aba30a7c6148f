"""The reasons for the risk of clients, as response types with sentences."""

import math
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
from scripts.records.scored_clients import ScoredClients

Value = float | str | None


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
    # Equal reasons are one object, and so are their entries.
    different = {id(reason): reason for reasons in per_client for reason in reasons}
    entries = {number: as_reason(reason, words) for number, reason in different.items()}
    return [[entries[id(reason)] for reason in reasons] for reasons in per_client]


def read_values(model: Model, clients: ScoredClients) -> dict[str, NDArray[Any]]:
    """Return the features of scored clients by name."""
    return {name: clients.columns[marked] for name, marked in mark_features(model).items()}


def mark_features(model: Model) -> dict[str, str]:
    """Return the names under which the records have the features of a model."""
    numeric, categorical = model.schema.numeric, model.schema.categorical
    marked = {name: scored_clients.NUMBER + name for name in numeric}
    return marked | {name: scored_clients.TEXT + name for name in categorical}


def read_before(
    connection: Connection, model: Model, clients: ScoredClients
) -> dict[str, NDArray[Any]]:
    """Return the features of scored clients at the score before, with present ones for unknown.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    model : Model
        The model of the scoring.
    clients : ScoredClients
        Clients of the scoring, with `previous_at` and their values.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_clients,)
        A column that was text for an earlier model and is a number now is as at present.
    """
    scorings = {
        scored_clients.as_microseconds(row["scored_at"]): row
        for row in scoring_records.list_scorings(connection)
    }
    before = {name: column.copy() for name, column in read_values(model, clients).items()}
    at = clients.columns["previous_at"]
    for moment in {*at.tolist()} & scorings.keys():
        rows = np.flatnonzero(at == moment)
        names = [clients.names[row] for row in rows.tolist()]
        places, found = scored_clients.find_features(connection, scorings[moment], names)
        for name, marked in mark_features(model).items():
            if marked in found:
                before[name][rows[places]] = found[marked]
    return before
