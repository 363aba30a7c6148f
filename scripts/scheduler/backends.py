"""The places where a job can be installed, and which of them has it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from scripts.core.errors import PipelineError
from scripts.scheduler.cron import Cron
from scripts.scheduler.scheduled_job import Installation, Job
from scripts.scheduler.systemd import Systemd


class Backend(Protocol):
    """A place where jobs can be installed."""

    @property
    def name(self) -> str:
        """Name it as --backend does."""

    @property
    def place(self) -> str:
        """Say where its jobs stand."""

    def read(self, installation: Installation) -> Job | None:
        """Read the job of an installation."""

    def write(self, installation: Installation, job: Job | None, now: datetime) -> Path | None:
        """Write or, with None, remove the job; return a file worth knowing."""

    def preview(self, installation: Installation, job: Job | None) -> tuple[str, str]:
        """Show what stands there, and what would."""

    def next_times(self, expression: str, after: datetime, n: int) -> list[datetime]:
        """List the next n times of a schedule, in UTC."""

    def changed_at(self, installation: Installation) -> datetime | None:
        """Tell when the job was last written."""

    def notes(self, installation: Installation) -> list[str]:
        """List what a user should know besides."""


BACKENDS: dict[str, Callable[[], Backend]] = {"cron": Cron, "systemd": Systemd}


def is_in(backend: Backend, installation: Installation) -> bool:
    """Say whether a backend has the job, and no if the backend is not there."""
    try:
        return backend.read(installation) is not None
    except PipelineError:
        return False


def choose_backend(name: str | None, installation: Installation) -> Backend:
    """Take the backend that was asked for, else the one that has the job, else cron."""
    if name:
        return BACKENDS[name]()
    return Systemd() if is_in(Systemd(), installation) else Cron()
