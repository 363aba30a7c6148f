"""The numbers of a column of very many rows: kept while rows come in, then in ascending order."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from scripts.core import files
from scripts.data import profile
from scripts.data.arrays import Floats, Ints, Mask
from scripts.data.profile import Bins, ColumnSummary

# Whole numbers below this are counted, which is far cheaper than sorting; it stands for a blank.
MISSING = 2**16 - 1
PART_ROWS = 2**16


def allocate(n_values: int, kind: type, folder: Path | None) -> NDArray[Any]:
    """Return an uninitialised array, in memory or in an unnamed file of a folder."""
    if folder is None:
        return np.empty(n_values, kind)
    files.make_folder(folder)
    n_bytes = max(1, n_values * np.dtype(kind).itemsize)
    with tempfile.TemporaryFile(dir=folder) as file:
        # Reserved first: a full disk is an error here, and would kill the process later.
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        return np.memmap(file, kind, "r+", shape=(n_values,))


def is_narrow(values: Floats) -> bool:
    """Test whether numbers are the same in half of the memory."""
    return np.array_equal(values.astype(np.float32), values, equal_nan=True)


def without_missing(ordered: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in ascending order without NaN."""
    # NaN of another type would have numpy convert all numbers.
    return ordered[: np.searchsorted(ordered, ordered.dtype.type(np.nan))]


