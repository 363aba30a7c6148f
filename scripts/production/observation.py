"""Monitoring results in the records: column statistics, F1 of releases, alert states."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection, Engine

from scripts.core import column_words
from scripts.model.drift import DataDrift
from scripts.model.metrics import Evaluation
from scripts.production import live_drift, monitor, new_release
from scripts.production.monitor import MonitoringResult
from scripts.production.new_release import LIVE
from scripts.production.run_context import RunContext
from scripts.records import alert_states, database, runs
from scripts.records.alert_states import OK
from scripts.records.tables import RowsOf

DRIFT = "drift"


def column_rows(data: DataDrift, dataset_stamp: str, role: RowsOf) -> list[dict[str, Any]]:
    """Return the statistics of each column as rows for the records."""
    common = {
        "dataset_stamp": dataset_stamp,
        "role": role,
        "n_rows": data.n_rows,
        "n_compared": data.n_compared,
    }
    return [column.as_row() | common for column in data.columns]


def score_of(measured: Evaluation) -> dict[str, float | int | None]:
    """Return the F1 of an evaluation with its interval and the number of rows."""
    names = ("f1", "f1_low", "f1_high", "n_rows")
    return {name: getattr(measured, name) for name in names}


def record_score(connection: Connection, run_id: int, release: str, measured: Evaluation) -> None:
    """Record the F1 of a release on today's test data, with the confidence interval."""
    runs.record_production_score(connection, run_id, release, **score_of(measured))


def observe(
    engine: Engine, run_id: int, context: RunContext, dataset_path: Path
) -> MonitoringResult:
    """Measure the drift of a run's dataset and the F1 in production, and record both.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    run_id : int
        The run.
    context : RunContext
        The context of the run.
    dataset_path : Path
        The dataset of the run.

    Returns
    -------
    MonitoringResult
        For the diagnostics at the end of the run.
    """
    result = monitor.main(context.config, dataset_path=dataset_path, context=context)
    now, data = datetime.now(UTC), result.data
    columns = column_rows(data, result.dataset_stamp, RowsOf.DATASET)
    with database.writing(engine) as connection:
        runs.record_column_statistics(connection, run_id, columns)
        if result.release is None or result.score is None:
            return result
        record_score(connection, run_id, result.release, result.score)
        if data.rows != "none":
            state = DRIFT if data.drifted else OK
            detail = monitor.describe_data(data, column_words.words_of(context.config.schema))
            alert_states.record_change(
                connection, "data", state, at=now, detail=detail, run_id=run_id
            )
        if result.f1 is not None:
            state = DRIFT if result.f1.has_fallen else OK
            detail = monitor.describe_f1(result.f1)
            alert_states.record_change(
                connection, "model", state, at=now, detail=detail, run_id=run_id
            )
    return result


def observe_live(engine: Engine, run_id: int, context: RunContext) -> None:
    """Measure the drift of the live rows, and record the statistics and the alert state."""
    config = context.config
    if config.api.log_predictions is None:
        return
    result = live_drift.main(config, engine=engine, context=context)
    if result is None:
        return
    columns = column_rows(result.data, result.model_stamp, RowsOf.LIVE)
    with database.writing(engine) as connection:
        runs.record_column_statistics(connection, run_id, columns)
        if result.data.rows != "none":
            state = DRIFT if result.data.drifted else OK
            detail = live_drift.describe(result, column_words.words_of(config.schema))
            alert_states.record_change(
                connection, LIVE, state, at=datetime.now(UTC), detail=detail, run_id=run_id
            )


def record_new_release(engine: Engine, run_id: int, release: str, measured: Evaluation) -> None:
    """Record the F1 of a new release, and reset the alert states of the previous release.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    run_id : int
        The run that deployed it.
    release : str
        The name of the release, trained on the newest data.
    measured : Evaluation
        The scores of the release on the test data.
    """
    with database.writing(engine) as connection:
        new_release.record_new_release(
            connection, run_id, release, datetime.now(UTC), **score_of(measured)
        )
