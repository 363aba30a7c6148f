"""The third example: a company whose extracts come every month, and whose outcomes come late."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from examples.saas import company, live, make_data
from examples.saas.company import Plan
from examples.saas.make_data import DATE, KEY, LEFT, Month, Names
from scripts.core import column_words
from scripts.core.config_file import read_config
from scripts.data import client_dates
from scripts.records import database, runs, trials
from tests.support.trials import record_trial

SMALL = Plan(n_months=5, n_clients=400)


@pytest.fixture(scope="module")
def made() -> tuple[list[Month], pd.DataFrame]:
    """The months of a small company, and the truth."""
    return make_data.make_months(SMALL)


def test_an_extract_has_25_columns_and_every_client_once(
    made: tuple[list[Month], pd.DataFrame],
) -> None:
    for month in made[0]:
        assert month.extract.shape[1] == 25
        assert month.extract[KEY].is_unique
        assert set(month.extract[DATE]) == {month.day}
        assert month.extract[KEY].str.fullmatch(r"0\d{6}").all()


def test_who_left_is_in_one_file_of_outcomes_and_in_no_later_extract(
    made: tuple[list[Month], pd.DataFrame],
) -> None:
    months, truth = made

    left = pd.concat([month.outcomes for month in months])
    last_day = months[-1].day

    known = truth[(truth[LEFT] > "2025-01-01") & (truth[LEFT] <= last_day)]
    assert sorted(left[KEY]) == sorted(known[KEY])
    for number, month in enumerate(months):
        gone = set(pd.concat([m.outcomes for m in months[: number + 1]])[KEY])
        assert not gone & set(month.extract[KEY])


def test_the_share_of_leavers_grows_and_usage_falls_before() -> None:
    extracts, _ = company.live(Plan(n_clients=3000))
    days = [(Plan().day(month) - Plan().first).days for month in range(6)]

    shares = [(t["leave"] <= day + 30).mean() for t, day in zip(extracts, days, strict=True)]
    leaving = extracts[0]["leave"] <= 30
    logins = extracts[0]["logins_30d"]

    assert 0.03 < shares[0] < sum(shares[3:]) / 3 < 0.1
    assert logins[leaving].median() < logins[~leaving].median() / 3


def test_the_same_seed_is_the_same_company_and_another_one_is_not() -> None:
    first, again, other = (
        make_data.make_months(Plan(seed=seed, n_months=2, n_clients=50))[0] for seed in (1, 1, 2)
    )

    assert all(a.extract.equals(b.extract) for a, b in zip(first, again, strict=True))
    assert not first[0].extract.equals(other[0].extract)


@pytest.mark.parametrize(
    ("names", "is_in_order"), [(Names.DATED, True), (Names.BACKWARDS, False), (Names.ODD, False)]
)
def test_names_have_three_orders_and_uploads_have_their_own(
    names: Names, *, is_in_order: bool
) -> None:
    plan = Plan(n_months=14)

    made = [make_data.name_extract(plan, month, names, (3,)) for month in range(14)]
    plain = [name for name in made if not name.startswith("upload_")]

    assert made[3] == "upload_20250501T080000000000Z.csv"
    assert len(set(made)) == 14
    assert (plain == sorted(plain)) == is_in_order
    assert (plain[::-1] == sorted(plain)) == (names is Names.BACKWARDS)


@pytest.mark.parametrize("name", ["README.md", "docs/own-data.md"])
def test_a_page_about_own_data_shows_the_whole_config_of_the_example(name: str) -> None:
    page = (Path(make_data.__file__).parents[2] / name).read_text()

    shown = page.split("```json")[1].split("```")[0]

    assert json.loads(shown) == json.loads(make_data.CONFIG.read_text())


def test_a_company_that_lives_has_a_config_with_value_trial_and_words(tmp_path: Path) -> None:
    config = read_config(live.write_config(tmp_path))

    assert config.worklist.value == "MRR (EUR)"
    assert config.worklist.holdout_fraction == 0.15
    assert column_words.words_of(config.schema).name("Overdue inv.") == "Overdue invoices"
    header = make_data.make_months(Plan(n_months=2, n_clients=20))[0][0].extract.columns
    derived = client_dates.derived_names(config.schema)
    assert {*live.LABELS} <= {*header, *derived}


def test_records_are_made_older_by_a_month(tmp_path: Path) -> None:
    path = live.write_config(tmp_path)
    config = read_config(path)
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    with database.open_records(config.database_url) as engine:
        with database.writing(engine) as connection:
            record_trial(connection, held_out=True, n_left=1, n_stayed=0, period="2026-03-31")
            runs.start_run(connection, now)
        live.make_older(path, live.MONTH)

        with database.reading(engine) as connection:
            run = runs.latest_runs(connection, 1)[0]
            (group,) = trials.count_groups(connection)

    assert run["started_at"] == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (group.period, group.n_left) == ("2026-03-01", 1)


@pytest.mark.campaign
def test_a_company_lives_for_some_months(tmp_path: Path) -> None:
    words = [str(tmp_path / "firm"), "--months", "5", "--clients", "200"]

    done = CliRunner().invoke(live.main, words, catch_exceptions=False)

    assert done.output.count("a run, and calls to the first clients.") == 3
    url = read_config(tmp_path / "firm/config.json").database_url
    with database.open_records(url) as engine, database.reading(engine) as connection:
        groups = trials.count_groups(connection)
    assert len({group.period for group in groups}) == 3
    assert sum(group.n_known for group in groups) > 0


def test_the_program_writes_month_after_month(tmp_path: Path) -> None:
    small = ["--clients", "40", "--months", "3", str(tmp_path)]

    for until in (1, 2):
        done = CliRunner().invoke(make_data.main, ["--until", str(until), *small])
        assert done.output == f"Wrote {until} months to {tmp_path}.\n"
        assert len(list((tmp_path / "data").iterdir())) == until

    assert [path.name for path in (tmp_path / "outcomes").iterdir()] == ["left_2025_03.csv"]
    config = json.loads((tmp_path / "config.json").read_text())
    header = (tmp_path / "data/extract_2025-02-01.csv").read_text().splitlines()[0].split(",")
    assert {*config["schema"]["ignore"], *config["schema"]["dates"]} <= set(header)
