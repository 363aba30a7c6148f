"""The HTTP server: sockets, time and size limits, worker processes and shutdown."""

import asyncio
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from types import FrameType
from typing import Any, NoReturn, TypeVar

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
    too_busy,
    too_large,
    too_slow,
)
from scripts.api.responses import Answer, answer_problem
from scripts.api.routing import Lane
from scripts.api.serving_state import Looker, ReleaseReloader
from scripts.core.config import ApiSettings
from scripts.core.errors import ServiceUnavailableError

MAX_CONNECTIONS = 1024
MAX_CONNECTIONS_PER_ADDRESS = MAX_CONNECTIONS // 4
# What the service opens beside connections: files, records, handles for a look at connections.
OTHER_FILES = 256
# A request's header, and a connection without one, have this long, however slowly they drip.
HEADER_S = 10.0
BODY_S = 20.0
# A client that takes nothing off its answer for so long is gone.
UNREAD_S = 30.0
MAX_HEADER_BYTES = 32 * 1024
# What the library holds of a connection's bytes; a header that does not fit in is refused by it.
MAX_BUFFER_BYTES = 64 * 1024
# Of the bodies that are larger than small, those of all requests together.
LARGE_BODIES_BYTES = 24 * 2**20
N_LARGEST_BODIES = 3
# A longer body is taken in chunks, and counted as far as it has arrived.
WHOLE_BYTES = 2**20
# After a body of so many bytes Python looks at once for what nobody holds any more.
COLLECTED_BYTES = 2**20
# How long requests under way have after SIGTERM.
GRACE_S = 4.0
# For the routes that are not quick, so that predictions never wait for a file or the records.
N_THREADS = 4
# Of what the quick paths answer, a body that takes long is read by threads. One large body is read
# at a time, since each needs several times its size.
N_SLOW_THREADS = 2
N_LARGE_THREADS = 1
# Spelled once, since most answers have just these.
USUAL_HEADERS = [(name.lower(), value) for name, value in JSON_AND_SECURITY_HEADERS]

# What is late is ended this much later at most.
TICK_S = 0.25

Arrived = TypeVar("Arrived")

# So that a process that cannot run at all does not take the machine with its restarts.
RESTART_S = 1.0
# Of malloc.h of glibc.
M_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 256 * 1024

log = logging.getLogger(__name__)


