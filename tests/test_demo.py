"""The demo plays a company through the pipeline, and a second call goes on with it."""

import functools
import os
import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pytest
import requests
import sqlalchemy as sa
from click.testing import CliRunner

from examples import demo, older_records
from examples.demo import Demo
from examples.saas import make_data
from examples.saas.company import Plan
from scripts import backtest, monitoring, promotion, worklist
from scripts.clients import client_history
from scripts.core import console
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.data import client_dates
from scripts.pipeline import history
from scripts.production import rollback
from scripts.records import client_work, database, runs, trials
from scripts.records.tables import outcome_groups
from tests.support.service import served
from tests.support.trials import record_trial

PAGES = (
    "", "dashboard/worklist", "dashboard/results", "dashboard/candidate", "dashboard/runs",
    "dashboard/run?id=6", "dashboard/models", "dashboard/data", "dashboard/outcomes",
    "dashboard/calling", "dashboard/backtest", "dashboard/upload", "report.pdf",
)  # fmt: skip
# The demo's page is there within 40 s on an idle machine, mostly on one core. CPU time of the
# runs and of the backtest beside them.
LONGEST_CPU_S = 45


def test_the_months_go_through_the_pipeline_and_calls_are_recorded(played: Demo) -> None:
    config = read_config(played.config_path)
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        assert [row["status"] for row in runs.latest_runs(connection, 9)] == ["finished"] * 4
        entries = client_work.latest_work(connection, 99, 0)
        assert {row["actor"] for row in entries} == {console.actor()}
        assert {row["kind"] for row in entries} == {"contact", "snooze", "assignment"}
    assert played.mark.exists()


def test_a_warning_is_as_old_as_the_months_that_were_played(played: Demo) -> None:
    config = read_config(played.config_path)
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        page = client_history.outcomes_page(connection, config.worklist)
        left = connection.execute(
            sa.select(outcome_groups).where(outcome_groups.c.first_high_at.is_not(None))
        ).all()

    # Who left was high at a scoring a month before, or earlier.
    assert left
    assert all(row.known_at - row.first_high_at > timedelta(days=29) for row in left)
    assert page.warning_days_median is None or page.warning_days_median >= 29


def show_client(config: Config) -> None:
    """Show the first client of the list."""
    worklist.main(config, client=demo.read_list(config, 1)[0].client)


@pytest.mark.parametrize(
    "show",
    [
        worklist.main,
        functools.partial(worklist.main, outcomes=True),
        functools.partial(worklist.main, calling=True),
        show_client,
        promotion.show_last,
        rollback.show_releases,
        monitoring.show_result,
        # It takes as long as all others.
        pytest.param(functools.partial(backtest.show_backtest, seed=0), marks=pytest.mark.campaign),
        lambda config: click.echo(history.format_runs(history.read_runs(config, 9))),
    ],
)
def test_no_line_of_a_table_is_longer_than_80_columns_or_has_parts_of_a_second(
    played: Demo,
    show: Callable[[Config], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    show(read_config(played.config_path))

    shown = capsys.readouterr().out
    assert len(shown.splitlines()) > 1
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert re.findall(r"\d\d:\d\d\.\d+", shown) == []


def test_each_label_names_a_column_of_the_company(tmp_path: Path) -> None:
    schema = Demo(tmp_path).configure().schema

    header = make_data.make_months(Plan(n_months=2, n_clients=20))[0][0].extract.columns
    derived = client_dates.derived_names(schema)
    assert {*demo.LABELS} <= {*header, *derived}


def test_records_are_made_older_by_a_month(config_path: Path) -> None:
    config = read_config(config_path)
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    with database.open_records(config.database_url) as engine:
        with database.writing(engine) as connection:
            record_trial(connection, held_out=True, n_left=1, n_stayed=0, period="2026-03-31")
            runs.start_run(connection, now)
        older_records.make_older(config_path, older_records.MONTH)

        with database.reading(engine) as connection:
            run = runs.latest_runs(connection, 1)[0]
            (group,) = trials.count_groups(connection)

    assert run["started_at"] == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (group.period, group.n_left) == ("2026-03-01", 1)


def test_the_last_extract_is_of_the_first_day_of_this_month() -> None:
    plan = demo.plan_company(Demo(Path(), n_months=6), date(2026, 3, 17))

    assert plan.first == date(2025, 10, 1)
    assert plan.day(5) == date(2026, 3, 1)


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test change the environment for itself alone."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.usefixtures("own_environment")
def test_the_records_of_another_installation_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    (tmp_path / "played").touch()
    os.environ["ADRAS_DATABASE_URL"] = "postgresql://db.example.com/adras"

    CliRunner().invoke(demo.main, ["--no-serve"])

    assert "ADRAS_DATABASE_URL" not in os.environ


@pytest.mark.usefixtures("own_environment")
def test_a_second_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    (tmp_path / "played").touch()

    done = CliRunner().invoke(demo.main, ["--no-serve"])

    assert done.exit_code == 0
    assert done.output.startswith(f"Going on with the company in {tmp_path}; remove the folder")


def test_a_folder_that_was_not_played_to_its_end_is_made_anew(tmp_path: Path) -> None:
    begun = Demo(tmp_path / "demo")
    demo.prepare(begun)
    (begun.folder / "adras.db").touch()

    demo.prepare(begun)

    assert not (begun.folder / "adras.db").exists()
    assert begun.config_path.exists()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    with pytest.raises(click.ClickException, match="is not of the demo"):
        demo.prepare(Demo(tmp_path))

    assert (tmp_path / "mine").exists()


def test_another_port_is_found_where_one_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert demo.find_port("127.0.0.1", port) not in (port, 0)


@pytest.mark.campaign
@pytest.mark.usefixtures("with_charts")
def test_every_page_of_the_demo_is_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Demo(tmp_path / "demo")
    before, started_s = os.times(), time.monotonic()
    demo.prepare(whole)

    demo.play(whole)

    after, wall_s = os.times(), time.monotonic() - started_s
    cpu_s = sum(after[:4]) - sum(before[:4])
    with served(whole.config_path) as (url, _):
        answers = {page: requests.get(f"{url}/{page}", timeout=30) for page in PAGES}
    assert {page: answer.status_code for page, answer in answers.items()} == dict.fromkeys(
        PAGES, 200
    )
    assert "waits for approval" in answers[""].text
    assert "has waited since" in answers["dashboard/candidate"].text
    assert "random split" in answers["dashboard/backtest"].text
    assert "By contact" in answers["dashboard/calling"].text
    assert "No contact is recorded" not in answers["dashboard/calling"].text
    assert "Last outcomes" in answers["dashboard/outcomes"].text
    assert cpu_s < LONGEST_CPU_S
    with capsys.disabled():
        print(f"\nThe demo took {wall_s:.0f} s, {cpu_s:.0f} s of CPU.")
