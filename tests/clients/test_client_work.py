"""Work with clients is recorded, keeps contacted clients off the top, and loses no entry."""

import math
import multiprocessing
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from scripts.clients import client_history, client_work, worklist
from scripts.clients.response_types import RecordedWork, WorkState
from scripts.clients.work_input import WorkInput
from scripts.core.config import Config, WorklistSettings
from scripts.core.errors import WorkConflictError, WorkError
from scripts.records import client_work as work_records
from scripts.records import clients, database
from tests.support.clientele import CLIENTS, FIRST, SECOND, ask, put_clients, score, serve

NOW = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
TODAY = NOW.date()
ANY = WorklistSettings()


@pytest.fixture
def scored(config: Config) -> Config:
    """An installation after the scoring of four clients: x 0.75, y 0.5, z 0.25, b without data."""
    serve(config, FIRST)
    put_clients(config, CLIENTS)
    score(config)
    return config


def record(
    config: Config, *given: WorkInput, actor: str = "ada", now: datetime = NOW,
    settings: WorklistSettings = ANY,
) -> RecordedWork:  # fmt: skip
    """Record entries about clients."""
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.writing(engine) as connection,
    ):
        return client_work.record(connection, settings, given, actor=actor, now=now)


def names_of(config: Config, today: date = TODAY, **wanted: Any) -> list[str]:
    """Return the names of the clients on a page of the worklist."""
    page = ask(config, worklist.worklist_page, ANY, today=today, **wanted)
    return [entry.client for entry in page.clients]


def state_of(config: Config, client: str) -> WorkState | None:
    """Return the state of the work with a client on the list."""
    page = ask(config, worklist.worklist_page, ANY, today=TODAY)
    return next(entry.work for entry in page.clients if entry.client == client)


def test_a_contacted_client_rests_at_the_end_and_comes_back(scored: Config) -> None:
    recorded = record(scored, WorkInput(client="x", result="saved", note=" stays\na year "))

    assert (recorded.n_recorded, recorded.n_known) == (1, 0)
    assert recorded.clients["x"] == WorkState(
        result="saved", contacted_on="2026-11-27", contacted_by="ada", note="stays a year",
        assigned_to=None, snoozed_until="2026-12-11", is_away=True, version=2,
    )  # fmt: skip
    assert names_of(scored) == ["y", "z", "b", "x"]
    assert names_of(scored, order="rise") == ["y", "z", "b", "x"]
    assert names_of(scored, order="client") == ["b", "x", "y", "z"]
    assert names_of(scored, band="high") == ["y", "x"]
    assert names_of(scored, today=date(2026, 12, 10)) == ["y", "z", "b", "x"]
    assert names_of(scored, today=date(2026, 12, 11)) == ["x", "y", "z", "b"]
    page = ask(scored, worklist.worklist_page, ANY, today=TODAY)
    assert (page.n_away, page.n_clients, page.clients[-1].position) == (1, 4, 1)


@pytest.mark.parametrize(("result", "n_days"), [("not reached", 1), ("lost", 14), ("reached", 14)])
def test_who_was_not_reached_is_tried_again_soon(scored: Config, result: str, n_days: int) -> None:
    state = record(scored, WorkInput(client="x", result=result)).clients["x"]

    assert state.snoozed_until == str(TODAY + timedelta(days=n_days))


def test_a_risk_that_rises_by_the_set_amount_brings_a_client_back(scored: Config) -> None:
    record(scored, WorkInput(client="z", snoozed_until="2027-06-01"))
    assert names_of(scored) == ["x", "y", "b", "z"]
    # The odds of z rise from a third to one.
    serve(scored, SECOND, intercept=math.log(9))
    score(scored)

    last = {
        rise: ask(scored, worklist.worklist_page, WorklistSettings(return_rise=rise), today=TODAY)
        .clients[-1].client
        for rise in (0.1, 0.25, 0.3)
    }  # fmt: skip

    assert last == {0.1: "b", 0.25: "b", 0.3: "z"}


@pytest.mark.parametrize(
    ("probability", "is_away"),
    [(0.25, True), (0.349, True), (0.35, False), (0.9, False), (0.1, True)],
)
def test_a_rise_of_exactly_the_limit_counts(probability: float, is_away: bool) -> None:
    snooze = {"snoozed_until": "2027-01-01", "probability": 0.25}

    assert client_work.is_away(snooze, TODAY, probability, 0.1) is is_away


