"""The OpenAPI 3.1 description of the service, made from routes, types and columns."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any, get_args

import msgspec
from msgspec import Struct

from scripts.api.dated_requests import BEFORE, own_format, required_schema
from scripts.api.request_bodies import CSV
from scripts.api.responses import JSON, PROBLEM, Problem
from scripts.api.tensors import Datatype
from scripts.api.tokens import Role
from scripts.clients.work_input import WorkBody
from scripts.core.config import AS_OF, ApiSettings, Schema
from scripts.data.cells import EXAMPLE, LARGEST_NUMBER, MISSING_CATEGORY

VERSION = "3.1.0"
REF = "#/components/schemas/{name}"
# Refusals of any route, and of routes with a required role.
EVERYWHERE = (400, 408, 413, 431)
GUARDED = (401, 403, 421, 429)
TEXT = (
    "Attrition risk of clients. Every answer names the release of the model that made it; errors"
    " are problem documents (RFC 9457)."
)

CATEGORY_TEXT = (
    "A category. The examples are the known categories; an unknown category is predicted without"
    " this column, and listed in unknown_categories."
)
OWN_DAY_TEXT = "The day as of which the row is, such as {}; without it as_of counts, else today."
AS_OF_DAY = {
    "type": ["string", "null"],
    "description": f"The day of rows without one of their own, such as {EXAMPLE}; else today.",
}
BEFORE_TEXT = (
    "The client's row of an earlier day, for the changes since. A column that it lacks is a missing"
    " value; the client and the day are compared with the row where they are sent."
)

Categories = Mapping[str, Sequence[str]]

# The path parameter with a single value, api.model_name.
MODEL = "model"
WHO_TEXTS = {
    None: "Open to all.",
    Role.READ: "Requires a token of any role, if any token is set.",
    Role.WORK: "Requires a token of the role work or admin, if any token is set.",
    Role.ADMIN: "Requires a token of the role admin, if any token is set.",
}
ROWS_TEXT = (
    "Rows as objects under data; the formats of /invocations are accepted, too. A CSV table is read"
    " by the rules of the input files: no cell has a control character."
)
TABLES_TEXT = "Exactly one table member, with columns in any order; further columns are ignored."
TENSORS_TEXT = (
    "A tensor per column, of shape [n] or [n, 1], or, for columns of a single kind, a matrix of"
    " shape [n, columns] in the order of the model's columns. Values are flat or nested; null is a"
    " missing value. With the header Inference-Header-Content-Length values may be bytes after the"
    " JSON."
)


class Tag(StrEnum):
    """The groups of routes."""

    PREDICTIONS = "predictions"
    MLFLOW = "mlflow"
    INFERENCE = "inference"
    MODEL = "model"
    CLIENTS = "clients"
    SERVICE = "service"


class BodyKind(StrEnum):
    """The kinds of request bodies."""

    NOTHING = "nothing"
    ROWS = "rows"
    TABLES = "tables"
    TENSORS = "tensors"
    APPROVAL = "approval"
    WORK = "work"
    WORK_FILE = "work file"


TAG_TEXTS = {
    Tag.PREDICTIONS: "Predictions for the rows of a request.",
    Tag.MLFLOW: "Predictions in the formats of MLflow's scoring server.",
    Tag.INFERENCE: "Predictions by the open inference protocol, version 2, as in KServe.",
    Tag.MODEL: "The model in production, its data, its runs and its releases.",
    Tag.CLIENTS: "Today's clients, the reasons for their risk, and outcomes.",
    Tag.SERVICE: "The state and the description of the service.",
}


class Parameter(Struct, frozen=True):
    """A parameter in the query, or in the path."""

    name: str
    text: str
    schema: dict[str, object]
    place: str = "query"
    # A parameter in the path always is.
    is_required: bool = False


DEFAULT_LIMIT, MAX_LIMIT = 20, 100
PAGING = (
    Parameter(
        "limit",
        "How many entries.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    Parameter(
        "offset",
        "After how many.",
        {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
    ),
)


class Operation(Struct, frozen=True):
    """The description of a route."""

    method: str
    path: str
    summary: str
    answer: type[Struct] | str
    role: Role | None
    refusals: Sequence[int]
    parameters: Sequence[Parameter]
    body_kind: BodyKind
    tag: Tag


def known_words(name: str, categories: Categories) -> list[str]:
    """List the known categories of a column, without the missing category."""
    return [category for category in categories.get(name, ()) if category != MISSING_CATEGORY]


def describe_dates(schema: Schema) -> dict[str, Any]:
    """Describe the members of a client from which columns are derived, none without dates."""
    if not schema.date:
        return {}
    text = {"type": ["string", "null"]}
    dates = {
        name: text | {"description": f"A date such as {EXAMPLE:{date_format}}."}
        for name, date_format in schema.date_formats.items()
    }
    example = f"{EXAMPLE:{own_format(schema)}}"
    own_day = text | {"description": OWN_DAY_TEXT.format(example)}
    numbers = {name: {"type": ["number", "null"]} for name in schema.changes or ()}
    before = {
        "type": ["object", "null"],
        "description": BEFORE_TEXT,
        "properties": numbers,
    }
    return dates | {schema.as_of: own_day, AS_OF: AS_OF_DAY, BEFORE: before}


def describe_row(schema: Schema, categories: Categories) -> dict[str, Any]:
    """Describe a client: the columns of the model, and any further members."""
    columns: dict[str, Any] = {}
    for name in schema.numeric:
        minimum = max(schema.minimums.get(name, -math.inf), -LARGEST_NUMBER)
        columns[name] = {"type": ["number", "null"], "minimum": minimum, "maximum": LARGEST_NUMBER}
    for name in schema.categorical:
        # Not an enum, since unknown categories are accepted.
        columns[name] = {"type": ["string", "null"], "description": CATEGORY_TEXT}
        columns[name] |= {"examples": known} if (known := known_words(name, categories)) else {}
    return {
        "type": "object",
        "description": "A client; null is a missing value, and further columns are ignored.",
        "properties": columns | describe_dates(schema),
        "required": list(required_schema(schema).features),
    }


def make_example(schema: Schema, categories: Categories) -> dict[str, Any]:
    """Make an example of a client, with the columns of the model."""
    example: dict[str, Any] = dict.fromkeys(schema.numeric, 12)
    for name in schema.categorical:
        example[name] = next(iter(known_words(name, categories)), "text")
    return example


def make_row_example(schema: Schema, categories: Categories) -> dict[str, Any]:
    """Make an example of a client as sent, with dates instead of the columns derived from them."""
    example = make_example(required_schema(schema), categories)
    if not schema.date:
        return example
    dates = {name: f"{EXAMPLE:{date_format}}" for name, date_format in schema.date_formats.items()}
    before = {BEFORE: dict.fromkeys(schema.changes, 10)} if schema.changes else {}
    return example | dates | before


def describe_rows(api: ApiSettings) -> dict[str, Any]:
    """Describe an array of clients."""
    row = {"$ref": REF.format(name="Row")}
    return {"type": "array", "minItems": 1, "maxItems": api.max_rows, "items": row}


def make_member(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an object with a required member."""
    return {"type": "object", "properties": {name: schema}, "required": [name]}


