"""Measure rows with dates beside the same rows without: ingestion, and the full process.

    python -m benchmarks.dated_rows [--rows 1000000] [--clients 200000] [--repeats 3]
                                    [--steps ingestion fullprocess]

Clients come back every month. "Without dates" are the files without the day of a row and two other
dates; the labels are in the rows. "With dates" are all columns, with two columns of days, a change
and a ratio. "With outcomes" are the files without labels, and the outcomes in files of their own.
The sides run in turns, each in a process of its own, with medians of CPU time. The limit is the CPU
time of "with dates" beside "without dates".

    python -m benchmarks.dated_rows --limit-gb 0.6 --rows 2000000 --clients 400000

runs the full process "with outcomes" under a hard limit of memory instead, as
`benchmarks.beyond_memory` does, and compares the dataset with one made in memory.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import beyond_memory, large_data, pipeline
from benchmarks.measuring import Cost, run_python
from scripts.core import artifacts
from scripts.core.artifacts import Kind

SIDES = ("without dates", "with dates", "with outcomes")
DATES = ("snapshot", "signup", "last_login")
HORIZON_DAYS, FIRST = 30, date(2024, 1, 31)
LIMIT = 1.3
SCHEMA: dict[str, Any] = {
    "target": "left",
    "ids": ["client"],
    "numeric": ["seats", "active", "logins", "tickets", "revenue"],
    "categorical": ["plan", "country"],
    "positive": 1,
    "negative": 0,
}
DATED = {
    "date": "snapshot",
    "dates": ["signup", "last_login"],
    "changes": ["logins"],
    "ratios": {"usage": ["active", "seats"]},
}


def month_end(month: int) -> date:
    """Return the last day of a month, counted from January 2024."""
    year, following = divmod(month + 1, 12)
    return date(2024 + year, following + 1, 1) - timedelta(days=1)


def iso(days: Any) -> pl.Series:
    """Return days, counted from 1970-01-01, as ISO dates."""
    return pl.Series(np.asarray(days).astype(np.int32)).cast(pl.Date).cast(pl.String)


def make_month(clients: Any, month: int, *, is_last: bool) -> tuple[pl.DataFrame, Any]:
    """Return the rows of clients as of a month, and the day on which each leaves, or -1."""

    def draw(stream: int) -> Any:
        return large_data.uniform(clients + np.uint64(month * 10**10), stream)

    def choose(names: list[str], stream: int) -> pl.Series:
        drawn = len(names) * large_data.uniform(clients, stream)
        return pl.Series(names).gather(drawn.astype(np.int64))

    day = (month_end(month) - date(1970, 1, 1)).days
    seats = np.floor(1 + 200 * large_data.uniform(clients, 1) ** 3).astype(np.int64)
    active = np.floor(seats * draw(2)).astype(np.int64)
    logins, tickets = np.floor(active * 20 * draw(3)), np.floor(8 * draw(4) ** 4)
    idle = np.floor(60 * draw(5) ** 3)
    log_odds = 0.05 * idle - 2.5 * active / seats - 2.6 + 0.2 * tickets
    left = draw(6) < 1 / (1 + np.exp(-log_odds))
    table = pl.DataFrame(
        {
            "client": pl.select(pl.format("c{}", pl.Series(clients))).to_series(),
            "snapshot": iso(np.full(len(clients), day)),
            "signup": iso(day - 30 * month - 1 - np.floor(2000 * large_data.uniform(clients, 7))),
            "last_login": iso(day - idle),
            "seats": seats,
            "active": active,
            "logins": logins.astype(np.int64),
            "tickets": tickets.astype(np.int64),
            "revenue": np.round(seats * 20 * (0.5 + large_data.uniform(clients, 8)), 2),
            "plan": choose(["free", "pro", "team"], 9),
            "country": choose(["DE", "FR", "US", "JP", "BR"], 10),
            "left": [None] * len(clients) if is_last else left.astype(np.int64),
        }
    )
    return table, np.where(left, day + 1 + np.floor(20 * draw(11)), -1)


def make_data(data: Path, n_rows: int, n_clients: int) -> None:
    """Write the files of all sides: clients who left are replaced by new ones."""
    for name in (*SIDES, "outcomes", "training", "test"):
        (data / name).mkdir(parents=True)
    n_months, clients = max(3, n_rows // n_clients), np.arange(n_clients, dtype=np.uint64)
    for month in range(n_months):
        table, leaving = make_month(clients, month, is_last=month == n_months - 1)
        name, is_gone = f"{month_end(month)}.csv", leaving >= 0
        table.drop(DATES).write_csv(data / SIDES[0] / name)
        # The full process tests on the month before the last in either case.
        place = data / ("test" if month == n_months - 2 else "training")
        (place / name).hardlink_to(data / SIDES[0] / name)
        table.write_csv(data / SIDES[1] / name)
        table.drop("left").write_csv(data / SIDES[2] / name)
        if month < n_months - 1:
            gone = {"client": table["client"].filter(is_gone), "on": iso(leaving[is_gone])}
            pl.DataFrame(gone).write_csv(data / "outcomes" / name)
        new = np.arange(is_gone.sum(), dtype=np.uint64) + clients[-1] + np.uint64(1)
        clients = np.append(clients[~is_gone], new)
    until = month_end(n_months - 2) + timedelta(days=HORIZON_DAYS)
    (data / "until.txt").write_text(str(until))


def install(folder: Path, data: Path, step: str, side: str) -> Path:
    """Write the installation of a side for a step, and return the config path."""
    folder.mkdir(parents=True, exist_ok=True)
    is_dated, is_whole = side != SIDES[0], step == "fullprocess"
    settings: dict[str, Any] = {
        "input_folder_path": str(data / ("training" if is_whole and not is_dated else side)),
        "test_data_path": None if is_dated else str(data / "test"),
        "output_folder_path": "output",
        "output_model_path": "models",
        "prod_deployment_path": "prod",
        "api": {"port": 1},
        "run": {"timeout_minutes": 600},
        "schema": SCHEMA | DATED if is_dated else SCHEMA,
    }
    if side == SIDES[2]:
        settings["outcomes"] = {
            "input_folder_path": str(data / "outcomes"),
            "date": "on",
            "horizon_days": HORIZON_DAYS,
            "complete_until": (data / "until.txt").read_text(),
        }
    config_path = folder / "config.json"
    config_path.write_text(json.dumps(settings))
    return config_path


def measure(data: Path, steps: list[str], n_repeats: int) -> dict[tuple[str, str], Cost]:
    """Run all sides in turns, and return the costs of the median run by step and side."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(n_repeats):
        for step in steps:
            for side in SIDES:
                with tempfile.TemporaryDirectory(dir=data) as name:
                    config_path = install(Path(name), data, step, side)
                    cost = pipeline.run_step(step, config_path)
                costs.setdefault((step, side), []).append(cost)
    middle = statistics.median_low
    return {
        place: Cost(*(middle(getattr(run, name) for run in runs) for name in Cost.__annotations__))
        for place, runs in costs.items()
    }


