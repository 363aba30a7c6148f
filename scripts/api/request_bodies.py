"""Bodies of prediction requests, decoded into rows from JSON or CSV."""

import codecs
import io
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Raw, Struct, UnsetType
from werkzeug.http import parse_options_header

from scripts.api import mlflow_protocol
from scripts.api.columnar import UNREADABLE
from scripts.api.dated_requests import request_columns
from scripts.api.request_rows import MAX_FAULTY_ROWS, FaultyRowsError, format_value
from scripts.api.responses import Fault, PredictBody, RefusedError
from scripts.core.config import ApiSettings, Schema
from scripts.data import csv_reader, table_reader
from scripts.data.cells import BadCellError
from scripts.data.csv_reader import RefusedFileError

CSV = "text/csv"
# The member of the environ that says whether decoding the body may take long.
SLOW = "adras.slow"
ACCEPTED = (
    "Expected the content type application/json, or text/csv in UTF-8, and no content encoding."
)
# A larger body is decoded by a thread. The worst smaller body measured takes 7 ms.
LARGE_BYTES = 64 * 1024
# A smaller body cannot hold enough long numbers to be slow.
QUICK_BYTES = 4 * 1024
# The largest body decoded in a single call without a check of its numbers. A call blocks the
# interpreter, in threads too, and with the hardest numbers for a third of a second.
ONE_CALL_BYTES = 256 * 1024
# Every digit becomes 0 and every exponent e, so that long numbers can be searched.
DIGITS = bytes.maketrans(b"123456789.E", b"0000000000e")
# A number of 20 digits or a three-digit exponent takes the decoder up to 13 microseconds.
LONG_NUMBER_STEPS = (1, 2, 4, 8, 4)
LOWER_CASE = np.uint8(0x20)
LONG_EXPONENT = b"e000"

# A JSON string with its escapes.
STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# The number of names or columns allowed beside those of the model.
SPARE_NAMES = 100
OTHER_MEMBERS = tuple(name for name in PredictBody.__struct_fields__ if name != "data")

JsonRows = list[dict[str, Any]]

decode_json = msgspec.json.Decoder(PredictBody).decode


class TooManyRowsError(Exception):
    """A body with more rows than the limit, refused before the end."""


def has_hard_numbers(body: bytes) -> bool:
    """Return whether a body may hold long numbers, slow to parse in a single call."""
    if len(body) <= QUICK_BYTES:
        return False
    content = np.frombuffer(body, np.uint8)
    # From "." to "9", with "/" among them.
    is_digit = content - np.uint8(ord(".")) <= ord("9") - ord(".")
    is_exponent = is_digit[:-1] & (content[1:] | LOWER_CASE == ord("e"))
    if is_exponent.any() and LONG_EXPONENT in body.translate(DIGITS, b"+-"):
        return True
    # After each step the starts of as many digits in a row: 2, 4, 8, 16 and 20. This takes a third
    # of the time of a search in the body.
    for step in LONG_NUMBER_STEPS:
        is_digit = is_digit[:-step] & is_digit[step:]
        if not is_digit.any():
            return False
    return True


def has_many_objects(body: bytes, max_rows: int) -> bool:
    """Return whether a JSON body may exceed the row limit."""
    return body.count(b"{") > max_rows + 1


def has_many_arrays(body: bytes, max_rows: int) -> bool:
    """Return whether a JSON body may exceed the row limit or have too many columns."""
    return body.count(b"[") > max_rows + SPARE_NAMES


def exceeds_one_call(body: bytes, max_rows: int) -> bool:
    """Return whether decoding a JSON body in a single call may take too long or too much memory."""
    if len(body) <= ONE_CALL_BYTES:
        return False
    is_long = has_many_objects(body, max_rows) or has_many_arrays(body, max_rows)
    return is_long or has_hard_numbers(body)


def is_slow(body: bytes, content_type: str) -> bool:
    """Return whether decoding a body may block the event loop for too long.

    The server keeps the answer in the environ, since the search for long numbers takes a tenth of
    the time of a prediction for 1,000 rows.
    """
    is_long = len(body) > QUICK_BYTES and (len(body) > LARGE_BYTES or has_hard_numbers(body))
    return is_long or "csv" in content_type.lower()


