"""`automate.sh` in the environment of cron, and the size of its logs."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.scheduler import crontab_block
from scripts.scheduler.scheduled_job import Installation, Job

ROOT = Path(__file__).parent.parent
STUB = """
import os
import sys
print("stub ran with", sys.argv[1:], "by", os.environ.get("ADRAS_TRIGGER"))
print("and complained", file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """Return an installation in a path with special characters and a stub of the full process."""
    folder = tmp_path / 'it\'s 100% "né" $HOME'
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "fullprocess.py").write_text(STUB)
    (folder / "config.json").write_text("{}")
    shutil.copy(ROOT / "automate.sh", folder)
    (folder / ".python-path").write_text(f"{sys.executable}\n")
    return folder


def run_as_cron(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as cron does: no environment, /bin/sh, another folder."""
    variables = [f"{name}={value}" for name, value in environment.items()]
    return subprocess.run(
        ["/usr/bin/env", "-i", *variables, "/bin/sh", "-c", command],
        cwd="/",
        capture_output=True,
        check=False,
    )


def start(installation: Path, *arguments: str, **environment: str) -> int:
    """Start automate.sh like cron, and return the exit code."""
    words = [str(installation / "automate.sh"), *arguments]
    command = " ".join(os.fsdecode(crontab_block.quote(word.encode())) for word in words)
    return run_as_cron(command.replace("\\%", "%"), **environment).returncode


def logs_of(installation: Path) -> list[str]:
    """List the names in the folder of the logs."""
    return sorted(path.name for path in (installation / "logs").iterdir())


def today() -> str:
    """Return the date in the format of the log names."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def test_automate_logs_everything_and_hands_the_exit_code_on(installation: Path) -> None:
    assert start(installation, "--config", "x.json") == 7

    (name,) = logs_of(installation)
    text = (installation / "logs" / name).read_text()
    assert name == f"{today()}.log"
    assert "stub ran with ['--config', 'x.json'] by cron" in text
    assert "and complained" in text


def test_automate_says_who_started_it_if_it_was_told(installation: Path) -> None:
    start(installation, ADRAS_TRIGGER="systemd")

    assert "by systemd" in (installation / "logs" / f"{today()}.log").read_text()


def test_automate_works_through_a_link(installation: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(installation / "automate.sh")

    assert run_as_cron(str(tmp_path / "link")).returncode == 7
    assert logs_of(installation) == [f"{today()}.log"]


def test_the_installed_line_starts_the_full_process(installation: Path) -> None:
    (installation / ".python-path").unlink()
    job = Job("@daily", Installation(installation / "config.json", folder=installation).arguments)
    line = crontab_block.format_job_line(job).decode().removeprefix("@daily ")

    assert "%" not in line.replace("\\%", "")
    done = run_as_cron(line.replace("\\%", "%"))
    assert done.returncode == 7
    assert done.stdout + done.stderr == b""
    assert logs_of(installation) == [f"{today()}.log"]


def test_automate_says_that_there_is_no_interpreter_also_in_the_log(installation: Path) -> None:
    done = run_as_cron(f"'{installation.parent}'/*/automate.sh --python /no/python")

    assert done.returncode == 69
    assert b"no interpreter at /no/python; run ./setup.sh" in done.stderr
    assert "no interpreter" in (installation / "logs" / f"{today()}.log").read_text()


def test_a_full_log_becomes_a_part_of_its_day(installation: Path) -> None:
    for _ in range(3):
        start(installation, ADRAS_LOG_MAX_BYTES="10")

    day = today()
    assert logs_of(installation) == [f"{day}.001.log", f"{day}.002.log", f"{day}.log"]
    for name in logs_of(installation):
        assert (installation / "logs" / name).read_text().count("stub ran") == 1


def test_a_log_within_the_limit_goes_on(installation: Path) -> None:
    for _ in range(3):
        start(installation)

    assert (installation / "logs" / f"{today()}.log").read_text().count("stub ran") == 3


def test_logs_are_removed_by_age_and_nothing_else_is(installation: Path) -> None:
    logs = installation / "logs"
    logs.mkdir()
    ours = ("2020-01-01.log", "2020-01-01.001.log")
    others = ("notes.log", "2020-01-01.log.txt", "2020-01-01-mine.log", "crontab_1.txt")
    for name in (*ours, *others):
        (logs / name).write_text("x")
        os.utime(logs / name, (1, 1))

    start(installation)

    assert set(logs_of(installation)) == {*others, f"{today()}.log"}


def test_logs_are_removed_by_number_oldest_first(installation: Path) -> None:
    logs = installation / "logs"
    logs.mkdir()
    for number in range(1, 61):
        (logs / f"2026-01-01.{number:03}.log").write_text("x")

    start(installation)

    names = logs_of(installation)
    assert len(names) == 50
    assert names[0] == "2026-01-01.012.log"
    assert names[-1] == f"{today()}.log"
