"""Failed logins: counted in memory, written by a thread, limited, and in no request's way."""

import json
import logging
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from flask.testing import FlaskClient

from scripts import database as program
from scripts.api import login_log
from scripts.api.login_log import LoginLog
from scripts.app import create_app
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.failed_logins import MAX_PER_HOUR, Attempt, Way
from scripts.production import audit
from scripts.records import database
from tests.support.service import ADMIN_TOKEN, TOKEN, served

WRONG = "wrong-but-nearly-secret"


def make_records(config: Config) -> None:
    """Make the records, as the first run does."""
    with database.open_records(config.database_url):
        pass


def acts_of(config_path: Path) -> list[dict[str, Any]]:
    """List the failed logins of the audit, whose chain is checked."""
    arguments = ["audit", "--config", str(config_path)]
    lines = CliRunner().invoke(program.make_program(), arguments).stdout.splitlines()
    assert audit.check_chain(lines, None) == len(lines) - 1
    acts = [json.loads(line) for line in lines]
    return [act for act in acts if act["act"] == "failed login"]


@pytest.fixture
def log(config: Config) -> LoginLog:
    """A log without its thread, of an installation with records."""
    make_records(config)
    return LoginLog(lambda: config)


@pytest.fixture
def limited(
    prod: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlaskClient]:
    """A client of a service with two tokens, and with records."""
    make_records(read_config(config_path))
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    monkeypatch.setenv("ADRAS_API_ADMIN_TOKEN", ADMIN_TOKEN)
    client = create_app(config_path).test_client()
    client.application.extensions["login_log"].start()
    yield client
    client.application.extensions["login_log"].stop()


def stop(client: FlaskClient) -> None:
    """Let the log of a service write what waits and end."""
    client.application.extensions["login_log"].stop()


def send(client: FlaskClient, token: str, path: str = "/score", method: str = "GET") -> int:
    """Send a request with a token, and return the status."""
    answer = client.open(
        path, method=method, headers={"Authorization": f"Bearer {token}"},
        environ_overrides={"REMOTE_ADDR": "192.0.2.1"},
    )  # fmt: skip
    return answer.status_code


# What is recorded


def test_a_wrong_token_a_wrong_form_and_a_small_role_are_acts_of_the_audit(
    limited: FlaskClient, config_path: Path
) -> None:
    statuses = [send(limited, WRONG) for _ in range(12)]
    form = limited.post(
        "/login", data={"token": WRONG}, environ_overrides={"REMOTE_ADDR": "2001:db8::7"}
    )
    refused = send(limited, TOKEN, "/candidate/approve", "POST")
    send(limited, TOKEN)
    stop(limited)

    acts = acts_of(config_path)
    assert (statuses, form.status_code, refused) == ([401] * 10 + [429] * 2, 401, 403)
    assert [(act["address"], act["way"], act["actor"]) for act in acts] == [
        ("192.0.2.1", "token", "unknown"),
        ("2001:db8::/64", "login form", "unknown"),
        ("192.0.2.1", "role too small", "the API, role read"),
    ]
    assert [(act["n_failed"], act["n_locked_out"]) for act in acts] == [(10, 2), (1, 0), (1, 0)]


