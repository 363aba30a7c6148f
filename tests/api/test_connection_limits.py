"""Connections that are ended: those too many of one address, and idle ones near the limit."""

import math
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from scripts.api import connection_limits
from scripts.api.connection_limits import ConnectionLimits


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens on the loopback network."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as made:
        yield made


def connect(
    listener: socket.socket, stack: ExitStack, n: int, address: str
) -> list[tuple[socket.socket, socket.socket]]:
    """Open connections from an address: pairs of the client's end and the server's."""
    pairs = []
    for _ in range(n):
        client = stack.enter_context(
            socket.create_connection(listener.getsockname(), source_address=(address, 0))
        )
        pairs.append((client, stack.enter_context(listener.accept()[0])))
    return pairs


def n_ended(pairs: list[tuple[socket.socket, socket.socket]]) -> int:
    """Count the connections whose client was told of the end."""
    count = 0
    for client, _ in pairs:
        client.settimeout(0.01)
        # An open connection has nothing to read.
        with suppress(TimeoutError):
            count += client.recv(1) == b""
    return count


@pytest.mark.parametrize(
    ("n_connections", "expected"),
    [(0, math.inf), (767, math.inf), (768, 10.0), (896, 5.0), (1024, 0.25), (2000, 0.25)],
)
def test_idle_connections_have_less_time_near_the_limit(
    n_connections: int, expected: float
) -> None:
    assert connection_limits.allowed_idle_s(n_connections, 1024, 10.0) == expected


def test_an_address_keeps_as_many_connections_as_it_may(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with ExitStack() as stack:
        many = connect(listener, stack, 5, "127.0.0.2")
        few = connect(listener, stack, 2, "127.0.0.3")
        proxy = connect(listener, stack, 5, "127.0.0.4")
        limits = ConnectionLimits(port, 100, 3, 10.0, (), lambda: ("127.0.0.4",))

        assert limits.end_surplus() == 2
        assert (n_ended(many), n_ended(few), n_ended(proxy)) == (2, 0, 0)


def test_near_the_limit_idle_connections_end_and_busy_ones_stay(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "SHORTEST_IDLE_S", 0.001)
    port = listener.getsockname()[1]
    with ExitStack() as stack:
        pairs = connect(listener, stack, 4, "127.0.0.2")
        busy = ["{}:{}".format(*client.getsockname()) for client, _ in pairs[:2]]
        limits = ConnectionLimits(port, 4, 4, 0.0, busy)
        time.sleep(0.05)

        assert limits.end_surplus() == 2
        assert n_ended(pairs[:2]) == 0
        assert n_ended(pairs[2:]) == 2


def test_other_open_files_are_no_connections(listener: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET, socket.SOCK_DGRAM):
        assert list(connection_limits.list_connections(listener.getsockname()[1])) == []
