"""Access of the service to the database of runs, in threads that answer no prediction."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from scripts.api.responses import RefusedError, RunEntry
from scripts.api.serving_state import ReleaseReloader
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError, PipelineError, RecordsError, describe_bug

if TYPE_CHECKING:
    from scripts.api.record_queries import RecordQueries

CHECK_S = 10.0
# A page does not wait longer for another writer of the database.
WAIT_S = 2.0
# Longer than a query waits for another writer: the disk or the server hangs.
HANG_LIMIT_S = 15.0
NO_RECORDS = "There are no records yet; run python -m scripts.fullprocess."

Entry = TypeVar("Entry", bound=msgspec.Struct)
Result = TypeVar("Result")
Row = Mapping[str, Any]

log = logging.getLogger(__name__)


class RecordsStatus(Struct, frozen=True):
    """The state of the database at the last check, and the alarms recorded in it."""

    last_success_at: datetime | None = None
    fault: str = ""
    alarms: tuple[str, ...] = ()

    def age_s(self) -> float | None:
        """Return the time since the end of the last successful run."""
        if self.last_success_at is None:
            return None
        return max(0.0, time.time() - self.last_success_at.timestamp())


def import_queries() -> "type[RecordQueries]":
    """Import the queries in the asking thread, and return their class."""
    # SQLAlchemy at the top would double the time from the start to the first prediction.
    from scripts.api.record_queries import RecordQueries  # noqa: PLC0415

    return RecordQueries


def check_there_are_records(config: Config) -> None:
    """Raise for a missing SQLite file, since a query would create an empty file.

    Raises
    ------
    RecordsError
        If there is no such file.
    """
    place = config.database_url.partition("sqlite:///")[2]
    if place and not Path(place).exists():
        raise RecordsError(NO_RECORDS)


def ask_records(
    config: Config, question: "Callable[[RecordQueries], Result]", *, may_change: bool
) -> Result:
    """Run queries in a transaction, for reading only or also for changes.

    Raises
    ------
    PipelineError
        If the database cannot be used, or is of another version.
    """
    check_there_are_records(config)
    queries_of = import_queries()
    begin = queries_of.writing if may_change else queries_of.reading
    try:
        with begin(config.database_url, WAIT_S) as queries:
            return question(queries)
    except NotMadeYetError as error:
        # A server of databases before the first run, or an empty file.
        raise RecordsError(NO_RECORDS) from error


def query_records(config: Config, question: "Callable[[RecordQueries], Result]") -> Result:
    """Run queries in one reading transaction.

    Parameters
    ----------
    config : Config
        Its `database_url` names the database.
    question : callable
        Takes a `RecordQueries`.

    Returns
    -------
    object
        The result of `question`.

    Raises
    ------
    PipelineError
        If the database cannot be used, or is of another version.
    """
    return ask_records(config, question, may_change=False)


def change_records(config: Config, change: "Callable[[RecordQueries], Result]") -> Result:
    """Change the records in one writing transaction, by the rules of `query_records`."""
    return ask_records(config, change, may_change=True)


def format_value(value: object) -> object:
    """Return a time in ISO 8601, and any other value unchanged."""
    return value.isoformat() if isinstance(value, datetime) else value


def read_entry(kind: type[Entry], row: Row) -> Entry:
    """Return an entry with the members of a row of the records.

    Raises
    ------
    RecordsError
        If a value has another type than its column, as SQLite allows.
    """
    members = {name: format_value(row.get(name)) for name in kind.__struct_fields__}
    try:
        return msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        raise RecordsError(f"The records are damaged, row {row.get('id')}: {error}.") from error


class RecordsReader:
    """Reader of the database, periodically for /health and on demand for pages of entries.

    Parameters
    ----------
    reloader : ReleaseReloader
        The config in use, with the URL of the database.
    count_failure : callable, optional
        Called for each unexpected error of a check.
    """

    def __init__(
        self, reloader: ReleaseReloader, count_failure: Callable[[], None] = lambda: None
    ) -> None:
        self._reloader = reloader
        self._count_failure = count_failure
        self._ended = threading.Event()
        self._query_since_s = math.inf
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self.last = RecordsStatus()

    def start(self) -> None:
        """Start the periodic check."""
        self._thread.start()

    def stop(self) -> None:
        """End the checks without waiting for an open query."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._query_since_s = time.monotonic()
            self.check()
            self._query_since_s = math.inf
            self._ended.wait(CHECK_S)

    def check(self) -> None:
        """Query the last successful run, and record whether the database can be used."""
        serving = self._reloader.last()
        try:
            run, alarms = query_records(
                serving.config,
                lambda queries: (queries.last_finished_run(), queries.alarms(serving.config)),
            )
            ended_at = None if run is None else run["ended_at"]
            status = RecordsStatus(ended_at, alarms=tuple(alarms))
        except (PipelineError, OSError) as error:
            fault = serving.without_folders(str(error))
            if fault != self.last.fault:
                log.warning("%s Predictions go on without the records.", error)
            self.last = RecordsStatus(self.last.last_success_at, fault, self.last.alarms)
        except Exception as error:
            # The thread behind /health must survive any error: the next check may succeed.
            self._count_failure()
            fault = f"The records could not be checked ({type(error).__name__})"
            if fault != self.last.fault:
                log.error("%s: %s. Predictions go on.", fault, describe_bug(error))
            self.last = RecordsStatus(self.last.last_success_at, fault, self.last.alarms)
        else:
            self.last = status

    def reasons(self) -> list[str]:
        """Return the reasons for a degraded service, according to the database."""
        last, limit_s = self.last, self._reloader.last().config.api.stale_after_minutes * 60
        age_s = last.age_s()
        reasons = [fault for fault in (self._reloader.fault(), last.fault) if fault]
        reasons += last.alarms
        query_s = time.monotonic() - self._query_since_s
        if query_s > HANG_LIMIT_S:
            reasons.append(f"The records have not answered for {query_s:.0f} seconds.")
        if age_s is not None and age_s > limit_s:
            reasons.append(
                f"The last successful run ended {age_s / 60:.0f} minutes ago, at"
                f" {format_value(last.last_success_at)}; is cron running?"
            )
        return reasons

    def page(self, kind: type[Entry], limit: int, offset: int) -> tuple[list[Entry], int | None]:
        """Return a page of entries, newest first, and the offset of the next page.

        Parameters
        ----------
        kind : type
            RunEntry or ReleaseEntry.
        limit, offset : int
            The size and the start of the page.

        Returns
        -------
        list, int or None
            The entries and the next offset, None after the last page.

        Raises
        ------
        RefusedError
            With status 503, if the database cannot be used.
        """
        serving = self._reloader.last()

        def question(queries: "RecordQueries") -> list[Row]:
            """Return the rows of the page and perhaps the first row behind."""
            is_run = issubclass(kind, RunEntry)
            list_rows = queries.latest_runs if is_run else queries.list_deployments
            return list_rows(limit + 1, offset)

        try:
            rows = query_records(serving.config, question)
            entries = [read_entry(kind, row) for row in rows[:limit]]
        except (PipelineError, OSError) as error:
            raise RefusedError(503, serving.without_folders(str(error))) from error
        return entries, offset + limit if len(rows) > limit else None
