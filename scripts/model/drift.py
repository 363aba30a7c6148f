"""Drift of a dataset, or of live rows, against the training dataset of a model, by column."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from scripts.core import drift_limits
from scripts.core.config import Schema
from scripts.data import client_dates, dataset, deduplicate, profile
from scripts.data.profile import ColumnSummary, DatasetFacts, Moments, Reference
from scripts.data.scanned_dataset import RowChoice, ScannedDataset
from scripts.model import drift_tests, reference
from scripts.model.drift_tests import Counts, TwoSampleResult
from scripts.model.logistic_model import Model

# The fraction of comparisons with a false alarm, over the columns together. It is below the usual
# 5 %, because a release is compared again with every delivery of data.
FALSE_ALARM_FRACTION = 0.01


class ColumnRole(StrEnum):
    """The role of a column in a schema."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TARGET = "target"


class RiskShift(Struct, frozen=True):
    """The change of a column's log-odds term: of the mean, and of the whole distribution."""

    mean: float
    effect: float


def difference_and_limit(result: TwoSampleResult | None) -> tuple[float | None, float | None]:
    """Return the difference and the limit of a result, None for both without a result."""
    return (None, None) if result is None else (result.difference, result.limit)


class ColumnDrift(Struct, frozen=True):
    """The statistics of a column of the newest dataset, and its drift against the reference.

    `shift` is the difference of the means in standard deviations of the reference. Undefined
    members are None.
    """

    column: str
    kind: ColumnRole
    missing_fraction: float
    summary: ColumnSummary
    values: TwoSampleResult | None
    missing: TwoSampleResult | None
    shift: float | None
    risk: RiskShift | None

    @property
    def effect(self) -> float:
        """The effect of the change on the risk, in log-odds."""
        return 0.0 if self.risk is None else self.risk.effect

    def as_row(self) -> dict[str, str | float | None]:
        """The figures by name, as in the records and the diagnostics."""
        drift, drift_limit = difference_and_limit(self.values)
        missing_drift, missing_drift_limit = difference_and_limit(self.missing)
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
        """Whether the values or the share of missing values have drifted."""
        return drift_limits.has_drifted(self.as_row())


