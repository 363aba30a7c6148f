"""The access log: a line per request, without a client's data, and never in the way.

The numbers count what was answered.
"""

import io
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from scripts.api import telemetry
from scripts.api.telemetry import AccessLog
from tests.support.service import (
    DIAGNOSIS,
    FIRST,
    ROOT,
    SECOND,
    edit_config,
    make_model,
    make_row,
    predict,
    served,
    switch,
    write_release,
)


def lines_of(stream: io.BytesIO) -> list[dict[str, object]]:
    """Read the lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_request_leaves_one_line_without_its_data(client: FlaskClient) -> None:
    stream = io.BytesIO()
    log = AccessLog(stream)
    client.application.extensions["middleware"].access_log = log
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
    client.application.extensions["middleware"].access_log = log
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
    monkeypatch.setattr(telemetry, "FLUSH_S", 0.01)
    monkeypatch.setattr(telemetry, "MAX_WAITING", 50)
    stream = Stuck()
    log = AccessLog(stream)  # type: ignore[arg-type]
    client.application.extensions["middleware"].access_log = log
    log.start()

    started = time.monotonic()
    for _ in range(200):
        assert client.get("/score").status_code == 200
    assert time.monotonic() - started < 10

    assert log._n_dropped > 0
    stream.may_go_on.set()
    log.stop()


def test_dropped_lines_are_counted_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "MAX_WAITING", 2)
    stream = io.BytesIO()
    log = AccessLog(stream)
    for _ in range(5):
        log.add((0.0, "GET", "/score", 200, 0.001, 0, None))

    log.start()
    log.stop()

    assert [line.get("n_dropped") for line in lines_of(stream)] == [None, None, 3]
    assert lines_of(stream)[0]["at"] == "1970-01-01T00:00:00.000+00:00"


def test_a_line_is_json_with_the_numbers_of_its_request() -> None:
    writer = telemetry.LineWriter()
    entries = [
        (1764253000.0, "GET", 'a"b', 404, 0.0, 0, None),
        (1764253000.9996, "POST", "/predict", 200, 0.01234567, 10_000, "\N{SNOWMAN}"),
        (1764253001.25, "POST", "/predict", 200, 12.5, 1, FIRST),
    ]

    lines = [json.loads(writer.format(entry)) for entry in entries]

    assert [line["at"] for line in lines] == [
        f"2025-11-27T14:16:{second}+00:00" for second in ("40.000", "40.999", "41.250")
    ]
    assert [tuple(line.values())[1:] for line in lines] == [
        ("GET", 'a"b', 404, 0.0, 0, None),
        ("POST", "/predict", 200, 12.346, 10_000, "\N{SNOWMAN}"),
        ("POST", "/predict", 200, 12500.0, 1, FIRST),
    ]


class Full(io.RawIOBase):
    """A disk that takes a few bytes at a time, and none while it is full."""

    def __init__(self) -> None:
        self.taken = b""
        self.is_full = False

    def write(self, content: Any) -> int:
        """Take ten bytes."""
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.taken += bytes(content[:10])
        return len(content[:10])


def test_a_full_disk_loses_no_line_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(telemetry, "FLUSH_S", 0.01)
    monkeypatch.setattr(telemetry, "RETRY_S", 0.01)
    stream, counted = Full(), Counter[str]()
    log = AccessLog(stream, lambda what, number: counted.update({what: number}))  # type: ignore[arg-type]
    log.start()

    for number in range(30):
        stream.is_full = number % 3 == 1
        log.add((float(number), "GET", "/score", 200, 0.001, 0, None))
        time.sleep(0.02)
    stream.is_full = False
    time.sleep(0.1)
    log.stop()

    lines = [json.loads(line) for line in stream.taken.splitlines()]
    assert [line["at"][17:23] for line in lines] == [f"{n:02d}.000" for n in range(30)]
    assert counted["failed"] > 5
    assert "cannot be written: [Errno 28] No space left" in caplog.text
    assert "can be written again" in caplog.text


# The program whose files may be no longer than a page, as if the disk were full.
LIMITED = (
    "-c",
    """
