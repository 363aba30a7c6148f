"""Fast decoding of common prediction requests into the numbers and categories of one model."""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import astuple
from numpy.typing import NDArray

from scripts.api import columnar
from scripts.api.columnar import UNREADABLE, ArrayDecoder, Identifier, RequestRows, UndecodedSplit
from scripts.core.config import Schema
from scripts.data.cells import MISSING_CATEGORY
from scripts.model import logistic_model
from scripts.model.logistic_model import Model, PairAxis

Row = Any


def make_row_type(schema: Schema, *, with_ids: bool) -> type[Struct]:
    """Make the type of a row: the features, and optional identifiers.

    The members are called c0, c1, ... and i0, i1, ..., since a column may have any name.
    """
    types = columnar.cell_types(schema, with_ids=False)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        (f"c{position}", types[name]) for position, name in enumerate(schema.features)
    ]
    names = {field[0]: name for field, name in zip(fields, schema.features, strict=True)}
    if with_ids:
        for position, name in enumerate(schema.client_ids):
            fields.append((f"i{position}", Identifier | UnsetType, UNSET))
            names[f"i{position}"] = name
    return msgspec.defstruct("Row", fields, rename=names, gc=False)


class LevelFinder:
    """The level of a row on an axis of a pair, as `logistic_model.find_levels` finds it.

    Parameters
    ----------
    axis : PairAxis
        The axis.
    known : iterable of str
        The known categories of the column.
    getters : mapping of str to callable
        The value of each column of a row.
    """

    def __init__(
        self, axis: PairAxis, known: Iterable[str], getters: Mapping[str, Callable[[Row], Any]]
    ) -> None:
        self._get = getters[axis.column]
        self._knots = axis.knots
        self._places = {} if axis.knots else logistic_model.level_places(axis, known)

    def find(self, row: Row) -> tuple[int, float]:
        """Return the level and the fraction of the next one, for a row of known categories."""
        value, knots = self._get(row), self._knots
        if not knots:
            return self._places[MISSING_CATEGORY if value is None else value.strip()], 0.0
        if value is None:
            return len(knots), 0.0
        if value >= knots[-1]:
            return len(knots) - 1, 0.0
        if value <= knots[0]:
            return 0, 0.0
        i = bisect_right(knots, value) - 1
        return i, (value - knots[i]) / (knots[i + 1] - knots[i])


def interpolate(
    grid: Sequence[Sequence[float]], first: tuple[int, float], second: tuple[int, float]
) -> float:
    """Return the value of a pair between four levels."""
    (i, u), (j, v) = first, second
    effect = grid[i][j]
    if v:
        effect += v * (grid[i][j + 1] - effect)
    if u:
        above = grid[i + 1][j]
        if v:
            above += v * (grid[i + 1][j + 1] - above)
        effect += u * (above - effect)
    return effect


def prepare_pairs(
    used: Model, by_name: Mapping[str, Callable[[Row], Any]]
) -> list[tuple[LevelFinder, LevelFinder, list[list[float]]]]:
    """Return the finders of both levels of each pair, and the values in a frame of zeros.

    The frame is that of `logistic_model.pair_effects`.
    """
    known = logistic_model.known_categories(used)
    return [
        (
            LevelFinder(pair.first, known.get(pair.first.column, ()), by_name),
            LevelFinder(pair.second, known.get(pair.second.column, ()), by_name),
            [[*values, 0.0] for values in pair.values] + [[0.0] * (pair.second.n_levels + 1)],
        )
        for pair in used.pairs
    ]


