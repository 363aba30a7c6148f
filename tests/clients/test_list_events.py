"""Events of the list: signed, in order, at least once, to a real receiver."""

import base64
import hashlib
import hmac
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy.engine import Connection

from scripts import worklist as command
from scripts.clients import client_work, delivery_state, list_delivery, list_events
from scripts.clients.work_input import WorkInput
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import ConfigError
from scripts.production import audit
from scripts.records import alert_states, audit_records, database, erasing, list_deliveries
from scripts.records.list_deliveries import MailState
from scripts.records.tables import list_events as list_events_table
from tests.clients.test_weekly_mail import DELIVER
from tests.support.clientele import FIRST, ask, put_clients, score
from tests.support.receivers import Hook, hook_receiver
from tests.support.service import ROOT, edit_config

SECRET = "a secret of more than twenty-four bytes"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the secret of the signatures."""
    monkeypatch.setenv("ADRAS_WORKLIST_WEBHOOK_SECRET", SECRET)


@pytest.fixture
def scored(scored_path: Path) -> Path:
    """The config of an installation with four scored clients, of whom the team can call two."""
    edit_config(scored_path, worklist={"capacity": 2})
    return scored_path


def with_hook(config_path: Path, url: str, **settings: Any) -> Config:
    """Return the config with a receiver of events."""
    edit_config(
        config_path,
        worklist={"capacity": 2, "webhook_url": url} | settings,
        alerts={"dashboard_url": "https://risk.example.com"},
    )
    return read_config(config_path)


def deliver(config: Config, now: datetime | None = None) -> None:
    """Deliver what is due, as a run does."""
    with database.open_records(config.database_url) as engine:
        list_delivery.deliver(engine, config, now or datetime.now(UTC), None)


def rank_again(config: Config) -> None:
    """Score other rows: w comes first, x goes."""
    put_clients(config, ["x,9,7,3,", "y,1,7,3,", "<z>,2,7,3,", "w,0,7,3,"], "today2.csv")
    score(config)


def told(hook: Hook) -> list[tuple[str, str]]:
    """Return kind and client of each message."""
    messages = [json.loads(body) for _, body in hook.messages]
    return [(message["type"], message["data"]["client"]) for message in messages]


def test_each_client_who_enters_or_leaves_is_a_message_in_order(scored: Path) -> None:
    hook = Hook()
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config)
        deliver(config)
        rank_again(config)
        deliver(config)

    assert told(hook) == [
        ("client.entered", "x"), ("client.entered", "y"), ("client.left", "x"),
        ("client.entered", "w"),
    ]  # fmt: skip
    first, last = (json.loads(hook.messages[place][1]) for place in (0, 3))
    data = first["data"]
    assert (data["position"], data["band"], data["probability"]) == (1, "high", pytest.approx(0.75))
    assert data["reasons"] == ["lastmonth_activity 0; clients who stay: 3"]
    assert data["url"] == "https://risk.example.com/dashboard/client?name=x"
    assert data["release"] == FIRST
    assert first["id"] != last["id"]


def test_the_signature_is_that_of_standard_webhooks(scored: Path) -> None:
    hook = Hook()
    with hook_receiver(hook) as url:
        deliver(with_hook(scored, url))

    headers, body = hook.messages[0]
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == json.loads(body)["id"]
    sent_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert abs(datetime.now(UTC) - sent_at) < timedelta(minutes=1)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_the_published_example_of_the_signature_is_reproduced() -> None:
    # Standard Webhooks, the example of its specification and of its libraries.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    signature = list_events.sign(
        key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_may_be_encoded_and_must_be_long(
    scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_hook(scored, "http://127.0.0.1:1/")
    encoded = base64.b64encode(b"k" * 24).decode()
    monkeypatch.setenv("ADRAS_WORKLIST_WEBHOOK_SECRET", f"whsec_{encoded}")
    assert list_events.read_key(config) == b"k" * 24
    for wrong, fault in (("short", "has 5 bytes"), ("whsec_???", "no base64")):
        monkeypatch.setenv("ADRAS_WORKLIST_WEBHOOK_SECRET", wrong)
        with pytest.raises(ConfigError, match=fault):
            list_events.read_key(config)


def test_a_receiver_that_is_down_gets_the_same_messages_later_in_their_order(
    scored: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hook = Hook(codes=[204, 503, 503, 204])
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config)
        deliver(config)
        problems = ask(config, delivery_state.describe_problems, config)
        deliver(config)

    assert [client for _, client in told(hook)] == ["x", "y", "y", "y"]
    ids = [headers["webhook-id"] for headers, _ in hook.messages]
    assert len(set(ids)) == 2
    assert len({body for _, body in hook.messages}) == 2
    assert problems == ["1 events of the list wait for worklist.webhook_url: it answered 503."]
    levels = [r.levelno for r in caplog.records if "The list events" in r.getMessage()]
    assert levels == [logging.WARNING, logging.INFO]
    state = ask(config, alert_states.current_state, "list events")
    assert state is not None
    assert state["state"] == "ok"
    assert url not in "".join(r.getMessage() for r in caplog.records)


def test_a_message_that_the_receiver_refuses_is_given_up_and_counted(scored: Path) -> None:
    hook = Hook(codes=[422, 422, 422, 422, 422, 204])
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        for _ in range(5):
            deliver(config)
        assert [client for _, client in told(hook)] == ["x", "x", "x", "x", "x", "y"]
        (problem,) = ask(config, delivery_state.describe_problems, config)
        assert problem.startswith("1 events of the list were given up")
        words = ["--config", str(scored), "events", "--again"]
        result = CliRunner().invoke(command.make_program(words), words)
        assert "1 events wait, 0 were given up; the last failure: it answered 422." in result.output
        deliver(config)

    assert told(hook)[-1] == ("client.entered", "x")
    assert ask(config, delivery_state.describe_problems, config) == []


def test_a_message_that_is_a_week_old_is_given_up(scored: Path) -> None:
    hook = Hook(codes=[503])
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config)
        deliver(config, datetime.now(UTC) + timedelta(days=8))

    problems = ask(config, delivery_state.describe_problems, config)
    assert problems[0] == (
        "2 events of the list were given up for worklist.webhook_url; python -m scripts.worklist"
        " events --again tries them again."
    )


def test_a_redirect_is_not_followed(scored: Path) -> None:
    hook = Hook(codes=[302])
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config)

    assert len(hook.messages) == 1
    event = ask(config, list_deliveries.next_event)
    assert event is not None
    assert event["fault"] == "it answered 302"


def test_a_program_killed_between_record_and_message_sends_from_the_next_run_on(
    scored: Path,
) -> None:
    hook = Hook()

    def kill_at_first_message(kill: Callable[[], None]) -> None:
        def at_message() -> None:
            hook.at_message = lambda: None
            kill()

        hook.at_message = at_message

    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        words = [sys.executable, "-c", DELIVER, str(scored), datetime.now(UTC).isoformat()]
        process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE)
        kill_at_first_message(lambda: os.kill(process.pid, signal.SIGKILL))
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert ask(config, list_deliveries.count_waiting) == 2
        deliver(config)

    # At least once: the first message comes twice, with one id.
    assert told(hook) == [("client.entered", "x"), ("client.entered", "x"), ("client.entered", "y")]
    ids = [headers["webhook-id"] for headers, _ in hook.messages]
    assert ids[0] == ids[1] != ids[2]


def test_a_run_sends_no_more_than_its_limit(scored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_events, "MAX_EVENTS", 1)
    hook = Hook()
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config)
        assert len(hook.messages) == 1
        deliver(config)

    assert len(hook.messages) == 2


def test_a_contact_takes_a_client_off_the_list_without_a_new_scoring(scored: Path) -> None:
    hook = Hook()
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config)
        given, now = [WorkInput(client="x", result="saved")], datetime.now(UTC)
        with (
            database.open_records(config.database_url) as engine,
            database.writing(engine) as connection,
        ):
            client_work.record(connection, config.worklist, given, actor="ada", now=now)
        deliver(config, now)

    assert told(hook)[2:] == [("client.left", "x"), ("client.entered", "<z>")]


def test_without_a_secret_nothing_is_sent_and_the_events_wait(
    scored: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ADRAS_WORKLIST_WEBHOOK_SECRET")
    hook = Hook()
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config)

    assert hook.messages == []
    assert "set ADRAS_WORKLIST_WEBHOOK_SECRET" in caplog.text
    assert ask(config, list_deliveries.count_waiting) == 2


def test_old_deliveries_are_forgotten(scored: Path) -> None:
    hook, now = Hook(), datetime.now(UTC)
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config, now)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        for week in ("2026-01-05", "2026-01-12", "2026-01-19"):
            list_deliveries.begin_mail(connection, week, run_id=None, at=now, message_id="<a>")
            sent = {"members": [], "sent_at": now}
            list_deliveries.mark_mail(connection, week, MailState.SENT, **sent)
        list_deliveries.forget_old(connection, now + timedelta(days=89))
        mails = [list_deliveries.find_mail(connection, f"2026-01-{n}") for n in ("05", "12", "19")]
        assert [mail and mail["members"] for mail in mails] == [None, [], []]
        n_events = sa.select(sa.func.count()).select_from(list_events_table)
        assert connection.execute(n_events).scalar() == 2
        list_deliveries.forget_old(connection, now + timedelta(days=401))
        assert list_deliveries.last_mail(connection) is None
        assert connection.execute(n_events).scalar() == 0


def test_mails_and_messages_are_in_the_audit_without_names_and_content(scored: Path) -> None:
    hook = Hook()
    with hook_receiver(hook) as url:
        config = with_hook(scored, url)
        deliver(config)

    def find_lines(connection: Connection) -> list[str]:
        acts = ((at, act, dict(row)) for at, act, row in audit_records.list_acts(connection))
        return list(audit.encode_chain(acts, b"k" * 32))

    lines = [json.loads(line) for line in ask(config, find_lines)]
    entered = [line for line in lines if line["act"] == "event"]
    assert [line["kind"] for line in entered] == ["client.entered"] * 2
    assert all(line["client"] not in ("x", "y") and "body" not in line for line in entered)
    assert "lastmonth_activity" not in json.dumps(entered)


def test_an_erased_client_is_in_no_message_that_waits_and_in_no_list_that_was_sent(
    scored: Path,
) -> None:
    config = with_hook(scored, "http://127.0.0.1:1/")
    deliver(config)
    with database.open_records(config.database_url) as engine:
        erasing.erase_rows(engine, "x")
        erasing.erase_texts(engine, "x")

    snapshot = ask(config, list_deliveries.find_snapshot)
    event = ask(config, list_deliveries.next_event)
    assert snapshot is not None
    assert event is not None
    assert [member["client"] for member in snapshot["members"]] == ["y"]
    assert event["client"] == "y"


def test_a_webhook_secret_needs_a_receiver(config_path: Path) -> None:
    with pytest.raises(ConfigError, match="has a webhook_secret_file and no webhook_url"):
        with_hook(config_path, "", webhook_secret_file="secret")
