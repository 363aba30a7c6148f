"""Let the company of this example live for some months: python -m examples.saas.live FOLDER.

Each month brings an extract and the outcomes known by then. A run of the full process follows, and
the team calls the first clients of the list and writes down what came of it. A seventh of the
clients is held out, so that the effect of the calls is measured. Nobody waits for a month to pass:
after each run the records of FOLDER are made a month older.
"""

import csv
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from examples.saas import make_data
from examples.saas.company import Plan
from examples.saas.make_data import CONFIG
from scripts.core.config_file import read_config
from scripts.records import column_blocks, database, scored_clients
from scripts.records.tables import BlockKind, UtcDateTime, client_blocks, metadata

# The periods of the trial are as long, so that older records fit into the calendar of the trial.
MONTH = timedelta(days=30)
N_BEFORE = 3
# Calls of a month, and of the last one, which has only begun.
N_CALLED, N_CALLED_NOW = 40, 8
TEAM = ("ada", "ben", "chloe")
RESULTS = {"reached": 0.4, "saved": 0.2, "not reached": 0.2, "no interest": 0.15, "lost": 0.05}
NOTES = {
    "saved": "Stays: smaller plan from next month", "reached": "Wants a call from support",
    "no interest": "Has a new system", "lost": "Cancels at the end of the term",
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "worklist": {
        "capacity": 60, "value": "MRR (EUR)", "columns": ["Plan", "Country"],
        "costs": {"contact": 3, "offer": 20}, "holdout_fraction": 0.15,
        "holdout_days": MONTH.days,
    },
    "evaluation": {"groups": ["Plan", "Country"], "min_group_rows": 30},
    "retention": {"scorings": 24},
}  # fmt: skip
LABELS = {
    "days since Signed up": {"name": "Client for", "unit": "days"},
    "days since Last Login": {"name": "Last login before", "unit": "days"},
    "Logins 30d": {"name": "Logins in 30 days"},
    "Logins 30d, change since the row before": {"name": "Change of logins"},
    "Active users (30d)": {"name": "Active users in 30 days"},
    "Active users (30d), change since the row before": {"name": "Change of active users"},
    "usage": {"name": "Seats in use"},
    "Reports 30d": {"name": "Reports in 30 days"},
    "Tickets 30d": {"name": "Tickets in 30 days"},
    "Overdue inv.": {"name": "Overdue invoices"},
    "MRR (EUR)": {"name": "Revenue a month", "unit": "EUR"},
    "Revenue to date": {"name": "Revenue to date", "unit": "EUR"},
    "Discount": {"name": "Discount", "unit": "%"},
    "Storage used": {"name": "Storage used", "unit": "%"},
}
GROUPS = {
    "Usage": ["Logins 30d", "Logins 30d, change since the row before", "Reports 30d"],
    "Users": [
        "Active users (30d)", "Active users (30d), change since the row before", "usage",
    ],
}  # fmt: skip
# Days of the records that are no moments.
DAYS = {
    "client_work": ("contacted_on", "snoozed_until"),
    "trial_clients": ("period", "until", "enrolled_on"),
}
# Moments in the packed columns of scored clients.
PACKED = {"previous_at", "first_high_at"}


def leave_installation() -> None:
    """Forget the variables of another installation, whose records would be changed otherwise."""
    for name in [name for name in os.environ if name.startswith("ADRAS_")]:
        del os.environ[name]


def write_config(folder: Path) -> Path:
    """Write the config of the example, with values, costs, a trial and words for people."""
    config = json.loads(CONFIG.read_text()) | SETTINGS
    config["schema"] |= {"labels": LABELS, "groups": GROUPS}
    path = folder / "config.json"
    path.write_text(json.dumps(config, indent=2) + "\n")
    return path


