"""How the values of a column spread: its order statistics, over very many rows."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Whole numbers from zero up to this are counted, which is far cheaper than sorting.
SMALL_NUMBER = 2**16
COUNTED_AT_ONCE = 2**16


class Bins(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the values of a numeric column spread: counts up to each edge, then above the last."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Spread(Protocol):
    """The values of a column in ascending order, blanks left out."""

    @property
    def n_values(self) -> int:
        """The number of values."""

    def at(self, places: Ints) -> Floats:
        """Give the values at places of the ascending order."""

    def cells(self) -> Bins:
        """Cut the values into cells, as `reference.make_cells` does."""


@dataclass(frozen=True)
class Sorted:
    """All values, in ascending order."""

    values: NDArray[Any]

    @property
    def n_values(self) -> int:
        """The number of values."""
        return len(self.values)

    def at(self, places: Ints) -> Floats:
        """Give the values at places of the ascending order."""
        return self.values[places].astype(np.float64)

    def cells(self) -> Bins:
        """Cut the values into cells."""
        return bin_sorted(self.values)


@dataclass(frozen=True)
class Counted:
    """How often each whole number from zero on occurs."""

    counts: Ints

    @property
    def n_values(self) -> int:
        """The number of values."""
        return int(self.counts.sum())

    def at(self, places: Ints) -> Floats:
        """Give the values at places of the ascending order."""
        return np.searchsorted(np.cumsum(self.counts), places, side="right").astype(np.float64)

    def cells(self) -> Bins:
        """Cut the values into cells."""
        distinct = np.flatnonzero(self.counts).astype(np.float64)
        if len(distinct) > N_BINS:
            distinct = without_repeats(self.at(quantile_positions(self.n_values)))
        up_to = np.cumsum(self.counts)[distinct.astype(np.int64)]
        counts = [*np.diff(up_to, prepend=0).tolist(), 0] if len(distinct) else [0]
        return Bins(edges=tuple(distinct.tolist()), counts=tuple(counts))


def median(spread: Spread) -> float:
    """Give the middle value, or the mean of the two in the middle; NaN of none."""
    n_values = spread.n_values
    if not n_values:
        return float("nan")
    low, high = spread.at(np.array([(n_values - 1) // 2, n_values // 2])).tolist()
    return float((low + high) / 2)


@dataclass
class Running:
    """Count, mean and spread of numbers that come in parts.

    Notes
    -----
    Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing
    sample variances".
    """

    n_values: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Floats) -> None:
        """Take further numbers, without blanks."""
        if not len(values):
            return
        n_values, mean = len(values), float(values.mean())
        n_all, gap = self.n_values + n_values, mean - self.mean
        beside = values - mean
        beside *= beside
        self.squares += float(beside.sum())
        self.squares += gap**2 * self.n_values * n_values / n_all
        self.mean += gap * n_values / n_all
        self.n_values = n_all

    def merge(self, other: "Running") -> None:
        """Take the numbers that another one has taken."""
        if not other.n_values:
            return
        n_all, gap = self.n_values + other.n_values, other.mean - self.mean
        self.squares += other.squares + gap**2 * self.n_values * other.n_values / n_all
        self.mean += gap * other.n_values / n_all
        self.n_values = n_all

    def deviation(self, ddof: int) -> float:
        """Give the standard deviation with n - ddof in the denominator; NaN where it is none."""
        n_free = self.n_values - ddof
        return float((self.squares / n_free) ** 0.5) if n_free > 0 else float("nan")

    @classmethod
    def of_counts(cls, values: Floats, counts: Ints) -> "Running":
        """Give what so many of each value come to."""
        n_values = int(counts.sum())
        mean = float(values @ counts) / max(1, n_values)
        return cls(n_values, mean, float((values - mean) ** 2 @ counts))

    def times(self, factor: float, offset: float) -> "Running":
        """Give what the numbers come to when each is multiplied and then shifted."""
        return Running(self.n_values, factor * self.mean + offset, factor**2 * self.squares)


def are_small(values: NDArray[Any]) -> bool:
    """Say whether numbers without a blank are whole, from zero on and small enough to count."""
    if not len(values):
        return True
    is_whole = values.dtype.kind == "i" or bool((values == np.floor(values)).all())
    return is_whole and bool(values.min() >= 0 and values.max() < SMALL_NUMBER)


class Counting:
    """Counts small whole numbers by target; many at once, which is cheaper than a few each time."""

    def __init__(self) -> None:
        """Begin without numbers."""
        self.counted = np.zeros(0, np.int64)
        self.waiting: list[Ints] = []
        self.n_waiting = 0

    def add(self, values: NDArray[Any], y: NDArray[np.int8]) -> None:
        """Take further numbers and the target of their rows, 0 or 1."""
        keys = values.astype(np.int64)
        keys *= 2
        keys += y
        self.waiting.append(keys)
        self.n_waiting += len(keys)
        if self.n_waiting > COUNTED_AT_ONCE:
            self.count()

    def count(self) -> None:
        """Count the numbers that wait."""
        if self.n_waiting:
            found = np.bincount(np.concatenate(self.waiting), minlength=len(self.counted))
            found[: len(self.counted)] += self.counted
            self.counted, self.waiting, self.n_waiting = found, [], 0

    def table(self) -> Ints:
        """Give the counts, shape (n_values, 2), by number and target."""
        self.count()
        return np.pad(self.counted, (0, len(self.counted) % 2)).reshape(-1, 2)


class Column:
    """What is told of a numeric column while its rows come in: counts, as long as all are small."""

    def __init__(self) -> None:
        """Begin without numbers."""
        self.counting: Counting | None = Counting()
        self.others = Running()

    def add(self, values: NDArray[Any], y: NDArray[np.int8]) -> None:
        """Take the numbers of further rows, NaN for a blank, and their target."""
        if values.dtype.kind == "f":
            is_there = ~np.isnan(values)
            if not is_there.all():
                values, y = values[is_there], y[is_there]
        if self.counting is not None:
            if are_small(values):
                self.counting.add(values, y)
                return
            self.others, self.counting = self.running, None
        self.others.add(values.astype(np.float64))

    @property
    def counts(self) -> Ints | None:
        """How often each number occurs, by target, shape (n_values, 2); None if one is large."""
        return None if self.counting is None else self.counting.table()

    @property
    def running(self) -> Running:
        """Count, mean and spread of the numbers so far."""
        counts = self.counts
        if counts is None:
            return self.others
        return Running.of_counts(np.arange(len(counts), dtype=np.float64), counts.sum(axis=1))


class ColumnSummary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statistics of one column of the dataset; None where they are not defined."""

    column: str
    mean: float | None
    median: float | None
    standard_deviation: float | None


