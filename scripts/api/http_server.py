"""The HTTP server: sockets, time and size limits, worker processes and shutdown."""

import asyncio
import gc
import resource
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar

from granian._granian import RSGIHTTPProtocol, RSGIProtocolClosed, SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.rsgi import Scope
from granian.server.embed import Server

from scripts.api import request_bodies
from scripts.api.byte_budget import ByteBudget
from scripts.api.connection_limits import ConnectionLimits
from scripts.api.middleware import (
    JSON_AND_SECURITY_HEADERS,
    MATCHED,
    SERVING,
    Middleware,
    answer_too_busy,
    answer_too_large,
    answer_too_many_forms,
    answer_too_slow,
)
from scripts.api.request_threads import RequestThreads
from scripts.api.responses import Answer, answer_problem
from scripts.api.routing import Lane
from scripts.api.serving_state import ChangeChecker, ReleaseReloader
from scripts.api.waiting_forms import FormEndedError, WaitingForms
from scripts.core.config import ApiSettings
from scripts.core.errors import ServiceUnavailableError

MAX_CONNECTIONS = 1024
MAX_CONNECTIONS_PER_ADDRESS = MAX_CONNECTIONS // 4
# Open files beside connections: files, the database, handles for counting connections.
OTHER_FILES = 256
# The time limit of a request header, and of a connection without a request.
HEADER_S = 10.0
BODY_S = 20.0
# A client that reads nothing of its response for this long is considered gone.
UNREAD_S = 30.0
MAX_HEADER_BYTES = 32 * 1024
# The read buffer of a connection. Granian refuses a header that exceeds it.
MAX_BUFFER_BYTES = 64 * 1024
# The total size of all large bodies in memory.
LARGE_BODIES_BYTES = 24 * 2**20
N_LARGEST_BODIES = 3
# A longer body is read in chunks, each counted on arrival.
WHOLE_BYTES = 2**20
# After a body of this size the garbage is collected at once.
COLLECTED_BYTES = 2**20
# The time open requests have after SIGTERM.
GRACE_S = 4.0
# For routes that read files or the database, so that predictions never wait for them.
N_THREADS = 4
# Slow bodies of the fast routes are decoded in threads. Large bodies are decoded one at a time,
# since each needs several times its size.
N_SLOW_THREADS = 2
N_LARGE_THREADS = 1
# Encoded once, since most responses have exactly these headers.
USUAL_HEADERS = [(name.lower(), value) for name, value in JSON_AND_SECURITY_HEADERS]

# The precision of the time limit.
TICK_S = 0.25

Result = TypeVar("Result")


def allow_open_files() -> None:
    """Raise the limit of open files to the number of connections, as far as permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(family: socket.AddressFamily, address: Any, *, is_shared: bool) -> socket.socket:
    """Return a socket that listens at an address."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Inherited by every connection: the kernel ends a connection whose client reads nothing.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
        listener.bind(address)
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def bind(api: ApiSettings, *, is_shared: bool = False) -> socket.socket:
    """Bind the address of the service.

    Parameters
    ----------
    api : ApiSettings
        The host and the port.
    is_shared : bool
        Whether the program may bind the same address several times.

    Returns
    -------
    socket.socket
        It listens.

    Raises
    ------
    ServiceUnavailableError
        If the address is in use or not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            api.host or None, api.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = listen(family, address, is_shared=is_shared)
        allow_open_files()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such host"
        raise ServiceUnavailableError(
            f"Cannot serve on {api.host}, port {api.port}: {reason}. Stop the program that uses"
            " it, or change api.port or api.host in config.json."
        ) from error
    return listener


def bind_for_processes(api: ApiSettings, n_processes: int) -> list[socket.socket]:
    """Bind the address once per process, for connections spread by the kernel.

    From one socket for all, the busiest process would accept nearly every connection.

    Raises
    ------
    ServiceUnavailableError
        If the address is in use or not of this machine.
    """
    # Not shared, this fails where another service serves at the address.
    bind(api).close()
    return [bind(api, is_shared=True) for _ in range(n_processes)]


@lru_cache(maxsize=256)
def wsgi_key(name: str) -> str:
    """Return the WSGI key of an HTTP header."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def wsgi_environ(scope: Scope) -> dict[str, Any] | None:
    """Return the WSGI environ of a request, or None for an oversized header.

    A header with an underscore in its name is dropped. WSGI cannot distinguish it from the header
    with a hyphen, so a client could forge a header that only a proxy may send.
    """
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # WSGI decodes the bytes of a path as latin-1.
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


def answer_incomplete() -> Answer:
    """Answer an incomplete body."""
    detail = "The body ended early, or its chunks are not as HTTP has them, without trailers."
    return answer_problem(400, detail, [("Connection", "close")])


