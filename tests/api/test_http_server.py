"""Waiting for what arrives, and no longer than it may take.

The real server, as a program.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.api import http_server, serving_state
from scripts.api.http_server import BodyTimeout
from scripts.core.config import ApiSettings
from scripts.core.errors import ServiceUnavailableError
from tests.support.service import (
    FIRST,
    GOOD,
    JSON,
    ROOT,
    SECOND,
    TOKEN,
    connect,
    make_model,
    make_row,
    rows_body,
    served,
    switch,
    write_release,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often, so that a test is short."""
    monkeypatch.setattr(http_server, "TICK_S", 0.01)


async def arrive(after_s: float) -> str:
    """Arrive a while later."""
    await asyncio.sleep(after_s)
    return f"after {after_s}"


def test_what_arrives_in_time_is_given() -> None:
    async def main() -> list[str]:
        limit = BodyTimeout(5)
        return list(await asyncio.gather(*(limit.wait(arrive(s)) for s in (0.03, 0, 0.01))))

    assert asyncio.run(main()) == ["after 0.03", "after 0", "after 0.01"]


def test_what_does_not_is_ended_and_the_others_are_not() -> None:
    async def main() -> list[str | BaseException]:
        limit = BodyTimeout(0.1)
        waits = [limit.wait(arrive(s)) for s in (0.02, 30, 0.04, 30)]
        return list(await asyncio.gather(*waits, return_exceptions=True))

    started = time.monotonic()
    first, second, third, fourth = asyncio.run(main())

    assert time.monotonic() - started < 5
    assert (first, third) == ("after 0.02", "after 0.04")
    assert isinstance(second, TimeoutError)
    assert isinstance(fourth, TimeoutError)


def test_one_who_was_late_can_wait_again() -> None:
    async def main() -> str:
        limit = BodyTimeout(0.05)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await limit.wait(arrive(30))
        return await limit.wait(arrive(0))

    assert asyncio.run(main()) == "after 0"


def test_who_is_ended_from_outside_is_not_late() -> None:
    async def main() -> None:
        limit = BodyTimeout(30)
        waiting = asyncio.create_task(limit.wait(arrive(30)))
        await asyncio.sleep(0.02)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_an_error_while_arriving_is_that_error() -> None:
    async def fail() -> None:
        raise ConnectionError

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await BodyTimeout(5).wait(fail())

    asyncio.run(main())


def test_nobody_waiting_needs_no_timer() -> None:
    async def main() -> tuple[bool, bool]:
        limit = BodyTimeout(5)
        await limit.wait(arrive(0))
        before = limit._is_ticking
        await asyncio.sleep(0.05)
        return before, limit._is_ticking

    assert asyncio.run(main()) == (True, False)


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
    assert (head.status_code, head.content, doubled.status_code) == (200, b"", 400)
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
        http_server.bind(api)


def drip(clients: list[socket.socket], part: bytes, ended: threading.Event) -> None:
    """Send a byte or a line now and then, on every connection, until told to end."""
    while not ended.wait(0.2):
        for client in clients:
            # One that was cut.
            with contextlib.suppress(OSError):
                client.sendall(part)


def was_cut(client: socket.socket) -> bool:
    """Return whether the server has ended a connection, and close the connection."""
    client.settimeout(0.1)
    try:
        while client.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    finally:
        client.close()
    return True


