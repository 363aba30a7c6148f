"""The job of an installation: what a scheduler is to start, and whether it still can."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.core.errors import CrontabError

FOLDER = Path(__file__).resolve().parents[2]
# The oldest cron still in use takes no longer command.
LONGEST_COMMAND = 998


@dataclass(frozen=True)
class Installation:
    """One configuration, the folder of the programs and the interpreter that runs them."""

    config_path: Path
    folder: Path = field(default_factory=lambda: FOLDER)
    python: Path = Path(sys.executable)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a scheduler starts, as absolute paths."""
        chosen = self.config_path != self.folder / "config.json"
        config = ("--config", str(self.config_path)) if chosen else ()
        return (str(self.folder / "automate.sh"), "--python", str(self.python), *config)


@dataclass(frozen=True)
class Job:
    """What a scheduler has been told: when, what, and since when it is paused ("": unknown)."""

    expression: str
    arguments: tuple[str, ...]
    paused_since: str | None = None


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse paths that a line of a scheduler cannot carry."""
    for argument in arguments:
        if any(ord(character) < 32 or ord(character) == 127 for character in argument):
            raise CrontabError(
                f"The path {argument!r} holds a line break or another control character, which no"
                " line of a scheduler can carry; move or rename it."
            )


def interpreter_of(job: Job) -> str:
    """Tell which interpreter a job names; "" if none."""
    options = dict(zip(job.arguments[1::2], job.arguments[2::2], strict=False))
    return options.get("--python", "")


def find_faults(job: Job, installation: Installation) -> list[str]:
    """List why a job would not start this installation as it is now.

    Parameters
    ----------
    job : Job
        As it is installed.
    installation : Installation
        As it is now.

    Returns
    -------
    list of str
        One phrase each; none if the job fits.
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
