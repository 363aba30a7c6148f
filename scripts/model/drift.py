"""Whether the newest dataset still is like the one that the production model was trained on.

The rows to compare with a model's dataset, and both counted in the same cells.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts.core import drift_limits
from scripts.core.config import Schema
from scripts.data import dataset, deduplicate, profile
from scripts.data.profile import ColumnSummary, DatasetFacts, Moments, Reference
from scripts.model import drift_tests, reference
from scripts.model.drift_tests import Counts, TwoSampleResult
from scripts.model.logistic_model import Model

# Of 100 comparisons without drift at most one says there is some, over all columns together. Less
# than the usual five, because a release is compared again with every delivery of data.
FALSE_ALARM_FRACTION = 0.01


@dataclass(frozen=True)
class RiskShift:
    """How far the log-odds term of a column moved: its mean, and its whole spread, in log-odds."""

    mean: float
    effect: float


def pair(contrast: TwoSampleResult | None) -> tuple[float | None, float | None]:
    """Give a difference and its limit, or nothing twice."""
    return (None, None) if contrast is None else (contrast.difference, contrast.limit)


class Kind(StrEnum):
    """What a column is for."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TARGET = "target"


@dataclass(frozen=True)
class ColumnDrift:
    """One column of the newest dataset: its statistics, and its new rows against the reference.

    `shift` is the difference of the means in standard deviations of the reference. What is not
    defined is None.
    """

    column: str
    kind: Kind
    missing_fraction: float
    summary: ColumnSummary
    values: TwoSampleResult | None
    missing: TwoSampleResult | None
    shift: float | None
    risk: RiskShift | None

    @property
    def effect(self) -> float:
        """How much the change matters for the risk, in log-odds."""
        return 0.0 if self.risk is None else self.risk.effect

    def as_row(self) -> dict[str, str | float | None]:
        """The numbers with their names, as the records and the diagnostics have them."""
        drift, drift_limit = pair(self.values)
        missing_drift, missing_drift_limit = pair(self.missing)
        return {
            "column": self.column,
            "kind": str(self.kind),
            "missing_fraction": self.missing_fraction,
            "mean": self.summary.mean,
            "median": self.summary.median,
            "standard_deviation": self.summary.standard_deviation,
            "drift": drift,
            "drift_limit": drift_limit,
            "missing_drift": missing_drift,
            "missing_drift_limit": missing_drift_limit,
            "shift": self.shift,
            "risk_shift": None if self.risk is None else self.risk.mean,
            "effect": None if self.risk is None else self.risk.effect,
        }

    @property
    def has_drifted(self) -> bool:
        """Whether the values or the share of blanks have drifted."""
        return drift_limits.has_drifted(self.as_row())


@dataclass(frozen=True)
class DataDrift:
    """The newest dataset against the one of the production model, columns by falling effect.

    `n_compared` rows were compared; `rows` says which: "new", "sample of new", "all", "live"
    or "none".
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
    return shift_risks(
        kept, reference.term_moments(used, dataset.feature_arrays(rows, used.schema))
    )


def shift_risks(kept: Reference, moments: Mapping[str, Moments]) -> dict[str, RiskShift]:
    """Compare log-odds terms with those of the reference, by column."""
    return {name: shift_risk(kept.contributions[name], now) for name, now in moments.items()}


def compare_means(used: Model, rows: pd.DataFrame, schema: Schema) -> dict[str, float]:
    """Say how far each mean moved, in standard deviations of the reference, where it is defined."""
    return shift_means(used, {now.column: now.mean for now in dataset.summarise(rows, schema)})


def shift_means(used: Model, means: Mapping[str, float | None]) -> dict[str, float]:
    """Say how far means moved, in standard deviations of the reference, where it is defined."""
    before = {summary.column: summary for summary in used.dataset.summary}
    return {
        name: (mean - then.mean) / then.standard_deviation
        for name, mean in means.items()
        if (then := before[name]).standard_deviation and mean is not None and then.mean is not None
    }


def no_statistics(name: str) -> ColumnSummary:
    """Give the statistics of a column of text, which has none."""
    return ColumnSummary(column=name, mean=None, median=None, standard_deviation=None)


@dataclass(frozen=True)
class Compared:
    """Which rows were compared, in how many tests, and what is known besides the tests."""

    n_reference_rows: int
    n_compared: int
    rows: str
    n_tests: int
    shifts: dict[str, float]
    risks: dict[str, RiskShift]


NOTHING = Compared(0, 0, "none", 0, {}, {})


@dataclass(frozen=True)
class Overview:
    """The statistics of a dataset: of each column that has any, and each one's share of blanks."""

    n_rows: int
    summaries: Mapping[str, ColumnSummary]
    blank: Mapping[str, float]