HEADERS = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def check_slow_clients(url: str, n_clients: int, duration_s: float) -> tuple[float, int]:
    """Ask for /health while clients drip bodies, and return the slowest answer and the cuts."""
    ended, slowest_s = threading.Event(), 0.0
    kinds = [(HEADERS, b"X: y\r\n"), (BODY + b"Content-Length: 1000\r\n\r\n", b" ")]
    dripping = [(connect(url, head, n_clients // 2), part) for head, part in kinds]
    with ThreadPoolExecutor(2) as pool:
        try:
            drips = [pool.submit(drip, clients, part, ended) for clients, part in dripping]
            until = time.monotonic() + duration_s
            while time.monotonic() < until:
                started = time.monotonic()
                assert requests.get(f"{url}/health", timeout=10).status_code == 200
                slowest_s = max(slowest_s, time.monotonic() - started)
                time.sleep(0.02)
        finally:
            # Also after a failure: the pool waits for its threads.
            ended.set()
        for dripped in drips:
            dripped.result()
    return slowest_s, sum(was_cut(client) for clients, _ in dripping for client in clients)


# The program with limits of time so short that a test can wait for them.
IMPATIENT = """
import sys
from scripts.api import http_server
from scripts import app
from scripts.core.console import make_command
http_server.HEADER_S, http_server.BODY_S = 1.0, 2.0
make_command(app.serve, ()).main(args=sys.argv[1:])
"""


def test_slow_clients_are_cut_and_do_not_shut_others_out(prod: Path, config_path: Path) -> None:
    with served(config_path, program=("-c", IMPATIENT)) as (url, process):
        slowest_s, n_cut = check_slow_clients(url, n_clients=100, duration_s=4)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert slowest_s < 1
    assert n_cut == 100
    assert process.returncode == 0


# The program with a disk that hangs while a file named by the environment is there.
HANGING = """
import os, sys, time
from pathlib import Path
from scripts import app
from scripts.core.console import make_command

def hang(path, readlink=os.readlink):
    while Path(os.environ["ADRAS_TEST_HANGS"]).exists():
        time.sleep(0.01)
    return readlink(path)

os.readlink = hang
make_command(app.serve, ()).main(args=sys.argv[1:])
"""


def ask_health(url: str) -> dict[str, Any]:
    """Ask how the service is."""
    return dict(requests.get(f"{url}/health", timeout=10).json())


def ask_release(url: str) -> str:
    """Ask for a prediction, and return the answering release."""
    answer = requests.post(f"{url}/predict", json={"data": [make_row(0)]}, timeout=10)
    return str(answer.json()["release"])


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that lets the disk hang while it is there."""
    path = tmp_path / "hangs"
    monkeypatch.setenv("ADRAS_TEST_HANGS", str(path))
    return path


def test_a_deployment_folder_that_hangs_stops_no_answer(
    prod: Path, config_path: Path, hanging: Path
) -> None:
    write_release(prod, SECOND, make_model())
    with served(config_path, program=("-c", HANGING)) as (url, _):
        hanging.touch()
        started = time.monotonic()
        releases = {ask_release(url) for _ in range(20)}
        duration_s = time.monotonic() - started
        faults = ask_health(url)["errors"]
        numbers = requests.get(f"{url}/metrics", timeout=10).text
        diagnosis = requests.get(f"{url}/diagnose", timeout=10)
        switch(prod, SECOND)
        during = ask_release(url)
        hanging.unlink()
        time.sleep(0.1)
        after, faults_after = ask_release(url), ask_health(url)["errors"]

    # The first of them waits for what may be new, and the others do not.
    assert duration_s < serving_state.RENEWAL_S + 2
    assert (releases, during, after) == ({FIRST}, FIRST, SECOND)
    assert "has hung for" in faults[0]
    assert not any("has hung" in fault for fault in faults_after)
    assert "adras_ready 1.0" in numbers
    assert "has hung for" in diagnosis.json()["detail"]


def test_a_deployment_folder_that_hangs_does_not_keep_the_service_from_ending(
    prod: Path, config_path: Path, hanging: Path
) -> None:
    with served(config_path, program=("-c", HANGING)) as (url, process):
        hanging.touch()
        ask_release(url)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert process.returncode == 0


def test_a_deployment_is_seen_by_the_next_request(prod: Path, config_path: Path) -> None:
    write_release(prod, SECOND, make_model())
    with served(config_path) as (url, _):
        for name in (SECOND, FIRST) * 20:
            switch(prod, name)
            # As long as an answer of its own may be old, and longer than one takes.
            time.sleep(serving_state.FRESH_S)
            assert ask_release(url) == name


@pytest.mark.campaign
def test_campaign_slow_clients_are_cut(prod: Path, config_path: Path) -> None:
    with served(config_path) as (url, _):
        wait_s = max(http_server.HEADER_S, http_server.BODY_S) + 5
        slowest_s, n_cut = check_slow_clients(url, n_clients=400, duration_s=wait_s)
    print(f"400 dripping connections: /health at most {slowest_s:.3f} s, {n_cut} of them cut")

    assert slowest_s < 1
    assert n_cut == 400


def test_a_log_that_nobody_reads_holds_no_prediction_up(prod: Path, config_path: Path) -> None:
    with served(config_path) as (url, process):
        assert process.stderr is not None
        # A page of memory, which a few lines fill; each broken configuration logs one.
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        good, slowest_s = config_path.read_text(), 0.0
        for number in range(40):
            # Each broken in another place, since the same fault is logged once.
            config_path.write_text(f"{' ' * number}{good[:-1]}, x")
            started = time.monotonic()
            answer = requests.post(f"{url}/predict", json={"data": [make_row(0)]}, timeout=10)
            slowest_s = max(slowest_s, time.monotonic() - started)
            assert answer.json()["probabilities"] == pytest.approx([3 / 4])

    # The first that meets the full log waits for what it thinks is a new configuration; after it
    # nobody does.
    assert serving_state.RENEWAL_S - 0.2 < slowest_s < serving_state.RENEWAL_S + 1


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


def test_the_processes_of_a_killed_service_end_and_leave_its_port(
    prod: Path, config_path: Path
) -> None:
    with served(config_path, workers=2) as (url, process):
        process.kill()
        process.wait(10)
        answered = True
        for _ in range(100):
            try:
                requests.get(f"{url}/ping", timeout=5)
            except requests.ConnectionError:
                answered = False
                break
            time.sleep(0.05)

    assert not answered


def count_connections(pid: str, port: int) -> int:
    """Count the connections to a port that a process has accepted."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    is_open = "01"
    accepted = {
        f"socket:[{c[9]}]" for c in lines if c[1].endswith(f":{port:04X}") and c[3] == is_open
    }
    return len(accepted & {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()})


def test_connections_are_spread_over_the_processes(prod: Path, config_path: Path) -> None:
    n_connections = 40
    with served(config_path, workers=2) as (url, process), contextlib.ExitStack() as stack:
        port = int(url.rpartition(":")[2])
        for _ in range(n_connections):
            session = stack.enter_context(requests.Session())
            assert session.get(f"{url}/ping", timeout=10).ok
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        counts = [count_connections(pid, port) for pid in children]

    assert sum(counts) == n_connections
    assert min(counts) > 4


def test_a_second_service_of_several_processes_finds_the_port_in_use(
    prod: Path, config_path: Path
) -> None:
    with served(config_path, workers=2) as (url, _):
        api = ApiSettings(port=int(url.rpartition(":")[2]))

        with pytest.raises(ServiceUnavailableError, match="already in use"):
            http_server.bind_for_processes(api, 2)


ROWS_CSV = b"lastmonth_activity,lastyear_activity,number_of_employees\n0,7,3\n1,7,3\n"
ONE_CHUNK = b"%x\r\n%b\r\n" % (len(ROWS_CSV), ROWS_CSV)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def send_raw(url: str, request: bytes, *, is_half_closed: bool) -> bytes:
    """Send bytes, close the sending half of the connection if wanted, and read to the end."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        if is_half_closed:
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture
def many_rows_url(prod: Path, config_path: Path) -> Iterator[str]:
    """The address of a server."""
    with served(config_path) as (url, _):
        yield url


@pytest.mark.parametrize(
    ("body", "is_half_closed"),
    [
        (CHUNKED + ONE_CHUNK, True),
        (CHUNKED + ONE_CHUNK + b"20\r\n2,7", True),
        (CHUNKED + ONE_CHUNK + b"0\r\n", True),
        (CHUNKED + ONE_CHUNK + b"zz\r\n2,7,3\r\n0\r\n\r\n", False),
        (b"Content-Length: %d\r\n\r\n" % (len(ROWS_CSV) + 6) + ROWS_CSV, True),
    ],
)
def test_a_body_that_ends_early_is_never_answered_as_if_it_were_whole(
    many_rows_url: str, body: bytes, is_half_closed: bool
) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\n"

    answer = send_raw(many_rows_url, head + body, is_half_closed=is_half_closed)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"The body ended early" in answer
    assert b"probabilities" not in answer
    numbers = requests.get(f"{many_rows_url}/metrics", timeout=10).text
    assert 'adras_requests_total{method="POST",route="other",status="400"} 1.0' in numbers


def test_clients_that_close_their_half_leave_nothing_behind(prod: Path, config_path: Path) -> None:
    head = b"Host: 127.0.0.1\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n"
    asked = [
        b"GET /summarise HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\n" + head % len(ROWS_CSV) + ROWS_CSV,
    ]
    with served(config_path) as (url, process):
        before = count_open(process.pid)
        answers = [send_raw(url, one, is_half_closed=True) for one in asked for _ in range(40)]
        time.sleep(0.5)
        after = count_open(process.pid)
        numbers = requests.get(f"{url}/metrics", timeout=10).text
        again = requests.get(f"{url}/openapi.json", timeout=10)

    # Either the whole answer or a closed connection.
    assert {answer[:15] for answer in answers} <= {b"", b"HTTP/1.1 200 OK"}
    counted = re.findall(r'adras_requests_total\{.*"/(?:summ|open|pred).*\} ([0-9.]+)', numbers)
    # The server drops a connection whose end it reads together with the request.
    assert 0 < sum(map(float, counted)) <= len(answers)
    assert again.ok
    # Threads that answer are made when they are first needed.
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + http_server.N_THREADS + http_server.N_SLOW_THREADS


def count_open(pid: int) -> tuple[int, int]:
    """Count the open files and the threads of a process."""
    place = Path(f"/proc/{pid}")
    return len(list((place / "fd").iterdir())), len(list((place / "task").iterdir()))


def begin_body(url: str, path: str, length: int, sent: bytes) -> socket.socket:
    """Begin to send a body, and wait."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
    (client,) = connect(url, head.encode() + b"Content-Type: application/json\r\n\r\n" + sent, 1)
    return client


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_form_for_a_token_has_a_limit_of_its_own(
    prod: Path, config_path: Path, path: str
) -> None:
    with served(config_path, TOKEN, max_body_bytes=2**20) as (url, _):
        with begin_body(url, path, 17_000, b"") as client:
            refused = client.recv(12)
        allowed = requests.post(f"{url}/login", data={"token": "x" * 15_000}, timeout=5)
        asked = requests.get(f"{url}/health", data=b"x" * 17_000, timeout=5)

    assert refused == (b"HTTP/1.1 413" if path == "/login" else b"HTTP/1.1 401")
    assert allowed.status_code == 401
    assert asked.status_code == 413


def test_large_bodies_have_a_limit_together_and_small_ones_go_on(
    prod: Path, config_path: Path
) -> None:
    size = 2**23
    with served(config_path, max_body_bytes=size, max_rows=10) as (url, _):
        waiting = [begin_body(url, "/predict", size, b" " * (size - 10)) for _ in range(3)]
        time.sleep(0.5)
        large = requests.post(f"{url}/predict", data=b" " * 1_000_000, timeout=5)
        small = requests.post(f"{url}/predict", json={"data": [make_row(0)]}, timeout=5)
        for client in waiting:
            client.close()
        time.sleep(0.5)
        again = requests.post(f"{url}/predict", data=b" " * 1_000_000, timeout=5)

    assert (large.status_code, large.headers["Retry-After"]) == (503, "1")
    assert small.status_code == 200
    # Room again: it is no JSON.
    assert again.status_code == 415


UPLOADED = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited\n" + (
    "acme,3,100,20,1\n" * 30_000
)


def upload_until_ended(url: str, ended: threading.Event) -> None:
    """Upload a table again and again, also to a service that is gone."""
    while not ended.wait(0.01):
        with contextlib.suppress(requests.RequestException):
            requests.post(
                f"{url}/dashboard/upload", files={"table": ("a.csv", UPLOADED)}, timeout=9
            )


def end_during_uploads(config_path: Path, after_s: float) -> tuple[int, str]:
    """Stop a service that reads six uploads, and return the exit code and its messages."""
    ended = threading.Event()
    with (
        (config_path.parent / "messages.txt").open("w+") as messages,
        served(
            config_path, output=messages.fileno(), max_body_bytes=8_000_000, max_rows=100_000
        ) as (url, process),
        ThreadPoolExecutor(6) as pool,
    ):
        try:
            for _ in range(6):
                pool.submit(upload_until_ended, url, ended)
            time.sleep(after_s)
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
        finally:
            # Also after a failure: the pool waits for its threads.
            ended.set()
        messages.seek(0)
        return code, messages.read()


def check_ends_during_uploads(config_path: Path, n_rounds: int) -> None:
    """Stop the service at several moments of uploads."""
    for number in range(n_rounds):
        code, messages = end_during_uploads(config_path, 0.5 + 0.05 * (number % 8))
        assert code == 0, messages
        assert "Stopped." in messages
        assert "Traceback" not in messages


def test_a_service_that_is_stopped_during_uploads_ends_well(prod: Path, config_path: Path) -> None:
    check_ends_during_uploads(config_path, 2)


@pytest.mark.campaign
def test_campaign_150_ends_during_uploads(prod: Path, config_path: Path) -> None:
    check_ends_during_uploads(config_path, 150)
