"""Monitoring of the model in production: drift of the newest data and change of the F1."""

import logging
from pathlib import Path
from typing import Any

from msgspec import Struct

from scripts.core import artifacts
from scripts.core.artifacts import Kind
from scripts.core.column_words import PLAIN, ColumnWords
from scripts.core.config import Config, Schema
from scripts.data import dataset
from scripts.data.scanned_dataset import ScannedDataset
from scripts.model import drift, drift_tests, metrics
from scripts.model.drift import ColumnDrift, DataDrift
from scripts.model.drift_tests import F1Counts, F1Drift
from scripts.model.metrics import Evaluation
from scripts.production.release import Release, ScoreCounts
from scripts.production.run_context import RunContext

log = logging.getLogger(__name__)


class MonitoringResult(Struct, frozen=True):
    """The drift and the F1 of a release on a dataset and the test data.

    `release` is None before the first one. `scan` is that of a large dataset.
    """

    release: str | None
    dataset_stamp: str
    data: DataDrift
    score: Evaluation | None
    f1: F1Drift | None
    scan: ScannedDataset | None = None


def f1_counts(measured: Evaluation | ScoreCounts) -> F1Counts:
    """Return the counts of rows behind an F1."""
    errors = measured.n_false_positives + measured.n_false_negatives
    return F1Counts(measured.n_rows, measured.n_true_positives, errors)


def has_columns_of(newest: Schema, production: Schema) -> bool:
    """Return whether a dataset has the columns of the production model in the same roles."""
    return (newest.target, newest.labels) == (production.target, production.labels) and all(
        set(getattr(production, kind)) <= set(getattr(newest, kind))
        for kind in ("ids", "numeric", "categorical")
    )


def can_score(current: Release, path: Path, context: RunContext) -> bool:
    """Return whether the test data has the columns of a release.

    A folder of test data has all columns of its files, test rows from the input those of the
    newest dataset.
    """
    schema_path = Kind.SCHEMA.path(path.parent, artifacts.stamp_of(path))
    schema = dataset.read_schema(schema_path, context.config.schema)
    return not context.config.tests_latest_rows or has_columns_of(schema, current.model.schema)


def compare_data(
    path: Path, current: Release | None, context: RunContext
) -> tuple[DataDrift, ScannedDataset | None]:
    """Compare a dataset with the training data of a release, if the columns are the same.

    Parameters
    ----------
    path : Path
        The dataset.
    current : Release or None
        The release in production.
    context : RunContext
        With the engine, and the schema of a dataset without a schema file.

    Returns
    -------
    tuple of DataDrift and ScannedDataset or None
        The drift, and the scan of a large dataset.
    """
    schema_path = Kind.SCHEMA.path(path.parent, artifacts.stamp_of(path))
    schema = dataset.read_schema(schema_path, context.config.schema)
    model = None if current is None else current.model
    if current is not None and not has_columns_of(schema, current.model.schema):
        log.warning("Nothing was compared: release %s has other columns.", current.name)
        model = None
    return context.engine.compare_drift(path, schema, model)


def compare_score(current: Release, context: RunContext) -> tuple[Evaluation, F1Drift | None]:
    """Return the scores of a release on today's test data, and the test against deployment."""
    table, _ = context.test_data.read(current.model.schema)
    measured = metrics.evaluate_model(current.model, table)
    before = current.score_counts
    if before is None:
        return measured, None
    return measured, drift_tests.compare_f1(f1_counts(before), f1_counts(measured))


def describe_column(column: ColumnDrift, words: ColumnWords) -> str:
    """Describe the drift of a column and the effect on the risk."""
    parts = []
    if column.values is not None and column.values.is_drift:
        moved = "" if column.shift is None else f", mean {column.shift:+.2f} SD"
        parts.append(
            f"difference {column.values.difference:.3f} over {column.values.limit:.3f}{moved}"
        )
    if column.missing is not None and column.missing.is_drift:
        parts.append(
            f"blanks differ by {column.missing.difference:.3f} over {column.missing.limit:.3f}"
        )
    if column.risk is not None:
        parts.append(f"effect {column.risk.effect:.3f}, log-odds {column.risk.mean:+.3f}")
    return f"{words.name(column.column)} ({', '.join(parts)})"


