"""Tensors of the open inference protocol, decoded into the columns of a model."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, Struct
from numpy.typing import NDArray

from scripts.api import columnar, dated_requests, request_rows
from scripts.api.columnar import UNREADABLE, RequestRows
from scripts.api.mlflow_protocol import check_columns, format_names
from scripts.api.request_rows import (
    MAX_FAULTY_ROWS,
    FaultyRowsError,
    find_faults,
    format_value,
    shorten,
)
from scripts.api.responses import Fault, RefusedError
from scripts.clients.response_types import Count
from scripts.core.config import Schema
from scripts.data.cells import LARGEST_NUMBER

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip
WHOLE = {
    f"{sign}INT{bits}": np.dtype(f"<{'u' if sign else 'i'}{bits // 8}")
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
FRACTIONAL = {f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)}
NUMERIC = WHOLE | FRACTIONAL
TEXT = "BYTES"
LENGTH_BYTES = 4
NESTED = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*\[")

Decode = Callable[[Any], Any]


def make_decoders(cell: Any) -> tuple[Decode, Decode]:
    """Make decoders of a flat and of a nested list of cells."""
    flat, nested = list[cell], list[list[cell]]
    return msgspec.json.Decoder(flat).decode, msgspec.json.Decoder(nested).decode


DECODERS = (
    dict.fromkeys(WHOLE, make_decoders(int | None))
    | dict.fromkeys(FRACTIONAL, make_decoders(float | None))
    | {TEXT: make_decoders(str | None)}
)
DECODE_ANY = make_decoders(Any)


class TensorParameters(Struct):
    """Options of an input tensor, with unknown members ignored."""

    binary_data_size: Count | None = None


class Tensor(Struct):
    """A tensor of a request: values in row-major order, flat or nested, or bytes after the JSON."""

    name: str
    shape: Annotated[list[Count], Meta(min_length=1, max_length=2)]
    datatype: Datatype
    # msgspec supports no union with Raw, so missing data is empty bytes.
    data: Raw = msgspec.field(default_factory=Raw)
    parameters: TensorParameters = msgspec.field(default_factory=TensorParameters)
    binary: bytes = b""

    @property
    def n_values(self) -> int:
        """Return the number of values of the shape."""
        return self.shape[0] * (self.shape[1] if len(self.shape) == 2 else 1)

    @property
    def is_binary(self) -> bool:
        """Return whether the values follow the JSON as bytes."""
        return self.parameters.binary_data_size is not None


def attach_binary(tensors: list[Tensor], content: bytes) -> None:
    """Attach to each binary tensor its bytes after the JSON.

    Raises
    ------
    RefusedError
        With status 422, if there are more or fewer bytes, or a tensor has values in both places.

    Notes
    -----
    Triton Inference Server, "Binary Tensor Data Extension".
    """
    start = 0
    for tensor in tensors:
        size = tensor.parameters.binary_data_size
        if (size is None) == (not bytes(tensor.data)):
            raise RefusedError(
                422, f"Expected the tensor {shorten(tensor.name)} to have either data or bytes."
            )
        if size is not None:
            tensor.binary = content[start : start + size]
            start += size
    if start != len(content):
        raise RefusedError(
            422, f"{len(content)} bytes follow the JSON; its tensors have {start} bytes."
        )


def split_texts(content: bytes) -> list[str]:
    """Split the bytes of a text tensor, each text after a length in four bytes.

    Raises
    ------
    ValueError
        If a length leads beyond the end, or a text is not UTF-8.
    """
    texts, start = [], 0
    while start < len(content):
        begin = start + LENGTH_BYTES
        start = begin + int.from_bytes(content[start:begin], "little")
        if start > len(content) or begin > len(content):
            raise ValueError("a length leads beyond the end")
        texts.append(content[begin:start].decode())
    return texts


def read_binary(tensor: Tensor) -> list[Any] | NDArray[Any]:
    """Read the values of a binary tensor.

    Raises
    ------
    RefusedError
        With status 422, if the bytes cannot be of this datatype and shape.
    """
    try:
        if tensor.datatype == TEXT:
            return split_texts(tensor.binary)
        return np.frombuffer(tensor.binary, NUMERIC.get(tensor.datatype, np.dtype(np.bool_)))
    except ValueError as error:
        detail = f"The bytes of the tensor {shorten(tensor.name)} are not {tensor.datatype} values."
        raise RefusedError(422, detail) from error


def check_length(tensor: Tensor, n_values: int) -> None:
    """Refuse a tensor whose number of values contradicts the shape."""
    if n_values != tensor.n_values:
        raise RefusedError(
            422,
            f"The tensor {shorten(tensor.name)} has {n_values} values; its shape"
            f" {tensor.shape} wants {tensor.n_values}.",
        )


def decode_values(tensor: Tensor, decoders: tuple[Decode, Decode]) -> list[Any]:
    """Decode the values of a JSON tensor, row by row for nested lists."""
    flat, nested = decoders
    if not NESTED.match(tensor.data):
        # The functions of this table return different types of columns.
        return flat(tensor.data)  # type: ignore[no-any-return]
    rows = nested(tensor.data)
    if set(map(len, rows)) != {tensor.n_values // max(1, tensor.shape[0])}:
        raise RefusedError(
            422,
            f"The tensor {shorten(tensor.name)} has rows of other lengths than its shape"
            f" {tensor.shape} says.",
        )
    return list(chain.from_iterable(rows))


def read_numbers(tensor: Tensor) -> NDArray[np.float64] | None:
    """Return the values of a numeric tensor with NaN for null, or None for invalid values."""
    if tensor.is_binary:
        numbers = np.asarray(read_binary(tensor), np.float64)
        check_length(tensor, len(numbers))
        # Bytes have no null, so NaN and infinity are faults, as in JSON.
        return numbers if np.isfinite(numbers).all() else None
    try:
        values = decode_values(tensor, DECODERS[tensor.datatype])
        numbers = columnar.make_numbers(values)
    except (*UNREADABLE, OverflowError):
        return None
    check_length(tensor, len(numbers))
    if tensor.datatype in WHOLE:
        limits = np.iinfo(WHOLE[tensor.datatype])
        if ((numbers < limits.min) | (numbers > limits.max)).any():
            return None
    return numbers


def read_texts(tensor: Tensor) -> NDArray[np.object_] | None:
    """Return the values of a text tensor with "" for null, or None for invalid values."""
    try:
        if tensor.is_binary:
            values = list(read_binary(tensor))
        else:
            values = decode_values(tensor, DECODERS[TEXT])
    except UNREADABLE:
        return None
    check_length(tensor, len(values))
    return columnar.make_texts(values)


def format_number(value: object) -> object:
    """Replace NaN and infinity by their names, since JSON has no such numbers."""
    if isinstance(value, float) and not abs(value) < np.inf:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def read_any(tensor: Tensor) -> list[Any]:
    """Return the values of a tensor of any type, for error messages or identifiers."""
    if tensor.is_binary:
        decoded = read_binary(tensor)
        values = decoded if isinstance(decoded, list) else decoded.tolist()
        values = list(map(format_number, values))
    else:
        try:
            values = decode_values(tensor, DECODE_ANY)
        except UNREADABLE as error:
            # A UnicodeDecodeError would quote the body.
            reason = error if isinstance(error, msgspec.DecodeError) else "not UTF-8"
            raise RefusedError(
                422, f"The data of the tensor {shorten(tensor.name)} cannot be read: {reason}."
            ) from error
    check_length(tensor, len(values))
    return values


def check_datatype(tensor: Tensor, schema: Schema, names: Sequence[str]) -> None:
    """Refuse texts for numeric columns, and numbers for text columns."""
    has_numbers = any(name in schema.numeric for name in names)
    if has_numbers and any(name in schema.categorical for name in names):
        raise RefusedError(
            422, "Expected one tensor per column, since the model has numbers and texts."
        )
    if tensor.datatype not in (NUMERIC if has_numbers else (TEXT,)):
        wanted = f"one of {', '.join(NUMERIC)}" if has_numbers else TEXT
        raise RefusedError(
            422,
            f"The tensor {shorten(tensor.name)} has the datatype {tensor.datatype}; expected"
            f" {wanted}.",
        )


def fits_datatype(value: object, datatype: str) -> bool:
    """Return whether a number is valid for a datatype."""
    if value is None or datatype not in WHOLE:
        return True
    limits = np.iinfo(WHOLE[datatype])
    return isinstance(value, int) and limits.min <= value <= limits.max


def find_unfit_values(
    columns: Mapping[str, Sequence[Any]], datatypes: Mapping[str, str]
) -> list[Fault]:
    """Describe the first values that do not fit the datatypes of their tensors."""
    wrong = [
        Fault(
            row=k, column=name, found=format_value(value), expected=f"a value of {datatypes[name]}"
        )
        for name, values in columns.items()
        for k, value in enumerate(values)
        if not fits_datatype(value, datatypes[name])
    ]
    return sorted(wrong, key=lambda fault: fault.row)[:MAX_FAULTY_ROWS]


def find_wrong_values(
    columns: dict[str, list[Any]], datatypes: Mapping[str, str], schema: Schema
) -> list[Fault]:
    """Describe the faults of the first faulty rows, by model and then by datatype."""
    names = schema.features
    cells = zip(*(columns[name] for name in names), strict=True)
    rows = [dict(zip(names, row, strict=True)) for row in cells]
    faults = find_faults(rows, schema)
    if faults:
        return faults
    return find_unfit_values(columns, datatypes)


def are_within_limits(table: NDArray[np.float64], schema: Schema) -> bool:
    """Return whether the numbers, one row per numeric column, are within the limits."""
    lowest = np.array([[columnar.lowest_number(schema, name)] for name in schema.numeric])
    return not ((table < lowest) | (table > LARGEST_NUMBER)).any()


def is_matrix(tensors: list[Tensor], schema: Schema) -> bool:
    """Return whether a tensor holds the model's columns in order."""
    only = tensors[0]
    return len(tensors) == 1 and len(only.shape) == 2 and only.name not in schema.features