def describe_data(rows: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Describe an object with the rows, and with dates the day of all rows."""
    body = make_member("data", rows)
    body["properties"] |= {AS_OF: AS_OF_DAY} if schema.date else {}
    return body


def without_objects(example: dict[str, Any]) -> dict[str, Any]:
    """Return an example of a client for a table, whose cells are no objects."""
    return {name: value for name, value in example.items() if not isinstance(value, dict)}


def describe_rows_body(schema: Schema, categories: Categories, api: ApiSettings) -> dict[str, Any]:
    """Describe the body of /predict: rows as JSON, or a CSV table with a header."""
    rows, example = describe_rows(api), make_row_example(schema, categories)
    body = {"$ref": REF.format(name="RowsBody")}
    return {
        "required": True,
        "description": ROWS_TEXT,
        "content": {
            JSON: {"schema": body, "example": {"data": [example]}},
            CSV: {"schema": rows, "example": [without_objects(example)]},
        },
    }


def describe_tables_body(schema: Schema, categories: Categories) -> dict[str, Any]:
    """Describe the body of /invocations: tables in MLflow's formats."""
    example = without_objects(make_row_example(schema, categories))
    forms = [{"$ref": REF.format(name=name)} for name in ("SplitBody", "RecordsBody", "InputsBody")]
    split = {"columns": list(example), "data": [list(example.values())]}
    return {
        "required": True,
        "description": TABLES_TEXT,
        "content": {JSON: {"schema": {"oneOf": forms}, "example": {"dataframe_split": split}}},
    }


def describe_tensors_body(schema: Schema, categories: Categories) -> dict[str, Any]:
    """Describe the request body of the open inference protocol: tensors."""
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": "FP64" if name in schema.numeric else "BYTES",
            "data": [value],
        }
        for name, value in make_example(schema, categories).items()
    ]
    body = {"$ref": REF.format(name="InferenceRequest")}
    return {
        "required": True,
        "description": TENSORS_TEXT,
        "content": {JSON: {"schema": body, "example": {"inputs": inputs}}},
    }


