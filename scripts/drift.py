"""Whether the newest dataset still is like the one that the production model was trained on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts import contrast, dataset, reference
from scripts.config import Schema
from scripts.contrast import Contrast, Counts
from scripts.model import ColumnSummary, DatasetFacts, Model, Moments, Reference

# Of 100 comparisons without drift at most one says there is some, over all columns together. Less
# than the usual five, because a release is compared again with every delivery of data.
FALSE_ALARM_FRACTION = 0.01


class Kind(StrEnum):
    """What a column is for."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TARGET = "target"


@dataclass(frozen=True)
class RiskShift:
    """How far the log-odds term of a column moved: its mean, and its whole spread, in log-odds."""

    mean: float
    effect: float


@dataclass(frozen=True)
class ColumnDrift:
    """One column of the newest dataset: its statistics, and its new rows against the reference.

    `shift` is the difference of the means in standard deviations of the reference. What is not
    defined is None.
    """

    column: str
    kind: Kind
    missing_fraction: float
    summary: ColumnSummary | None
    values: Contrast | None
    missing: Contrast | None
    shift: float | None
    risk: RiskShift | None

    @property
    def effect(self) -> float:
        """How much the change matters for the risk, in log-odds."""
        return 0.0 if self.risk is None else self.risk.effect

    @property
    def has_drifted(self) -> bool:
        """Whether the values or the share of blanks have drifted."""
        return any(test is not None and test.is_drift for test in (self.values, self.missing))


