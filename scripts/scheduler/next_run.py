"""Finds the next start of the full process in the crontab or in systemd."""

import threading
import time
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from scripts.core.errors import PipelineError
from scripts.scheduler import backends, schedule, scheduled_job

# A search runs two short commands, so its result is valid for a minute.
VALID_S = 60.0
NONE = "Nothing starts the full process by itself: run python -m scripts.automate install."


class NextRun(Struct, frozen=True):
    """Time of the next start with its schedule, or a text without a next start."""

    at: datetime | None = None
    schedule: str = ""
    text: str = NONE


def find_next_run(config_path: Path, now: datetime) -> NextRun:
    """Return the next start of the full process of an installation."""
    installation = scheduled_job.Installation(config_path.resolve())
    try:
        backend = backends.choose_backend(None, installation)
        job = backend.read(installation)
        if job is None:
            return NextRun()
        words = schedule.describe(job.expression)
        if job.paused_since is not None:
            return NextRun(schedule=words, text="Paused: run python -m scripts.automate resume.")
        times = backend.next_times(job.expression, now, 1)
    except (PipelineError, OSError) as error:
        return NextRun(text=f"The schedule cannot be read: {error}")
    return NextRun(times[0] if times else None, words, "" if times else "This schedule never comes")


class NextRunCache:
    """Cache for a minute of the next start of the full process.

    Parameters
    ----------
    config_path : Path
        The config of the installation.
    """

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path
        self._lock = threading.Lock()
        self._next_run, self._valid_until_s = NextRun(), 0.0

    def next_run(self, now: datetime) -> NextRun:
        """Return the next start of the full process."""
        with self._lock:
            passed = self._next_run.at is not None and self._next_run.at <= now
            if passed or time.monotonic() >= self._valid_until_s:
                self._next_run = find_next_run(self._config_path, now)
                self._valid_until_s = time.monotonic() + VALID_S
            return self._next_run
