"""Ends a run that takes too long, also one stuck where Python cannot be reached.

Tells a monitor of cron jobs that a run starts and how it ends, and never gets in its way.
"""

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from urllib.parse import urlsplit, urlunsplit

from scripts.core import console
from scripts.core.errors import RunTimeoutError
from scripts.pipeline import ping_request

# So long a run may take to end by itself once its time is up, asked every few seconds.
GRACE_S = 30.0
ASK_EVERY_S = 5.0
BEFORE = "the start"

log = logging.getLogger(__name__)


class Watch:
    """What a run tells its watchdog: which run it is, and at which step."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self.step = BEFORE
        self.is_ending = False

    def note(self, run_id: int, step: str) -> None:
        """Say that a run begins a step."""
        self.step = step
        if self._descriptor is not None:
            os.write(self._descriptor, f"{run_id} {step}\n".encode())

    def end(self) -> None:
        """Say that the run is writing down how it ended, which a soft end must not interrupt."""
        self.is_ending = True


def format_reason(timeout_s: float, step: str) -> str:
    """Say in the records what ended a run."""
    return f"after {timeout_s / 60:g} minutes (run.timeout_minutes) the run was stuck in {step}"


def wait_for_end(reader: int, timeout_s: float, said: list[str]) -> bool:
    """Listen to a run until it ends or the time is up; say whether it has ended."""
    deadline_s = time.monotonic() + timeout_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        if not select.select([reader], [], [], left_s)[0]:
            return False
        heard = os.read(reader, 4096)
        if not heard:
            return True
        said[:] = heard.decode().splitlines()[-1:]
    return False


def guard(reader: int, run_pid: int, timeout_s: float, record: Callable[[int, str], None]) -> None:
    """Wait for a run; ask it to end when its time is up, then kill it and record that."""
    said: list[str] = []
    if wait_for_end(reader, timeout_s, said):
        return
    asked_until_s = time.monotonic() + GRACE_S
    while time.monotonic() < asked_until_s:
        # The pipe is still open, so this is still our process and no other one's number.
        os.kill(run_pid, signal.SIGALRM)
        if wait_for_end(reader, ASK_EVERY_S, said):
            return
    os.kill(run_pid, signal.SIGKILL)
    run_id, _, step = (said or ["0 " + BEFORE])[0].partition(" ")
    log.error("Killed the run: %s.", format_reason(timeout_s, step))
    record(int(run_id), format_reason(timeout_s, step))


@contextmanager
def limit(timeout_s: float, record: Callable[[int, str], None]) -> Iterator[Watch]:
    """End what happens inside when the time is up.

    Parameters
    ----------
    timeout_s : float
        How long it may take.
    record : callable
        Called with the run's id and the reason, in another process, if the run had to be killed.
        A run that can be reached gets a RunTimeoutError instead, and records it itself.

    Yields
    ------
    Watch
        To be told the steps.

    Notes
    -----
    The watchdog is a forked process: it needs no lock of the interpreter, which code stuck in a
    library may hold for ever. It must start before there are threads, open records or locks. It
    learns by the end of a pipe that the run is over, however the run ended.
    """
    # Looking through it again would copy the pages of what has been imported into the watchdog and,
    # at the exit, cost a run with nothing new a seventh of its time.
    console.set_aside()
    reader, writer = os.pipe()
    run_pid = os.getpid()
    guard_pid = os.fork()
    if guard_pid == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.close(writer)
            guard(reader, run_pid, timeout_s, record)
        finally:
            os._exit(0)
    os.close(reader)
    watch = Watch(writer)

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if not watch.is_ending:
            raise RunTimeoutError(f"Timeout: {format_reason(timeout_s, watch.step)}.")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        yield watch
    finally:
        watch.end()
        os.close(writer)
        os.waitpid(guard_pid, 0)
        signal.signal(signal.SIGALRM, before)


TIMEOUT_S = 5.0


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
def ping_around(ping_url: str) -> Iterator[None]:
    """Tell the monitor that a run starts, and whether it succeeds or fails."""
    ping(ping_url, Signal.START)
    try:
        yield
    except Exception:
        # Told, then raised again: whatever it was, the run did not succeed.
        ping(ping_url, Signal.FAIL)
        raise
    ping(ping_url, Signal.SUCCESS)
