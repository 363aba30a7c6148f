"""How the values of a column spread: its order statistics, over very many rows."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scripts import reference
from scripts.model import Cells

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Whole numbers from zero up to this are counted, which is far cheaper than sorting.
SMALL_NUMBER = 2**16


class Spread(Protocol):
    """The values of a column in ascending order, blanks left out."""

    @property
    def n_values(self) -> int:
        """The number of values."""

    def at(self, places: Ints) -> Floats:
        """Give the values at places of the ascending order."""

    def cells(self) -> Cells:
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

    def cells(self) -> Cells:
        """Cut the values into cells."""
        return reference.cut_sorted(self.values)


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

    def cells(self) -> Cells:
        """Cut the values into cells."""
        distinct = np.flatnonzero(self.counts).astype(np.float64)
        if len(distinct) > reference.N_CELLS:
            distinct = reference.without_repeats(self.at(reference.cut_places(self.n_values)))
        up_to = np.cumsum(self.counts)[distinct.astype(np.int64)]
        counts = [*np.diff(up_to, prepend=0).tolist(), 0] if len(distinct) else [0]
        return Cells(edges=tuple(distinct.tolist()), counts=tuple(counts))


def median(spread: Spread) -> float:
    """Give the middle value, or the mean of the two in the middle; NaN of none."""
    n_values = spread.n_values
    if not n_values:
        return float("nan")
    low, high = spread.at(np.array([(n_values - 1) // 2, n_values // 2])).tolist()
    return float((low + high) / 2)


@dataclass
class Running:
    """Count, mean and spread of numbers that come in parts, and whether all are small and whole.

    Notes
    -----
    Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing
    sample variances".
    """

    n_values: int = 0
    mean: float = 0.0
    squares: float = 0.0
    is_small: bool = True

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
        if self.is_small:
            self.is_small = bool(
                values.min() >= 0
                and values.max() < SMALL_NUMBER
                and (values == np.floor(values)).all()
            )

    def merge(self, other: "Running") -> None:
        """Take the numbers that another one has taken."""
        if not other.n_values:
            return
        n_all, gap = self.n_values + other.n_values, other.mean - self.mean
        self.squares += other.squares + gap**2 * self.n_values * other.n_values / n_all
        self.mean += gap * other.n_values / n_all
        self.n_values = n_all
        self.is_small = self.is_small and other.is_small

    def deviation(self, ddof: int) -> float:
        """Give the standard deviation with n - ddof in the denominator; NaN where it is none."""
        n_free = self.n_values - ddof
        return float((self.squares / n_free) ** 0.5) if n_free > 0 else float("nan")
