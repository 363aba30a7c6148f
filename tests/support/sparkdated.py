"""Dated files with everything that is odd in files, as a cluster and one machine read them."""

import json
import os
from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import sqlalchemy as sa

from scripts import backtest, ingestion
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.data import client_dates, dataset
from scripts.engine import choice
from scripts.ingestion import Ingestion
from scripts.records import check_records, clients, database, runs, scoring_records
from tests.support import monthly, recorded
from tests.support.monthly import MONTHS, Company
from tests.support.outcomes import read_outcomes

# Names of columns as people choose them: Spark reads a dot in a name as a part of it.
HEADER = monthly.HEADER.replace("users,seats", "users,no. of seats") + ",churned.on"
SCHEMA = monthly.SCHEMA | {"ratios": {"usage": ["users", "no. of seats"]}}
N_MONTHS = 5
# In an order that is not that of the days.
FILES = ("e [1] {}.csv", "d%20 {}.csv", "ü c {}.csv", "b {}.CSV", "a,{}.csv")
WRONG = [
    "soon,w1,Company,,,2024-01-01,2025-01-01,pro,1,2,3,",
    "2025-01-31,w2,Company,,,2024-13-01,2025-01-01,pro,1,2,3,",
    "2025-01-31,w3,Company,,,2024-01-01,2025-01-01,pro,many,2,3,",
    "2025-01-31,,Company,,,2024-01-01,2025-01-01,pro,1,2,3,",
    "2025-01-31,w5,Company,,",
]
KINDS = (Kind.REJECTED, Kind.SCHEMA, Kind.TEST_ROWS)


def blank_some(rows: list[str]) -> list[str]:
    """Blank the signup, the last login, or the numbers of some rows."""
    made = []
    for number, row in enumerate(rows):
        cells = row.split(",")
        if number % 11 == 0:
            cells[5] = ""
        if number % 13 == 0:
            cells[6] = " "
        if number % 7 == 0:
            cells[8] = ""
        if number % 17 == 0:
            cells[10] = "0"
        made.append(",".join(cells))
    return made


def add_leaving(rows: list[str], month: int) -> list[str]:
    """Add the day of leaving of a few clients, who are back two months later."""
    made = []
    for row in rows:
        own = int(row.split(",")[1][1:]) % 20
        is_gone = own in (month, month - 1)
        made.append(f"{row},{MONTHS[own] - timedelta(5) if is_gone else ''}")
    return made


def write_files(folder: Path, *, by_name: bool = False) -> None:
    """Write five extracts with blanks, wrong rows, repeated rows, an addition, and outcomes.

    Parameters
    ----------
    folder : Path
        The folder of the installation.
    by_name : bool
        Whether the names of the files have the days, instead of a column.
    """
    company = Company(n_clients=500)
    months = enumerate(company.rows[:N_MONTHS])
    extracts = [add_leaving(blank_some(rows), number) for number, rows in months]
    # Some keys of an extract are written otherwise.
    extracts[3] = [row.replace(",c", ",C", k % 29 == 0) for k, row in enumerate(extracts[3])]
    extracts[0] += WRONG
    # Corrections: the same clients and days in a file of another name.
    again = [row.replace(",pro,", ",basic,") for row in (*extracts[1][:40], *extracts[4][:20])]
    addition = [row.replace(str(MONTHS[4]), str(MONTHS[4] + timedelta(3))) for row in extracts[4]]
    files = {FILES[k].format(MONTHS[k]): [HEADER, *extracts[k]] for k in range(N_MONTHS)}
    files[f"0 {MONTHS[1]}.csv"] = [HEADER, *again]
    # Some rows have a label of their own.
    labelled = [f"{row},{'' if k % 3 else k % 2}" for k, row in enumerate(addition[:30])]
    files[f"upload {MONTHS[4] + timedelta(3)}.csv"] = [f"{HEADER},left", *labelled]
    files[f"refused {MONTHS[0]}.csv"] = ["nobody,knows", "1,2"]
    if by_name:
        files = {name: [line.partition(",")[2] for line in lines] for name, lines in files.items()}
        files["no day.csv"] = files[f"0 {MONTHS[1]}.csv"]
    for name, lines in files.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    write_outcomes(folder / "outcomes", company)


def write_outcomes(folder: Path, company: Company) -> None:
    """Write files of outcomes, of which two are refused."""
    folder.mkdir(parents=True)
    known = [f"{name},{day}" for name, day in company.leaves.items() if day <= MONTHS[4]]
    (folder / "left.csv").write_text("\n".join(["id,left_on", *known, "c00001,never"]) + "\n")
    returned, stays = (row.split(",")[1] for row in company.rows[1][3:5])
    left_on = MONTHS[1] + timedelta(10)
    (folder / "more.csv").write_text(f"id,left_on\n{returned},{left_on}\n{stays},\n")
    (folder / "strangers.csv").write_text(f"id,left_on\nnobody,{MONTHS[2]}\n")
    (folder / "too late.csv").write_text("id,left_on\nc00004,2031-01-01\n")


