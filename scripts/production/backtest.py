"""The backtest: each month predicted by a model of the data known before the month.

A random split promises what the model does on clients of the same months. The next month is later:
the shares of leavers move, and columns that only tell when a row was written tell nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from scripts.core import progress
from scripts.core.config import Config, Schema
from scripts.core.errors import InsufficientDataError
from scripts.data import client_dates, dataset
from scripts.data.arrays import Floats, Ints
from scripts.engine.mature_rows import MatureRows
from scripts.model import candidate, logistic_model, metrics, outcome_metrics
from scripts.model.logistic_model import Model
from scripts.production.backtest_file import Backtest, ColumnDifference, Measure, Period

TEST_FRACTION = 0.2
N_RESAMPLES = 500
INTERVAL_PERCENT = (2.5, 97.5)
# A probability of exactly 0 or 1 that is wrong would make the log loss infinite.
SMALLEST = 1e-12
ALL, RANDOM = "all", "random split"


class TestedRows(Struct, frozen=True):
    """The outcomes and predictions of the rows of a test, arrays of shape (n_rows,)."""

    y: Ints
    predicted: Ints
    probability: Floats
    is_listed: NDArray[np.bool_]
    n_training_rows: int


def list_riskiest(probability: Floats, capacity: int | None) -> NDArray[np.bool_]:
    """Return a mask of the riskiest rows: as many as the capacity, a tenth without a capacity."""
    n_listed = min(len(probability), capacity or max(1, len(probability) // 10))
    chosen = np.zeros(len(probability), np.bool_)
    chosen[np.argsort(-probability, kind="stable")[:n_listed]] = True
    return chosen


def predict(model: Model, rows: pd.DataFrame, n_training_rows: int, config: Config) -> TestedRows:
    """Predict the rows of a test."""
    predicted, probability = metrics.predict_table(model, rows)
    return TestedRows(
        dataset.target(rows, model.schema), predicted, probability,
        list_riskiest(probability, config.worklist.capacity), n_training_rows,
    )  # fmt: skip


def row_losses(y: Ints, probability: Floats) -> Floats:
    """Return the log loss of each row."""
    clipped = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.asarray(-np.log(np.where(y == 1, clipped, 1 - clipped)))


def resample_auc(y: Ints, probability: Floats, random: np.random.Generator) -> Iterator[float]:
    """Yield the ROC AUC of each resample with both labels.

    The rows are sorted once, and each resample counts the rows of each probability.
    """
    order = np.argsort(probability, kind="stable")
    is_positive, in_order = y[order], probability[order]
    starts = np.flatnonzero(np.concatenate([[True], in_order[1:] > in_order[:-1]]))
    for _ in range(N_RESAMPLES):
        drawn = np.bincount(random.integers(0, len(y), len(y)), minlength=len(y))[order]
        positives = np.add.reduceat(drawn * is_positive, starts)
        negatives = np.add.reduceat(drawn, starts) - positives
        n_pairs = int(positives.sum()) * int(negatives.sum())
        if n_pairs:
            # A positive row wins against the negative rows below, and half against its equals.
            wins = positives @ (np.cumsum(negatives) - negatives / 2)
            yield float(wins) / n_pairs


def measure_auc(y: Ints, probability: Floats, random: np.random.Generator) -> Measure:
    """Return the ROC AUC with the percentile bootstrap interval."""
    if not 0 < int(y.sum()) < len(y):
        return Measure(value=None)
    draws = list(resample_auc(y, probability, random))
    low, high = np.percentile(draws, INTERVAL_PERCENT)
    value = float(roc_auc_score(y, probability))
    return Measure(value=value, low=float(low), high=float(high))


def measure_mean(values: Floats) -> Measure:
    """Return a mean with the normal interval."""
    mean, error = float(values.mean()), float(values.std() / np.sqrt(len(values)))
    return Measure(value=mean, low=mean - 1.96 * error, high=mean + 1.96 * error)


def measure_share(n_part: int, n_whole: int) -> Measure:
    """Return a share with the Wilson interval."""
    share = outcome_metrics.share_of(n_part, n_whole)
    return Measure(value=share.share, low=share.low, high=share.high)


def measure(name: str, made: TestedRows, seed: int = 0) -> Period:
    """Return the figures of a test."""
    y, listed = made.y, made.is_listed
    found = metrics.evaluate(y, made.predicted, made.probability)
    n_caught = int((y[listed] == 1).sum())
    return Period(
        name=name,
        n_training_rows=made.n_training_rows,
        n_rows=len(y),
        n_positives=int(y.sum()),
        n_listed=int(listed.sum()),
        f1=Measure(value=found.f1, low=found.f1_low, high=found.f1_high),
        roc_auc=measure_auc(y, made.probability, np.random.default_rng(seed)),
        log_loss=measure_mean(row_losses(y, made.probability)),
        precision=measure_share(n_caught, int(listed.sum())),
        recall=measure_share(n_caught, int(y.sum())),
        predicted=float(made.probability.mean()),
        realised=measure_share(int(y.sum()), len(y)),
    )


def join(parts: Sequence[TestedRows]) -> TestedRows:
    """Return the predictions of several tests together."""
    return TestedRows(
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        np.concatenate([part.probability for part in parts]),
        np.concatenate([part.is_listed for part in parts]),
        parts[-1].n_training_rows,
    )


def fit(rows: pd.DataFrame, config: Config) -> Model:
    """Fit a model to rows as a run does."""
    return candidate.fit_candidate(rows.reset_index(drop=True), "", config).model


def iterate_periods(
    dated: MatureRows, horizon_days: int, config: Config
) -> Iterator[tuple[int, Model, pd.DataFrame, int]]:
    """Yield each predictable period: its day, model and rows, and the number of training rows.

    A model is fitted to the rows whose horizon is over when the period begins.
    """
    y = dataset.target(dated.table, config.schema)
    for period in np.unique(dated.periods).tolist():
        inside = dated.periods == period
        first = int(dated.days[inside].min())
        known = (dated.days + horizon_days <= first) & (dated.days < first)
        if len(np.unique(y[known])) < 2 or len(np.unique(y[inside])) < 2:
            continue
        try:
            fitted = fit(dated.table[known], config)
        except InsufficientDataError:
            continue
        yield first, fitted, dated.table[inside], int(known.sum())


def draw_split(n_rows: int, seed: int) -> NDArray[np.bool_]:
    """Return a mask of the test rows of a random split."""
    is_test = np.zeros(n_rows, np.bool_)
    chosen = np.random.default_rng(seed).permutation(n_rows)[: int(n_rows * TEST_FRACTION)]
    is_test[chosen] = True
    return is_test


def column_gains(model: Model, rows: pd.DataFrame, random: np.random.Generator) -> dict[str, float]:
    """Return the loss of AUC when the values of a column are shuffled, by column."""
    y = dataset.target(rows, model.schema)
    if not 0 < int(y.sum()) < len(y):
        return {}
    parts = logistic_model.contributions(model, dataset.feature_arrays(rows, model.schema))
    whole = np.sum(list(parts.values()), axis=0)
    best = roc_auc_score(y, whole)
    return {
        name: float(best - roc_auc_score(y, whole - part + random.permutation(part)))
        for name, part in parts.items()
    }


def compare_columns(
    tests: Sequence[dict[str, float]], random_split: dict[str, float]
) -> tuple[ColumnDifference, ...]:
    """Return the gains of the columns by falling difference between random split and time."""
    over_time = {
        name: float(np.mean([gains[name] for gains in tests if name in gains] or [0.0]))
        for name in random_split
    }
    found = [
        ColumnDifference(column=name, random_split=gain, over_time=over_time[name])
        for name, gain in random_split.items()
    ]
    return tuple(sorted(found, key=lambda c: c.over_time - c.random_split))


def run(
    dated: MatureRows, horizon_days: int, config: Config, made_at: datetime, seed: int = 0
) -> Backtest:
    """Predict each period with a model of the data known before the period.

    Parameters
    ----------
    dated : MatureRows
        The mature rows.
    horizon_days : int
        The days after a row in which its client may leave, 0 if unknown.
    config : Config
        With the schema of the dataset, training settings and `worklist.capacity`.
    made_at : datetime
        The moment of the backtest.
    seed : int
        The seed of the random split and of the resamples.

    Returns
    -------
    Backtest
        The figures by period and together, beside those of a random split of the same rows.

    Raises
    ------
    InsufficientDataError
        If no period has rows known before it.
    """
    random = np.random.default_rng(seed)
    parts, names, gains = [], [], []
    with progress.shown("Periods", len(np.unique(dated.periods))):
        for first, model, rows, n_training in iterate_periods(dated, horizon_days, config):
            parts.append(predict(model, rows, n_training, config))
            names.append(client_dates.format_day(first))
            gains.append(column_gains(model, rows, random))
            progress.advance(1, len(rows))
    if not parts:
        raise InsufficientDataError(
            f"No period can be predicted: none of the {len(np.unique(dated.periods))} periods with"
            f" known outcomes has earlier rows whose horizon of {horizon_days} days was over."
        )
    is_test = draw_split(len(dated.table), seed)
    mixed = fit(dated.table[~is_test], config)
    promised = predict(mixed, dated.table[is_test], int((~is_test).sum()), config)
    tested = column_gains(mixed, dated.table[is_test], random)
    return Backtest(
        made_at=made_at,
        horizon_days=horizon_days,
        periods=tuple(measure(n, part, seed) for n, part in zip(names, parts, strict=True)),
        together=measure(ALL, join(parts), seed),
        random_split=measure(RANDOM, promised, seed),
        columns=compare_columns(gains, tested),
    )


def main(
    rows: MatureRows, schema: Schema, config: Config, made_at: datetime, seed: int = 0
) -> Backtest:
    """Predict each period of dated files with a model of the data known before the period."""
    horizon_days = 0 if config.outcomes is None else config.outcomes.horizon_days
    wanted = client_dates.dataset_schema(schema)
    by_dataset = msgspec.structs.replace(config, schema=wanted)
    return run(rows, horizon_days, by_dataset, made_at, seed)
