"""Compare ingestion beyond memory with DuckDB and with the spilling of Polars.

    python -m benchmarks.spilling --python PYTHON [--rows 20000000] [--limit-gb 1.0] [--data FOLDER]

PYTHON is an interpreter with duckdb and polars, which are no dependencies of these measurements.
Each reads the tables, drops repeated rows in the order of the files and writes CSV, in a control
group of its own. The libraries do no more: they prove no cell and report no row.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import beyond_memory, pipeline

DUCKDB = """
import duckdb, sys
source, limit_mb, folder = sys.argv[1:4]
database = duckdb.connect(folder + "/rows.duckdb")
database.execute(f"SET memory_limit = '{limit_mb}MB'")
database.execute(f"SET temp_directory = '{folder}'")
rows = f"read_csv('{source}/*.csv')"
names = [name for name, *_ in database.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()]
cells = ", ".join(names)
database.execute(
    f"COPY (SELECT {cells} FROM (SELECT {cells}, min(place) AS place FROM"
    f" (SELECT *, row_number() OVER () AS place FROM {rows}) GROUP BY {cells})"
    f" ORDER BY place) TO '{folder}/out.csv' (HEADER)"
)
"""
DUCKDB_UNORDERED = """
import duckdb, sys
source, limit_mb, folder = sys.argv[1:4]
database = duckdb.connect(folder + "/rows.duckdb")
database.execute(f"SET memory_limit = '{limit_mb}MB'")
database.execute(f"SET temp_directory = '{folder}'")
database.execute("SET preserve_insertion_order = false")
database.execute(
    f"COPY (SELECT DISTINCT * FROM read_csv('{source}/*.csv')) TO '{folder}/out.csv' (HEADER)"
)
"""
POLARS = """
import os, sys
source, limit_mb, folder = sys.argv[1:4]
os.environ["POLARS_OOC_MEMORY_BUDGET_MB"] = limit_mb
os.environ["POLARS_OOC_SPILL_DIR"] = folder
os.environ["POLARS_OVERRIDE_TOTAL_MEMORY_MB"] = limit_mb
import polars as pl
rows = pl.scan_csv(source + "/*.csv").unique(maintain_order=True)
rows.sink_csv(folder + "/out.csv", engine="streaming")
"""
POLARS_UNORDERED = POLARS.replace("maintain_order=True", "maintain_order=False")
# The libraries are told to keep to this share: what they count is not all that they take.
SHARE = 0.6
IN_GROUP = """
import os, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as handle:
    handle.write(str(os.getpid()))
code = sys.argv[2]
sys.argv[:] = ["library", *sys.argv[3:]]
exec(code)
"""
CODES = {
    "DuckDB": DUCKDB,
    "DuckDB, any order": DUCKDB_UNORDERED,
    "Polars, spilling": POLARS,
    "Polars, spilling, any order": POLARS_UNORDERED,
}


def run_library(library: str, code: str, python: str, data: Path, limit_gb: float) -> None:
    """Run a library under the limit, and print the cost, or how the library failed."""
    share_mb = str(int(limit_gb * 1000 * SHARE))
    with (
        beyond_memory.control_group(int(limit_gb * 1e9)) as group,
        tempfile.TemporaryDirectory() as folder,
        (Path(folder) / "errors.txt").open("w+") as errors,
    ):
        arguments = [str(data / "input"), share_mb, folder]
        started = time.perf_counter()
        process = subprocess.Popen([python, "-c", IN_GROUP, group, code, *arguments], stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s, cpu_s = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        reason = errors.read().strip()[-300:]
        written = Path(folder) / "out.csv"
        n_rows = sum(1 for _ in written.open("rb")) - 1 if written.exists() else 0
    failed = f"ended with exit code {process.returncode} {reason}"
    result = failed if process.returncode else f"{n_rows} rows"
    print(f"{library}: {wall_s:.0f} s, {cpu_s:.0f} s CPU, {result}", flush=True)


def main() -> None:
    """Write the tables, and run ours and each library under the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", required=True, help="an interpreter with duckdb and polars")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--limit-gb", type=float, default=1.0)
    parser.add_argument("--data", type=Path, help="existing tables, kept afterwards")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = chosen.data or Path(name) / "data"
        if not data.exists():
            pipeline.make_data(data, chosen.rows, chosen.files)
        config_path = beyond_memory.install(Path(name) / "ours", data, chosen.limit_gb)
        limit_bytes = int(chosen.limit_gb * 1e9)
        cost, _ = beyond_memory.run_limited("ingestion", config_path, limit_bytes)
        n_rows = beyond_memory.measure_dataset(Path(name) / "ours").n_rows
        print(f"ours: {cost.wall_s:.0f} s, {cost.cpu_s:.0f} s CPU, {n_rows} rows", flush=True)
        for library, code in CODES.items():
            run_library(library, code, chosen.python, data, chosen.limit_gb)


if __name__ == "__main__":
    main()
