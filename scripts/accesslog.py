"""The access log: one JSON line per request, without a client's data, written off its way."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

import msgspec

FLUSH_S = 0.25
# After a failure the stream is tried again this much later.
RETRY_S = 1.0
MAX_WAITING = 20_000
# Lines per write: putting together more would hold up the answers of that moment.
BATCH = 256
MAX_PARTS = 1_000

Entry = tuple[float, str, str, int, float, int, str | None]

log = logging.getLogger(__name__)


class LineWriter:
    """Formats lines, each when its request ends, and quickly, since the next request waits.

    A line is a JSON object with no address, no query and nothing of a body, nor a path that is no
    route. A thread that formatted the lines of a moment together would hold the interpreter for
    milliseconds, and the slowest answers would be those of that moment.
    """

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""
        self._parts: dict[tuple[str, str, int, int, str | None], tuple[str, str]] = {}

    def format(self, entry: Entry) -> bytes:
        """Format a line."""
        ended_s, method, route, status, duration_s, n_rows, release = entry
        second = int(ended_s)
        if second != self._second:
            at = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second, self._prefix = second, f'{{"at":"{at}.'
        key = (method, route, status, n_rows, release)
        before, after = self._parts.get(key) or self._format_parts(key)
        milliseconds = int((ended_s - second) * 1000)
        return (
            f"{self._prefix}{milliseconds:03d}+00:00{before}{duration_s * 1000:.3f}{after}".encode()
        )

    def _format_parts(self, key: tuple[str, str, int, int, str | None]) -> tuple[str, str]:
        """Format what stands before and after the duration, the same for most requests."""
        method, route, status, n_rows, release = key
        before = msgspec.json.encode({"method": method, "route": route, "status": status})
        after = msgspec.json.encode({"n_rows": n_rows, "release": release})
        parts = f'",{before[1:-1].decode()},"duration_ms":', f",{after[1:].decode()}\n"
        if len(self._parts) >= MAX_PARTS:
            self._parts.clear()
        self._parts[key] = parts
        return parts


class AccessLog:
    """Write lines in batches from a thread of its own; if nobody reads them, drop and count.

    Parameters
    ----------
    stream : binary file
        What is written to.
    count : callable
        Is told "failed" for each time that it could not be, and "dropped" with a number of lines.
    """

    def __init__(
        self, stream: IO[bytes], count: Callable[[str, int], None] = lambda _what, _n: None
    ) -> None:
        self._stream = stream
        self._count = count
        self._lines = LineWriter()
        self._waiting: deque[bytes] = deque()
        # What of a batch is not written yet: a line that was begun is ended first.
        self._rest = memoryview(b"")
        self._n_dropped = 0
        self._fault = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """Take a line; a reader that does not keep up never holds a request back."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(self._lines.format(entry))
        else:
            self._n_dropped += 1

    def stop(self) -> None:
        """Write what waits and end, at most a second later."""
        self._ended.set()
        self._thread.join(1)

    def _run(self) -> None:
        pause_s = FLUSH_S
        while not self._ended.wait(pause_s):
            pause_s = FLUSH_S if self._flush() else RETRY_S
        self._flush()

    def _flush(self) -> bool:
        """Write what waits; return whether the stream took it."""
        try:
            while self._rest or self._waiting or self._n_dropped:
                if not self._rest:
                    self._rest = memoryview(self._take())
                self._write()
        except (OSError, ValueError) as error:
            # A full disk, or a reader that is gone: one may have room later, the other come back.
            self._count("failed", 1)
            if str(error) != self._fault:
                log.warning("The access log cannot be written: %s. Its lines wait.", error)
            self._fault = str(error)
            return False
        if self._fault:
            self._fault = ""
            log.info("The access log can be written again.")
        return True

    def _take(self) -> bytes:
        """Take the next lines, and the number of those that had no room."""
        lines = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if self._n_dropped and not self._waiting:
            n_dropped, self._n_dropped = self._n_dropped, 0
            self._count("dropped", n_dropped)
            lines.append(msgspec.json.encode({"at": now_text(), "n_dropped": n_dropped}) + b"\n")
        return b"".join(lines)

    def _write(self) -> None:
        """Write as much as the stream takes."""
        n_written = self._stream.write(self._rest)
        self._stream.flush()
        if not n_written:
            raise OSError("nobody reads it")
        self._rest = self._rest[n_written:]


def now_text() -> str:
    """Format the present moment."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
