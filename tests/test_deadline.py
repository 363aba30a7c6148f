"""A run that takes too long ends, wherever it is stuck, and says where that was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import configfile, database, deadline, durable, fullprocess, release
from scripts.config import Config
from scripts.database import Status

ROOT = Path(__file__).parent.parent
# A full process one step of which is stuck in a way that is given by a line of Python. What the
# runs of the tests below need time for before that, on a busy machine, is imported first.
STUCK = """
import ctypes, itertools, os, re, signal, sys, time
from pathlib import Path
from scripts import configfile, deadline, diagnostics, fullprocess, {module}
from scripts.console import run_guarded, set_up_logging
from scripts.fullprocess import Request

def stick(*_args, **_options):
    Path(sys.argv[2]).touch()
    {line}

deadline.GRACE_S, deadline.ASK_EVERY_S = 1.0, 0.3
diagnostics.outdated_packages = lambda *_args: "not asked"
{module}.main = stick
set_up_logging()
settings = configfile.read_config(Path(sys.argv[1]))
sys.exit(run_guarded(lambda: fullprocess.start_run(settings, Request("cron"))))
"""


def run_stuck(
    config_path: Path, module: str, line: str, minutes: float
) -> subprocess.CompletedProcess[str]:
    """Run a full process that gets stuck, and wait for its end."""
    text = config_path.read_text().rstrip().removesuffix("}")
    text += f', "run": {{"timeout_minutes": {minutes}}}, "api": {{"port": 1}}}}'
    config_path.write_text(text)
    code = STUCK.format(module=module, line=line)
    command = [sys.executable, "-c", code, str(config_path), str(config_path.parent / "stuck")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def last_run(config: Config) -> database.Row:
    """Read the last run."""
    with database.open_records(config.database_url) as engine, database.reading(engine) as rows:
        return database.latest_runs(rows, 1)[0]


SOFT = {
    "sleeping": "time.sleep(1000)",
    "waiting for a pipe that nobody writes to": "os.read(os.pipe()[0], 1)",
    "a loop": "while True: pass",
}
HARD = {
    "code that keeps the interpreter's lock": "sum(itertools.repeat(0))",
    "code that lets no signal through": "signal.pthread_sigmask(signal.SIG_BLOCK, [14]);"
    " time.sleep(1000)",
    "code that goes on whatever happens": "while True:\n        try: time.sleep(1000)\n"
    "        except BaseException: pass",
}


@pytest.mark.parametrize("line", SOFT.values(), ids=list(SOFT))
def test_a_stuck_step_ends_and_the_run_says_where(config_path: Path, line: str) -> None:
    done = run_stuck(config_path, "ingestion", line, 0.05)

    config = configfile.read_config(config_path)
    run = last_run(config)
    assert (config_path.parent / "stuck").exists()
    assert done.returncode == 124, done.stderr
    assert run["status"] == Status.TIMEOUT
    assert run["reason"] == "stuck in ingestion"
    assert "after 0.05 minutes (run.timeout_minutes) the run was stuck in ingestion" in run["error"]
    assert run["durations_s"]["ingestion"] > 0


@pytest.mark.parametrize("line", HARD.values(), ids=list(HARD))
def test_a_step_that_cannot_be_reached_is_killed_and_the_run_says_where(
    config_path: Path, deployed: Config, line: str
) -> None:
    done = run_stuck(config_path, "training", line, 0.05)

    config = configfile.read_config(config_path)
    run = last_run(config)
    assert (config_path.parent / "stuck").exists()
    assert done.returncode == -signal.SIGKILL
    assert "Killed the run" in done.stderr
    assert run["status"] == Status.TIMEOUT
    assert run["reason"].endswith("the run was stuck in training")
    # What served before serves, and no lock is held.
    assert release.load_current(deployed.prod_deployment_path) is not None
    with durable.exclusive_lock(config.prod_deployment_path):
        pass


def test_the_next_run_after_a_timeout_does_the_work(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stuck(config_path, "training", "time.sleep(1000)", 0.05)
    monkeypatch.setattr("scripts.diagnostics.outdated_packages", lambda *_args: "not asked")

    verdict = fullprocess.main(configfile.read_config(config_path))

    assert verdict is database.Verdict.DEPLOYED


def test_a_run_that_ends_in_time_leaves_no_watchdog() -> None:
    code = (
        "import os; from scripts import deadline\n"
        "with deadline.limit(1000, lambda *_said: None) as watch:\n"
        "    watch.note(1, 'a step')\n"
        "try: os.waitpid(-1, 0)\n"
        "except ChildProcessError: print('no child', end='')\n"
    )
    started = time.monotonic()

    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert said.stdout == "no child"
    assert time.monotonic() - started < 60


def test_the_watchdog_of_a_run_that_was_killed_ends_too() -> None:
    code = (
        "import os, signal; from scripts import deadline\n"
        "with deadline.limit(1000, lambda *_said: None):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The watchdog holds the pipe's other end as long as it lives, so reading ends with it.
    started = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)

    assert started.communicate(timeout=60)[0] == b""
    assert started.returncode == -signal.SIGKILL


def test_the_last_step_is_heard_also_when_many_are_told_at_once() -> None:
    reader, writer = os.pipe()
    watch = deadline.Watch(writer)
    for step in ("ingestion", "training", "looking for new data"):
        watch.note(7, step)
    said: list[str] = []

    assert not deadline.wait_for_end(reader, 0.1, said)
    assert said == ["7 looking for new data"]
    os.close(writer)
    assert deadline.wait_for_end(reader, 10, said)
    os.close(reader)


def test_a_watch_without_a_watchdog_is_silent() -> None:
    watch = deadline.Watch()

    watch.note(1, "training")

    assert watch.step == "training"