class DataDrift(Struct, frozen=True):
    """The drift of the newest dataset against the reference of a model, columns by falling effect.

    `n_compared` rows were compared; `rows` names them: "new", "all", a sample of either, "live" or
    "none".
    """

    n_reference_rows: int
    n_rows: int
    n_compared: int
    rows: str
    n_tests: int
    columns: tuple[ColumnDrift, ...]

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The drifted columns, by falling effect on the risk."""
        return tuple(column for column in self.columns if column.has_drifted)


def kinds_of(schema: Schema) -> dict[str, ColumnRole]:
    """Return the kind of each feature, and of a target."""
    kinds = dict.fromkeys(schema.numeric, ColumnRole.NUMERIC)
    kinds |= dict.fromkeys(schema.categorical, ColumnRole.CATEGORICAL)
    return kinds | ({schema.target: ColumnRole.TARGET} if schema.target else {})


def shift_risk(before: Moments, now: Moments) -> RiskShift:
    """Compute the change of a column's log-odds term between two samples.

    Notes
    -----
    The effect is the distance of Gelbrich (1990), the least Wasserstein distance of order 2
    between distributions with these means and standard deviations.
    """
    moved = now.mean - before.mean
    return RiskShift(moved, math.hypot(moved, now.standard_deviation - before.standard_deviation))


def shift_risks(kept: Reference, moments: Mapping[str, Moments]) -> dict[str, RiskShift]:
    """Compare log-odds terms with those of the reference, by column."""
    return {name: shift_risk(kept.contributions[name], now) for name, now in moments.items()}


def compare_risks(model: Model, kept: Reference, rows: pd.DataFrame) -> dict[str, RiskShift]:
    """Compare the log-odds terms of the rows with those of the reference, by column."""
    return shift_risks(
        kept, reference.term_moments(model, dataset.feature_arrays(rows, model.schema))
    )


def shift_means(model: Model, means: Mapping[str, float | None]) -> dict[str, float]:
    """Compute the shift of means in standard deviations of the reference, where defined."""
    before = {summary.column: summary for summary in model.dataset.summary}
    return {
        name: (mean - then.mean) / then.standard_deviation
        for name, mean in means.items()
        if (then := before[name]).standard_deviation and mean is not None and then.mean is not None
    }


def compare_means(model: Model, rows: pd.DataFrame, schema: Schema) -> dict[str, float]:
    """Compute the shift of each mean of the rows, as `shift_means` does."""
    return shift_means(model, {now.column: now.mean for now in dataset.summarise(rows, schema)})


def no_statistics(name: str) -> ColumnSummary:
    """Return the statistics of a text column, None each."""
    return ColumnSummary(column=name, mean=None, median=None, standard_deviation=None)


class ComparedRows(Struct, frozen=True):
    """The compared rows, the number of tests, and the shifts of means and of log-odds terms."""

    n_reference_rows: int
    n_compared: int
    rows: str
    n_tests: int
    shifts: dict[str, float]
    risks: dict[str, RiskShift]


NOTHING = ComparedRows(0, 0, "none", 0, {}, {})


class TableStatistics(Struct, frozen=True):
    """The statistics of a table by column: summaries of numbers, fractions of missing values."""

    n_rows: int
    summaries: Mapping[str, ColumnSummary]
    missing_fractions: Mapping[str, float]


def describe_table(table: pd.DataFrame, schema: Schema) -> TableStatistics:
    """Compute the statistics of a table."""
    summaries = {summary.column: summary for summary in dataset.summarise(table, schema)}
    return TableStatistics(len(table), summaries, dataset.missing_fractions(table))


class BinnedSamples(Struct, frozen=True):
    """A column of both samples as counts of the same bins, with missing numbers apart."""

    kind: ColumnRole
    before: Counts
    now: Counts
    n_missing_before: int = 0
    n_missing_now: int = 0

    @property
    def has_values(self) -> bool:
        """Whether both samples have values, in at least two bins."""
        both = bool(self.before.sum()) and bool(self.now.sum())
        return both and int(np.count_nonzero(self.before + self.now)) > 1

    @property
    def has_missing(self) -> bool:
        """Whether either sample has a missing value."""
        return self.n_missing_before + self.n_missing_now > 0

    def compare_values(self, false_alarm: float) -> TwoSampleResult | None:
        """Compare the values by the test for their kind."""
        if not self.has_values:
            return None
        if self.kind is ColumnRole.NUMERIC:
            return drift_tests.compare_numbers(self.before, self.now, false_alarm)
        if self.kind is ColumnRole.CATEGORICAL:
            return drift_tests.compare_categories(self.before, self.now, false_alarm)
        n_before, n_now = int(self.before.sum()), int(self.now.sum())
        return drift_tests.compare_shares(
            int(self.before[1]), n_before, int(self.now[1]), n_now, false_alarm
        )

    def compare_missing(self, false_alarm: float) -> TwoSampleResult | None:
        """Compare the shares of missing values."""
        if not self.has_missing:
            return None
        n_before = self.n_missing_before + int(self.before.sum())
        n_now = self.n_missing_now + int(self.now.sum())
        return drift_tests.compare_shares(
            self.n_missing_before, n_before, self.n_missing_now, n_now, false_alarm
        )


def describe_columns(
    table: TableStatistics,
    schema: Schema,
    counted: Mapping[str, BinnedSamples],
    compared: ComparedRows,
) -> DataDrift:
    """Compute the drift of each column from counts and statistics, by falling effect."""
    false_alarm = FALSE_ALARM_FRACTION / max(1, compared.n_tests)
    kinds = kinds_of(schema)
    columns = [
        ColumnDrift(
            column=name,
            kind=kind,
            missing_fraction=table.missing_fractions[name],
            summary=table.summaries.get(name, no_statistics(name)),
            values=column.compare_values(false_alarm) if column else None,
            missing=column.compare_missing(false_alarm) if column else None,
            shift=compared.shifts.get(name),
            risk=compared.risks.get(name),
        )
        for name, kind in kinds.items()
        for column in [counted.get(name)]
    ]
    columns.sort(key=lambda column: -column.effect)
    return DataDrift(
        n_reference_rows=compared.n_reference_rows,
        n_rows=table.n_rows,
        n_compared=compared.n_compared,
        rows=compared.rows,
        n_tests=compared.n_tests,
        columns=tuple(columns),
    )


def covers_schema(data: DataDrift, schema: Schema) -> bool:
    """Test whether the columns are the features and the target of a schema."""
    return {column.column: column.kind for column in data.columns} == kinds_of(schema)


def start_over(data: DataDrift, model: Model) -> DataDrift:
    """Return the same statistics without drift, for a model just trained on the dataset."""
    columns = [
        replace(column, values=None, missing=None, shift=None, risk=None) for column in data.columns
    ]
    positions = {name: position for position, name in enumerate(kinds_of(model.schema))}
    columns.sort(key=lambda column: positions[column.column])
    return replace(
        data, n_reference_rows=model.dataset.n_rows, n_compared=0, rows="none", n_tests=0,
        columns=tuple(columns),
    )  # fmt: skip


def align_counts(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[Counts, Counts]:
    """Return the counts of both samples as arrays in the same order of categories."""
    names = sorted({*before, *now})
    old, new = ([counts.get(name, 0) for name in names] for counts in (before, now))
    return np.array(old, dtype=np.int64), np.array(new, dtype=np.int64)


def align(before: Mapping[str, int], values: NDArray[Any]) -> tuple[Counts, Counts]:
    """Return the counts of both samples by category, from counts and from values."""
    names, counts = np.unique(values.astype(str), return_counts=True)
    return align_counts(before, dict(zip(names.tolist(), counts.tolist(), strict=True)))


def count_columns(
    facts: DatasetFacts, kept: Reference, new_rows: pd.DataFrame, schema: Schema
) -> dict[str, BinnedSamples]:
    """Count both samples of features and target in the bins of the reference."""
    columns = dataset.feature_arrays(new_rows, schema)
    # The rows of the first extract have no row before, and no later ones are as often without.
    changes = {client_dates.change_of(name) for name in schema.changes or ()}
    counted = {}
    for name, bins in kept.numeric.items():
        values = columns[name][~np.isnan(columns[name])]
        then, now = np.array(bins.counts), profile.count_bins(bins.edges, values)
        missing = facts.n_rows - int(then.sum()), len(new_rows) - len(values)
        if name in changes:
            missing = 0, 0
        counted[name] = BinnedSamples(ColumnRole.NUMERIC, then, now, *missing)
    for name, counts in kept.categorical.items():
        counted[name] = BinnedSamples(ColumnRole.CATEGORICAL, *align(counts, columns[name]))
    if not schema.target:
        return counted
    y = dataset.target(new_rows, schema)
    then = np.array([facts.n_rows - facts.n_positives, facts.n_positives])
    counted[schema.target] = BinnedSamples(ColumnRole.TARGET, then, np.bincount(y, minlength=2))
    return counted


def has_known_rows(kept: Reference, schema: Schema) -> bool:
    """Return whether rows of the reference can be told from new rows."""
    # Equal rows are dropped as duplicates. Without an identifier only unusual new rows would be
    # left, and these differ from the reference for that reason alone. Hashes sealed with another
    # key, as in a copied release, cannot be compared.
    return bool(schema.ids) and not kept.is_sealed


def name_rows(*, is_complete: bool) -> str:
    """Return the name of the compared rows of a dataset with identifiers."""
    return "new" if is_complete else "sample of new"


def choose_rows(table: pd.DataFrame, kept: Reference, schema: Schema) -> tuple[pd.DataFrame, str]:
    """Return the rows to compare and their name: new rows, a sample of new rows, or all rows."""
    if not has_known_rows(kept, schema):
        return table, "all"
    is_new, is_complete = reference.find_new_rows(kept, deduplicate.hash_rows(table, schema))
    return table[is_new], name_rows(is_complete=is_complete)


def describe_data(table: pd.DataFrame, schema: Schema) -> DataDrift:
    """Return the statistics of a dataset without a comparison."""
    return describe_columns(describe_table(table, schema), schema, {}, NOTHING)


def compare_rows(
    table: TableStatistics, rows: pd.DataFrame, which: str, model: Model, schema: Schema
) -> DataDrift:
    """Compute the drift of some rows of a table from a model's dataset."""
    kept = model.dataset.reference
    if kept is None:
        return describe_columns(table, schema, {}, NOTHING)
    if rows.empty:
        nothing = ComparedRows(model.dataset.n_rows, 0, which, 0, {}, {})
        return describe_columns(table, schema, {}, nothing)
    counted = count_columns(model.dataset, kept, rows, schema)
    compared = ComparedRows(
        n_reference_rows=model.dataset.n_rows,
        n_compared=len(rows),
        rows=which,
        n_tests=sum(column.has_values + column.has_missing for column in counted.values()),
        shifts=compare_means(model, rows, schema),
        risks=compare_risks(model, kept, rows),
    )
    return describe_columns(table, schema, counted, compared)


