"""The numbers count what was answered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.service import (
    FIRST,
    ROOT,
    SECOND,
    edit_config,
    make_model,
    make_row,
    predict,
    switch,
    write_release,
)


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
from scripts.metrics import Metrics, share_between_processes
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
