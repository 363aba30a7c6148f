"""Run the full process on a table larger than the memory limit.

    python -m benchmarks.beyond_memory [--rows 50000000] [--files 20] [--limit-gb 1.0]

The limit is hard: the kernel kills a process above the limit of its control group. Without control
groups the address space is limited instead. `engine.memory_limit_gb` has the same value.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
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


def count_rows(folder: Path) -> int:
    """Count the rows of the dataset, a megabyte at a time."""
    (path,) = (folder / "output").glob("finaldata_*.csv")
    with path.open("rb") as handle:
        return sum(part.count(b"\n") for part in iter(lambda: handle.read(2**20), b"")) - 1


def main() -> None:
    """Write the tables, run the full process under the limit, and check the dataset."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--limit-gb", type=float, default=1.0)
    parser.add_argument("--data", type=Path, help="existing tables, kept afterwards")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = chosen.data or Path(name) / "data"
        if not data.exists():
            pipeline.make_data(data, chosen.rows, chosen.files)
        n_bytes = sum(path.stat().st_size for path in (data / "input").iterdir())
        print(f"{chosen.rows} rows in {chosen.files} files, {n_bytes / 1e6:.1f} MB;", end=" ")
        print(f"{os.cpu_count()} cores", flush=True)
        folder = Path(name) / "ours"
        config_path = install(folder, data, chosen.limit_gb)
        cost, kind = run_limited("fullprocess", config_path, int(chosen.limit_gb * 1e9))
        n_rows, n_releases = count_rows(folder), len(list((folder / "prod/releases").iterdir()))
    print(f"{kind} of {chosen.limit_gb:g} GB;", end=" ")
    print(f"full process {cost.wall_s:.0f} s, {cost.cpu_s:.0f} s CPU, peak {cost.peak_mb:.0f} MB")
    print(f"{n_rows} different rows in the dataset, {n_releases} release")
    # Every fifth row is a duplicate.
    sys.exit(not (n_rows == chosen.rows * 4 // 5 and n_releases == 1))


if __name__ == "__main__":
    main()
