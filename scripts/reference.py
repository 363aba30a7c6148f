"""What is kept of the dataset a model was trained on, to tell new rows and drift from it later."""

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts import dataset, duplicates, model
from scripts.config import Schema
from scripts.model import Cells, Model, Moments, Reference

# Thirty-two cells lose about a thousandth of the power to see a shift; more would only be bulk.
N_CELLS = 32
# At most 64 KiB per model. Up to so many rows every row is known again; of larger datasets a
# sample is, chosen by the hash, so that the same rows are in the sample of every dataset.
N_HASHES = 2**14
HASH_TYPE = np.dtype("<u4")

Hashes = NDArray[np.uint32]


def count_cells(edges: tuple[float, ...], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the values up to each edge, and those above the last; values has no blanks."""
    places = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="left")
    return np.bincount(places, minlength=len(edges) + 1)


def without_repeats(ordered: NDArray[Any]) -> NDArray[Any]:
    """Give each of the sorted values once."""
    distinct: NDArray[Any] = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
    return distinct


def cut_places(n_values: int) -> NDArray[np.int64]:
    """Say where in ascending order the edges of cells lie: the quantiles called "inverted_cdf"."""
    return (n_values * np.arange(1, N_CELLS + 1) + N_CELLS - 1) // N_CELLS - 1


def make_cells(values: NDArray[np.float64]) -> Cells:
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
    return cut_sorted(np.sort(values))


def cut_sorted(ordered: NDArray[Any]) -> Cells:
    """Cut values in ascending order into cells of about equal counts, as `make_cells` does."""
    distinct = without_repeats(ordered)
    if len(distinct) > N_CELLS:
        distinct = without_repeats(ordered[cut_places(len(ordered))])
    up_to = np.searchsorted(ordered, distinct, side="right")
    counts = (
        [*np.diff(up_to, prepend=0).tolist(), len(ordered) - int(up_to[-1])]
        if len(ordered)
        else [0]
    )
    return Cells(edges=tuple(distinct.tolist()), counts=tuple(counts))


def number_rows(table: pd.DataFrame, schema: Schema) -> NDArray[np.uint64]:
    """Compute a number for each row of a labelled table, shape (n_rows,), of its cells alone.

    Numbers count as floats, since a column is of integers in one dataset and of floats in
    the next, when a first blank has come.
    """
    rows = {
        name: table[name].astype(np.float64 if name in (*schema.numeric, schema.target) else "str")
        for name in schema.columns
    }
    return duplicates.row_numbers(pd.DataFrame(rows, copy=False))


def hash_rows(table: pd.DataFrame, schema: Schema) -> Hashes:
    """Hash each row of a labelled table, shape (n_rows,); equal rows have equal hashes."""
    return shorten(number_rows(table, schema))


def shorten(numbers: NDArray[np.uint64]) -> Hashes:
    """Make hashes of the numbers of rows."""
    return (numbers >> np.uint64(32)).astype(np.uint32)


def keep_smallest(hashes: Hashes) -> bytes:
    """Keep the smallest hashes, as many as a model has room for."""
    return without_repeats(np.sort(hashes))[:N_HASHES].astype(HASH_TYPE).tobytes()


def tell_new_rows(reference: Reference, hashes: Hashes) -> tuple[NDArray[np.bool_], bool]:
    """Find rows that were not in the reference dataset.

    Parameters
    ----------
    reference : Reference
        What was kept of that dataset.
    hashes : numpy.ndarray of shape (n_rows,)
        Hashes of the rows of another dataset.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_rows,) and bool
        True for each row found to be new; whether these are all new rows, or a fair sample of
        them because the reference dataset was too large to know each of its rows again.

    Notes
    -----
    A bottom-k sample: Cohen and Kaplan, "Summarizing data using bottom-k sketches" (2007).
    """
    known = np.frombuffer(reference.row_hashes, dtype=HASH_TYPE)
    # What is above all known ones need not be looked for.
    may_be_known = np.flatnonzero(hashes <= known[-1]) if len(known) else np.zeros(0, np.int64)
    is_new = np.ones(len(hashes), np.bool_)
    is_new[may_be_known] = ~np.isin(hashes[may_be_known], known)
    if len(known) < N_HASHES:
        return is_new, True
    return is_new & (hashes <= known[-1]), False


def term_moments(used: Model, columns: dict[str, NDArray[Any]]) -> dict[str, Moments]:
    """Give mean and standard deviation of each column's term of the log-odds."""
    return {
        name: Moments(mean=float(terms.mean()), standard_deviation=float(terms.std()))
        for name, terms in model.contributions(used, columns).items()
    }


def make_reference(used: Model, table: pd.DataFrame) -> Reference:
    """Describe the dataset of a model; the table has at least one row and is left unchanged."""
    columns = dataset.feature_arrays(table, used.schema)
    return Reference(
        numeric={
            name: make_cells(columns[name][~np.isnan(columns[name])])
            for name in used.schema.numeric
        },
        categorical={
            name: dict(Counter(columns[name].tolist())) for name in used.schema.categorical
        },
        contributions=term_moments(used, columns),
        row_hashes=keep_smallest(hash_rows(table, used.schema)),
    )


def find_typical(used: Model, table: pd.DataFrame) -> dict[str, float | str]:
    """Describe a typical client who stayed: median numbers, most frequent categories.

    Of equally frequent categories the first in the alphabet counts. A column that is blank for
    all who stayed has the median that the model puts in its place.
    """
    stayed = table[dataset.target(table, used.schema) == 0]
    columns = dataset.feature_arrays(stayed, used.schema)
    typical: dict[str, float | str] = {}
    for term in used.numeric:
        present = columns[term.column][~np.isnan(columns[term.column])]
        typical[term.column] = float(np.median(present)) if len(present) else term.median
    for name in used.schema.categorical:
        counts = Counter(columns[name].tolist())
        typical[name] = min(counts, key=lambda category: (-counts[category], category))
    return typical


def add_reference(fitted: Model, table: pd.DataFrame) -> Model:
    """Give the same model with what is kept of the dataset it was trained on."""
    facts = msgspec.structs.replace(
        fitted.dataset,
        reference=make_reference(fitted, table),
        typical=find_typical(fitted, table),
    )
    return msgspec.structs.replace(fitted, dataset=facts)
