"""Serves an application over HTTP: sockets, limits of time and size, worker processes, the end."""

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from granian._granian import RSGIHTTPProtocol, RSGIProtocolClosed, SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.rsgi import Scope
from granian.server.embed import Server

from scripts.answers import Answer, answer_problem
from scripts.config import ApiSettings
from scripts.errors import ServiceUnavailableError
from scripts.frontdoor import (
    JSON_AND_SECURITY_HEADERS,
    SERVING,
    FrontDoor,
    too_large,
    too_slow,
)
from scripts.live import Live, Serving
from scripts.patience import Patience
from scripts.predictors import find_predictor

MAX_CONNECTIONS = 1024
# A request's header, and a connection without one, have this long, however slowly they drip.
HEADER_S = 10.0
BODY_S = 20.0
# A client that takes nothing off its answer for so long is gone.
UNREAD_S = 30.0
# How long requests wait for a new release or configuration before they go on with the last one.
RENEWAL_S = 1.0
MAX_HEADER_BYTES = 32 * 1024
# How long requests under way have after SIGTERM.
GRACE_S = 5.0
# What only computes answers at once; everything else may read a file or ask the records, and is
# answered by threads, so that predictions never wait for it.
QUICK = frozenset(
    {"/score", "/summarise", "/health", "/ping", "/v2/health/live", "/v2/health/ready"}
)
N_THREADS = 4
# Spelled once, since most answers have just these.
USUAL_HEADERS = [(name.lower(), value) for name, value in JSON_AND_SECURITY_HEADERS]

log = logging.getLogger(__name__)


def bind(api: ApiSettings) -> socket.socket:
    """Bind the address of the service, and nobody else's.

    Raises
    ------
    ServiceUnavailableError
        If the address is taken or is none of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            api.host or None, api.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection: the kernel ends those whose client takes nothing.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
        listener.bind(address)
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such host"
        raise ServiceUnavailableError(
            f"Cannot serve on {api.host}, port {api.port}: {reason}. Stop the program that uses"
            " it, or change api.port or api.host in config.json."
        ) from error
    return listener


@lru_cache(maxsize=256)
def wsgi_key(name: str) -> str:
    """Spell the name of a header as WSGI does."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def wsgi_environ(scope: Scope) -> dict[str, Any] | None:
    """Describe a request as WSGI does; None if its header is larger than allowed.

    A header whose name holds an underscore is dropped: WSGI could not tell it from the one with
    a hyphen, so that a client could pretend to be what only a proxy may say.
    """
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # WSGI spells the bytes of a path as latin-1.
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
    }
    n_bytes = len(scope.path) + len(scope.query_string)
    for name, value in scope.headers.items():
        n_bytes += len(name) + len(value)
        if "_" in name:
            continue
        key = wsgi_key(name)
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return None if n_bytes > MAX_HEADER_BYTES else environ


async def collect(protocol: RSGIHTTPProtocol, limit: int) -> bytes | Answer:
    """Read a body that comes in chunks, within its limit of size."""
    chunks, n_bytes = [], 0
    async for chunk in protocol:
        chunks.append(chunk)
        n_bytes += len(chunk)
        if n_bytes > limit:
            return too_large(limit)
    return b"".join(chunks)


async def read_body(
    protocol: RSGIHTTPProtocol, environ: dict[str, Any], limit: int, patience: Patience
) -> bytes | Answer:
    """Read a body within its limits of size and time, or say which it broke."""
    try:
        if "CONTENT_LENGTH" in environ:
            # Its length is within the limit already, and the server holds a client to it.
            return await patience.wait(protocol())
        if "HTTP_TRANSFER_ENCODING" in environ:
            return await patience.wait(collect(protocol, limit))
    except TimeoutError:
        return too_slow(BODY_S)
    return b""


class Adaptor:
    """Hand requests from the server to the front door.

    Parameters
    ----------
    door : FrontDoor
        Answers.
    live : Live
        What to answer from; renewed aside, while other requests go on with the last.
    quick : frozenset of str
        The paths that are answered at once, not by threads, beside those that predict.
    """

    def __init__(self, door: FrontDoor, live: Live, quick: frozenset[str] = QUICK) -> None:
        self._quick = quick
        self._door = door
        self._live = live
        self._threads = ThreadPoolExecutor(N_THREADS, "request")
        self._renewing = ThreadPoolExecutor(1, "renewing")
        self._patience = Patience(BODY_S)
        self._renewal: asyncio.Future[Serving] | None = None
        self._waited_for_until_s = 0.0

    async def _serving(self) -> Serving:
        """Give what to answer from, after waiting a while for what is new."""
        if not self._live.has_changed():
            return self._live.last()
        if self._renewal is None or self._renewal.done():
            loop = asyncio.get_running_loop()
            self._renewal = loop.run_in_executor(self._renewing, self._live.now)
            self._waited_for_until_s = time.monotonic() + RENEWAL_S
        # A disk that hangs, or a log that nobody reads, must not hold up predictions.
        wait_s = self._waited_for_until_s - time.monotonic()
        if wait_s > 0:
            await asyncio.wait({self._renewal}, timeout=wait_s)
        return self._renewal.result() if self._renewal.done() else self._live.last()

    async def __call__(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        """Answer one request."""
        environ = wsgi_environ(scope)
        started_s = time.perf_counter()
        loop = asyncio.get_running_loop()
        if environ is None:
            environ = {"REQUEST_METHOD": scope.method}
            answer: Answer | None = answer_problem(
                431, f"The header is larger than {MAX_HEADER_BYTES} bytes."
            )
        else:
            environ[SERVING] = await self._serving()
            answer = self._door.admit(environ)
        if answer is None:
            try:
                body = await read_body(protocol, environ, self._door.limit(environ), self._patience)
            except RSGIProtocolClosed:
                return
            # The time a client takes to send its body is not the service's.
            started_s = time.perf_counter()
            if isinstance(body, Answer):
                answer = body
            elif environ["PATH_INFO"] in self._quick or find_predictor(environ["PATH_INFO"]):
                answer = self._door.respond(environ, body)
            else:
                answer = await loop.run_in_executor(
                    self._threads, self._door.respond, environ, body
                )
        answer = self._door.finish(environ, answer, started_s)
        if answer.headers is JSON_AND_SECURITY_HEADERS:
            headers = USUAL_HEADERS
        else:
            headers = [(name.lower(), value) for name, value in answer.headers]
        try:
            protocol.response_bytes(answer.status, headers, answer.body)
        except RSGIProtocolClosed:
            # The client is gone, and with it the one who wanted the answer.
            return


class HttpServer(Server):
    """The server on a socket that is bound already."""

    def __init__(self, listener: socket.socket, target: Callable[..., Any]) -> None:
        super().__init__(
            target,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=MAX_CONNECTIONS,
            backpressure=MAX_CONNECTIONS,
            http1_settings=HTTP1Settings(header_read_timeout=int(HEADER_S * 1000)),
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # The stub of the library lacks the arguments: is it a Unix socket, and the backlog.
        self._shd = SocketHolder(self._listener.fileno(), False, MAX_CONNECTIONS)  # type: ignore[call-arg, assignment]


async def serve_until_stopped(
    listener: socket.socket, door: FrontDoor, live: Live, quick: frozenset[str] = QUICK
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered, for a while."""
    server = HttpServer(listener, Adaptor(door, live, quick))
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    serving = loop.create_task(server.serve())
    waiting = loop.create_task(stopped.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    # The library does not annotate it.
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait({serving}, timeout=GRACE_S)
    waiting.cancel()
    if serving.done():
        serving.result()
