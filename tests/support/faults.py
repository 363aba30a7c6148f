"""Ends full processes at chosen moments, from a process with all imports done.

    python -m tests.support.faults CONFIG calls FIRST STEP  before each file-system call
    python -m tests.support.faults CONFIG kills N  after N random times over a run's duration
    python -m tests.support.faults CONFIG full N  with N amounts of space left on its disk
    python -m tests.support.faults CONFIG cuts N IMAGE  power cuts of the loop device of its disk

Each time production must be whole, the next run must complete and nothing may be left behind. What
the records then hold is checked by SQLite itself. Prints counts as JSON; anything wrong is an
error. A child of this process does the run, so that it starts in milliseconds.
"""

import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from scripts import apicalls, deployment, diagnostics, fullprocess, promotion, reporting
from scripts.core import config_file
from scripts.core.config import Config
from scripts.core.errors import PipelineError
from scripts.production import promotion_gate, release
from scripts.production.release import Release
from scripts.records import database
from scripts.records import runs as run_records
from scripts.records.tables import Status
from tests.conftest import make_rows, write_csv
from tests.support.sandbox import wait_until_detached

# What changes files, as Python's audit hooks name it; fsync is not among them and is wrapped.
CALLS = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate",
    "sqlite3.connect",
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)
ENDED, DIED = 0, 86


def count_calls(at_call: Callable[[], None]) -> None:
    """Call a function before each file-system call with a change, from now on."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if event in CALLS or opens:
            at_call()

    fsync = os.fsync

    def watched_fsync(descriptor: int) -> None:
        at_call()
        fsync(descriptor)

    os.fsync = watched_fsync  # type: ignore[assignment]
    sys.addaudithook(hook)


def in_child(work: Callable[[], None]) -> int:
    """Call a function in a child process, and return the process number."""
    child = os.fork()
    if child == 0:
        code = DIED
        try:
            work()
            code = ENDED
        except (PipelineError, OSError):
            # A run that ends with an error is a result; what counts is what it leaves.
            code = 1
        finally:
            os._exit(code)
    return child


def code_of(child: int) -> int:
    """Wait for a child's end."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Installation:
    """Deployed installation with new data before each fault."""

    def __init__(self, config_path: Path) -> None:
        self.config: Config = config_file.read_config(config_path)
        self.counts: Counter[str] = Counter()
        self.n_news = 0
        self.add_news()
        assert code_of(in_child(self.run)) == ENDED

    def run(self) -> None:
        """Do a full process."""
        fullprocess.main(self.config)

    def add_news(self) -> None:
        """Let something be new: more and more telling rows, so that candidates are often better."""
        self.n_news += 1
        rows = make_rows(30 + 5 * self.n_news, self.n_news, noise=0.3)
        write_csv(self.config.input_folder_path / "c.csv", rows)

    def serving(self) -> Release:
        """Load and check the release in production."""
        current = release.load_current(self.config.prod_deployment_path)
        assert current is not None
        return current

    def check(self, before: Release) -> None:
        """Check that production is the old or the new release, and that the next run completes."""
        found = self.serving()
        # The release that served is there whole, whether or not it still serves.
        release.load_release(before.path)
        self.counts["old" if found.name == before.name else "new"] += 1
        assert code_of(in_child(self.run)) == ENDED
        self.serving()
        self.check_left()

    def check_left(self) -> None:
        """Check that nothing half-made is left, and that the records are in order."""
        root = self.config.prod_deployment_path.parent
        assert not list(root.rglob(".*.tmp"))
        with (
            database.open_records(self.config.database_url) as engine,
            database.reading(engine) as connection,
        ):
            runs = run_records.latest_runs(connection, 3)
            last = run_records.list_deployments(connection, 1)[0]
        assert Status.RUNNING not in {run["status"] for run in runs}
        assert last["release"] == self.serving().name
        if self.config.database_url.startswith("sqlite"):
            path = self.config.database_url.removeprefix("sqlite:///")
            connection_of_file = sqlite3.connect(path)
            assert connection_of_file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            connection_of_file.close()


def die_before_calls(place: Installation, first: int, step: int) -> None:
    """End runs before their k-th file-system call, for increasing k, until a run ends by itself."""
    k = first
    while True:
        place.add_news()
        before = place.serving()

        def run_until_call(limit: int = k) -> None:
            left = [limit]

            def at_call() -> None:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(DIED)

            count_calls(at_call)
            place.run()

        code = code_of(in_child(run_until_call))
        if code == ENDED:
            break
        assert code == DIED
        place.counts["deaths"] += 1
        place.check(before)
        k += step
    place.counts["calls of a run, at least"] = k - step


