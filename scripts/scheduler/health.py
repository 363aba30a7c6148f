"""Finds problems of the scheduled runs: overdue, failing, stuck or too frequent."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from scripts.records.runs import Row
from scripts.records.tables import Status

SCHEDULERS = ("cron", "systemd")
TOLERANCE = timedelta(minutes=1)
STUCK_AFTER = timedelta(hours=1)
STUCK_FACTOR = 5
N_SKIPPED = 3
N_TOO_FAST = 3
N_STARTS = 10


def is_scheduled(run: Row) -> bool:
    """Return whether a run was started by a scheduler, or has no recorded trigger."""
    return run.get("trigger") in (None, *SCHEDULERS)


def format_duration(duration: timedelta) -> str:
    """Format a duration with up to two units."""
    seconds = max(0, round(duration.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def last_success(runs: Sequence[Row]) -> Row | None:
    """Return the newest finished run, or None."""
    return next((run for run in runs if run["status"] == Status.FINISHED), None)


def running_run(runs: Sequence[Row]) -> Row | None:
    """Return the running run, or None."""
    return next((run for run in runs if run["status"] == Status.RUNNING), None)


def count_outcomes(runs: Sequence[Row], since: datetime) -> Counter[str]:
    """Count the runs since a moment by verdict or else by status."""
    recent = [run for run in runs if run["started_at"] >= since]
    return Counter(str(run["verdict"] or run["status"]) for run in recent)


def find_failing(runs: Sequence[Row]) -> str | None:
    """Return the problem of consecutive failures up to the last ended run, or None."""
    ended = [run for run in runs if run["status"] not in (Status.RUNNING, Status.SKIPPED)]
    failures = 0
    while failures < len(ended) and ended[failures]["status"] != Status.FINISHED:
        failures += 1
    if not failures:
        return None
    times = "the last run" if failures == 1 else f"the last {failures} runs"
    return f"failing: {times} did not succeed: {ended[0]['reason']}"


def find_stuck(runs: Sequence[Row], now: datetime) -> str | None:
    """Return the problem of a run far beyond the usual duration, or of skipped runs, or None."""
    current = running_run(runs)
    if current is not None:
        durations = [
            run["ended_at"] - run["started_at"]
            for run in runs
            if run["status"] == Status.FINISHED and run["ended_at"]
        ]
        limit = max([STUCK_AFTER, *(STUCK_FACTOR * duration for duration in durations)])
        age = now - current["started_at"]
        if age <= limit:
            return None
        return f"stuck: run {current['id']} has been running for {format_duration(age)}"
    newest = runs[:N_SKIPPED]
    if len(newest) == N_SKIPPED and all(run["status"] == Status.SKIPPED for run in newest):
        return f"stuck: the last {N_SKIPPED} runs were skipped: {newest[0]['reason']}"
    return None


def find_overdue(
    runs: Sequence[Row],
    now: datetime,
    *,
    due_after: Callable[[datetime], datetime | None],
    since: datetime | None,
    grace: timedelta,
) -> str | None:
    """Return the problem of a missing start by the scheduler, or None.

    Parameters
    ----------
    runs : sequence of mapping
        The runs, newest first.
    now : datetime
        The present.
    due_after : callable
        Returns the first time of the schedule after a moment.
    since : datetime or None
        Time of the last change of the schedule, if known.
    grace : timedelta
        Allowed delay of a run.

    Returns
    -------
    str or None
        A sentence, or None.
    """
    started = next((run["started_at"] for run in runs if is_scheduled(run)), None)
    known = [moment for moment in (started, since) if moment is not None]
    if not known:
        return "overdue: no run by the scheduler is recorded"
    # After a clock was set back, the last start lies in the future, so the present counts instead.
    last = min(max(known), now)
    due = due_after(last)
    if due is None or now <= due + grace:
        return None
    return f"overdue: a run was due at {due:%Y-%m-%d %H:%M} UTC, {format_duration(now - due)} ago"


def find_too_fast(
    runs: Sequence[Row],
    *,
    due_after: Callable[[datetime], datetime | None],
    since: datetime | None,
) -> str | None:
    """Return the problem of more starts than scheduled, as by a second job, or None."""
    starts = [
        run["started_at"]
        for run in runs
        if is_scheduled(run) and (since is None or run["started_at"] >= since)
    ][: N_STARTS + 1]
    gaps = list(zip(starts[1:], starts, strict=False))
    early = 0
    for earlier, later in gaps:
        due = due_after(earlier)
        early += due is not None and later < due - TOLERANCE
    if early < N_TOO_FAST:
        return None
    return (
        f"too fast: {early} of the last {len(gaps)} starts came before they were due; is there a"
        " second line or timer for this installation?"
    )


def find_clock_fault(runs: Sequence[Row], now: datetime) -> str | None:
    """Return the problem of a last start in the future, after a change of the clock, or None."""
    if not runs or runs[0]["started_at"] <= now + TOLERANCE:
        return None
    ahead = format_duration(runs[0]["started_at"] - now)
    return f"clock: run {runs[0]['id']} started {ahead} in the future; the clock was set"


def find_problems(
    runs: Sequence[Row],
    now: datetime,
    *,
    due_after: Callable[[datetime], datetime | None],
    since: datetime | None,
    grace: timedelta,
) -> list[str]:
    """Return the problems of the runs, worst first."""
    problems = [
        find_overdue(runs, now, due_after=due_after, since=since, grace=grace),
        find_failing(runs),
        find_stuck(runs, now),
        find_too_fast(runs, due_after=due_after, since=since),
        find_clock_fault(runs, now),
    ]
    return [problem for problem in problems if problem]
