"""The table of past runs and the plan of the next run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts import fullprocess
from scripts.core import artifacts
from scripts.core.config import Config
from scripts.core.console import make_command
from scripts.core.errors import NotMadeYetError, RecordsError
from scripts.pipeline import history, steps
from scripts.pipeline.run import Request
from scripts.records import database, runs
from scripts.records.tables import Status, Verdict
from tests.conftest import make_rows, write_csv

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what a run does after its decision."""
    monkeypatch.setattr(steps, "report", lambda *_arguments: None)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """List everything in a folder with its size and time."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")
    }


def test_runs_are_shown_newest_last_with_what_they_came_to(config: Config) -> None:
    with database.open_records(config.database_url) as engine, database.writing(engine) as rows:
        first = runs.start_run(rows, NOW, trigger="cron")
        runs.end_run(
            rows, first, status=Status.FINISHED, verdict=Verdict.DEPLOYED, reason="better",
            ended_at=NOW + timedelta(seconds=4.25), candidate_f1=0.75, release="0001_x",
        )  # fmt: skip
        second = runs.start_run(rows, NOW + timedelta(minutes=10), trigger="hand")
        runs.end_run(
            rows, second, status=Status.FAILED, reason="failed in ingestion", error="a\nb",
            ended_at=NOW + timedelta(minutes=11, seconds=1),
        )  # fmt: skip
        runs.start_run(rows, NOW + timedelta(minutes=20))

    lines = history.format_runs(history.read_runs(config, 2)).splitlines()
    whole = history.format_runs(history.read_runs(config, 20)).splitlines()

    assert len(lines) == 3
    assert len(whole) == 4
    assert whole[1].split() == [
        "1", "2026-03-01", "12:00:00", "4.2", "s", "cron", "deployed", "0.7500", "0001_x", "better",
    ]  # fmt: skip
    assert lines[1].split()[:8] == [
        "2", "2026-03-01", "12:10:00", "1", "min", "1", "s", "hand",
    ]  # fmt: skip
    assert lines[1].endswith("failed in ingestion a b")
    assert lines[2].split()[-1] == "running"


def test_there_is_no_history_before_the_first_run_and_none_is_made(config: Config) -> None:
    before = tree(config.prod_deployment_path.parent)

    with pytest.raises(NotMadeYetError, match=r"no records in .*adras\.db yet; run python"):
        history.read_runs(config, 20)

    assert tree(config.prod_deployment_path.parent) == before


def test_what_a_run_would_do_is_foreseen_and_nothing_is_written(config: Config) -> None:
    folder = config.prod_deployment_path.parent
    before = tree(folder)

    first = history.describe_plan(config, None)

    assert tree(folder) == before
    assert first.splitlines() == [
        "A run would train: no earlier run has a verdict.",
        "It would train on 2 input files, compare on 1 test files, and deploy it, as nothing is in"
        " production.",
    ]
    fullprocess.main(config)
    idle = tree(folder)
    assert "A run would do nothing: files and settings are those of run 1" in history.describe_plan(
        config, None
    )
    assert "A run would train: forced (a check)." in history.describe_plan(config, "a check")
    assert tree(folder) == idle
    write_csv(config.input_folder_path / "c.csv", make_rows(40, 3))
    words = history.describe_plan(config, None)
    assert "A run would train: new input files 'c.csv'." in words
    assert "deploy it if it is better than release 0001_" in words


def test_a_run_at_work_is_foreseen_too(config: Config) -> None:
    fullprocess.main(config)
    with database.open_records(config.database_url) as engine, database.writing(engine) as rows:
        runs.start_run(rows, NOW)

    assert history.describe_plan(config, None).startswith("Run 2 is at work or was killed")


def test_old_records_are_not_changed_by_asking(config: Config) -> None:
    with database.open_records(config.database_url) as engine, database.writing(engine) as rows:
        rows.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")

    with pytest.raises(RecordsError, match="the next run brings them up to date"):
        history.describe_plan(config, None)


def test_a_forced_run_trains_although_nothing_is_new_and_says_why(config: Config) -> None:
    fullprocess.main(config)

    verdict = fullprocess.main(config, request=Request("hand", "new library"))

    (run,) = history.read_runs(config, 1)
    assert verdict is Verdict.HELD
    assert run["reason"].startswith("forced (new library): the candidate is not better")
    assert len(list(config.output_model_path.glob("model_*.json"))) == 2
    assert artifacts.current_target(config.prod_deployment_path) is not None
    assert fullprocess.main(config) is Verdict.NOTHING_NEW


@pytest.mark.parametrize("reason", ["", " ", "\n"])
def test_a_forced_run_needs_a_reason(config_path: Path, reason: str) -> None:
    command = make_command(fullprocess.show_or_start, fullprocess.OPTIONS)

    refused = CliRunner().invoke(command, ["--config", str(config_path), "--force", reason])

    assert refused.exit_code == 2
    assert "it is empty; say for example --force" in refused.stderr
