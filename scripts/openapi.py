"""The description of the service in OpenAPI 3.1, made from its routes, types and columns."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from scripts.answers import JSON, PROBLEM
from scripts.bodies import CSV
from scripts.config import ApiSettings, Schema
from scripts.contract import Problem
from scripts.model import LARGEST_NUMBER, MISSING_CATEGORY
from scripts.tokens import Role

VERSION = "3.1.0"
REF = "#/components/schemas/{name}"
# What may happen to any request before its route is asked, and to those that want a token.
EVERYWHERE = (400, 408, 413, 431)
GUARDED = (401, 403, 421, 429)
TEXT = (
    "Attrition risk of clients. Every answer names the release of the model that made it; errors"
    " are problem documents (RFC 9457)."
)


CATEGORY_TEXT = (
    "A category. The examples are those the model knows; any other is predicted without this"
    " column, and named in unknown_categories."
)

Categories = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Parameter:
    """A parameter in the query, or in the path."""

    name: str
    text: str
    schema: dict[str, object]
    place: str = "query"


@dataclass(frozen=True)
class Operation:
    """What is said of one route."""

    method: str
    path: str
    summary: str
    answer: type[Struct] | str
    role: Role | None
    refusals: Sequence[int]
    parameters: Sequence[Parameter]
    takes_rows: bool


def known_words(name: str, categories: Categories) -> list[str]:
    """List the categories that a column is known to have, without the blank."""
    return [category for category in categories.get(name, ()) if category != MISSING_CATEGORY]


def describe_row(schema: Schema, categories: Categories) -> dict[str, Any]:
    """Describe a client: the columns of the model, and any others."""
    columns: dict[str, Any] = {}
    for name in schema.numeric:
        minimum = max(schema.minimums.get(name, -math.inf), -LARGEST_NUMBER)
        columns[name] = {"type": ["number", "null"], "minimum": minimum, "maximum": LARGEST_NUMBER}
    for name in schema.categorical:
        # Not an enum: a category that the model does not know is answered as well.
        columns[name] = {"type": ["string", "null"], "description": CATEGORY_TEXT}
        columns[name] |= {"examples": known} if (known := known_words(name, categories)) else {}
    return {
        "type": "object",
        "description": "A client; null is a blank, and further columns are ignored.",
        "properties": columns,
        "required": list(schema.features),
    }


def describe_body(schema: Schema, categories: Categories, api: ApiSettings) -> dict[str, Any]:
    """Describe what /predict takes: rows as JSON, or a table with a header as CSV."""
    row = {"$ref": REF.format(name="Row")}
    rows = {"type": "array", "minItems": 1, "maxItems": api.max_rows, "items": row}
    example: dict[str, Any] = dict.fromkeys(schema.numeric, 12)
    for name in schema.categorical:
        example[name] = next(iter(known_words(name, categories)), "text")
    body = {"type": "object", "properties": {"data": rows}, "required": ["data"]}
    return {
        "required": True,
        "content": {
            JSON: {"schema": body, "example": {"data": [example]}},
            CSV: {"schema": rows, "example": [example]},
        },
    }


def describe_response(status: int, content_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe one answer."""
    return {
        "description": HTTPStatus(status).phrase,
        "content": {content_type: {"schema": schema}},
    }


def describe_operation(
    operation: Operation,
    schema: Schema,
    categories: Categories,
    api: ApiSettings,
    *,
    needs_token: bool,
) -> dict[str, Any]:
    """Describe one route: what it takes, and every answer it has."""
    problem = {"$ref": REF.format(name=Problem.__name__)}
    guarded = GUARDED if operation.role is not None else ()
    refusals = sorted({*EVERYWHERE, *guarded, *operation.refusals})
    responses = {str(status): describe_response(status, PROBLEM, problem) for status in refusals}
    if isinstance(operation.answer, str):
        kind = "object" if operation.answer == JSON else "string"
        good = describe_response(200, operation.answer, {"type": kind})
    else:
        good = describe_response(200, JSON, {"$ref": REF.format(name=operation.answer.__name__)})
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", operation.path).strip("_") or "index",
        "parameters": [
            {"name": p.name, "in": p.place, "description": p.text, "schema": p.schema}
            | ({"required": True} if p.place == "path" else {})
            for p in operation.parameters
        ],
        "responses": {"200": good} | responses,
    }
    if operation.takes_rows:
        described["requestBody"] = describe_body(schema, categories, api)
    if needs_token and operation.role is not None:
        described["security"] = [{"token": []}]
    return described


def describe(
    operations: Iterable[Operation],
    schema: Schema,
    categories: Categories,
    api: ApiSettings,
    *,
    needs_token: bool,
) -> dict[str, Any]:
    """Describe the service.

    Parameters
    ----------
    operations : iterable of Operation
        The routes.
    schema : Schema
        The columns of the model that answers.
    categories : mapping of str to sequence of str
        The categories that the model knows in each categorical column; empty without a model.
    api : ApiSettings
        The limits.
    needs_token : bool
        Whether a token is set.

    Returns
    -------
    dict
        The document.

    Notes
    -----
    OpenAPI Specification 3.1.0; its schemas are JSON Schema 2020-12, which msgspec writes.
    """
    operations = list(operations)
    types = [op.answer for op in operations if not isinstance(op.answer, str)]
    _, components = msgspec.json.schema_components([*types, Problem], ref_template=REF)
    paths: dict[str, Any] = {}
    for operation in operations:
        described = describe_operation(operation, schema, categories, api, needs_token=needs_token)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": VERSION,
        "info": {"title": "Dynamic risk assessment system", "version": "1", "description": TEXT},
        "paths": paths,
        "components": {
            "schemas": components | {"Row": describe_row(schema, categories)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
