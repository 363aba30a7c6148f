"""A monitor is told of a run, and can neither delay nor fail it."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from scripts import durable, fullprocess, heartbeat, ping_request
from scripts.config import Config
from scripts.errors import BusyError, PipelineError
from scripts.heartbeat import Signal


class Monitor(BaseHTTPRequestHandler):
    """Notes what it is told; under /slow it answers a byte now and then, under /404/ with that."""

    told: ClassVar[list[tuple[str, str, str]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.told.append((self.command, self.path, self.rfile.read(length).decode()))
        status = re.match(r"/(\d\d\d)/", self.path)
        self.send_response(int(status[1]) if status else 200)
        if status:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        while self.path.startswith("/slow"):
            self.wfile.write(b".")
            time.sleep(0.05)

    def do_GET(self) -> None:
        self.told.append((self.command, self.path, ""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A monitor on this machine; its address."""
    monkeypatch.setattr(Monitor, "told", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Monitor)
    server.handle_error = lambda request, address: None  # type: ignore[assignment, method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_start_success_and_fail_are_told_as_monitors_expect_it(monitor: str) -> None:
    heartbeat.ping(f"{monitor}/abc", Signal.START)
    heartbeat.ping(f"{monitor}/abc/", Signal.SUCCESS, "Run 7 ended: held")
    heartbeat.ping(f"{monitor}/abc?rid=1", Signal.FAIL, "Run 8 failed: é")

    assert Monitor.told == [
        ("POST", "/abc/start", ""),
        ("POST", "/abc", "Run 7 ended: held"),
        ("POST", "/abc/fail?rid=1", "Run 8 failed: é"),
    ]


def test_without_a_monitor_nothing_is_sent(monitor: str) -> None:
    heartbeat.ping("", Signal.START)

    assert Monitor.told == []


@pytest.mark.parametrize(
    ("path", "warning"),
    [
        ("/404/secret", "HTTPError: HTTP Error 404"),
        *((f"/{status}/secret", f"HTTP Error {status}") for status in (301, 302, 303, 307, 308)),
        ("/slow/secret", "no answer within"),
    ],
)
def test_a_monitor_that_does_not_answer_well_is_warned_of_in_time(
    path: str,
    warning: str,
    monitor: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(heartbeat, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(ping_request, "MOST_BYTES", 10**6)
    started = time.monotonic()

    heartbeat.ping(monitor + path, Signal.SUCCESS)

    assert time.monotonic() - started < 2
    assert warning in caplog.text
    assert "secret" not in caplog.text
    # A redirect is not followed: where it leads is nobody whom the user named.
    assert [(command, asked) for command, asked, _ in Monitor.told] == [("POST", path)]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/secret", "http://[secret", "nonsense:secret"])
def test_a_monitor_that_cannot_be_reached_fails_nothing(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat.ping(url, Signal.FAIL)

    assert "was not told" in caplog.text
    assert "secret" not in caplog.text


def test_a_run_tells_the_monitor_of_its_start_and_its_success(
    monitor: str, changed: Callable[..., Config]
) -> None:
    fullprocess.main(changed(alerts={"ping_url": f"{monitor}/job"}))

    assert [path for _, path, _ in Monitor.told] == ["/job/start", "/job"]


def test_a_failed_run_tells_the_monitor_and_fails_as_it_would(
    monitor: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_PING_URL", f"{monitor}/secret")
    for path in config.input_folder_path.iterdir():
        path.write_text("nonsense\n")

    with pytest.raises(PipelineError):
        fullprocess.main(config)

    assert [path for _, path, _ in Monitor.told] == ["/secret/start", "/secret/fail"]


def test_a_run_that_is_skipped_tells_nothing(monitor: str, changed: Callable[..., Config]) -> None:
    config = changed(alerts={"ping_url": f"{monitor}/job"})

    with (
        durable.exclusive_lock(config.prod_deployment_path),
        pytest.raises(BusyError),
    ):
        fullprocess.main(config)

    assert Monitor.told == []
