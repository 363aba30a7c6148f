"""Limits on open connections, per client address and by idle time."""

import asyncio
import logging
import math
import os
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.api import auth

TICK_S = 0.25
OPEN_FILES = Path("/proc/self/fd")
# Offsets into the kernel's struct tcp_info: milliseconds since bytes were last sent and received.
LAST_SENT, LAST_RECEIVED = 44, 52
# So few open files have no connections to speak of; looking at each of them is spared.
FEW_FILES = 128
# Near the limit an idle connection has this long at least: a client that is on its way.
SHORTEST_IDLE_S = 0.25

Peer = tuple[str, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Connection:
    """An open connection: client address, idle time, and a handle."""

    peer: Peer
    idle_s: float
    handle: socket.socket

    def end(self) -> None:
        """End the connection."""
        # A client may be quicker.
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
        # Of another kind, listening, or just ended.
        return None
    last_ms = [struct.unpack_from("=I", facts, offset)[0] for offset in (LAST_SENT, LAST_RECEIVED)]
    return Connection((peer[0], peer[1]), min(last_ms) / 1000, handle)


def list_connections(port: int) -> Iterator[Connection]:
    """Yield the connections to a port of this process, each valid until the next."""
    for path in OPEN_FILES.iterdir():
        try:
            # A handle of our own: the server may close its, and the number be another file's.
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
    """Return how long a connection may be idle: less and less above three quarters of the limit.

    Parameters
    ----------
    n_connections, n_most : int
        How many there are, and may be.
    longest_s : float
        At three quarters of the limit; below, the server alone ends what is idle.
    """
    free = (n_most - n_connections) / (n_most / 4)
    return math.inf if free > 1 else max(SHORTEST_IDLE_S, longest_s * free)


class ConnectionLimits:
    """Ends connections, a few times a second.

    Parameters
    ----------
    port : int
        Of the service.
    n_most, n_per_address : int
        How many connections there may be, of all addresses and of one.
    longest_idle_s : float
        How long one may be idle at three quarters of the limit.
    busy : set of str
        The addresses of clients whose requests are under way, as the server spells them.
    trusted : callable
        Gives the addresses of proxies of ours, who stand for many.
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
        """Begin to look."""
        loop.call_later(TICK_S, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if sum(1 for _ in OPEN_FILES.iterdir()) > FEW_FILES:
                self.end_surplus()
        except OSError as error:
            log.warning("The connections cannot be looked at: %s.", error)
        finally:
            loop.call_later(TICK_S, self._tick, loop)

    def is_busy(self, peer: Peer) -> bool:
        """Return whether a request of a connection is under way."""
        host, port = peer
        return f"{host}:{port}" in self._busy or f"[{host}]:{port}" in self._busy

    def end_surplus(self) -> int:
        """End connections beyond the limits, longest idle first, and return their number."""
        found = [(c.peer, c.idle_s) for c in list_connections(self._port)]
        allowed_s = allowed_idle_s(len(found), self._n_most, self._longest_idle_s)
        trusted = self._trusted()
        n_left: dict[str, int] = {}
        ended: set[Peer] = set()
        # Those with a request under way first, and then the newest: they may stay.
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
