"""Measure the full process on Spark beside pandas, on this machine: CPU time, Java included.

    python -m benchmarks.cluster [--rows 200000] [--clients 40000] [--cores 2]

The rows are those of `benchmarks.dated_rows`, without and with dates. Spark runs as `local[CORES]`
with its own defaults. Needs Java 17 and the extra `[spark]`.
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from benchmarks import dated_rows, pipeline

# Of Linux: orphans become children of this process, which can then wait for them.
PR_SET_CHILD_SUBREAPER = 36
SIDES = dated_rows.SIDES[:2]


def run_all(config_path: Path) -> float:
    """Run the full process, wait for Java as well, and return the CPU time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "scripts.fullprocess", "--config", str(config_path)]
    subprocess.run(command, cwd=pipeline.ROOT, check=True, capture_output=True)
    # It ends with the last child.
    with suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(data: Path, side: str, engine: dict[str, str]) -> float:
    """Run an installation of its own with an engine, and return the CPU time in seconds."""
    with tempfile.TemporaryDirectory(dir=data) as name:
        config_path = dated_rows.install(Path(name), data, "fullprocess", side)
        settings = json.loads(config_path.read_text())
        config_path.write_text(json.dumps(settings | {"engine": engine}))
        return run_all(config_path)


def main() -> None:
    """Write the files, and measure both engines without and with dates."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=40_000)
    parser.add_argument("--cores", type=int, default=2)
    chosen = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    spark = {"name": "spark", "master": f"local[{chosen.cores}]"}
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        dated_rows.make_data(data, chosen.rows, chosen.clients)
        for side in SIDES:
            for engine in ({"name": "pandas"}, spark):
                cpu_s = measure(data, side, engine)
                print(f"{chosen.rows} rows {side}, {engine['name']}: {cpu_s:.1f} s CPU", flush=True)


if __name__ == "__main__":
    main()