def make_decoder(names: tuple[str, ...], max_rows: int | None = None) -> Any:
    """Make a decoder of rows with raw cells for the model's columns.

    Raw cells keep a list of a million lists from becoming a million objects before any check. With
    `max_rows` the decoder raises TooManyRowsError at the first row beyond.
    """
    n_rows = 0

    def count(_: Struct) -> None:
        """Count a row, and raise beyond the limit."""
        nonlocal n_rows
        n_rows += 1
        if max_rows is not None and n_rows > max_rows:
            raise TooManyRowsError

    row = msgspec.defstruct(
        "Cells",
        [(f"c{number}", Raw | UnsetType, UNSET) for number in range(len(names))],
        rename={f"c{number}": name for number, name in enumerate(names)},
        namespace={} if max_rows is None else {"__post_init__": count},
        gc=False,
    )
    # A type made at run time, unknown to mypy.
    rows: Any = list[row] | UnsetType  # type: ignore[valid-type]
    others = [(name, Raw | UnsetType, UNSET) for name in OTHER_MEMBERS]
    body = msgspec.defstruct("Body", [("data", rows, UNSET), *others])
    return msgspec.json.Decoder(body).decode


usual_decoder = lru_cache(maxsize=8)(make_decoder)


def read_value(cell: Raw) -> object:
    """Decode a JSON cell, or only its kind for a long array or object."""
    if len(cell) > LARGE_BYTES and (first := bytes(memoryview(cell)[:1])) in b"[{":
        return [] if first == b"[" else {}
    return msgspec.json.decode(cell)


def check_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError for invalid UTF-8, checked piecewise to save memory."""
    if not body.isascii():
        decoder = codecs.getincrementaldecoder("utf-8")()
        for begin in range(0, len(body), LARGE_BYTES):
            decoder.decode(body[begin : begin + LARGE_BYTES])
        decoder.decode(b"", final=True)


def check_is_text(body: bytes) -> None:
    """Refuse a body that is not UTF-8."""
    try:
        check_utf8(body)
    except UnicodeDecodeError as error:
        raise RefusedError(400, "The body is not a CSV table: not UTF-8.") from error


def decode_rows(body: bytes, names: tuple[str, ...], max_rows: int) -> JsonRows | None:
    """Decode the rows of the member `data`, or return None if the member is missing."""
    try:
        decode = usual_decoder(names)
    except ValueError:
        # msgspec cannot decode names with a quote or a backslash.
        return None
    if has_many_objects(body, max_rows):
        decode = make_decoder(names, max_rows)
    check_utf8(body)
    members = [(f"c{number}", name) for number, name in enumerate(names)]
    decoded = decode(body)
    if any(getattr(decoded, name) is not UNSET for name in OTHER_MEMBERS) or decoded.data is UNSET:
        return None
    rows = []
    for cells in decoded.data:
        row = {}
        for member, name in members:
            cell = getattr(cells, member)
            if cell is not UNSET:
                row[name] = read_value(cell)
        rows.append(row)
    return rows


def refuse_unreadable(error: Exception, body: bytes, expected: str) -> RefusedError:
    """Return the refusal of an undecodable JSON body."""
    if isinstance(error, msgspec.ValidationError):
        return RefusedError(422, f"{error}. {expected}.")
    if not isinstance(error, msgspec.DecodeError):
        # A UnicodeDecodeError would quote the body.
        return RefusedError(400, "The body is not JSON: not UTF-8, or nested too deep.")
    # Python's json module writes them, and so do clients with pandas.
    has_nan = b"NaN" in body or b"Infinity" in body
    hint = " JSON has neither NaN nor Infinity; a missing value is null." if has_nan else ""
    return RefusedError(400, f"The body is not JSON: {error}.{hint}")


def refuse_too_many_rows(max_rows: int) -> RefusedError:
    """Return the refusal of a body beyond the row limit."""
    return RefusedError(
        422, f"The data has more than {max_rows} rows; expected at most {max_rows} rows."
    )


def check_whole(body: bytes, n_names: int, max_rows: int) -> None:
    """Refuse a table too large or slow to decode in a single call.

    Raises
    ------
    RefusedError
        With status 422, for too many rows or values, or for numbers with too many digits.
    """
    if len(body) <= QUICK_BYTES:
        return
    bare = STRINGS.sub(b"", body)
    is_long = bare.count(b"[") + bare.count(b"{") > max_rows + n_names + SPARE_NAMES
    if is_long or bare.count(b",") > (max_rows + 1) * (n_names + SPARE_NAMES):
        raise refuse_too_many_rows(max_rows)
    if has_hard_numbers(bare):
        raise RefusedError(
            422,
            "The table has numbers of 20 digits or more, or with exponents of three digits;"
            " expected at most 17 digits, or such numbers in the rows of data.",
        )


def read_json(body: bytes, schema: Schema, max_rows: int) -> JsonRows:
    """Read the rows of a JSON body strictly: `data` cell by cell, MLflow's tables whole."""
    names = request_columns(schema)
    try:
        rows = decode_rows(body, names, max_rows)
        if rows is None:
            check_whole(body, len(names), max_rows)
            rows = mlflow_protocol.read_members(decode_json(body), schema)
    except TooManyRowsError:
        raise refuse_too_many_rows(max_rows) from None
    except UNREADABLE as error:
        raise refuse_unreadable(error, body, mlflow_protocol.EXPECTED) from error
    return rows


