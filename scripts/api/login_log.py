"""The failed logins of the service on their way to the records, counted and written by a thread.

A request adds to a count in memory and waits for nothing. An attacker fills neither the memory nor
the database: an hour has a limited number of counts, and one more for all others.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

from scripts.api import records_reader
from scripts.api.background import BackgroundWriter
from scripts.core import failed_logins
from scripts.core.config import Config
from scripts.core.errors import PipelineError, describe_bug
from scripts.core.failed_logins import MAX_PER_HOUR, Attempt, Counted, FailedLogin, Failures

# A killed service loses the failures of this time.
FLUSH_S = 2.0
# The pause after a failure.
RETRY_S = 10.0
WAIT_S = 2.0
# Counts in memory while the database cannot be used: some hours of an attack.
MAX_WAITING = 1_000
# Counts per transaction, which locks the database for some milliseconds.
BATCH = 100

log = logging.getLogger(__name__)


def write(config: Config, batch: Counted) -> None:
    """Add counts to the records.

    Raises
    ------
    PipelineError
        If the database is missing, cannot be used, or has another version.
    """
    now = datetime.now(UTC)
    records_reader.change_records(config, lambda queries: queries.record_failed_logins(batch, now))


class LoginLog:
    """A writer of failed logins with counts in memory and a thread.

    Parameters
    ----------
    read_config : callable
        Returns the config in use.
    count_failure : callable, optional
        Called for each unexpected error.
    """

    def __init__(
        self, read_config: Callable[[], Config], count_failure: Callable[[], None] = lambda: None
    ) -> None:
        self._read_config = read_config
        self._count_failure = count_failure
        self._lock = threading.Lock()
        self._waiting: dict[FailedLogin, Failures] = {}
        # The counts of an hour that have a row of their own.
        self._hour: datetime | None = None
        self._of_hour: set[FailedLogin] = set()
        self._fault = ""
        self._writer = BackgroundWriter(
            "login log", self.flush, self.flush, flush_s=FLUSH_S, retry_s=RETRY_S
        )

    def start(self) -> None:
        """Start the thread."""
        self._writer.start()

    def stop(self) -> None:
        """Write what waits and end, within a few seconds."""
        self._writer.stop(WAIT_S + 1)

    def add(self, attempt: Attempt) -> None:
        """Count a failed login."""
        at_s = time.time()
        minute = failed_logins.minute_of(at_s)
        login = FailedLogin(minute, attempt.address, attempt.way, attempt.actor)
        failure = failed_logins.count_one(at_s, is_locked_out=attempt.is_locked_out)
        with self._lock:
            self._merge(login if self._has_room(login) else login.left_out, failure)

    def _has_room(self, login: FailedLogin) -> bool:
        """Return whether a count gets a separate row in its hour."""
        if login in self._of_hour:
            return True
        if login.hour != self._hour:
            self._hour, self._of_hour = login.hour, set()
        if len(self._of_hour) >= MAX_PER_HOUR or len(self._waiting) >= MAX_WAITING:
            return False
        self._of_hour.add(login)
        return True

    def _merge(self, login: FailedLogin, failures: Failures) -> None:
        """Add to a waiting count."""
        known = self._waiting.get(login)
        self._waiting[login] = failures if known is None else known.plus(failures)

    def _dequeue(self) -> dict[FailedLogin, Failures]:
        """Remove some waiting counts, the oldest first, and return them."""
        with self._lock:
            logins = list(islice(self._waiting, BATCH))
            return {login: self._waiting.pop(login) for login in logins}

    def _requeue(self, batch: dict[FailedLogin, Failures], fault: str) -> bool:
        """Let unwritten counts wait again, log a new cause, and return False."""
        if fault != self._fault:
            log.warning("%s Failed logins wait to be recorded; nothing else waits.", fault)
        self._fault = fault
        with self._lock:
            for login, failures in batch.items():
                self._merge(login, failures)
        return False

    def flush(self) -> bool:
        """Write what waits, and return whether the database could be used."""
        while batch := self._dequeue():
            try:
                write(self._read_config(), batch)
            except (PipelineError, OSError) as error:
                return self._requeue(batch, str(error))
            except Exception as error:
                # The thread must survive any error: the next attempt may succeed.
                self._count_failure()
                fault = f"Failed logins were not recorded: {describe_bug(error)}."
                return self._requeue(batch, fault)
            self._fault = ""
        return True