def read_matrix(tensor: Tensor, schema: Schema) -> RequestRows:
    """Read a matrix of the model's columns in order.

    Raises
    ------
    RefusedError
        With status 422.
    """
    names = schema.features
    if tensor.shape[1] != len(names):
        raise RefusedError(
            422,
            f"The tensor {shorten(tensor.name)} has {tensor.shape[1]} columns; expected"
            f" {len(names)}, in the order {format_names(list(names))}.",
        )
    check_datatype(tensor, schema, names)
    if not schema.categorical:
        numbers = read_numbers(tensor)
        table = None if numbers is None else np.ascontiguousarray(numbers.reshape(tensor.shape).T)
        if table is not None and are_within_limits(table, schema):
            return RequestRows(dict(zip(names, table, strict=True)))
    else:
        texts = read_texts(tensor)
        if texts is not None:
            return RequestRows(dict(zip(names, texts.reshape(tensor.shape).T, strict=True)))
    values = read_any(tensor)
    columns = {name: values[k :: len(names)] for k, name in enumerate(names)}
    datatypes = dict.fromkeys(names, tensor.datatype)
    raise FaultyRowsError(find_wrong_values(columns, datatypes, schema))


def read_identifiers(
    named: Mapping[str, Tensor], ids: tuple[str, ...], n_rows: int
) -> list[tuple[Any, ...]] | None:
    """Return the identifiers of each row, UNSET for missing tensors, None if none is kept."""
    if not ids:
        return None
    known = [read_any(named[name]) if name in named else [UNSET] * n_rows for name in ids]
    return list(zip(*known, strict=True))