class Moments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean and standard deviation, n in the denominator, of one column's log-odds terms."""

    mean: float
    standard_deviation: float


class Reference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a dataset to compare later ones with, at any size of the dataset.

    `row_hashes` are the smallest hashes of its rows, sorted, as 32-bit little-endian integers. In a
    file they are sealed with the key of the installation, since whoever has a hash can test guesses
    of a client or a cell; files of earlier versions have them open.
    """

    numeric: dict[str, Bins]
    categorical: dict[str, dict[str, int]]
    contributions: dict[str, Moments]
    row_hashes: bytes
    is_sealed: bool = False


class DatasetFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dataset a model was trained on; typical is what is usual among those who stayed."""

    sha256: str
    n_rows: int
    n_positives: int
    missing_fractions: dict[str, float]
    summary: tuple[ColumnSummary, ...]
    reference: Reference | None = None
    typical: dict[str, float | str] | None = None


# Thirty-two cells lose about a thousandth of the power to see a shift; more would only be bulk.
N_BINS = 32


def count_bins(edges: tuple[float, ...], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the values up to each edge, and those above the last; values has no blanks."""
    places = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="left")
    return np.bincount(places, minlength=len(edges) + 1)


def without_repeats(ordered: NDArray[Any]) -> NDArray[Any]:
    """Give each of the sorted values once."""
    distinct: NDArray[Any] = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
    return distinct


def quantile_positions(n_values: int) -> NDArray[np.int64]:
    """Say where in ascending order the edges of cells lie: the quantiles called "inverted_cdf"."""
    return (n_values * np.arange(1, N_BINS + 1) + N_BINS - 1) // N_BINS - 1


def make_bins(values: NDArray[np.float64]) -> Bins:
    """Cut the values of a column, without blanks, into cells of about equal counts.

    Parameters
    ----------
    values : numpy.ndarray of shape (n_values,)
        Finite numbers; there may be none.

    Returns
    -------
    Cells
        At most 32 edges, which are values of the column; the last one is its largest. A column
        with fewer values than that has an edge at each.
    """
    # Sorted once, which everything else is read off; np.unique is many times slower on millions.
    return bin_sorted(np.sort(values))


def bin_sorted(ordered: NDArray[Any]) -> Bins:
    """Cut values in ascending order into cells of about equal counts, as `make_cells` does."""
    distinct = without_repeats(ordered)
    if len(distinct) > N_BINS:
        distinct = without_repeats(ordered[quantile_positions(len(ordered))])
    up_to = np.searchsorted(ordered, distinct, side="right")
    counts = (
        [*np.diff(up_to, prepend=0).tolist(), len(ordered) - int(up_to[-1])]
        if len(ordered)
        else [0]
    )
    return Bins(edges=tuple(distinct.tolist()), counts=tuple(counts))
