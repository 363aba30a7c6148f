"""Defines the scheduled job of an installation, and finds its faults."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, field

from scripts.core.errors import CrontabError

FOLDER = Path(__file__).resolve().parents[2]
# Limit of the oldest cron still in use.
LONGEST_COMMAND = 998


class Installation(Struct, frozen=True):
    """Configuration, folder and Python interpreter of the programs."""

    config_path: Path
    folder: Path = field(default_factory=lambda: FOLDER)
    python: Path = Path(sys.executable)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Command of the scheduler with absolute paths."""
        chosen = self.config_path != self.folder / "config.json"
        config = ("--config", str(self.config_path)) if chosen else ()
        return (str(self.folder / "automate.sh"), "--python", str(self.python), *config)


class Job(Struct, frozen=True):
    """Job of a scheduler: schedule, command and start of the pause, or "" if unknown."""

    expression: str
    arguments: tuple[str, ...]
    paused_since: str | None = None


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse paths with control characters, which are invalid in a job line."""
    for argument in arguments:
        if any(ord(character) < 32 or ord(character) == 127 for character in argument):
            raise CrontabError(
                f"The path {argument!r} holds a line break or another control character, which no"
                " line of a scheduler can carry; move or rename it."
            )


def interpreter_of(job: Job) -> str:
    """Return the interpreter of a job, or ""."""
    options = dict(zip(job.arguments[1::2], job.arguments[2::2], strict=False))
    return options.get("--python", "")


def find_faults(job: Job, installation: Installation) -> list[str]:
    """Return the faults of a job for the present installation.

    Parameters
    ----------
    job : Job
        The installed job.
    installation : Installation
        The present installation.

    Returns
    -------
    list of str
        A phrase per fault.
    """
    faults = []
    script, python = job.arguments[0], interpreter_of(job)
    if not os.access(script, os.X_OK):
        faults.append(f"{script} is missing or not executable")
    if not os.access(python, os.X_OK):
        faults.append(f"the interpreter {python or '(none named)'} is missing")
    if not installation.config_path.exists():
        faults.append(f"{installation.config_path} is missing")
    if not faults and job.arguments != installation.arguments:
        faults.append(f"it starts {job.arguments}; this installation is {installation.arguments}")
    return faults
