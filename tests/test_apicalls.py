"""The requests to a real service over HTTP, and the errors without a response."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripts import apicalls
from scripts.core import artifacts
from scripts.core.config import ApiSettings, Config
from scripts.core.config_file import read_config
from scripts.core.errors import ServiceUnavailableError
from tests.conftest import write_csv
from tests.support.service import (
    DIAGNOSIS,
    FIRST,
    ROOT,
    TOKEN,
    edit_config,
    free_port,
    make_model,
    plain_environment,
    served,
    switch,
    write_release,
)

# Imported, so that pytest finds it here too.
__all__ = ["plain_environment"]


@pytest.fixture
def serving_path(config_path: Path) -> Path:
    """A configuration with a release and diagnostics in the deployment folder."""
    prod = config_path.parent / "prod"
    write_release(prod, FIRST, make_model())
    switch(prod, FIRST)
    (prod / artifacts.DIAGNOSTICS).write_text(json.dumps(DIAGNOSIS))
    write_csv(config_path.parent / "test" / "test.csv", ["a,0,1,2,1", "b,2,1,,0", "c,,1,2,1"])
    return config_path


def run_apicalls(config_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    command = [sys.executable, "-m", "scripts.apicalls", "--config", str(config_path)]
    return subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )


def test_every_answer_is_written_and_a_summary_printed(serving_path: Path) -> None:
    with served(serving_path) as (_, _process):
        done = run_apicalls(serving_path)

    written = (serving_path.parent / "models" / artifacts.API_RETURNS).read_text()
    answers = json.loads(written)
    assert done.returncode == 0, done.stderr
    assert [line.split(maxsplit=1)[0] for line in done.stdout.splitlines()] == [
        "release", "predictions", "score", "summary", "lastmonth_activity:", "exited:",
        "diagnosis", "answers",
    ]  # fmt: skip
    assert "3 rows, of which 2 are expected to leave (2 high, 1 low)" in done.stdout
    assert "F1 0.7500 on the test data" in done.stdout
    assert str(serving_path.parent / "models" / artifacts.API_RETURNS) in done.stdout
    assert list(answers) == ["predictions", "score", "summary", "diagnosis"]
    # Odds 3 for a silent month, 1/3 for two activities, and 1 for a blank, the median of one.
    assert answers["predictions"]["probabilities"] == pytest.approx([3 / 4, 1 / 4, 1 / 2])
    assert answers["predictions"]["predictions"] == [1.0, 0.0, 1.0]
    assert answers["score"]["score"] == 0.75
    assert answers["summary"]["columns"] == ["lastmonth_activity", "exited"]
    assert answers["diagnosis"] == DIAGNOSIS
    assert f"Wrote the answers on 3 rows of release {FIRST}" in done.stderr


def test_many_rows_go_in_several_requests_and_come_back_in_order(
    serving_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"c{n},{n % 3},1,2,{n % 2}" for n in range(101)]
    write_csv(serving_path.parent / "test" / "test.csv", rows)
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)

    # The server takes 20 rows, or 2,000 bytes, in one request.
    with served(serving_path, TOKEN):
        path = apicalls.main(read_config(serving_path))

    answers = json.loads(path.read_text())
    expected = [(3 / 4, 1 / 2, 1 / 4)[n % 3] for n in range(101)]
    assert answers["predictions"]["probabilities"] == pytest.approx(expected)


def test_without_the_token_the_refusal_is_quoted(serving_path: Path) -> None:
    with (
        served(serving_path, TOKEN),
        pytest.raises(ServiceUnavailableError, match="answered 401: Expected the header"),
    ):
        apicalls.main(read_config(serving_path))


def test_a_diagnosis_not_yet_measured_is_quoted_and_nothing_is_written(serving_path: Path) -> None:
    (serving_path.parent / "prod" / artifacts.DIAGNOSTICS).unlink()

    with (
        served(serving_path),
        pytest.raises(ServiceUnavailableError, match="503: Not measured yet"),
    ):
        apicalls.main(read_config(serving_path))

    assert not (serving_path.parent / "models").exists()


def test_no_service_is_one_line_and_exit_69(config_path: Path) -> None:
    edit_config(config_path, api={"port": free_port()})

    done = run_apicalls(config_path)

    assert done.returncode == 69
    assert "is the service running? Start it with python -m scripts.app." in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_proxies_of_the_environment_are_not_used(
    serving_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(serving_path):
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.delenv("no_proxy")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

        path = apicalls.main(read_config(serving_path))

    assert path.exists()


@pytest.mark.parametrize(
    ("api", "sizes"),
    [
        (ApiSettings(max_rows=60), [60, 60, 60, 20]),
        (ApiSettings(max_rows=200), [200]),
        # {"a":1.0} and its comma take 10 bytes, what surrounds the rows 11: (1024 - 11) / 10.
        (ApiSettings(max_body_bytes=1024), [101, 99]),
    ],
)
def test_requests_keep_to_the_limits_of_the_service(api: ApiSettings, sizes: list[int]) -> None:
    assert [len(part) for part in apicalls.split_rows([{"a": 1.0}] * 200, api)] == sizes


def test_no_request_is_larger_than_the_service_takes() -> None:
    rows: apicalls.JsonRows = [{"name": "x" * (n % 60), "value": float("nan")} for n in range(500)]

    chunks = apicalls.split_rows(rows, ApiSettings(max_body_bytes=1024))

    bodies = [msgspec.json.encode({"data": chunk}) for chunk in chunks]
    assert max(map(len, bodies)) <= 1024
    assert [row["name"] for chunk in chunks for row in chunk] == [row["name"] for row in rows]


@contextmanager
def stranger(config_path: Path, status: int, body: bytes) -> Iterator[Config]:
    """Run another program on the port of the service."""

    class Handler(BaseHTTPRequestHandler):
        """A handler with the same response to every request."""

        def do_POST(self) -> None:
            """Respond."""
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - the name is the library's

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        edit_config(config_path, api={"port": server.server_port, "timeout_s": 5})
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield read_config(config_path)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"<html>", "something other than a JSON object"),
        (200, b"[]", "something other than a JSON object"),
        (200, b"\xff", "something other than a JSON object"),
        (200, b"{}", "did not answer 5 predictions for 5 rows"),
        (200, b'{"predictions": [1.0]}', "did not answer 5 predictions for 5 rows"),
        (302, b"", "answered 302: Found"),
        (500, b"oops", "answered 500: Internal Server Error"),
        (500, b"[]", "answered 500: Internal Server Error"),
        (422, b'{"detail": "too bad"}', "answered 422: too bad"),
    ],
)
def test_another_program_on_the_port_is_noticed(
    config_path: Path, status: int, body: bytes, message: str
) -> None:
    with (
        stranger(config_path, status, body) as config,
        pytest.raises(ServiceUnavailableError, match=message),
    ):
        apicalls.main(config)


def test_a_release_that_changes_between_two_requests_is_not_mixed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = iter(["one", "two"])

    def answer(*_: object) -> dict[str, Any]:
        return {
            "predictions": [1.0],
            "probabilities": [0.5],
            "risk_bands": ["low"],
            "release": next(releases),
        }

    monkeypatch.setattr(apicalls, "call_endpoint", answer)
    api = msgspec.structs.replace(config.api, max_rows=1)
    narrow = msgspec.structs.replace(config, api=api)

    with pytest.raises(ServiceUnavailableError, match="The release changed"):
        apicalls.request_predictions(narrow, {}, [{"a": 1.0}, {"a": 2.0}])
