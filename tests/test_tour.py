"""The documented tour, by the documented commands, in a copy of the checkout, over real HTTP."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import programs

ROOT = Path(__file__).parent.parent
WAIT_S = 300
CLIENT = {"lastmonth_activity": 12, "lastyear_activity": 480, "number_of_employees": 35}


def free_port() -> int:
    """Find a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the tracked files in an empty folder with a space in its name."""
    folder = tmp_path / "a new user"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    edit_config(folder, api={"port": free_port()})
    return folder


def edit_config(folder: Path, **settings: Any) -> None:
    """Edit config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def environment() -> dict[str, str]:
    """Have setup.sh take the environment that runs the tests, as it takes an active conda one."""
    return os.environ | {"CONDA_PREFIX": sys.prefix}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy and hand back what it said."""
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=WAIT_S
    )


def url_of(folder: Path) -> str:
    """Name the address of the copy's service."""
    return f"http://127.0.0.1:{json.loads((folder / 'config.json').read_text())['api']['port']}"


@pytest.fixture
def service(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    """The service as ./setup.sh starts it, once it is ready."""
    with (checkout / "service.log").open("w") as log:
        process = subprocess.Popen(
            ["./setup.sh"], cwd=checkout, env=environment(), stdout=log, stderr=log, text=True
        )
        try:
            wait_until_ready(process, checkout)
            yield process
        finally:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until the service is ready, or say what it wrote instead."""
    for _ in range(WAIT_S * 10):
        assert process.poll() is None, (folder / "service.log").read_text()
        try:
            if requests.get(f"{url_of(folder)}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError((folder / "service.log").read_text())


class Asker(threading.Thread):
    """Somebody who asks for predictions all the time."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.answers, self.done = url, list[tuple[int, str]](), threading.Event()

    def run(self) -> None:
        """Ask until done."""
        while not self.done.is_set():
            answer = requests.post(f"{self.url}/predict", json={"data": [CLIENT]}, timeout=10)
            self.answers.append((answer.status_code, answer.json().get("release", "")))
            time.sleep(0.02)


def git(folder: Path, *words: str) -> str:
    """Run a command of git as somebody with a name, and return the output."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = run(folder, "git", *who, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def upstream(checkout: Path, tmp_path: Path) -> Path:
    """The repository that the checkout is a clone of, from before the tour."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(checkout))
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "as published")
    git(tmp_path, "clone", "--quiet", str(checkout), "upstream")
    return tmp_path / "upstream"


def publish_and_pull(upstream: Path, checkout: Path) -> None:
    """Publish the pictures of a newer tour, and pull them into the checkout."""
    for path in (upstream / "examples" / "tour").rglob("*.*"):
        path.write_text("of a newer tour")
    git(upstream, "commit", "--quiet", "--all", "--message", "a newer tour")
    git(checkout, "pull", "--quiet", "--ff-only", str(upstream), "main")


def test_the_documented_tour_runs_as_written(
    checkout: Path, upstream: Path, service: subprocess.Popen[str]
) -> None:
    first = (checkout / "service.log").read_text()
    assert "WARNING" not in first
    assert f"Serving on {url_of(checkout)}." in first
    asked = run(checkout, sys.executable, "-m", "scripts.apicalls")
    assert asked.returncode == 0, asked.stderr
    answers = json.loads((checkout / "practicemodels" / "apireturns.txt").read_text())
    assert set(answers) == {"predictions", "score", "summary", "diagnosis"}
    assert len(asked.stdout.splitlines()) < 20
    practice_f1 = answers["score"]["score"]

    asker = Asker(url_of(checkout))
    asker.start()
    edit_config(checkout, input_folder_path="sourcedata", output_model_path="models")
    renewed = run(checkout, sys.executable, "-m", "scripts.fullprocess")
    source_f1 = requests.get(f"{url_of(checkout)}/score", timeout=10).json()["score"]
    asker.done.set()
    asker.join()

    assert renewed.returncode == 0, renewed.stderr
    assert "the candidate is better" in renewed.stderr
    # The figures of the page about the tour.
    page = (checkout / "docs" / "tutorial.md").read_text()
    assert f"nothing was in production before; F1 {practice_f1:.4f}." in page
    assert f"candidate F1 {source_f1:.4f}, production F1 {practice_f1:.4f}" in page
    assert (checkout / "models" / "confusion_matrix.png").exists()
    written = json.loads((checkout / "models" / "apireturns.txt").read_text())
    assert written["score"]["score"] == source_f1
    assert {status for status, _ in asker.answers} == {200}
    assert {name[:4] for _, name in asker.answers} == {"0001", "0002"}
    health = requests.get(f"{url_of(checkout)}/health", timeout=10).json()
    assert health["input_folder"] == "sourcedata"

    idle = run(checkout, sys.executable, "-m", "scripts.fullprocess")
    assert idle.returncode == 0
    assert "nothing new" in idle.stderr

    cron = run(checkout, "/usr/bin/env", "-i", "/bin/sh", str(checkout / "automate.sh"))
    assert cron.returncode == 0
    assert "nothing new" in next((checkout / "logs").iterdir()).read_text()

    service.send_signal(signal.SIGTERM)
    assert service.wait(timeout=30) == 0

    # The tour leaves one change, the two lines of config.json; so a newer version comes in whole.
    (checkout / "service.log").unlink()
    publish_and_pull(upstream, checkout)
    assert git(checkout, "status", "--porcelain").splitlines() == [" M config.json"]


def run_program(folder: Path, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a program on the copy, deployment with the verb deploy."""
    verbs = ["deploy"] if program == "deployment" else []
    chosen = options or ("--config", str(folder / "config.json"))
    return programs.run(program, *verbs, *chosen)


STEPS = ("ingestion", "training", "scoring", "promotion", "deployment", "reporting", "diagnostics")


def test_every_step_runs_alone_and_says_what_it_did(checkout: Path) -> None:
    for step in STEPS:
        done = run_program(checkout, step)

        assert done.returncode == 0, done.stderr
        assert f"INFO {step}: " in done.stderr


@pytest.mark.parametrize("program", [*STEPS, "apicalls", "fullprocess", "app"])
def test_every_program_has_help_and_refuses_a_config_that_is_not_there(program: str) -> None:
    shown = run_program(ROOT, program, "--help")
    refused = run_program(ROOT, program, "--config", "/nowhere.json")

    assert shown.returncode == 0
    assert "--config" in shown.stdout
    assert refused.returncode == 78
    assert len(refused.stderr.splitlines()) == 1
    assert "/nowhere.json cannot be read" in refused.stderr


@pytest.mark.parametrize(
    ("program", "code"),
    [("training", 66), ("scoring", 66), ("deployment", 66), ("reporting", 66), ("apicalls", 69)],
)
def test_a_program_that_comes_too_early_says_so_in_one_line(
    checkout: Path, program: str, code: int
) -> None:
    done = run_program(checkout, program)

    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