class FastPredictor:
    """Decoder and predictor for plain requests, equal bit for bit to the strict way.

    Parameters
    ----------
    used : Model
        The model of the release.
    with_ids : bool
        Whether identifiers are decoded as well.
    """

    def __init__(self, used: Model, *, with_ids: bool = False) -> None:
        schema = used.schema
        self.with_ids = with_ids
        row = make_row_type(schema, with_ids=with_ids)
        # mypy does not know a type made at run time.
        rows: Any = list[row] | UnsetType  # type: ignore[valid-type]
        members = [
            ("data", rows, UNSET),
            ("dataframe_records", rows, UNSET),
            ("dataframe_split", UndecodedSplit | UnsetType, UNSET),
            ("instances", Raw, UNSET),
            ("inputs", Raw, UNSET),
        ]
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Body", members, gc=False)).decode
        # mypy does not know a type made at run time.
        self._decode_rows = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
        self._arrays = ArrayDecoder(schema, with_ids=with_ids)
        getters = [attrgetter(f"c{k}") for k in range(len(schema.features))]
        n_numeric = len(schema.numeric)
        self._numeric = list(zip(schema.numeric, getters, strict=False))
        self._categorical = list(zip(schema.categorical, getters[n_numeric:], strict=True))
        self._ids = [attrgetter(f"i{k}") for k in range(len(schema.client_ids))] if with_ids else []
        self._intercept = used.intercept
        by_name = dict(zip(schema.features, getters, strict=True))
        self._lines = [
            (by_name[t.column], t.median, t.coefficient, t.missing_coefficient, t.mean, t.scale)
            for t in used.numeric
            if not t.knots
        ]
        self._curves = [
            (by_name[t.column], t.knots, t.values, t.slopes, t.missing_coefficient)
            for t in used.numeric
            if t.knots
        ]
        # Made once, since with many categories it costs more than a prediction.
        self._categorical_terms = [(by_name[t.column], t.effects) for t in used.categorical]
        self._pairs = prepare_pairs(used, by_name)

    def read(self, body: bytes) -> list[Row] | RequestRows | None:
        """Decode the rows of a JSON body, or return None for the strict reader.

        Notes
        -----
        MLflow, "MLflow Model Serving", "Accepted Inputs": dataframe_split, dataframe_records,
        instances and inputs.
        """
        try:
            data, records, split, instances, inputs = astuple(self._decode(body))
        except UNREADABLE:
            return None
        given = [part for part in (data, records, split, instances, inputs) if part is not UNSET]
        if len(given) != 1 or isinstance(given[0], list):
            return given[0] if len(given) == 1 else None
        if split is not UNSET:
            return self._arrays.read_split(split)
        return self._read_tensor(given[0])

    def _read_tensor(self, content: Raw) -> list[Row] | RequestRows | None:
        """Decode MLflow's instances or inputs: named rows, unnamed rows, or columns."""
        start = bytes(memoryview(content)[:64]).translate(None, b" \t\r\n")
        if start.startswith(b"{"):
            return self._arrays.read_columns(content)
        if start.startswith(b"[["):
            return self._arrays.read_unnamed(content)
        try:
            rows: list[Row] = self._decode_rows(content)
        except UNREADABLE:
            return None
        return rows

    def columns(self, rows: list[Row]) -> dict[str, NDArray[Any]]:
        """Return an array per feature, as `logistic_model.probabilities` expects."""
        arrays: dict[str, NDArray[Any]] = self._read_matrix(rows) or {
            name: columnar.make_numbers(list(map(get, rows))) for name, get in self._numeric
        }
        for name, get in self._categorical:
            arrays[name] = columnar.make_texts(list(map(get, rows)))
        return arrays

    def _read_matrix(self, rows: list[Row]) -> dict[str, NDArray[np.float64]]:
        """Extract the columns of purely numeric rows, faster for large requests."""
        if self._categorical or self._ids:
            return {}
        shape = len(rows), len(self._numeric)
        cells = chain.from_iterable(map(astuple, rows))
        try:
            packed = struct.pack(f"{shape[0] * shape[1]}d", *cells)
        except struct.error:
            # A null.
            return {}
        columns = np.ascontiguousarray(np.frombuffer(packed).reshape(shape).T)
        return {name: column for (name, _), column in zip(self._numeric, columns, strict=True)}

    def identifiers(self, rows: list[Row]) -> list[tuple[Any, ...]]:
        """Return the identifiers of each row, UNSET for missing members."""
        return [tuple(get(row) for get in self._ids) for row in rows]

    def _add_numeric(self, row: Row) -> float:
        """Add up the intercept and the numeric terms of a row."""
        log_odds = self._intercept
        for get, median, coefficient, missing_coefficient, mean, scale in self._lines:
            value = get(row)
            if value is None:
                log_odds += coefficient * ((median - mean) / scale) + missing_coefficient
            else:
                log_odds += coefficient * ((value - mean) / scale)
        for get, knots, values, slopes, missing in self._curves:
            value = get(row)
            if value is None:
                log_odds += missing
            elif value >= knots[-1]:
                log_odds += values[-1]
            elif value <= knots[0]:
                log_odds += values[0]
            else:
                i = bisect_right(knots, value) - 1
                log_odds += values[i] + slopes[i] * (value - knots[i])
        return log_odds

    def probability(self, row: Row) -> float | None:
        """Compute the probability of a single row, or None for an unknown category.

        Notes
        -----
        The same operations in the same order as `logistic_model.probabilities`.
        """
        log_odds = self._add_numeric(row)
        for get, effects in self._categorical_terms:
            value = get(row)
            effect = effects.get(MISSING_CATEGORY if value is None else value.strip())
            if effect is None:
                return None
            log_odds += effect
        for first, second, grid in self._pairs:
            log_odds += interpolate(grid, first.find(row), second.find(row))
        # Not math.exp, whose last bit sometimes differs.
        small = float(np.exp(-abs(log_odds)))
        return 1 / (1 + small) if log_odds >= 0 else small / (1 + small)


def make_fast_predictor(used: Model, *, with_ids: bool) -> "FastPredictor | None":
    """Make the fast predictor of a model, or None for column names msgspec cannot decode."""
    try:
        return FastPredictor(used, with_ids=with_ids)
    except ValueError:
        return None
