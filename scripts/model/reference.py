"""The reference of a model: statistics and row hashes of its training dataset."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts.data import chunked_dataset, dataset, deduplicate, profile
from scripts.data.arrays import Floats, Ints, Mask
from scripts.data.chunk_store import Chunk, Passes, Store
from scripts.data.chunked_dataset import Digest
from scripts.data.deduplicate import HASH_TYPE, Hashes
from scripts.data.profile import Moments, Reference, Running, Spread, median
from scripts.model import logistic_model
from scripts.model.logistic_model import CategoricalTerm, Model


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
    if len(known) < deduplicate.N_HASHES:
        return is_new, True
    return is_new & (hashes <= known[-1]), False


def term_moments(model: Model, columns: dict[str, NDArray[Any]]) -> dict[str, Moments]:
    """Compute mean and standard deviation of each column's log-odds term."""
    return {
        name: Moments(mean=float(terms.mean()), standard_deviation=float(terms.std()))
        for name, terms in logistic_model.contributions(model, columns).items()
    }


def make_reference(model: Model, table: pd.DataFrame) -> Reference:
    """Return the reference of a model from its training table of at least one row."""
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
    """Return the model with the reference of its training table."""
    facts = msgspec.structs.replace(
        fitted.dataset,
        reference=make_reference(fitted, table),
        typical=find_typical(fitted, table),
    )
    return msgspec.structs.replace(fitted, dataset=facts)


def category_terms(term: CategoricalTerm, texts: NDArray[Any]) -> Floats:
    """Give the term of each code of a categorical column."""
    effects = term.effects
    return np.array([effects.get(text, 0.0) for text in texts], dtype=np.float64)


def terms_of(used: Model, store: Store, chunk: Chunk) -> dict[str, Floats]:
    """Split the log-odds of the rows of a chunk into one term per column."""
    terms = {
        term.column: logistic_model.numeric_effects(term, chunk.numbers[:, place])
        for place, term in enumerate(used.numeric)
    }
    for place, term in enumerate(used.categorical):
        effects = category_terms(term, store.texts_of(term.column))
        terms[term.column] = effects[chunk.codes[:, place]]
    return terms


@dataclass(frozen=True)
class Outcome:
    """The target of the rows that are held out, and what a finished model says of them."""

    y: Ints
    probability: Floats


def judge(used: Model, passes: Passes) -> Outcome:
    """Compute the probabilities of the rows that are held out."""
    probability, truth = [], []
    for chunk in passes.store:
        own = chunk.choose(np.flatnonzero(passes.is_held_out[chunk.rows]))
        terms = terms_of(used, passes.store, own).values()
        log_odds = sum(terms, start=np.float64(used.intercept))
        probability.append(logistic_model.sigmoid(np.asarray(log_odds)))
        truth.append(own.y.astype(np.int64))
    return Outcome(np.concatenate(truth), np.concatenate(probability))


def tell_contributions(
    used: Model, read: Digest, categories: Mapping[str, Mapping[str, int]]
) -> dict[str, Moments]:
    """Give mean and standard deviation of each column's terms, as `reference.term_moments` does.

    They follow from those of the numbers and from the counts of the categories, without the rows.
    """
    terms = {}
    for number in used.numeric:
        present, factor = read.columns[number.column].running, number.coefficient / number.scale
        own = present.times(factor, -factor * number.mean)
        of_blank = float(logistic_model.numeric_effects(number, np.array([np.nan]))[0])
        own.merge(Running(read.store.n_rows - present.n_values, of_blank))
        terms[number.column] = own
    for category in used.categorical:
        counts = categories[category.column]
        effects = category_terms(category, np.array(list(counts), dtype=object))
        terms[category.column] = Running.of_counts(effects, np.array(list(counts.values())))
    return {
        name: Moments(mean=own.mean, standard_deviation=own.deviation(0))
        for name, own in terms.items()
    }


def find_chunked_typical(
    used: Model, store: Store, stayed: Mapping[str, Spread]
) -> dict[str, float | str]:
    """Describe a typical client who stayed, as `reference.find_typical` does."""
    typical: dict[str, float | str] = {
        term.column: median(stayed[term.column]) if stayed[term.column].n_values else term.median
        for term in used.numeric
    }
    has_stayed = np.concatenate([chunk.y == 0 for chunk in store])
    for name, counts in chunked_dataset.count_categories(store, has_stayed).items():
        typical[name] = min(counts, key=lambda text: (-counts[text], text))
    return typical


def add_chunked_reference(used: Model, read: Digest, passes: Passes) -> Model:
    """Give the same model with what is kept of its dataset, as `reference.add_reference` does."""
    schema = used.schema
    everyone = np.ones(read.store.n_rows, np.bool_)
    categories = chunked_dataset.count_categories(read.store, everyone)
    kept = Reference(
        numeric={name: passes.spread(name).cells() for name in schema.numeric},
        categorical=categories,
        contributions=tell_contributions(used, read, categories),
        row_hashes=read.hashes.astype(deduplicate.HASH_TYPE).tobytes(),
    )
    stayed = {name: passes.spread(name, left=False) for name in schema.numeric}
    facts = msgspec.structs.replace(
        used.dataset, reference=kept, typical=find_chunked_typical(used, read.store, stayed)
    )
    return msgspec.structs.replace(used, dataset=facts)
