"""The body of a prediction request as rows: JSON as clients send it, or a CSV table."""

import csv
import io
import re
from typing import Any

import msgspec
from werkzeug.http import parse_options_header

from scripts import mlflow_protocol
from scripts.answers import RefusedError
from scripts.columnar import UNREADABLE
from scripts.config import ApiSettings, Schema
from scripts.contract import Fault, PredictBody
from scripts.payload import MAX_FAULTY_ROWS, FaultyRowsError

CSV = "text/csv"
ACCEPTED = (
    "Expected the content type application/json, or text/csv in UTF-8, and no content encoding."
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)

Rows = list[dict[str, Any]]

decode_json = msgspec.json.Decoder(PredictBody).decode


def explain_unreadable(error: Exception, body: bytes, expected: str) -> RefusedError:
    """Return the refusal of a JSON body that could not be decoded."""
    if isinstance(error, msgspec.ValidationError):
        return RefusedError(422, f"{error}. {expected}.")
    if not isinstance(error, msgspec.DecodeError):
        # A UnicodeDecodeError would quote the body.
        return RefusedError(400, "The body is not JSON: not UTF-8, or nested too deep.")
    # What Python's own JSON writes for them, and so what clients of pandas send.
    has_nan = b"NaN" in body or b"Infinity" in body
    hint = " JSON has neither NaN nor Infinity; a blank is null." if has_nan else ""
    return RefusedError(400, f"The body is not JSON: {error}.{hint}")


def read_json(body: bytes, schema: Schema) -> Rows:
    """Read the rows off a JSON body, strictly."""
    try:
        found = decode_json(body)
    except UNREADABLE as error:
        raise explain_unreadable(error, body, mlflow_protocol.EXPECTED) from error
    return mlflow_protocol.read_members(found, schema)


def read_cell(text: str, is_number: bool) -> object:
    """Read a cell of a CSV table; what is no number stays text, and is refused as such later."""
    text = text.strip()
    if not text:
        return None
    return float(text) if is_number and NUMBER.fullmatch(text) else text


def check_header(header: list[str]) -> None:
    """Refuse a header that names a column twice."""
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise RefusedError(422, f"The header names the columns {doubled} more than once.")


def read_csv(body: bytes, schema: Schema, max_rows: int) -> Rows:
    """Read the rows off a CSV table with a header, strictly; blank lines are no rows.

    Parameters
    ----------
    body : bytes
        UTF-8, comma-separated; a byte-order mark is allowed.
    schema : Schema
        Says which columns are numbers.
    max_rows : int
        Reading ends after one row more.

    Returns
    -------
    list of dict
        As from JSON.

    Raises
    ------
    RefusedError
        If it is no such table, or a row has more or fewer fields than the header.
    """
    rows: Rows = []
    faults: list[Fault] = []
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip() for name in next(lines, [])]
        check_header(header)
        numeric = [name in schema.numeric for name in header]
        for fields in filter(None, lines):
            n_rows = len(rows) + len(faults)
            if len(fields) != len(header):
                found, expected = f"{len(fields)} fields", f"{len(header)} fields"
                faults.append(Fault(row=n_rows, column="", found=found, expected=expected))
            else:
                rows.append(dict(zip(header, map(read_cell, fields, numeric), strict=True)))
            if n_rows >= max_rows or len(faults) == MAX_FAULTY_ROWS:
                break
    except (UnicodeDecodeError, csv.Error) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise RefusedError(400, f"The body is not a CSV table: {reason}.") from error
    if faults:
        raise FaultyRowsError(faults)
    return rows


def read_rows(
    body: bytes, content_type: str, encoding: str, api: ApiSettings, schema: Schema
) -> Rows:
    """Read the rows off the body of a request.

    Parameters
    ----------
    body : bytes
        As sent.
    content_type, encoding : str
        The headers Content-Type and Content-Encoding, "" where there is none.
    api : ApiSettings
        Says how many rows are taken.
    schema : Schema
        The columns of the model.

    Returns
    -------
    list of dict
        At least one row, in the order sent.

    Raises
    ------
    RefusedError
        With status 415, 400 or 422.
    """
    kind, options = content_type, dict[str, str]()
    if content_type != "application/json":
        kind, options = parse_options_header(content_type)
        kind = kind.lower()
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    charset = options.get("charset", "utf-8").lower().replace("_", "-")
    is_text = kind == CSV and charset in ("utf-8", "utf8", "us-ascii")
    if not (is_json or is_text) or encoding.lower() not in ("", "identity"):
        raise RefusedError(415, ACCEPTED, [("Accept", "application/json, text/csv")])
    rows = read_json(body, schema) if is_json else read_csv(body, schema, api.max_rows)
    if not 1 <= len(rows) <= api.max_rows:
        found = f"more than {api.max_rows}" if rows and not is_json else str(len(rows))
        wanted = f"at most {api.max_rows} rows" if rows else "at least one row"
        raise RefusedError(422, f"The data has {found} rows; expected {wanted}.")
    return rows
