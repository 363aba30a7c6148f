"""Fits a model to very many rows, in passes over chunks: planned on a sample, solved on all.

What the columns of a fitted pipeline are for all rows of a store, and how rows become them.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from scripts.core import progress
from scripts.core.config import TrainingSettings
from scripts.core.errors import InsufficientDataError, ModelError
from scripts.data import chunk_store
from scripts.data.chunk_store import Chunk, Mask, Passes, Places, Split, Store
from scripts.data.profile import Running, median
from scripts.model import calibration, model_selection, newton_solver, sklearn_pipeline
from scripts.model import fit as model_fit
from scripts.model.fit import Fit

MAX_SAMPLE_ROWS = 1_000_000
# Of so many parts of the store and more, one in so many is gone over before all are.
MIN_CHUNKS, EVERY = 64, 8

Floats = NDArray[np.float64]
Rows = tuple[pd.DataFrame, NDArray[np.int64]]


def as_rows(chunk: Chunk, store: Store) -> Rows:
    """Give rows of the store as features and target, as `dataset.features` gives them."""
    schema = store.schema
    columns: dict[str, Any] = {
        name: chunk.numbers[:, place].astype(np.float64)
        for place, name in enumerate(schema.numeric)
    }
    columns |= {
        name: store.texts_of(name)[chunk.codes[:, place]]
        for place, name in enumerate(schema.categorical)
    }
    return pd.DataFrame(columns), chunk.y.astype(np.int64)


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


def solve(
    store: Store, columns: Design, chosen: Mask, sample: Chunk, settings: TrainingSettings
) -> Floats | None:
    """Find the weights for the chosen rows; None where Newton's steps do not lead there.

    Most steps are made on a sample of them, with C such that the penalty weighs as much as on all.
    """
    n_chosen, n_sample = int(np.count_nonzero(chosen)), len(sample.y)
    some = newton_solver.parts_of(columns.rows(sample, np.ones(n_sample, np.bool_)), sample.y)
    start = newton_solver.descend(
        some, np.zeros(columns.n_columns + 1), settings.C * n_chosen / n_sample
    )

    passes = itertools.count(1)

    def parts(every: int = 1) -> Iterator[tuple[Floats, NDArray[Any]]]:
        # How many passes a fit takes is known when it is done; of each the share is told.
        progress.start_pass(f"Fitting, pass {next(passes)}", n_chosen / every)
        for chunk in itertools.islice(store, 0, None, every):
            own = chosen[chunk.rows]
            for begin in range(0, len(own), newton_solver.CHUNK_ROWS):
                piece = chunk.piece(begin, newton_solver.CHUNK_ROWS)
                mask = own[begin : begin + newton_solver.CHUNK_ROWS]
                yield columns.rows(piece, mask), piece.y[mask]

    if start is not None and store.n_chunks >= MIN_CHUNKS:
        near = newton_solver.go_near(
            lambda tried: newton_solver.measure(lambda: parts(EVERY), tried, settings.C * EVERY),
            start,
            newton_solver.ROUGH_GAIN_FRACTION,
        )
        # The curvature of so many rows is that of all to a thousandth, and the gradient cheap.
        found = (
            None
            if near is None
            else newton_solver.settle(
                lambda tried: newton_solver.measure_gradient(parts, tried, settings.C), *near
            )
        )
        if found is not None:
            return found
    return newton_solver.descend(
        parts, np.zeros(columns.n_columns + 1) if start is None else start, settings.C
    )


def plan(store: Store, split: Split, settings: TrainingSettings) -> tuple[Fit, Chunk]:
    """Choose scale, threshold and calibration on a sample; give the sample of training rows, too.

    Of a class that is too rare for the sample, more rows are taken.
    """
    validation = as_rows(store.take(np.sort(split.validation)), store)
    # More than is fitted a second time, since all rows are fitted anyway.
    for n_rows in (model_fit.MAX_ROWS_TO_REFIT + 1, MAX_SAMPLE_ROWS):
        sample = store.take(np.sort(split.training[:n_rows]))
        if model_selection.is_tunable(sample.y.astype(np.int64)):
            break
    rows = as_rows(sample, store)
    return model_fit.fit(rows, validation, rows, store.schema, settings), sample


def fit(passes: Passes, split: Split, settings: TrainingSettings) -> tuple[Fit, Rows]:
    """Fit a pipeline to the training rows of a store.

    Parameters
    ----------
    passes : Passes
        Over all rows.
    split : Split
        Which of them are training rows.
    settings : TrainingSettings
        Of the regression and the threshold.

    Returns
    -------
    tuple of Fit and (pandas.DataFrame, numpy.ndarray)
        As `fitting.fit` gives it, with the coefficients of all training rows; and some of them.

    Raises
    ------
    InsufficientDataError
        If there is only one class to learn from.
    ModelError
        If the steps do not lead to a minimum.
    """
    store, training = passes.store, ~split.is_held_out
    n_left = sum(int(chunk.y[training[chunk.rows]].sum()) for chunk in store)
    if n_left in (0, int(training.sum())):
        raise InsufficientDataError(
            f"All {int(training.sum())} training rows have the same label; both are needed."
            " Add data."
        )
    planned, sample = plan(store, split, settings)
    pipeline = planned.final
    columns = fit_columns(pipeline, passes)
    weights = solve(store, columns, training, sample, settings)
    if weights is None:
        raise ModelError("Newton's steps did not come to an end; scale the columns, or lower C.")
    fitted = pipeline["regression"]
    fitted.coef_, fitted.intercept_ = weights[np.newaxis, :-1], weights[-1:]
    fitted.n_features_in_ = len(weights) - 1
    calibration.apply(pipeline, planned.calibration)
    final = Fit(pipeline, pipeline, planned.threshold, planned.calibration)
    return final, as_rows(sample, store)


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
    indicators = sklearn_pipeline.missing_indicators(pipeline)
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
        own = chunk_store.count_codes(store, place, training)
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
