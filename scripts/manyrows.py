"""Fits a model to very many rows, in passes over chunks: planned on a sample, solved on all."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts import calibration, design, fitting, gains, newton, progress
from scripts.config import TrainingSettings
from scripts.design import Design
from scripts.errors import InsufficientDataError, ModelError
from scripts.fitting import Fit
from scripts.passes import Mask, Passes, Split
from scripts.rowstore import Chunk, Store

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


def solve(
    store: Store, columns: Design, chosen: Mask, sample: Chunk, settings: TrainingSettings
) -> Floats | None:
    """Find the weights for the chosen rows; None where Newton's steps do not lead there.

    Most steps are made on a sample of them, with C such that the penalty weighs as much as on all.
    """
    n_chosen, n_sample = int(np.count_nonzero(chosen)), len(sample.y)
    some = newton.parts_of(columns.rows(sample, np.ones(n_sample, np.bool_)), sample.y)
    start = newton.descend(some, np.zeros(columns.n_columns + 1), settings.C * n_chosen / n_sample)

    passes = itertools.count(1)

    def parts(every: int = 1) -> Iterator[tuple[Floats, NDArray[Any]]]:
        # How many passes a fit takes is known when it is done; of each the share is told.
        progress.start_pass(f"Fitting, pass {next(passes)}", n_chosen / every)
        for chunk in itertools.islice(store, 0, None, every):
            own = chosen[chunk.rows]
            for begin in range(0, len(own), newton.CHUNK_ROWS):
                piece = chunk.piece(begin, newton.CHUNK_ROWS)
                mask = own[begin : begin + newton.CHUNK_ROWS]
                yield columns.rows(piece, mask), piece.y[mask]

    if start is not None and store.n_chunks >= MIN_CHUNKS:
        near = newton.go_near(
            lambda tried: newton.measure(lambda: parts(EVERY), tried, settings.C * EVERY),
            start,
            newton.ROUGH_GAIN_FRACTION,
        )
        # The curvature of so many rows is that of all to a thousandth, and the gradient cheap.
        found = (
            None
            if near is None
            else newton.settle(
                lambda tried: newton.measure_gradient(parts, tried, settings.C), *near
            )
        )
        if found is not None:
            return found
    return newton.descend(
        parts, np.zeros(columns.n_columns + 1) if start is None else start, settings.C
    )


def plan(store: Store, split: Split, settings: TrainingSettings) -> tuple[Fit, Chunk]:
    """Choose scale, threshold and calibration on a sample; give the sample of training rows, too.

    Of a class that is too rare for the sample, more rows are taken.
    """
    validation = as_rows(store.take(np.sort(split.validation)), store)
    # More than is fitted a second time, since all rows are fitted anyway.
    for n_rows in (fitting.MAX_ROWS_TO_REFIT + 1, MAX_SAMPLE_ROWS):
        sample = store.take(np.sort(split.training[:n_rows]))
        if gains.is_tunable(sample.y.astype(np.int64)):
            break
    rows = as_rows(sample, store)
    return fitting.fit(rows, validation, rows, store.schema, settings), sample


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
    columns = design.fit_columns(pipeline, passes)
    weights = solve(store, columns, training, sample, settings)
    if weights is None:
        raise ModelError("Newton's steps did not come to an end; scale the columns, or lower C.")
    fitted = pipeline["regression"]
    fitted.coef_, fitted.intercept_ = weights[np.newaxis, :-1], weights[-1:]
    fitted.n_features_in_ = len(weights) - 1
    calibration.apply(pipeline, planned.calibration)
    final = Fit(pipeline, pipeline, planned.threshold, planned.calibration)
    return final, as_rows(sample, store)