def compare_data(table: pd.DataFrame, model: Model) -> DataDrift:
    """Compare a dataset with the training dataset of a model.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The newest dataset, at least one row. It is left unchanged.
    model : Model
        The model in production.

    Returns
    -------
    DataDrift
        Without differences for a model of an earlier version, which has no reference.

    Raises
    ------
    DatasetError
        If the table lacks a column of the model.

    Notes
    -----
    docs/alerts.md, section "Drift".
    """
    kept, schema = model.dataset.reference, model.schema
    if kept is None:
        return describe_data(table, schema)
    rows, which = choose_rows(table, kept, schema)
    return compare_rows(describe_table(table, schema), rows, which, model, schema)


def comparison_for(model: Model) -> RowChoice | None:
    """Return the choice of rows to compare while a dataset is scanned, None without a reference."""
    kept = model.dataset.reference
    if kept is None:
        return None
    if not has_known_rows(kept, model.schema):
        return RowChoice(model.schema, lambda hashes: np.ones(len(hashes), np.bool_))
    return RowChoice(model.schema, lambda hashes: reference.find_new_rows(kept, hashes)[0])


def compare_scan(scan: ScannedDataset, model: Model | None) -> DataDrift:
    """Compare a scanned dataset with the training dataset of a model, as `compare_data` does.

    Of more rows than were to be drawn, those drawn at random are compared.
    """
    summaries = {summary.column: summary for summary in scan.summary}
    table = TableStatistics(scan.n_rows, summaries, scan.missing_fractions)
    kept = None if model is None else model.dataset.reference
    if model is None or kept is None:
        return describe_columns(table, scan.schema, {}, NOTHING)
    is_all = not has_known_rows(kept, model.schema)
    is_complete = len(scan.compared) == scan.n_to_compare
    which = "all" if is_all else "new"
    if not is_complete or not (is_all or reference.knows_all_rows(kept)):
        which = f"sample of {which}"
    return compare_rows(table, scan.compared, which, model, model.schema)


def compare_live(rows: pd.DataFrame, model: Model) -> DataDrift:
    """Compare the rows of prediction requests with the training dataset of a model.

    Parameters
    ----------
    rows : pandas.DataFrame of shape (n_rows, n_features)
        The features of at least one row; the outcomes are unknown.
    model : Model
        The model in production.

    Returns
    -------
    DataDrift
        As from `compare_data`, without the target.
    """
    schema = msgspec.structs.replace(model.schema, ids=(), target="")
    return compare_rows(describe_table(rows, schema), rows, "live", model, schema)
