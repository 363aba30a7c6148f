"""Chooses between cron and systemd for the job of an installation."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from scripts.core.errors import PipelineError
from scripts.scheduler.cron import Cron
from scripts.scheduler.scheduled_job import Installation, Job
from scripts.scheduler.systemd import Systemd


class Backend(Protocol):
    """A scheduler with a job per installation."""

    @property
    def name(self) -> str:
        """Return the value of --backend."""

    @property
    def place(self) -> str:
        """Return the place of the jobs for messages."""

    def read(self, installation: Installation) -> Job | None:
        """Return the job of an installation, or None."""

    def write(self, installation: Installation, job: Job | None, now: datetime) -> Path | None:
        """Write or, with None, remove the job, and return a file for the message."""

    def preview(self, installation: Installation, job: Job | None) -> tuple[str, str]:
        """Return the present text of the job, and the text after a write."""

    def next_times(self, expression: str, after: datetime, n: int) -> list[datetime]:
        """Return the next n times of a schedule, in UTC."""

    def changed_at(self, installation: Installation) -> datetime | None:
        """Return the time of the last write of the job, or None."""

    def notes(self, installation: Installation) -> list[str]:
        """Return further hints for the user."""


BACKENDS: dict[str, Callable[[], Backend]] = {"cron": Cron, "systemd": Systemd}


def is_in(backend: Backend, installation: Installation) -> bool:
    """Return whether a backend has the job, False for an unavailable backend."""
    try:
        return backend.read(installation) is not None
    except PipelineError:
        return False


def choose_backend(name: str | None, installation: Installation) -> Backend:
    """Return the named backend, else the backend with the job, else cron."""
    if name:
        return BACKENDS[name]()
    return Systemd() if is_in(Systemd(), installation) else Cron()
