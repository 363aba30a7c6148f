"""The watchdog of a run: the time limit, and pings to a monitor of cron jobs."""

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

# A run has this time to end by itself after the time limit, with a signal every few seconds.
GRACE_S = 30.0
ASK_EVERY_S = 5.0
BEFORE = "the start"
TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class Watch:
    """The connection of a run to the watchdog: the run's id and current step."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self.step = BEFORE
        self.is_ending = False

    def note(self, run_id: int, step: str) -> None:
        """Report the start of a step."""
        self.step = step
        if self._descriptor is not None:
            os.write(self._descriptor, f"{run_id} {step}\n".encode())

    def end(self) -> None:
        """Report the end of the run: no timeout interrupts the record of the end."""
        self.is_ending = True


def format_reason(timeout_s: float, step: str) -> str:
    """Return the reason of a timeout for the records."""
    return f"after {timeout_s / 60:g} minutes (run.timeout_minutes) the run was stuck in {step}"


def wait_for_end(reader: int, timeout_s: float, last_step: list[str]) -> bool:
    """Read the steps of a run until a timeout and return whether the run has ended."""
    deadline_s = time.monotonic() + timeout_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        if not select.select([reader], [], [], left_s)[0]:
            return False
        received = os.read(reader, 4096)
        if not received:
            return True
        last_step[:] = received.decode().splitlines()[-1:]
    return False


def guard(reader: int, run_pid: int, timeout_s: float, record: Callable[[int, str], None]) -> None:
    """Wait for the end of a run, and after the time limit interrupt, kill and record the run."""
    last_step: list[str] = []
    if wait_for_end(reader, timeout_s, last_step):
        return
    asked_until_s = time.monotonic() + GRACE_S
    while time.monotonic() < asked_until_s:
        # The pipe is still open, so the process id is still that of the run.
        os.kill(run_pid, signal.SIGALRM)
        if wait_for_end(reader, ASK_EVERY_S, last_step):
            return
    os.kill(run_pid, signal.SIGKILL)
    run_id, _, step = (last_step or ["0 " + BEFORE])[0].partition(" ")
    log.error("Killed the run: %s.", format_reason(timeout_s, step))
    record(int(run_id), format_reason(timeout_s, step))


@contextmanager
def limit(timeout_s: float, record: Callable[[int, str], None]) -> Iterator[Watch]:
    """Limit the time of a run, even of a run stuck in a library outside Python.

    Parameters
    ----------
    timeout_s : float
        The time limit.
    record : callable
        Called with the run's id and the reason, in another process, if the run had to be killed.
        A run that still reacts gets a RunTimeoutError instead and records the timeout itself.

    Yields
    ------
    Watch
        For the reports of the steps.

    Notes
    -----
    The watchdog is a forked process: it needs no lock of the interpreter, which code stuck in a
    library may hold for ever. It must start before there are threads, open records or locks. The
    end of a pipe signals the end of the run, also of a killed run.
    """
    # A garbage collection would copy the memory pages of imported modules into the watchdog and, at
    # the exit, cost a run with nothing new a seventh of its time.
    console.freeze_gc()
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


class Signal(StrEnum):
    """The signals to a monitor of cron jobs, as endings of the URL of a job."""

    START = "/start"
    SUCCESS = ""
    FAIL = "/fail"


def url_of(ping_url: str, signal: Signal) -> str:
    """Return the ping URL with the signal at the end of the path, before a query."""
    parts = urlsplit(ping_url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + signal))


def send(ping_url: str, signal: Signal, text: str, failures: list[str]) -> None:
    """Send a signal and append a failure to a list, without the URL since a URL may be a secret."""
    try:
        url = url_of(ping_url, signal)
    except ValueError as error:
        failures.append(type(error).__name__)
        return
    # Only with a monitor: it brings Python's HTTP, and a run with nothing new must not pay for it.
    from scripts.pipeline import ping_request  # noqa: PLC0415

    failure = ping_request.post(url, text, TIMEOUT_S)
    if failure:
        failures.append(failure)


def ping(ping_url: str, signal: Signal, text: str = "") -> None:
    """Send a signal to the monitor and log a failure.

    Parameters
    ----------
    ping_url : str
        `alerts.ping_url`; "" does nothing.
    signal : Signal
        Start, success or fail.
    text : str
        A text for the monitor to show: numbers of runs and verdicts, no client's data.

    Notes
    -----
    A separate thread limits the whole time: the timeout of a socket restarts with each byte of a
    slow answer and does not cover the look-up of a name.
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
        log.warning("The monitor at alerts.ping_url got no ping: %s.", failure)


@contextmanager
def ping_around(ping_url: str) -> Iterator[None]:
    """Ping the monitor at the start, success and failure of a run."""
    ping(ping_url, Signal.START)
    try:
        yield
    except Exception:
        # Sent, then raised again: with any error the run did not succeed.
        ping(ping_url, Signal.FAIL)
        raise
    ping(ping_url, Signal.SUCCESS)
