"""The weekly mail: content, changes, and a real mail server."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from scripts import worklist as command
from scripts.clients import client_work, delivery_state, list_delivery
from scripts.clients.work_input import WorkInput
from scripts.core import smtp_client
from scripts.core.config import Config, SmtpSettings
from scripts.core.config_file import read_config
from scripts.core.errors import ConfigError
from scripts.records import alert_states, database, list_deliveries
from scripts.records.tables import list_events, list_mails
from tests.support.clientele import ask, put_clients, score
from tests.support.receivers import (
    Hook,
    Postbox,
    hook_receiver,
    mail_server,
    make_certificate,
    text_of,
)
from tests.support.service import ROOT, edit_config

MONDAY = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
PASSWORD = "correct horse battery staple"
# Delivers as a run does, in a process that can be killed.
DELIVER = """
import sys
from datetime import datetime
from pathlib import Path
from scripts.clients import list_delivery
from scripts.core.config_file import read_config
from scripts.records import database
config = read_config(Path(sys.argv[1]))
with database.open_records(config.database_url) as engine:
    list_delivery.deliver(engine, config, datetime.fromisoformat(sys.argv[2]), None)
"""


@pytest.fixture
def scored(scored_path: Path) -> Path:
    """The config of an installation with four scored clients, of whom the team can call three."""
    edit_config(scored_path, worklist={"capacity": 3})
    return scored_path


def with_mail(config_path: Path, port: int, **settings: Any) -> Config:
    """Return the config with a mail server on loopback."""
    smtp = {
        "host": "localhost", "port": port, "security": "none", "from": "risk@example.com",
        "to": ["ada@example.com", "ben@example.com"],
    }  # fmt: skip
    url = "http://risk.example.com/"
    edit_config(config_path, alerts={"smtp": smtp | settings, "dashboard_url": url})
    return read_config(config_path)


def deliver(config: Config, now: datetime = MONDAY) -> None:
    """Deliver what is due, as a run does."""
    with database.open_records(config.database_url) as engine:
        list_delivery.deliver(engine, config, now, None)


def states_of(config: Config) -> list[str]:
    """Return the states of all mails, the oldest first."""
    query = sa.select(list_mails.c.state).order_by(list_mails.c.week)
    return ask(config, lambda connection: list(connection.execute(query).scalars()))


def kill_and_deliver(config_path: Path, set_killer: Callable[[Callable[[], None]], None]) -> int:
    """Deliver in a process that a step of the mail server kills, and return the exit code."""
    command = [sys.executable, "-c", DELIVER, str(config_path), MONDAY.isoformat()]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    set_killer(lambda: os.kill(process.pid, signal.SIGKILL))
    process.communicate(timeout=60)
    return process.returncode


def test_the_mail_is_due_at_its_hour_once_a_week(scored: Path) -> None:
    config = with_mail(scored, 25)
    smtp = config.alerts.smtp
    assert smtp is not None
    week = delivery_state.week_of

    assert week(smtp, MONDAY) == "2026-11-23"
    assert week(smtp, MONDAY - timedelta(seconds=1)) == "2026-11-16"
    assert week(smtp, MONDAY + timedelta(days=6, hours=23)) == "2026-11-23"
    assert week(smtp, MONDAY + timedelta(days=7)) == "2026-11-30"


def test_the_mail_has_the_list_with_reasons_in_both_parts(scored: Path) -> None:
    postbox = Postbox()
    with mail_server(postbox) as port:
        deliver(with_mail(scored, port))

    (mail,) = postbox.mails
    assert mail["Subject"] == "Worklist of 23 Nov 2026: 3 clients to call"
    assert (mail["From"], mail["To"]) == ("risk@example.com", "ada@example.com, ben@example.com")
    assert postbox.envelopes[0].rcpt_tos == ["ada@example.com", "ben@example.com"]
    plain, rich = text_of(mail, "plain"), text_of(mail, "html")
    assert "3 of 4 clients (2 high, 1 low)" in plain
    assert "1. x: 75.0%, high, new\n   lastmonth_activity 0; clients who stay: 3" in plain
    assert "3. <z>: " in plain
    assert "w:" not in plain
    assert "This is the first mail" in plain
    assert "http://risk.example.com/dashboard/worklist" in plain
    assert "&lt;z&gt;</a>" in rich
    assert 'href="http://risk.example.com/dashboard/client?name=%3Cz%3E"' in rich
    assert "lastmonth_activity 0; clients who stay: 3" in rich
    # Every line fits the limit of SMTP, whatever the length of the list.
    assert max(map(len, postbox.envelopes[0].content.splitlines())) <= 78


def test_the_mail_of_the_next_week_says_who_entered_who_left_and_whose_band_changed(
    scored: Path,
) -> None:
    postbox = Postbox()
    with mail_server(postbox) as port:
        config = with_mail(scored, port)
        deliver(config)
        put_clients(config, ["x,9,7,3,", "y,2,7,3,", "<z>,2,7,3,", "w,0,7,3,"], "today2.csv")
        score(config)
        deliver(config, MONDAY + timedelta(days=3))
        deliver(config, MONDAY + timedelta(days=7))

    assert len(postbox.mails) == 2
    mail = postbox.mails[1]
    assert mail["Subject"] == "Worklist of 30 Nov 2026: 3 clients to call, 1 new, 1 gone"
    plain = text_of(mail, "plain")
    assert "What changed since the mail of 23 Nov 2026:" in plain
    assert "1 new on the list: w (high)." in plain
    assert "1 no longer on it: x (was high)." in plain
    assert "1 with another band: y (high, now low)." in plain
    assert postbox.mails[0]["Message-ID"] != mail["Message-ID"]


def test_a_client_who_was_called_is_not_in_the_mail(scored: Path) -> None:
    postbox = Postbox()
    with mail_server(postbox) as port:
        config = with_mail(scored, port)
        given, now = [WorkInput(client="x", result="reached")], datetime.now(UTC)
        with (
            database.open_records(config.database_url) as engine,
            database.writing(engine) as connection,
        ):
            client_work.record(connection, config.worklist, given, actor="ada", now=now)
        deliver(config, now)

    plain = text_of(postbox.mails[0], "plain")
    assert "1. y: " in plain
    assert " x:" not in plain


# The server does not know that its whole connection is of TLS.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_password_and_list_go_over_tls_to_a_server_with_the_right_certificate(
    scored: Path, tmp_path: Path, security: str
) -> None:
    certificate = make_certificate(tmp_path)
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    postbox = Postbox(password=PASSWORD.encode())
    login = {"security": security, "user": "risk", "password_file": str(secret)}
    with mail_server(
        postbox, certificate=certificate, is_implicit=security == "tls", needs_login=True
    ) as port:
        unknown = with_mail(scored, port, **login)
        deliver(unknown)
        assert postbox.mails == []
        deliver(with_mail(scored, port, **login, ca_file=str(certificate[0])))

    assert len(postbox.mails) == 1
    assert [login.login for login in postbox.logins] == [b"risk"]
    row = ask(unknown, list_deliveries.last_mail)
    assert row is not None
    assert (row["state"], row["n_attempts"], row["fault"]) == ("sent", 2, None)


def test_a_wrong_password_is_said_once_and_never_written(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("ADRAS_SMTP_PASSWORD", "wr0ng-secret")
    postbox = Postbox(password=PASSWORD.encode())
    with mail_server(postbox, certificate=certificate, needs_login=True) as port:
        config = with_mail(
            scored, port, user="risk", security="starttls", ca_file=str(certificate[0])
        )
        deliver(config)
        deliver(config, MONDAY + timedelta(minutes=10))

    told = [r for r in caplog.records if "The weekly mail" in r.getMessage()]
    assert [r.levelno for r in told] == [logging.WARNING, logging.INFO]
    assert "the server answered 535" in told[0].getMessage()
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("scripts.")]
    written = "".join(ours) + "".join(
        path.read_bytes().decode("latin-1") for path in scored.parent.rglob("*") if path.is_file()
    )
    assert "wr0ng-secret" not in written
    state = ask(config, alert_states.current_state, "weekly mail")
    assert state is not None
    assert state["state"] == "failing"


def test_a_refused_or_unreachable_server_gets_the_mail_from_the_next_run(scored: Path) -> None:
    answers = ["451 try later"]
    postbox = Postbox(at_content=lambda: answers.pop() if answers else "250 OK")
    with mail_server(postbox) as port:
        config = with_mail(scored, port)
        deliver(config)
        assert states_of(config) == ["trying"]
        problems = ask(config, delivery_state.describe_problems, config)
        deliver(config, MONDAY + timedelta(minutes=10))
        deliver(config, MONDAY + timedelta(minutes=20))

    assert problems == [
        "The weekly mail of 2026-11-23 was not sent: the server answered 451 try later"
    ]
    assert len(postbox.mails) == 1
    # The mail is the same one in each attempt: its date is that of the first.
    assert postbox.mails[0]["Date"].datetime == MONDAY
    state = ask(config, alert_states.current_state, "weekly mail")
    assert state is not None
    assert state["state"] == "ok"
    deliver(with_mail(scored, 1), MONDAY + timedelta(days=7))
    assert states_of(config) == ["sent", "trying"]


def test_a_refused_receiver_keeps_the_mail_from_nobody_else(
    scored: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answers = ["250 OK", "550 no such user"]
    postbox = Postbox(at_receiver=lambda: answers.pop())
    with mail_server(postbox) as port:
        config = with_mail(scored, port)
        deliver(config)

    assert states_of(config) == ["sent"]
    assert "refused 1 receivers: the server answered 550 no such user" in caplog.text
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("scripts.")]
    assert "ada@example.com" not in "\n".join(ours)


def test_a_program_killed_before_the_content_sends_in_the_next_run(scored: Path) -> None:
    postbox = Postbox()
    with mail_server(postbox) as port:
        config = with_mail(scored, port)

        def set_killer(kill: Callable[[], None]) -> None:
            def at_receiver() -> str:
                postbox.at_receiver = lambda: "250 OK"
                kill()
                time.sleep(0.2)
                return "250 OK"

            postbox.at_receiver = at_receiver

        assert kill_and_deliver(scored, set_killer) == -signal.SIGKILL
        assert states_of(config) == ["trying"]
        deliver(config)
        deliver(config)

    assert len(postbox.mails) == 1
    assert states_of(config) == ["sent"]


def test_a_program_killed_after_the_content_does_not_send_twice_and_says_so(scored: Path) -> None:
    postbox = Postbox()
    with mail_server(postbox) as port:
        config = with_mail(scored, port)

        def set_killer(kill: Callable[[], None]) -> None:
            def at_content() -> str:
                postbox.at_content = lambda: "250 OK"
                kill()
                return "250 OK"

            postbox.at_content = at_content

        assert kill_and_deliver(scored, set_killer) == -signal.SIGKILL
        assert states_of(config) == ["handed"]
        deliver(config)
        deliver(config)
        assert len(postbox.mails) == 1
        (problem,) = ask(config, delivery_state.describe_problems, config)
        assert "may have arrived; python -m scripts.worklist mail --send sends it again" in problem
        # The next week compares with this list.
        deliver(config, MONDAY + timedelta(days=7))

    assert states_of(config) == ["unknown", "sent"]
    assert "What changed since the mail of 23 Nov 2026" in text_of(postbox.mails[1], "plain")


def test_a_program_killed_after_the_answer_has_recorded_the_mail(scored: Path) -> None:
    postbox = Postbox()
    with mail_server(postbox) as port:
        config = with_mail(scored, port)

        def set_killer(kill: Callable[[], None]) -> None:
            def at_end() -> str:
                kill()
                return "221 Bye"

            postbox.at_end = at_end

        assert kill_and_deliver(scored, set_killer) == -signal.SIGKILL
        assert states_of(config) == ["sent"]
        deliver(config)

    assert len(postbox.mails) == 1


def test_a_mail_left_by_a_killed_run_of_the_week_before_is_unknown(scored: Path) -> None:
    postbox = Postbox()
    with mail_server(postbox) as port:
        config = with_mail(scored, port)
        deliver(config)
        with database.open_records(config.database_url) as engine:
            list_delivery.mark(engine, "2026-11-23", list_deliveries.MailState.HANDED)
        deliver(config, MONDAY + timedelta(days=7))

    assert states_of(config) == ["unknown", "sent"]
    assert "What changed since the mail of 23 Nov 2026" in text_of(postbox.mails[1], "plain")


def test_a_server_that_offers_no_tls_gets_neither_password_nor_mail(
    scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_SMTP_PASSWORD", PASSWORD)
    postbox = Postbox()
    with mail_server(postbox) as port:
        config = with_mail(scored, port, security="starttls", user="risk")
        deliver(config)

    assert (postbox.mails, postbox.logins) == ([], [])
    row = ask(config, list_deliveries.last_mail)
    assert row is not None
    assert "STARTTLS extension not supported" in row["fault"]


def test_a_silent_server_holds_nobody_for_long(
    scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_client, "LIMIT_S", 0.5)
    listening = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve_slowly() -> None:
        connection, _ = listening.accept()
        held.append(connection)
        connection.sendall(b"220 hello\r\n")

    thread = threading.Thread(target=serve_slowly, daemon=True)
    thread.start()
    config, begun_s = (
        with_mail(scored, listening.getsockname()[1], host="127.0.0.1"),
        time.monotonic(),
    )

    deliver(config)

    assert time.monotonic() - begun_s < 5
    assert states_of(config) == ["trying"]
    thread.join(5)
    for connection in (*held, listening):
        connection.close()


def test_the_terminal_shows_the_mail_and_sends_it_at_once(scored: Path) -> None:
    def run(*words: str) -> Result:
        given = ["--config", str(scored), "mail", *words]
        return CliRunner().invoke(command.make_program(given), given)

    postbox = Postbox()
    shown = run()
    with mail_server(postbox) as port:
        with_mail(scored, port)
        results = [run("--send"), run("--send")]
    failed = run("--send")

    assert "1. x: 75.0%, high, new" in shown.stdout
    assert [result.exit_code for result in (shown, *results, failed)] == [0, 0, 0, 69]
    # By hand a mail is sent again, under the identifier by which a mailbox knows it.
    assert len(postbox.mails) == 2
    assert len({mail["Message-ID"] for mail in postbox.mails}) == 1
    assert "The mail was not sent: ConnectionRefusedError" in failed.output


@pytest.mark.campaign
def test_killed_at_any_moment_a_mail_arrives_at_most_once_and_each_message_at_least_once(
    scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly() -> str:
        time.sleep(0.1)
        return "250 OK"

    random, hook = Random(20), Hook(at_message=lambda: time.sleep(0.05))
    postbox = Postbox(at_receiver=slowly, at_content=slowly)
    n_rounds, unknown, killed = 60, 0, 0
    with (
        mail_server(postbox) as port,
        hook_receiver(hook) as url,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setenv("ADRAS_WORKLIST_WEBHOOK_SECRET", "k" * 32)
        config = with_mail(scored, port)
        edit_config(scored, worklist={"capacity": 3, "webhook_url": url})
        config = read_config(scored)
        for week in range(n_rounds):
            now = MONDAY + timedelta(days=7 * week)
            # A client enters in one week and leaves in the next.
            edit_config(scored, worklist={"capacity": 2 + week % 2, "webhook_url": url})
            config = read_config(scored)
            words = [sys.executable, "-c", DELIVER, str(scored), now.isoformat()]
            process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
            # Killed before its end, mostly.
            with suppress(subprocess.TimeoutExpired):
                process.wait(random.uniform(0.5, 2.0))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            deliver(config, now)
            deliver(config, now)
            unknown += states_of(config)[-1] == "unknown"

    identifiers = [mail["Message-ID"] for mail in postbox.mails]
    assert len(set(identifiers)) == len(identifiers)
    assert n_rounds - unknown <= len(identifiers) <= n_rounds
    ids = [headers["webhook-id"] for headers, _ in hook.messages]
    first = list(dict.fromkeys(ids))
    query = sa.select(list_events.c.event_id).order_by(list_events.c.id)
    recorded = ask(config, lambda connection: list(connection.execute(query).scalars()))
    print(
        f"{killed} of {n_rounds} killed; {len(identifiers)} mails, {unknown} unknown;"
        f" {len(recorded)} messages, sent {len(ids)} times"
    )
    assert first == recorded


def test_no_mail_is_due_before_the_first_scoring(config_path: Path, config: Config) -> None:
    with database.open_records(config.database_url):
        pass
    chosen = with_mail(config_path, 1)

    deliver(chosen)

    assert states_of(chosen) == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"password": "x"}, "unknown key 'password'"),
        ({"password_file": "x"}, "has a password_file and no user"),
        ({"host": "mail.example.com", "user": "x"}, "would send the password of 'x' in clear"),
        ({"weekday": "Montag"}, "Invalid enum value 'Montag'"),
        ({"to": []}, "length >= 1"),
        ({"from": "nobody"}, "matching regex"),
    ],
)
def test_wrong_settings_of_the_mail_are_refused(
    config_path: Path, changed: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        with_mail(config_path, 25, **changed)


def test_a_password_file_that_others_can_read_is_refused(scored: Path, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    config = with_mail(scored, 1, user="risk", password_file=str(secret))

    deliver(config)

    row = ask(config, list_deliveries.last_mail)
    assert row is not None
    assert "has the mode 644" in row["fault"]
    assert json.loads(scored.read_text())["alerts"]["smtp"]["user"] == "risk"
    assert isinstance(config.alerts.smtp, SmtpSettings)
