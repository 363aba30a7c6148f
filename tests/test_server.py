"""The real server, as a program."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from scripts import server
from scripts.config import ApiSettings
from scripts.errors import ServiceUnavailableError
from tests.service import GOOD, JSON, ROOT, make_row, rows_body, served

# The real server


def test_the_real_server_answers_and_ends_at_sigterm(prod: Path, config_path: Path) -> None:
    with served(config_path) as (url, process):
        predicted = requests.post(f"{url}/predict", json={"data": [make_row(0)]}, timeout=5)
        too_large = requests.post(f"{url}/predict", data=b"x" * 5000, timeout=5,
                                  headers={"Content-Type": JSON})  # fmt: skip
        chunked = requests.post(f"{url}/predict", data=iter([rows_body(GOOD)]), timeout=5,
                                headers={"Content-Type": JSON})  # fmt: skip
        head = requests.head(f"{url}/score", timeout=5)
        doubled = requests.get(f"{url}//example.com//", timeout=5, allow_redirects=False)
        process.send_signal(signal.SIGTERM)
        _, log_text = process.communicate(timeout=20)

    assert predicted.json()["probabilities"] == pytest.approx([3 / 4])
    assert predicted.headers["Server"] == "adras"
    assert (too_large.status_code, chunked.status_code) == (413, 200)
    assert too_large.headers["Content-Type"] == "application/problem+json"
    assert (head.status_code, head.content, doubled.status_code) == (200, b"", 404)
    assert process.returncode == 0
    assert f"INFO app: Serving on {url}." in log_text
    assert "Traceback" not in log_text


def test_a_port_in_use_is_one_clear_line_and_exit_69(config_path: Path) -> None:
    with served(config_path) as (url, _):
        command = [sys.executable, "-m", "scripts.app", "--config", str(config_path)]
        second = subprocess.run(
            command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
        )

    assert second.returncode == ServiceUnavailableError.exit_code == 69
    complaint = second.stderr.splitlines()[-1]
    assert f"port {url.rsplit(':', 1)[1]}: Address already in use" in complaint
    assert "run python -m scripts.fullprocess" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_host_that_does_not_exist_is_said() -> None:
    api = ApiSettings(host="no-such-host.invalid")

    with pytest.raises(ServiceUnavailableError, match="Cannot serve on no-such-host.invalid"):
        server.bind(api)