class BodyTimeout:
    """A shared timer of request bodies, since a timer each costs half a prediction.

    Parameters
    ----------
    limit_s : float
        The time limit in seconds.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        # In the order of their start, so the first are the oldest.
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._is_ticking = False

    async def wait(self, awaitable: Awaitable[Result]) -> Result:
        """Wait for an awaitable within the time limit.

        Parameters
        ----------
        awaitable : awaitable
            Cancelled at the end of the time limit.

        Returns
        -------
        object
            The result of the awaitable.

        Raises
        ------
        TimeoutError
            If the time limit was exceeded.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("wait() must be called within a task.")
        self._waiting[task] = loop.time() + self._limit_s
        if not self._is_ticking:
            self._is_ticking = True
            loop.call_later(TICK_S, self._tick, loop)
        try:
            return await awaitable
        except asyncio.CancelledError:
            # Unless the task was cancelled from outside as well.
            if task in self._late and not task.uncancel():
                raise TimeoutError from None
            raise
        finally:
            self._waiting.pop(task, None)
            self._late.discard(task)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the waits beyond the time limit."""
        now = loop.time()
        for task, until in list(self._waiting.items()):
            if until > now:
                break
            del self._waiting[task]
            self._late.add(task)
            task.cancel()
        self._is_ticking = bool(self._waiting)
        if self._is_ticking:
            loop.call_later(TICK_S, self._tick, loop)


class BodyReader:
    """Reader of request bodies within the limits of time, size and total memory.

    Parameters
    ----------
    limit_s : float
        The time limit of a body.
    """

    def __init__(self, limit_s: float) -> None:
        self._timeout = BodyTimeout(limit_s)
        self._limit_s = limit_s
        self._budget = ByteBudget(LARGE_BODIES_BYTES, N_LARGEST_BODIES)

    async def _collect(
        self, protocol: RSGIHTTPProtocol, limit: int, largest: int, reserved: list[int]
    ) -> bytes | Answer:
        """Read a chunked body."""
        chunks: list[bytes] = []
        n_bytes = n_empty = 0
        async for chunk in protocol:
            chunks.append(chunk)
            n_bytes += len(chunk)
            n_empty += not chunk
            if n_bytes > limit:
                return answer_too_large(limit)
            if n_bytes > request_bodies.LARGE_BYTES:
                n_new = n_bytes - sum(reserved)
                if not self._budget.reserve(n_new, largest):
                    return answer_too_busy()
                reserved.append(n_new)
        # Granian yields an empty chunk at the end. For a truncated body, wrong chunk sizes or
        # trailers it yields a second empty chunk instead of raising an error.
        return answer_incomplete() if n_empty > 1 else b"".join(chunks)

    async def read(
        self,
        protocol: RSGIHTTPProtocol,
        environ: dict[str, Any],
        limit: int,
        largest: int,
        reserved: list[int],
    ) -> bytes | Answer:
        """Read a body, or return the refusal.

        Parameters
        ----------
        protocol : RSGIHTTPProtocol
            The source of the body.
        environ : dict
            Of the request.
        limit, largest : int
            The size limits of this body and of any body.
        reserved : list of int
            Filled with the reserved bytes, for `release` after the response.
        """
        length = environ.get("CONTENT_LENGTH")
        try:
            # The length has been checked, and the server enforces it.
            if length is not None and int(length) <= request_bodies.LARGE_BYTES:
                return await self._timeout.wait(protocol())
            if length is not None and int(length) <= WHOLE_BYTES:
                # Counted before arrival, since reading the body whole is faster.
                if not self._budget.reserve(int(length), largest):
                    return answer_too_busy()
                reserved.append(int(length))
                return await self._timeout.wait(protocol())
            if length is not None or "HTTP_TRANSFER_ENCODING" in environ:
                collecting = self._collect(protocol, limit, largest, reserved)
                return await self._timeout.wait(collecting)
        except TimeoutError:
            return answer_too_slow(self._limit_s)
        except RSGIProtocolClosed:
            return answer_incomplete()
        return b""

    def release(self, reserved: list[int]) -> None:
        """Release the memory reserved for a request."""
        self._budget.release(sum(reserved))


class RsgiAdaptor:
    """Answer RSGI requests with the middleware.

    Parameters
    ----------
    middleware : Middleware
        Answers requests.
    reloader : ReleaseReloader
        The config and release, reloaded in a thread beside the event loop.
    """

    def __init__(self, middleware: Middleware, reloader: ReleaseReloader) -> None:
        self._middleware = middleware
        self._checker = ChangeChecker(reloader)
        # By two properties of a request: on a fast route, with a large body.
        self._threads = {
            (False, False): RequestThreads(N_THREADS, "request"),
            (False, True): RequestThreads(N_LARGE_THREADS, "large request"),
            (True, False): RequestThreads(N_SLOW_THREADS, "slow body"),
            (True, True): RequestThreads(N_LARGE_THREADS, "large body"),
        }
        self._bodies = BodyReader(BODY_S)
        self._forms = WaitingForms()
        # The addresses of clients with an open request.
        self.busy: set[str] = set()

    async def __call__(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        """Answer a request."""
        reserved: list[int] = []
        self.busy.add(scope.client)
        try:
            answer = await self._answer(scope, protocol, reserved)
        except RSGIProtocolClosed:
            return
        finally:
            self.busy.discard(scope.client)
            if reserved:
                self._bodies.release(reserved)
        if answer.headers is JSON_AND_SECURITY_HEADERS:
            headers = USUAL_HEADERS
        else:
            headers = [(name.lower(), value) for name, value in answer.headers]
        try:
            if answer.rest is not None:
                await self._stream(protocol, answer, headers)
                return
            protocol.response_bytes(answer.status, headers, answer.body)
        except RSGIProtocolClosed:
            # The client is gone.
            return

    async def _stream(
        self, protocol: RSGIHTTPProtocol, answer: Answer, headers: list[tuple[str, str]]
    ) -> None:
        """Send an answer part by part, each made once the one before was taken."""
        transport = protocol.response_stream(answer.status, headers)
        await transport.send_bytes(answer.body)
        rest = answer.rest or iter(())
        while part := await asyncio.to_thread(next, rest, b""):
            await transport.send_bytes(part)

    async def _answer(
        self, scope: Scope, protocol: RSGIHTTPProtocol, reserved: list[int]
    ) -> Answer:
        """Return the response to a request."""
        environ = wsgi_environ(scope)
        started_s = time.perf_counter()
        if environ is None:
            environ = {"REQUEST_METHOD": scope.method}
            answer: Answer | None = answer_problem(
                431, f"The header is larger than {MAX_HEADER_BYTES} bytes."
            )
        else:
            environ[SERVING] = await self._checker.serving()
            answer = self._middleware.admit(environ)
        if answer is None:
            body = await self._read(protocol, environ, reserved)
            # The duration of a request begins after the body has arrived.
            started_s = time.perf_counter()
            answer = body if isinstance(body, Answer) else await self._respond(environ, body)
        return self._middleware.finish(environ, answer, started_s)

    async def _read(
        self, protocol: RSGIHTTPProtocol, environ: dict[str, Any], reserved: list[int]
    ) -> bytes | Answer:
        """Read the body of an admitted request, or return the refusal."""
        limit = self._middleware.limit(environ)
        largest = environ[SERVING].config.api.max_body_bytes
        site = self._middleware.locked_out_site(environ)
        reading = self._bodies.read(protocol, environ, limit, largest, reserved)
        if site is None:
            return await reading
        try:
            return await self._forms.wait(site, reading)
        except FormEndedError:
            return answer_too_many_forms()

    async def _respond(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Answer a request with a complete body, in the event loop if surely quick."""
        route = environ[MATCHED]
        is_quick = route is not None and route.lane is not Lane.THREAD
        is_slow = request_bodies.is_slow(body, environ.get("CONTENT_TYPE", ""))
        environ[request_bodies.SLOW] = is_slow
        if is_quick and not is_slow:
            return self._middleware.respond(environ, body)
        is_large = len(body) > request_bodies.LARGE_BYTES
        respond = self._respond_large if len(body) > COLLECTED_BYTES else self._middleware.respond
        return await self._threads[is_quick, is_large].run(respond, environ, body)

    def _respond_large(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Answer a large request, and release the reserved memory."""
        try:
            return self._middleware.respond(environ, body)
        finally:
            # The objects of a request form a cycle with the body, which Python else frees only
            # after many more requests.
            gc.collect()


class HttpServer(Server):
    """A server on a bound socket."""

    def __init__(self, listener: socket.socket, target: Callable[..., Any]) -> None:
        super().__init__(
            target,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=MAX_CONNECTIONS,
            backpressure=MAX_CONNECTIONS,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(HEADER_S * 1000), max_buffer_size=MAX_BUFFER_BYTES
            ),
            log_enabled=False,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # The stub of Granian lacks two arguments: Unix socket or not, and the backlog.
        self._shd = SocketHolder(self._listener.fileno(), False, MAX_CONNECTIONS)  # type: ignore[call-arg, assignment]


async def serve_until_stopped(
    listener: socket.socket, middleware: Middleware, reloader: ReleaseReloader
) -> None:
    """Serve until SIGTERM or SIGINT, then finish open requests within a grace period."""
    adaptor = RsgiAdaptor(middleware, reloader)
    server = HttpServer(listener, adaptor)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    limits = ConnectionLimits(
        listener.getsockname()[1],
        MAX_CONNECTIONS,
        MAX_CONNECTIONS_PER_ADDRESS,
        HEADER_S,
        adaptor.busy,
        lambda: reloader.last().config.api.trusted_proxies,
    )
    limits.start(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    serving = loop.create_task(server.serve())
    waiting = loop.create_task(stopped.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    # Granian does not annotate this method.
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait({serving}, timeout=GRACE_S)
    waiting.cancel()
    if serving.done():
        serving.result()
