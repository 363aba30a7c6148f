"""Monthly extracts of a made-up company, with outcomes in a file of their own."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scripts.core import config_file
from scripts.core.artifacts import Kind
from scripts.core.config import Config

MONTHS = tuple(date(2025, month, 1) - timedelta(days=1) for month in range(2, 9))
HEADER = "snapshot,id,company,email,note,signup,last_login,plan,logins,users,seats"
SCHEMA = {
    "key": "id", "date": "snapshot", "ids": ["id", "company"], "dates": ["signup", "last_login"],
    "changes": ["logins"], "ratios": {"usage": ["users", "seats"]},
}  # fmt: skip
Names = Callable[[int, date], str]
NAMES: dict[str, Names] = {
    "in order": lambda _, day: f"clients_{day}.csv",
    "backwards": lambda number, day: f"{'zyxwvuts'[number]}_{day}.csv",
    "mixed": lambda number, day: f"{number * 5 % 7}_{day:%Y%m%d}.csv",
}


class Company:
    """A made-up company whose clients use less before they leave.

    Parameters
    ----------
    seed : int
        The seed.
    n_clients : int
        The clients of each month: who leaves is replaced.
    """

    def __init__(self, seed: int = 0, n_clients: int = 300) -> None:
        random = np.random.default_rng(seed)
        self.rows: list[list[str]] = []
        self.leaves: dict[str, date] = {}
        clients: dict[str, date] = {}
        for day in MONTHS:
            while len(clients) < n_clients:
                name = f"c{len(clients) + len(self.leaves):05}"
                clients[name] = day - timedelta(days=int(random.integers(1, 600)))
            month = []
            for name, signup in list(clients.items()):
                leaves = random.random() < 0.15
                logins = random.poisson(6 if leaves else 12)
                seats = int(random.integers(4, 40))
                users = random.binomial(seats, 0.4 if leaves else 0.6)
                login = day - timedelta(days=int(random.integers(0, 25 if leaves else 12)))
                plan = random.choice(["basic", "pro"])
                mail = "" if random.random() < 0.1 else f"{name}@example.com"
                texts = f"Company {name[1:]},{mail},spoke to {name} today"
                numbers = f"{plan},{logins},{users},{seats}"
                month.append(f"{day},{name},{texts},{signup},{login},{numbers}")
                if leaves:
                    self.leaves[name] = day + timedelta(days=int(random.integers(1, 28)))
                    del clients[name]
            self.rows.append(month)

    def write(self, folder: Path, n_months: int, name: Names = NAMES["in order"]) -> None:
        """Write the first extracts, and the outcomes known with the last one."""
        (folder / "in").mkdir(exist_ok=True)
        (folder / "outcomes").mkdir(exist_ok=True)
        for number, rows in enumerate(self.rows[:n_months]):
            path = folder / "in" / name(number, MONTHS[number])
            path.write_text("\n".join([HEADER, *rows]) + "\n")
        until = MONTHS[n_months - 1]
        known = [f"{client},{day}" for client, day in self.leaves.items() if day <= until]
        (folder / "outcomes" / "left.csv").write_text("\n".join(["id,left_on", *known]) + "\n")

    def write_ever(self, folder: Path, n_months: int, *, status: bool = False) -> None:
        """Write extracts of all clients ever, with the day of leaving, or with a status."""
        (folder / "in").mkdir(exist_ok=True)
        last: dict[str, str] = {}
        for number, rows in enumerate(self.rows[:n_months]):
            day = MONTHS[number]
            last |= {row.split(",")[1]: row.partition(",")[2] for row in rows}
            lines = [f"{HEADER},{'status' if status else 'churn_date'}"]
            for name, cells in last.items():
                left_on = self.leaves.get(name)
                has_left = left_on is not None and left_on <= day
                words = "Cancelled" if has_left else "active"
                shown = words if status else str(left_on) if has_left else ""
                lines.append(f"{day},{cells},{shown}")
            path = folder / "in" / f"clients_{day}.csv"
            path.write_text("\n".join(lines) + "\n")


def configure(folder: Path, **more: Any) -> Config:
    """Write a config.json for the extracts, and return the config."""
    settings = {
        "input_folder_path": "in", "output_folder_path": "out", "test_data_path": None,
        "output_model_path": "models", "prod_deployment_path": "prod", "schema": SCHEMA,
        "ingestion": {"settle_s": 0}, "outcomes": {
            "input_folder_path": "outcomes", "date": "left_on", "horizon_days": 30,
        },
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(settings | more))
    return config_file.read_config(path)


def read_both(config: Config, stamp: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the dataset and the test rows of an ingestion."""
    folder = config.output_folder_path
    kinds = (Kind.DATASET, Kind.TEST_ROWS)
    dataset, test = (pd.read_csv(kind.path(folder, stamp)) for kind in kinds)
    return dataset, test
