"""Hand-made releases with known answers, and requests to the service."""

import hashlib
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts.api.routes import ROUTES
from scripts.app import PAGES, create_app
from scripts.core import artifacts, files
from scripts.core.config import Schema
from scripts.data.profile import ColumnSummary, DatasetFacts
from scripts.model import logistic_model
from scripts.model.logistic_model import CategoricalTerm, Model, NumericTerm
from scripts.production import release

ROOT = Path(__file__).parents[2]
TOKEN = "token-4711-of-the-tests"
ADMIN_TOKEN = "admin-0815-of-the-tests"
WORK_TOKEN = "work-2342-of-the-tests"
FIRST, SECOND = "0001_20250101T000000000000Z", "0002_20250102T000000000000Z"
FEATURES = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
DIAGNOSIS: dict[str, Any] = {
    "missing_values": [0.0, 0.25],
    "columns": ["lastmonth_activity", "exited"],
    "missing_fractions": {"corporation": 0.0, "lastmonth_activity": 0.0, "exited": 0.25},
    "dropped_rows": {"n_rows": 3, "n_positives": None},
    "execution_time": [0.5, 0.125],
    "outdated_dependencies": "none",
    "measured_at": "2025-01-01T00:00:00+00:00",
    "release": FIRST,
}


def make_model(intercept: float = math.log(3), *, categorical: bool = False) -> Model:
    """Make a model whose odds are 3 for a silent month and fall to a third with each activity."""
    statistics = ColumnSummary(column="exited", mean=0.5, median=0.5, standard_deviation=None)
    plan = CategoricalTerm(
        column="plan", categories=("", "gold"), coefficients=(-math.log(3), math.log(3))
    )
    return Model(
        format=1,
        schema=Schema(categorical=("plan",) if categorical else ()),
        numeric=(
            NumericTerm(column=FEATURES[0], median=1.0, coefficient=-math.log(3)),
            NumericTerm(column=FEATURES[1], median=0.0, coefficient=0.0),
            NumericTerm(column=FEATURES[2], median=0.0, coefficient=0.0),
        ),
        categorical=(plan,) if categorical else (),
        intercept=intercept,
        threshold=0.5,
        dataset=DatasetFacts(
            sha256="0" * 64,
            n_rows=10,
            n_positives=5,
            missing_fractions={},
            summary=(
                ColumnSummary(column=FEATURES[0], mean=2.0, median=1.0, standard_deviation=0.25),
                statistics,
            ),
        ),
        n_training_rows=9,
        settings={},
        validation={},
        versions={},
    )


