"""The access log: one JSON line per request, without a client's data, written off its way."""

import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import IO

import msgspec

FLUSH_S = 0.25
MAX_WAITING = 20_000

Entry = tuple[float, str, str, int, float, int, str | None]


class Line(msgspec.Struct, frozen=True):
    """A request; no address, no query and nothing of its body, nor a path that is no route."""

    at: str
    method: str
    route: str
    status: int
    duration_ms: float
    n_rows: int
    release: str | None


def spell(entry: Entry) -> bytes:
    """Spell a line."""
    ended_s, method, route, status, duration_s, n_rows, release = entry
    at = datetime.fromtimestamp(ended_s, UTC).isoformat(timespec="milliseconds")
    line = Line(at, method, route, status, round(duration_s * 1000, 3), n_rows, release)
    return msgspec.json.encode(line) + b"\n"


class AccessLog:
    """Write lines in batches from a thread of its own; if nobody reads them, drop and count."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._waiting: deque[Entry] = deque()
        self._n_dropped = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """Take a line; a reader that does not keep up never holds a request back."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(entry)
        else:
            self._n_dropped += 1

    def stop(self) -> None:
        """Write what waits and end, at most a second later."""
        self._ended.set()
        self._thread.join(1)

    def _run(self) -> None:
        while not self._ended.wait(FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
        lines = [spell(entry) for entry in entries]
        if self._n_dropped:
            n_dropped, self._n_dropped = self._n_dropped, 0
            lines.append(msgspec.json.encode({"at": now_text(), "n_dropped": n_dropped}) + b"\n")
        if lines:
            try:
                self._stream.write(b"".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                # The reader is gone; serving goes on, and the lines have nowhere to go.
                self._ended.set()


def now_text() -> str:
    """Spell the present moment."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
