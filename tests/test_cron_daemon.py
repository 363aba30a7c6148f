"""A real cron daemon starts a real full process, and one that overlaps is recorded as skipped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scripts.core import artifacts, files
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.records import database, runs, tables
from tests.conftest import SMALL_ROWS, TEST_ROWS, write_csv
from tests.support import sandbox

ROOT = Path(__file__).parent.parent
# No table but those of the spool, and no daemon's lock of this machine.
DAEMON = (
    "mount -t tmpfs none /run && mount -t tmpfs none /etc/cron.d"
    " && mount --bind /dev/null /etc/crontab && exec cron -f"
)


def write_config(path: Path, name: str) -> Config:
    """Write a config of an installation with folders of its own."""
    folder = path.parent / name
    write_csv(folder / "input" / "a.csv", SMALL_ROWS)
    write_csv(folder / "test" / "test.csv", TEST_ROWS)
    settings = {
        "input_folder_path": f"{name}/input",
        "output_folder_path": f"{name}/output",
        "test_data_path": f"{name}/test",
        "output_model_path": f"{name}/models",
        "prod_deployment_path": f"{name}/prod",
        "database_url": f"sqlite:///{name}/adras.db",
        "api": {"port": 1},
    }
    path.write_text(json.dumps(settings))
    return read_config(path)


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """The programs in a path as nasty as they come."""
    folder = tmp_path / 'it\'s 100% "né" $HOME'
    folder.mkdir()
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copy(ROOT / "automate.sh", folder)
    return folder


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A cron daemon and a crontab command with a spool of their own."""
    sandbox.skip_or_fail(sandbox.why_not("cron") or sandbox.why_not("crontab"))
    spool = tmp_path / "spool"
    spool.mkdir()
    shutil.chown(spool, "root", "crontab")
    sandbox.write_wrapper(tmp_path / "bin", spool)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    process = subprocess.Popen(
        sandbox.inside(spool, "sh", "-c", DAEMON),
        start_new_session=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    comm = Path(f"/proc/{process.pid}/comm")
    while process.poll() is None and comm.read_text().strip() != "cron":
        time.sleep(0.1)
    # Debian's cron never sees a table that is written in the very second in which it starts: it
    # compares times of change in whole seconds.
    time.sleep(2)
    yield process
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def automate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb of an installation."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.automate", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def wait_for(config: Config, is_wanted: Callable[[Any], bool], timeout_s: float) -> runs.Row:
    """Wait until the records have a run of a kind."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with (
            database.open_records(config.database_url) as engine,
            database.reading(engine) as records,
        ):
            found = [run for run in runs.latest_runs(records, 50) if is_wanted(run)]
        if found:
            return found[-1]
        time.sleep(1)
    raise AssertionError(f"no such run within {timeout_s} s")


def test_a_real_daemon_starts_a_real_full_process_within_its_minute(
    installation: Path, daemon: subprocess.Popen[bytes]
) -> None:
    free = write_config(installation / "config.json", "one")
    busy = write_config(installation / "other config.json", "two")
    every_minute = ("install", "--cron", "* * * * *")
    installed_at = datetime.now(UTC)

    first = automate(installation, *every_minute)
    with files.exclusive_lock(busy.prod_deployment_path):
        second = automate(installation, *every_minute, "--config", "other config.json")
        skipped = wait_for(busy, lambda run: run["status"] == tables.Status.SKIPPED, 100)
    done = wait_for(free, lambda run: run["status"] == tables.Status.FINISHED, 120)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert daemon.poll() is None
    assert done["verdict"] == tables.Verdict.DEPLOYED
    assert skipped["trigger"] == done["trigger"] == "cron"
    # The next full minute is at most 60 s away; starting Python takes a moment.
    assert (done["started_at"] - installed_at).total_seconds() < 90
    assert artifacts.current_target(free.prod_deployment_path) is not None
    status = automate(installation, "status")
    assert status.returncode == 0, status.stdout
    assert status.stdout.startswith("FINE\n")
    lines = automate(installation, "logs", "--run", str(done["id"])).stdout
    assert "Deployed model" in lines
    assert "Another program" not in lines


@pytest.mark.campaign
def test_a_real_second_tick_overlaps_a_slow_run_and_is_skipped(
    installation: Path, daemon: subprocess.Popen[bytes]
) -> None:
    config = write_config(installation / "config.json", "one")
    slow = installation / "scripts" / "ingestion.py"
    slow.write_text(
        slow.read_text().replace(
            "log = logging.getLogger(__name__)",
            'log = logging.getLogger(__name__)\n__import__("time").sleep(75)',
        )
    )

    assert automate(installation, "install", "--every", "1m").returncode == 0
    skipped = wait_for(config, lambda run: run["status"] == tables.Status.SKIPPED, 200)
    done = wait_for(config, lambda run: run["status"] == tables.Status.FINISHED, 200)

    assert done["id"] < skipped["id"]
    assert done["started_at"] < skipped["started_at"] < done["ended_at"]
    print(f"run {done['id']} was overlapped by run {skipped['id']}, which was skipped")
