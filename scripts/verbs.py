"""A verb of the cron tool: the options that all have, and failures in one line."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from scripts import schedules
from scripts.backends import BACKENDS, Backend, choose_backend
from scripts.configfile import find_config_path
from scripts.console import EXIT_IO, keep_private
from scripts.errors import PipelineError, ScheduleError
from scripts.jobs import Installation

OPTIONS = (
    click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Another config.json (default: $ADRAS_CONFIG, else the one beside scripts).",
    ),
    click.option(
        "--backend",
        type=click.Choice(list(BACKENDS)),
        help="Where the job stands (default: where it is installed, else cron).",
    ),
)

EVERY = click.option("--every", metavar="INTERVAL", help="Such as 10m (the default), 2h or 1d.")
CRON = click.option("--cron", metavar="SCHEDULE", help='Five fields or a name: "*/10 * * * *".')
DRY_RUN = click.option("--dry-run", is_flag=True, help="Show the difference and change nothing.")
COUNT = click.option("-n", "count", type=click.IntRange(1, 1000), default=5, help="How many (5).")
GRACE = click.option(
    "--grace",
    metavar="MINUTES",
    type=click.FloatRange(0, 1440),
    default=5.0,
    help="How late a run may be before it is overdue (5).",
)
LINES = click.option("-n", "count", type=click.IntRange(0), default=50, help="How many lines (50).")
FOLLOW = click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
RUN = click.option("--run", "run_id", metavar="ID", type=click.IntRange(1), help="Only one run.")


@dataclass(frozen=True)
class Context:
    """What every verb works on."""

    installation: Installation
    backend: Backend
    now: datetime


class Failure(click.ClickException):
    """An expected failure, which click prints in one line, with the exit code it has here."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        # One of the class for click, one of each failure here.
        self.exit_code = exit_code  # type: ignore[misc]


class Commands(click.Group):
    """Verbs whose expected failures are one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        keep_private()
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            raise Failure(str(error), error.exit_code) from error
        except OSError as error:
            raise Failure(f"Input or output failed: {error}.", EXIT_IO) from error


def read_schedule(every: str | None, cron: str | None, default: str) -> str:
    """Turn --every or --cron into a schedule."""
    if every is not None and cron is not None:
        raise click.UsageError("--every and --cron exclude each other; give one of them.")
    try:
        if cron is not None:
            return schedules.check_expression(cron)
        return default if every is None else schedules.expression_of(every)
    except ScheduleError as error:
        name = "--every" if cron is None else "--cron"
        raise click.BadParameter(str(error), param_hint=name) from error


def add_verb(
    program: click.Group, work: Callable[..., None], *options: Callable[[Any], Any]
) -> None:
    """Make a function a verb.

    Parameters
    ----------
    program : click.Group
        Gets the verb; its name is that of the function, and its help the docstring.
    work : callable
        Takes the Context, and the options by name.
    *options : callable
        Made by click.option.
    """

    def call(config_path: Path | None, backend: str | None, **chosen: Any) -> None:
        installation = Installation(find_config_path(config_path).resolve())
        chosen_backend = choose_backend(backend, installation)
        work(Context(installation, chosen_backend, datetime.now(UTC)), **chosen)

    call.__doc__ = work.__doc__
    decorated: Any = call
    for option in reversed((*options, *OPTIONS)):
        decorated = option(decorated)
    program.command(work.__name__.removesuffix("_"))(decorated)
