"""Schedules the full process with cron or systemd, and reports its health."""

import difflib
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from scripts.core import artifacts, console, terminal
from scripts.core.config_file import read_config
from scripts.core.errors import BusyError, NotMadeYetError
from scripts.records import database, runs
from scripts.records.runs import Row
from scripts.scheduler import backends, cli, health, run_logs, schedule, scheduled_job
from scripts.scheduler.cli import (
    COUNT,
    CRON,
    DRY_RUN,
    EVERY,
    FOLLOW,
    GRACE,
    LINES,
    RUN,
    CommandGroup,
    JobContext,
    add_subcommand,
    read_schedule,
)
from scripts.scheduler.scheduled_job import Job

FINE, NOT_FINE, NOT_INSTALLED, PAUSED = 0, 1, 2, 3
DEFAULT_EXPRESSION = "*/10 * * * *"
N_RUNS = 400
PROGRAM = "python -m scripts.automate"
HELP = """Schedule the full process, and check its scheduled runs.

Only the job of this installation is changed; every other line of a crontab stays as it is, byte
for byte."""


def print_rows(rows: dict[str, str]) -> None:
    """Print labels and texts in two columns."""
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        first, *others = terminal.wrap_value(value, width + 5)
        click.echo(f"  {click.style(name.ljust(width), dim=True)}   {first}")
        for line in others:
            click.echo(f"{' ' * (width + 5)}{line}")


def print_notes(context: JobContext) -> None:
    """Print further hints for the user."""
    for note in context.backend.notes(context.installation):
        click.secho(terminal.wrap(f"Note: {note}."), fg="yellow")


def read_installed(context: JobContext) -> Job:
    """Return the installed job, or refuse a missing job."""
    job = context.backend.read(context.installation)
    if job is None:
        raise NotMadeYetError(
            f"{context.installation.config_path} is not installed in {context.backend.place};"
            f" run {PROGRAM} install first."
        )
    return job


def show_difference(context: JobContext, job: Job | None) -> None:
    """Print the pending change: a new block in full, a replaced block as a diff."""
    before, after = context.backend.preview(context.installation, job)
    if before == after:
        click.echo("Nothing would change.", err=True)
    elif not before:
        click.echo(f"Would be added to {context.backend.place}; nothing else changes:", err=True)
        click.echo(after, nl=False)
    else:
        click.echo(f"Would change in {context.backend.place}; nothing else does:", err=True)
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=99, lineterm="")
        for line in list(lines)[3:]:
            click.echo(line)


def backup_row(context: JobContext, kept: Path | None) -> dict[str, str]:
    """Return the path of the crontab's backup as a label and a text, if any."""
    if kept is None or context.backend.name != "cron":
        return {}
    return {"backup": f"{kept}   (`crontab - < FILE` brings it back)"}


def write_job(context: JobContext, job: Job, message: str, *, dry_run: bool) -> None:
    """Write the job and print a report, or print the pending change."""
    if dry_run:
        show_difference(context, job)
        return
    kept = context.backend.write(context.installation, job, context.now)
    click.secho(terminal.wrap(f"{message} {context.backend.place}."), fg="green")
    print_rows(
        {
            "schedule": cli.describe_schedule(job.expression),
            "next run": cli.describe_next(context.backend, job, context.now),
            "logs": str(context.installation.folder / artifacts.LOGS),
            **backup_row(context, kept),
        }
    )
    print_notes(context)


def show(context: JobContext) -> None:
    """Show the job with the schedule and all faults."""
    installation, backend = context.installation, context.backend
    job = backend.read(installation)
    if job is None:
        terminal.echo(
            f"Not installed: nothing in {backend.place} starts {installation.config_path}."
        )
        terminal.echo(f"Install it with {PROGRAM} install.")
        print_notes(context)
        return
    print_rows(cli.job_rows(installation, backend, job, context.now))
    faults = scheduled_job.find_faults(job, installation)
    for fault in faults:
        text = f"Does not fit: {fault}. {PROGRAM} install puts it right."
        click.secho(terminal.wrap(text), fg="red")
    if not faults:
        click.secho("The line fits this installation.", fg="green")
    print_notes(context)


def install(context: JobContext, every: str | None, cron: str | None, dry_run: bool) -> None:
    """Install the job, by default every 10 minutes."""
    for name, backend_class in backends.BACKENDS.items():
        other = backend_class()
        if name != context.backend.name and backends.is_in(other, context.installation):
            raise BusyError(
                f"It is installed already, in {other.place}; two would start it twice. Remove"
                f" that one first: {PROGRAM} remove --backend {name}."
            )
    existing = context.backend.read(context.installation)
    default = existing.expression if existing else DEFAULT_EXPRESSION
    expression = schedule.check_expression(read_schedule(every, cron, default))
    job = Job(expression, context.installation.arguments)
    write_job(context, job, "Installed in", dry_run=dry_run)


def reschedule(context: JobContext, every: str | None, cron: str | None, dry_run: bool) -> None:
    """Change the schedule of the installed job."""
    if every is None and cron is None:
        raise click.UsageError("Give --every or --cron, such as --every 10m.")
    job = replace(read_installed(context), expression=read_schedule(every, cron, ""))
    write_job(context, job, "Rescheduled in", dry_run=dry_run)