def median(ordered: NDArray[Any]) -> float:
    """Return the middle of numbers in ascending order, NaN without numbers."""
    if not len(ordered):
        return math.nan
    return float(ordered[(len(ordered) - 1) // 2]) / 2 + float(ordered[len(ordered) // 2]) / 2


def counted_median(counts: Ints) -> float:
    """Return the middle of whole numbers from 0 on by how often each occurs, NaN without any."""
    up_to = np.cumsum(counts)
    n_values = int(up_to[-1])
    if not n_values:
        return math.nan
    places = [(n_values - 1) // 2, n_values // 2]
    return float(np.searchsorted(up_to, places, side="right").mean())


def encode_small(values: Floats) -> Ints | None:
    """Return small whole numbers as positions in counts, or None for any larger number."""
    largest = values.max(initial=0)
    if np.isnan(largest):
        is_missing = np.isnan(values)
        largest = values.max(initial=0, where=~is_missing)
        values = np.where(is_missing, MISSING, values)
    if largest >= MISSING:
        return None
    codes = values.astype(np.int64)
    return codes if (codes == values).all() and codes.min(initial=0) >= 0 else None


def expand(counts: Ints, numbers: NDArray[Any]) -> None:
    """Write counted whole numbers into an array in ascending order, the missing ones as NaN."""
    ends = np.cumsum(counts)
    for code in np.flatnonzero(counts):
        numbers[ends[code] - counts[code] : ends[code]] = np.nan if code == MISSING else code


class NumberBuffer(Struct):
    """The numbers of a column while rows come in.

    Small whole numbers are counted, those of stayers and of leavers. Other numbers are kept, those
    of stayers from the start, those of leavers from the end, in half of the memory where that loses
    nothing: in memory, or in a hidden file of `folder`. There are at most `capacity` numbers.
    """

    capacity: int
    folder: Path | None
    n_stayed: int = 0
    n_left: int = 0
    counts: Ints = field(default_factory=lambda: np.zeros(2 * (MISSING + 1), np.int64))
    numbers: NDArray[Any] | None = None

    def add(self, values: Floats, has_left: Mask) -> None:
        """Add the numbers of further rows, NaN for a missing value."""
        codes = encode_small(values) if self.numbers is None else None
        if codes is None:
            self._keep(values[~has_left], values[has_left])
        else:
            found = np.bincount(2 * codes + has_left)
            self.counts[: len(found)] += found
        n_left = int(has_left.sum())
        self.n_stayed += len(values) - n_left
        self.n_left += n_left

    def _keep(self, stayed: Floats, left: Floats) -> None:
        """Keep the numbers of stayers and leavers."""
        numbers = self.numbers
        if numbers is None:
            numbers = allocate(self.capacity, np.float32, self.folder)
            of_stayed, of_left = self.counts.reshape(-1, 2).T
            expand(of_stayed, numbers[: self.n_stayed])
            expand(of_left, numbers[len(numbers) - self.n_left :])
        if numbers.dtype == np.float32 and not (is_narrow(stayed) and is_narrow(left)):
            wide = allocate(len(numbers), np.float64, self.folder)
            self._put(wide, numbers[: self.n_stayed], numbers[len(numbers) - self.n_left :])
            numbers = wide
        self.numbers = numbers
        free = numbers[self.n_stayed : len(numbers) - self.n_left]
        self._put(free, stayed, left)

    @staticmethod
    def _put(numbers: NDArray[Any], stayed: NDArray[Any], left: NDArray[Any]) -> None:
        """Store numbers at the start and at the end of an array."""
        numbers[: len(stayed)] = stayed
        numbers[len(numbers) - len(left) :] = left

    def finish(self) -> "NumericColumn":
        """Return the numbers as a column, and empty the buffer."""
        n_rows, numbers = self.n_stayed + self.n_left, self.numbers
        if numbers is None:
            by_target = self.counts.reshape(-1, 2)
            stayed_median = counted_median(by_target[:MISSING, 0])
            everyone = allocate(n_rows, np.float32, self.folder)
            expand(by_target.sum(axis=1), everyone)
        else:
            # The free numbers between both are filled from the end. The order does not matter yet.
            last = numbers[max(len(numbers) - self.n_left, n_rows) :]
            numbers[self.n_stayed : self.n_stayed + len(last)] = last
            stayed, everyone = numbers[: self.n_stayed], numbers[:n_rows]
            stayed.sort()
            stayed_median = median(without_missing(stayed))
            everyone.sort()
        values = without_missing(everyone)
        return NumericColumn(values, n_rows - len(values), stayed_median)


class NumericColumn(Struct, frozen=True):
    """The numbers of a column in ascending order, without missing values."""

    values: NDArray[Any]
    n_missing: int
    stayed_median: float

    def counts(self) -> Iterator[tuple[Floats, Ints]]:
        """Yield different numbers and how often they occur, a part at a time."""
        for start in range(0, len(self.values), PART_ROWS):
            part = self.values[start : start + PART_ROWS]
            starts = np.flatnonzero(np.append(True, part[1:] != part[:-1]))
            yield part[starts].astype(np.float64), np.diff(starts, append=len(part))

    @property
    def bins(self) -> Bins:
        """The bins of the numbers."""
        return profile.bin_sorted(self.values)

    def moments(
        self, transform: Callable[[Floats], Floats], *, of_missing: float = math.nan, ddof: int = 0
    ) -> tuple[float, float]:
        """Compute mean and standard deviation of the transformed numbers.

        Parameters
        ----------
        transform : callable
            Applied to each number.
        of_missing : float
            What a missing value counts as; NaN leaves missing values out.
        ddof : int
            The denominator of the variance is the number of values minus this.

        Returns
        -------
        tuple of float and float
            NaN where not defined.
        """
        n_missing = 0 if math.isnan(of_missing) else self.n_missing
        n_values = len(self.values) + n_missing
        if not n_values:
            return math.nan, math.nan
        total = of_missing * n_missing if n_missing else 0.0
        total += sum(float(counts @ transform(numbers)) for numbers, counts in self.counts())
        mean = total / n_values
        squares = n_missing * (of_missing - mean) ** 2 if n_missing else 0.0
        squares += sum(
            float(counts @ (transform(numbers) - mean) ** 2) for numbers, counts in self.counts()
        )
        return mean, (squares / (n_values - ddof)) ** 0.5 if n_values > ddof else math.nan

    def summarise(self, name: str) -> ColumnSummary:
        """Compute mean, median and standard deviation, as `dataset.summarise` does."""
        mean, deviation = self.moments(np.positive, ddof=1)
        finite = profile.finite_or_none
        return ColumnSummary(
            column=name, mean=finite(mean), median=finite(median(self.values)),
            standard_deviation=finite(deviation),
        )  # fmt: skip
