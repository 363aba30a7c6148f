"""What a user of the cron tool is told of a job and its runs, as names and plain words."""

from datetime import datetime, timedelta, tzinfo

from scripts import artifacts, jobs, liveness, schedules, ticks
from scripts.backends import Backend
from scripts.database import Status
from scripts.errors import ScheduleError
from scripts.jobs import Installation, Job


def spell_moment(moment: datetime, zone: tzinfo) -> str:
    """Spell a moment in local time and in UTC; once, if they are the same."""
    local = moment.astimezone(zone)
    utc = f"{moment:%a %Y-%m-%d %H:%M} UTC"
    return utc if local.tzname() == "UTC" else f"{local:%a %Y-%m-%d %H:%M %Z}   {utc}"


def describe_schedule(expression: str) -> str:
    """Say a schedule of an installed job in words, or what is wrong with it."""
    try:
        words = schedules.describe(expression)
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
    return spell_moment(times[0], ticks.local_zone()[1]) if times else "never"


def describe_state(job: Job, now: datetime) -> str:
    """Say whether a job is active, or since when it is paused."""
    if job.paused_since is None:
        return "active"
    try:
        since = datetime.fromisoformat(job.paused_since)
    except ValueError:
        return "paused by hand"
    return f"paused since {since:%Y-%m-%d %H:%M} UTC ({liveness.in_words(now - since)})"


def describe_run(run: liveness.Run | None, now: datetime) -> str:
    """Say when a run started and how it ended."""
    if run is None:
        return "none"
    took = ""
    if run["ended_at"] and run["status"] == Status.FINISHED:
        took = f", in {liveness.in_words(run['ended_at'] - run['started_at'])}"
    by = f", started by {run['trigger']}" if run.get("trigger") else ""
    return (
        f"{run['verdict'] or run['status']}   run {run['id']}"
        f" of {run['started_at']:%Y-%m-%d %H:%M} UTC,"
        f" {liveness.in_words(now - run['started_at'])} ago{took}{by}"
    )


def job_rows(
    installation: Installation, backend: Backend, job: Job, now: datetime
) -> dict[str, str]:
    """Say everything about an installed job."""
    return {
        "job": f"the full process of {installation.config_path}",
        "stands in": backend.place,
        "schedule": describe_schedule(job.expression),
        "time zone": ticks.local_zone()[0],
        "state": describe_state(job, now),
        "next run": describe_next(backend, job, now),
        "starts": job.arguments[0],
        "interpreter": jobs.interpreter_of(job) or "the one that setup.sh noted",
        "logs": str(installation.folder / artifacts.LOGS),
    }


def health_rows(
    backend: Backend, job: Job | None, runs: list[liveness.Run], now: datetime
) -> dict[str, str]:
    """Say what the records know of the runs; runs are newest first."""
    current = liveness.running(runs)
    ended = [run for run in runs if run is not current]
    outcomes = liveness.count_outcomes(ended, now - timedelta(days=1))
    counts = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    rows = {"schedule": describe_schedule(job.expression)} if job else {}
    if current is not None:
        rows["running"] = (
            f"run {current['id']}, for {liveness.in_words(now - current['started_at'])}"
        )
    rows |= {
        "last run": describe_run(ended[0] if ended else None, now),
        "last success": describe_run(liveness.last_success(runs), now),
        "last 24 hours": counts or "no run",
    }
    return rows | ({"next run": describe_next(backend, job, now)} if job else {})
