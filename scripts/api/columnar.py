"""Request tables of arrays, decoded straight into the arrays of a model."""

import math
import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.structs import astuple
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.data.cells import LARGEST_NUMBER, MISSING_CATEGORY

# Errors of decoding. The strict reader then finds the fault, or none.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# A decoder is compiled per column order, which takes a while. Tables with more further columns go
# to the strict reader, and the cache is cleared beyond MAX_ORDERS.
MAX_FURTHER_COLUMNS = 100
MAX_ORDERS = 16
Identifier = str | int | float | bool | None


class RequestRows(Struct, frozen=True):
    """The decoded rows of a request: features, and identifiers for the prediction log."""

    columns: dict[str, NDArray[Any]]
    identifiers: Sequence[Sequence[Any]] | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(next(iter(self.columns.values())))


class UndecodedSplit(Struct):
    """A table in the format of pandas' `to_json(orient="split")`, with undecoded rows."""

    columns: list[str]
    data: Raw


def lowest_number(schema: Schema, name: str) -> float:
    """Return the lower limit of a numeric column."""
    return max(schema.minimums.get(name, -math.inf), -LARGEST_NUMBER)


def cell_types(schema: Schema, *, with_ids: bool) -> dict[str, Any]:
    """Return the type of the cells of each column: the features, and the identifiers if wanted."""
    types: dict[str, Any] = {}
    for name in schema.numeric:
        meta = Meta(ge=lowest_number(schema, name), le=LARGEST_NUMBER)
        types[name] = Annotated[float, meta] | None
    types |= dict.fromkeys(schema.categorical, str | None)
    return types | (dict.fromkeys(schema.client_ids, Identifier) if with_ids else {})


def make_numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Make an array of a numeric column, NaN for null."""
    try:
        # Takes half of the time of np.fromiter.
        return np.frombuffer(struct.pack(f"{len(values)}d", *values))
    except struct.error:
        # Slower, but accepts None.
        return np.array(values, dtype=np.float64)


def make_texts(values: Sequence[str | None]) -> NDArray[np.object_]:
    """Make an array of a text column, "" for null."""
    texts = [MISSING_CATEGORY if value is None else value.strip() for value in values]
    return np.array(texts, dtype=object)


class ArrayDecoder:
    """A decoder of tables without names in every row, typed by a model's columns.

    Parameters
    ----------
    schema : Schema
        The columns of the model.
    with_ids : bool
        Whether identifiers are decoded as well.

    Raises
    ------
    ValueError
        For column names msgspec cannot decode.
    """

    def __init__(self, schema: Schema, *, with_ids: bool) -> None:
        self._schema = schema
        self._ids = schema.client_ids if with_ids else ()
        self._types = cell_types(schema, with_ids=with_ids)
        self._decoders: dict[tuple[str, ...], Callable[[Raw], Any]] = {}
        names = {f"c{k}": name for k, name in enumerate(self._types)}
        fields: list[Any] = [
            (field, list.__class_getitem__(self._types[name]))
            if name in schema.features
            else (field, list[Identifier] | UnsetType, UNSET)
            for field, name in names.items()
        ]
        columns = msgspec.defstruct("Columns", fields, rename=names, gc=False)
        self._decode_columns = msgspec.json.Decoder(columns).decode

    def _decoder(self, names: tuple[str, ...]) -> Callable[[Raw], Any] | None:
        """Return the decoder of rows in a column order, or None if only the strict reader fits."""
        decode = self._decoders.get(names)
        if decode is not None:
            return decode
        is_known = set(self._schema.features) <= set(names) and len(set(names)) == len(names)
        if not is_known or len(names) > len(self._types) + MAX_FURTHER_COLUMNS:
            return None
        if len(self._decoders) >= MAX_ORDERS:
            self._decoders.clear()
        # Structures without garbage collection, unlike lists and tuples.
        fields = [(f"c{k}", self._types.get(name, Any)) for k, name in enumerate(names)]
        row = msgspec.defstruct(
            "ArrayRow", fields, array_like=True, forbid_unknown_fields=True, gc=False
        )
        # A type made at run time, unknown to mypy.
        rows: Any = list.__class_getitem__(row)
        decode = self._decoders[names] = msgspec.json.Decoder(rows).decode
        return decode

    def read_split(self, table: UndecodedSplit) -> RequestRows | None:
        """Read rows in the order of the named columns, or return None for the strict reader."""
        return self._read_rows(tuple(table.columns), table.data)

    def read_unnamed(self, data: Raw) -> RequestRows | None:
        """Read rows in the order of the model's columns, or return None for the strict reader."""
        return self._read_rows(self._schema.features, data)

    def _read_rows(self, names: tuple[str, ...], data: Raw) -> RequestRows | None:
        decode = self._decoder(names)
        if decode is None:
            return None
        try:
            rows = decode(data)
        except UNREADABLE:
            return None
        if not rows:
            return None
        return self._make(
            {
                name: list(map(attrgetter(f"c{k}"), rows))
                for k, name in enumerate(names)
                if name in self._types
            }
        )

    def read_columns(self, data: Raw) -> RequestRows | None:
        """Read an object with an array per column, or return None for the strict reader."""
        try:
            decoded = self._decode_columns(data)
        except UNREADABLE:
            return None
        columns = dict(zip(self._types, astuple(decoded), strict=True))
        columns = {name: values for name, values in columns.items() if values is not UNSET}
        is_even = len(set(map(len, columns.values()))) == 1
        return self._make(columns) if is_even and columns[self._schema.features[0]] else None

    def _make(self, columns: dict[str, Sequence[Any]]) -> RequestRows:
        arrays: dict[str, NDArray[Any]] = {
            name: make_numbers(columns[name]) for name in self._schema.numeric
        }
        arrays |= {name: make_texts(columns[name]) for name in self._schema.categorical}
        if not self._ids:
            return RequestRows(arrays)
        n_rows = len(columns[self._schema.features[0]])
        ids = [columns.get(name) or [UNSET] * n_rows for name in self._ids]
        return RequestRows(arrays, list(zip(*ids, strict=True)))