def describe_table(api: ApiSettings) -> dict[str, Any]:
    """Describe a table with the columns named once."""
    cells_of_row = {"type": "array", "items": {"type": ["number", "string", "null"]}}
    rows = {"type": "array", "minItems": 1, "maxItems": api.max_rows, "items": cells_of_row}
    return {
        "type": "object",
        "description": "A table in the format of pandas' to_json with orient=split.",
        "properties": {"columns": {"type": "array", "items": {"type": "string"}}, "data": rows},
        "required": ["columns", "data"],
    }


def describe_columns(row: dict[str, Any], schema: Schema, api: ApiSettings) -> dict[str, Any]:
    """Describe an object with an array per column."""
    limits = {"minItems": 1, "maxItems": api.max_rows}
    return {
        "type": "object",
        "description": "An array per column, of equal lengths.",
        "properties": {
            name: {"type": "array", "items": row["properties"][name], **limits}
            for name in (*required_schema(schema).features, *schema.date_formats)
        },
        "required": list(required_schema(schema).features),
    }


def describe_tensor() -> dict[str, Any]:
    """Describe a tensor of the open inference protocol."""
    sizes = {"type": "integer", "minimum": 0}
    return {
        "type": "object",
        "description": "A tensor: a column, or a matrix of columns.",
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "minItems": 1, "maxItems": 2, "items": sizes},
            "datatype": {"type": "string", "enum": list(get_args(Datatype))},
            "data": {"type": "array", "items": {"type": ["number", "string", "null"]}},
            "parameters": {"type": "object"},
        },
        "required": ["name", "shape", "datatype", "data"],
    }


def describe_output() -> dict[str, Any]:
    """Describe a requested output of the open inference protocol."""
    return {
        "type": "object",
        "description": "A requested output.",
        "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
        "required": ["name"],
    }


def describe_inference_request() -> dict[str, Any]:
    """Describe a request of the open inference protocol."""
    tensor, output = ({"$ref": REF.format(name=f"Inference{n}")} for n in ("Tensor", "Wanted"))
    return {
        "type": "object",
        "description": "A request of the open inference protocol.",
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": 1, "items": tensor},
            "outputs": {"type": "array", "items": output},
            "parameters": {"type": "object"},
        },
        "required": ["inputs"],
    }


def describe_approval() -> dict[str, Any]:
    """Describe an approval or a rejection."""
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "The candidate as it was seen, and the reason of the decision.",
        "properties": {"release": text | {"maxLength": 64}, "reason": text | {"maxLength": 500}},
        "required": ["release", "reason"],
    }