def run(module: str, path: Path, *words: str) -> str:
    """Run a program of the pipeline, and return the output."""
    command = [sys.executable, "-m", f"scripts.{module}", *words, "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{module} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def call_clients(path: Path, rng: np.random.Generator, n_called: int) -> None:
    """Call the first clients of the list, and record results, notes and who called."""
    listed = json.loads(run("worklist", path, "--top", str(n_called), "--format", "json"))
    today = datetime.now(UTC).date()
    sheet = path.parent / "results.csv"
    with sheet.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["client", "result", "note", "contacted_on", "contacted_by"])
        for number, entry in enumerate(listed["clients"]):
            if entry.get("held_out_until"):
                continue
            result = str(rng.choice(list(RESULTS), p=list(RESULTS.values())))
            row = [entry["client"], result, NOTES.get(result, ""), today, TEAM[number % len(TEAM)]]
            lines.writerow(row)
    run("worklist", path, "import", str(sheet))


def shift(moment: datetime | str, age: timedelta) -> datetime | str:
    """Return a moment, or a day in ISO 8601, that is earlier by an age."""
    if isinstance(moment, str):
        return str(datetime.fromisoformat(moment).date() - age)
    return moment - age


def shift_packed(content: bytes, age: timedelta) -> bytes:
    """Return a block of scored clients whose moments are earlier by an age."""
    columns = column_blocks.unpack(content)
    for name in PACKED & {*columns}:
        known = columns[name] != scored_clients.NO_MOMENT
        columns[name] = columns[name] - known * (age // timedelta(microseconds=1))
    return column_blocks.pack(columns)


def make_blocks_older(connection: Connection, age: timedelta) -> None:
    """Move the moments in the blocks of scored clients, such as the first high risk."""
    of_scores = client_blocks.c.kind.in_([BlockKind.SCORES, BlockKind.ABSENT])
    for block in connection.execute(sa.select(client_blocks).where(of_scores)).mappings().all():
        keys = [column == block[column.name] for column in client_blocks.primary_key.columns]
        earlier = shift_packed(block["content"], age)
        connection.execute(sa.update(client_blocks).where(*keys).values(content=earlier))


def make_older(path: Path, age: timedelta) -> None:
    """Move every moment and day of the records into the past."""
    url = read_config(path).database_url
    with database.open_records(url) as engine, database.writing(engine) as connection:
        for table in metadata.tables.values():
            moments = [c.name for c in table.columns if isinstance(c.type, UtcDateTime)]
            names = (*moments, *DAYS.get(table.name, ()))
            for row in connection.execute(sa.select(table)).mappings().all() if names else ():
                earlier = {n: shift(row[n], age) for n in names if row[n] is not None}
                keys = [c == row[c.name] for c in table.primary_key.columns]
                connection.execute(sa.update(table).where(*keys).values(earlier))
        make_blocks_older(connection, age)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--months", "n_months", default=8, show_default=True, help="Number of extracts.")
@click.option("--clients", "n_clients", default=600, show_default=True, help="Number of clients.")
@click.option("--seed", default=0, show_default=True, help="The seed of chance.")
def main(folder: Path, *, n_months: int, n_clients: int, seed: int) -> None:
    """Write the files of the months below a folder, with a run and calls after each."""
    leave_installation()
    rng = np.random.default_rng(seed)
    first = datetime.now(UTC).date().replace(day=1)
    for _ in range(n_months - 1):
        first = (first - timedelta(days=1)).replace(day=1)
    months, _ = make_data.make_months(Plan(seed, n_months, n_clients, first))
    folder.mkdir(parents=True, exist_ok=True)
    path = write_config(folder)
    for month in months[: N_BEFORE - 1]:
        make_data.write_month(folder, month)
    for month in months[N_BEFORE - 1 :]:
        if month is not months[N_BEFORE - 1]:
            make_older(path, MONTH)
        make_data.write_month(folder, month)
        run("fullprocess", path)
        is_last = month is months[-1]
        call_clients(path, rng, N_CALLED_NOW if is_last else N_CALLED)
        click.echo(f"{month.day}: a run, and calls to the first clients.")


if __name__ == "__main__":
    main()
