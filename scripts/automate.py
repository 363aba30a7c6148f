"""Has cron or systemd start the full process, and tells whether it is alive."""

import difflib
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from scripts.core import artifacts
from scripts.core.config_file import read_config
from scripts.core.errors import BusyError, NotMadeYetError
from scripts.records import database, runs
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
    Commands,
    Context,
    add_verb,
    read_schedule,
)
from scripts.scheduler.scheduled_job import Job

FINE, NOT_FINE, NOT_INSTALLED, PAUSED = 0, 1, 2, 3
DEFAULT_EXPRESSION = "*/10 * * * *"
N_RUNS = 400
PROGRAM = "python -m scripts.automate"
HELP = """Have the full process run by itself, and see whether it does.

Only the job of this installation is touched; every other line of a crontab stays as it is, byte
for byte."""


def print_rows(rows: dict[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        click.echo(f"  {click.style(name.ljust(width), dim=True)}   {value}")


def print_notes(context: Context) -> None:
    """Print what a user should know besides."""
    for note in context.backend.notes(context.installation):
        click.secho(f"Note: {note}.", fg="yellow")


def read_installed(context: Context) -> Job:
    """Read the job, which must be there."""
    job = context.backend.read(context.installation)
    if job is None:
        raise NotMadeYetError(
            f"{context.installation.config_path} is not installed in {context.backend.place};"
            f" run {PROGRAM} install first."
        )
    return job


def show_difference(context: Context, job: Job | None) -> None:
    """Print what would change: new lines as they are, replaced ones as a difference."""
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


def backup_row(context: Context, kept: Path | None) -> dict[str, str]:
    """Say where the old crontab is kept."""
    if kept is None or context.backend.name != "cron":
        return {}
    return {"backup": f"{kept}   (`crontab - < FILE` brings it back)"}


def write_job(context: Context, job: Job, done: str, *, dry_run: bool) -> None:
    """Write the job, or show what would be written, and tell."""
    if dry_run:
        show_difference(context, job)
        return
    kept = context.backend.write(context.installation, job, context.now)
    click.secho(f"{done} {context.backend.place}.", fg="green")
    print_rows(
        {
            "schedule": cli.describe_schedule(job.expression),
            "next run": cli.describe_next(context.backend, job, context.now),
            "logs": str(context.installation.folder / artifacts.LOGS),
            **backup_row(context, kept),
        }
    )
    print_notes(context)


def show(context: Context) -> None:
    """Show the job, its schedule in words, and whether it still fits."""
    installation, backend = context.installation, context.backend
    job = backend.read(installation)
    if job is None:
        click.echo(f"Not installed: nothing in {backend.place} starts {installation.config_path}.")
        click.echo(f"Install it with {PROGRAM} install.")
        print_notes(context)
        return
    print_rows(cli.job_rows(installation, backend, job, context.now))
    faults = scheduled_job.find_faults(job, installation)
    for fault in faults:
        click.secho(f"Does not fit: {fault}. {PROGRAM} install puts it right.", fg="red")
    if not faults:
        click.secho("The line fits this installation.", fg="green")
    print_notes(context)


def install(context: Context, every: str | None, cron: str | None, dry_run: bool) -> None:
    """Install the job, every 10 minutes unless told otherwise."""
    for name, make in backends.BACKENDS.items():
        other = make()
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


def reschedule(context: Context, every: str | None, cron: str | None, dry_run: bool) -> None:
    """Change the schedule of the installed job."""
    if every is None and cron is None:
        raise click.UsageError("Give --every or --cron, such as --every 10m.")
    job = replace(read_installed(context), expression=read_schedule(every, cron, ""))
    write_job(context, job, "Rescheduled in", dry_run=dry_run)


def pause(context: Context, dry_run: bool) -> None:
    """Stop starting the job, and keep its line."""
    job = read_installed(context)
    if job.paused_since is None:
        job = replace(job, paused_since=f"{context.now:%Y-%m-%dT%H:%M:%SZ}")
    write_job(context, job, "Paused in", dry_run=dry_run)


def resume(context: Context, dry_run: bool) -> None:
    """Start the job again as scheduled."""
    job = replace(read_installed(context), paused_since=None)
    write_job(context, job, "Active in", dry_run=dry_run)


def remove(context: Context, dry_run: bool) -> None:
    """Remove the job, and nothing else."""
    backend = context.backend
    if dry_run:
        show_difference(context, None)
        return
    before, _ = backend.preview(context.installation, None)
    if not before:
        click.echo(f"Nothing to remove: it is not installed in {backend.place}.")
        return
    kept = backend.write(context.installation, None, context.now)
    click.secho(f"Removed from {backend.place}.", fg="green")
    print_rows(backup_row(context, kept))


def next_(context: Context, count: int) -> None:
    """List the next run times, in local time and in UTC."""
    job = read_installed(context)
    name, zone = schedule.local_zone()
    click.echo(f"{cli.describe_schedule(job.expression)}, in {name}")
    if job.paused_since is not None:
        state = cli.describe_state(job, context.now)
        click.secho(f"It is {state}; after `{PROGRAM} resume`:", fg="yellow")
    for moment in context.backend.next_times(job.expression, context.now, count):
        click.echo(f"  {cli.format_local_moment(moment, zone)}")


def read_runs(context: Context) -> list[health.Run]:
    """Read the newest runs from the records."""
    config = read_config(context.installation.config_path)
    with database.open_records(config.database_url) as engine, database.reading(engine) as records:
        return runs.latest_runs(records, N_RUNS)


def find_problems(
    context: Context, job: Job, runs: list[health.Run], grace: timedelta
) -> list[str]:
    """List what is wrong with an active job: its line, and what the records say."""

    def due_after(moment: datetime) -> datetime | None:
        times = context.backend.next_times(job.expression, moment, 1)
        return times[0] if times else None

    return [
        *(f"line: {fault}" for fault in scheduled_job.find_faults(job, context.installation)),
        *health.find_problems(
            runs,
            context.now,
            due_after=due_after,
            since=context.backend.changed_at(context.installation),
            grace=grace,
        ),
    ]


def status(context: Context, grace: float) -> None:
    """Tell whether it is alive; exit code 0 fine, 1 not fine, 2 not installed, 3 paused."""
    job = context.backend.read(context.installation)
    runs = read_runs(context)
    problems: list[str] = []
    if job is None:
        click.secho("NOT INSTALLED", fg="red", bold=True)
        code = NOT_INSTALLED
    elif job.paused_since is not None:
        click.secho(cli.describe_state(job, context.now).upper(), fg="yellow", bold=True)
        code = PAUSED
    else:
        problems = find_problems(context, job, runs, timedelta(minutes=grace))
        code = NOT_FINE if problems else FINE
        click.secho(
            "NOT FINE" if problems else "FINE", fg="red" if problems else "green", bold=True
        )
    for problem in problems:
        click.secho(f"  {problem}", fg="red")
    print_rows(cli.health_rows(context.backend, job, runs, context.now))
    sys.exit(code)


def logs(context: Context, count: int, follow: bool, run_id: int | None) -> None:
    """Show the end of the log, or the lines of one run."""
    folder = context.installation.folder / artifacts.LOGS
    if run_id is not None and follow:
        raise click.UsageError("--run and --follow exclude each other.")
    if run_id is not None:
        click.echo("".join(run_logs.lines_of_run(folder, run_id)), nl=False)
        return
    # Opened before the last lines are read, so that none is missed between the two.
    coming = run_logs.follow(folder) if follow else iter(())
    lines = run_logs.last_lines(folder, count)
    click.echo("".join(lines), nl=False)
    if not lines and not follow:
        click.echo(f"{folder} has no log yet: no scheduled run has been started.", err=True)
    try:
        for line in coming:
            click.echo(line, nl=False)
    except KeyboardInterrupt:
        click.echo()


def make_program() -> click.Group:
    """Put the verbs together."""
    verbs: dict[Callable[..., None], tuple[Callable[[Any], Any], ...]] = {
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
    program = Commands(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
    for work, options in verbs.items():
        add_verb(program, work, *options)
    return program


if __name__ == "__main__":
    make_program()(prog_name=PROGRAM)
