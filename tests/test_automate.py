"""What cron calls works in cron's world."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STUB = """
import sys
print("stub ran with", sys.argv[1:])
print("and complained", file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """An installation in a path as nasty as they come, whose full process is a stub."""
    folder = tmp_path / 'it\'s 100% "né" $HOME'
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "fullprocess.py").write_text(STUB)
    shutil.copy(ROOT / "automate.sh", folder)
    (folder / ".python-path").write_text(f"{sys.executable}\n")
    return folder


def run_as_cron(command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as cron does: no environment, /bin/sh, another folder."""
    return subprocess.run(
        ["/usr/bin/env", "-i", "/bin/sh", "-c", command], cwd="/", capture_output=True, check=False
    )


def quote(path: Path) -> str:
    """Quote a path for a shell, in the way mlops_cronjob describes."""
    return "'" + str(path).replace("'", "'\\''") + "'"


def todays_log(installation: Path) -> Path:
    """Name the log of today."""
    return installation / "logs" / f"{datetime.now(UTC):%Y-%m-%d}.log"


def test_automate_logs_everything_and_hands_the_exit_code_on(installation: Path) -> None:
    done = run_as_cron(f"{quote(installation / 'automate.sh')} --config x.json")

    assert done.returncode == 7
    assert done.stdout + done.stderr == b""
    text = todays_log(installation).read_text()
    assert "stub ran with ['--config', 'x.json']" in text
    assert "and complained" in text


def test_automate_works_through_a_link(installation: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(installation / "automate.sh")

    assert run_as_cron(str(tmp_path / "link")).returncode == 7
    assert todays_log(installation).exists()


def test_automate_removes_old_logs_and_nothing_else(installation: Path) -> None:
    logs = installation / "logs"
    logs.mkdir()
    for name in ("2020-01-01.log", "notes.log", "2020-01-01.log.txt"):
        (logs / name).write_text("x")
        os.utime(logs / name, (1, 1))

    run_as_cron(quote(installation / "automate.sh"))

    names = {path.name for path in logs.iterdir()} - {todays_log(installation).name}
    assert names == {"notes.log", "2020-01-01.log.txt"}


def test_automate_says_that_there_is_no_interpreter(installation: Path) -> None:
    (installation / ".python-path").unlink()

    done = run_as_cron(quote(installation / "automate.sh"))

    assert done.returncode == 69
    assert b"run ./setup.sh first" in done.stderr


def test_the_cron_line_starts_the_full_process(installation: Path) -> None:
    lines = (ROOT / "mlops_cronjob").read_text().splitlines()
    (line,) = [line for line in lines if line and not line.startswith("#")]
    escaped = quote(installation).replace("%", "\\%")
    line = line.replace("'/path/to/adras'", escaped)
    schedule, command = line[:12], line[12:].lstrip()
    assert schedule == "*/10 * * * *"
    assert not re.search(r"(?<!\\)%", command)

    done = run_as_cron(command.replace("\\%", "%"))

    assert done.returncode == 7
    assert todays_log(installation).exists()