import resource, signal, sys
from scripts import app
from scripts.core.console import make_command
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, -1))
make_command(app.serve, ()).main(args=sys.argv[1:])
""",
)


def test_the_real_log_goes_on_after_its_disk_was_full(
    prod: Path, config_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with (
        path.open("w") as handle,
        served(config_path, program=LIMITED, output=handle.fileno()) as (
            url,
            process,
        ),
    ):
        for number in range(100):
            requests.get(f"{url}/score?{number}", timeout=5)
        time.sleep(1)
        n_before = path.stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        requests.get(f"{url}/score", timeout=5)
        time.sleep(2)
        numbers = requests.get(f"{url}/metrics", timeout=5).text
        process.terminate()
        process.wait(10)

    lines = [line for line in path.read_text().splitlines() if "/score" in line]
    assert n_before <= 4096
    assert len([json.loads(line) for line in lines]) == 101
    assert 'adras_access_log_total{what="failed"}' in numbers
    assert process.returncode == 0


def test_the_writer_holds_the_interpreter_for_a_moment_only() -> None:
    log = AccessLog(io.BytesIO())
    pieces_s = []
    for _ in range(6_000):
        log.add((0.0, "POST", "/predict", 200, 0.001, 1, FIRST))

    while log._waiting:
        started = time.thread_time()
        log._dequeue()
        pieces_s.append(time.thread_time() - started)

    # A batch takes 0.05 ms; to format the same lines at once took 16.
    assert sorted(pieces_s)[len(pieces_s) // 2] < 0.001


def numbers_of(client: FlaskClient) -> dict[str, float]:
    """Read all samples, as Prometheus would."""
    response = client.get("/metrics")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_requests_rows_and_positives_are_counted(client: FlaskClient) -> None:
    predict(client, *[make_row(month) for month in (0, 1, 2)])
    predict(client, make_row(-1))
    client.get("/nothing/4711")
    client.open("/score", method="FOO")

    numbers = numbers_of(client)

    # Odds 3 and 1 reach the threshold 1/2, odds 1/3 do not.
    assert numbers["adras_predicted_rows_total"] == 3
    assert numbers["adras_predicted_positives_total"] == 2
    assert numbers["adras_predicted_positive_share"] == pytest.approx(2 / 3)
    counted = 'adras_requests_total{{method="{}",route="{}",status="{}"}}'
    assert numbers[counted.format("POST", "/predict", 200)] == 1
    assert numbers[counted.format("POST", "/predict", 422)] == 1
    assert numbers[counted.format("GET", "other", 404)] == 1
    assert numbers[counted.format("other", "other", 405)] == 1
    assert numbers['adras_request_duration_seconds_count{route="/predict"}'] == 2
    assert numbers[f'adras_release_info{{release="{FIRST}"}}'] == 1
    assert not [name for name in numbers if "4711" in name]


def test_refused_releases_and_configurations_are_counted(
    client: FlaskClient, prod: Path, config_path: Path
) -> None:
    folder = write_release(prod, SECOND, make_model())
    (folder / "model.json").write_bytes(b"")
    switch(prod, SECOND)
    for _ in range(3):
        client.get("/score")
    edit_config(config_path, no_such_key=1)
    client.get("/score")

    assert numbers_of(client)["adras_reload_failures_total"] == 2


TWO_PROCESSES = """
import os, sys
from pathlib import Path
from scripts.api.telemetry import Metrics, share_between_processes
share_between_processes(Path(sys.argv[1]))
metrics = Metrics(lambda: [])
child = os.fork()
metrics.count_request("/predict", "POST", 200, 0.001)
metrics.count_predictions(10, 4 if child else 1)
if not child:
    os._exit(0)
os.waitpid(child, 0)
sys.stdout.buffer.write(metrics.expose())
"""


def test_numbers_are_those_of_all_processes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWO_PROCESSES, str(tmp_path)],
        cwd=ROOT, check=False, capture_output=True, text=True, env=os.environ,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert "adras_predicted_rows_total 20.0" in done.stdout
    assert "adras_predicted_positive_share 0.25" in done.stdout
    assert 'adras_requests_total{method="POST",route="/predict",status="200"} 2.0' in done.stdout
