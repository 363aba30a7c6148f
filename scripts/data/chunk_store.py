"""Keeps the rows of a dataset as plain numbers, in memory or in a file, to go over often.

What passes over the rows of a store tell: the split, and how columns spread in its parts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scripts.core.config import Schema, TrainingSettings
from scripts.core.errors import InsufficientDataError
from scripts.data.profile import Column, Counted, Counting, Sorted, Spread

# Whole numbers up to this are the same in half the memory.
EXACT = 2**24

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Chunk:
    """Some rows: numbers of shape (n_rows, n_numeric), codes of categories, and the target.

    Numbers are kept in half the memory where that loses nothing; blanks are NaN.
    """

    first: int
    numbers: NDArray[Any]
    codes: Codes
    y: NDArray[np.int8]

    @property
    def rows(self) -> slice:
        """The places of the rows in the dataset."""
        return slice(self.first, self.first + len(self.y))

    def choose(self, rows: NDArray[np.int64]) -> "Chunk":
        """Give copies of some rows, by their places here."""
        return Chunk(0, self.numbers[rows], self.codes[rows], self.y[rows])

    def piece(self, start: int, n_rows: int) -> "Chunk":
        """Give some of the rows, without copying them."""
        own = slice(start, start + n_rows)
        return Chunk(self.first + start, self.numbers[own], self.codes[own], self.y[own])


def take_numbers(columns: list[NDArray[Any]], n_rows: int) -> NDArray[Any]:
    """Put columns side by side, each in one piece; in half the memory where that loses nothing."""
    # Looked at as they come: whole numbers need no second look.
    are_small = all(
        own.dtype.kind == "i" and own.min(initial=0) >= -EXACT and own.max(initial=0) <= EXACT
        for own in columns
    )
    numbers = np.empty((n_rows, len(columns)), np.float32 if are_small else np.float64, order="F")
    for place, own in enumerate(columns):
        numbers[:, place] = own
    if are_small:
        return numbers
    smaller = numbers.astype(np.float32)
    return smaller if np.array_equal(smaller, numbers, equal_nan=True) else numbers


@dataclass
class Store:
    """The rows of a dataset.

    `categories` gives for each categorical column the code of each of its categories.
    """

    schema: Schema
    file: BinaryIO | None = None
    n_rows: int = 0
    n_positives: int = 0
    categories: dict[str, dict[str, int]] = field(default_factory=dict)
    held: list[Chunk] = field(default_factory=list)
    places: list[tuple[int, int, np.dtype[Any]]] = field(default_factory=list)

    def add(self, table: pa.Table) -> Chunk:
        """Keep the next rows, and give them as they are kept."""
        schema, n_rows = self.schema, table.num_rows
        numbers = take_numbers([table[name].to_numpy() for name in schema.numeric], n_rows)
        codes = np.empty((n_rows, len(schema.categorical)), np.int32)
        for place, name in enumerate(schema.categorical):
            codes[:, place] = self.encode(name, table[name])
        y = table[schema.target].to_numpy().astype(np.int8)
        chunk = Chunk(self.n_rows, numbers, codes, y)
        self.n_rows += n_rows
        self.n_positives += int(y.sum())
        if self.file is None:
            self.held.append(chunk)
        else:
            self.places.append((chunk.first, n_rows, chunk.numbers.dtype))
            for part in (chunk.numbers.T, chunk.codes, chunk.y):
                self.file.write(part.tobytes())
        return chunk

    @property
    def n_chunks(self) -> int:
        """The number of chunks."""
        return len(self.held if self.file is None else self.places)

    def encode(self, name: str, texts: pa.ChunkedArray) -> Codes:
        """Give the code of each text of a categorical column; new ones get the next codes."""
        known = self.categories.setdefault(name, {})
        encoded = texts.combine_chunks().dictionary_encode()
        codes = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
        found: Codes = np.asarray(codes, np.int32)[encoded.indices.to_numpy()]
        return found

    def __iter__(self) -> Iterator[Chunk]:
        """Go over all rows in their order."""
        return iter(self.held) if self.file is None else self.read(self.file)

    def read(self, file: BinaryIO) -> Iterator[Chunk]:
        """Yield the rows that are in the file."""
        file.seek(0)
        n_numeric, n_categorical = len(self.schema.numeric), len(self.schema.categorical)

        def take(kind: Any, *shape: int) -> Any:
            n_bytes = int(np.prod(shape)) * np.dtype(kind).itemsize
            return np.frombuffer(file.read(n_bytes), kind).reshape(shape)

        for first, n_rows, kind in self.places:
            numbers = take(kind, n_numeric, n_rows).T
            yield Chunk(
                first, numbers, take(np.int32, n_rows, n_categorical), take(np.int8, n_rows)
            )

    def texts_of(self, name: str) -> NDArray[np.object_]:
        """Give the categories of a column by their codes."""
        return np.array(list(self.categories.get(name, {})), dtype=object)

    def take(self, places: NDArray[np.int64]) -> Chunk:
        """Take some rows, by their sorted places."""
        taken = []
        for chunk in self:
            own = places[slice(*np.searchsorted(places, [chunk.rows.start, chunk.rows.stop]))]
            if len(own):
                rows = own - chunk.first
                numbers = chunk.numbers[rows].astype(np.float64)
                taken.append((numbers, chunk.codes[rows], chunk.y[rows]))
        numbers, codes, y = (np.concatenate(parts) for parts in zip(*taken, strict=True))
        return Chunk(0, numbers, codes, y)


def count_codes(
    chunks: Iterable[Chunk], place: int, chosen: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Count the chosen rows of each category of a column."""
    counts = np.zeros(0, np.int64)
    for chunk in chunks:
        found = np.bincount(chunk.codes[chosen[chunk.rows], place], minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return counts


# Of so many rows the places are kept, from which samples are taken.
N_TRAINING_PLACES = 1_000_000
N_VALIDATION_PLACES = 100_000

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Which rows are held out, and in random order the places of some that are and are not."""

    is_held_out: Mask
    training: Places
    validation: Places


def split_rows(n_rows: int, settings: TrainingSettings, *, is_tight: bool = False) -> Split:
    """Split rows as scikit-learn's train_test_split does, without copying any.

    Parameters
    ----------
    n_rows : int
        The number of rows.
    settings : TrainingSettings
        The share of them that is held out, and the state of the random order.
    is_tight : bool
        Whether memory is scarce: it then takes half of it, and a third longer.

    Returns
    -------
    Split
        Which rows are held out.

    Raises
    ------
    InsufficientDataError
        If there are too few rows.
    """
    n_held_out = int(np.ceil(settings.validation_fraction * n_rows))
    if not 0 < n_held_out < n_rows:
        raise InsufficientDataError(
            f"{n_rows} rows cannot be split with validation_fraction"
            f" {settings.validation_fraction}; add data."
        )
    # numpy shuffles numbers of 64 bits in a way of their own.
    order = np.arange(n_rows, dtype=np.int32 if is_tight and n_rows < 2**31 else np.int64)
    np.random.RandomState(settings.random_state).shuffle(order)
    is_held_out = np.zeros(n_rows, np.bool_)
    is_held_out[order[:n_held_out]] = True
    training = order[n_held_out:][:N_TRAINING_PLACES].astype(np.int64)
    validation = order[:n_held_out][:N_VALIDATION_PLACES].astype(np.int64)
    return Split(is_held_out, training, validation)


@dataclass(frozen=True)
class Passes:
    """What passes over the store tell of its columns."""

    store: Store
    columns: dict[str, Column]
    is_held_out: Mask

    @cached_property
    def counted(self) -> dict[str, NDArray[np.int64]]:
        """How often each small whole number occurs, by held out and target, shape (n_values, 4)."""
        places = {name: place for place, name in enumerate(self.store.schema.numeric)}
        tables = {name: own.counts for name, own in self.columns.items()}
        every = {name: counts for name, counts in tables.items() if counts is not None}
        held_out = {name: Counting() for name in every}
        # Reading has counted all rows, so only those that are held out are looked at.
        for chunk in self.store if every and self.is_held_out.any() else ():
            own = chunk.choose(np.flatnonzero(self.is_held_out[chunk.rows]))
            for name, counting in held_out.items():
                values = own.numbers[:, places[name]]
                is_there = ~np.isnan(values)
                counting.add(values[is_there], own.y[is_there])
        counted = {}
        for name, counts in every.items():
            out = np.zeros_like(counts)
            found = held_out[name].table()
            out[: len(found)] = found
            counted[name] = np.hstack([counts - out, out])
        return counted

    def spread(
        self, name: str, *, held_out: bool | None = None, left: bool | None = None
    ) -> Spread:
        """Tell how a numeric column spreads, over all rows or some kinds of them."""
        kinds = [
            2 * is_out + has_left
            for is_out in (False, True)
            for has_left in (False, True)
            if held_out in (None, is_out) and left in (None, has_left)
        ]
        if name in self.counted:
            return Counted(self.counted[name][:, kinds].sum(axis=1))
        place, taken = self.store.schema.numeric.index(name), []
        for chunk in self.store:
            kind = 2 * self.is_held_out[chunk.rows] + chunk.y
            values = chunk.numbers[:, place]
            taken.append(values[np.isin(kind, kinds) & ~np.isnan(values)])
        ordered = np.concatenate(taken)
        ordered.sort()
        return Sorted(ordered)