@dataclass(frozen=True)
class DataDrift:
    """The newest dataset against the one of the production model, columns by falling effect.

    `n_compared` rows are the ones compared: `rows` says which ("new", "sample of new", "all").
    """

    n_reference_rows: int
    n_rows: int
    n_compared: int
    rows: str
    n_tests: int
    columns: tuple[ColumnDrift, ...]

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns that have drifted, those first that matter most for the risk."""
        return tuple(column for column in self.columns if column.has_drifted)


def align(before: Mapping[str, int], values: NDArray[Any]) -> tuple[Counts, Counts]:
    """Count the categories of two samples in the same order, also those that only one has."""
    names, inverse = np.unique(np.concatenate([[*before], values]).astype(str), return_inverse=True)
    now = np.bincount(inverse[len(before) :], minlength=len(names))
    then = np.array([before.get(str(name), 0) for name in names], dtype=np.int64)
    return then, now.astype(np.int64)


@dataclass(frozen=True)
class Counted:
    """One column of both samples as counts of the same cells, blanks of a number apart."""

    kind: Kind
    before: Counts
    now: Counts
    n_blank_before: int = 0
    n_blank_now: int = 0

    @property
    def has_values(self) -> bool:
        """Whether both samples have values, and not all of them in one cell."""
        both = bool(self.before.sum()) and bool(self.now.sum())
        return both and int(np.count_nonzero(self.before + self.now)) > 1

    @property
    def has_blanks(self) -> bool:
        """Whether either sample has a blank."""
        return self.n_blank_before + self.n_blank_now > 0

    def compare_values(self, false_alarm: float) -> Contrast | None:
        """Compare the values, in the way of their kind."""
        if not self.has_values:
            return None
        if self.kind is Kind.NUMERIC:
            return contrast.compare_numbers(self.before, self.now, false_alarm)
        if self.kind is Kind.CATEGORICAL:
            return contrast.compare_categories(self.before, self.now, false_alarm)
        n_before, n_now = int(self.before.sum()), int(self.now.sum())
        return contrast.compare_shares(
            int(self.before[1]), n_before, int(self.now[1]), n_now, false_alarm
        )

    def compare_blanks(self, false_alarm: float) -> Contrast | None:
        """Compare the shares of blanks."""
        if not self.has_blanks:
            return None
        n_before = self.n_blank_before + int(self.before.sum())
        n_now = self.n_blank_now + int(self.now.sum())
        return contrast.compare_shares(
            self.n_blank_before, n_before, self.n_blank_now, n_now, false_alarm
        )


def count_columns(
    facts: DatasetFacts, kept: Reference, new_rows: pd.DataFrame, schema: Schema
) -> dict[str, Counted]:
    """Count both samples of every feature, and of the target, in the cells of the reference."""
    columns = dataset.feature_arrays(new_rows, schema)
    counted = {}
    for name, cells in kept.numeric.items():
        values = columns[name][~np.isnan(columns[name])]
        then, now = np.array(cells.counts), reference.count_cells(cells.edges, values)
        blanks = facts.n_rows - int(then.sum()), len(new_rows) - len(values)
        counted[name] = Counted(Kind.NUMERIC, then, now, *blanks)
    for name, counts in kept.categorical.items():
        counted[name] = Counted(Kind.CATEGORICAL, *align(counts, columns[name]))
    y = dataset.target(new_rows, schema)
    then = np.array([facts.n_rows - facts.n_positives, facts.n_positives])
    counted[schema.target] = Counted(Kind.TARGET, then, np.bincount(y, minlength=2))
    return counted


def choose_rows(table: pd.DataFrame, kept: Reference, schema: Schema) -> tuple[pd.DataFrame, str]:
    """Choose the rows to compare: the new ones, a sample of them, or all; and say which."""
    if not schema.ids:
        # Equal rows are duplicates and dropped. Without an identifier only unusual new rows
        # would be left, which differ from the reference for that reason alone.
        return table, "all"
    is_new, is_complete = reference.tell_new_rows(kept, reference.hash_rows(table, schema))
    return table[is_new], "new" if is_complete else "sample of new"


def shift_risk(before: Moments, now: Moments) -> RiskShift:
    """Say how far a column's log-odds term moved between two samples.

    Notes
    -----
    The effect is the distance of Gelbrich (1990), the least Wasserstein distance of order 2
    between distributions with these means and standard deviations.
    """
    moved = now.mean - before.mean
    return RiskShift(moved, math.hypot(moved, now.standard_deviation - before.standard_deviation))


def compare_risks(used: Model, kept: Reference, rows: pd.DataFrame) -> dict[str, RiskShift]:
    """Compare the log-odds terms of the rows with those of the reference, by column."""
    if rows.empty:
        return {}
    moments = reference.term_moments(used, dataset.feature_arrays(rows, used.schema))
    return {name: shift_risk(kept.contributions[name], now) for name, now in moments.items()}


def compare_means(used: Model, rows: pd.DataFrame) -> dict[str, float]:
    """Say how far each mean moved, in standard deviations of the reference, where it is defined."""
    before = {summary.column: summary for summary in used.dataset.summary}
    return {
        now.column: (now.mean - then.mean) / then.standard_deviation
        for now in dataset.summarise(rows, used.schema)
        if (then := before[now.column]).standard_deviation
        and now.mean is not None
        and then.mean is not None
    }


def compare_data(table: pd.DataFrame, used: Model) -> DataDrift | None:
    """Compare a dataset with the one that a model was trained on.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The newest dataset, at least one row. It is left unchanged.
    used : Model
        The model in production.

    Returns
    -------
    DataDrift or None
        None for a model of an earlier version, which kept nothing to compare with.

    Raises
    ------
    DatasetError
        If the table lacks a column of the model.

    Notes
    -----
    README, section "Drift and alerts".
    """
    kept, schema = used.dataset.reference, used.schema
    if kept is None:
        return None
    rows, which = choose_rows(table, kept, schema)
    counted = count_columns(used.dataset, kept, rows, schema)
    n_tests = sum(c.has_values + c.has_blanks for c in counted.values())
    false_alarm = FALSE_ALARM_FRACTION / max(1, n_tests)
    statistics = {summary.column: summary for summary in dataset.summarise(table, schema)}
    blank = dataset.missing_fractions(table)
    risks = compare_risks(used, kept, rows)
    shifts = compare_means(used, rows)
    columns = [
        ColumnDrift(
            column=name,
            kind=column.kind,
            missing_fraction=blank[name],
            summary=statistics.get(name),
            values=column.compare_values(false_alarm),
            missing=column.compare_blanks(false_alarm),
            shift=shifts.get(name),
            risk=risks.get(name),
        )
        for name, column in counted.items()
    ]
    columns.sort(key=lambda column: -column.effect)
    return DataDrift(
        n_reference_rows=used.dataset.n_rows,
        n_rows=len(table),
        n_compared=len(rows),
        rows=which,
        n_tests=n_tests,
        columns=tuple(columns),
    )
