"""Limits on open connections, per client address and by idle time."""

import asyncio
import logging
import math
import os
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path

from msgspec import Struct

from scripts.api import auth

TICK_S = 0.25
# Granian offers no list of its connections. They are found among the open files of the process,
# and an ended connection looks to Granian like a client that left.
OPEN_FILES = Path("/proc/self/fd")
# Offsets into the kernel's struct tcp_info: milliseconds since bytes were last sent and received.
LAST_SENT, LAST_RECEIVED = 44, 52
# With fewer open files than this the connections are not checked.
FEW_FILES = 128
# The shortest idle time near the limit, for clients about to send a request.
SHORTEST_IDLE_S = 0.25

Peer = tuple[str, int]

log = logging.getLogger(__name__)


class Connection(Struct, frozen=True):
    """An open connection: client address, idle time, and a handle."""

    peer: Peer
    idle_s: float
    handle: socket.socket

    def end(self) -> None:
        """End the connection."""
        # The client may have ended the connection first.
        with suppress(OSError):
            self.handle.shutdown(socket.SHUT_RDWR)


def read_connection(handle: socket.socket, port: int) -> Connection | None:
    """Describe an open socket, or return None for a socket of another service."""
    try:
        if handle.type != socket.SOCK_STREAM or handle.getsockname()[1] != port:
            return None
        peer = handle.getpeername()
        facts = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_RECEIVED + 4)
    except (OSError, IndexError, TypeError):
        # A socket of another kind, a listening socket, or a connection just ended.
        return None
    last_ms = [struct.unpack_from("=I", facts, offset)[0] for offset in (LAST_SENT, LAST_RECEIVED)]
    return Connection((peer[0], peer[1]), min(last_ms) / 1000, handle)


def list_connections(port: int) -> Iterator[Connection]:
    """Yield the connections to a port of this process, each valid until the next."""
    for path in OPEN_FILES.iterdir():
        try:
            # A duplicate, since the server may close its own and the number be reused.
            descriptor = os.dup(int(path.name))
        except OSError:
            continue
        try:
            handle = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            continue
        with closing(handle):
            connection = read_connection(handle, port)
            if connection is not None:
                yield connection


def allowed_idle_s(n_connections: int, n_most: int, longest_s: float) -> float:
    """Return the idle limit of a connection, falling above three quarters of the limit.

    Parameters
    ----------
    n_connections, n_most : int
        The number of open connections, and the limit.
    longest_s : float
        The idle limit at three quarters of `n_most`. Below, only the server ends connections.
    """
    free = (n_most - n_connections) / (n_most / 4)
    return math.inf if free > 1 else max(SHORTEST_IDLE_S, longest_s * free)


class ConnectionLimits:
    """A periodic task with an end for connections beyond the limits.

    Parameters
    ----------
    port : int
        The port of the service.
    n_most, n_per_address : int
        The limits on connections, in total and per address.
    longest_idle_s : float
        The idle limit at three quarters of `n_most`.
    busy : set of str
        The addresses of clients with an open request, in the format of the server.
    trusted : callable
        Returns the addresses of trusted proxies, exempt from the limit per address.
    """

    def __init__(
        self,
        port: int,
        n_most: int,
        n_per_address: int,
        longest_idle_s: float,
        busy: Collection[str],
        trusted: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._port = port
        self._n_most = n_most
        self._n_per_address = n_per_address
        self._longest_idle_s = longest_idle_s
        self._busy = busy
        self._trusted = trusted

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the periodic check."""
        loop.call_later(TICK_S, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if sum(1 for _ in OPEN_FILES.iterdir()) > FEW_FILES:
                self.end_surplus()
        except OSError as error:
            log.warning("The connections cannot be listed: %s.", error)
        finally:
            loop.call_later(TICK_S, self._tick, loop)

    def is_busy(self, peer: Peer) -> bool:
        """Return whether a connection has an open request."""
        host, port = peer
        return f"{host}:{port}" in self._busy or f"[{host}]:{port}" in self._busy

    def end_surplus(self) -> int:
        """End connections beyond the limits, longest idle first, and return their number."""
        found = [(c.peer, c.idle_s) for c in list_connections(self._port)]
        allowed_s = allowed_idle_s(len(found), self._n_most, self._longest_idle_s)
        trusted = self._trusted()
        n_left: dict[str, int] = {}
        ended: set[Peer] = set()
        # Connections with an open request stay first, then the least idle.
        for peer, idle_s in sorted(found, key=lambda pair: (not self.is_busy(pair[0]), pair[1])):
            site = auth.site_of(peer[0])
            n_left[site] = n_left.get(site, 0) + 1
            is_surplus = n_left[site] > self._n_per_address and peer[0] not in trusted
            if is_surplus or (idle_s > allowed_s and not self.is_busy(peer)):
                ended.add(peer)
        for connection in list_connections(self._port) if ended else ():
            if connection.peer in ended:
                connection.end()
        return len(ended)