def test_the_token_that_was_tried_is_nowhere(
    limited: FlaskClient, config_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    send(limited, WRONG)
    limited.post("/login", data={"token": WRONG})
    stop(limited)

    kept = Path(read_config(config_path).database_url.removeprefix("sqlite:///")).read_bytes()
    assert b"192.0.2.1" in kept
    assert WRONG.encode() not in kept
    assert WRONG not in caplog.text


def test_a_request_without_a_token_is_no_failed_login(
    limited: FlaskClient, config_path: Path
) -> None:
    assert limited.get("/score").status_code == 401
    stop(limited)

    assert acts_of(config_path) == []


# How many


def test_a_flood_of_addresses_makes_a_limited_number_of_counts(
    log: LoginLog, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s = time.time()
    monkeypatch.setattr(time, "time", lambda: began_s)

    for number in range(5_000):
        log.add(Attempt(f"10.0.{number // 250}.{number % 250}", Way.HEADER))
    n_waiting = len(log._waiting)
    assert log.flush()

    acts = acts_of(config_path)
    assert n_waiting == len(acts) == MAX_PER_HOUR + 1
    assert {act["n_failed"] for act in acts if act["address"]} == {1}
    assert [act["n_failed"] for act in acts if not act["address"]] == [5_000 - MAX_PER_HOUR]


def test_the_memory_is_limited_while_the_records_cannot_be_written(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_log, "MAX_WAITING", 150)
    log = LoginLog(lambda: config)

    began_s = time.time()

    for hour in range(4):
        monkeypatch.setattr(time, "time", lambda hour=hour: began_s + 3600 * hour)
        for number in range(200):
            log.add(Attempt(f"10.0.0.{number}", Way.FORM))
        assert not log.flush()

    # One more count for each hour.
    assert len(log._waiting) <= 150 + 4
    assert sum(failures.n_failed for failures in log._waiting.values()) == 800


# When the records cannot be written


def test_failed_logins_wait_for_the_records_and_none_is_lost(
    config: Config, config_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = LoginLog(lambda: config)
    for _ in range(3):
        log.add(Attempt("192.0.2.1", Way.HEADER))
        assert not log.flush()
    make_records(config)
    log.add(Attempt("192.0.2.1", Way.HEADER, is_locked_out=True))
    assert log.flush()

    acts = acts_of(config_path)
    assert [sum(act[name] for act in acts) for name in ("n_failed", "n_locked_out")] == [3, 1]
    assert len([entry for entry in caplog.records if entry.levelno >= logging.WARNING]) == 1


def test_the_answers_are_as_fast_while_another_program_locks_the_records(
    limited: FlaskClient, config_path: Path
) -> None:
    path = read_config(config_path).database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        # In this time the thread begins to write, and waits.
        send(limited, WRONG)
        time.sleep(login_log.FLUSH_S + 0.2)
        took_s = []
        for _ in range(20):
            began_s = time.perf_counter()
            send(limited, WRONG)
            took_s.append(time.perf_counter() - began_s)
        connection.execute("ROLLBACK")
    connection.close()
    stop(limited)

    assert sorted(took_s)[10] < 0.05
    acts = acts_of(config_path)
    assert sum(act["n_failed"] + act["n_locked_out"] for act in acts) == 21


def test_an_unexpected_error_does_not_end_the_thread_and_is_counted(config: Config) -> None:
    failures: list[int] = []

    def fail() -> Config:
        raise KeyError

    log = LoginLog(fail, lambda: failures.append(1))
    log.add(Attempt("192.0.2.1", Way.HEADER))

    assert not log.flush()
    assert (failures, len(log._waiting)) == ([1], 1)


# The real service


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2)])
def test_the_processes_of_a_service_count_together_and_a_killed_one_keeps_what_was_written(
    prod: Path, config_path: Path, number: signal.Signals, workers: int
) -> None:
    make_records(read_config(config_path))
    with served(config_path, TOKEN, workers=workers) as (url, process):
        for _ in range(8):
            # Each in a connection of its own, so that both processes get some.
            answer = requests.get(
                f"{url}/score", headers={"Authorization": f"Bearer {WRONG}"}, timeout=5
            )
            assert answer.status_code == 401
        if number == signal.SIGKILL:
            time.sleep(2 * login_log.FLUSH_S)
        process.send_signal(number)
        process.wait(20)

    acts = acts_of(config_path)
    assert sum(act["n_failed"] for act in acts) == 8
    assert {(act["address"], act["way"]) for act in acts} == {("127.0.0.1", "token")}
    # A minute may have ended meanwhile.
    assert len(acts) <= 2
