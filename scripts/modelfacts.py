"""What a dataset of very many rows tells of a finished model, and what is kept of it with one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scripts import digest, model, reference
from scripts.digest import Digest
from scripts.model import CategoricalTerm, Model, Moments, Reference
from scripts.passes import Passes
from scripts.rowstore import Chunk, Store
from scripts.spread import Running, Spread, median

Floats = NDArray[np.float64]


def category_terms(term: CategoricalTerm, texts: NDArray[Any]) -> Floats:
    """Give the term of each code of a categorical column."""
    effects = term.effects
    return np.array([effects.get(text, 0.0) for text in texts], dtype=np.float64)


def terms_of(used: Model, store: Store, chunk: Chunk) -> dict[str, Floats]:
    """Split the log-odds of the rows of a chunk into one term per column."""
    terms = {
        term.column: model.numeric_effects(term, chunk.numbers[:, place])
        for place, term in enumerate(used.numeric)
    }
    for place, term in enumerate(used.categorical):
        effects = category_terms(term, store.texts_of(term.column))
        terms[term.column] = effects[chunk.codes[:, place]]
    return terms


@dataclass(frozen=True)
class Outcome:
    """The target of the rows that are held out, and what a finished model says of them."""

    y: NDArray[np.int64]
    probability: Floats


def judge(used: Model, passes: Passes) -> Outcome:
    """Compute the probabilities of the rows that are held out."""
    probability, truth = [], []
    for chunk in passes.store:
        own = chunk.choose(np.flatnonzero(passes.is_held_out[chunk.rows]))
        terms = terms_of(used, passes.store, own).values()
        log_odds = sum(terms, start=np.float64(used.intercept))
        probability.append(model.sigmoid(np.asarray(log_odds)))
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
        of_blank = float(model.numeric_effects(number, np.array([np.nan]))[0])
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


def find_typical(used: Model, store: Store, stayed: Mapping[str, Spread]) -> dict[str, float | str]:
    """Describe a typical client who stayed, as `reference.find_typical` does."""
    typical: dict[str, float | str] = {
        term.column: median(stayed[term.column]) if stayed[term.column].n_values else term.median
        for term in used.numeric
    }
    has_stayed = np.concatenate([chunk.y == 0 for chunk in store])
    for name, counts in digest.count_categories(store, has_stayed).items():
        typical[name] = min(counts, key=lambda text: (-counts[text], text))
    return typical


def add_reference(used: Model, read: Digest, passes: Passes) -> Model:
    """Give the same model with what is kept of its dataset, as `reference.add_reference` does."""
    schema = used.schema
    everyone = np.ones(read.store.n_rows, np.bool_)
    categories = digest.count_categories(read.store, everyone)
    kept = Reference(
        numeric={name: passes.spread(name).cells() for name in schema.numeric},
        categorical=categories,
        contributions=tell_contributions(used, read, categories),
        row_hashes=read.hashes.astype(reference.HASH_TYPE).tobytes(),
    )
    stayed = {name: passes.spread(name, left=False) for name in schema.numeric}
    facts = msgspec.structs.replace(
        used.dataset, reference=kept, typical=find_typical(used, read.store, stayed)
    )
    return msgspec.structs.replace(used, dataset=facts)