def pause(context: JobContext, dry_run: bool) -> None:
    """Pause the job without a loss of the job line."""
    job = read_installed(context)
    if job.paused_since is None:
        job = replace(job, paused_since=f"{context.now:%Y-%m-%dT%H:%M:%SZ}")
    write_job(context, job, "Paused in", dry_run=dry_run)


def resume(context: JobContext, dry_run: bool) -> None:
    """Resume a paused job."""
    job = replace(read_installed(context), paused_since=None)
    write_job(context, job, "Active in", dry_run=dry_run)


def remove(context: JobContext, dry_run: bool) -> None:
    """Remove the job."""
    backend = context.backend
    if dry_run:
        show_difference(context, None)
        return
    before, _ = backend.preview(context.installation, None)
    if not before:
        terminal.echo(f"Nothing to remove: it is not installed in {backend.place}.")
        return
    kept = backend.write(context.installation, None, context.now)
    click.secho(terminal.wrap(f"Removed from {backend.place}."), fg="green")
    print_rows(backup_row(context, kept))


def next_(context: JobContext, count: int) -> None:
    """Show the next run times, in local time and in UTC."""
    job = read_installed(context)
    name, zone = schedule.local_zone()
    terminal.echo(f"{cli.describe_schedule(job.expression)}, in {name}")
    if job.paused_since is not None:
        state = cli.describe_state(job, context.now)
        click.secho(terminal.wrap(f"It is {state}; after `{PROGRAM} resume`:"), fg="yellow")
    for moment in context.backend.next_times(job.expression, context.now, count):
        click.echo(f"  {cli.format_local_moment(moment, zone)}")


def read_runs(context: JobContext) -> list[Row]:
    """Return the newest runs in the records."""
    config = read_config(context.installation.config_path)
    with database.open_records(config.database_url) as engine, database.reading(engine) as records:
        return runs.latest_runs(records, N_RUNS)


def find_problems(context: JobContext, job: Job, latest: list[Row], grace: timedelta) -> list[str]:
    """Return the problems of an active job: faults of the job line, and problems of the runs."""

    def due_after(moment: datetime) -> datetime | None:
        """Return the first start after a moment."""
        times = context.backend.next_times(job.expression, moment, 1)
        return times[0] if times else None

    return [
        *(f"line: {fault}" for fault in scheduled_job.find_faults(job, context.installation)),
        *health.find_problems(
            latest,
            context.now,
            due_after=due_after,
            since=context.backend.changed_at(context.installation),
            grace=grace,
        ),
    ]


def status(context: JobContext, grace: float) -> None:
    """Report problems, with exit code 0 fine, 1 not fine, 2 not installed, 3 paused."""
    job = context.backend.read(context.installation)
    latest = read_runs(context)
    problems: list[str] = []
    if job is None:
        click.secho("NOT INSTALLED", fg="red", bold=True)
        code = NOT_INSTALLED
    elif job.paused_since is not None:
        click.secho(cli.describe_state(job, context.now).upper(), fg="yellow", bold=True)
        code = PAUSED
    else:
        problems = find_problems(context, job, latest, timedelta(minutes=grace))
        code = NOT_FINE if problems else FINE
        click.secho(
            "NOT FINE" if problems else "FINE", fg="red" if problems else "green", bold=True
        )
    for problem in problems:
        click.secho(terminal.wrap(f"  {problem}"), fg="red")
    print_rows(cli.health_rows(context.backend, job, latest, context.now))
    sys.exit(code)


def logs(context: JobContext, count: int, follow: bool, run_id: int | None) -> None:
    """Show the end of the log, or the lines of a run."""
    folder = context.installation.folder / artifacts.LOGS
    if run_id is not None and follow:
        raise click.UsageError("--run and --follow exclude each other.")
    if run_id is not None:
        click.echo("".join(run_logs.lines_of_run(folder, run_id)), nl=False)
        return
    # Opened before the last lines are read, so that no line is missed in between.
    new_lines = run_logs.follow(folder) if follow else iter(())
    lines = run_logs.last_lines(folder, count)
    click.echo("".join(lines), nl=False)
    if not lines and not follow:
        click.echo(f"{folder} has no log yet: no scheduled run has been started.", err=True)
    try:
        for line in new_lines:
            click.echo(line, nl=False)
    except KeyboardInterrupt:
        click.echo()


def make_program() -> click.Group:
    """Return the command line with its subcommands."""
    subcommands: dict[Callable[..., None], tuple[Callable[[Any], Any], ...]] = {
        show: (),
        install: (EVERY, CRON, DRY_RUN),
        reschedule: (EVERY, CRON, DRY_RUN),
        pause: (DRY_RUN,),
        resume: (DRY_RUN,),
        remove: (DRY_RUN,),
        next_: (COUNT,),
        status: (GRACE,),
        logs: (LINES, FOLLOW, RUN),
    }
    program = CommandGroup(help=HELP)
    for function, options in subcommands.items():
        add_subcommand(program, function, *options)
    return program


if __name__ == "__main__":
    console.run_program(make_program())
