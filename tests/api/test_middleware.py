"""What must never get out, in, or run."""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts.app import create_app
from scripts.model import logistic_model
from tests.support.service import (
    FIRST,
    JSON,
    ROOT,
    TOKEN,
    answer_of,
    make_model,
    make_row,
    predict,
    problem_of,
    switch,
    write_release,
)

# What must never get out, in, or run


def test_no_data_of_a_client_and_no_token_gets_out(
    guarded: FlaskClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "CANARY-13-37"
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Note": canary}
    row = make_row(1337.25) | {"corporation": canary, canary: canary}

    def fail(*_: object) -> None:
        raise ValueError(f"could not convert {canary} or 1337.25")

    def post(*rows: dict[str, Any], **options: Any) -> TestResponse:
        return guarded.post("/predict", json={"data": rows, canary: canary}, **options)

    responses = [
        post(row, headers=headers),
        post(row, make_row(-1), headers=headers),
        post(row, headers={"Authorization": f"Bearer {canary}"}),
        guarded.post(f"/{canary}?{canary}={canary}", headers=headers),
        guarded.post("/predict", data=f'{{"{canary}": 1337.25, '.encode() + b"\xff",
                     headers=headers, content_type=JSON),
        guarded.post("/predict", data=f'{{"data": [{{"{canary}": "'.encode() + b"\xff",
                     headers=headers, content_type=JSON),
        guarded.post("/predict", data=f'{{"data": [{{"{canary}": 1e999}}]}}', headers=headers,
                     content_type=JSON),
        guarded.post("/predict", data=canary, headers=headers, content_type=canary),
    ]  # fmt: skip
    monkeypatch.setattr(logistic_model, "terms", fail)
    responses.append(post(row, row, headers=headers))

    assert [r.status_code for r in responses] == [200, 422, 401, 403, 400, 400, 422, 415, 500]
    told = [r.text + str(r.headers) for r in responses] + [caplog.text]
    assert not [text for text in told if canary in text or "1337.25" in text or "4711" in text]


def test_an_unexpected_error_is_logged_once_with_its_route_and_place(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic_model, "terms", None)

    problem = problem_of(predict(client, make_row(), make_row()), 500)

    assert problem["detail"] == "The service failed; its log says where."
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("The route /predict failed: TypeError at ")
    assert "model.py:" in caplog.messages[0]


class Hostile:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Make the marker."""
        return (os.mkdir, (str(self.marker),))


def test_a_hostile_pickle_in_the_release_never_runs(config_path: Path, tmp_path: Path) -> None:
    marker, prod = tmp_path / "marker", tmp_path / "prod"
    write_release(prod, FIRST, make_model(), pickled=pickle.dumps(Hostile(marker)))
    switch(prod, FIRST)
    client = create_app(config_path).test_client()

    answer = answer_of(predict(client, make_row()))

    assert answer["release"] == FIRST
    assert not marker.exists()


def test_the_service_imports_nothing_heavy() -> None:
    code = (
        "import sys, scripts.app\n"
        "heavy = {'pandas', 'sklearn', 'scipy', 'matplotlib', 'seaborn', 'joblib', 'requests'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