def csv_schema(schema: Schema, header: Sequence[str]) -> Schema:
    """Return the schema by which a CSV table is read for a prediction.

    Parameters
    ----------
    schema : Schema
        The schema of the model, whose marks of numbers and limits hold here, too.
    header : sequence of str
        The columns of the table.

    Returns
    -------
    Schema
        The columns of the table that are read: numbers, and all others as text, dates too. Any
        separator is taken, with or without a byte-order mark.
    """
    names = [name for name in request_columns(schema) if name in header]
    texts = tuple(name for name in names if name not in schema.numeric)
    return msgspec.structs.replace(
        schema, ids=(), key=UNSET, target="", date=UNSET, dates=UNSET, categorical=texts,
        separator=csv_reader.AUTO, encoding=csv_reader.AUTO,
        numeric=tuple(name for name in schema.numeric if name in names), minimum=schema.minimums,
    )  # fmt: skip


def as_value(cell: str | float) -> object:
    """Return a cell of a CSV table as JSON has it: null for a missing value."""
    return None if cell in ("", None) or cell != cell else cell


def as_fault(row: int, error: BadCellError) -> Fault:
    """Return the fault of a row of a CSV table."""
    expected, _, found = error.expected.removeprefix("expected ").partition(", found ")
    if error.found:
        found = format_value(error.found)
    elif error.column:
        # The one fault of a cell that is not shown.
        found, expected = expected.removeprefix("has "), "no control character"
    elif found.isdigit():
        found = f"{found} fields"
    return Fault(row=row, column=error.column, found=found, expected=expected)


def read_csv(body: bytes, schema: Schema, max_rows: int) -> JsonRows:
    """Read the rows of a CSV table with a header by the rules of the input files.

    Parameters
    ----------
    body : bytes
        UTF-8, with or without a byte-order mark.
    schema : Schema
        The columns of the model.
    max_rows : int
        The row limit. Reading ends one row beyond.

    Returns
    -------
    list of dict
        The rows, as from JSON.

    Raises
    ------
    RefusedError
        If the body is no CSV table, or a row cannot be right.
    """
    check_is_text(body)
    form = csv_schema(schema, request_columns(schema))
    wanted = csv_schema(schema, csv_reader.read_names(io.BytesIO(body), form))
    reading = csv_reader.new_reading(Path("the table"), wanted)
    rows: JsonRows = []
    faults: list[Fault] = []
    try:
        for row, errors in table_reader.read_content(body, wanted, reading):
            faults += [as_fault(reading.n_rows - 1, error) for error in errors]
            rows.append({name: as_value(cell) for name, cell in row.items()})
            if len(rows) > max_rows or len(reading.rejected) == MAX_FAULTY_ROWS:
                break
    except RefusedFileError as error:
        # As text, since an error held by its own frame would keep the body in memory.
        reason = str(error)
        raise RefusedError(422, f"The table cannot be used: {reason}.") from error
    if faults:
        raise FaultyRowsError(faults)
    return rows


def read_rows(
    body: bytes, content_type: str, encoding: str, api: ApiSettings, schema: Schema
) -> JsonRows:
    """Read the rows off the body of a request.

    Parameters
    ----------
    body : bytes
        The body as sent.
    content_type, encoding : str
        The headers Content-Type and Content-Encoding, "" if missing.
    api : ApiSettings
        The settings with the row limit.
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
    rows = (read_json if is_json else read_csv)(body, schema, api.max_rows)
    if not rows:
        raise RefusedError(422, "The data has 0 rows; expected at least one row.")
    if len(rows) > api.max_rows:
        raise refuse_too_many_rows(api.max_rows)
    return rows
