"""Filters and orders of the worklist by columns, and by the work with the clients."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from scripts.clients import client_work
from scripts.clients.filter_words import COLUMN, CONTACTED, NOBODY, NOT_CONTACTED, OPERATORS
from scripts.core.config import Schema
from scripts.core.errors import SelectionError
from scripts.records import client_work as work_records
from scripts.records import scored_clients
from scripts.records.column_blocks import Column
from scripts.records.runs import Row
from scripts.records.scored_clients import NUMBER, TEXT
from scripts.records.tables import WorkKind

Mask = NDArray[np.bool_]
# A number as people and programs write it.
PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)


class ColumnFilter(Struct, frozen=True):
    """A condition on a column: a value, or a number as lower or upper limit."""

    column: str
    operator: str
    value: str


# The columns of a list with the names under which the records have them, with their kinds.
Known = Mapping[str, str]


def find_columns(connection: Connection, scoring: Row, schema: Schema) -> Known:
    """Return the columns of a list: the features of the model, and the columns kept for people."""
    kept = scored_clients.find_kept(connection, scoring["id"])
    features = [TEXT + name for name in schema.categorical]
    features += [NUMBER + name for name in schema.numeric]
    return {marked.partition(":")[2]: marked for marked in (*kept, *features)}


def is_number(marked: str) -> bool:
    """Return whether a column of the records has numbers."""
    return not marked.startswith(scored_clients.TEXTS)


def mark(known: Known, column: str) -> str:
    """Return the name of a column with the kind.

    Raises
    ------
    SelectionError
        If the list has no such column.
    """
    if column not in known:
        raise SelectionError(
            f"The list has no column {column!r}; expected one of {', '.join(known)}."
        )
    return known[column]


def parse_filter(text: str, known: Known) -> ColumnFilter:
    """Parse a condition, for example `plan=gold` or `logins<=5`.

    Parameters
    ----------
    text : str
        Column, operator and value. An empty value stands for a missing one.
    known : mapping of str to str
        The columns of the list.

    Raises
    ------
    SelectionError
        If the column is unknown, or a number is expected.
    """
    # The longest name first: a name may begin with another one, or hold an operator.
    for column in sorted(known, key=len, reverse=True):
        rest = text.removeprefix(column)
        operator = next((sign for sign in OPERATORS if rest.startswith(sign)), None)
        if rest == text or operator is None:
            continue
        value = rest.removeprefix(operator).strip()
        is_limit, has_numbers = operator != "=", is_number(known[column])
        if (is_limit and not has_numbers) or (
            has_numbers and (value or is_limit) and not PLAIN_NUMBER.fullmatch(value)
        ):
            raise SelectionError(
                f"The condition {text!r} cannot be right; expected a number behind"
                f" {', '.join(OPERATORS)} for a column of numbers, and = for one of texts."
            )
        return ColumnFilter(column, operator, value)
    raise SelectionError(
        f"The condition {text!r} names no column of the list; expected one of {', '.join(known)},"
        f" then one of {', '.join(OPERATORS)} and a value."
    )


def match(condition: ColumnFilter, values: Column) -> Mask:
    """Return a mask of clients by a condition, with missing values only for an empty value."""
    if values.dtype == np.object_:
        wanted = condition.value.casefold()
        return np.fromiter((str(v).casefold() == wanted for v in values), np.bool_, len(values))
    if not condition.value:
        return np.isnan(values)
    limit = float(condition.value)
    compare: dict[str, Callable[[Column, float], Mask]] = {
        "=": np.equal, ">=": np.greater_equal, "<=": np.less_equal,
    }  # fmt: skip
    return compare[condition.operator](values, limit)


def order_values(values: Column, *, is_falling: bool) -> NDArray[np.int64]:
    """Return the numbers of clients in the order of a column, missing values at the end."""
    if values.dtype == np.object_:
        # Texts are ordered by their rank, so that they can be turned round like numbers.
        different = sorted({str(value) for value in values}, key=lambda v: (v.casefold(), v))
        rank = {text: float(number) for number, text in enumerate(different)}
        keys = np.array([rank[v] if v else np.nan for v in values.tolist()], np.float64)
    else:
        keys = np.asarray(values, np.float64)
    return np.argsort(-keys if is_falling else keys, kind="stable").astype(np.int64)


def find_with_work(
    connection: Connection, scoring: Row, up_to: int, fits: Callable[[Mapping[str, Row]], bool]
) -> Mask:
    """Return a mask of the clients of a scoring by the state of the work."""
    states = work_records.list_states(connection, up_to)
    names = [name for name, rows in states.items() if fits(client_work.find_latest(rows))]
    mask = np.zeros(scoring["n_clients"], np.bool_)
    for at in scored_clients.locate(connection, scoring, names).values():
        mask[at.number] = True
    return mask


def is_contacted(latest: Mapping[str, Row], contacted: str) -> bool:
    """Return whether a client was contacted, perhaps with a given result."""
    contact = latest.get(WorkKind.CONTACT)
    return contact is not None and contacted in (CONTACTED, NOT_CONTACTED, contact["result"])


def is_assigned(latest: Mapping[str, Row], assigned: str) -> bool:
    """Return whether a client is assigned to a name, or to anybody for NOBODY."""
    assignment = latest.get(WorkKind.ASSIGNMENT)
    name = "" if assignment is None else assignment["assigned_to"]
    return bool(name) and assigned in (NOBODY, name)


def find_mask(
    connection: Connection,
    scoring: Row,
    known: Known,
    *,
    where: Sequence[str] = (),
    assigned: str = "",
    contacted: str = "",
    up_to: int = 0,
) -> Mask | None:
    """Return a mask of the clients of a scoring by the filters, or None without a filter.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring : mapping
        The row of the scoring.
    known : mapping of str to str
        The columns of the list, as from `find_columns`.
    where : sequence of str
        Conditions such as `plan=gold`, of which all must hold.
    assigned : str
        A name, or NOBODY.
    contacted : str
        CONTACTED, NOT_CONTACTED or a result.
    up_to : int
        The last entry of work that counts.

    Raises
    ------
    SelectionError
        If a condition cannot be right.
    """
    masks: list[Mask] = []
    conditions = [parse_filter(text, known) for text in where]
    wanted = {mark(known, condition.column) for condition in conditions}
    if wanted:
        values = scored_clients.read_features(connection, scoring["id"], wanted)
        masks += [match(c, values[mark(known, c.column)]) for c in conditions]
    if contacted:
        found = find_with_work(
            connection, scoring, up_to, lambda latest: is_contacted(latest, contacted)
        )
        masks.append(~found if contacted == NOT_CONTACTED else found)
    if assigned:
        found = find_with_work(
            connection, scoring, up_to, lambda latest: is_assigned(latest, assigned)
        )
        masks.append(~found if assigned == NOBODY else found)
    return np.logical_and.reduce(masks) if masks else None


def find_sequence(
    connection: Connection, scoring: Row, known: Known, order: str
) -> NDArray[np.int64] | None:
    """Return the numbers of the clients by a column, or None for another order.

    Raises
    ------
    SelectionError
        If the list has no such column.
    """
    is_falling = order.startswith("-")
    column = order.removeprefix("-")
    if not column.startswith(COLUMN):
        return None
    name = mark(known, column.removeprefix(COLUMN))
    values = scored_clients.read_features(connection, scoring["id"], [name])
    return order_values(values[name], is_falling=is_falling)