def allow_open_files() -> None:
    """Raise the limit of open files to the number of connections, as far as permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
        allow_open_files()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such host"
        raise ServiceUnavailableError(
            f"Cannot serve on {api.host}, port {api.port}: {reason}. Stop the program that uses"
            " it, or change api.port or api.host in config.json."
        ) from error
    return listener


@lru_cache(maxsize=256)
def wsgi_key(name: str) -> str:
    """Return the WSGI key of an HTTP header."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def wsgi_environ(scope: Scope) -> dict[str, Any] | None:
    """Return the WSGI environ of a request, or None for an oversized header.

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


def cut_short() -> Answer:
    """Answer an incomplete body."""
    detail = "The body ended early, or its chunks are not as HTTP has them, without trailers."
    return answer_problem(400, detail, [("Connection", "close")])


class BodyTimeout:
    """A time limit for many coroutines with one timer, since one each costs half a prediction.

    Parameters
    ----------
    limit_s : float
        The time.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        # In the order in which they began to wait, so the first are the latest.
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._is_ticking = False

    async def wait(self, arriving: Awaitable[Arrived]) -> Arrived:
        """Wait for an awaitable within the time limit.

        Parameters
        ----------
        arriving : awaitable
            Is cancelled when the time is up.

        Returns
        -------
        object
            What arrived.

        Raises
        ------
        TimeoutError
            If it did not in time.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("There is nobody to be interrupted.")
        self._waiting[task] = loop.time() + self._limit_s
        if not self._is_ticking:
            self._is_ticking = True
            loop.call_later(TICK_S, self._tick, loop)
        try:
            return await arriving
        except asyncio.CancelledError:
            # Unless somebody else wants the task to end as well.
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


class Intake:
    """Reader of request bodies within the limits of time, size and total memory.

    Parameters
    ----------
    limit_s : float
        How long a body may take to arrive.
    """

    def __init__(self, limit_s: float) -> None:
        self._patience = BodyTimeout(limit_s)
        self._limit_s = limit_s
        self._budget = ByteBudget(LARGE_BODIES_BYTES, N_LARGEST_BODIES)

    async def _collect(
        self, protocol: RSGIHTTPProtocol, limit: int, largest: int, taken: list[int]
    ) -> bytes | Answer:
        """Read a chunked body."""
        chunks: list[bytes] = []
        n_bytes = n_empty = 0
        async for chunk in protocol:
            chunks.append(chunk)
            n_bytes += len(chunk)
            n_empty += not chunk
            if n_bytes > limit:
                return too_large(limit)
            if n_bytes > request_bodies.LARGE_BYTES:
                n_new = n_bytes - sum(taken)
                if not self._budget.take(n_new, largest):
                    return too_busy()
                taken.append(n_new)
        # The library hands over an empty chunk at the end. For a body that is cut, or has chunks of
        # a wrong size, it hands over another one instead of an error; for trailers as well.
        return cut_short() if n_empty > 1 else b"".join(chunks)

    async def read(
        self,
        protocol: RSGIHTTPProtocol,
        environ: dict[str, Any],
        limit: int,
        largest: int,
        taken: list[int],
    ) -> bytes | Answer:
        """Read a body, or return the refusal.

        Parameters
        ----------
        protocol : RSGIHTTPProtocol
            Hands the body over.
        environ : dict
            Of the request.
        limit, largest : int
            How many bytes this body may have, and that of any route.
        taken : list of int
            Gets what `give_back` is to be called with when the request has been answered.
        """
        length = environ.get("CONTENT_LENGTH")
        try:
            # Its length is within the limit already, and the server holds a client to it.
            if length is not None and int(length) <= request_bodies.LARGE_BYTES:
                return await self._patience.wait(protocol())
            if length is not None and int(length) <= WHOLE_BYTES:
                # Counted before it is there, since it is handed over as a whole, which is faster.
                if not self._budget.take(int(length), largest):
                    return too_busy()
                taken.append(int(length))
                return await self._patience.wait(protocol())
            if length is not None or "HTTP_TRANSFER_ENCODING" in environ:
                collecting = self._collect(protocol, limit, largest, taken)
                return await self._patience.wait(collecting)
        except TimeoutError:
            return too_slow(self._limit_s)
        except RSGIProtocolClosed:
            return cut_short()
        return b""

    def give_back(self, taken: list[int]) -> None:
        """Release the memory reserved for a request."""
        self._budget.give_back(sum(taken))


class Adaptor:
    """Hand requests from the server to the front door.

    Parameters
    ----------
    door : FrontDoor
        Answers.
    live : Live
        What to answer from; renewed aside, while other requests go on with the last.
    """

    def __init__(self, door: Middleware, live: ReleaseReloader) -> None:
        self._door = door
        self._looker = Looker(live)
        # Of requests by whether their path is quick, and whether their body is large.
        self._threads = {
            (False, False): ThreadPoolExecutor(N_THREADS, "request"),
            (False, True): ThreadPoolExecutor(N_LARGE_THREADS, "large request"),
            (True, False): ThreadPoolExecutor(N_SLOW_THREADS, "slow body"),
            (True, True): ThreadPoolExecutor(N_LARGE_THREADS, "large body"),
        }
        self._intake = Intake(BODY_S)
        # The addresses of the clients whose requests are under way.
        self.busy: set[str] = set()

    async def __call__(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        """Answer a request."""
        taken: list[int] = []
        self.busy.add(scope.client)
        try:
            answer = await self._answer(scope, protocol, taken)
        except RSGIProtocolClosed:
            return
        finally:
            self.busy.discard(scope.client)
            if taken:
                self._intake.give_back(taken)
        if answer.headers is JSON_AND_SECURITY_HEADERS:
            headers = USUAL_HEADERS
        else:
            headers = [(name.lower(), value) for name, value in answer.headers]
        try:
            protocol.response_bytes(answer.status, headers, answer.body)
        except RSGIProtocolClosed:
            # The client is gone, and with it the one who wanted the answer.
            return

    async def _answer(self, scope: Scope, protocol: RSGIHTTPProtocol, taken: list[int]) -> Answer:
        """Find the answer to a request."""
        environ = wsgi_environ(scope)
        started_s = time.perf_counter()
        if environ is None:
            environ = {"REQUEST_METHOD": scope.method}
            answer: Answer | None = answer_problem(
                431, f"The header is larger than {MAX_HEADER_BYTES} bytes."
            )
        else:
            serving = environ[SERVING] = await self._looker.serving()
            answer = self._door.admit(environ)
        if answer is None:
            limit, largest = self._door.limit(environ), serving.config.api.max_body_bytes
            body = await self._intake.read(protocol, environ, limit, largest, taken)
            # The time a client takes to send its body is not the service's.
            started_s = time.perf_counter()
            answer = body if isinstance(body, Answer) else await self._respond(environ, body)
        return self._door.finish(environ, answer, started_s)

    async def _respond(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Answer a request with a complete body, in the event loop if surely quick."""
        route = environ[MATCHED]
        is_quick = route is not None and route.lane is not Lane.THREAD
        if is_quick and not request_bodies.is_slow(body, environ.get("CONTENT_TYPE", "")):
            return self._door.respond(environ, body)
        is_large = len(body) > request_bodies.LARGE_BYTES
        respond = self._respond_large if len(body) > COLLECTED_BYTES else self._door.respond
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads[is_quick, is_large], respond, environ, body)

    def _respond_large(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Answer a large request, and release the reserved memory."""
        try:
            return self._door.respond(environ, body)
        finally:
            # The objects of a request hold each other, and with them its body, which Python else
            # finds after many more requests.
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
        # The stub of the library lacks the arguments: is it a Unix socket, and the backlog.
        self._shd = SocketHolder(self._listener.fileno(), False, MAX_CONNECTIONS)  # type: ignore[call-arg, assignment]


async def serve_until_stopped(
    listener: socket.socket, door: Middleware, live: ReleaseReloader
) -> None:
    """Serve until SIGTERM or SIGINT, then finish open requests within a grace period."""
    adaptor = Adaptor(door, live)
    server = HttpServer(listener, adaptor)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    limits = ConnectionLimits(
        listener.getsockname()[1],
        MAX_CONNECTIONS,
        MAX_CONNECTIONS_PER_ADDRESS,
        HEADER_S,
        adaptor.busy,
        lambda: live.last().config.api.trusted_proxies,
    )
    limits.start(loop)
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


def return_large_blocks() -> None:
    """Let memory of large bodies go back to the system as soon as they are gone.

    The allocator of glibc keeps blocks of the size it has seen freed once, for each thread.
    """
    # Other C libraries have no such option, and no such habit.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def leave(code: int = 0) -> NoReturn:
    """End the process at once, without waiting for threads.

    The interpreter's own end would wait for every thread that still reads a body. It would also
    unwind those of the server's library when they ask for the interpreter once more, which that
    library, written in another language, answers by aborting the process.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # A reader that is gone has nothing to be handed.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def start(work: Callable[[], None]) -> int:
    """Fork a worker process, and return the process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        # The parent's handlers are not the child's.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        work()
        code = 0
    except Exception:
        log.exception("A process of the service failed.")
    finally:
        # Not sys.exit: what the parent would do at its end is not for the child to do.
        leave(code)


def run(n_processes: int, work: Callable[[], None]) -> None:
    """Run worker processes until SIGTERM or SIGINT, replacing each that ends.

    Parameters
    ----------
    n_processes : int
        How many.
    work : callable
        Serves until it gets SIGTERM.
    """
    children: set[int] = set()
    is_ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        is_ending = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while True:
        while not is_ending and len(children) < n_processes:
            children.add(start(work))
        if not children:
            return
        child, status = os.wait()
        children.discard(child)
        if not is_ending:
            log.error("Process %d ended with status %d; another one starts.", child, status)
            time.sleep(RESTART_S)
