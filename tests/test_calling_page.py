"""A manager at the page of the effect of calls, in a real browser: the numbers are the records'."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, expect

from scripts.core.config_file import read_config
from scripts.records import client_work, database
from tests.conftest import write_installation
from tests.support.browsing import NARROW, Visitor, browsing, visiting
from tests.support.clientele import FIRST, put_clients, score, serve
from tests.support.service import edit_config, served
from tests.support.trials import NOW, record_trial

PAGE = "/dashboard/calling"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of which a fifth is held out, after two periods of a trial, with a contact."""
    config_path = write_installation(tmp_path_factory.mktemp("calling"))
    for path in (config_path.parent / "input").iterdir():
        path.unlink()
    edit_config(
        config_path,
        worklist={
            "capacity": 20, "holdout_fraction": 0.2, "holdout_days": 90, "value": 500,
            "costs": {"contact": 5, "offer": 40},
        },
    )  # fmt: skip
    config = read_config(config_path)
    serve(config, FIRST)
    put_clients(config, [f"firm {number:02},{number},7,3," for number in range(40)])
    score(config)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        record_trial(connection, held_out=False, n_left=20, n_stayed=80, period="2026-05-03")
        record_trial(connection, held_out=True, n_left=12, n_stayed=28, period="2026-05-03")
        record_trial(connection, held_out=False, n_left=9, n_stayed=61, band="medium")
        record_trial(connection, held_out=True, n_left=10, n_stayed=30, n_open=5, band="medium")
        contact = {
            "client": "2026-05-03 high False 3", "at": NOW, "actor": "ada", "kind": "contact",
            "result": "reached", "contacted_on": "2026-05-20", "contacted_by": "ada",
        }  # fmt: skip
        client_work.record_work(connection, [contact])
    return config_path


@pytest.fixture(scope="module")
def url(installation: Path) -> Iterator[str]:
    """The address of a server."""
    with served(installation) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with browsing() as started:
        yield started


@pytest.fixture
def manager(browser: Browser, url: str) -> Iterator[Visitor]:
    """A manager at a browser."""
    with visiting(browser, url) as sitting:
        yield sitting


def count(path: Path, question: str) -> list[tuple[Any, ...]]:
    """Ask the records by hand."""
    with sqlite3.connect(path.parent / "adras.db") as connection:
        return connection.execute(question).fetchall()


def shown_points(value: float) -> str:
    """Return a difference as the page shows it."""
    return f"{100 * value:+.1f} pp".replace("-", "\N{MINUS SIGN}")


def test_a_manager_finds_whether_calling_helps_and_the_numbers_are_those_of_the_records(
    manager: Visitor, url: str, installation: Path
) -> None:
    told = requests.get(f"{url}/calling", timeout=5).json()
    page = manager.page
    manager.go("/")
    manager.follow(page.get_by_role("link", name="Calling"))

    expect(page.get_by_role("heading", level=1)).to_have_text("Does calling help?")
    expect(page.locator("p.lead")).to_have_text(told["text"])
    big = page.locator(".stat .big").all_inner_texts()
    counted = dict(
        count(
            installation,
            "SELECT is_held_out, 1.0 * SUM(exited) / COUNT(*) FROM trial_clients t JOIN"
            " client_outcomes o ON o.client = t.client JOIN outcome_groups g ON"
            " g.id = o.group_id AND g.scored_at >= t.enrolled_at AND g.scored_at < t.ends_at"
            " GROUP BY is_held_out",
        )
    )
    assert big[0] == f"{told['effect']['listed']['share']:.1%}" == f"{counted[0]:.1%}"
    assert big[1] == f"{told['effect']['held_out']['share']:.1%}" == f"{counted[1]:.1%}"
    assert counted[0] == pytest.approx(29 / 170)
    assert big[2] == shown_points(told["effect"]["difference"])
    assert told["effect"]["difference"] == pytest.approx(29 / 170 - 22 / 80)
    interval = f"{shown_points(told['effect']['low'])} to {shown_points(told['effect']['high'])}"
    assert interval in page.locator(".stat").nth(2).inner_text()
    answer = page.locator(".stat").nth(3).inner_text()
    wanted = told["verdict"] if told["n_more"] is None else f"{told['n_more']:,} more clients"
    assert " ".join(wanted.split()) in " ".join(answer.split())
    expect(page.get_by_text(told["contact"]["text"])).to_be_visible()
    expect(page.get_by_text(told["save_rate"]["text"])).to_be_visible()


@pytest.mark.parametrize("part", ["bands", "periods"])
def test_each_band_and_each_period_has_the_numbers_of_the_api(
    manager: Visitor, url: str, part: str
) -> None:
    told = requests.get(f"{url}/calling", timeout=5).json()[part]
    manager.go(PAGE)
    title = {"bands": "By band", "periods": "By period"}[part]
    rows = manager.page.get_by_role("region", name=title).locator("tbody tr")

    assert rows.count() == len(told) >= 2
    for entry, cells in zip(told, rows.all(), strict=True):
        texts = cells.locator("td").all_inner_texts()
        assert texts[0] == f"{entry['n_listed']:,}"
        assert texts[2] == f"{entry['n_held_out']:,}"
        for place, group in ((1, "listed"), (3, "held_out")):
            interval = entry[group]
            share = "\N{EN DASH}"
            if interval["share"] is not None:
                share = f"{interval['share']:.1%} ({interval['n_part']} of {interval['n_whole']})"
            assert texts[place] == share
        known = entry["difference"]
        assert texts[4] == ("\N{EN DASH}" if known is None else shown_points(known))


def test_a_held_out_client_is_marked_on_the_list_and_leads_to_the_effect(
    manager: Visitor, url: str, installation: Path
) -> None:
    page = manager.page
    ((n_held_out,),) = count(
        installation,
        "SELECT COUNT(*) FROM trial_clients WHERE is_held_out AND client LIKE 'firm %'",
    )
    manager.go("/dashboard/worklist")
    told = requests.get(f"{url}/worklist", timeout=5).json()
    text = page.get_by_text("At the end of the list:").inner_text()
    assert f"{told['n_held_out']} held out until" in text
    assert told["n_held_out"] >= n_held_out > 0

    held = page.get_by_text("do not call").first
    expect(held).to_be_visible()
    manager.follow(page.get_by_role("link", name="whether calling helps"))
    expect(page).to_have_url(re.compile(f"{PAGE}$"))


def test_on_a_phone_a_period_is_a_card_with_the_difference_beside_its_day(
    browser: Browser, url: str
) -> None:
    with visiting(browser, url, viewport=NARROW, is_mobile=True, has_touch=True) as sitting:
        sitting.go(PAGE)
        assert sitting.overflow() == 0
        row = sitting.page.get_by_role("region", name="By period").locator("tbody tr").last
        day, difference = row.locator("th"), row.locator("td[data-label=Difference]")
        places = [box.bounding_box() for box in (day, difference)]
        expect(day).to_have_text("3 May 2026")
    assert places[0] is not None
    assert places[1] is not None
    assert abs(places[0]["y"] - places[1]["y"]) < 12
