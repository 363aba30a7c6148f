"""Compare servers under 40 slow clients, by their answers to quick requests.

    python -m benchmarks.slow_clients [CLIENTS [SECONDS]]

The servers run at the same time, with their default time limits, except waitress with a limit of
1,000 connections and 15 seconds. The output is the number of 20 requests answered within a second
meanwhile, the slowest answer, and the number of disconnected slow clients.
"""

import contextlib
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks.servers import Running, free_port, prepare, running, running_ours

APP = "benchmarks.bare_app:app"
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
BODY = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n"
)
KINDS = {"headers": (HEAD, b"X: y\r\n"), "bodies": (BODY, b" ")}
N_ASKED = 20


@dataclass(frozen=True)
class Figures:
    """The answers of a server under slow clients."""

    n_quick: int
    slowest_s: float
    n_cut: int


def commands(port: int) -> dict[str, list[str]]:
    """Return the commands of the servers for comparison."""
    address = f"127.0.0.1:{port}"
    return {
        "waitress": ["waitress", f"--listen={address}", "--connection-limit=1000",
                     "--channel-timeout=15", APP],
        "gunicorn gthread": ["gunicorn", "-k", "gthread", "--threads", "16", "-b", address,
                             "--no-control-socket", APP],
        "granian WSGI": ["granian", "--interface", "wsgi", "--host", "127.0.0.1",
                         "--port", str(port), APP],
    }  # fmt: skip


@contextlib.contextmanager
def running_all(folder: Path) -> Iterator[list[Running]]:
    """Start every server."""
    with ExitStack() as stack:
        servers = [stack.enter_context(running_ours(prepare(folder)))]
        for name in commands(0):
            port = free_port()
            url, command = f"http://127.0.0.1:{port}", commands(port)[name]
            servers.append(stack.enter_context(running(name, command, url, "/predict")))
        yield servers


def drip(clients: list[socket.socket], part: bytes, ended: threading.Event) -> None:
    """Send a few bytes on every connection, twice a second."""
    while not ended.wait(0.5):
        for client in clients:
            # The server may have cut the connection.
            with contextlib.suppress(OSError):
                client.send(part)


def was_cut(client: socket.socket) -> bool:
    """Return whether the server has closed a connection."""
    client.settimeout(0.05)
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


def ask(url: str) -> tuple[int, float]:
    """Send quick requests, and return the number answered within a second and the slowest time."""
    n_quick, slowest_s = 0, 0.0
    for _ in range(N_ASKED):
        started = time.monotonic()
        # A request without an answer is not counted.
        with contextlib.suppress(requests.RequestException), requests.Session() as session:
            session.trust_env = False
            n_quick += session.get(f"{url}/health", timeout=1).ok
        slowest_s = max(slowest_s, time.monotonic() - started)
    return n_quick, slowest_s


def measure(server: Running, kind: str, n_clients: int, seconds: float) -> Figures:
    """Measure quick requests at a server under slow clients."""
    head, part = KINDS[kind]
    port, until = int(server.url.rpartition(":")[2]), time.monotonic() + seconds
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(n_clients)]
    for client in clients:
        client.sendall(head)
    ended = threading.Event()
    dripping = threading.Thread(target=drip, args=(clients, part, ended))
    dripping.start()
    try:
        time.sleep(1)
        n_quick, slowest_s = ask(server.url)
        time.sleep(max(0.0, until - time.monotonic()))
    finally:
        ended.set()
        dripping.join()
    return Figures(n_quick, slowest_s, sum(map(was_cut, clients)))


def main(n_clients: int, seconds: float) -> None:
    """Measure the servers side by side, and print a table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_all(Path(folder)) as servers,
        ThreadPoolExecutor(len(servers)) as pool,
    ):
        for kind in KINDS:
            futures = [pool.submit(measure, server, kind, n_clients, seconds) for server in servers]
            results = [future.result() for future in futures]
            for server, result in zip(servers, results, strict=True):
                print(
                    f"{server.name:16}  {n_clients} dripping {kind:7}  answered"
                    f" {result.n_quick:2} of {N_ASKED} within 1 s,"
                    f" slowest {result.slowest_s:5.2f} s;"
                    f" cut {result.n_cut:3} within {seconds:g} s",
                    flush=True,
                )


if __name__ == "__main__":
    CLIENTS, SECONDS = [*map(int, sys.argv[1:]), *(40, 35)[len(sys.argv) - 1 :]]
    main(CLIENTS, SECONDS)
