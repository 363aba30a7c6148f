"""The reference of a model: statistics and row hashes of its training dataset."""

import functools
import math
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts.data import dataset, deduplicate, profile
from scripts.data.arrays import Mask
from scripts.data.deduplicate import HASH_TYPE, Hashes
from scripts.data.numeric_column import NumericColumn
from scripts.data.profile import Moments, Reference
from scripts.data.scanned_dataset import ScannedDataset
from scripts.model import logistic_model
from scripts.model.logistic_model import Model


def knows_all_rows(reference: Reference) -> bool:
    """Return whether the reference has a hash of each row of the dataset."""
    return len(reference.row_hashes) < deduplicate.N_HASHES * HASH_TYPE.itemsize


def find_new_rows(reference: Reference, hashes: Hashes) -> tuple[Mask, bool]:
    """Find the rows missing from the reference dataset.

    Parameters
    ----------
    reference : Reference
        Of the training dataset.
    hashes : numpy.ndarray of shape (n_rows,)
        Hashes of the rows of another dataset.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_rows,) and bool
        True for each new row, and whether the new rows are complete. They are a fair sample if the
        reference dataset was too large for a hash of each row.

    Notes
    -----
    A bottom-k sample: Cohen and Kaplan, "Summarizing data using bottom-k sketches" (2007).
    """
    known = np.frombuffer(reference.row_hashes, dtype=HASH_TYPE)
    # A hash above the largest known one is not in the reference.
    may_be_known = np.flatnonzero(hashes <= known[-1]) if len(known) else np.zeros(0, np.int64)
    is_new = np.ones(len(hashes), np.bool_)
    is_new[may_be_known] = ~np.isin(hashes[may_be_known], known)
    if knows_all_rows(reference):
        return is_new, True
    return is_new & (hashes <= known[-1]), False


def term_moments(model: Model, columns: dict[str, NDArray[Any]]) -> dict[str, Moments]:
    """Compute mean and standard deviation of each column's log-odds term."""
    return {
        name: Moments(mean=float(terms.mean()), standard_deviation=float(terms.std()))
        for name, terms in logistic_model.contributions(model, columns).items()
    }


def make_reference(model: Model, table: pd.DataFrame) -> Reference:
    """Return the reference of a model from a training table with rows."""
    columns = dataset.feature_arrays(table, model.schema)
    return Reference(
        numeric={
            name: profile.make_bins(columns[name][~np.isnan(columns[name])])
            for name in model.schema.numeric
        },
        categorical={
            name: dict(Counter(columns[name].tolist())) for name in model.schema.categorical
        },
        contributions=term_moments(model, columns),
        row_hashes=deduplicate.encode_smallest(deduplicate.hash_rows(table, model.schema)),
    )


def find_typical(model: Model, table: pd.DataFrame) -> dict[str, float | str]:
    """Return a typical staying client: median numbers, most frequent categories.

    Of equally frequent categories the first in the alphabet counts. A column without values among
    staying clients gets the median of the model.
    """
    stayed = table[dataset.target(table, model.schema) == 0]
    columns = dataset.feature_arrays(stayed, model.schema)
    typical: dict[str, float | str] = {}
    for term in model.numeric:
        present = columns[term.column][~np.isnan(columns[term.column])]
        typical[term.column] = float(np.median(present)) if len(present) else term.median
    for name in model.schema.categorical:
        counts = Counter(columns[name].tolist())
        typical[name] = min(counts, key=lambda category: (-counts[category], category))
    return typical


def add_reference(fitted: Model, table: pd.DataFrame) -> Model:
    """Return the model with the reference of the training table."""
    facts = msgspec.structs.replace(
        fitted.dataset,
        reference=make_reference(fitted, table),
        typical=find_typical(fitted, table),
    )
    return msgspec.structs.replace(fitted, dataset=facts)


def scanned_moments(used: Model, scan: ScannedDataset) -> dict[str, Moments]:
    """Compute mean and standard deviation of each column's log-odds term over all rows.

    With pairs, of which a column has half, and for a dataset on a cluster, whose numbers stay
    there, the drawn rows stand for all.
    """
    numbers = {n: c for n, c in scan.numeric.items() if isinstance(c, NumericColumn)}
    if used.pairs or len(numbers) < len(scan.numeric):
        return term_moments(used, dataset.feature_arrays(scan.rows, used.schema))
    moments = {}
    for term in used.numeric:
        effects = functools.partial(logistic_model.numeric_effects, term)
        of_missing = float(effects(np.array([np.nan]))[0])
        moments[term.column] = numbers[term.column].moments(effects, of_missing=of_missing)
    for category in used.categorical:
        counts = scan.category_counts[category.column]
        effects_of = logistic_model.category_effects(category, np.array([*counts], dtype=object))
        weights = np.array([*counts.values()]) / scan.n_rows
        mean = float(weights @ effects_of)
        moments[category.column] = mean, float(weights @ (effects_of - mean) ** 2) ** 0.5
    return {
        name: Moments(mean=mean, standard_deviation=deviation)
        for name, (mean, deviation) in moments.items()
    }


def scanned_typical(used: Model, scan: ScannedDataset) -> dict[str, float | str]:
    """Return a typical staying client, by the rule of `find_typical`."""
    typical: dict[str, float | str] = {}
    for term in used.numeric:
        of_stayed = scan.numeric[term.column].stayed_median
        typical[term.column] = term.median if math.isnan(of_stayed) else of_stayed
    for name, counts in scan.categories.items():
        stayed = {text: n_stayed for text, (n_stayed, _) in counts.items() if n_stayed}
        typical[name] = min(stayed, key=lambda text: (-stayed[text], text))
    return typical


def add_scanned_reference(fitted: Model, scan: ScannedDataset) -> Model:
    """Return the model with the reference of the scanned training dataset."""
    kept = Reference(
        numeric={name: column.bins for name, column in scan.numeric.items()},
        categorical=scan.category_counts,
        contributions=scanned_moments(fitted, scan),
        row_hashes=scan.row_hashes,
    )
    facts = msgspec.structs.replace(
        fitted.dataset, reference=kept, typical=scanned_typical(fitted, scan)
    )
    return msgspec.structs.replace(fitted, dataset=facts)