def test_an_assignment_stands_on_the_list_until_it_is_nobodys(scored: Config) -> None:
    record(scored, WorkInput(client="y", assigned_to="bob"))
    state = state_of(scored, "y")
    assert state is not None
    assert (state.assigned_to, state.is_away) == ("bob", False)
    assert names_of(scored) == ["x", "y", "z", "b"]

    record(scored, WorkInput(client="y", assigned_to=""))

    state = state_of(scored, "y")
    assert state is not None
    assert state.assigned_to is None


def test_the_history_says_who_when_before_and_after(scored: Config) -> None:
    record(scored, WorkInput(client="x", result="not reached", assigned_to="bob"))
    later = NOW + timedelta(hours=2)
    record(scored, WorkInput(client="x", result="saved", assigned_to=""), actor="bob", now=later)

    page = ask(scored, client_history.client_page, ANY, "x")

    assert page is not None
    assert [(e.actor, e.kind, e.before, e.after) for e in page.work_history] == [
        ("bob", "snooze", "2026-11-28", "2026-12-11"),
        ("bob", "assignment", "bob", None),
        ("bob", "contact", "not reached", "saved"),
        ("ada", "snooze", None, "2026-11-28"),
        ("ada", "assignment", None, "bob"),
        ("ada", "contact", None, "not reached"),
    ]
    assert page.work_history[0].at == later.isoformat()
    first = ask(scored, client_work.work_page, 4, 0)
    rest = ask(scored, client_work.work_page, 4, first.next_offset)
    assert [*first.entries, *rest.entries] == page.work_history
    assert rest.next_offset is None


def test_the_same_entry_twice_is_recorded_once(scored: Config) -> None:
    given = WorkInput(client="x", result="saved", assigned_to="bob", snoozed_until="2027-01-01")
    record(scored, given)

    again = record(scored, given)

    assert (again.n_recorded, again.n_known) == (0, 1)
    assert ask(scored, work_records.last_entry) == 3
    other = record(scored, WorkInput(client="x", result="saved"), actor="bob")
    assert other.n_recorded == 1


def test_a_downloaded_list_with_a_snooze_that_is_over_can_be_sent_back(scored: Config) -> None:
    record(scored, WorkInput(client="x", result="not reached"))
    record(scored, WorkInput(client="y", result="not reached"))
    later, over = NOW + timedelta(days=30), str(TODAY + timedelta(days=1))
    sent = WorkInput(client="x", result="not reached", contacted_on=str(TODAY), contacted_by="ada",
                     snoozed_until=over)  # fmt: skip
    called = WorkInput(client="y", result="reached", snoozed_until=over)

    again = record(scored, sent, called, WorkInput(client="x", snoozed_until=over), now=later)

    assert (again.n_recorded, again.n_known) == (1, 2)
    assert again.clients["y"].snoozed_until == str(TODAY + timedelta(days=44))
    assert again.clients["x"].snoozed_until == over
    with pytest.raises(WorkError, match="snoozed_until is"):
        record(scored, WorkInput(client="z", snoozed_until=over), now=later)