def write_installation(folder: Path, engine: dict[str, Any], **more: Any) -> Path:
    """Write a configuration beside the files, and return its path."""
    settings = {
        "input_folder_path": "in", "output_folder_path": "output", "output_model_path": "models",
        "prod_deployment_path": "prod", "schema": SCHEMA, "ingestion": {"settle_s": 0},
        "run": {"timeout_minutes": 30}, "engine": engine, "outcomes": {
            "input_folder_path": "outcomes", "date": "left_on", "horizon_days": 30,
        },
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(settings | more))
    return path


def add_month(folder: Path, n_months: int, **more: Any) -> Config:
    """Write the extracts of a small company up to a month, and return the config."""
    folder.mkdir(exist_ok=True)
    Company(n_clients=150).write(folder, n_months)
    return monthly.configure(folder, api={"port": 1}, database_url="sqlite:///adras.db", **more)


def add_immature_month(folder: Path, engine: dict[str, Any]) -> Config:
    """Write a further extract, of a horizon so long that no outcome is known for good."""
    settings = {"input_folder_path": "outcomes", "date": "left_on", "horizon_days": 900}
    return add_month(folder, 5, engine=engine, outcomes=settings)


def describe_run(config: Config) -> dict[str, Any]:
    """Return what the last run recorded: verdict, files, checks, today's clients and outcomes."""
    with database.open_records(config.database_url) as engine, engine.connect() as connection:
        last = connection.execute(sa.text("SELECT * FROM runs ORDER BY id DESC")).mappings().first()
        assert last is not None
        found = runs.files_of_run(connection, last["id"])
        scoring = scoring_records.last_scoring(connection)
        assert scoring is not None
        listed = clients.names_of_scoring(connection, scoring["id"], 10_000)
        scores = recorded.last_scores(connection)
        checks = check_records.list_checks(connection)
        outcomes = read_outcomes(connection)
        joined = [[row["client"], row["as_of"], row["exited"]] for row in outcomes]
    return {
        "verdict": last["verdict"], "reason": last["reason"], "outcomes": sorted(joined),
        "files": [[Path(row["path"]).name, row["role"], row["n_rows"]] for row in found],
        "checks": {row["name"]: [row["state"], row["detail"]] for row in checks},
        "listed": sorted(listed),
        "scores": {name: row["probability"] for name, row in scores.items()},
    }  # fmt: skip


def print_backtest(config: Config) -> str:
    """Run the backtest command, and return the printed tables, as wide as they are."""
    with patch.dict(os.environ, COLUMNS=""), redirect_stdout(StringIO()) as printed:
        backtest.show_backtest(config, seed=0)
    return printed.getvalue()


def as_text(table: pd.DataFrame, client: str) -> str:
    """Return rows of different clients as text, in an order of their own."""
    return table.sort_values(client).to_csv(index=False)


def describe(found: Ingestion, config: Config) -> dict[str, Any]:
    """Return everything that an ingestion of dated files found, as text and numbers."""
    dated, key = found.dated, config.schema.client_key
    assert dated is not None
    days = [client_dates.iso_day(str(day)) for day in MONTHS[:N_MONTHS]]
    places = [kind.path(config.output_folder_path, found.stamp) for kind in KINDS]
    schema = dataset.read_schema(places[KINDS.index(Kind.SCHEMA)], config.schema)
    kept = choice.choose_engine(config).kept_columns(
        ingestion.find_input(config), schema, ["company", "note"], found.clients
    )
    return {
        "n_rows": found.n_rows, "account": dated.account.describe(), "notices": [*dated.notices],
        "clients": as_text(found.clients, key),
        "kept": as_text(kept.assign(client=found.clients[key].array), "client"),
        "outcomes": [[r.path.name, r.n_rows, r.refused] for r in dated.outcome_readings],
        "readings": [
            [r.path.name, r.n_rows, 0 if r.refused else r.n_bytes, r.refused]
            for r in found.readings
        ],
        "tests": [[r.path.name, r.n_rows, r.refused] for r in dated.test_readings],
        "periods": [as_text(dated.history.find_period(day), "client") for day in days],
        "labelled": as_text(dated.history.find_labelled(days[1:2]), "client"),
        **{path.name.partition("_")[0]: path.read_text() for path in places},
    }  # fmt: skip
