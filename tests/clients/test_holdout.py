"""Clients who are held out of the list, and whether calling the others helps."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import UNSET
from sqlalchemy.engine import Connection

from scripts.clients import calling_effect, client_history, formatting, holdout, worklist
from scripts.clients.holdout import HoldoutPeriod
from scripts.clients.work_input import ContactResult
from scripts.core import keys
from scripts.core.config import Config, CostSettings, WorklistSettings
from scripts.records import clients, database, outcome_records, scoring_records, trials
from scripts.records.tables import client_work, outcome_groups, trial_clients
from tests.support.clientele import FIRST, ask, put_clients, score, serve
from tests.support.outcomes import insert_outcomes
from tests.support.trials import NOW, record_trial

KEY = b"k" * 32
HALF = WorklistSettings(capacity=10, holdout_fraction=0.5)
PERIOD = HoldoutPeriod("2026-11-01", "2027-01-29", 0.2)


def test_periods_follow_one_another_without_a_gap() -> None:
    settings = WorklistSettings(holdout_fraction=0.1, holdout_days=30)
    first = holdout.find_period(settings, NOW)
    assert first is not None

    last_moment = first.ends_at - timedelta(seconds=1)
    following = holdout.find_period(settings, first.ends_at)

    assert holdout.find_period(settings, last_moment) == first
    assert following is not None
    assert following.start == first.ends_at.date().isoformat()
    assert holdout.find_period(WorklistSettings(), NOW) is None


def test_the_draw_is_stable_keyed_and_of_the_declared_share() -> None:
    names = [f"client {number}" for number in range(4000)]

    drawn = [holdout.is_held_out(KEY, name, PERIOD) for name in names]

    assert drawn == [holdout.is_held_out(KEY, name, PERIOD) for name in names]
    assert sum(drawn) == pytest.approx(800, abs=4 * (4000 * 0.16) ** 0.5)
    other_key = [holdout.is_held_out(b"x" * 32, name, PERIOD) for name in names]
    next_period = HoldoutPeriod("2027-01-30", "2027-04-29", 0.2)
    later = [holdout.is_held_out(KEY, name, next_period) for name in names]
    for others in (other_key, later):
        both = sum(one and two for one, two in zip(drawn, others, strict=True))
        assert both == pytest.approx(160, abs=50)


@pytest.fixture
def tried(changed: Callable[..., Config]) -> Config:
    """An installation that holds out half of its clients, after a scoring of sixty."""
    config = changed(worklist={"capacity": 10, "holdout_fraction": 0.5})
    serve(config, FIRST)
    put_clients(config, [f"c{number:02d},{number},7,3," for number in range(60)])
    score(config)
    return config


def enrolled(config: Config) -> list[dict[str, Any]]:
    """Return the clients of the trial."""
    return ask(
        config, lambda c: [dict(row) for row in c.execute(trial_clients.select()).mappings()]
    )


def test_the_first_clients_of_the_list_enter_the_trial_held_out_or_not(tried: Config) -> None:
    rows = enrolled(tried)

    # Ten on the list, and as many held out, on average.
    assert {row["client"] for row in rows} == {f"c{number:02d}" for number in range(20)}
    assert [row["position"] for row in rows] == list(range(1, 21))
    key = keys.find_key(tried.prod_deployment_path)
    assert key is not None
    period = HoldoutPeriod(rows[0]["period"], rows[0]["until"], 0.5)
    assert [row["is_held_out"] for row in rows] == [
        holdout.is_held_out(key, row["client"], period) for row in rows
    ]


def test_those_held_out_stand_at_the_end_and_are_marked(tried: Config) -> None:
    held_out = {row["client"] for row in enrolled(tried) if row["is_held_out"]}

    page = ask(tried, worklist.worklist_page, tried.worklist, top=60)

    marked = {e.client for e in page.clients if e.held_out_until is not UNSET}
    assert held_out <= marked
    assert [e.client in marked for e in page.clients] == sorted(
        e.client in marked for e in page.clients
    )
    assert page.n_held_out == len(marked)
    assert page.held_out_until == enrolled(tried)[0]["until"]
    assert f"{len(marked)} are held out until" in formatting.format_head(page)
    details = ask(tried, client_history.client_page, tried.worklist, min(held_out))
    assert details is not None
    assert "do not call" in formatting.format_client(details)
    by_name = ask(tried, worklist.worklist_page, tried.worklist, order="client")
    assert by_name.clients[0].client == "c00"


def test_the_best_list_has_nobody_who_is_held_out(changed: Callable[..., Config]) -> None:
    costs = CostSettings(contact=1, offer=2)
    config = changed(worklist={"value": 100.0, "costs": costs, "holdout_fraction": 0.5})
    serve(config, FIRST)
    put_clients(config, [f"c{number:02d},{number % 3},7,3," for number in range(60)])
    score(config)

    page = ask(config, worklist.worklist_page, config.worklist, top=60)

    assert page.gain is not None
    assert 0 < page.n_held_out < 60
    assert page.gain.best.n_clients == 60 - page.n_held_out
    gains, _ = ask(config, clients.read_gains, ask(config, scoring_records.last_scoring))
    assert len(gains) == 60 - page.n_held_out
    assert gains.sum() == pytest.approx(page.gain.best.gain)


def test_a_list_of_held_out_clients_only_has_gains_too(
    changed: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdout, "is_held_out", lambda *_drawn: True)
    costs = CostSettings(contact=1, offer=2)
    config = changed(worklist={"value": 100.0, "costs": costs, "holdout_fraction": 0.5})
    serve(config, FIRST)
    put_clients(config, ["x,0,7,3,", "y,1,7,3,"])
    score(config)

    page = ask(config, worklist.worklist_page, config.worklist)

    assert page.gain is not None
    assert (page.order, page.gain.best.n_clients, page.n_held_out) == ("gain", 0, 2)
    gains, _ = ask(config, clients.read_gains, ask(config, scoring_records.last_scoring))
    assert len(gains) == 0


def test_not_reached_is_the_word_of_the_work() -> None:
    assert trials.NOT_REACHED == ContactResult.NOT_REACHED


def test_by_contact_the_effect_is_larger(records: Connection) -> None:
    record_trial(records, held_out=False, n_left=200, n_stayed=1800)
    record_trial(records, held_out=True, n_left=100, n_stayed=400)
    common = {"at": NOW, "actor": "ada", "kind": "contact", "contacted_by": "ada"}
    # Half of the listed clients were reached in the period, others not, or before it.
    rows = [
        common | {"client": f"2026-08-01 high False {n}", "result": result, "contacted_on": day}
        for n in range(2000)
        for result, day in [(("saved", "2026-08-09"), ("not reached", "2026-08-09"))[n % 2]]
    ]
    rows.append(common | {"client": "2026-08-01 high True 1", "result": "reached",
                          "contacted_on": "2026-07-31"})  # fmt: skip
    records.execute(client_work.insert(), rows)

    page = calling_effect.calling_page(records, HALF)

    assert page.contact is not None
    assert (page.contact.n_contacted, page.contact.contacted_share) == (1000, 0.5)
    assert page.contact.held_out_contacted_share == 0.0
    assert page.effect.difference == pytest.approx(-0.1)
    assert page.contact.difference == pytest.approx(-0.2)
    assert "The list led to a contact with 50% of its clients" in page.contact.text
    assert page.save_rate.measured == pytest.approx(1.0)
    assert "By contact -20.0 percentage points" in formatting.format_calling(page)


def test_a_client_enters_the_trial_once_in_a_period(tried: Config) -> None:
    before = enrolled(tried)
    put_clients(tried, ["new,0,7,3,"], "new.csv")

    score(tried)

    after = enrolled(tried)
    assert after[:20] == before
    assert [row["client"] for row in after[20:]] == ["new"]


def test_nobody_is_held_out_by_default(config: Config) -> None:
    serve(config, FIRST)
    put_clients(config, ["x,0,7,3,"])
    score(config)

    page = ask(config, calling_effect.calling_page, config.worklist)

    assert enrolled(config) == []
    assert (page.is_on, page.verdict) == (False, "no outcomes yet")
    assert "10.0 % of the clients contacted left, and 6.4 %" in page.cost_text
    assert "nobody can tell whether calling helps" in formatting.format_calling(page)


@pytest.fixture
def records(config: Config) -> Iterator[Connection]:
    """A writing transaction on empty records."""
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        yield connection


def test_the_published_trial_is_reported_as_harm(records: Connection) -> None:
    record_trial(records, held_out=False, n_left=400, n_stayed=3600, n_open=7)
    record_trial(records, held_out=True, n_left=64, n_stayed=936)

    page = calling_effect.calling_page(records, HALF)

    assert page.verdict == "harms"
    assert page.text.startswith("Calling harms: more of those on the list left than of those left")
    assert "10.0% left, of those held out 6.4%: +3.6 percentage points" in page.text
    assert (page.effect.n_listed, page.effect.n_held_out, page.n_more) == (4007, 1000, None)
    # The measured harm replaces the belief, and a call is expected to keep hardly anybody.
    assert page.save_rate.mean < 0.05
    ended = calling_effect.calling_page(records, WorklistSettings())
    assert (ended.is_on, ended.text) == (False, page.text)
    assert ended.cost_text.startswith("Nobody is held out any more")
    assert "Measured are -56%" in page.save_rate.text
    assert "the next run counts on nobody" in page.save_rate.text


def test_help_is_told_by_band_and_by_period(records: Connection) -> None:
    for period in ("2026-05-01", "2026-08-01"):
        record_trial(records, held_out=False, n_left=100, n_stayed=900, period=period)
        record_trial(records, held_out=True, n_left=200, n_stayed=800, period=period, band="low")
        record_trial(records, held_out=True, n_left=100, n_stayed=400, period=period)

    page = calling_effect.calling_page(records, HALF)

    assert page.verdict == "helps"
    assert [entry.name for entry in page.periods] == ["2026-08-01", "2026-05-01"]
    assert [entry.name for entry in page.bands] == ["high", "low"]
    high, low = page.bands
    assert high.difference == pytest.approx(-0.1)
    assert low.difference is None
    assert page.n_looks == 3
    assert page.save_rate.measured == pytest.approx(0.5)
    assert "2026-08-01" in formatting.format_calling(page)


def test_few_outcomes_ask_for_more_clients(records: Connection) -> None:
    record_trial(records, held_out=False, n_left=0, n_stayed=29, n_open=3)
    record_trial(records, held_out=True, n_left=29, n_stayed=0)

    page = calling_effect.calling_page(records, HALF)

    assert page.verdict == "cannot tell"
    assert page.n_more is not None
    assert f"About {page.n_more:,} more clients are needed" in page.text
    assert page.save_rate.text.startswith("Not measured yet: gains count on the believed 30%")


def test_an_outcome_counts_for_the_period_of_its_score(records: Connection) -> None:
    record_trial(records, held_out=False, n_left=1, n_stayed=0)
    name = "2026-08-01 high False 0"
    early = NOW - timedelta(days=400)
    connection_row = {
        "run_id": 1, "scoring_id": 1, "client": name, "known_at": NOW, "exited": False,
        "scored_at": early, "release": "r", "probability": 0.5, "band": "high", "position": 1,
    }  # fmt: skip
    insert_outcomes(records, [connection_row])

    (group,) = trials.count_groups(records)

    assert (group.n_clients, group.n_known, group.n_left) == (1, 1, 1)


def test_the_leavers_of_a_day_count_once_its_stays_are_known(records: Connection) -> None:
    record_trial(records, held_out=False, n_left=2, n_stayed=3)
    days = ["2026-08-01", "2026-09-01", "2026-08-01", "2026-08-01", "2026-08-01"]
    for number, day in enumerate(days, start=1):
        known = outcome_groups.update().where(outcome_groups.c.id == number)
        records.execute(known.values(as_of=day))

    (before,) = trials.count_groups(records)
    records.execute(outcome_groups.update().values(as_of="2026-09-01"))
    (after,) = trials.count_groups(records)

    # Of 1 September one who left is known, and nobody who stayed.
    assert (before.n_known, before.n_left) == (4, 1)
    assert (after.n_known, after.n_left) == (5, 2)
    groups = outcome_records.read_judged(records)
    assert outcome_records.count_outcomes(records, groups, 10)["n_outcomes"] == 5


def test_the_measured_rate_orders_the_list(changed: Callable[..., Config]) -> None:
    costs = CostSettings(contact=1, offer=2)
    config = changed(
        worklist={
            "value": 100.0, "costs": costs, "capacity": 10, "holdout_fraction": 0.5,
        }
    )  # fmt: skip
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        record_trial(connection, held_out=False, n_left=400, n_stayed=3600)
        record_trial(connection, held_out=True, n_left=64, n_stayed=936)
    serve(config, FIRST)
    put_clients(config, ["x,0,7,3,", "y,1,7,3,"])

    score(config)

    page = ask(config, worklist.worklist_page, config.worklist)
    assert page.gain is not None
    assert page.gain.save_rate < 0.05
    assert page.gain.best.n_clients == 0
    scoring = ask(config, scoring_records.last_scoring)
    assert scoring is not None
    assert scoring["holdout_facts"]["fraction"] == 0.5
