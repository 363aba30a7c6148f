"""What the records learn of drift and of failing runs, and who is told when that changes."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from scripts import alerts, database, states, traffic
from scripts.config import Config, webhook_url
from scripts.database import RowsOf, Status
from scripts.states import OK

FAILING = "failing"
DRIFT = "drift"
LIVE = "live"
# What happened longer ago is no news: a receiver set up today is not told of last month.
MAX_AGE = timedelta(days=1)
# Runs without new data look at live rows no more often: comparing them brings pandas.
LIVE_EVERY = timedelta(hours=1)

log = logging.getLogger(__name__)


def column_rows(data: Any, dataset_stamp: str, role: RowsOf) -> list[dict[str, Any]]:
    """Spell what was found of each column as rows for the records."""
    common = {
        "dataset_stamp": dataset_stamp,
        "role": role,
        "n_rows": data.n_rows,
        "n_compared": data.n_compared,
    }
    return [column.as_row() | common for column in data.columns]


def observe(engine: Engine, run_id: int, config: Config, dataset_path: Path) -> Any:
    """Compare a run's dataset, and production's F1, with those of its deployment; record all.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    run_id : int
        The run.
    config : Config
        The installation.
    dataset_path : Path
        What the run has just ingested.

    Returns
    -------
    monitoring.Findings
        What was found, for the diagnostics at the end of the run.
    """
    # As in fullprocess: pandas is for runs with work only.
    from scripts import monitoring  # noqa: PLC0415

    found = monitoring.main(config, dataset_path=dataset_path)
    now, data = datetime.now(UTC), found.data
    columns = column_rows(data, found.dataset_stamp, RowsOf.DATASET)
    with database.writing(engine) as connection:
        database.record_column_statistics(connection, run_id, columns)
        if found.release is None or found.score is None:
            return found
        record_score(connection, run_id, found.release, found.score)
        if data.rows != "none":
            state = DRIFT if data.drifted else OK
            detail = monitoring.describe_data(data)
            states.record_change(connection, "data", state, now, detail, run_id)
        if found.f1 is not None:
            state = DRIFT if found.f1.has_fallen else OK
            detail = monitoring.describe_f1(found.f1)
            states.record_change(connection, "model", state, now, detail, run_id)
    return found


def is_live_due(engine: Engine, config: Config, release: str | None, now: datetime) -> bool:
    """Say whether predictions were logged since live rows were last compared, an hour ago or more.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    config : Config
        Says whether predictions are logged at all.
    release : str or None
        What serves.
    now : datetime
        The present moment.

    Returns
    -------
    bool
        Whether `observe_live` would find anything new.
    """
    if config.api.log_predictions is None or release is None:
        return False
    with database.reading(engine) as connection:
        last = traffic.last_look(connection)
        is_early = last is not None and timedelta(0) <= now - last < LIVE_EVERY
        return not is_early and traffic.has_predictions_since(connection, release, last)


def observe_live(engine: Engine, run_id: int, config: Config) -> None:
    """Compare the rows that production was asked about with its dataset; record all."""
    if config.api.log_predictions is None:
        return
    # As in fullprocess: pandas is for runs with work only.
    from scripts import livedrift  # noqa: PLC0415

    found = livedrift.main(config, engine=engine)
    if found is None:
        return
    columns = column_rows(found.data, found.model_stamp, RowsOf.LIVE)
    with database.writing(engine) as connection:
        database.record_column_statistics(connection, run_id, columns)
        if found.data.rows != "none":
            state = DRIFT if found.data.drifted else OK
            detail = livedrift.describe(found)
            states.record_change(connection, LIVE, state, datetime.now(UTC), detail, run_id)


def record_score(connection: Any, run_id: int, release: str, measured: Any) -> None:
    """Record the F1 of a release on the test data of today, with its interval."""
    database.record_production_score(
        connection,
        run_id,
        release,
        f1=measured.f1,
        f1_low=measured.f1_low,
        f1_high=measured.f1_high,
        n_rows=measured.n_rows,
    )


def start_over(engine: Engine, run_id: int, release: str, measured: Any) -> None:
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
        watched = [LIVE] if states.current_state(connection, LIVE) else []
        for name in ("data", "model", *watched):
            states.record_change(connection, name, OK, now, detail, run_id)


def note_last_run(engine: Engine, now: datetime) -> None:
    """Remember whether the last run that came to an end ended well."""
    with database.reading(engine) as connection:
        last = database.last_ended_run(connection)
        before = states.current_state(connection, "run")
    if last is None:
        return
    state = OK if last["status"] == Status.FINISHED else FAILING
    if before is not None and before["state"] == state:
        return
    # Not its error: what a bug says may hold a client's data, and this goes out.
    outcome = last["verdict"] if state == OK else last["reason"]
    with database.writing(engine) as connection:
        states.record_change(
            connection, "run", state, now, f"run {last['id']}, {last['status']}: {outcome}",
            last["id"],
        )  # fmt: skip


def tell(engine: Engine, config: Config, now: datetime) -> None:
    """Send what changed and has not been sent; called when a run starts and when it ends.

    The states are written first and sent after: a receiver that does not answer is tried again
    by the next run, and never holds a lock on the records.
    """
    note_last_run(engine, now)
    url = webhook_url(config)
    if not url:
        return
    with database.reading(engine) as connection:
        due = states.unsent_alerts(connection, now - MAX_AGE)
    if due and alerts.send(url, due):
        with database.writing(engine) as connection:
            states.mark_sent(connection, [alert["id"] for alert in due], now)
