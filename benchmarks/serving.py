"""Measure predictions over HTTP against an empty Flask route and the plain way, with wrk.

    python -m benchmarks.serving [--repeats 3] [--seconds 3] [--mlflow PYTHON] [--mlserver PYTHON]

All sides run at the same time and are asked in turns. Required, at 8 and at 64 connections: one row
at least 0.8 of an empty route on the same server and 10 times the plain way, 1,000 rows at least 5
times the plain way; p99 at 64 connections at most twice p50; at most 120 MB. With the Python of an
environment that has MLflow, its scoring server is measured as well, both by rows and in its form
with columns named once. With that of an environment that has MLServer and its runtime for
scikit-learn, both are asked by the open inference protocol, one tensor for all rows. MLServer has
two processes unless told otherwise, so ours has two as well (`api.workers`): required of 1,000 rows
are 3.6 times its requests and a third of its CPU. Ours with one process is printed, too.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.servers import (
    INFER,
    ROW,
    Running,
    prepare,
    running_mlflow,
    running_mlserver,
    running_ours,
    running_plain,
)

UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
REQUIRED_MB = 120
REQUIRED_TAIL = 2
REQUIRED_RATIOS = {
    (1, "empty"): 0.8,
    (1, "plain"): 10.0,
    (1000, "plain"): 5.0,
    (1000, "mlserver"): 3.6,
}
REQUIRED_CPU_RATIOS = {(1000, "mlserver"): 3.0}
# By default one process for HTTP and one with the model.
MLSERVER_PROCESSES = 2


@dataclass(frozen=True)
class Load:
    """A request and the number of connections."""

    n_rows: int
    n_connections: int


LOADS = (Load(1, 8), Load(1, 64), Load(1000, 8), Load(1000, 64))


@dataclass(frozen=True)
class Side:
    """A route with a request form, and our route in the same form for comparison."""

    name: str
    server: Running
    path: str
    form: str | None
    beside: str = "ours"

    def takes(self, load: Load) -> bool:
        """Return whether a load applies: to the empty route only that of a single row."""
        return self.form is not None or load.n_rows == 1


@dataclass(frozen=True)
class Result:
    """The figures of wrk and of the server's resources."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def make_body(form: str, n_rows: int) -> dict[str, Any]:
    """Return the body of a request in a form: rows with names, a table, or a tensor."""
    cells = list(ROW.values())
    if form == "dataframe_split":
        return {form: {"columns": list(ROW), "data": [cells] * n_rows}}
    if form == "tensor":
        # Encoded as clients do from an array of floats.
        data = [float(cell) for cell in cells] * n_rows
        shape = [n_rows, len(cells)]
        return {"inputs": [{"name": "x", "shape": shape, "datatype": "FP64", "data": data}]}
    return {form: [ROW] * n_rows}


def write_script(folder: Path, load: Load, form: str = "data") -> Path:
    """Write wrk's script for a load."""
    body = json.dumps(make_body(form, load.n_rows))
    path = folder / f"{form}_{load.n_rows}.lua"
    path.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [==[{body}]==]\n"
    )
    return path


def read_latency(text: str, percentile: str) -> float:
    """Read a percentile from wrk's table, in milliseconds."""
    match = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s) *$", text, re.M)
    if match is None:
        raise SystemExit(f"wrk printed no {percentile} %:\n{text}")
    return float(match[1]) * UNITS_MS[match[2]]


def measure(side: Running, path: str, script: Path | None, load: Load, seconds: int) -> Result:
    """Send a load to a side."""
    command = ["wrk", "-t1", f"-c{load.n_connections}", f"-d{seconds}s", "--latency"]
    command += ["--timeout", "30s", *(["-s", str(script)] if script else [])]
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
    """Return the median of each number."""
    columns = zip(*((r.per_s, r.p50_ms, r.p99_ms, r.cpu_us) for r in results), strict=True)
    return Result(*(statistics.median(column) for column in columns))


Medians = dict[tuple[Load, str], Result]


def show(load: Load, name: str, result: Result) -> None:
    """Print a line of the table."""
    print(
        f"{load.n_rows:5} rows {load.n_connections:3} connections  {name:12}"
        f" {result.per_s:9.0f} requests/s  p50 {result.p50_ms:8.2f} ms  p99 {result.p99_ms:8.2f} ms"
        f"  {result.cpu_us:8.0f} us CPU"
    )