def compare_columns(table: pd.DataFrame, schema: Schema) -> Overview:
    """Give the statistics of a dataset."""
    summaries = {summary.column: summary for summary in dataset.summarise(table, schema)}
    return Overview(len(table), summaries, dataset.missing_fractions(table))


@dataclass(frozen=True)
class BinnedSamples:
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

    def compare_values(self, false_alarm: float) -> TwoSampleResult | None:
        """Compare the values, in the way of their kind."""
        if not self.has_values:
            return None
        if self.kind is Kind.NUMERIC:
            return drift_tests.compare_numbers(self.before, self.now, false_alarm)
        if self.kind is Kind.CATEGORICAL:
            return drift_tests.compare_categories(self.before, self.now, false_alarm)
        n_before, n_now = int(self.before.sum()), int(self.now.sum())
        return drift_tests.compare_shares(
            int(self.before[1]), n_before, int(self.now[1]), n_now, false_alarm
        )

    def compare_blanks(self, false_alarm: float) -> TwoSampleResult | None:
        """Compare the shares of blanks."""
        if not self.has_blanks:
            return None
        n_before = self.n_blank_before + int(self.before.sum())
        n_now = self.n_blank_now + int(self.now.sum())
        return drift_tests.compare_shares(
            self.n_blank_before, n_before, self.n_blank_now, n_now, false_alarm
        )


def describe_columns(
    overview: Overview, schema: Schema, counted: Mapping[str, BinnedSamples], compared: Compared
) -> DataDrift:
    """Put together what is known of each column, those first that matter most for the risk."""
    false_alarm = FALSE_ALARM_FRACTION / max(1, compared.n_tests)
    kinds = kinds_of(schema)
    columns = [
        ColumnDrift(
            column=name,
            kind=kind,
            missing_fraction=overview.blank[name],
            summary=overview.summaries.get(name, no_statistics(name)),
            values=column.compare_values(false_alarm) if column else None,
            missing=column.compare_blanks(false_alarm) if column else None,
            shift=compared.shifts.get(name),
            risk=compared.risks.get(name),
        )
        for name, kind in kinds.items()
        for column in [counted.get(name)]
    ]
    columns.sort(key=lambda column: -column.effect)
    return DataDrift(
        n_reference_rows=compared.n_reference_rows,
        n_rows=overview.n_rows,
        n_compared=compared.n_compared,
        rows=compared.rows,
        n_tests=compared.n_tests,
        columns=tuple(columns),
    )


def describes(data: DataDrift, schema: Schema) -> bool:
    """Say whether every feature of a schema, and its target, has been described."""
    return {column.column: column.kind for column in data.columns} == kinds_of(schema)


def start_over(data: DataDrift, used: Model) -> DataDrift:
    """Describe the same dataset for the model that was just trained on it: nothing has drifted."""
    columns = [
        replace(column, values=None, missing=None, shift=None, risk=None) for column in data.columns
    ]
    ordered = {name: place for place, name in enumerate(kinds_of(used.schema))}
    columns.sort(key=lambda column: ordered[column.column])
    return replace(
        data, n_reference_rows=used.dataset.n_rows, n_compared=0, rows="none", n_tests=0,
        columns=tuple(columns),
    )  # fmt: skip


def describe_data(table: pd.DataFrame, schema: Schema) -> DataDrift:
    """Give the statistics of a dataset when there is nothing to compare it with."""
    return describe_columns(compare_columns(table, schema), schema, {}, NOTHING)


def compare_rows(
    table: pd.DataFrame, rows: pd.DataFrame, which: str, used: Model, schema: Schema
) -> DataDrift:
    """Describe a table, and compare some of its rows with the dataset of a model."""
    kept = used.dataset.reference
    if kept is None:
        return describe_data(table, schema)
    counted = count_columns(used.dataset, kept, rows, schema)
    compared = Compared(
        n_reference_rows=used.dataset.n_rows,
        n_compared=len(rows),
        rows=which,
        n_tests=sum(column.has_values + column.has_blanks for column in counted.values()),
        shifts=compare_means(used, rows, schema),
        risks=compare_risks(used, kept, rows),
    )
    return describe_columns(compare_columns(table, schema), schema, counted, compared)


