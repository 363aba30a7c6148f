"""Measure predictions over HTTP against an empty Flask route and the plain way, with wrk.

    python -m benchmarks.serving [REPEATS [SECONDS]]

Required: one row at least 0.8 of an empty route and 10 times the plain way, 1,000 rows at least 5
times the plain way, p99 at 64 connections below 4 times p50, and at most 120 MB.
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import Running, running_sides

ROW = {"lastmonth_activity": 12, "lastyear_activity": 480, "number_of_employees": 35}
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
REQUIRED_MB = 120


@dataclass(frozen=True)
class Load:
    """What is sent, over how many connections."""

    n_rows: int
    n_connections: int


LOADS = (Load(1, 8), Load(1, 64), Load(1000, 8), Load(1000, 64))


@dataclass(frozen=True)
class Result:
    """What wrk saw, and what the server used."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def write_script(folder: Path, load: Load) -> Path:
    """Write what wrk sends."""
    body = json.dumps({"data": [ROW] * load.n_rows})
    path = folder / f"{load.n_rows}.lua"
    path.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [[{body}]]\n"
    )
    return path


def read_latency(text: str, percentile: str) -> float:
    """Read a percentile off wrk's table, in milliseconds."""
    found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s) *$", text, re.M)
    if found is None:
        raise SystemExit(f"wrk printed no {percentile} %:\n{text}")
    return float(found[1]) * UNITS_MS[found[2]]


def measure(side: Running, path: str, script: Path | None, load: Load, seconds: int) -> Result:
    """Send one load to one side."""
    command = [
        "wrk",
        "-t1",
        f"-c{load.n_connections}",
        f"-d{seconds}s",
        "--latency",
        "--timeout",
        "30s",
    ]
    command += ["-s", str(script)] if script else []
    before_s = side.cpu_s()
    done = subprocess.run(
        [*command, f"{side.url}{path}"], capture_output=True, text=True, check=True
    )
    text, used_s = done.stdout, side.cpu_s() - before_s
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{side.name} refused requests:\n{text}")
    count = re.search(r"(\d+) requests in", text)
    per_s = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if count is None or per_s is None:
        raise SystemExit(f"wrk printed no count:\n{text}")
    p50, p99 = read_latency(text, "50"), read_latency(text, "99")
    return Result(float(per_s[1]), p50, p99, 1e6 * used_s / max(1, int(count[1])))


def median_of(results: list[Result]) -> Result:
    """Take the median of each number."""
    columns = zip(*((r.per_s, r.p50_ms, r.p99_ms, r.cpu_us) for r in results), strict=True)
    return Result(*(statistics.median(column) for column in columns))


def show(load: Load, name: str, result: Result) -> None:
    """Print one line of the table."""
    print(
        f"{load.n_rows:5} rows {load.n_connections:3} connections  {name:6}"
        f" {result.per_s:9.0f} requests/s  p50 {result.p50_ms:8.2f} ms  p99 {result.p99_ms:8.2f} ms"
        f"  {result.cpu_us:8.0f} us CPU"
    )


def main(n_repeats: int, seconds: int) -> None:
    """Measure all sides in turns, and print medians and ratios."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing; Debian: apt-get install wrk")
    found: dict[tuple[Load, str], list[Result]] = {}
    with tempfile.TemporaryDirectory() as name, running_sides(Path(name)) as (ours, plain):
        scripts = {load: write_script(Path(name), load) for load in LOADS}
        for _ in range(n_repeats):
            for load in LOADS:
                turns = [("ours", ours, "/predict", scripts[load])]
                turns += [("plain", plain, "/plain", scripts[load])]
                for side, running, path, script in turns:
                    result = measure(running, path, script, load, seconds)
                    found.setdefault((load, side), []).append(result)
                if load.n_rows == 1:
                    result = measure(plain, "/empty", None, load, seconds)
                    found.setdefault((load, "empty"), []).append(result)
        ours_mb, plain_mb = ours.memory_mb(), plain.memory_mb()
    medians = {key: median_of(results) for key, results in found.items()}
    for (load, side), result in medians.items():
        show(load, side, result)
    print(f"memory: ours {ours_mb:.0f} MB, plain {plain_mb:.0f} MB, required {REQUIRED_MB} MB")
    ratios = {
        "one row / empty route, required 0.8": (Load(1, 8), "ours", "empty"),
        "one row / plain, required 10": (Load(1, 8), "ours", "plain"),
        "1,000 rows / plain, required 5": (Load(1000, 8), "ours", "plain"),
    }
    for text, (load, side, other) in ratios.items():
        one, two = medians[load, side], medians[load, other]
        print(
            f"{text}: {one.per_s / two.per_s:.2f} by requests, {two.cpu_us / one.cpu_us:.2f} by CPU"
        )
    wide = medians[Load(1, 64), "ours"]
    print(f"p99 / p50 at 64 connections, required below 4: {wide.p99_ms / wide.p50_ms:.2f}")


if __name__ == "__main__":
    REPEATS, SECONDS = [*map(int, sys.argv[1:]), *(3, 3)[len(sys.argv) - 1 :]]
    main(REPEATS, SECONDS)
