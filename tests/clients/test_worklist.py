"""The worklist, from the records and from a table."""

import math
from typing import Any

import msgspec
import pytest

from scripts.clients import worklist
from scripts.core.config import ApiSettings, Config, WorklistSettings
from scripts.model.ranking import BandLimits
from tests.support.clientele import (
    CLIENTS,
    FIRST,
    SECOND,
    TYPICAL,
    ask,
    put_clients,
    score,
    score_twice,
    serve,
    with_typical,
)
from tests.support.recorded import last_scores
from tests.support.service import make_model

ANY = WorklistSettings()


@pytest.fixture
def scored(config: Config) -> Config:
    """An installation after the scoring of four clients."""
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    return config


def names_of(config: Config, **wanted: object) -> list[str]:
    """Return the names of the clients on a page of the worklist."""
    page = ask(config, worklist.worklist_page, ANY, **wanted)
    return [entry.client for entry in page.clients]


def test_before_the_first_scoring_the_list_is_empty(config: Config) -> None:
    page = ask(config, worklist.worklist_page, ANY)

    assert page.clients == []
    assert page.scored_at is None


def test_the_likeliest_come_first_and_those_without_data_last(scored: Config) -> None:
    page = ask(scored, worklist.worklist_page, ANY)

    assert [(e.position, e.client, e.band) for e in page.clients] == [
        (1, "x", "high"),
        (2, "y", "high"),
        (3, "z", "low"),
        (4, "b", "no data"),
    ]
    assert page.bands == {"high": 2, "low": 1, "no data": 1}
    assert (page.n_clients, page.n_found, page.next_offset) == (4, 4, None)
    assert (page.release, page.model_stamp) == (FIRST, FIRST[5:])


def test_reasons_are_exact_and_in_plain_words(scored: Config) -> None:
    x, _, z, b = ask(scored, worklist.worklist_page, ANY).clients

    (reason,) = x.reasons
    # A typical client who stays has an activity of 3, three times ln 3 below none.
    assert reason.effect == pytest.approx(3 * math.log(3))
    assert (reason.column, reason.value, reason.typical) == ("lastmonth_activity", 0.0, 3.0)
    assert reason.text == "lastmonth_activity 0; clients who stay: 3"
    assert z.reasons[0].effect == pytest.approx(math.log(3))
    assert b.reasons[0].value is None
    assert b.reasons[0].text.startswith("lastmonth_activity no entry; clients who stay")


def test_pages_follow_one_another(scored: Config) -> None:
    first = ask(scored, worklist.worklist_page, ANY, top=3)
    second = ask(scored, worklist.worklist_page, ANY, top=3, offset=first.next_offset)

    assert [entry.client for entry in first.clients] == ["x", "y", "z"]
    assert first.next_offset == 3
    assert [entry.client for entry in second.clients] == ["b"]
    assert second.next_offset is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"search": "X"}, ["x"]),
        ({"search": "%"}, []),
        ({"search": "_"}, []),
        ({"search": "'; DROP TABLE client_scores; --"}, []),
        ({"band": "no data"}, ["b"]),
        ({"band": "low", "search": "y"}, []),
        ({"order": "client"}, ["b", "x", "y", "z"]),
        ({"order": "rise"}, ["x", "y", "z", "b"]),
        ({"offset": 9}, []),
    ],
)
def test_the_list_can_be_searched_and_ordered(
    scored: Config, wanted: dict[str, object], expected: list[str]
) -> None:
    assert names_of(scored, **wanted) == expected


def test_new_limits_count_for_clients_scored_before(scored: Config) -> None:
    api = ApiSettings(medium_risk_from=0.25, high_risk_from=0.6)

    page = ask(scored, worklist.worklist_page, ANY, api)
    medium = ask(scored, worklist.worklist_page, ANY, api, band="medium")

    assert page.bands == {"high": 1, "medium": 2, "no data": 1}
    assert [entry.band for entry in page.clients] == ["high", "medium", "medium", "no data"]
    assert [entry.client for entry in medium.clients] == ["y", "z"]
    assert medium.n_found == 2
    assert page.limits == BandLimits(medium=0.25, high=0.6)


def test_changes_are_those_since_the_score_before(config: Config) -> None:
    score_twice(config)

    x, b = ask(config, worklist.worklist_page, ANY).clients

    # From odds of 3 to odds of a ninth, and for b from 1 to a third.
    assert (x.client, b.client) == ("x", "b")
    assert x.previous_probability == pytest.approx(0.75)
    assert x.change == pytest.approx(0.1 - 0.75)
    assert b.change == pytest.approx(0.25 - 0.5)
    assert names_of(config, order="rise") == ["b", "x"]


@pytest.mark.parametrize(
    ("capacity", "n_listed", "n_caught"),
    [(1, 1, 2), (2, 2, 3), (3, 3, 3), (99, 3, 3)],
)
def test_a_team_knows_what_its_list_catches(
    scored: Config, capacity: int, n_listed: int, n_caught: int
) -> None:
    # Of three clients with data one is a third: two of the five test rows, both of whom left.
    page = ask(scored, worklist.worklist_page, WorklistSettings(capacity=capacity))

    assert page.capacity is not None
    assert page.capacity.n_listed == n_listed
    assert (page.capacity.caught.n_part, page.capacity.caught.n_whole) == (n_caught, 3)
    assert page.capacity.n_test_rows == 5


def test_without_a_team_size_no_share_is_claimed(scored: Config) -> None:
    assert ask(scored, worklist.worklist_page, ANY).capacity is None


def test_a_table_is_ranked_as_the_records_are() -> None:
    columns: dict[str, list[Any]] = {
        "corporation": ["z", "x", "b", "y"],
        "lastmonth_activity": [2.0, 0.0, math.nan, 1.0],
        "lastyear_activity": [7.0, 7.0, math.nan, 7.0],
        "number_of_employees": [3.0, 3.0, 3.0, 3.0],
    }

    entries = worklist.rank_table(with_typical(make_model()), columns, ApiSettings(), ANY, top=3)

    assert [(e.position, e.client, e.band) for e in entries] == [
        (1, "x", "high"),
        (2, "y", "high"),
        (3, "z", "low"),
    ]
    assert entries[0].probability == pytest.approx(0.75)
    assert entries[0].reasons[0].typical == TYPICAL["lastmonth_activity"]


def test_the_records_and_the_answer_have_the_same_numbers(scored: Config) -> None:
    page = ask(scored, worklist.worklist_page, ANY)
    kept = ask(scored, last_scores)

    assert {e.client: e.probability for e in page.clients} == {
        name: row["probability"] for name, row in kept.items()
    }
    assert msgspec.json.decode(msgspec.json.encode(page))["clients"][0]["client"] == "x"


def test_a_second_model_does_not_change_the_first_list(scored: Config) -> None:
    serve(scored, SECOND, intercept=0.0)

    assert ask(scored, worklist.worklist_page, ANY).release == FIRST
