"""A verb of the cron tool: the options that all have, and failures in one line.

What a user of the cron tool is told of a job and its runs, as names and plain words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import click

from scripts.core import artifacts
from scripts.core.config_file import find_config_path
from scripts.core.console import EXIT_IO, keep_private
from scripts.core.errors import PipelineError, ScheduleError
from scripts.records.tables import Status
from scripts.scheduler import health, schedule, scheduled_job
from scripts.scheduler.backends import BACKENDS, Backend, choose_backend
from scripts.scheduler.scheduled_job import Installation, Job

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
            return schedule.check_expression(cron)
        return default if every is None else schedule.expression_of(every)
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


def format_local_moment(moment: datetime, zone: tzinfo) -> str:
    """Spell a moment in local time and in UTC; once, if they are the same."""
    local = moment.astimezone(zone)
    utc = f"{moment:%a %Y-%m-%d %H:%M} UTC"
    return utc if local.tzname() == "UTC" else f"{local:%a %Y-%m-%d %H:%M %Z}   {utc}"


def describe_schedule(expression: str) -> str:
    """Say a schedule of an installed job in words, or what is wrong with it."""
    try:
        words = schedule.describe(expression)
    except ScheduleError as error:
        return f"NOT A SCHEDULE: {error}"
    return f"{expression}   {words[0].lower()}{words[1:]}"


def describe_next(backend: Backend, job: Job, now: datetime) -> str:
    """Say when a job starts next."""
    if job.paused_since is not None:
        return "never while it is paused"
    try:
        times = backend.next_times(job.expression, now, 1)
    except ScheduleError:
        return "never"
    return format_local_moment(times[0], schedule.local_zone()[1]) if times else "never"


def describe_state(job: Job, now: datetime) -> str:
    """Say whether a job is active, or since when it is paused."""
    if job.paused_since is None:
        return "active"
    try:
        since = datetime.fromisoformat(job.paused_since)
    except ValueError:
        return "paused by hand"
    return f"paused since {since:%Y-%m-%d %H:%M} UTC ({health.in_words(now - since)})"


def describe_run(run: health.Run | None, now: datetime) -> str:
    """Say when a run started and how it ended."""
    if run is None:
        return "none"
    took = ""
    if run["ended_at"] and run["status"] == Status.FINISHED:
        took = f", in {health.in_words(run['ended_at'] - run['started_at'])}"
    by = f", started by {run['trigger']}" if run.get("trigger") else ""
    return (
        f"{run['verdict'] or run['status']}   run {run['id']}"
        f" of {run['started_at']:%Y-%m-%d %H:%M} UTC,"
        f" {health.in_words(now - run['started_at'])} ago{took}{by}"
    )


def job_rows(
    installation: Installation, backend: Backend, job: Job, now: datetime
) -> dict[str, str]:
    """Say everything about an installed job."""
    return {
        "job": f"the full process of {installation.config_path}",
        "stands in": backend.place,
        "schedule": describe_schedule(job.expression),
        "time zone": schedule.local_zone()[0],
        "state": describe_state(job, now),
        "next run": describe_next(backend, job, now),
        "starts": job.arguments[0],
        "interpreter": scheduled_job.interpreter_of(job) or "the one that setup.sh noted",
        "logs": str(installation.folder / artifacts.LOGS),
    }


def health_rows(
    backend: Backend, job: Job | None, runs: list[health.Run], now: datetime
) -> dict[str, str]:
    """Say what the records know of the runs; runs are newest first."""
    current = health.running(runs)
    ended = [run for run in runs if run is not current]
    outcomes = health.count_outcomes(ended, now - timedelta(days=1))
    counts = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    rows = {"schedule": describe_schedule(job.expression)} if job else {}
    if current is not None:
        rows["running"] = f"run {current['id']}, for {health.in_words(now - current['started_at'])}"
    rows |= {
        "last run": describe_run(ended[0] if ended else None, now),
        "last success": describe_run(health.last_success(runs), now),
        "last 24 hours": counts or "no run",
    }
    return rows | ({"next run": describe_next(backend, job, now)} if job else {})