def compare_data(table: pd.DataFrame, used: Model) -> DataDrift:
    """Compare a dataset with the one that a model was trained on.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The newest dataset, at least one row. It is left unchanged.
    used : Model
        The model in production.

    Returns
    -------
    DataDrift
        Without differences for a model of an earlier version, which kept nothing to compare with.

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
        return describe_data(table, schema)
    rows, which = choose_rows(table, kept, schema)
    if rows.empty:
        nothing = Compared(used.dataset.n_rows, 0, which, 0, {}, {})
        return describe_columns(compare_columns(table, schema), schema, {}, nothing)
    return compare_rows(table, rows, which, used, schema)


def compare_live(rows: pd.DataFrame, used: Model) -> DataDrift:
    """Compare rows that a model was asked about with the dataset that it was trained on.

    Parameters
    ----------
    rows : pandas.DataFrame of shape (n_rows, n_features)
        The features, at least one row; what became of these clients is not known.
    used : Model
        The model in production.

    Returns
    -------
    DataDrift
        As from `compare_data`, without the target.
    """
    schema = msgspec.structs.replace(used.schema, ids=(), target="")
    return compare_rows(rows, rows, "live", used, schema)


def kinds_of(schema: Schema) -> dict[str, Kind]:
    """Say what each feature is, and the target if there is one."""
    kinds = dict.fromkeys(schema.numeric, Kind.NUMERIC)
    kinds |= dict.fromkeys(schema.categorical, Kind.CATEGORICAL)
    return kinds | ({schema.target: Kind.TARGET} if schema.target else {})


def align(before: Mapping[str, int], values: NDArray[Any]) -> tuple[Counts, Counts]:
    """Count the categories of two samples in the same order, also those that only one has."""
    names, counts = np.unique(values.astype(str), return_counts=True)
    return align_counts(before, dict(zip(names.tolist(), counts.tolist(), strict=True)))


def align_counts(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[Counts, Counts]:
    """Give the counts of two samples in the same order of categories."""
    names = sorted({*before, *now})
    then, own = ([counts.get(name, 0) for name in names] for counts in (before, now))
    return np.array(then, dtype=np.int64), np.array(own, dtype=np.int64)


def count_columns(
    facts: DatasetFacts, kept: Reference, new_rows: pd.DataFrame, schema: Schema
) -> dict[str, BinnedSamples]:
    """Count both samples of every feature, and of a target, in the cells of the reference."""
    columns = dataset.feature_arrays(new_rows, schema)
    counted = {}
    for name, cells in kept.numeric.items():
        values = columns[name][~np.isnan(columns[name])]
        then, now = np.array(cells.counts), profile.count_bins(cells.edges, values)
        blanks = facts.n_rows - int(then.sum()), len(new_rows) - len(values)
        counted[name] = BinnedSamples(Kind.NUMERIC, then, now, *blanks)
    for name, counts in kept.categorical.items():
        counted[name] = BinnedSamples(Kind.CATEGORICAL, *align(counts, columns[name]))
    if not schema.target:
        return counted
    y = dataset.target(new_rows, schema)
    then = np.array([facts.n_rows - facts.n_positives, facts.n_positives])
    counted[schema.target] = BinnedSamples(Kind.TARGET, then, np.bincount(y, minlength=2))
    return counted


def choose_rows(table: pd.DataFrame, kept: Reference, schema: Schema) -> tuple[pd.DataFrame, str]:
    """Choose the rows to compare: the new ones, a sample of them, or all; and say which."""
    if not schema.ids or kept.is_sealed:
        # Equal rows are duplicates and dropped. Without an identifier only unusual new rows
        # would be left, which differ from the reference for that reason alone. Hashes that were
        # sealed with another key, as in a copied release, tell no row from another.
        return table, "all"
    is_new, is_complete = reference.find_new_rows(kept, deduplicate.hash_rows(table, schema))
    return table[is_new], name_rows(is_complete=is_complete)


def name_rows(*, is_complete: bool) -> str:
    """Name the rows that are compared where a client can be told from another."""
    return "new" if is_complete else "sample of new"
