"""Defines options and texts of the `automate` command line."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from scripts.core import artifacts
from scripts.core.config_file import find_config_path
from scripts.core.console import EXIT_IO, keep_private
from scripts.core.errors import PipelineError, ScheduleError
from scripts.records.runs import Row
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
        help="Scheduler of the job (default: that of the installed job, else cron).",
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
RUN = click.option("--run", "run_id", metavar="ID", type=click.IntRange(1), help="Only this run.")


class JobContext(Struct, frozen=True):
    """Installation, backend and time of a command."""

    installation: Installation
    backend: Backend
    now: datetime


class CommandFailure(click.ClickException):
    """Expected failure, printed by click in one line, with its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        # click declares an exit code per class; here each failure has its own.
        self.exit_code = exit_code  # type: ignore[misc]


class CommandGroup(click.Group):
    """Group of commands with expected failures in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        keep_private()
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            raise CommandFailure(str(error), error.exit_code) from error
        except OSError as error:
            raise CommandFailure(f"Input or output failed: {error}.", EXIT_IO) from error


def read_schedule(every: str | None, cron: str | None, default: str) -> str:
    """Return the schedule in --every or --cron, or the default."""
    if every is not None and cron is not None:
        raise click.UsageError("--every and --cron exclude each other; give one of them.")
    try:
        if cron is not None:
            return schedule.check_expression(cron)
        return default if every is None else schedule.parse_interval(every)
    except ScheduleError as error:
        name = "--every" if cron is None else "--cron"
        raise click.BadParameter(str(error), param_hint=name) from error


def add_subcommand(
    program: click.Group, function: Callable[..., None], *options: Callable[[Any], Any]
) -> None:
    """Add a function as a subcommand.

    Parameters
    ----------
    program : click.Group
        The group. Name and help of the subcommand are those of the function.
    function : callable
        Takes the JobContext, and the options by name.
    *options : callable
        Results of click.option.
    """

    def call(config_path: Path | None, backend: str | None, **chosen: Any) -> None:
        """Run the function for the installed backend."""
        installation = Installation(find_config_path(config_path).resolve())
        chosen_backend = choose_backend(backend, installation)
        function(JobContext(installation, chosen_backend, datetime.now(UTC)), **chosen)

    call.__doc__ = function.__doc__
    decorated: Any = call
    for option in reversed((*options, *OPTIONS)):
        decorated = option(decorated)
    program.command(function.__name__.removesuffix("_"))(decorated)


def format_local_moment(moment: datetime, zone: tzinfo) -> str:
    """Format a moment in local time and in UTC, or only once if equal."""
    local = moment.astimezone(zone)
    utc = f"{moment:%a %Y-%m-%d %H:%M} UTC"
    return utc if local.tzname() == "UTC" else f"{local:%a %Y-%m-%d %H:%M %Z}   {utc}"


def describe_schedule(expression: str) -> str:
    """Return the schedule of an installed job with its description, or the error."""
    try:
        words = schedule.describe(expression)
    except ScheduleError as error:
        return f"NOT A SCHEDULE: {error}"
    return f"{expression}   {words[0].lower()}{words[1:]}"


def describe_next(backend: Backend, job: Job, now: datetime) -> str:
    """Return the next start of a job as text."""
    if job.paused_since is not None:
        return "never while it is paused"
    try:
        times = backend.next_times(job.expression, now, 1)
    except ScheduleError:
        return "never"
    return format_local_moment(times[0], schedule.local_zone()[1]) if times else "never"


def describe_state(job: Job, now: datetime) -> str:
    """Return the state of a job as text: active, or the duration of the pause."""
    if job.paused_since is None:
        return "active"
    try:
        since = datetime.fromisoformat(job.paused_since)
    except ValueError:
        return "paused by hand"
    return f"paused since {since:%Y-%m-%d %H:%M} UTC ({health.format_duration(now - since)})"


def describe_run(run: Row | None, now: datetime) -> str:
    """Return start, end and result of a run as text."""
    if run is None:
        return "none"
    duration = ""
    if run["ended_at"] and run["status"] == Status.FINISHED:
        duration = f", in {health.format_duration(run['ended_at'] - run['started_at'])}"
    by = f", started by {run['trigger']}" if run.get("trigger") else ""
    return (
        f"{run['verdict'] or run['status']}   run {run['id']}"
        f" of {run['started_at']:%Y-%m-%d %H:%M} UTC,"
        f" {health.format_duration(now - run['started_at'])} ago{duration}{by}"
    )


def job_rows(
    installation: Installation, backend: Backend, job: Job, now: datetime
) -> dict[str, str]:
    """Return the description of an installed job as labels and texts."""
    return {
        "job": f"the full process of {installation.config_path}",
        "stands in": backend.place,
        "schedule": describe_schedule(job.expression),
        "time zone": schedule.local_zone()[0],
        "state": describe_state(job, now),
        "next run": describe_next(backend, job, now),
        "starts": job.arguments[0],
        "interpreter": scheduled_job.interpreter_of(job) or "the interpreter noted by setup.sh",
        "logs": str(installation.folder / artifacts.LOGS),
    }


def health_rows(
    backend: Backend, job: Job | None, runs: list[Row], now: datetime
) -> dict[str, str]:
    """Return the summary of the runs, newest first, as labels and texts."""
    current = health.running_run(runs)
    ended = [run for run in runs if run is not current]
    outcomes = health.count_outcomes(ended, now - timedelta(days=1))
    counts = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    rows = {"schedule": describe_schedule(job.expression)} if job else {}
    if current is not None:
        rows["running"] = (
            f"run {current['id']}, for {health.format_duration(now - current['started_at'])}"
        )
    rows |= {
        "last run": describe_run(ended[0] if ended else None, now),
        "last success": describe_run(health.last_success(runs), now),
        "last 24 hours": counts or "no run",
    }
    return rows | ({"next run": describe_next(backend, job, now)} if job else {})
