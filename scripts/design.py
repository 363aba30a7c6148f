"""What the columns of a fitted pipeline are for all rows of a store, and how rows become them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from scripts import regression, rowstore
from scripts.passes import Mask, Passes, Places
from scripts.rowstore import Chunk, Store
from scripts.spread import Running, median

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Turns rows of the store into what the regression of a fitted pipeline is given."""

    medians: Floats
    means: Floats
    scales: Floats
    blank: dict[int, float]
    one_hot: list[Places]
    n_columns: int

    @cached_property
    def is_scaled(self) -> bool:
        """Whether numbers are brought to one scale."""
        return bool(self.means.any() or (self.scales != 1).any())

    def rows(self, chunk: Chunk, chosen: Mask) -> Floats:
        """Give the chosen rows, shape (n_rows, n_columns), column by column in memory."""
        rows, n_numeric = np.flatnonzero(chosen), len(self.medians)
        # One column more, cut off again, for categories that no training row has.
        columns = np.zeros((len(rows), self.n_columns + 1), order="F")
        numbers = columns[:, :n_numeric]
        # All places are right, so that none has to be checked.
        numbers[:] = chunk.numbers.T.take(rows, axis=1, mode="clip").T
        if np.isnan(numbers.min(initial=0)):
            self.fill_blanks(columns)
        if self.is_scaled:
            numbers -= self.means
            numbers /= self.scales
        for place, column_of in enumerate(self.one_hot):
            columns[np.arange(len(rows)), column_of[chunk.codes[rows, place]]] = 1.0
        return columns[:, :-1]

    def fill_blanks(self, columns: Floats) -> None:
        """Put the medians where numbers are blank, and mark them where that is wanted."""
        indicator_of = {place: len(self.medians) + i for i, place in enumerate(self.blank)}
        for place, median_there in enumerate(self.medians):
            is_blank = np.isnan(columns[:, place])
            columns[is_blank, place] = median_there
            if place in self.blank:
                columns[is_blank, indicator_of[place]] = self.blank[place]


def fit_columns(pipeline: Pipeline, passes: Passes) -> Design:
    """Make a pipeline's columns what they are for all training rows, not only for a sample."""
    store, columns = passes.store, pipeline["columns"]
    schema, training = store.schema, ~passes.is_held_out
    medians = np.array([median(passes.spread(n, held_out=False)) for n in schema.numeric])
    medians = np.nan_to_num(medians)
    means, scales = np.zeros(len(medians)), np.ones(len(medians))
    if schema.numeric:
        steps = columns.named_transformers_["numeric"]
        steps["medians"].statistics_ = medians
        if hasattr(steps["scale"], "scale_"):
            means, scales = find_scale(passes, medians)
            steps["scale"].mean_, steps["scale"].scale_ = means, scales
            steps["scale"].var_ = scales**2
            steps["scale"].n_samples_seen_ = int(training.sum())
    one_hot: list[Places] = []
    indicators = regression.indicators(pipeline)
    n_columns = len(medians) + len(indicators)
    if schema.categorical:
        one_hot, n_columns = fit_categories(pipeline, store, training, n_columns)
    blank = {schema.numeric.index(name): weight for name, weight in indicators.items()}
    return Design(medians, means, scales, blank, one_hot, n_columns)


def find_scale(passes: Passes, medians: Floats) -> tuple[Floats, Floats]:
    """Find mean and standard deviation of training rows, blanks filled; constant columns have 1."""
    running = [Running() for _ in medians]
    for chunk in passes.store:
        numbers = chunk.numbers[~passes.is_held_out[chunk.rows]].astype(np.float64)
        numbers = np.where(np.isnan(numbers), medians, numbers)
        for place, column in enumerate(running):
            column.add(numbers[:, place])
    deviations = np.array([column.deviation(0) for column in running])
    means = np.array([column.mean for column in running])
    return means, np.where(deviations > 0, deviations, 1.0)


def fit_categories(
    pipeline: Pipeline, store: Store, training: Mask, n_before: int
) -> tuple[list[Places], int]:
    """Give the encoder the categories of all training rows; say which column each code has.

    Notes
    -----
    OneHotEncoder learns which categories are rare from counts, by a method that it keeps to
    itself: there is no other way to tell it counts instead of rows. That the columns come out as
    it says is checked for each model, see `plainmodel.check_equal`.
    """
    schema, columns = store.schema, pipeline["columns"]
    encoder = columns.named_transformers_["categorical"]
    known, counts = [], []
    for place, name in enumerate(schema.categorical):
        own = rowstore.count_codes(store, place, training)
        texts = store.texts_of(name)[: len(own)]
        order = np.argsort(texts[own > 0])
        known.append(texts[own > 0][order])
        counts.append(own[own > 0][order])
    longest = max(map(len, known))
    encoder.fit(
        pd.DataFrame(
            {n: np.resize(k, longest) for n, k in zip(schema.categorical, known, strict=True)}
        )
    )
    encoder._fit_infrequent_category_mapping(int(training.sum()), counts, {})
    encoder._set_drop_idx()
    encoder._n_features_outs = encoder._compute_n_features_outs()
    tables, start = [], n_before
    for place, name in enumerate(schema.categorical):
        rare = encoder.infrequent_categories_[place]
        rare_set = set() if rare is None else set(rare)
        frequent = [text for text in encoder.categories_[place] if text not in rare_set]
        column_of = {text: start + i for i, text in enumerate(frequent)}
        column_of |= dict.fromkeys(rare_set, start + len(frequent))
        codes = [column_of.get(text, -1) for text in store.texts_of(name)]
        tables.append(np.array(codes, np.int64))
        start += len(frequent) + bool(rare_set)
    outputs = columns.output_indices_
    outputs["categorical"], outputs["remainder"] = slice(n_before, start), slice(start, start)
    return tables, start
