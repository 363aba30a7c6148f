"""Installations and running servers for the serving benchmarks."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
ROW = {"lastmonth_activity": 12, "lastyear_activity": 480, "number_of_employees": 35}


def free_port() -> int:
    """Find a port that nobody uses."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(folder: Path) -> Path:
    """Make an installation on the source data that has deployed a model; return its config."""
    settings = {
        "input_folder_path": str(ROOT / "sourcedata"),
        "test_data_path": str(ROOT / "testdata"),
        "output_folder_path": "output",
        "output_model_path": "models",
        "prod_deployment_path": "prod",
        "api": {"port": free_port()},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    for step in ("ingestion", "training", "scoring", "deployment"):
        command = [sys.executable, "-m", f"scripts.{step}", "--config", str(path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return path


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    started_s: float

    def cpu_s(self) -> float:
        """CPU time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Memory in use, what is shared with others counted by halves (PSS)."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@contextmanager
def running(name: str, command: list[str], url: str, path: str) -> Iterator[Running]:
    """Start a server, wait for its first prediction, and end it at the end."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            while True:
                try:
                    answer = requests.post(f"{url}{path}", json={"data": [ROW]}, timeout=30)
                    answer.raise_for_status()
                    break
                except requests.ConnectionError:
                    if process.poll() is not None:
                        raise SystemExit(f"{command} ended.") from None
                    time.sleep(0.01)
            yield Running(name, url, process, time.perf_counter() - started)
        finally:
            process.terminate()


@contextmanager
def running_ours(config_path: Path) -> Iterator[Running]:
    """Start the service."""
    port = json.loads(config_path.read_text())["api"]["port"]
    command = ["scripts.app", "--config", str(config_path)]
    with running("ours", command, f"http://127.0.0.1:{port}", "/predict") as ours:
        yield ours


@contextmanager
def running_plain(config_path: Path) -> Iterator[Running]:
    """Start the plain way."""
    port = free_port()
    command = ["benchmarks.plain_service", str(config_path), str(port)]
    with running("plain", command, f"http://127.0.0.1:{port}", "/plain") as plain:
        yield plain


@contextmanager
def running_sides(folder: Path) -> Iterator[tuple[Running, Running]]:
    """Start both sides on one installation."""
    config_path = prepare(folder)
    with running_ours(config_path) as ours, running_plain(config_path) as plain:
        yield ours, plain
