"""Missed, stuck and failed runs are seen, also when the clock is stepped."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scripts.records.tables import Status, Verdict
from scripts.scheduler import health, schedule

NOW = datetime(2026, 11, 24, 12, 3, tzinfo=UTC)
GRACE = timedelta(minutes=5)
Runs = list[dict[str, Any]]


def due_after(moment: datetime) -> datetime:
    """Every 10 minutes."""
    return schedule.next_times("*/10 * * * *", UTC, moment, 1)[0]


def a_run(number: int, minutes_ago: float, **facts: Any) -> dict[str, Any]:
    """Return a run of 2 seconds without new data."""
    started_at = NOW - timedelta(minutes=minutes_ago)
    usual: dict[str, Any] = {
        "id": number,
        "started_at": started_at,
        "ended_at": started_at + timedelta(seconds=2),
        "status": Status.FINISHED,
        "verdict": Verdict.NOTHING_NEW,
        "reason": "nothing new",
        "trigger": "cron",
    }
    return usual | facts


def healthy() -> Runs:
    """Return the runs of an hour, newest first, 3 seconds after each tick."""
    return [a_run(10 - n, 2.95 + 10 * n) for n in range(6)]


def problems(runs: Runs, now: datetime = NOW, since: datetime | None = None) -> list[str]:
    """Return the problems of runs every 10 minutes."""
    return health.find_problems(runs, now, due_after=due_after, since=since, grace=GRACE)


def test_nothing_is_wrong_with_a_run_for_each_tick() -> None:
    assert problems(healthy()) == []


@pytest.mark.parametrize(
    ("minutes_later", "expected"),
    [
        (0, []),
        (7, []),  # 12:10: due now
        (12, []),  # 12:15: as late as it may be
        (12.1, ["overdue: a run was due at 2026-11-24 12:10 UTC, 5 min ago"]),
        (60 * 24, ["overdue: a run was due at 2026-11-24 12:10 UTC, 23 h 53 min ago"]),
    ],
)
def test_a_clock_that_steps_on_finds_the_run_overdue(
    minutes_later: float, expected: list[str]
) -> None:
    assert problems(healthy(), NOW + timedelta(minutes=minutes_later)) == expected


def test_a_clock_that_steps_back_is_a_problem_and_makes_no_run_overdue() -> None:
    assert problems(healthy(), NOW - timedelta(hours=2)) == [
        "clock: run 10 started 1 h 57 min in the future; the clock was set"
    ]


def test_a_run_by_hand_does_not_hide_that_the_scheduler_stands_still() -> None:
    runs = [
        a_run(11, 1, trigger="hand"),
        *(run | {"started_at": run["started_at"] - timedelta(hours=1)} for run in healthy()),
    ]

    assert problems(runs) == ["overdue: a run was due at 2026-11-24 11:10 UTC, 53 min ago"]


@pytest.mark.parametrize(
    ("minutes_ago", "expected"),
    [(2.9, []), (3.1, ["overdue: a run was due at 2026-11-24 12:00 UTC, 3 min ago"])],
)
def test_a_new_or_resumed_job_is_overdue_only_after_its_first_tick(
    minutes_ago: float, expected: list[str]
) -> None:
    old = [a_run(1, 5_000)]
    since = NOW - timedelta(minutes=minutes_ago)

    result = health.find_problems(
        old, NOW, due_after=due_after, since=since, grace=timedelta(minutes=2)
    )

    assert result == expected


def test_a_job_that_never_ran_and_whose_age_is_unknown_is_overdue() -> None:
    assert problems([]) == ["overdue: no run by the scheduler is recorded"]
    assert problems([], since=NOW) == []


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([Status.FINISHED, Status.FAILED], []),
        ([Status.FAILED, Status.FINISHED], ["failing: the last run did not succeed: why"]),
        ([Status.ABORTED, Status.FAILED], ["failing: the last 2 runs did not succeed: why"]),
        ([Status.SKIPPED, Status.FAILED], ["failing: the last run did not succeed: why"]),
        ([Status.RUNNING, Status.FAILED], ["failing: the last run did not succeed: why"]),
        ([Status.SKIPPED, Status.FINISHED], []),
    ],
)
def test_failing_is_what_the_last_run_that_ended_did(
    statuses: list[Status], expected: list[str]
) -> None:
    runs = [
        a_run(10 - n, 2.95 + 10 * n, status=status, reason="why")
        for n, status in enumerate(statuses)
    ]

    assert problems(runs) == expected


@pytest.mark.parametrize(
    ("minutes", "longest_minutes", "is_stuck"),
    [(59, 1, False), (61, 1, True), (61, 30, False), (149, 30, False), (151, 30, True)],
)
def test_a_run_is_stuck_after_an_hour_and_five_times_the_longest(
    minutes: int, longest_minutes: int, is_stuck: bool
) -> None:
    started_at = NOW - timedelta(days=1)
    done = a_run(
        1, 0, started_at=started_at, ended_at=started_at + timedelta(minutes=longest_minutes)
    )
    current = a_run(2, minutes, status=Status.RUNNING, ended_at=None)
    skipped = a_run(3, 3, status=Status.SKIPPED)

    expected = [
        f"stuck: run 2 has been running for {health.format_duration(timedelta(minutes=minutes))}"
    ]
    assert problems([skipped, current, done]) == (expected if is_stuck else [])


def test_three_skipped_runs_without_one_at_work_are_stuck() -> None:
    skipped = [a_run(9 - n, 3 + 10 * n, status=Status.SKIPPED, reason="busy") for n in range(3)]

    assert problems([*skipped[:2], a_run(1, 30)]) == []
    assert problems([*skipped, a_run(1, 40)]) == ["stuck: the last 3 runs were skipped: busy"]


def test_two_lines_for_one_installation_are_too_fast() -> None:
    doubled = [run for one in healthy() for run in (one | {"status": Status.SKIPPED}, one)]

    (problem,) = problems(doubled)

    assert problem.startswith("too fast: 5 of the last 10 starts came before they were due")


def test_a_schedule_that_became_slower_is_not_too_fast() -> None:
    each_minute = [a_run(50 - n, 2.95 + n) for n in range(20)]

    assert problems(each_minute) != []
    assert problems(each_minute, since=NOW - timedelta(minutes=3.5)) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"),
     (5400, "1 h 30 min"), (172_799, "47 h 59 min"), (172_800, "2 days")],
)  # fmt: skip
def test_durations_have_at_most_two_units(seconds: int, words: str) -> None:
    assert health.format_duration(timedelta(seconds=seconds)) == words


def test_outcomes_are_counted_by_verdict_or_else_by_status() -> None:
    runs = [*healthy()[:3], a_run(3, 40, status=Status.FAILED, verdict=None), a_run(2, 1_500)]

    counts = health.count_outcomes(runs, NOW - timedelta(days=1))

    assert counts == {"nothing new": 3, "failed": 1}


def test_the_last_success_and_the_run_at_work_are_found() -> None:
    current = a_run(12, 1, status=Status.RUNNING, ended_at=None)
    runs = [current, a_run(11, 3, status=Status.FAILED), *healthy()]

    assert health.running_run(runs) == current
    assert health.last_success(runs) == healthy()[0]
    assert health.last_success([current]) is None
