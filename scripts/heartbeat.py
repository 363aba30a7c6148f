"""Tells a monitor of cron jobs that a run starts and how it ends, and never gets in its way."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

TIMEOUT_S = 5.0
log = logging.getLogger(__name__)


class Signal(StrEnum):
    """What is told, as the ending that monitors expect on the URL of a job."""

    START = "/start"
    SUCCESS = ""
    FAIL = "/fail"


def url_of(ping_url: str, signal: Signal) -> str:
    """Put the signal at the end of the path, before a query."""
    parts = urlsplit(ping_url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + signal))


def send(ping_url: str, signal: Signal, text: str, failures: list[str]) -> None:
    """Send one signal; note a failure, without the URL, which is a secret of its own."""
    # Imported when there is a monitor: a run with nothing new must not pay for it otherwise.
    from scripts import ping_request  # noqa: PLC0415

    try:
        url = url_of(ping_url, signal)
    except ValueError as error:
        failures.append(type(error).__name__)
        return
    failure = ping_request.post(url, text, TIMEOUT_S)
    if failure:
        failures.append(failure)


def ping(ping_url: str, signal: Signal, text: str = "") -> None:
    """Tell the monitor, if there is one.

    Parameters
    ----------
    ping_url : str
        `alerts.ping_url`; "" does nothing.
    signal : Signal
        Start, success or fail.
    text : str
        What the monitor may show: numbers of runs and verdicts, no client's data.

    Notes
    -----
    A thread of its own bounds the whole of it: the timeout of a socket starts anew with each
    byte of a slow answer, and does not hold for the look-up of a name at all.
    """
    if not ping_url:
        return
    failures: list[str] = []
    worker = threading.Thread(target=send, args=(ping_url, signal, text, failures), daemon=True)
    worker.start()
    worker.join(TIMEOUT_S)
    if worker.is_alive():
        failures.append(f"no answer within {TIMEOUT_S} s")
    for failure in failures[:1]:
        log.warning("The monitor at alerts.ping_url was not told: %s.", failure)


@contextmanager
def told(ping_url: str) -> Iterator[None]:
    """Tell the monitor that a run starts, and whether it succeeds or fails."""
    ping(ping_url, Signal.START)
    try:
        yield
    except Exception:
        # Told, then raised again: whatever it was, the run did not succeed.
        ping(ping_url, Signal.FAIL)
        raise
    ping(ping_url, Signal.SUCCESS)
