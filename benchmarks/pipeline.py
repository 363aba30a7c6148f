"""Measure the pipeline beside the plain way, and its ingestion beside Polars.

    python -m benchmarks.pipeline [--rows 1000000] [--files 20] [--repeats 1]
                                  [--linear] [--log-loss]
    python -m benchmarks.pipeline --shape all [--before CHECKOUT] [--repeats 3]

Each step runs in a process of its own, like the scripts, both sides in turns, with medians. "The
full process" is a second run of an installation, on new data, with diagnostics and the check for
outdated packages. The plain sum has no diagnostics, a handicap for the full process. Polars comes
with the extra [bench].

`--linear` adds a tenth of the rows, and compares the CPU time per row, with and without the
constant cost of 57 rows. `--log-loss` compares the model of drawn rows with a fit to all rows.

`--shape` measures ingestion alone, on tables of a shape or of all shapes (`large_data.py`), beside
plain Polars and plain pandas that give the same rows. `--before` adds the ingestion of another
checkout of this project, whose CPU time is then the limit.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import plain
from benchmarks.large_data import Shape
from benchmarks.measuring import Cost, run_python

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("ingestion", "training", "scoring", "promotion", "deployment", "reporting")
N_TEST_ROWS = 10_000
# The requirements: our cost as a share of the plain way's or of Polars', and the smallest size.
LIMITS = (
    ("ingestion", "cpu_s", "plain ingestion", 1 / 3, 10_000_000, sys.maxsize),
    ("ingestion", "wall_s", "plain ingestion", 1 / 3, 10_000_000, sys.maxsize),
    ("ingestion", "cpu_s", "polars ingestion", 1.2, 10_000_000, sys.maxsize),
    ("ingestion", "peak_mb", "plain ingestion", 1 / 2, 10_000_000, sys.maxsize),
    ("training", "cpu_s", "plain training", 1 / 4, 10_000_000, sys.maxsize),
    ("training", "peak_mb", "plain training", 1 / 2, 10_000_000, sys.maxsize),
    ("full process", "cpu_s", "plain sum", 1 / 3, 10_000_000, sys.maxsize),
    ("full process", "cpu_s", "plain sum", 0.45, 0, 1_000),
)

# The rows of two datasets, numbers as numbers: a whole number may be written as 1 or as 1.0.
SAME_ROWS = """
import sys
import polars as pl
ours, *theirs = [
    pl.read_csv(path, infer_schema=False).with_columns(
        pl.exclude("corporation").cast(pl.Float64)
    ) for path in sys.argv[1:]
]
sys.exit(not all(ours.equals(table) for table in theirs))
"""

GROWING = ("ingestion", "training", "full process")
MAX_GROWTH = 1.2
FEW_ROWS = 57


def make_data(data: Path, n_rows: int, n_files: int, shape: Shape = Shape.WHOLE) -> None:
    """Write the tables in a child process, since peak memory is inherited from the parent."""
    tables = {
        "input": (n_rows, n_files, "--shape", shape),
        "test": (min(N_TEST_ROWS, n_rows), 1, "--first", str(10**9)),
        "poor": (200, 1, "--first", str(2 * 10**9), "--inverted"),
    }
    for name, (rows, files, *options) in tables.items():
        sizes = ["--rows", str(rows), "--files", str(files)]
        command = ["-m", "benchmarks.large_data", str(data / name), *sizes, *map(str, options)]
        run_python(command, ROOT)


def install(folder: Path, data: Path, name: str = "input") -> Path:
    """Write or change an installation on tables of the data, and return the config path."""
    folder.mkdir(exist_ok=True)
    settings = {
        "input_folder_path": str(data / name),
        "test_data_path": str(data / "test"),
        "output_folder_path": "output",
        "output_model_path": "models",
        "prod_deployment_path": "prod",
        "api": {"port": 1},
    }
    config_path = folder / "config.json"
    config_path.write_text(json.dumps(settings))
    return config_path


def run_whole(folder: Path, data: Path) -> Cost:
    """Measure a full process on new data, with a poor model in production."""
    run_step("fullprocess", install(folder, data, "poor"))
    cost = run_step("fullprocess", install(folder, data))
    n_releases = len(list((folder / "prod" / "releases").iterdir()))
    if n_releases != 2:
        raise SystemExit(f"The full process was to deploy; there are {n_releases} releases.")
    return cost


def run_step(name: str, config_path: Path, checkout: Path = ROOT) -> Cost:
    """Run one of our programs."""
    verb = ["deploy"] if name == "deployment" else []
    return run_python(["-m", f"scripts.{name}", *verb, "--config", str(config_path)], checkout)


def run_plain(name: str, folder: Path, data: Path, shape: Shape = Shape.WHOLE) -> Cost:
    """Run a script of the plain way."""
    code = plain.POLARS_INGESTION if name == "polars" else plain.STEPS[name]
    return run_python(["-c", code, str(data / "input"), str(data / "test"), shape], folder)


def measure_all(folder: Path, data: Path) -> dict[str, Cost]:
    """Run both sides step by step in turns, and return the costs."""
    costs: dict[str, Cost] = {}
    plain_folder = folder / "plain"
    plain_folder.mkdir()
    config_path = install(folder / "ours", data)
    for name in STEPS:
        if name in plain.STEPS:
            costs[f"plain {name}"] = run_plain(name, plain_folder, data)
        if name == "ingestion":
            costs["polars ingestion"] = run_plain("polars", plain_folder, data)
        costs[name] = run_step(name, config_path)
    costs["diagnostics"] = run_step("diagnostics", config_path)
    costs["plain diagnostics"] = run_plain("diagnostics", plain_folder, data)
    costs["full process"] = run_whole(folder / "whole", data)
    summed = [name for name in plain.STEPS if name != "diagnostics"]
    costs["plain sum"] = sum((costs[f"plain {name}"] for name in summed), Cost(0, 0, 0))
    return costs


def measure_ours(folder: Path, data: Path, n_rows: int, n_files: int) -> dict[str, Cost]:
    """Return our costs on new tables of `n_rows` rows."""
    make_data(data, n_rows, n_files)
    config_path = install(folder / "ours", data)
    costs = {name: run_step(name, config_path) for name in ("ingestion", "training")}
    return costs | {"full process": run_whole(folder / "whole", data)}


def check_linear(costs: dict[str, Cost], folder: Path, n_rows: int, n_files: int) -> bool:
    """Print the growth of CPU time per row from a tenth of the rows on, against the limit."""
    costs_of = {}
    for n in (FEW_ROWS, n_rows // 10):
        place = folder / f"rows{n}"
        place.mkdir()
        costs_of[n] = measure_ours(place, place / "data", n, n_files if n > FEW_ROWS else 1)
    all_met = True
    for name in GROWING:
        start = costs_of[FEW_ROWS][name].cpu_s
        tenth, whole = costs_of[n_rows // 10][name].cpu_s, costs[name].cpu_s
        growth, net = whole / tenth / 10, (whole - start) / max(tenth - start, 1e-9) / 10
        all_met &= growth <= MAX_GROWTH
        print(
            f"{name} cpu_s per row, {n_rows} rows / {n_rows // 10}: {whole:.2f} s / {tenth:.2f} s,"
            f" ratio {growth:.3f} ({net:.3f} beyond the {start:.2f} s of {FEW_ROWS} rows),"
            f" required at most {MAX_GROWTH}: {'met' if growth <= MAX_GROWTH else 'NOT MET'}",
            flush=True,
        )
    return all_met


def check_log_loss(config_path: Path) -> bool:
    """Print the log loss beside that of a fit to all rows, by a child process."""
    command = [sys.executable, "-m", "benchmarks.sampling", str(config_path)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def measure_ingestion(
    folder: Path, data: Path, shape: Shape, before: Path | None
) -> dict[str, Cost]:
    """Run ingestion of pandas, Polars and ours in turns, and check that the rows are equal."""
    ours, theirs = folder / "ours", folder / "plain"
    theirs.mkdir(parents=True)
    costs = {"pandas": run_plain("ingestion", theirs, data, shape)}
    costs["Polars"] = run_plain("polars", theirs, data, shape)
    if before:
        costs["before"] = run_step("ingestion", install(folder / "before", data), before)
    costs["ours"] = run_step("ingestion", install(ours, data))
    (dataset,) = (ours / "output").glob("finaldata_*.csv")
    tables = [dataset, theirs / "finaldata.csv", theirs / "polars.csv"]
    command = [sys.executable, "-c", SAME_ROWS, *map(str, tables)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"The datasets of the shape {shape} are not equal: {tables}.")
    return costs


def check_shape(shape: Shape, costs: dict[str, Cost]) -> bool:
    """Print the costs of ingestion on a shape, with the ratios, against the limit."""
    ours, all_met = costs["ours"], True
    print(f"{shape}: ours {ours.cpu_s:.2f} s CPU, {ours.peak_mb:.0f} MB")
    for name, cost in costs.items():
        if name == "ours":
            continue
        ratio = ours.cpu_s / cost.cpu_s
        verdict = ""
        if name == "before":
            all_met = ratio <= 1
            verdict = f", required at most 1: {'met' if all_met else 'NOT MET'}"
        print(
            f"    {name} {cost.cpu_s:.2f} s CPU, {cost.peak_mb:.0f} MB; ours / {name} {ratio:.2f},"
            f" by memory {ours.peak_mb / cost.peak_mb:.2f}{verdict}",
            flush=True,
        )
    return all_met


def measure_shapes(
    shapes: list[Shape], sizes: tuple[int, int], n_repeats: int, before: Path | None
) -> bool:
    """Measure ingestion on tables of each shape; return whether each limit is met."""
    all_met = True
    for shape in shapes:
        with tempfile.TemporaryDirectory() as name:
            data = Path(name) / "data"
            make_data(data, *sizes, shape)
            runs = [
                measure_ingestion(Path(name) / f"run{number}", data, shape, before)
                for number in range(n_repeats)
            ]
        all_met &= check_shape(shape, medians(runs))
    return all_met


def medians(runs: list[dict[str, Cost]]) -> dict[str, Cost]:
    """Return the median of each figure over the runs."""

    def middle(name: str, figure: Callable[[Cost], float]) -> float:
        return statistics.median(figure(run[name]) for run in runs)

    return {
        name: Cost(
            middle(name, lambda cost: cost.wall_s),
            middle(name, lambda cost: cost.cpu_s),
            middle(name, lambda cost: cost.peak_mb),
        )
        for name in runs[0]
    }


def print_costs(costs: dict[str, Cost]) -> None:
    """Print wall time, CPU time and memory of each step, ours beside the plain way's."""
    print(f"{'':20}{'ours':>12}{'':20}{'plain way':>12}")
    print(f"{'':20}" + f"{'wall s':>10}{'CPU s':>10}{'MB':>8}    " * 2)
    pairs = [(name, f"plain {name}") for name in (*STEPS, "diagnostics")]
    pairs += [("full process", "plain sum"), ("ingestion", "polars ingestion")]
    for ours, theirs in pairs:
        label = f"{ours} : Polars" if theirs.startswith("polars") else ours
        sides = [costs.get(ours), costs.get(theirs)]
        cells = [
            f"{c.wall_s:10.2f}{c.cpu_s:10.2f}{c.peak_mb:8.0f}    " if c else " " * 32 for c in sides
        ]
        print(f"{label:20}{''.join(cells)}".rstrip())