def test_an_old_contact_does_not_replace_a_later_one(scored: Config) -> None:
    record(scored, WorkInput(client="x", result="saved"))

    state = record(
        scored, WorkInput(client="x", result="no interest", contacted_on="2026-11-20")
    ).clients["x"]

    assert (state.result, state.snoozed_until) == ("saved", "2026-12-11")
    page = ask(scored, client_history.client_page, ANY, "x")
    assert page is not None
    assert page.work_history[0].after == "no interest"


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({}, "nothing to record"),
        ({"note": "a"}, "note without a result; expected reached, not reached, saved"),
        ({"result": "won"}, "The result is 'won'; expected"),
        ({"result": "saved", "contacted_on": "27.11.2026"}, "expected a day such as"),
        ({"result": "saved", "contacted_on": "2027-01-01"}, "expected a day from"),
        ({"result": "saved", "note": "a" * 2001}, "note has 2001 characters"),
        ({"result": "saved", "note": "a\x00b"}, "printable"),
        ({"assigned_to": "a" * 65}, "assigned_to has 65 characters"),
        ({"snoozed_until": "2026-11-26"}, "expected a day from 2026-11-27"),
        ({"snoozed_until": "soon"}, "expected a day such as"),
        ({"client": "nobody", "result": "saved"}, "No client 'nobody' was scored"),
    ],
)
def test_an_entry_that_cannot_be_right_is_refused(
    scored: Config, facts: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(WorkError, match=complaint):
        record(scored, WorkInput(**{"client": "x", **facts}))

    assert ask(scored, work_records.last_entry) == 0


def test_of_several_entries_one_wrong_one_refuses_all(scored: Config) -> None:
    with pytest.raises(WorkError, match="entry 2: The result is 'won'"):
        record(scored, WorkInput(client="x", result="saved"), WorkInput(client="y", result="won"))

    assert ask(scored, work_records.last_entry) == 0


def test_an_assignment_that_another_has_changed_since_is_a_conflict(scored: Config) -> None:
    record(scored, WorkInput(client="x", assigned_to="ada"))
    record(scored, WorkInput(client="x", assigned_to="bob", seen=1), actor="bob")

    with pytest.raises(WorkConflictError, match="bob has assigned x to bob in the meantime"):
        record(scored, WorkInput(client="x", assigned_to="carl", seen=1))
    # A contact is added to that of others, and the same assignment is no conflict.
    record(scored, WorkInput(client="x", result="reached", seen=1))
    record(scored, WorkInput(client="x", assigned_to="bob", seen=1))


def work_at_once(url: str, actor: str, n_entries: int) -> None:
    """Record contacts with one client, as a process of its own."""
    with database.open_records(url, may_change=False) as engine:
        for number in range(n_entries):
            with database.writing(engine) as connection:
                given = [WorkInput(client="x", result="reached", note=f"{actor} {number}")]
                client_work.record(connection, ANY, given, actor=actor, now=NOW)


def test_threads_and_processes_at_once_lose_no_entry(scored: Config) -> None:
    url = scored.database_url
    spawn = multiprocessing.get_context("fork")
    workers: list[Any] = [
        spawn.Process(target=work_at_once, args=(url, f"p{number}", 5)) for number in range(2)
    ]
    workers += [
        threading.Thread(target=work_at_once, args=(url, f"t{number}", 5)) for number in range(2)
    ]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    rows = ask(scored, work_records.list_work, ["x"])["x"]
    notes = [row["note"] for row in rows if row["kind"] == "contact"]
    expected = [f"{who} {number}" for who in ("p0", "p1", "t0", "t1") for number in range(5)]
    assert sorted(notes) == expected
    # Each change was made on the state that the change before had left.
    page = ask(scored, client_history.client_page, ANY, "x")
    assert page is not None
    changes = [e for e in page.work_history[::-1] if e.kind == "snooze"]
    assert len(changes) == 1


def iterate_pages(config: Config, top: int) -> Iterator[str]:
    """Yield the clients of all pages by cursor, while somebody works after the first page."""
    page = ask(config, worklist.worklist_page, ANY, today=TODAY, top=top)
    yield from (entry.client for entry in page.clients)
    record(config, WorkInput(client="x", result="saved"), WorkInput(client="z", snoozed_until=""))
    while page.next_cursor is not None:
        page = ask(config, worklist.worklist_page, ANY, top=top, cursor=page.next_cursor)
        yield from (entry.client for entry in page.clients)


@pytest.mark.parametrize("top", [1, 2, 3])
def test_pages_have_every_client_once_while_others_work(scored: Config, top: int) -> None:
    record(scored, WorkInput(client="z", snoozed_until="2027-01-01"))

    assert list(iterate_pages(scored, top)) == ["x", "y", "b", "z"]
    assert names_of(scored) == ["y", "z", "b", "x"]


@pytest.mark.parametrize(
    "away", [(), (0,), (3, 4), (9,), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (0, 5, 9)]
)
@pytest.mark.parametrize(("first", "end"), [(0, 10), (2, 7), (5, 5)])
def test_those_away_move_to_the_end_of_every_part(
    away: tuple[int, ...], first: int, end: int
) -> None:
    inside = range(first, end)
    expected = [p for p in inside if p not in away] + [p for p in inside if p in away]

    for start in range(12):
        for n in range(1, 12):
            moved = clients.move_away((first, end), away, range(start, start + n))
            assert moved.tolist() == expected[start : start + n]