def read_dated(
    named: Mapping[str, Tensor], schema: Schema, ids: tuple[str, ...], n_rows: int
) -> RequestRows:
    """Read a tensor per column of dated clients, and derive the columns that were not sent.

    Raises
    ------
    RefusedError
        With status 422.
    """
    for name in filter(named.__contains__, schema.features):
        check_datatype(named[name], schema, [name])
    sent = [name for name in dated_requests.request_columns(schema) if name in named]
    values = {name: read_any(named[name]) for name in sent}
    numbers = {name: values[name] for name in schema.numeric if name in values}
    unfit = find_unfit_values(numbers, {name: str(named[name].datatype) for name in numbers})
    if unfit:
        raise FaultyRowsError(unfit)
    cells = zip(*values.values(), strict=True)
    rows = [dict(zip(values, row, strict=True)) for row in cells]
    dated_requests.add_derived(rows, schema, None)
    columns = request_rows.read_columns(rows, schema)
    return RequestRows(columns, read_identifiers(named, ids, n_rows))


def read_columns(tensors: list[Tensor], schema: Schema, ids: tuple[str, ...]) -> RequestRows:
    """Read a tensor per column, and ignore further tensors.

    Raises
    ------
    RefusedError
        With status 422.
    """
    check_columns([tensor.name for tensor in tensors], schema)
    for tensor in tensors:
        if tensor.shape[0] != tensors[0].shape[0] or tensor.shape[1:] not in ([], [1]):
            wanted = tensors[0].shape[0]
            raise RefusedError(
                422,
                f"The tensor {shorten(tensor.name)} has the shape {tensor.shape}; expected"
                f" [{wanted}] or [{wanted}, 1], as of one column.",
            )
    named = {tensor.name: tensor for tensor in tensors}
    n_rows = tensors[0].shape[0]
    if not named.keys() >= set(schema.features):
        return read_dated(named, schema, ids, n_rows)
    for name in schema.features:
        check_datatype(named[name], schema, [name])
    numbers = {name: read_numbers(named[name]) for name in schema.numeric}
    texts = {name: read_texts(named[name]) for name in schema.categorical}
    right: dict[str, NDArray[Any]] = {
        name: array for name, array in (numbers | texts).items() if array is not None
    }
    table = np.array([right[name] for name in schema.numeric if name in right], np.float64)
    is_right = len(right) == len(schema.features)
    if not is_right or (schema.numeric and not are_within_limits(table, schema)):
        columns = {name: read_any(named[name]) for name in schema.features}
        datatypes = {name: str(named[name].datatype) for name in schema.features}
        raise FaultyRowsError(find_wrong_values(columns, datatypes, schema))
    return RequestRows(right, read_identifiers(named, ids, n_rows))


def read_tensors(tensors: list[Tensor], schema: Schema, ids: tuple[str, ...]) -> RequestRows:
    """Read the tensors of a request: a matrix, or a tensor per column.

    Parameters
    ----------
    tensors : list of Tensor
        At least one.
    schema : Schema
        The columns of the model.
    ids : tuple of str
        The identifiers to keep.

    Returns
    -------
    RequestRows
        The rows in the order sent.

    Raises
    ------
    RefusedError
        With status 422, for a missing tensor, or an invalid value or length.
    """
    if is_matrix(tensors, schema):
        return read_matrix(tensors[0], schema)
    return read_columns(tensors, schema, ids)