def describe_parts(schema: Schema, categories: Categories, api: ApiSettings) -> dict[str, Any]:
    """Describe the parts of request bodies, by name in the OpenAPI document."""
    row = describe_row(schema, categories)
    rows, columns = describe_rows(api), describe_columns(row, schema, api)
    _, work = msgspec.json.schema_components([WorkBody], ref_template=REF)
    return work | {
        "Row": row,
        "RowsBody": describe_data(rows, schema),
        "SplitBody": make_member("dataframe_split", describe_table(api)),
        "RecordsBody": make_member("dataframe_records", rows),
        "InputsBody": make_member("inputs", columns),
        "InferenceTensor": describe_tensor(),
        "InferenceWanted": describe_output(),
        "InferenceRequest": describe_inference_request(),
        "ApprovalBody": describe_approval(),
    }


def describe_approval_body() -> dict[str, Any]:
    """Describe the request body of an approval or a rejection."""
    body = {"$ref": REF.format(name="ApprovalBody")}
    example = {"release": "0002_20260131T060000000000Z", "reason": "the moved clients make sense"}
    return {"required": True, "content": {JSON: {"schema": body, "example": example}}}


def describe_work_body() -> dict[str, Any]:
    """Describe the request body that records work with clients."""
    body = {"$ref": REF.format(name="WorkBody")}
    example = {"entries": [{"client": "acme", "result": "saved", "note": "stays for a year"}]}
    return {"required": True, "content": {JSON: {"schema": body, "example": example}}}


def describe_work_file() -> dict[str, Any]:
    """Describe the request body with a CSV file of results."""
    example = "client,result,note\r\nacme,saved,stays for a year\r\n"
    return {"required": True, "content": {CSV: {"schema": {"type": "string"}, "example": example}}}


def describe_body(
    body_kind: BodyKind, schema: Schema, categories: Categories, api: ApiSettings
) -> dict[str, Any]:
    """Describe the request body of a route."""
    if body_kind is BodyKind.ROWS:
        return describe_rows_body(schema, categories, api)
    if body_kind is BodyKind.TABLES:
        return describe_tables_body(schema, categories)
    if body_kind is BodyKind.APPROVAL:
        return describe_approval_body()
    if body_kind is BodyKind.WORK:
        return describe_work_body()
    if body_kind is BodyKind.WORK_FILE:
        return describe_work_file()
    return describe_tensors_body(schema, categories)


def describe_response(status: int, content_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a response."""
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
    """Describe a route: parameters, body and every response."""
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
        "description": WHO_TEXTS[operation.role],
        "tags": [str(operation.tag)],
        "operationId": re.sub(r"\W+", "_", operation.path).strip("_") or "index",
        "parameters": [
            {"name": p.name, "in": p.place, "description": p.text}
            | {"schema": p.schema | ({"enum": [api.model_name]} if p.name == MODEL else {})}
            | ({"required": True} if p.place == "path" or p.is_required else {})
            for p in operation.parameters
        ],
        "responses": {"200": good} | responses,
    }
    if operation.body_kind is not BodyKind.NOTHING:
        described["requestBody"] = describe_body(operation.body_kind, schema, categories, api)
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
        The columns of the model.
    categories : mapping of str to sequence of str
        The known categories of each categorical column, empty without a model.
    api : ApiSettings
        The limits.
    needs_token : bool
        Whether a token is set.

    Returns
    -------
    dict
        The OpenAPI document.

    Notes
    -----
    OpenAPI Specification 3.1.0, with schemas in JSON Schema 2020-12 from msgspec.
    """
    operations = list(operations)
    types = [op.answer for op in operations if not isinstance(op.answer, str)]
    _, components = msgspec.json.schema_components([*types, Problem], ref_template=REF)
    paths: dict[str, Any] = {}
    for operation in operations:
        described = describe_operation(operation, schema, categories, api, needs_token=needs_token)
        if operation.path in paths:
            described["operationId"] = f"{operation.method.lower()}_{described['operationId']}"
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": VERSION,
        "info": {"title": "Dynamic Risk Assessment System", "version": "1", "description": TEXT},
        "tags": [{"name": str(tag), "description": text} for tag, text in TAG_TEXTS.items()],
        "paths": paths,
        "components": {
            "schemas": components | describe_parts(schema, categories, api),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
