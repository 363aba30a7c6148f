"""Alerts: the state of the runs in the records, and the message to a receiver when one changes."""

import logging
from datetime import datetime, timedelta

from sqlalchemy.engine import Engine

from scripts import alerts, database, states, traffic
from scripts.config import Config, webhook_url
from scripts.database import Status
from scripts.states import OK

FAILING = "failing"
# What happened longer ago is no news: a receiver set up today is not told of last month.
MAX_AGE = timedelta(days=1)
# Runs without new data look at live rows no more often: comparing them brings pandas.
LIVE_EVERY = timedelta(hours=1)

log = logging.getLogger(__name__)


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
        Whether `observation.observe_live` would find anything new.
    """
    if config.api.log_predictions is None or release is None:
        return False
    with database.reading(engine) as connection:
        last = traffic.last_look(connection)
        is_early = last is not None and timedelta(0) <= now - last < LIVE_EVERY
        return not is_early and traffic.has_predictions_since(connection, release, last)


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
