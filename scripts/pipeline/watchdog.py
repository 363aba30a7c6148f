"""The watchdog of a run: the time limits, and pings to a monitor of cron jobs."""

import logging
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from scripts.core import console, http_post, progress
from scripts.core.errors import RunTimeoutError

# A run has this time to end by itself after the time limit, with a signal every few seconds.
GRACE_S = 30.0
ASK_EVERY_S = 5.0
BEFORE = "the start"
TIMEOUT_S = 5.0
PLAIN_TEXT = "text/plain; charset=utf-8"
PROGRESS_EVERY_S = 1.0

log = logging.getLogger(__name__)


class TimeLimits(Struct, frozen=True):
    """The longest time without any progress, and the longest time of a run, None for any.

    Progress is a step that begins, rows that are read, a pass of a fit, or scores that are written.
    """

    quiet_s: float
    whole_s: float | None = None


class Watch:
    """The connection of a run to the watchdog: the run's id, current step and progress."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self._line = f"0 {BEFORE}\n".encode()
        self._sent_s = 0.0
        self.step = BEFORE
        self.is_ending = False

    def note(self, run_id: int, step: str) -> None:
        """Report the start of a step."""
        self.step = step
        self._line = f"{run_id} {step}\n".encode()
        self._send()

    def note_progress(self) -> None:
        """Report progress of the present step, at most once per second."""
        if time.monotonic() >= self._sent_s + PROGRESS_EVERY_S:
            self._send()

    def _send(self) -> None:
        """Send the present step to the watchdog."""
        self._sent_s = time.monotonic()
        if self._descriptor is not None:
            os.write(self._descriptor, self._line)

    def end(self) -> None:
        """Report the end of the run: no timeout interrupts the record of the end."""
        self.is_ending = True


def format_reason(limits: TimeLimits, step: str, elapsed_s: float) -> str:
    """Return the reason of a timeout for the records."""
    if limits.whole_s is not None and elapsed_s >= limits.whole_s:
        return f"after {limits.whole_s / 60:g} minutes (run.limit_minutes) the run was in {step}"
    minutes = f"{limits.quiet_s / 60:g} minutes"
    return f"after {minutes} (run.timeout_minutes) the run was stuck in {step}"


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


def log_long_run(
    elapsed_s: float, quiet_s: float, last_step: list[str], limits: TimeLimits
) -> None:
    """Log a warning about a long run with progress."""
    run_id, _, step = (last_step or [f"0 {BEFORE}"])[0].partition(" ")
    limit = "no limit" if limits.whole_s is None else f"a limit of {limits.whole_s / 60:g} minutes"
    log.warning(
        "Run %s goes on after %.3g minutes: it is in %s, with progress %.0f s ago. It has %s"
        " (run.limit_minutes).", run_id, elapsed_s / 60, step, quiet_s, limit,
    )  # fmt: skip


def wait_while_progressing(reader: int, limits: TimeLimits, last_step: list[str]) -> bool:
    """Read the progress of a run until a limit is reached and return whether the run has ended.

    A warning is logged after the time that a run without progress would have, and again each time
    this takes twice as long.
    """
    started_s = progress_s = time.monotonic()
    warn_s = started_s + limits.quiet_s
    end_s = math.inf if limits.whole_s is None else started_s + limits.whole_s
    while (now_s := time.monotonic()) < min(end_s, progress_s + limits.quiet_s):
        if now_s >= warn_s:
            log_long_run(now_s - started_s, now_s - progress_s, last_step, limits)
            warn_s += warn_s - started_s
        until_s = min(end_s, progress_s + limits.quiet_s, warn_s)
        if not select.select([reader], [], [], until_s - now_s)[0]:
            continue
        received = os.read(reader, 4096)
        if not received:
            return True
        progress_s = time.monotonic()
        last_step[:] = received.decode().splitlines()[-1:]
    return False


def guard(
    reader: int, run_pid: int, limits: TimeLimits, record: Callable[[int, str], None]
) -> None:
    """Wait for the end of a run, and at a time limit interrupt, kill and record the run."""
    last_step: list[str] = []
    started_s = time.monotonic()
    if wait_while_progressing(reader, limits, last_step):
        return
    elapsed_s = time.monotonic() - started_s
    asked_until_s = time.monotonic() + GRACE_S
    while time.monotonic() < asked_until_s:
        # The pipe is still open, so the process id is still that of the run.
        os.kill(run_pid, signal.SIGALRM)
        if wait_for_end(reader, ASK_EVERY_S, last_step):
            return
    os.kill(run_pid, signal.SIGKILL)
    run_id, _, step = (last_step or ["0 " + BEFORE])[0].partition(" ")
    reason = format_reason(limits, step, elapsed_s)
    log.error("Killed the run: %s.", reason)
    record(int(run_id), reason)


@contextmanager
def limit(limits: TimeLimits, record: Callable[[int, str], None]) -> Iterator[Watch]:
    """Limit the time of a run, even of a run stuck in a library outside Python.

    Parameters
    ----------
    limits : TimeLimits
        The time limits.
    record : callable
        Called with the run's id and the reason, in another process, if the run had to be killed.
        A run that still reacts gets a RunTimeoutError instead and records the timeout itself.

    Yields
    ------
    Watch
        For the reports of the steps. The progress within a step is reported by `core.progress`.

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
    run_pid, started_s = os.getpid(), time.monotonic()
    guard_pid = os.fork()
    if guard_pid == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.close(writer)
            guard(reader, run_pid, limits, record)
        finally:
            os._exit(0)
    os.close(reader)
    watch = Watch(writer)

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        """Raise RunTimeoutError in the run, unless the run is ending."""
        if not watch.is_ending:
            reason = format_reason(limits, watch.step, time.monotonic() - started_s)
            raise RunTimeoutError(f"Timeout: {reason}.")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with progress.reported_to(watch.note_progress):
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


def url_of(ping_url: str, sent: Signal) -> str:
    """Return the ping URL with the signal at the end of the path, before a query."""
    parts = urlsplit(ping_url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + sent))


def ping(ping_url: str, sent: Signal, text: str = "") -> None:
    """Send a signal to the monitor and log a failure.

    Parameters
    ----------
    ping_url : str
        `alerts.ping_url`; "" does nothing.
    sent : Signal
        Start, success or fail.
    text : str
        A text for the monitor to show: numbers of runs and verdicts, no client's data.
    """
    if not ping_url:
        return
    try:
        url = url_of(ping_url, sent)
    except ValueError as error:
        failure = type(error).__name__
    else:
        failure = http_post.post(url, text.encode(), PLAIN_TEXT, TIMEOUT_S)
    if failure:
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
