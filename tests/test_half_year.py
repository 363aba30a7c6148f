"""Half a year of a made-up company, as it comes: extract, run, outcomes, run, month by month."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from examples.saas import make_data
from examples.saas.company import Plan
from examples.saas.make_data import KEY, LEFT, Month, Names
from scripts import fullprocess
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.pipeline import steps
from scripts.records import clients, database, outcome_records, scoring_records
from scripts.records.runs import Row
from scripts.records.tables import Verdict

HORIZON = timedelta(days=30)
SMALL = Plan(n_months=5, n_clients=500)
# Of all runs of this installation only the charts and the questions to a service are left out.
REPORT = "report"


@dataclass(frozen=True)
class Played:
    """What the records hold after a month: the list, its day, and all outcomes."""

    month: Month
    listed: list[str]
    scored_as_of: str | None
    outcomes: list[Row]


def read_records(config: Config, month: Month) -> Played:
    """Read the list and the outcomes after a run."""
    with (
        database.open_records(config.database_url) as engine,
        database.reading(engine) as connection,
    ):
        scoring = scoring_records.last_scoring(connection)
        if scoring is None:
            return Played(month, [], None, [])
        listed = clients.names_of_scoring(connection, scoring["id"], 10**6)
        return Played(
            month, listed, scoring["as_of"], outcome_records.last_outcomes(connection, 10**6)
        )


def play(folder: Path, months: list[Month]) -> Iterator[tuple[Verdict, Played]]:
    """Bring each month's extract and, later, its outcomes, with a run after each of them."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(make_data.CONFIG, folder / "config.json")
    config = read_config(folder / "config.json")
    for month in months:
        make_data.write_month(folder, month, outcomes=False)
        yield fullprocess.main(config), read_records(config, month)
        if not month.is_first:
            make_data.write_month(folder, month, extract=False)
            yield fullprocess.main(config), read_records(config, month)


def check_list(played: Played) -> None:
    """Check that every client of the newest extract is on the list once."""
    assert sorted(played.listed) == sorted(played.month.extract[KEY])
    assert played.scored_as_of == played.month.day


def check_outcomes(played: Played, left_on: dict[str, str]) -> None:
    """Check that every outcome is of the period that it is joined to, once."""
    joined = [(row["client"], row["as_of"]) for row in played.outcomes]
    assert len(joined) == len(set(joined))
    for row in played.outcomes:
        start = date.fromisoformat(row["as_of"])
        left = left_on.get(row["client"])
        is_within = left is not None and start < date.fromisoformat(left) <= start + HORIZON
        assert row["exited"] == is_within, row


def play_and_check(folder: Path, plan: Plan, names: Names, uploads: tuple[int, ...]) -> None:
    """Play all months and check list and outcomes after each run."""
    months, truth = make_data.make_months(plan, names, uploads)
    left_on = dict(zip(truth[KEY], truth[LEFT], strict=True))
    verdicts, n_lists, n_outcomes = [], 0, 0
    for verdict, played in play(folder, months):
        verdicts.append(verdict)
        check_outcomes(played, left_on)
        n_outcomes = len(played.outcomes)
        if played.scored_as_of is not None:
            check_list(played)
            n_lists += 1
    assert Verdict.DEPLOYED in verdicts
    assert n_lists >= 2 * (plan.n_months - 3)
    # The first list is of the third extract, and its outcomes are known a month later.
    assert n_outcomes >= (plan.n_months - 4) * plan.n_clients / 2


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out charts and the questions to a service, whose tests are elsewhere."""

    def leave_out(*given: Any, **named: Any) -> None:
        """Do nothing."""

    monkeypatch.setattr(steps, REPORT, leave_out)


@pytest.mark.usefixtures("without_report")
def test_every_client_of_the_newest_extract_is_listed_once_and_outcomes_join_their_period(
    tmp_path: Path,
) -> None:
    play_and_check(tmp_path, SMALL, Names.ODD, (1, 3))


@pytest.mark.campaign
@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("names", list(Names))
@pytest.mark.parametrize("uploads", [(), (0, 2, 5)])
def test_half_a_year_is_the_same_whatever_the_files_are_called(
    tmp_path: Path, names: Names, uploads: tuple[int, ...]
) -> None:
    play_and_check(tmp_path, Plan(n_months=6, n_clients=1500), names, uploads)
