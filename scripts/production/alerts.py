"""Webhook alerts on a change of state of the runs, the data, the live rows or the model."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy.engine import Engine

from scripts.core import http_post
from scripts.core.config import Config, webhook_url
from scripts.records import alert_states, database, predictions, runs
from scripts.records.alert_states import OK
from scripts.records.tables import Status

FAILING = "failing"
# Older changes are not sent: a receiver set up today gets no alert of last month.
MAX_AGE = timedelta(days=1)
# Runs without new data compare live rows no more often, because the comparison imports pandas.
LIVE_EVERY = timedelta(hours=1)
TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


def is_live_due(engine: Engine, config: Config, release: str | None, now: datetime) -> bool:
    """Return whether the live rows of a release are due for a comparison.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    config : Config
        With the setting of the prediction log.
    release : str or None
        The release in production.
    now : datetime
        The present moment.

    Returns
    -------
    bool
        True if predictions were logged since the last comparison, at least an hour ago.
    """
    if config.api.log_predictions is None or release is None:
        return False
    with database.reading(engine) as connection:
        last = predictions.last_live_comparison(connection)
        is_early = last is not None and timedelta(0) <= now - last < LIVE_EVERY
        return not is_early and predictions.has_predictions_since(connection, release, last)


def record_last_run(engine: Engine, now: datetime) -> None:
    """Record the alert state of the last ended run, if the state has changed."""
    with database.reading(engine) as connection:
        last = runs.last_ended_run(connection)
        before = alert_states.current_state(connection, "run")
    if last is None:
        return
    state = OK if last["status"] == Status.FINISHED else FAILING
    if before is not None and before["state"] == state:
        return
    # The error is left out: a traceback may hold a client's data, and the alert leaves the machine.
    outcome = last["verdict"] if state == OK else last["reason"]
    with database.writing(engine) as connection:
        alert_states.record_change(
            connection,
            "run",
            state,
            at=now,
            detail=f"run {last['id']}, {last['status']}: {outcome}",
            run_id=last["id"],
        )


def describe_alert(alert: Mapping[str, Any]) -> str:
    """Describe an alert in one line."""
    before = "" if alert["previous_state"] is None else f", was {alert['previous_state']}"
    return f"{alert['name']}: {alert['state']}{before}: {alert['detail']}"


def make_message(alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the message of some alerts: a line each for chat services, and the fields.

    Parameters
    ----------
    alerts : sequence of mapping
        Rows of the table `alerts`, oldest first.

    Returns
    -------
    dict
        JSON: {"text", "alerts": [{"name", "state", "previous_state", "at", "run_id", "detail"}]}.
    """
    facts = ("name", "state", "previous_state", "run_id", "detail")
    return {
        "text": "\n".join(
            f"Dynamic Risk Assessment System: {describe_alert(alert)}" for alert in alerts
        ),
        "alerts": [
            {name: alert[name] for name in facts} | {"at": alert["at"].isoformat()}
            for alert in alerts
        ],
    }


def host_of(url: str) -> str:
    """Return the host of a URL, the only part fit for the log."""
    try:
        host = urlsplit(url).hostname or "an address without a host"
    except ValueError:
        return "an unreadable address"
    # Python keeps undecodable bytes of the environment as surrogates, which no log can encode.
    return host.encode(errors="backslashreplace").decode()


def send(url: str, alerts: Sequence[Mapping[str, Any]]) -> bool:
    """Send alerts in one message within 5 seconds and return whether the receiver accepted.

    Parameters
    ----------
    url : str
        The receiver. It is a secret: only its host is ever logged.
    alerts : sequence of mapping
        Rows of the table `alerts`, at least one.

    Returns
    -------
    bool
        False if the receiver is dead, slow, redirects or refuses. The log has the reason.
    """
    message = msgspec.json.encode(make_message(alerts))
    reason = http_post.post(url, message, "application/json", TIMEOUT_S)
    if reason:
        log.warning(
            "%d alerts were not taken by %s (%s); the next run tries again.",
            len(alerts), host_of(url), reason,
        )  # fmt: skip
        return False
    log.info("Sent %d alerts to %s.", len(alerts), host_of(url))
    return True


def send_due_alerts(engine: Engine, config: Config, now: datetime) -> None:
    """Send the changes of state not sent yet, at the start and at the end of a run.

    The states are recorded before they are sent. A receiver without an answer gets them from the
    next run, and no lock on the records is held while the program waits.
    """
    record_last_run(engine, now)
    url = webhook_url(config)
    if not url:
        return
    with database.reading(engine) as connection:
        due = alert_states.unsent_alerts(connection, now - MAX_AGE)
    if due and send(url, due):
        with database.writing(engine) as connection:
            alert_states.mark_sent(connection, [alert["id"] for alert in due], now)
