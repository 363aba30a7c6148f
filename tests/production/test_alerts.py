"""Webhook alerts: the message to a real receiver, and the limits of a bad receiver."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scripts.core import console
from scripts.production import alerts

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "s3cr3t-t0ken"
ALERTS: list[dict[str, Any]] = [
    {
        "id": 1, "run_id": 7, "at": NOW, "name": "data", "state": "drift",
        "previous_state": "ok", "detail": "balance, mean +0.50 SD", "sent_at": None,
    },
    {
        "id": 2, "run_id": None, "at": NOW, "name": "run", "state": "failing",
        "previous_state": None, "detail": "no usable row", "sent_at": None,
    },
]  # fmt: skip


class Receiver(BaseHTTPRequestHandler):
    """A receiver of POST requests with a chosen response."""

    received: list[Any]
    code = 204
    headers_sent: dict[str, str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.code)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def receiver(code: int = 204, **headers: str) -> Iterator[tuple[str, list[Any]]]:
    """Run a receiver and return the URL, with a secret in the path, and the received messages."""
    received: list[Any] = []
    kind = type("Told", (Receiver,), {"received": received, "code": code, "headers_sent": headers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook/{SECRET}?key={SECRET}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw_receiver(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a receiver with a chosen treatment of the connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            try:
                answer(connection)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{SECRET}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the proxies of the test machine."""
    monkeypatch.setenv("NO_PROXY", "*")


def test_alerts_are_posted_as_json_with_a_line_for_people(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with receiver() as (url, received):
        taken = alerts.send(url, ALERTS)

    assert taken
    [(path, kind, message)] = received
    assert path == f"/hook/{SECRET}?key={SECRET}"
    assert kind == "application/json"
    assert message["text"].splitlines() == [
        "Dynamic Risk Assessment System: data: drift, was ok: balance, mean +0.50 SD",
        "Dynamic Risk Assessment System: run: failing: no usable row",
    ]
    assert message["alerts"][0] == {
        "name": "data",
        "state": "drift",
        "previous_state": "ok",
        "run_id": 7,
        "detail": "balance, mean +0.50 SD",
        "at": "2026-01-02T03:04:05+00:00",
    }
    assert [record.getMessage() for record in caplog.records] == ["Sent 2 alerts to 127.0.0.1."]


@pytest.mark.parametrize("code", [302, 307, 400, 404, 500, 503])
def test_a_receiver_that_refuses_is_said_once_without_its_secret(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with receiver(code) as (url, received):
        taken = alerts.send(url, ALERTS)

    assert not taken
    assert len(received) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"2 alerts were not taken by 127.0.0.1 (it answered {code}); the next run tries again."
    ]


def test_a_receiver_that_points_elsewhere_is_not_followed() -> None:
    with (
        receiver(204) as (elsewhere, stolen),
        receiver(307, Location=elsewhere) as (url, received),
    ):
        taken = alerts.send(url, ALERTS)

    assert not taken
    assert len(received) == 1
    assert stolen == []


def test_name_and_password_of_an_address_go_into_a_header() -> None:
    sent: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        sent.append(connection.recv(2**16))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with raw_receiver(answer) as url:
        taken = alerts.send(url.replace("//", "//me:p%40ss@"), ALERTS)

    assert taken
    assert b"Authorization: Basic bWU6cEBzcw==" in sent[0]


def test_a_dead_receiver_is_said_once_without_its_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiver() as (url, _):
        pass

    assert not alerts.send(url, ALERTS)
    assert [record.getMessage() for record in caplog.records] == [
        "2 alerts were not taken by 127.0.0.1 (ConnectionRefusedError: [Errno 111] Connection"
        " refused); the next run tries again."
    ]


@pytest.mark.parametrize(
    "url",
    [
        f"http://nowhere.invalid/{SECRET}",
        f"http://[::1/{SECRET}",
        f"http://127.0.0.1:99999/{SECRET}",
        f"http://{'a' * 70}.example/{SECRET}",
        f"http://\udcff/{SECRET}",
    ],
    ids=["no such host", "no bracket", "no such port", "long label", "no text"],
)
def test_an_address_that_cannot_be_right_fails_no_run(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not alerts.send(url, ALERTS)
    assert len(caplog.records) == 1
    assert SECRET not in caplog.text


def drip(connection: socket.socket) -> None:
    """Answer one byte at a time, forever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X")
        time.sleep(0.05)


def wait(connection: socket.socket) -> None:
    """Read the request without a response."""
    while connection.recv(65536):
        pass


@pytest.mark.parametrize("answer", [drip, wait])
def test_a_slow_receiver_holds_a_run_no_longer_than_its_time(
    answer: Callable[[socket.socket], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(alerts, "TIMEOUT_S", 0.5)
    with raw_receiver(answer) as url:
        started = time.monotonic()
        taken = alerts.send(url, ALERTS)
        took_s = time.monotonic() - started

    assert not taken
    assert took_s < 2.5
    assert len(caplog.records) == 1
    assert SECRET not in caplog.text


def test_a_long_answer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with raw_receiver(flood) as url:
        assert alerts.send(url, ALERTS)


def test_a_receivers_broken_headers_bring_no_secret_into_the_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """urllib3 would warn of them with the whole address."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\x00 broken\r\nno colon here\r\n\r\n")

    handlers = logging.getLogger().handlers[:]
    try:
        console.set_up_logging()
        with raw_receiver(answer) as url:
            alerts.send(url, ALERTS)
        said = capfd.readouterr().err
    finally:
        logging.getLogger().handlers[:] = handlers

    assert "127.0.0.1" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://ann:pass@hooks.example.org:8443/a?b#c", "hooks.example.org"),
        ("http://", "an address without a host"),
        ("http://\udcff/x", r"\udcff"),
        ("http://[::1/x", "an unreadable address"),
    ],
    ids=["whole", "empty", "no text", "no bracket"],
)
def test_only_the_host_of_an_address_is_shown(url: str, host: str) -> None:
    assert alerts.host_of(url) == host
