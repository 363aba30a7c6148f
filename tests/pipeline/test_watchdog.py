"""The time limit of a run, and the pings to a monitor of cron jobs."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from scripts import fullprocess
from scripts.core import config_file, files, http_request
from scripts.core.config import Config
from scripts.core.errors import BusyError, PipelineError
from scripts.pipeline import watchdog
from scripts.pipeline.watchdog import Signal
from scripts.production import release
from scripts.records import database, runs, tables
from scripts.records.tables import Status
from tests.support import programs
from tests.support.service import edit_config

ROOT = Path(__file__).parents[2]
# A full process one step of which is stuck in a way that is given by a line of Python. What the
# runs of the tests below need time for before that, on a busy machine, is imported first.
STUCK = """
import ctypes, itertools, os, re, signal, sys, time
from pathlib import Path
from scripts.pipeline import watchdog
from scripts import diagnostics
from scripts.core import config_file
from scripts import fullprocess, {module}
from scripts.core.console import run_guarded, set_up_logging
from scripts.pipeline.run import Request

def stick(*_args, **_options):
    Path(sys.argv[2]).touch()
    {line}

# Among busy tests a run of lower priority would not come so far within the limit of time.
os.nice = lambda _by: 0
watchdog.GRACE_S, watchdog.ASK_EVERY_S = 1.0, 0.3
diagnostics.outdated_packages = lambda *_args: "not asked"
{module}.main = stick
set_up_logging()
settings = config_file.read_config(Path(sys.argv[1]))
sys.exit(run_guarded(lambda: fullprocess.start_run(settings, Request("cron"))))
"""


def run_stuck(
    config_path: Path, module: str, line: str, minutes: float, limit_minutes: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a full process that gets stuck, and wait for its end."""
    limits = {"timeout_minutes": minutes, "limit_minutes": limit_minutes}
    edit_config(config_path, run=limits, api={"port": 1})
    code = STUCK.format(module=module, line=line)
    return programs.run_code(code, str(config_path), str(config_path.parent / "stuck"))


def last_run(config: Config) -> runs.Row:
    """Read the last run."""
    with database.open_records(config.database_url) as engine, database.reading(engine) as rows:
        return runs.latest_runs(rows, 1)[0]


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

    config = config_file.read_config(config_path)
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

    config = config_file.read_config(config_path)
    run = last_run(config)
    assert (config_path.parent / "stuck").exists()
    assert done.returncode == -signal.SIGKILL
    assert "Killed the run" in done.stderr
    assert run["status"] == Status.TIMEOUT
    assert run["reason"].endswith("the run was stuck in training")
    # What served before serves, and no lock is held.
    assert release.load_current(deployed.prod_deployment_path) is not None
    with files.exclusive_lock(config.prod_deployment_path):
        pass


# Rows are read for five seconds, then nothing happens.
SLOW = (
    "from scripts.core import progress\n"
    "    for _ in range(50): time.sleep(0.1); progress.advance(n_rows=1)\n"
    "    {end}"
)


def test_a_run_that_makes_progress_goes_on_with_a_warning(config_path: Path) -> None:
    done = run_stuck(config_path, "ingestion", SLOW.format(end="sys.exit(0)"), 0.05)

    assert done.returncode == 0
    warning = next(line for line in done.stderr.splitlines() if " goes on after " in line)
    assert "WARNING" in warning
    words = r"Run 1 goes on after 0\.05\d* minutes: it is in ingestion, with progress [01] s ago"
    assert re.search(words, warning)
    assert "It has no limit (run.limit_minutes)." in warning


def test_a_run_that_stops_making_progress_is_ended(config_path: Path) -> None:
    started_s = time.monotonic()

    done = run_stuck(config_path, "ingestion", SLOW.format(end="time.sleep(1000)"), 0.05)

    assert done.returncode == 124
    assert time.monotonic() - started_s > 8
    error = last_run(config_file.read_config(config_path))["error"]
    assert "after 0.05 minutes (run.timeout_minutes) the run was stuck in ingestion" in error


def test_a_run_beyond_the_limit_of_all_is_ended_whatever_its_progress(config_path: Path) -> None:
    forever = "from scripts.core import progress\n    while True: progress.advance()"

    done = run_stuck(config_path, "ingestion", forever, 0.05, 0.1)

    assert done.returncode == 124
    error = last_run(config_file.read_config(config_path))["error"]
    assert "after 0.1 minutes (run.limit_minutes) the run was in ingestion" in error


def test_the_next_run_after_a_timeout_does_the_work(config_path: Path) -> None:
    run_stuck(config_path, "training", "time.sleep(1000)", 0.05)

    verdict = fullprocess.main(config_file.read_config(config_path))

    assert verdict is tables.Verdict.DEPLOYED


def test_a_run_that_ends_in_time_leaves_no_watchdog() -> None:
    code = (
        "import os; from scripts.pipeline import watchdog\n"
        "with watchdog.limit(watchdog.TimeLimits(1000), lambda *_said: None) as watch:\n"
        "    watch.note(1, 'a step')\n"
        "try: os.waitpid(-1, 0)\n"
        "except ChildProcessError: print('no child', end='')\n"
    )
    started = time.monotonic()

    last_step = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert last_step.stdout == "no child"
    assert time.monotonic() - started < 60


