"""Alerts: the state of the runs in the records, and the message to a receiver when one changes.

Tells a receiver on the web that a run, the data or the model changed, or changed back.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import Engine

from scripts.core.config import Config, webhook_url
from scripts.records import alert_states, database, predictions, runs
from scripts.records.alert_states import OK
from scripts.records.tables import Status

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
        last = predictions.last_live_comparison(connection)
        is_early = last is not None and timedelta(0) <= now - last < LIVE_EVERY
        return not is_early and predictions.has_predictions_since(connection, release, last)


def record_last_run(engine: Engine, now: datetime) -> None:
    """Remember whether the last run that came to an end ended well."""
    with database.reading(engine) as connection:
        last = runs.last_ended_run(connection)
        before = alert_states.current_state(connection, "run")
    if last is None:
        return
    state = OK if last["status"] == Status.FINISHED else FAILING
    if before is not None and before["state"] == state:
        return
    # Not its error: what a bug says may hold a client's data, and this goes out.
    outcome = last["verdict"] if state == OK else last["reason"]
    with database.writing(engine) as connection:
        alert_states.record_change(
            connection, "run", state, now, f"run {last['id']}, {last['status']}: {outcome}",
            last["id"],
        )  # fmt: skip


def send_due_alerts(engine: Engine, config: Config, now: datetime) -> None:
    """Send what changed and has not been sent; called when a run starts and when it ends.

    The states are written first and sent after: a receiver that does not answer is tried again
    by the next run, and never holds a lock on the records.
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


TIMEOUT_S = 5.0
SUCCESS = range(200, 300)


def describe_alert(alert: Mapping[str, Any]) -> str:
    """Say an alert in one line."""
    before = "" if alert["previous_state"] is None else f", was {alert['previous_state']}"
    return f"{alert['name']}: {alert['state']}{before}: {alert['detail']}"


def make_message(alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make what is sent: one line per alert in `text`, as chat services show it, and the facts.

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
        "text": "\n".join(f"Dynamic risk assessment: {describe_alert(alert)}" for alert in alerts),
        "alerts": [
            {name: alert[name] for name in facts} | {"at": alert["at"].isoformat()}
            for alert in alerts
        ],
    }


def host_of(url: str) -> str:
    """Name the host of an address, the one part of it that may be shown."""
    try:
        host = urlsplit(url).hostname or "an address without a host"
    except ValueError:
        return "an address that cannot be read"
    # Python marks bytes of the environment that are no text so that no log could spell them.
    return host.encode(errors="backslashreplace").decode()


def post(url: str, message: Mapping[str, Any]) -> str:
    """Send a message; return "" when it was taken, else why not, without the address."""
    # Six runs an hour have nothing to tell, and requests costs as much as the rest of such a run.
    import requests  # noqa: PLC0415

    try:
        with requests.post(
            url,
            json=message,
            timeout=TIMEOUT_S,
            # What is meant for one receiver is not for whoever it points at.
            allow_redirects=False,
            # The body is of no interest, however long it is.
            stream=True,
        ) as response:
            code = response.status_code
    except (requests.RequestException, OSError, ValueError) as error:
        return type(error).__name__
    return "" if code in SUCCESS else f"it answered {code}"


def send(url: str, alerts: Sequence[Mapping[str, Any]]) -> bool:
    """Send alerts in one message, in 5 seconds at most, and say whether they were taken.

    Parameters
    ----------
    url : str
        The receiver. It is a secret: only its host is ever logged.
    alerts : sequence of mapping
        Rows of the table `alerts`, at least one.

    Returns
    -------
    bool
        False if the receiver is dead, slow, points elsewhere or refuses; a line says why.
    """
    reasons: list[str] = []
    message = make_message(alerts)
    # The timeout of requests is per read, so a receiver that drips its answer would hold a run
    # for as long as it likes; a thread is left behind instead and ends with the program.
    sender = threading.Thread(target=lambda: reasons.append(post(url, message)), daemon=True)
    sender.start()
    sender.join(TIMEOUT_S)
    reason = reasons[0] if reasons else f"no answer within {TIMEOUT_S:g} s"
    if reason:
        log.warning(
            "%d alerts were not taken by %s (%s); the next run tries again.",
            len(alerts), host_of(url), reason,
        )  # fmt: skip
        return False
    log.info("Sent %d alerts to %s.", len(alerts), host_of(url))
    return True
