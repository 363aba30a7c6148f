"""The third example: a company whose extracts come every month, and whose outcomes come late."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from examples.saas import company, make_data
from examples.saas.company import Plan
from examples.saas.make_data import DATE, KEY, LEFT, Month, Names

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
