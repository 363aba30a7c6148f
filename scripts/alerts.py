"""Tells a receiver on the web that a run, the data or the model changed, or changed back."""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
SUCCESS = range(200, 300)

log = logging.getLogger(__name__)


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
