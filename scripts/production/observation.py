"""Records the findings of monitoring: statistics of columns, F1 of releases, changes of state."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection, Engine

from scripts.model.drift import DataDrift
from scripts.model.metrics import Evaluation
from scripts.production import live_drift, monitor
from scripts.production.monitor import MonitoringResult
from scripts.production.run_context import RunContext
from scripts.records import alert_states, database, runs
from scripts.records.alert_states import OK
from scripts.records.tables import RowsOf

DRIFT = "drift"
LIVE = "live"


def column_rows(data: DataDrift, dataset_stamp: str, role: RowsOf) -> list[dict[str, Any]]:
    """Spell what was found of each column as rows for the records."""
    common = {
        "dataset_stamp": dataset_stamp,
        "role": role,
        "n_rows": data.n_rows,
        "n_compared": data.n_compared,
    }
    return [column.as_row() | common for column in data.columns]


def record_score(connection: Connection, run_id: int, release: str, measured: Evaluation) -> None:
    """Record the F1 of a release on the test data of today, with its interval."""
    runs.record_production_score(
        connection,
        run_id,
        release,
        f1=measured.f1,
        f1_low=measured.f1_low,
        f1_high=measured.f1_high,
        n_rows=measured.n_rows,
    )


def observe(
    engine: Engine, run_id: int, context: RunContext, dataset_path: Path
) -> MonitoringResult:
    """Compare a run's dataset, and production's F1, with those of its deployment; record all.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    run_id : int
        The run.
    context : RunContext
        Of the run.
    dataset_path : Path
        What the run has just ingested.

    Returns
    -------
    Findings
        What was found, for the diagnostics at the end of the run.
    """
    found = monitor.main(context.config, dataset_path=dataset_path, context=context)
    now, data = datetime.now(UTC), found.data
    columns = column_rows(data, found.dataset_stamp, RowsOf.DATASET)
    with database.writing(engine) as connection:
        runs.record_column_statistics(connection, run_id, columns)
        if found.release is None or found.score is None:
            return found
        record_score(connection, run_id, found.release, found.score)
        if data.rows != "none":
            state = DRIFT if data.drifted else OK
            detail = monitor.describe_data(data)
            alert_states.record_change(connection, "data", state, now, detail, run_id)
        if found.f1 is not None:
            state = DRIFT if found.f1.has_fallen else OK
            detail = monitor.describe_f1(found.f1)
            alert_states.record_change(connection, "model", state, now, detail, run_id)
    return found


def observe_live(engine: Engine, run_id: int, context: RunContext) -> None:
    """Compare the rows that production was asked about with its dataset; record all."""
    config = context.config
    if config.api.log_predictions is None:
        return
    found = live_drift.main(config, engine=engine, context=context)
    if found is None:
        return
    columns = column_rows(found.data, found.model_stamp, RowsOf.LIVE)
    with database.writing(engine) as connection:
        runs.record_column_statistics(connection, run_id, columns)
        if found.data.rows != "none":
            state = DRIFT if found.data.drifted else OK
            detail = live_drift.describe(found)
            alert_states.record_change(connection, LIVE, state, datetime.now(UTC), detail, run_id)


def start_over(engine: Engine, run_id: int, release: str, measured: Evaluation) -> None:
    """Record that a release, trained on the newest data, serves: what was measured before it ends.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    run_id : int
        The run that deployed it.
    release : str
        Its name.
    measured : Evaluation
        Its F1 on the test data.
    """
    now, detail = datetime.now(UTC), f"release {release}, trained on the newest data, serves"
    with database.writing(engine) as connection:
        record_score(connection, run_id, release, measured)
        # Where predictions are not logged, live rows have no state.
        watched = [LIVE] if alert_states.current_state(connection, LIVE) else []
        for name in ("data", "model", *watched):
            alert_states.record_change(connection, name, OK, now, detail, run_id)