def write_release(
    prod: Path, name: str, made: Model, f1: float = 0.75, pickled: bytes = b"no pickle"
) -> Path:
    """Write a release by hand."""
    contents = {
        release.PICKLE: pickled,
        release.SCORE: f"{f1}\n".encode(),
        release.INGESTED: b"a.csv\n",
        release.MODEL: logistic_model.encode_model(made),
    }
    manifest = release.Manifest(
        model_stamp=name[5:],
        f1=f1,
        dataset_sha256="0" * 64,
        files={key: release.describe_file(content) for key, content in contents.items()},
        versions={},
    )
    folder = prod / artifacts.RELEASES / name
    folder.mkdir(parents=True)
    for key, content in contents.items():
        (folder / key).write_bytes(content)
    (folder / release.MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder


def switch(prod: Path, name: str) -> None:
    """Let a release serve."""
    files.replace_link(prod / artifacts.CURRENT, f"{artifacts.RELEASES}/{name}")


def edit_config(config_path: Path, **settings: Any) -> None:
    """Change settings of a config.json, as an editor does."""
    changed = json.loads(config_path.read_text()) | settings
    files.write_whole(config_path, json.dumps(changed))


def make_row(month: float | None = 0) -> dict[str, Any]:
    """Return a client."""
    return {"lastmonth_activity": month, "lastyear_activity": 7, "number_of_employees": 3}


def predict(client: FlaskClient, *rows: dict[str, Any]) -> TestResponse:
    """Ask for predictions."""
    return client.post("/predict", json={"data": rows})


def answer_of(response: TestResponse) -> dict[str, Any]:
    """Read a good answer."""
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    return dict(response.get_json())


def open_path(client: FlaskClient, path: str, method: str, **options: Any) -> TestResponse:
    """Request a raw path, since the test client would parse //x as the host x."""
    overrides = {"PATH_INFO": unquote(path)}
    return client.open("/", method=method, environ_overrides=overrides, **options)


def problem_of(response: TestResponse, status: int) -> dict[str, Any]:
    """Return the problem document of an error."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    problem = dict(json.loads(response.data))
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    return problem


APP = ("-m", "scripts.app")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO")
# Everything that answers: what programs ask, and the pages.
ALL_ROUTES = (*ROUTES, *PAGES)
PATHS = (*dict.fromkeys(route.path for route in ALL_ROUTES), "/nothing", "//predict",
         "/%2e/predict", "//example.com/", "///", "/predict//", "/predict/", "/static/x",
         "/..%2f..%2fetc/passwd")  # fmt: skip


GOOD = json.dumps(make_row()).encode()
JSON = "application/json"


def rows_body(*rows: bytes) -> bytes:
    """Return a request body with raw rows."""
    return b'{"data": [' + b",".join(rows) + b"]}"


def tree_hash(folder: Path) -> str:
    """Hash names, contents, links and times of change of everything in a folder."""
    entries = [
        (
            str(path.relative_to(folder)),
            path.lstat().st_mtime_ns,
            os.readlink(path) if path.is_symlink() else "",
            files.digest_file(path) if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    ]
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def free_port() -> int:
    """Return an unused port."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(
    config_path: Path,
    token: str | None = None,
    program: Sequence[str] = APP,
    output: int = subprocess.PIPE,
    python: str = sys.executable,
    **settings: Any,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the real server as a program, and return the URL of the ready server."""
    port = free_port()
    api = {"port": port, "max_rows": 20, "max_body_bytes": 2000} | settings
    edit_config(config_path, api=api)
    env = os.environ | ({"ADRAS_API_TOKEN": token} if token else {})
    command = [python, *program, "--config", str(config_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stderr=output, stdout=output, text=True
    ) as process:
        try:
            wait_until_answering(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}", process
        finally:
            if process.poll() is None:
                process.kill()


def answer_of_url(url: str, body: dict[str, Any], token: str) -> dict[str, Any]:
    """Return the first good answer of a starting server."""
    for _ in range(100):
        try:
            answer = requests.post(
                url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=5
            )
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            assert answer.status_code == 200, answer.text
            return dict(answer.json())
    raise TimeoutError(url)


def memory_bytes(process: subprocess.Popen[str], name: str = "VmRSS") -> int:
    """Read how much memory a process has."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def connect(url: str, head: bytes, n_clients: int) -> list[socket.socket]:
    """Open connections that send the beginning of a request."""
    host, port = url.removeprefix("http://").split(":")
    clients = [socket.create_connection((host, int(port)), timeout=10) for _ in range(n_clients)]
    for client in clients:
        client.sendall(head)
    return clients


def wait_until_answering(url: str, process: subprocess.Popen[str]) -> None:
    """Wait for the first answer of a server."""
    for _ in range(400):
        try:
            requests.get(f"{url}/health", timeout=5)
        except requests.ConnectionError:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove tokens and proxies from the environment of the tests."""
    monkeypatch.delenv("ADRAS_API_TOKEN", raising=False)
    monkeypatch.delenv("ADRAS_API_ADMIN_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def prod(config_path: Path) -> Path:
    """Return a deployment folder with a serving release."""
    folder = config_path.parent / "prod"
    write_release(folder, FIRST, make_model())
    switch(folder, FIRST)
    return folder


@pytest.fixture
def client(prod: Path, config_path: Path) -> FlaskClient:
    """A client of the service."""
    return create_app(config_path).test_client()


@pytest.fixture
def guarded(prod: Path, config_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """Return a client of a service with tokens."""
    monkeypatch.setenv("ADRAS_API_TOKEN", TOKEN)
    return create_app(config_path).test_client()