def check(costs: dict[tuple[str, str], Cost], steps: list[str]) -> bool:
    """Print the costs of all sides, with the ratios, and return whether the limit is met."""
    all_met = True
    for step in steps:
        plain = costs[step, SIDES[0]]
        for side in SIDES:
            cost = costs[step, side]
            ratio = cost.cpu_s / plain.cpu_s
            print(
                f"{step} {side}: {cost.wall_s:.2f} s, {cost.cpu_s:.2f} s CPU,"
                f" {cost.peak_mb:.0f} MB; CPU / {SIDES[0]} {ratio:.2f}",
                flush=True,
            )
        ratio = costs[step, SIDES[1]].cpu_s / plain.cpu_s
        all_met &= ratio <= LIMIT
        verdict = "met" if ratio <= LIMIT else "NOT MET"
        print(
            f"{step} with dates / without dates: {ratio:.3f}, required at most {LIMIT}: {verdict}"
        )
    return all_met


def digest_dataset(folder: Path) -> str:
    """Return the SHA-256 of the dataset of an installation."""
    sha = hashlib.sha256()
    with artifacts.find_latest(folder / "output", Kind.DATASET, "ingestion").open("rb") as handle:
        while content := handle.read(2**20):
            sha.update(content)
    return sha.hexdigest()


def check_limited(data: Path, limit_gb: float) -> bool:
    """Run under a limit of memory, and return whether the rows are those made in memory."""
    with tempfile.TemporaryDirectory(dir=data) as name:
        whole, limited = Path(name) / "whole", Path(name) / "limited"
        places = {
            folder: install(folder, data, "fullprocess", SIDES[2]) for folder in (whole, limited)
        }
        settings = json.loads(places[limited].read_text())
        settings["engine"] = {"name": "pandas", "memory_limit_gb": limit_gb}
        places[limited].write_text(json.dumps(settings))
        unlimited = pipeline.run_step("ingestion", places[whole])
        cost, kind = beyond_memory.run_limited("fullprocess", places[limited], int(limit_gb * 1e9))
        is_same = digest_dataset(whole) == digest_dataset(limited)
        n_releases = len(list((limited / "prod/releases").iterdir()))
    print(f"ingestion in memory: {unlimited.cpu_s:.1f} s CPU, {unlimited.peak_mb:.0f} MB")
    print(
        f"full process, {kind} of {limit_gb:g} GB: {cost.wall_s:.0f} s, {cost.cpu_s:.1f} s CPU,"
        f" peak {cost.peak_mb:.0f} MB, {n_releases} release; the same rows: {is_same}"
    )
    return is_same and n_releases == 1


def main() -> None:
    """Write the files, measure all sides, and fail if the limit is not met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", nargs="+", default=["ingestion", "fullprocess"])
    parser.add_argument("--limit-gb", type=float, help="run under a limit of memory instead")
    parser.add_argument("--data", type=Path, help="where the files are, kept afterwards")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = chosen.data or Path(name) / "data"
        if not data.exists():
            # In a child process, since peak memory is inherited from the parent.
            code = f"import sys; from pathlib import Path; from {__spec__.name} import make_data;"
            code += "make_data(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))"
            arguments = [str(data), str(chosen.rows), str(chosen.clients)]
            run_python(["-c", code, *arguments], pipeline.ROOT)
        print(f"{chosen.rows} rows of {chosen.clients} clients a month;", end=" ")
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}", flush=True)
        if chosen.limit_gb:
            sys.exit(not check_limited(data, chosen.limit_gb))
        all_met = check(measure(data, chosen.steps, chosen.repeats), chosen.steps)
    sys.exit(not all_met)


if __name__ == "__main__":
    main()
