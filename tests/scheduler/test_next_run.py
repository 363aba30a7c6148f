"""When the full process is started next."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts.core.errors import SchedulerError
from scripts.scheduler import cron, next_run, scheduled_job, systemd
from scripts.scheduler.scheduled_job import Installation, Job

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> list[Job | None]:
    """Return the list with the job in the crontab, for changes by a test."""
    held: list[Job | None] = [None]
    monkeypatch.setattr(systemd.Systemd, "read", lambda *_: None)
    monkeypatch.setattr(cron.Cron, "read", lambda *_: held[0])
    monkeypatch.setattr("scripts.scheduler.schedule.local_zone", lambda: ("UTC", UTC))
    return held


def make_job(paused_since: str | None = None) -> Job:
    """Return a job with a run every ten minutes."""
    return Job("*/10 * * * *", ("automate.sh",), paused_since)


def test_the_next_run_is_that_of_the_schedule(config_path: Path, job: list[Job | None]) -> None:
    job[0] = make_job()

    upcoming = next_run.find_next_run(config_path, NOW)

    assert upcoming.at == datetime(2026, 11, 24, 9, 10, tzinfo=UTC)
    assert upcoming.schedule.lower() == "every 10 minutes"


def test_without_a_job_the_text_names_the_command_to_install_one(
    config_path: Path, job: list[Job | None]
) -> None:
    assert next_run.find_next_run(config_path, NOW) == next_run.NextRun()
    assert "scripts.automate install" in next_run.NONE


def test_the_text_of_a_paused_job_names_the_command_to_resume(
    config_path: Path, job: list[Job | None]
) -> None:
    job[0] = make_job("2026-11-24T08:00:00+00:00")

    upcoming = next_run.find_next_run(config_path, NOW)

    assert upcoming.at is None
    assert "resume" in upcoming.text


def test_an_unreadable_crontab_is_described(
    config_path: Path, job: list[Job | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Job:
        raise SchedulerError("There is no crontab command here.")

    monkeypatch.setattr(cron.Cron, "read", fail)

    assert "no crontab command" in next_run.find_next_run(config_path, NOW).text


def test_the_crontab_is_asked_once_a_minute_and_when_a_run_is_past(
    config_path: Path, job: list[Job | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job[0] = make_job()
    asked: list[Path] = []

    def note(path: Path) -> Installation:
        asked.append(path)
        return Installation(path)

    monkeypatch.setattr(scheduled_job, "Installation", note)
    schedule = next_run.NextRunCache(config_path)

    first = [schedule.next_run(NOW) for _ in range(3)]
    later = schedule.next_run(NOW + timedelta(minutes=6))

    assert len(asked) == 2
    assert asked[0] == config_path.resolve()
    assert {upcoming.at for upcoming in first} == {datetime(2026, 11, 24, 9, 10, tzinfo=UTC)}
    assert later.at == datetime(2026, 11, 24, 9, 20, tzinfo=UTC)
