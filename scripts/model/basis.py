"""Bases of the columns: piecewise linear functions of a number, indicators of categories."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scripts.data.arrays import Floats, Ints

N_KNOTS = 20
# A value in at least so many rows is a knot with its neighbours, so that a jump there fits.
HEAP_FRACTION = 0.03
# The coarse axes of pairs.
N_COARSE_KNOTS, COARSE_HEAP_FRACTION, N_COARSE_CATEGORIES = 6, 0.15, 12
# Categories in fewer rows share a level.
RARE_CATEGORY_FRACTION, MIN_CATEGORY_ROWS = 0.002, 3


class Location(Struct, frozen=True):
    """The levels of each row on an axis: a lower level, and the weight of the level above."""

    lower: NDArray[np.integer[Any]]
    fraction: Floats

    def pack(self) -> "Location":
        """Return the same location in a fifth less memory, since an axis has few levels."""
        return Location(self.lower.astype(np.int16), self.fraction)


class KnotAxis(Struct, frozen=True):
    """The levels of a numeric column: the knots in rising order, then the missing value."""

    column: str
    knots: tuple[float, ...]

    @property
    def n_levels(self) -> int:
        """The number of levels, the missing value among them."""
        return len(self.knots) + 1

    def locate(self, values: NDArray[Any]) -> Location:
        """Find the knots around each number; outside of the knots the nearest one counts."""
        knots = np.array(self.knots)
        numbers = np.asarray(values, dtype=np.float64)
        inside = np.minimum(np.maximum(numbers, knots[0]), knots[-1])
        lower = np.searchsorted(knots, inside, side="right") - 1
        widths = np.append(np.diff(knots), 1.0)
        fraction = (inside - knots[lower]) / widths[lower]
        is_missing = np.isnan(numbers)
        if is_missing.any():
            lower = np.where(is_missing, len(knots), lower)
            fraction = np.where(is_missing, 0.0, fraction)
        return Location(lower, fraction)


class CategoryAxis(Struct, frozen=True):
    """The levels of a categorical column: the frequent categories, then all rare categories."""

    column: str
    categories: tuple[str, ...]
    rare: tuple[str, ...] = ()

    @property
    def n_levels(self) -> int:
        """The number of levels, that of the rare categories among them."""
        return len(self.categories) + 1

    def places(self) -> dict[str, int]:
        """Return the level of each known category."""
        frequent = {name: place for place, name in enumerate(self.categories)}
        return frequent | dict.fromkeys(self.rare, len(self.categories))

    def locate(self, values: NDArray[Any]) -> Location:
        """Find the level of each category, -1 for an unknown one."""
        places = self.places()
        found = (places.get(value, -1) for value in values)
        lower = np.fromiter(found, np.int64, len(values))
        return Location(lower, np.zeros(len(values)))


Axis = KnotAxis | CategoryAxis


def find_heaps(values: Floats, counts: Ints, fraction: float) -> Floats:
    """Return the values in at least a fraction of the rows, with their neighbours."""
    places = np.flatnonzero(counts >= fraction * counts.sum())
    near = np.unique(np.concatenate([places - 1, places, places + 1]))
    is_inside = (near >= 0) & (near < len(values))
    return np.asarray(values[near[is_inside]])


def place_knots(
    numbers: Floats, n_knots: int = N_KNOTS, heap_fraction: float = HEAP_FRACTION
) -> tuple[float, ...]:
    """Choose the knots of a numeric column: quantiles, and frequent values.

    Parameters
    ----------
    numbers : numpy.ndarray of shape (n_rows,)
        The values, without missing ones. At least one.
    n_knots : int
        The number of quantiles. With at most so many different values each is a knot.
    heap_fraction : float
        A value in at least this fraction of the rows is a knot with its neighbours.

    Returns
    -------
    tuple of float
        In rising order, the smallest and the largest value among them.
    """
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) <= n_knots:
        return tuple(map(float, values))
    shares = np.linspace(0, 1, n_knots)
    quantiles = np.quantile(numbers, shares, method="inverted_cdf")
    knots = np.union1d(quantiles, find_heaps(values, counts, heap_fraction))
    return tuple(map(float, knots))


def make_category_axis(column: str, values: NDArray[Any], known: Iterable[str]) -> CategoryAxis:
    """Return the levels of a categorical column, with rare categories together.

    Parameters
    ----------
    column : str
        The name.
    values : numpy.ndarray of shape (n_rows,)
        The categories of the rows.
    known : iterable of str
        Categories of further rows, which are rare unless they are frequent here.
    """
    counts = Counter(values.tolist())
    least = max(MIN_CATEGORY_ROWS, RARE_CATEGORY_FRACTION * len(values))
    frequent = sorted(name for name, count in counts.items() if count >= least)
    return CategoryAxis(column, tuple(frequent), tuple(sorted({*counts, *known} - {*frequent})))


def make_axis(column: str, values: NDArray[Any], known: Iterable[str] | None) -> Axis:
    """Return the levels of a column, by its known categories or by the knots of a number.

    A number without any value has the one knot 0.
    """
    if known is not None:
        return make_category_axis(column, values, known)
    numbers = values[~np.isnan(values)]
    return KnotAxis(column, place_knots(numbers) if len(numbers) else (0.0,))


def straighten(axis: Axis) -> Axis:
    """Return a numeric axis with the outer knots only, and a categorical axis unchanged."""
    if isinstance(axis, CategoryAxis) or len(axis.knots) <= 2:
        return axis
    return KnotAxis(axis.column, (axis.knots[0], axis.knots[-1]))


def coarsen(axis: Axis, values: NDArray[Any]) -> Axis:
    """Return an axis with few levels for a pair: about six knots, or the twelve largest categories.

    Parameters
    ----------
    axis : KnotAxis or CategoryAxis
        The axis of the column.
    values : numpy.ndarray of shape (n_rows,)
        The column.

    Returns
    -------
    KnotAxis or CategoryAxis
        Other categories share the last level with the rare ones.
    """
    if isinstance(axis, KnotAxis):
        numbers = values[~np.isnan(values)]
        return KnotAxis(axis.column, place_knots(numbers, N_COARSE_KNOTS, COARSE_HEAP_FRACTION))
    counts = np.bincount(axis.locate(values).lower, minlength=axis.n_levels)[:-1]
    kept = np.sort(np.argsort(-counts, kind="stable")[:N_COARSE_CATEGORIES])
    frequent = tuple(axis.categories[place] for place in kept)
    others = tuple(name for name in axis.categories if name not in frequent)
    return CategoryAxis(axis.column, frequent, tuple(sorted((*others, *axis.rare))))


def make_design(locations: Sequence[Location], n_levels: Sequence[int]) -> Floats:
    """Return the weights of the levels, or of the combinations of the levels of two axes.

    Parameters
    ----------
    locations : sequence of Location
        Of the rows on one axis or on two.
    n_levels : sequence of int
        The number of levels of each axis.

    Returns
    -------
    numpy.ndarray of shape (n_rows, n_levels) or (n_rows, n_first * n_second)
        The row sums are 1, or 0 for an unknown category.
    """
    parts = []
    for location, n in zip(locations, n_levels, strict=True):
        rows = np.arange(len(location.lower))
        part = np.zeros((len(rows), n + 1))
        part[rows, location.lower] = 1 - location.fraction
        # The upper level of a row on a level is the next one with weight 0.
        part[rows, np.minimum(location.lower + 1, n)] += location.fraction
        parts.append(part[:, :n])
    if len(parts) == 1:
        return parts[0]
    first, second = parts
    return np.asarray((first[:, :, np.newaxis] * second[:, np.newaxis, :]).reshape(len(first), -1))


def level_sums(location: Location, n_levels: int, weights: Floats) -> Floats:
    """Sum up weights of rows by level, shape (n_levels,)."""
    lower = np.bincount(location.lower, weights * (1 - location.fraction), n_levels + 1)
    upper = np.bincount(location.lower + 1, weights * location.fraction, n_levels + 1)
    return np.asarray((lower + upper)[:n_levels], dtype=np.float64)


def cell_sums(locations: Sequence[Location], shape: tuple[int, int], weights: Floats) -> Floats:
    """Sum up weights of rows by combination of levels of two axes, of the given shape."""
    first, second = locations
    n = shape[1] + 1
    total = np.zeros((shape[0] + 1) * n)
    for i, u in ((0, 1 - first.fraction), (1, first.fraction)):
        above = (first.lower.astype(np.int64) + i) * n
        share = weights * u
        for j, v in ((0, 1 - second.fraction), (1, second.fraction)):
            total += np.bincount(above + (second.lower + j), share * v, len(total))
    return np.asarray(total.reshape(shape[0] + 1, n)[:-1, :-1])


def level_values(location: Location, values: Floats) -> Floats:
    """Return the value of each row, interpolated between levels."""
    # Behind the last level is a 0, which has no weight.
    own = np.append(values, 0.0)
    lower = own[location.lower]
    return np.asarray(lower + location.fraction * (own[location.lower + 1] - lower))


def cell_values(locations: Sequence[Location], grid: Floats) -> Floats:
    """Return the value of each row, interpolated between combinations of levels of two axes."""
    first, second = locations
    n = grid.shape[1] + 1
    flat = np.pad(grid, (0, 1)).ravel()
    place = first.lower.astype(np.int64) * n + second.lower
    low, high = (
        flat[at] + second.fraction * (flat[at + 1] - flat[at]) for at in (place, place + n)
    )
    return np.asarray(low + first.fraction * (high - low))
