"""Bodies of MLflow's scoring protocol, read strictly into rows."""

from typing import Any

from msgspec import UNSET

from scripts.api.dated_requests import required_schema
from scripts.api.request_rows import MAX_FAULTY_ROWS, FaultyRowsError, shorten
from scripts.api.responses import Fault, PredictBody, RefusedError, SplitTable
from scripts.core.config import Schema

Rows = list[dict[str, Any]]

EXPECTED = "Expected an object whose member data is an array of rows"
MAX_NAMES = 10


def format_names(names: list[str]) -> str:
    """Format the first names of a list for an error message."""
    shown = ", ".join(map(shorten, names[:MAX_NAMES]))
    return f"{shown} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else shown


def check_columns(names: list[str], schema: Schema) -> None:
    """Refuse a table with a repeated or missing column.

    Raises
    ------
    RefusedError
        With status 422.
    """
    known, doubled = set[str](), dict[str, None]()
    for name in names:
        doubled |= {name: None} if name in known else {}
        known.add(name)
    if doubled:
        raise RefusedError(
            422, f"The table names columns more than once: {format_names(list(doubled))}."
        )
    lacking = [name for name in required_schema(schema).features if name not in known]
    if lacking:
        raise RefusedError(
            422,
            f"The table lacks the columns {format_names(lacking)}; it has"
            f" {format_names(names) or 'none'}.",
        )


def name_cells(names: list[str], data: list[list[Any]]) -> Rows:
    """Make named rows of arrays, each with exactly one value per name."""
    faults = [
        Fault(row=k, column="", found=f"{len(cells)} values", expected=f"{len(names)} values")
        for k, cells in enumerate(data)
        if len(cells) != len(names)
    ]
    if faults:
        raise FaultyRowsError(faults[:MAX_FAULTY_ROWS])
    return [dict(zip(names, cells, strict=True)) for cells in data]


def read_split(table: SplitTable, schema: Schema) -> Rows:
    """Read a table in the format of pandas' `to_json(orient="split")`."""
    check_columns(table.columns, schema)
    return name_cells(table.columns, table.data)


def read_list(member: str, rows: list[Any], schema: Schema) -> Rows:
    """Read rows, either objects only or arrays in the order of the model's columns only."""
    kinds = set(map(type, rows))
    if kinds <= {dict}:
        return rows
    if kinds == {list}:
        return name_cells(list(schema.features), rows)
    raise RefusedError(
        422,
        f"Expected {member} to be an array of rows, either objects, or arrays in the order"
        f" {format_names(list(schema.features))}.",
    )


def read_columns(columns: dict[str, list[Any]], schema: Schema) -> Rows:
    """Read a table with an array per column."""
    check_columns(list(columns), schema)
    if len(set(map(len, columns.values()))) > 1:
        lengths = [f"{name} has {len(values)} values" for name, values in columns.items()]
        raise RefusedError(422, f"The columns differ in length: {format_names(lengths)}.")
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def read_members(body: PredictBody, schema: Schema) -> Rows:
    """Read the rows of the body's only table member.

    Parameters
    ----------
    body : PredictBody
        The decoded body.
    schema : Schema
        The columns of the model, the order of unnamed rows.

    Returns
    -------
    list of dict
        Column name to value, in the order sent.

    Raises
    ------
    RefusedError
        With status 422, unless there is exactly one valid table.

    Notes
    -----
    MLflow, "MLflow Model Serving", "Accepted Inputs".
    """
    names = body.__struct_fields__
    members = {n: value for n in names if (value := getattr(body, n)) is not UNSET}
    if len(members) != 1:
        found = f"has {' and '.join(members)}" if members else "has none of its members"
        others = ", ".join(names[1:])
        raise RefusedError(422, f"The body {found}. {EXPECTED}, or one of {others}.")
    ((name, value),) = members.items()
    if isinstance(value, SplitTable):
        return read_split(value, schema)
    if isinstance(value, dict):
        return read_columns(value, schema)
    return read_list(name, value, schema)