def test_the_watchdog_of_a_run_that_was_killed_ends_too() -> None:
    code = (
        "import os, signal; from scripts.pipeline import watchdog\n"
        "with watchdog.limit(watchdog.TimeLimits(1000), lambda *_said: None):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The watchdog holds the pipe's other end as long as it lives, so reading ends with it.
    started = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)

    assert started.communicate(timeout=60)[0] == b""
    assert started.returncode == -signal.SIGKILL


def test_the_last_step_is_heard_also_when_many_are_told_at_once() -> None:
    reader, writer = os.pipe()
    watch = watchdog.Watch(writer)
    for step in ("ingestion", "training", "looking for new data"):
        watch.note(7, step)
    last_step: list[str] = []

    assert not watchdog.wait_for_end(reader, 0.1, last_step)
    assert last_step == ["7 looking for new data"]
    os.close(writer)
    assert watchdog.wait_for_end(reader, 10, last_step)
    os.close(reader)


def test_a_watch_without_a_watchdog_is_silent() -> None:
    watch = watchdog.Watch()

    watch.note(1, "training")

    assert watch.step == "training"


class Monitor(BaseHTTPRequestHandler):
    """A recorder of pings, with a slow answer under /slow and the status 404 under /404/."""

    told: ClassVar[list[tuple[str, str, str]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.told.append((self.command, self.path, self.rfile.read(length).decode()))
        status = re.match(r"/(\d\d\d)/", self.path)
        self.send_response(int(status[1]) if status else 200)
        if status:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        while self.path.startswith("/slow"):
            self.wfile.write(b".")
            time.sleep(0.05)

    def do_GET(self) -> None:
        self.told.append((self.command, self.path, ""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of a monitor on this machine."""
    monkeypatch.setattr(Monitor, "told", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Monitor)
    server.handle_error = lambda request, address: None  # type: ignore[assignment, method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_start_success_and_fail_are_told_as_monitors_expect_it(monitor: str) -> None:
    watchdog.ping(f"{monitor}/abc", Signal.START)
    watchdog.ping(f"{monitor}/abc/", Signal.SUCCESS, "Run 7 ended: held")
    watchdog.ping(f"{monitor}/abc?rid=1", Signal.FAIL, "Run 8 failed: é")

    assert Monitor.told == [
        ("POST", "/abc/start", ""),
        ("POST", "/abc", "Run 7 ended: held"),
        ("POST", "/abc/fail?rid=1", "Run 8 failed: é"),
    ]


def test_without_a_monitor_nothing_is_sent(monitor: str) -> None:
    watchdog.ping("", Signal.START)

    assert Monitor.told == []


@pytest.mark.parametrize(
    ("path", "warning"),
    [
        ("/404/secret", "it answered 404"),
        *((f"/{status}/secret", f"it answered {status}") for status in (301, 302, 303, 307, 308)),
        ("/slow/secret", "no answer within"),
    ],
)
def test_a_monitor_that_does_not_answer_well_is_warned_of_in_time(
    path: str,
    warning: str,
    monitor: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watchdog, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(http_request, "MOST_BYTES", 10**6)
    started = time.monotonic()

    watchdog.ping(monitor + path, Signal.SUCCESS)

    assert time.monotonic() - started < 2
    assert warning in caplog.text
    assert "secret" not in caplog.text
    # A redirect is not followed: where it leads is nobody whom the user named.
    assert [(command, asked) for command, asked, _ in Monitor.told] == [("POST", path)]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/secret", "http://[secret", "nonsense:secret"])
def test_a_monitor_that_cannot_be_reached_fails_nothing(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog.ping(url, Signal.FAIL)

    assert "got no ping" in caplog.text
    assert "secret" not in caplog.text


def test_a_run_tells_the_monitor_of_its_start_and_its_success(
    monitor: str, changed: Callable[..., Config]
) -> None:
    fullprocess.main(changed(alerts={"ping_url": f"{monitor}/job"}))

    assert [path for _, path, _ in Monitor.told] == ["/job/start", "/job"]


def test_a_failed_run_tells_the_monitor_and_fails_as_it_would(
    monitor: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_PING_URL", f"{monitor}/secret")
    for path in config.input_folder_path.iterdir():
        path.write_text("nonsense\n")

    with pytest.raises(PipelineError):
        fullprocess.main(config)

    assert [path for _, path, _ in Monitor.told] == ["/secret/start", "/secret/fail"]


def test_a_run_that_is_skipped_tells_nothing(monitor: str, changed: Callable[..., Config]) -> None:
    config = changed(alerts={"ping_url": f"{monitor}/job"})

    with (
        files.exclusive_lock(config.prod_deployment_path),
        pytest.raises(BusyError),
    ):
        fullprocess.main(config)

    assert Monitor.told == []