def describe_data(data: DataDrift, words: ColumnWords = PLAIN) -> str:
    """Describe the drift of a dataset in one sentence: columns and numbers of rows."""
    if not data.n_compared:
        return "no new rows to compare"
    against = f"{data.n_compared} {data.rows} rows against {data.n_reference_rows}"
    if not data.drifted:
        return f"no drift in {against}"
    drifted = "; ".join(describe_column(column, words) for column in data.drifted)
    return f"drift in {drifted}; {against}"


def describe_f1(f1: F1Drift) -> str:
    """Describe the change of a release's F1 since deployment in one sentence."""
    return (
        f"F1 {f1.f1_now:.4f} on {f1.n_rows_now} test rows, {f1.f1_before:.4f} on"
        f" {f1.n_rows_before} at deployment, p {f1.p_value:.2g}"
    )


def log_result(result: MonitoringResult) -> None:
    """Log the result, with drift and a fallen F1 as warnings."""
    if result.release is None:
        return
    level = logging.WARNING if result.data.drifted else logging.INFO
    log.log(level, "Data of %s: %s.", result.dataset_stamp, describe_data(result.data))
    if result.f1 is not None:
        level = logging.WARNING if result.f1.has_fallen else logging.INFO
        log.log(level, "Release %s: %s.", result.release, describe_f1(result.f1))


def measure(context: RunContext, dataset_path: Path | None = None) -> MonitoringResult:
    """Measure the drift of a dataset, by default the newest, and the F1 in production."""
    if dataset_path is None:
        folder, kind = context.config.output_folder_path, context.engine.dataset_kind
        dataset_path = artifacts.find_latest(folder, kind, "ingestion")
    current = context.current_release()
    data, scan = compare_data(dataset_path, current, context)
    score, f1 = None, None
    if current is not None and can_score(current, dataset_path, context):
        score, f1 = compare_score(current, context)
    name = None if current is None else current.name
    return MonitoringResult(name, artifacts.stamp_of(dataset_path), data, score, f1, scan)


def follow_up(before: MonitoringResult, context: RunContext) -> MonitoringResult:
    """Return the monitoring result of the current release, by the result before the promotion.

    Parameters
    ----------
    before : MonitoringResult
        Of the run's dataset, with the release in production before the promotion.
    context : RunContext
        The context of the run.

    Returns
    -------
    MonitoringResult
        The same as of `measure`, without reading the dataset again: a release deployed in between
        was trained on the dataset, and no row is new.
    """
    current = context.current_release()
    if current is None or current.name == before.release:
        return before
    if not drift.covers_schema(before.data, current.model.schema):
        return measure(context)
    data = drift.start_over(before.data, current.model)
    return MonitoringResult(
        current.name, before.dataset_stamp, data, *compare_score(current, context)
    )


def main(
    config: Config, *, dataset_path: Path | None = None, context: RunContext | None = None
) -> MonitoringResult:
    """Measure the drift of the newest dataset and the F1 in production, and log both."""
    result = measure(context or RunContext(config), dataset_path)
    log_result(result)
    return result


def data_members(data: DataDrift) -> dict[str, Any]:
    """Return the numbers of compared rows and the columns as members of the diagnostics."""
    return {
        "n_rows": data.n_rows,
        "n_reference_rows": data.n_reference_rows,
        "n_compared": data.n_compared,
        "rows": data.rows,
        "drifted": [column.column for column in data.drifted],
        "columns": [
            column.as_row() | {"has_drifted": column.has_drifted} for column in data.columns
        ],
    }


def as_members(result: MonitoringResult) -> dict[str, Any]:
    """Return the members `drift` and `production_score` of the diagnostics."""
    score, f1 = result.score, result.f1
    return {
        "drift": {"dataset_stamp": result.dataset_stamp, **data_members(result.data)},
        "production_score": score
        and {
            "f1": score.f1,
            "f1_low": score.f1_low,
            "f1_high": score.f1_high,
            "n_rows": score.n_rows,
            "f1_at_deployment": f1 and f1.f1_before,
            "p_value": f1 and f1.p_value,
            "has_fallen": f1 and f1.has_fallen,
        },
    }