def verdict(is_met: bool) -> str:
    """Format whether a requirement is met."""
    return "met" if is_met else "NOT MET"


def show_ratios(medians: Medians, sides: list[Side]) -> bool:
    """Print our ratios to each side with the spread, and return whether the limits are met."""
    are_met = []
    beside = {side.name: side.beside for side in sides}
    for (load, name), other in medians.items():
        if beside[name] == name:
            continue
        ours, key = medians[load, beside[name]], (load.n_rows, name)
        line = (
            f"{load.n_rows:5} rows {load.n_connections:3} connections  {beside[name]} / {name:14}"
        )
        for what, ratio, required in (
            ("requests", ours.per_s / other.per_s, REQUIRED_RATIOS.get(key)),
            ("CPU", other.cpu_us / ours.cpu_us, REQUIRED_CPU_RATIOS.get(key)),
        ):
            line += f"  {ratio:6.2f} by {what}"
            if required is not None:
                are_met.append(ratio >= required)
                line += f", required {required:g}: {verdict(are_met[-1])}"
        print(line)
    for load in LOADS[1::2]:
        ours = medians[load, "ours"]
        are_met.append(ours.p99_ms <= REQUIRED_TAIL * ours.p50_ms)
        print(
            f"{load.n_rows:5} rows {load.n_connections:3} connections  p99 / p50"
            f" {ours.p99_ms / ours.p50_ms:6.2f}, required at most {REQUIRED_TAIL}:"
            f" {verdict(are_met[-1])}"
        )
    return all(are_met)


def ask_in_turns(sides: list[Side], folder: Path, n_repeats: int, seconds: int) -> Medians:
    """Send every load to every side in turns, several times, and return medians."""
    results_of: dict[tuple[Load, str], list[Result]] = {}
    for number in range(n_repeats):
        for load in LOADS:
            for side in filter(lambda side: side.takes(load), sides):
                script = write_script(folder, load, side.form) if side.form else None
                result = measure(side.server, side.path, script, load, seconds)
                results_of.setdefault((load, side.name), []).append(result)
        print(f"repeat {number + 1} of {n_repeats} done", file=sys.stderr, flush=True)
    return {key: median_of(results) for key, results in results_of.items()}


def main(n_repeats: int, seconds: int, mlflow: str | None, mlserver: str | None) -> bool:
    """Measure the sides in turns, print medians and ratios, and return the verdict."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing; Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        config_path = prepare(folder)
        ours = stack.enter_context(running_ours(config_path))
        plain = stack.enter_context(running_plain(config_path))
        sides = [
            Side("ours", ours, "/predict", "data"),
            Side("empty", plain, "/empty", None),
            Side("plain", plain, "/plain", "data"),
        ]
        servers = [ours, plain]
        if mlflow is not None:
            servers.append(stack.enter_context(running_mlflow(config_path, mlflow, folder)))
            sides += [
                Side("mlflow", servers[-1], "/invocations", "dataframe_records"),
                Side("ours split", ours, "/invocations", "dataframe_split", "ours split"),
                Side("mlflow split", servers[-1], "/invocations", "dataframe_split", "ours split"),
            ]
        if mlserver is not None:
            both = stack.enter_context(running_ours(config_path, MLSERVER_PROCESSES))
            other = stack.enter_context(running_mlserver(config_path, mlserver, folder))
            servers += [both, other]
            sides += [
                Side("ours tensor", ours, INFER, "tensor", "ours tensor"),
                Side("ours x2 tensor", both, INFER, "tensor", "ours x2 tensor"),
                Side("mlserver", other, INFER, "tensor", "ours x2 tensor"),
            ]
        medians = ask_in_turns(sides, folder, n_repeats, seconds)
        used_mb = {server.name: server.memory_mb() for server in servers}
    for (load, side), result in medians.items():
        show(load, side, result)
    are_met = show_ratios(medians, sides)
    memory = ", ".join(f"{server} {mb:.0f} MB" for server, mb in used_mb.items())
    is_small = all(mb <= REQUIRED_MB for name, mb in used_mb.items() if name.startswith("ours"))
    print(f"memory: {memory}; required at most {REQUIRED_MB} MB: {verdict(is_small)}")
    return are_met and is_small


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--mlflow", metavar="PYTHON")
    parser.add_argument("--mlserver", metavar="PYTHON")
    given = parser.parse_args()
    sys.exit(not main(given.repeats, given.seconds, given.mlflow, given.mlserver))
