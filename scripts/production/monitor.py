"""TODO."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.core import artifacts
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.data import dataset
from scripts.data.chunked_dataset import Digest
from scripts.model import drift, drift_tests, metrics
from scripts.model.drift import ColumnDrift, DataDrift
from scripts.model.drift_tests import F1Counts, F1Drift
from scripts.model.metrics import Evaluation
from scripts.production.release import Release, ScoreCounts
from scripts.production.run_context import RunContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonitoringResult:
    """What was found of one release, None before the first, with one dataset and the test data.

    `read` is what is in memory of a dataset of very many rows.
    """

    release: str | None
    dataset_stamp: str
    data: DataDrift
    score: Evaluation | None
    f1: F1Drift | None
    read: Digest | None = field(default=None, repr=False, compare=False)


def count(measured: Evaluation | ScoreCounts) -> F1Counts:
    """Take from a measurement what its F1 is made of."""
    errors = measured.n_false_positives + measured.n_false_negatives
    return F1Counts(measured.n_rows, measured.n_true_positives, errors)


def has_columns_of(newest: Schema, production: Schema) -> bool:
    """Say whether a dataset has the columns of the production model, for the same purposes."""
    return (newest.target, newest.labels) == (production.target, production.labels) and all(
        set(getattr(production, kind)) <= set(getattr(newest, kind))
        for kind in ("ids", "numeric", "categorical")
    )


def compare_data(
    path: Path, current: Release | None, context: RunContext
) -> tuple[DataDrift, Digest | None]:
    """Compare a dataset with the one of the release, if it has the columns for it.

    Parameters
    ----------
    path : Path
        The dataset.
    current : Release or None
        What serves.
    context : RunContext
        The engine, and the schema of the dataset where none is beside it.

    Returns
    -------
    tuple of DataDrift and Digest or None
        What was found; and what was read of very many rows, if it is in memory.
    """
    schema_path = Kind.SCHEMA.path(path.parent, artifacts.stamp_of(path))
    schema = dataset.read_schema(schema_path, context.config.schema)
    used = None if current is None else current.model
    if current is not None and not has_columns_of(schema, current.model.schema):
        log.warning("Nothing was compared: release %s has other columns.", current.name)
        used = None
    return context.engine.compare_drift(path, schema, used)


def compare_score(current: Release, context: RunContext) -> tuple[Evaluation, F1Drift | None]:
    """Measure the release on the test data of today, against those of its deployment."""
    table, _ = context.test_data.read(current.model.schema)
    measured = metrics.evaluate_model(current.model, table)
    then = current.score_counts
    fell = None if then is None else drift_tests.compare_f1(count(then), count(measured))
    return measured, fell


def describe_column(column: ColumnDrift) -> str:
    """Say in words how a column has drifted, and how much it matters."""
    said = []
    if column.values is not None and column.values.is_drift:
        moved = "" if column.shift is None else f", mean {column.shift:+.2f} SD"
        said.append(
            f"difference {column.values.difference:.3f} over {column.values.limit:.3f}{moved}"
        )
    if column.missing is not None and column.missing.is_drift:
        said.append(
            f"blanks differ by {column.missing.difference:.3f} over {column.missing.limit:.3f}"
        )
    if column.risk is not None:
        said.append(f"effect {column.risk.effect:.3f}, log-odds {column.risk.mean:+.3f}")
    return f"{column.column} ({', '.join(said)})"


def describe_data(data: DataDrift) -> str:
    """Say in one sentence whether the data have drifted, in which columns, by how many rows."""
    if not data.n_compared:
        return "no new rows to compare"
    against = f"{data.n_compared} {data.rows} rows against {data.n_reference_rows}"
    if not data.drifted:
        return f"no drift in {against}"
    return f"drift in {'; '.join(describe_column(column) for column in data.drifted)}; {against}"


def describe_f1(f1: F1Drift) -> str:
    """Say in one sentence how the F1 of the release changed."""
    return (
        f"F1 {f1.f1_now:.4f} on {f1.n_rows_now} test rows, {f1.f1_before:.4f} on"
        f" {f1.n_rows_before} at deployment, p {f1.p_value:.2g}"
    )


def log_findings(found: MonitoringResult) -> None:
    """Say once what was found; what a person should look at, as a warning."""
    if found.release is None:
        return
    level = logging.WARNING if found.data.drifted else logging.INFO
    log.log(level, "Data of %s: %s.", found.dataset_stamp, describe_data(found.data))
    if found.f1 is not None:
        level = logging.WARNING if found.f1.has_fallen else logging.INFO
        log.log(level, "Release %s: %s.", found.release, describe_f1(found.f1))


def find(context: RunContext, dataset_path: Path | None = None) -> MonitoringResult:
    """Compare a dataset, the newest unless told, and the F1 of production with its deployment's."""
    if dataset_path is None:
        folder, kind = context.config.output_folder_path, context.engine.dataset_kind
        dataset_path = artifacts.find_latest(folder, kind, "ingestion")
    current = context.current_release()
    data, read = compare_data(dataset_path, current, context)
    score, fell = (None, None) if current is None else compare_score(current, context)
    name = None if current is None else current.name
    return MonitoringResult(name, artifacts.stamp_of(dataset_path), data, score, fell, read)


def follow_up(found: MonitoringResult, context: RunContext) -> MonitoringResult:
    """Bring what a run found before its decision to the release that serves after it.

    Parameters
    ----------
    found : Findings
        With the release that served before, and the run's dataset.
    context : RunContext
        Of the run.

    Returns
    -------
    Findings
        As `find` gives them, the dataset not read again: a release that was deployed since was
        trained on it, so that no row of it is new.
    """
    current = context.current_release()
    if current is None or current.name == found.release:
        return found
    if not drift.covers_schema(found.data, current.model.schema):
        return find(context)
    data = drift.start_over(found.data, current.model)
    return MonitoringResult(
        current.name, found.dataset_stamp, data, *compare_score(current, context)
    )


def main(
    config: Config, *, dataset_path: Path | None = None, context: RunContext | None = None
) -> MonitoringResult:
    """Compare the newest dataset and the F1 of production with those of its deployment."""
    found = find(context or RunContext(config), dataset_path)
    log_findings(found)
    return found


def data_members(data: DataDrift) -> dict[str, Any]:
    """Give what was compared, and how each column differs, as members of the diagnostics."""
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


def as_members(found: MonitoringResult) -> dict[str, Any]:
    """Give what was found as members of the diagnostics."""
    score, f1 = found.score, found.f1
    return {
        "drift": {"dataset_stamp": found.dataset_stamp, **data_members(found.data)},
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
