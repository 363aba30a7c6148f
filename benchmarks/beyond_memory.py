"""Run the full process on a table larger than the memory limit.

    python -m benchmarks.beyond_memory [--rows 50000000] [--files 20] [--limit-gb 1.0]
                                       [--tries 5] [--same]

Each try is an installation of its own. `--same` compares the datasets with the one that ingestion
writes without a limit.

The limit is hard: the kernel kills a process above the limit of its control group. Without control
groups the address space is limited instead. `engine.memory_limit_gb` has the same value.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import pipeline
from benchmarks.measuring import Cost, run_python

# Both versions of control groups: the folder, and the name of the limit.
GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)
UNDER_LIMIT = """
import os, resource, runpy, sys
group, limit, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if group:
    with open(group + "/cgroup.procs", "w") as handle:
        handle.write(str(os.getpid()))
else:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.argv[:] = [name, *sys.argv[4:]]
runpy.run_module(name, run_name="__main__")
"""


@contextlib.contextmanager
def control_group(limit_bytes: int) -> Iterator[str]:
    """Create a control group with a memory limit for a context, with "" where impossible."""
    for parent, limit_name in GROUPS:
        group = parent / f"adras{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit_name).write_text(str(limit_bytes))
        except OSError:
            group.rmdir()
            continue
        try:
            yield str(group)
        finally:
            # A killed program may leave a child process for a moment.
            with contextlib.suppress(OSError):
                group.rmdir()
        return
    yield ""


def run_limited(name: str, config_path: Path, limit_bytes: int) -> tuple[Cost, str]:
    """Run a program of ours with limited memory, and stop on a failure."""
    with control_group(limit_bytes) as group:
        arguments = ["-c", UNDER_LIMIT, group, str(limit_bytes), f"scripts.{name}"]
        cost = run_python([*arguments, "--config", str(config_path)], pipeline.ROOT)
    return cost, "control group" if group else "address space"


def install(folder: Path, data: Path, limit_gb: float) -> Path:
    """Return an installation with the memory limit, a schema and enough time."""
    config_path = pipeline.install(folder, data)
    settings = json.loads(config_path.read_text())
    settings["engine"] = {"name": "pandas", "memory_limit_gb": limit_gb}
    settings["run"] = {"timeout_minutes": 600}
    config_path.write_text(json.dumps(settings))
    return config_path


@dataclass(frozen=True)
class Written:
    """The number of rows and the SHA-256 of a dataset."""

    n_rows: int
    sha256: str


def measure_dataset(folder: Path) -> Written:
    """Count the rows of the dataset of an installation and hash them, a megabyte at a time."""
    (path,) = (folder / "output").glob("finaldata_*.csv")
    n_lines, sha = 0, hashlib.sha256()
    with path.open("rb") as handle:
        for part in iter(lambda: handle.read(2**20), b""):
            n_lines += part.count(b"\n")
            sha.update(part)
    return Written(n_lines - 1, sha.hexdigest())


def ingest_unlimited(folder: Path, data: Path) -> Written:
    """Return the dataset that ingestion writes with all rows in memory."""
    cost = pipeline.run_step("ingestion", pipeline.install(folder, data))
    print(f"without a limit: ingestion {cost.cpu_s:.0f} s CPU, peak {cost.peak_mb:.0f} MB")
    return measure_dataset(folder)


def run_try(folder: Path, data: Path, limit_gb: float) -> Written:
    """Run the full process under the limit, and return the dataset."""
    config_path = install(folder, data, limit_gb)
    cost, kind = run_limited("fullprocess", config_path, int(limit_gb * 1e9))
    n_releases = len(list((folder / "prod/releases").iterdir()))
    if n_releases != 1:
        raise SystemExit(f"The full process was to deploy; there are {n_releases} releases.")
    print(
        f"{kind} of {limit_gb:g} GB; full process {cost.wall_s:.0f} s, {cost.cpu_s:.0f} s CPU,"
        f" peak {cost.peak_mb:.0f} MB",
        flush=True,
    )
    return measure_dataset(folder)


def main() -> None:
    """Write the tables, run the full process under the limit, and check the datasets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--limit-gb", type=float, default=1.0)
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--same", action="store_true", help="compare with a run without a limit")
    parser.add_argument("--data", type=Path, help="existing tables, kept afterwards")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = chosen.data or Path(name) / "data"
        if not data.exists():
            pipeline.make_data(data, chosen.rows, chosen.files)
        n_bytes = sum(path.stat().st_size for path in (data / "input").iterdir())
        print(f"{chosen.rows} rows in {chosen.files} files, {n_bytes / 1e6:.1f} MB;", end=" ")
        print(f"{os.cpu_count()} cores", flush=True)
        written = []
        if chosen.same:
            with tempfile.TemporaryDirectory() as folder:
                written.append(ingest_unlimited(Path(folder), data))
        for _ in range(chosen.tries):
            with tempfile.TemporaryDirectory() as folder:
                written.append(run_try(Path(folder), data, chosen.limit_gb))
    n_rows, n_datasets = written[0].n_rows, len(set(written))
    print(f"{n_rows} different rows in the dataset, {n_datasets} different datasets")
    # Every fifth row is a duplicate.
    sys.exit(not (n_rows == chosen.rows * 4 // 5 and n_datasets == 1))


if __name__ == "__main__":
    main()
