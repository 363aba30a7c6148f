"""What the records learn of drift and of failing runs, and who is told when that changes."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from scripts import alerts, database, states
from scripts.config import Config, webhook_url
from scripts.database import Status
from scripts.states import OK

FAILING = "failing"
DRIFT = "drift"
# What happened longer ago is no news: a receiver set up today is not told of last month.
MAX_AGE = timedelta(days=1)

log = logging.getLogger(__name__)


def observe(engine: Engine, run_id: int, config: Config, dataset_path: Path) -> None:
    """Compare a run's dataset, and production's F1, with those of its deployment; record all."""
    # As in fullprocess: pandas is for runs with work only.
    from scripts import monitoring  # noqa: PLC0415

    found = monitoring.main(config, dataset_path=dataset_path)
    now, data = datetime.now(UTC), found.data
    columns = [
        column.as_row()
        | {
            "dataset_stamp": found.dataset_stamp,
            "n_rows": data.n_rows,
            "n_compared": data.n_compared,
        }
        for column in data.columns
    ]
    with database.writing(engine) as connection:
        database.record_column_statistics(connection, run_id, columns)
        if found.release is None or found.score is None:
            return
        record_score(connection, run_id, found.release, found.score)
        if data.rows != "none":
            state = DRIFT if data.drifted else OK
            detail = monitoring.describe_data(data)
            states.record_change(connection, "data", state, now, detail, run_id)
        if found.f1 is not None:
            state = DRIFT if found.f1.has_fallen else OK
            detail = monitoring.describe_f1(found.f1)
            states.record_change(connection, "model", state, now, detail, run_id)


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
        for name in ("data", "model"):
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