def kill_at_random(place: Installation, n_kills: int) -> None:
    """Kill runs at times spread over the duration of a run."""
    chance = random.Random(n_kills)
    place.add_news()
    started = time.monotonic()
    assert code_of(in_child(place.run)) == ENDED
    duration_s = time.monotonic() - started
    for _ in range(n_kills):
        place.add_news()
        before = place.serving()
        child = in_child(place.run)
        time.sleep(chance.uniform(0, duration_s))
        os.kill(child, signal.SIGKILL)
        place.counts["killed" if code_of(child) == -signal.SIGKILL else "ended before"] += 1
        place.check(before)


def fill_disk(place: Installation, n_levels: int) -> None:
    """Run with increasing free space on the disk of the installation."""
    root = place.config.prod_deployment_path.parent
    filler = root / "filler"
    for level in range(n_levels):
        place.add_news()
        before = place.serving()
        free = shutil.disk_usage(root).free - 4096 * level
        with filler.open("wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, max(free, 4096))
        code = code_of(in_child(place.run))
        assert code != DIED
        place.counts["failed" if code else "completed"] += 1
        release.load_release(before.path)
        place.serving()
        filler.unlink()
        place.check(before)


def cut_power(place: Installation, n_cuts: int, image: Path) -> None:
    """Cut the power of the installation's disk at random times, and remount the disk."""
    chance = random.Random(n_cuts)
    mount = place.config.prod_deployment_path.parent
    duration_s = 1.0
    deploy = deployment.main
    for cut in range(n_cuts + 1):
        place.add_news()
        os.sync()
        before = place.serving()
        reader, writer = os.pipe()

        def acknowledge(*arguments: object, to: int = writer, **options: object) -> Release:
            made = deploy(*arguments, **options)  # type: ignore[arg-type]
            os.write(to, made.name.encode())
            return made

        deployment.main = acknowledge
        started = time.monotonic()
        child = in_child(place.run)
        os.close(writer)
        if cut == 0:
            assert code_of(child) == ENDED
            duration_s = time.monotonic() - started
            os.close(reader)
            continue
        time.sleep(chance.uniform(0, duration_s))
        descriptor = os.open(mount, os.O_RDONLY)
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        os.close(descriptor)
        code_of(child)
        acknowledged = os.read(reader, 200).decode() or None
        os.close(reader)
        subprocess.run(["umount", str(mount)], check=True)
        wait_until_detached(image)
        subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
        deployment.main = deploy
        found = place.serving().name
        assert acknowledged in (None, found), (acknowledged, found)
        place.counts["acknowledged" if acknowledged else "not acknowledged"] += 1
        place.check(before)


def main(config_path: Path, kind: str, *numbers: str) -> None:
    """Cause a kind of faults and print the results."""
    diagnostics.outdated_packages = lambda *_arguments: "not asked"
    decide = promotion.main

    def deploy_always(*arguments: Any, **options: Any) -> promotion_gate.Decision:
        # What is tried is deployments, so every candidate that may be deployed is.
        decision = decide(*arguments, **options)
        assert decision.answer is not promotion_gate.GateVerdict.INSUFFICIENT
        return msgspec.structs.replace(decision, answer=promotion_gate.GateVerdict.DEPLOY)

    promotion.main = deploy_always
    # What follows a decision is not what is tried here, and most of the time of a run.
    if "fast" in os.environ.get("ADRAS_FAULTS", ""):
        reporting.main = lambda config, **_options: config.prod_deployment_path
        apicalls.main = lambda config, **_options: config.prod_deployment_path
        diagnostics.main = lambda config, **_options: config.prod_deployment_path
    warnings.simplefilter("ignore", DeprecationWarning)
    place = Installation(config_path)
    work: dict[str, Callable[[], None]] = {
        "calls": lambda: die_before_calls(place, int(numbers[0]), int(numbers[1])),
        "kills": lambda: kill_at_random(place, int(numbers[0])),
        "full": lambda: fill_disk(place, int(numbers[0])),
        "cuts": lambda: cut_power(place, int(numbers[0]), Path(numbers[1])),
    }
    work[kind]()
    sys.stdout.write(json.dumps(place.counts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
