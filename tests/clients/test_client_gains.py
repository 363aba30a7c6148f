"""The list in the order of the expected gain, with what each client is worth."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from scripts.app import create_app
from scripts.clients import client_history, formatting, worklist
from scripts.clients.response_types import Worklist
from scripts.core.config import Config, CostSettings
from scripts.core.errors import DatasetError, UnknownOrderError
from scripts.records import clients, scoring_records
from tests.support.clientele import CLIENTS, FIRST, ask, put_clients, score, serve
from tests.support.service import edit_config

COSTS = CostSettings(contact=1, offer=2)
# The probabilities of x, y, z are 3/4, 1/2, 1/4; their worth is the last year's activity.
WORTH = ["x,0,10,3,", "y,1,100,3,", "z,2,1000,3,", "b,,,3,"]


@pytest.fixture
def valued(changed: Callable[..., Config]) -> Config:
    """An installation that knows the worth of its clients, after a scoring."""
    config = changed(worklist={"value": "lastyear_activity", "costs": COSTS})
    serve(config, FIRST)
    put_clients(config, WORTH)
    score(config)
    return config


def list_today(config: Config, **wanted: object) -> Worklist:
    """Return the first page of the list."""
    return ask(config, worklist.worklist_page, config.worklist, **wanted)


def test_the_list_is_by_gain_and_those_without_data_are_last(valued: Config) -> None:
    page = list_today(valued)

    assert [entry.client for entry in page.clients] == ["z", "y", "x", "b"]
    assert page.order == "gain"
    # p * 0.3 * (V - 2) - (1 - p) * 2 - 1
    gains = [0.25 * 0.3 * 998 - 1.5 - 1, 0.5 * 0.3 * 98 - 1 - 1, 0.75 * 0.3 * 8 - 0.5 - 1]
    assert [entry.gain for entry in page.clients[:3]] == pytest.approx(gains)
    assert [entry.value for entry in page.clients] == [1000.0, 100.0, 10.0, None]
    assert [entry.position for entry in page.clients] == [3, 2, 1, 4]


def test_the_best_length_counts_those_with_enough_data(valued: Config) -> None:
    gain = list_today(valued).gain

    assert gain is not None
    assert (gain.best.n_clients, gain.value, gain.n_without_value) == (3, "lastyear_activity", 1)
    assert gain.assumed_value == 100.0
    assert gain.best.low <= 3 <= gain.best.high
    assert (gain.save_low, gain.save_rate, gain.save_high) == pytest.approx(
        (0.1258, 0.3, 0.512), abs=1e-4
    )


def test_other_orders_stay_and_pages_follow_one_another(valued: Config) -> None:
    by_risk = list_today(valued, order="risk")
    first = list_today(valued, top=1)
    second = list_today(valued, top=1, cursor=first.next_cursor)
    found = list_today(valued, search="x")

    assert [entry.client for entry in by_risk.clients] == ["x", "y", "z", "b"]
    assert [entry.gain for entry in by_risk.clients[:3]] == [
        entry.gain for entry in list_today(valued).clients[2::-1]
    ]
    assert [page.clients[0].client for page in (first, second)] == ["z", "y"]
    assert [entry.client for entry in found.clients] == ["x"]


def test_a_declared_number_counts_for_everybody(changed: Callable[..., Config]) -> None:
    config = changed(worklist={"value": 50.0, "costs": COSTS})
    serve(config, FIRST)
    put_clients(config, WORTH)
    score(config)

    page = list_today(config)

    assert [entry.client for entry in page.clients] == ["x", "y", "z", "b"]
    assert {entry.value for entry in page.clients} == {50.0}


def test_without_a_worth_the_list_is_by_risk_and_has_no_gains(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)

    page = list_today(config)

    assert (page.order, page.gain) == ("risk", None)
    assert b'"gain"' not in msgspec.json.encode(page.clients)
    assert formatting.format_entries_as_csv(page.clients).startswith("position,client")
    with pytest.raises(UnknownOrderError, match="worklist.value and worklist.costs"):
        list_today(config, order="gain")


def test_the_page_of_a_client_has_the_worth_and_gain_of_the_list(
    valued: Config, config_path: Path
) -> None:
    on_list = {entry.client: entry for entry in list_today(valued).clients}

    found = {
        name: ask(valued, client_history.client_page, valued.worklist, name) for name in on_list
    }

    for name, details in found.items():
        assert details is not None
        assert (details.value, details.gain) == (on_list[name].value, on_list[name].gain)
    costs = {"contact": 1, "offer": 2}
    edit_config(config_path, worklist={"value": "lastyear_activity", "costs": costs})
    shown = create_app(config_path).test_client().get("/dashboard/client?name=z").get_data(True)
    assert "<dt>Worth</dt><dd>1,000</dd>" in shown
    assert "by risk; the list is ordered by expected gain" in shown
    assert "unless the risk rises by 10 percentage points" in shown


def test_a_missing_worth_is_said(valued: Config, caplog: pytest.LogCaptureFixture) -> None:
    put_clients(valued, ["b,,,4,"], "later.csv")

    with caplog.at_level(logging.WARNING):
        score(valued)

    assert "1 of 4 clients have no lastyear_activity" in caplog.text


def test_a_column_that_the_input_lacks_stops_the_scoring_with_a_message(valued: Config) -> None:
    settings = msgspec.structs.replace(valued.worklist, value="fee")

    with pytest.raises(DatasetError, match="worklist.value names 'fee'"):
        score(msgspec.structs.replace(valued, worklist=settings))


def test_an_earlier_scoring_without_worth_is_joined(changed: Callable[..., Config]) -> None:
    plain = changed()
    serve(plain, FIRST)
    put_clients(plain, ["x,0,10,3,", "y,1,100,3,", "gone,1,100,3,"])
    score(plain)
    (plain.input_folder_path / "today.csv").unlink()
    valued = changed(worklist={"value": "lastyear_activity", "costs": COSTS})
    put_clients(valued, ["x,0,10,3,", "y,1,100,3,"])

    for config in (valued, valued, plain, valued):
        score(config)

    page = list_today(valued)
    assert [entry.client for entry in page.clients] == ["y", "x"]
    assert ask(valued, clients.history_of_client, "gone", 9)[0]["position"] == 3


def test_the_csv_and_the_printed_list_have_worth_and_gain(valued: Config) -> None:
    page = list_today(valued, top=1)

    header, row = formatting.format_entries_as_csv(page.clients).splitlines()
    assert header.endswith("snoozed_until,value,gain")
    assert row.split(",")[-2] == "1000.0"
    head = formatting.format_head(page)
    assert "Contacting the first 3 by gain is expected to bring" in head
    assert "1,000" in formatting.format_entries(page.clients)


def test_the_gains_of_the_whole_list_are_read_in_their_order(valued: Config) -> None:
    scoring = ask(valued, scoring_records.last_scoring)

    gains, saved = ask(valued, clients.read_gains, scoring)

    assert list(gains) == sorted(gains, reverse=True)
    assert len(gains) == 3
    assert saved[0] == pytest.approx(0.25 * 998)
