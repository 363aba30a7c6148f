"""The demo: six months of a made-up company through the real pipeline, then the service.

    python -m examples.demo

The folder `demo` gets an installation of its own. A second call goes on with it; remove the folder
to start anew.
"""

import itertools
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from examples import older_records
from examples.saas import make_data
from examples.saas.company import Plan
from examples.saas.make_data import Month
from scripts import fullprocess, worklist
from scripts.clients import worklist as client_list
from scripts.clients.response_types import WorklistEntry
from scripts.clients.work_input import ContactResult, WorkInput
from scripts.core import column_words, console, files, keys
from scripts.core.config import ApiSettings, Config
from scripts.core.config_file import read_config

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "demo"
# Enough for intervals that say something, and few enough to be played in half a minute.
N_CLIENTS, N_MONTHS = 700, 6
PEOPLE = ("ada", "bob", "eva")
NOTES = ("wants a lower price", "has a new contact", "misses an export", "call again in spring")
SETTINGS: dict[str, dict[str, Any]] = {
    # The files lie still: nobody else writes them.
    "ingestion": {"settle_s": 0},
    "training": {"model": "additive"},
    "promotion": {"rule": "not_worse"},
    "evaluation": {"groups": ["Country", "Plan"]},
    "worklist": {
        "capacity": 40, "value": "MRR (EUR)", "costs": {"contact": 2, "offer": 10},
        "holdout_fraction": 0.3, "holdout_days": older_records.MONTH.days, "columns": ["Plan"],
    },
}  # fmt: skip
LABELS = {
    "days since Signed up": {"name": "Client for", "unit": "days"},
    "days since Last Login": {"name": "Last login before", "unit": "days"},
    "Logins 30d": {"name": "Logins in 30 days"},
    "Active users (30d)": {"name": "Active users in 30 days"},
    "usage": {"name": "Seats in use"},
    "Reports 30d": {"name": "Reports in 30 days"},
    "Tickets 30d": {"name": "Tickets in 30 days"},
    "Overdue inv.": {"name": "Overdue invoices"},
    "MRR (EUR)": {"name": "Revenue a month", "unit": "EUR"},
    "Revenue to date": {"name": "Revenue to date", "unit": "EUR"},
    "Discount": {"name": "Discount", "unit": "%"},
    "Storage used": {"name": "Storage used", "unit": "%"},
}
# The key of the installation, so that each demo holds out the same clients.
DEMO_KEY = b"a made-up company has no secrets"
# A month of the calendar has 28 days at least, so each is known when the next extract comes.
HORIZON_DAYS = 28


def leave_installation() -> None:
    """Remove the variables of another installation from the environment."""
    for name in [name for name in os.environ if name.startswith("ADRAS_")]:
        del os.environ[name]


@dataclass(frozen=True)
class Demo:
    """The folder of the demo, and the size of the company."""

    folder: Path
    n_clients: int = N_CLIENTS
    n_months: int = N_MONTHS

    @property
    def config_path(self) -> Path:
        """The configuration of the installation."""
        return self.folder / "config.json"

    @property
    def mark(self) -> Path:
        """The file as a sign of a complete demo."""
        return self.folder / "played"

    def configure(self, **sections: dict[str, Any]) -> Config:
        """Write config.json from the example and the demo's settings."""
        settings = json.loads(make_data.CONFIG.read_text())
        settings["schema"] |= {"labels": LABELS, "changes": []}
        settings["outcomes"]["horizon_days"] = HORIZON_DAYS
        for name, section in itertools.chain(SETTINGS.items(), sections.items()):
            settings.setdefault(name, {}).update(section)
        self.config_path.write_text(json.dumps(settings, indent=2) + "\n")
        return read_config(self.config_path)


