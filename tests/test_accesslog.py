"""The access log: a line per request, without a client's data, and never in the way."""

import io
import json
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts import accesslog
from scripts.accesslog import AccessLog
from tests.service import (
    DIAGNOSIS,
    FIRST,
    SECOND,
    make_model,
    make_row,
    predict,
    switch,
    write_release,
)


def lines_of(stream: io.BytesIO) -> list[dict[str, object]]:
    """Read the lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_request_leaves_one_line_without_its_data(client: FlaskClient) -> None:
    stream = io.BytesIO()
    log = AccessLog(stream)
    client.application.extensions["door"].access_log = log
    log.start()

    predict(client, make_row(1337), make_row(0) | {"corporation": "CANARY"})
    client.get("/score?CANARY=1", headers={"X-Note": "CANARY"})
    client.get("/CANARY")
    log.stop()

    lines = lines_of(stream)
    assert [(line["method"], line["route"], line["status"], line["n_rows"]) for line in lines] == [
        ("POST", "/predict", 200, 2),
        ("GET", "/score", 200, 0),
        ("GET", "other", 404, 0),
    ]
    assert lines[0]["release"] == FIRST
    assert lines[0]["duration_ms"] > 0  # type: ignore[operator]
    assert datetime.fromisoformat(str(lines[0]["at"])).tzinfo is not None
    assert b"CANARY" not in stream.getvalue()
    assert b"1337" not in stream.getvalue()


def test_a_line_names_the_release_that_the_answer_is_of(client: FlaskClient, prod: Path) -> None:
    stream = io.BytesIO()
    log = AccessLog(stream)
    client.application.extensions["door"].access_log = log
    (prod / "diagnostics.json").write_text(json.dumps(DIAGNOSIS))
    write_release(prod, SECOND, make_model())
    log.start()

    client.get("/diagnose")
    switch(prod, SECOND)
    for path in ("/score", "/diagnose", "/health"):
        assert client.get(path).status_code == 200
    log.stop()

    # What was measured of the first release is of the first, also while the second serves.
    releases = [line["release"] for line in lines_of(stream)]
    assert releases == [FIRST, SECOND, FIRST, SECOND]


class Stuck(io.RawIOBase):
    """A stream that nobody reads."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()

    def write(self, _: object) -> int:
        """Wait until somebody reads."""
        self.may_go_on.wait(20)
        return 0


def test_a_reader_that_stands_still_holds_nobody_back(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesslog, "FLUSH_S", 0.01)
    monkeypatch.setattr(accesslog, "MAX_WAITING", 50)
    stream = Stuck()
    log = AccessLog(stream)  # type: ignore[arg-type]
    client.application.extensions["door"].access_log = log
    log.start()

    started = time.monotonic()
    for _ in range(200):
        assert client.get("/score").status_code == 200
    assert time.monotonic() - started < 10

    assert log._n_dropped > 0
    stream.may_go_on.set()
    log.stop()


def test_dropped_lines_are_counted_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accesslog, "MAX_WAITING", 2)
    stream = io.BytesIO()
    log = AccessLog(stream)
    for _ in range(5):
        log.add((0.0, "GET", "/score", 200, 0.001, 0, None))

    log.start()
    log.stop()

    assert [line.get("n_dropped") for line in lines_of(stream)] == [None, None, 3]
    assert lines_of(stream)[0]["at"] == "1970-01-01T00:00:00.000+00:00"
