"""SQLite connections whose waits for a lock end within a millisecond of its release."""

import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

# SQLite's own waiting asks after 1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50 and then 100 ms. A reader
# who waits for a writer would so lose up to 100 ms after the lock is free, or miss it again.
POLL_S = 0.001
# An error code has the kind in its last byte, and details before.
PRIMARY_CODE = 0xFF

Result = TypeVar("Result")


class PollingConnection(sqlite3.Connection):
    """Connection that asks for a lock every millisecond, made with SQLite's `timeout` 0.

    A transaction has all its locks from its start, but for that of the commit. Its statements run
    in cursors, which do not wait.
    """

    wait_s = 0.0

    def execute(self, *given: Any) -> sqlite3.Cursor:
        """Execute a statement outside of a transaction, once no other program has the lock.

        Raises
        ------
        sqlite3.OperationalError
            If another program has kept the lock longer than `wait_s`.
        """
        return self._poll(lambda: super(PollingConnection, self).execute(*given))

    def begin(self, *, writes: bool) -> None:
        """Start a transaction with its lock: that of a reader, or of the only writer."""
        # A deferred begin, the default, loses updates of two concurrent writers.
        self.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        if not writes:
            # A deferred begin has no lock before the first read.
            self.execute("PRAGMA schema_version").fetchone()

    def commit(self) -> None:
        """Commit, once the readers of this moment have ended.

        Raises
        ------
        sqlite3.OperationalError
            If a reader has not ended within `wait_s`. The transaction is still open.
        """
        self._poll(super().commit)

    def _poll(self, ask: Callable[[], Result]) -> Result:
        """Call a function until it gets the lock, or the waiting time is over."""
        until = time.monotonic() + self.wait_s
        while True:
            try:
                return ask()
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & PRIMARY_CODE == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() >= until:
                    raise
            time.sleep(POLL_S)