def check_limits(costs: dict[str, Cost], n_rows: int) -> bool:
    """Print each requirement for the number of rows, with the verdict."""
    all_met = True
    for ours, figure, theirs, limit, from_rows, to_rows in LIMITS:
        if not from_rows <= n_rows <= to_rows:
            continue
        ratio = getattr(costs[ours], figure) / getattr(costs[theirs], figure)
        met = ratio <= limit
        all_met &= met
        verdict = "met" if met else "NOT MET"
        print(f"{ours} {figure} / {theirs}: {ratio:.3f}, required at most {limit:.3f}: {verdict}")
    return all_met


def main() -> None:
    """Write the data, measure both sides, and fail if a requirement is not met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--linear", action="store_true", help="compare with a tenth of the rows")
    parser.add_argument("--log-loss", action="store_true", help="compare with a fit to all rows")
    parser.add_argument("--shape", choices=["all", *Shape], help="measure ingestion alone")
    parser.add_argument("--before", type=Path, help="another checkout, for --shape")
    chosen = parser.parse_args()
    if chosen.shape:
        shapes = list(Shape) if chosen.shape == "all" else [Shape(chosen.shape)]
        sizes = (chosen.rows, chosen.files)
        sys.exit(not measure_shapes(shapes, sizes, chosen.repeats, chosen.before))
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        make_data(data, chosen.rows, chosen.files)
        n_bytes = sum(path.stat().st_size for path in (data / "input").iterdir())
        print(f"{chosen.rows} rows in {chosen.files} files, {n_bytes / 1e6:.1f} MB;", end=" ")
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}", flush=True)
        runs = []
        for number in range(chosen.repeats):
            folder = Path(name) / f"run{number}"
            folder.mkdir()
            runs.append(measure_all(folder, data))
        costs = medians(runs)
        print_costs(costs)
        all_met = check_limits(costs, chosen.rows)
        if chosen.log_loss:
            all_met &= check_log_loss(folder / "ours" / "config.json")
        if chosen.linear:
            all_met &= check_linear(costs, Path(name), chosen.rows, chosen.files)
    sys.exit(not all_met)


if __name__ == "__main__":
    main()
