"""A background thread of the service: waiting entries are written at intervals, and at the end."""

import threading
from collections.abc import Callable


class BackgroundWriter:
    """A daemon thread around a function to write waiting entries.

    Parameters
    ----------
    name : str
        The name of the thread.
    flush : callable
        Writes what waits, and returns whether that worked. It must not raise.
    end : callable
        Called instead at the end of the service.
    flush_s, retry_s : float
        The pause after a success, and after a failure.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[], bool],
        end: Callable[[], object],
        *,
        flush_s: float,
        retry_s: float,
    ) -> None:
        self._flush, self._end = flush, end
        self._flush_s, self._retry_s = flush_s, retry_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, limit_s: float) -> None:
        """Let the thread write the waiting entries and end, and wait within a limit."""
        self._ended.set()
        self._thread.join(limit_s)

    def _run(self) -> None:
        pause_s = self._flush_s
        while not self._ended.wait(pause_s):
            pause_s = self._flush_s if self._flush() else self._retry_s
        self._end()
