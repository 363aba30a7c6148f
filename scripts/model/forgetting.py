"""A model without the traces of a client: row hashes, categories, unique knots and bin edges.

The coefficients of many stay. Where a number or category of a model is the client's and nobody
else's, it goes. At the values of all other training rows the probabilities stay as they were.
"""

import pickletools
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pandas as pd

from scripts.core.config import Schema
from scripts.core.errors import ModelError
from scripts.data import deduplicate
from scripts.data.arrays import Floats, Mask
from scripts.data.deduplicate import HASH_TYPE, Hashes
from scripts.data.profile import Bins, Reference
from scripts.model import logistic_model
from scripts.model.logistic_model import (
    CategoricalTerm,
    Model,
    NumericTerm,
    PairAxis,
    PairTerm,
)

# The opcodes of texts in a pickle, with the bytes of their lengths.
TEXT_OPCODES = {"SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8}
FILLER = "x"

replace = msgspec.structs.replace


@dataclass(frozen=True)
class Neighbours:
    """The nearest numbers of other rows below and above a number, None outside of them."""

    below: float | None
    above: float | None


@dataclass(frozen=True)
class OwnTraces:
    """The unique values of a client: row hashes, and by column numbers and categories."""

    hashes: Hashes
    numbers: dict[str, dict[float, Neighbours]] = field(default_factory=dict)
    categories: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass
class NeighbourFinder:
    """Finds the numbers unique to some rows, and the neighbours of these numbers."""

    wanted: Floats
    below: Floats = field(init=False)
    above: Floats = field(init=False)
    is_shared: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.wanted = np.unique(self.wanted[~np.isnan(self.wanted)])
        self.below = np.full(len(self.wanted), -np.inf)
        self.above = np.full(len(self.wanted), np.inf)
        self.is_shared = np.zeros(len(self.wanted), np.bool_)

    def add(self, numbers: Floats) -> None:
        """Add the numbers of other rows, NaN where missing."""
        known = np.unique(numbers[~np.isnan(numbers)])
        padded = np.concatenate([[-np.inf], known, [np.inf]])
        places = np.searchsorted(known, self.wanted)
        is_equal = padded[places + 1] == self.wanted
        self.is_shared |= is_equal
        self.below = np.maximum(self.below, padded[places])
        self.above = np.minimum(self.above, padded[places + 1 + is_equal])

    def find(self) -> dict[float, Neighbours]:
        """Return the numbers absent from the other rows."""
        return {
            float(number): Neighbours(
                float(self.below[k]) if np.isfinite(self.below[k]) else None,
                float(self.above[k]) if np.isfinite(self.above[k]) else None,
            )
            for k, number in enumerate(self.wanted)
            if not self.is_shared[k]
        }


def find_traces(own: pd.DataFrame, others: Iterable[pd.DataFrame], schema: Schema) -> OwnTraces:
    """Return the values unique to a client among the rows of a dataset.

    Parameters
    ----------
    own : pandas.DataFrame of shape (n_own, n_columns)
        The rows of the client, with labels.
    others : iterable of pandas.DataFrame
        All other rows, in parts.
    schema : Schema
        The columns of the model.
    """
    numbers = {name: NeighbourFinder(own[name].to_numpy(np.float64)) for name in schema.numeric}
    categories = {name: set(own[name].fillna("")) - {""} for name in schema.categorical}
    for part in others:
        for name, finder in numbers.items():
            finder.add(part[name].to_numpy(np.float64))
        for name, texts in categories.items():
            texts.difference_update(part[name].fillna("").unique())
    return OwnTraces(
        deduplicate.hash_rows(own, schema),
        {name: finder.find() for name, finder in numbers.items()},
        {name: frozenset(texts) for name, texts in categories.items()},
    )


def drop_hashes(kept: bytes, own: Hashes) -> bytes:
    """Return encoded row hashes without those of some rows.

    A sample of the smallest hashes keeps its length, since a shorter one would count as complete.
    """
    known = np.frombuffer(kept, HASH_TYPE)
    others = known[~np.isin(known, own)]
    is_sample = len(known) == deduplicate.N_HASHES
    if is_sample and len(others) and len(others) < len(known):
        others = np.append(others, np.repeat(others[-1:], len(known) - len(others)))
    return others.astype(HASH_TYPE).tobytes()


def drop_edges(bins: Bins, own: Mapping[float, Neighbours]) -> Bins:
    """Return bins without the edges unique to a client.

    The edge moves down to the next number of another row, which keeps the counts of the others
    right, or is joined with an edge that is there already.
    """
    edges, counts = list(bins.edges), list(bins.counts)
    for number in sorted(own.keys() & set(edges)):
        place, below = edges.index(number), own[number].below
        floor = edges[place - 1] if place else -np.inf
        if below is not None and below > floor:
            edges[place] = below
        else:
            # Nobody else is in this bin.
            del edges[place]
            moved = counts.pop(place)
            counts[max(place - 1, 0)] += moved
    return Bins(edges=tuple(edges), counts=tuple(counts))


def curve_at(knots: Sequence[float], values: Sequence[float], number: float) -> float:
    """Return the value of a curve: straight between two knots, constant outside of them."""
    return float(np.interp(number, knots, values))


def replace_knot(
    knots: Sequence[float], rows: Sequence[Sequence[float]], number: float, near: Neighbours
) -> tuple[list[float], list[list[float]]]:
    """Return knots and values with a knot replaced by the neighbours.

    Parameters
    ----------
    knots : sequence of float
        In rising order.
    rows : sequence of sequence of float
        For each kind of value the values at the knots.
    number : float
        The knot to remove.
    near : Neighbours
        The numbers of the other rows around it. At these and all others the curves stay as they
        were.
    """
    wanted = {near.below, near.above} - {None}
    others = [knot for knot in knots if knot != number]
    if not wanted and not others:
        return [0.0], [list(row) for row in rows]
    # Beyond the outermost number of the others a curve goes on as a constant.
    kept = sorted({*others, *(each for each in wanted if each is not None)})
    return kept, [[curve_at(knots, row, knot) for knot in kept] for row in rows]


def drop_knots(term: NumericTerm, own: Mapping[float, Neighbours]) -> NumericTerm:
    """Return the term of a numeric column without the knots unique to a client."""
    for number in sorted(own.keys() & set(term.knots)):
        rows = [term.values, *([term.errors] if term.errors else [])]
        knots, values = replace_knot(term.knots, rows, number, own[number])
        errors = tuple(values[1]) if term.errors else ()
        term = replace(term, knots=tuple(knots), values=tuple(values[0]), errors=errors)
    return term


def drop_categories(term: CategoricalTerm, own: frozenset[str]) -> CategoricalTerm:
    """Return the term of a categorical column without categories of a client alone."""
    kept = [
        (category, coefficient)
        for category, coefficient in zip(term.categories, term.coefficients, strict=True)
        if category not in own
    ]
    return replace(
        term,
        categories=tuple(category for category, _ in kept),
        coefficients=tuple(coefficient for _, coefficient in kept),
        rare=tuple(category for category in term.rare if category not in own),
    )


def drop_levels(
    axis: PairAxis, values: Sequence[Sequence[float]], traces: OwnTraces
) -> tuple[PairAxis, list[list[float]]]:
    """Return an axis of a pair without a client's unique levels, and the values by level."""
    grid = [list(row) for row in values]
    own = traces.categories.get(axis.column, frozenset())
    kept = [k for k, category in enumerate(axis.categories) if category not in own]
    if len(kept) < len(axis.categories):
        grid = [*(grid[k] for k in kept), *grid[len(axis.categories) :]]
        axis = replace(axis, categories=tuple(axis.categories[k] for k in kept))
    numbers = traces.numbers.get(axis.column, {})
    for number in sorted(numbers.keys() & set(axis.knots)):
        n = len(axis.knots)
        by_column = [[grid[k][j] for k in range(n)] for j in range(len(grid[0]))]
        knots, columns = replace_knot(axis.knots, by_column, number, numbers[number])
        moved = [[column[k] for column in columns] for k in range(len(knots))]
        grid = [*moved, *grid[n:]]
        axis = replace(axis, knots=tuple(knots))
    return axis, grid


def transpose(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return a grid with rows and columns exchanged."""
    return [list(column) for column in zip(*values, strict=True)]


def drop_from_pair(pair: PairTerm, traces: OwnTraces) -> PairTerm:
    """Return the term of a pair without levels of a client alone."""
    first, grid = drop_levels(pair.first, pair.values, traces)
    second, turned = drop_levels(pair.second, transpose(grid), traces)
    values = tuple(tuple(row) for row in transpose(turned))
    return replace(pair, first=first, second=second, values=values)


def drop_from_reference(kept: Reference, traces: OwnTraces) -> Reference:
    """Return an unsealed reference without the traces of a client."""
    return replace(
        kept,
        numeric={
            name: drop_edges(bins, traces.numbers.get(name, {}))
            for name, bins in kept.numeric.items()
        },
        categorical={
            name: {
                text: count
                for text, count in counts.items()
                if text not in traces.categories.get(name, frozenset())
            }
            for name, counts in kept.categorical.items()
        },
        row_hashes=drop_hashes(kept.row_hashes, traces.hashes),
    )


def find_usual(counts: Mapping[str, int]) -> str:
    """Return the most frequent category, "" without any."""
    return max(counts, key=lambda text: counts[text], default="")


def forget(model: Model, traces: OwnTraces) -> Model:
    """Return a model without the traces of a client.

    Parameters
    ----------
    model : Model
        With unsealed row hashes.
    traces : OwnTraces
        What is the client's alone in the training dataset.

    Returns
    -------
    Model
        With the probabilities of the model for all other training rows. Means, medians and
        deviations of all rows stay.
    """
    facts = model.dataset
    kept = None if facts.reference is None else drop_from_reference(facts.reference, traces)
    typical = facts.typical
    if typical is not None and kept is not None:
        typical = {
            name: find_usual(kept.categorical.get(name, {}))
            if value in traces.categories.get(name, frozenset())
            else value
            for name, value in typical.items()
        }
    return replace(
        model,
        numeric=tuple(drop_knots(t, traces.numbers.get(t.column, {})) for t in model.numeric),
        categorical=tuple(
            drop_categories(t, traces.categories.get(t.column, frozenset()))
            for t in model.categorical
        ),
        pairs=tuple(drop_from_pair(pair, traces) for pair in model.pairs),
        dataset=replace(facts, reference=kept, typical=typical),
    )


def without_hashes(model: Model) -> Model:
    """Return a model without any row hash, for a dataset with unknown rows."""
    kept = model.dataset.reference
    if kept is None or not kept.row_hashes:
        return model
    return logistic_model.replace_hashes(model, kept, b"", is_sealed=False)


def find_texts(content: bytes, wanted: frozenset[str]) -> list[tuple[int, bytes]]:
    """Return the places of texts in a pickle, with their bytes. Nothing is unpickled."""
    places: list[tuple[int, bytes]] = []
    if not wanted:
        return places
    try:
        for opcode, argument, place in pickletools.genops(content):
            n_bytes = TEXT_OPCODES.get(opcode.name)
            if n_bytes is not None and argument in wanted and place is not None:
                encoded = str(argument).encode("utf-8", "surrogatepass")
                places.append((place + 1 + n_bytes, encoded))
    except (ValueError, struct.error) as error:
        raise ModelError(f"A pickle of a model is damaged: {error}.") from error
    return places


def forget_texts(content: bytes, traces: OwnTraces) -> bytes:
    """Return a pickle with the categories of a client alone overwritten by texts as long.

    Nothing is unpickled.
    """
    wanted = frozenset[str]().union(*traces.categories.values())
    changed = bytearray(content)
    for place, encoded in find_texts(content, wanted):
        changed[place : place + len(encoded)] = FILLER.encode() * len(encoded)
    return bytes(changed)


def has_curves(model: Model) -> bool:
    """Return whether a model has curves, and so a pickle made of the plain numbers."""
    return any(term.knots for term in model.numeric)


def is_same_formula(before: Model, after: Model) -> bool:
    """Return whether two models have the same terms."""
    return (before.numeric, before.categorical, before.pairs) == (
        after.numeric, after.categorical, after.pairs,
    )  # fmt: skip
