"""The cost of a program in a process of its own: wall time, CPU time and peak memory."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Byte code of the imports has been compiled by an earlier run, as usual.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Cost:
    """Wall and CPU time in seconds and peak memory in MB, child processes included."""

    wall_s: float
    cpu_s: float
    peak_mb: float

    def __add__(self, other: "Cost") -> "Cost":
        """Add the times, and keep the higher peak."""
        peak_mb = max(self.peak_mb, other.peak_mb)
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, peak_mb)


def run_python(arguments: list[str], folder: Path) -> Cost:
    """Run Python in a folder to the end, and stop on a failure."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stderr is not None
    with process.stderr as stream:
        errors = stream.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with exit code {process.returncode}: {errors}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
