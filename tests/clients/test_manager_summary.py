"""The content of the manager's page: list, changes since a week ago, calls and predictions."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.engine import Connection

from scripts.clients import client_work, manager_summary
from scripts.clients.work_input import WorkInput
from scripts.core.config import Config, CostSettings
from scripts.production.manager_types import ManagerFacts
from scripts.records import database, scoring_records
from scripts.records.tables import scorings
from tests.support.clientele import FIRST, ask, asking, put_clients, score, score_twice, serve
from tests.support.trials import record_trial


def move_scorings(config: Config, *n_days: int) -> None:
    """Let the scorings be some days old, the oldest first."""
    now = datetime.now(UTC)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        for number, days in enumerate(n_days, start=1):
            moved = scorings.update().where(scorings.c.id == number)
            connection.execute(moved.values(scored_at=now - timedelta(days=days)))


def summarise(config: Config) -> ManagerFacts:
    """Return the summary of an installation with a list."""
    facts = ask(config, manager_summary.summarise, config)
    assert facts is not None
    return facts


@pytest.fixture
def connection(config: Config) -> Iterator[Connection]:
    """The records of an installation, to write."""
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as opened,
    ):
        yield opened


def test_before_the_first_list_there_is_nothing_to_say(
    config: Config, connection: Connection
) -> None:
    assert manager_summary.summarise(connection, config) is None


def test_the_list_and_its_changes_since_a_week_ago_are_those_of_the_records(
    changed: Callable[..., Config],
) -> None:
    config = changed(worklist={"capacity": 2})
    score_twice(config)
    put_clients(config, ["x,2,7,3,", "n,0,7,3,", "y,1,7,3,0"], "today3.csv")
    score(config)
    move_scorings(config, 20, 8, 0)

    facts = summarise(config)

    assert facts.summary[0][0] == "Clients"
    assert facts.summary[0][1].startswith("3, scored on ")
    assert [(line.place, line.client, line.change) for line in facts.clients] == [
        ("1", "n", "new"), ("2", "x", "+0.0"),
    ]  # fmt: skip
    assert facts.clients[0].gain == ""
    day = datetime.now(UTC) - timedelta(days=8)
    assert facts.since == f"{day.day} {day:%B %Y}"
    changes = dict(facts.changes)
    assert changes["New on the list"] == f"1 of 2: n ({facts.clients[0].risk.partition('.')[0]}%)"
    assert changes["No longer on it"].startswith("1: b (")


def test_without_a_list_of_a_week_ago_the_oldest_one_is_compared(config: Config) -> None:
    score_twice(config)
    move_scorings(config, 3, 0)

    with asking(config) as connection:
        newest = scoring_records.last_scoring(connection)
        assert newest is not None
        earlier = manager_summary.find_earlier(connection, newest)
        assert earlier is not None
        assert earlier["id"] == 1
        assert manager_summary.find_earlier(connection, earlier) is None


def test_calls_are_counted_since_then_and_their_effect_is_that_of_the_records(
    config: Config,
) -> None:
    score_twice(config)
    move_scorings(config, 8, 0)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        entry = WorkInput(client="x", result="saved", note="stays")
        client_work.record(connection, config.worklist, [entry], actor="ada", now=datetime.now(UTC))
        record_trial(connection, held_out=False, n_left=20, n_stayed=80)
        record_trial(connection, held_out=True, n_left=5, n_stayed=95)

    calls = dict(summarise(config).calls)

    assert calls["Contacts"] == "1: 1 saved"
    assert (
        "Of the clients on the list 20.0% left, of those held out 5.0%"
        in (calls["Does calling help?"])
    )


def test_without_a_trial_the_page_says_what_that_costs(config: Config) -> None:
    score_twice(config)

    calls = dict(summarise(config).calls)

    assert calls["Contacts"] == "none is recorded"
    assert calls["Does calling help?"].startswith("Not known. ")
    assert "Who can be kept" not in calls


def test_a_worth_that_is_no_feature_orders_the_list(changed: Callable[..., Config]) -> None:
    config = changed(
        schema={"ignore": ("revenue",)},
        worklist={"value": "revenue", "costs": CostSettings(contact=1, offer=2), "capacity": 2},
    )
    for path in config.input_folder_path.iterdir():
        path.unlink()
    serve(config, FIRST)
    path = config.input_folder_path / "today.csv"
    header = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited,revenue"
    path.write_text(f"{header}\nx,0,7,3,,100\ny,1,7,3,,90000\n")
    score(config)

    facts = summarise(config)

    assert [(line.client, line.worth) for line in facts.clients] == [("y", "90,000"), ("x", "100")]
    assert all(line.gain for line in facts.clients)
    assert dict(facts.summary)["Worth it"].startswith("the first 2 by gain bring ")