def plan_company(demo: Demo, today: date) -> Plan:
    """Plan a company with the last extract on the first day of this month."""
    months = today.year * 12 + today.month - demo.n_months
    return Plan(0, demo.n_months, demo.n_clients, date(months // 12, months % 12 + 1, 1))


def result_of(entry: WorklistEntry, number: int) -> ContactResult:
    """Return the result of a call, worse for likelier leavers."""
    if number % 5 == 1:
        return ContactResult.NOT_REACHED
    if entry.probability > 0.5:
        return (ContactResult.LOST, ContactResult.NO_INTEREST)[number % 2]
    return (ContactResult.SAVED, ContactResult.REACHED)[number % 2]


def describe_call(entry: WorklistEntry, number: int) -> WorkInput:
    """Describe a call of today by one of three people."""
    result = result_of(entry, number)
    return WorkInput(
        client=entry.client,
        result=result,
        note=None if result is ContactResult.NOT_REACHED else NOTES[number % len(NOTES)],
        contacted_by=PEOPLE[number % len(PEOPLE)],
    )


def read_list(config: Config, top: int) -> list[WorklistEntry]:
    """Return the first clients of the list, without a list none."""
    words = column_words.words_of(config.schema)
    page = worklist.query_records(
        config,
        lambda connection: client_list.worklist_page(
            connection, config.worklist, config.api, words, top=top
        ),
    )
    return page.clients


def work_through(config: Config, *, is_last: bool) -> None:
    """Record calls of the first clients of the list, in the last month of a few of them."""
    entries = read_list(config, (config.worklist.capacity or 0) * 2 // 3)
    called = entries[: 6 if is_last else None]
    given = [describe_call(entry, number) for number, entry in enumerate(called)]
    if is_last:
        assigned = zip(entries[6:14], itertools.cycle(PEOPLE))
        given += [WorkInput(client=entry.client, assigned_to=who) for entry, who in assigned]
    if given:
        worklist.record(config, given)


def start_backtest(demo: Demo, months: list[Month]) -> "subprocess.Popen[bytes]":
    """Start the backtest of all months in a separate folder, beside the runs."""
    whole = Demo(demo.folder / "backtest")
    whole.folder.mkdir()
    whole.configure()
    for month in months:
        make_data.write_month(whole.folder, month)
    command = [sys.executable, "-m", "scripts.backtest", "--config", str(whole.config_path)]
    with (demo.folder / "backtest.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def finish_backtest(demo: Demo, config: Config, process: "subprocess.Popen[bytes]") -> None:
    """Wait for the backtest and move the result to the models of the demo."""
    if process.wait() != 0:
        raise click.ClickException(f"The backtest failed; see {demo.folder / 'backtest.log'}.")
    config.output_model_path.mkdir(exist_ok=True)
    whole = read_config(demo.folder / "backtest" / "config.json")
    shutil.move(whole.output_model_path / "backtest.json", config.output_model_path)
    shutil.rmtree(demo.folder / "backtest")


def play_month(demo: Demo, month: Month, number: int) -> None:
    """Bring the files of a month, run the full process, and work through the list."""
    is_last = number == demo.n_months - 1
    # In the last month a candidate waits, so that the page of the approval has something to show.
    mode = "approve" if is_last else "automatic"
    config = demo.configure(promotion={"mode": mode})
    if number:
        # Nobody waits for a month to pass.
        older_records.make_older(demo.config_path, older_records.MONTH)
    make_data.write_month(demo.folder, month)
    verdict = fullprocess.main(config)
    work_through(config, is_last=is_last)
    click.echo(f"  {month.day}: {len(month.extract)} clients, {verdict}")


def play(demo: Demo) -> None:
    """Play all months, with the backtest beside them."""
    months, _ = make_data.make_months(plan_company(demo, datetime.now(UTC).date()))
    config = demo.configure()
    process = start_backtest(demo, months)
    try:
        for number, month in enumerate(months):
            if number == demo.n_months - 1:
                finish_backtest(demo, config, process)
            play_month(demo, month, number)
    finally:
        process.kill()
    demo.mark.touch()


def prepare(demo: Demo) -> None:
    """Make an empty folder, in place of an incomplete demo.

    Raises
    ------
    click.ClickException
        If the folder is not of the demo.
    """
    if demo.folder.exists() and not demo.config_path.exists():
        raise click.ClickException(f"{demo.folder} is not of the demo; move it elsewhere.")
    shutil.rmtree(demo.folder, ignore_errors=True)
    demo.folder.mkdir()
    folder = demo.configure().prod_deployment_path
    folder.mkdir()
    files.write_whole(folder / keys.KEY, DEMO_KEY)


def log_to_file(path: Path) -> None:
    """Write the logs of the runs to a file, with a printed line per month."""
    console.set_up_logging()
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.getLogger().handlers[0].formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def find_port(host: str, wanted: int) -> int:
    """Return the wanted port, or a free port if the wanted port is taken."""
    for port in (wanted, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return wanted


def serve(demo: Demo) -> None:
    """Become the service."""
    settings = json.loads(demo.config_path.read_text())
    api = ApiSettings()
    port = find_port(api.host, api.port)
    demo.config_path.write_text(json.dumps(settings | {"api": {"port": port}}, indent=2) + "\n")
    click.echo(f"Every page is full: http://{api.host}:{port} (Ctrl-C ends the service)")
    command = [sys.executable, "-m", "scripts.app", "--config", str(demo.config_path)]
    os.chdir(ROOT)
    # In this process's place, so that Ctrl-C and signals reach the service.
    os.execv(sys.executable, command)  # noqa: S606 - a shell is not wanted


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--no-serve", is_flag=True, help="Play the months, and do not serve.")
def main(*, no_serve: bool) -> None:
    """Play six months of a made-up company through the pipeline, then serve its pages."""
    console.keep_private()
    leave_installation()
    demo = Demo(FOLDER)
    if demo.mark.exists():
        click.echo(f"Going on with the company in {demo.folder}; remove the folder to start anew.")
    else:
        click.echo(f"Playing {demo.n_months} months of a made-up company in {demo.folder}:")
        # The runs do not ask the package index, which takes up to half a minute.
        os.environ["PIP_NO_INDEX"] = "1"
        prepare(demo)
        log_to_file(demo.folder / "demo.log")
        play(demo)
    if not no_serve:
        serve(demo)


if __name__ == "__main__":
    main()
