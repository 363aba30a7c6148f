"""Metrics of predictions by group of clients: F1, precision, recall, calibration, share listed."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from msgspec import Struct
from msgspec.structs import asdict

from scripts.data.arrays import Floats, Ints
from scripts.model import metrics, outcome_metrics

# Numbers with more different values are grouped into quarters of the rows.
MAX_VALUES = 10
N_QUARTERS = 4
MISSING = "missing"


class GroupMetrics(Struct, frozen=True, kw_only=True):
    """The metrics of a group with 95 % intervals, None where undefined.

    `listed` is the share predicted to leave. `gap` is the mean probability less the share of
    leavers: above 0 the risk of the group is overstated.
    """

    column: str
    group: str
    n_rows: int
    n_positives: int
    f1: float | None
    f1_low: float | None
    f1_high: float | None
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    listed: float | None
    listed_low: float | None
    listed_high: float | None
    gap: float
    gap_low: float
    gap_high: float

    def as_row(self) -> dict[str, Any]:
        """Return the metrics as a row of the records."""
        return asdict(self)


def group_labels(values: "pd.Series[Any]") -> "pd.Series[str]":
    """Return the group of each row: a category, a number, or a quarter of many numbers.

    Parameters
    ----------
    values : pandas.Series of shape (n_rows,)
        Texts or numbers, with missing values.

    Returns
    -------
    pandas.Series of shape (n_rows,)
        Texts. Missing values are a group of their own.
    """
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > MAX_VALUES:
        quarters = pd.qcut(values, N_QUARTERS, duplicates="drop")
        texts = [f"{interval.left:g} to {interval.right:g}" for interval in quarters.cat.categories]
        values = quarters.cat.rename_categories(texts)
    elif pd.api.types.is_numeric_dtype(values):
        values = values.map(lambda value: f"{value:g}", na_action="ignore")
    texts_of_rows = values.astype(object)
    is_missing = texts_of_rows.isna() | (texts_of_rows == "")
    labels: pd.Series[str] = texts_of_rows.where(~is_missing, MISSING).astype(str)
    return labels


def name_share(name: str, n_part: int, n_whole: int) -> dict[str, Any]:
    """Return a share and the Wilson interval by name."""
    share = outcome_metrics.share_of(n_part, n_whole)
    return {name: share.share, f"{name}_low": share.low, f"{name}_high": share.high}


def measure_gap(y: Ints, probability: Floats) -> dict[str, Any]:
    """Compute the mean of probability less label with a normal interval."""
    gaps = probability - y
    gap = float(np.mean(gaps))
    error = float(np.std(gaps, ddof=1)) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.inf
    half = outcome_metrics.Z * error
    return {"gap": gap, "gap_low": max(-1.0, gap - half), "gap_high": min(1.0, gap + half)}


def measure_group(
    column: str, group: str, y: Ints, predicted: Ints, probability: Floats
) -> GroupMetrics:
    """Compute the metrics of a group with at least one row.

    Notes
    -----
    F1: percentile bootstrap, as for all rows. Precision, recall and share listed: Wilson (1927).
    """
    tn, fp, fn, tp = map(int, np.bincount(2 * y + predicted, minlength=4))
    low, high = metrics.f1_interval(tp, fp, fn, tn)
    return GroupMetrics(
        column=column,
        group=group,
        n_rows=len(y),
        n_positives=tp + fn,
        f1=metrics.f1_of(y, predicted),
        f1_low=low,
        f1_high=high,
        **name_share("precision", tp, tp + fp),
        **name_share("recall", tp, tp + fn),
        **name_share("listed", tp + fp, len(y)),
        **measure_gap(y, probability),
    )


def measure_groups(
    table: pd.DataFrame,
    columns: tuple[str, ...],
    y: Ints,
    predicted: Ints,
    probability: Floats,
    min_rows: int,
) -> Iterator[GroupMetrics]:
    """Compute the metrics of each group with enough rows, column by column.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        With the columns of the groups. It is left unchanged.
    columns : tuple of str
        The columns whose values are groups.
    y, predicted : numpy.ndarray of shape (n_rows,)
        Truth and prediction, 0 or 1.
    probability : numpy.ndarray of shape (n_rows,)
        Probabilities of 1, in [0, 1].
    min_rows : int
        A group with fewer rows is left out: its numbers would be chance, or point at a client.

    Yields
    ------
    GroupMetrics
        By column, then by group in alphabetical order.
    """
    for column in columns:
        labels = group_labels(table[column]).to_numpy()
        names, counts = np.unique(labels.astype(str), return_counts=True)
        for name, n_rows in zip(names, counts, strict=True):
            if n_rows < min_rows:
                continue
            rows = labels == name
            yield measure_group(column, str(name), y[rows], predicted[rows], probability[rows])
