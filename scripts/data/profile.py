"""Facts kept of a dataset: summaries and bins of columns, and the reference of a model."""

import math
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def finite_or_none(value: float) -> float | None:
    """Return a statistic as a float, or None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


class Bins(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the values of a numeric column spread: counts up to each edge, then above the last."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class ColumnSummary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statistics of a column of the dataset, None where undefined."""

    column: str
    mean: float | None
    median: float | None
    standard_deviation: float | None


class Moments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean and standard deviation, n in the denominator, of a column's log-odds terms."""

    mean: float
    standard_deviation: float


class Reference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Kept facts of a dataset for comparisons with later datasets, at any size.

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
    """The dataset a model was trained on.

    `n_drawn_rows` is the number of rows drawn at random for the fit, None where all were taken.
    `typical` is what is usual among those who stayed.
    """

    sha256: str
    n_rows: int
    n_positives: int
    missing_fractions: dict[str, float]
    summary: tuple[ColumnSummary, ...]
    n_drawn_rows: int | None = None
    reference: Reference | None = None
    typical: dict[str, float | str] | None = None


# Thirty-two cells lose about a thousandth of the power to see a shift; more would only be bulk.
N_BINS = 32


def count_bins(edges: tuple[float, ...], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the values up to each edge, and above the last edge, without blanks in the values."""
    places = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="left")
    return np.bincount(places, minlength=len(edges) + 1)


def quantile(bins: Bins, share: float) -> float:
    """Return the lowest bin edge with at least a share of the values at or below."""
    total, below = sum(bins.counts), 0
    for edge, count in zip(bins.edges, bins.counts, strict=False):
        below += count
        if below >= share * total:
            return edge
    return bins.edges[-1]


def without_repeats(ordered: NDArray[Any]) -> NDArray[Any]:
    """Return each of the sorted values once."""
    distinct: NDArray[Any] = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
    return distinct


def quantile_positions(n_values: int) -> NDArray[np.int64]:
    """Return the positions of bin edges in ascending order, by the rule "inverted_cdf"."""
    return (n_values * np.arange(1, N_BINS + 1) + N_BINS - 1) // N_BINS - 1


def first_values(ordered: NDArray[Any], n_values: int) -> NDArray[Any]:
    """Return the smallest different values of values in ascending order, at most `n_values`."""
    starts: list[int] = []
    place = 0
    while place < len(ordered) and len(starts) < n_values:
        starts.append(place)
        place = int(np.searchsorted(ordered, ordered[place], side="right"))
    return np.asarray(ordered[starts])


def bin_sorted(ordered: NDArray[Any]) -> Bins:
    """Cut values in ascending order into cells of about equal counts, as `make_cells` does."""
    distinct = first_values(ordered, N_BINS + 1)
    if len(distinct) > N_BINS:
        distinct = without_repeats(ordered[quantile_positions(len(ordered))])
    up_to = np.searchsorted(ordered, distinct, side="right")
    counts = (
        [*np.diff(up_to, prepend=0).tolist(), len(ordered) - int(up_to[-1])]
        if len(ordered)
        else [0]
    )
    return Bins(edges=tuple(distinct.tolist()), counts=tuple(counts))


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
