"""The real server, as a program."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
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
    assert "Traceback" not in second.stderr


def test_a_host_that_does_not_exist_is_said() -> None:
    api = ApiSettings(host="no-such-host.invalid")

    with pytest.raises(ServiceUnavailableError, match="Cannot serve on no-such-host.invalid"):
        server.bind(api)


def drip(url: str, head: bytes, part: bytes, ended: threading.Event, n_clients: int) -> int:
    """Open connections that send a byte or a line now and then; count those that were cut."""
    host, port = url.removeprefix("http://").split(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(n_clients)]
    for client in clients:
        client.sendall(head)
    while not ended.wait(0.5):
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(part)
    n_cut = 0
    for client in clients:
        client.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            try:
                while client.recv(4096):
                    pass
                n_cut += 1
            except ConnectionError:
                n_cut += 1
        client.close()
    return n_cut


HEADERS = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def check_slow_clients(url: str, n_clients: int, duration_s: float) -> tuple[float, int]:
    """Ask for /health while clients drip headers and bodies; give the slowest answer and cuts."""
    ended = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        headers = pool.submit(drip, url, HEADERS, b"X: y\r\n", ended, n_clients // 2)
        body = BODY + b"Content-Length: 1000\r\n\r\n"
        bodies = pool.submit(drip, url, body, b" ", ended, n_clients // 2)
        slowest_s, until = 0.0, time.monotonic() + duration_s
        while time.monotonic() < until:
            started = time.monotonic()
            assert requests.get(f"{url}/health", timeout=10).status_code == 200
            slowest_s = max(slowest_s, time.monotonic() - started)
            time.sleep(0.02)
        ended.set()
        return slowest_s, headers.result() + bodies.result()


def test_slow_clients_do_not_shut_others_out(prod: Path, config_path: Path) -> None:
    with served(config_path) as (url, process):
        slowest_s, _ = check_slow_clients(url, n_clients=100, duration_s=3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert slowest_s < 1
    assert process.returncode == 0


@pytest.mark.campaign
def test_campaign_slow_clients_are_cut(prod: Path, config_path: Path) -> None:
    with served(config_path) as (url, _):
        wait_s = max(server.HEADER_S, server.BODY_S) + 5
        slowest_s, n_cut = check_slow_clients(url, n_clients=400, duration_s=wait_s)
    print(f"400 dripping connections: /health at most {slowest_s:.3f} s, {n_cut} of them cut")

    assert slowest_s < 1
    assert n_cut == 400


def test_several_processes_share_the_work_and_are_replaced(prod: Path, config_path: Path) -> None:
    with served(config_path, workers=2) as (url, process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for _ in range(20):
            answer = requests.post(f"{url}/predict", json={"data": [make_row(0)]}, timeout=10)
            assert answer.json()["probabilities"] == pytest.approx([3 / 4])
        numbers = requests.get(f"{url}/metrics", timeout=10).text
        os.kill(int(children[0]), signal.SIGKILL)
        time.sleep(2.5)
        replaced = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGTERM)
        _, log_text = process.communicate(timeout=20)

    assert len(children) == len(replaced) == 2
    assert children != replaced
    assert "adras_predicted_rows_total 20.0" in numbers
    assert process.returncode == 0
    assert "another one starts" in log_text
    assert "Traceback" not in log_text
