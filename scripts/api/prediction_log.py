"""The queue of predictions to log, written to the database in batches from its own thread."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scripts.api import records_reader
from scripts.api.background import BackgroundWriter
from scripts.core import erased_clients, keys
from scripts.core.config import Config
from scripts.core.erased_clients import ErasedClients
from scripts.core.errors import PipelineError, describe_bug
from scripts.data.cells import name_client

# The interval of writing, and the wait for another writer of the database.
FLUSH_S = 0.5
WAIT_S = 2.0
# The pause after a failure.
RETRY_S = 5.0
# Rows unwritten for so long are dropped, so that newer rows have room.
GIVEN_UP_S = 60.0
# Rows in memory. A larger request is queued only if the queue is empty.
MAX_WAITING = 20_000
# Rows per transaction, which locks the database for some milliseconds.
BATCH = 2_000

log = logging.getLogger(__name__)


class LoggedRows(Struct, frozen=True):
    """The rows of an answered request, with None for unknown identifiers."""

    release: str
    columns: dict[str, NDArray[Any]]
    identifiers: Sequence[Sequence[Any]] | None
    probabilities: list[float]
    predictions: list[bool]
    at_s: float

    @property
    def n_rows(self) -> int:
        """Return the number of rows."""
        return len(self.probabilities)


def sample_indices(n_rows: int, fraction: float) -> NDArray[np.int64] | None:
    """Return a random sample of row indices, or None for the whole request."""
    if fraction >= 1:
        return None
    if n_rows == 1:
        # Six times as fast as an array of one.
        return np.zeros(int(random.random() < fraction), dtype=np.int64)  # noqa: S311 - a sample
    return np.flatnonzero(np.random.default_rng().random(n_rows) < fraction)


def sample_rows(predicted: LoggedRows, sampled: NDArray[np.int64]) -> LoggedRows:
    """Return the sampled rows."""
    ids = predicted.identifiers
    return LoggedRows(
        predicted.release,
        {name: column[sampled] for name, column in predicted.columns.items()},
        None if ids is None else [ids[k] for k in sampled],
        [predicted.probabilities[k] for k in sampled],
        [predicted.predictions[k] for k in sampled],
        predicted.at_s,
    )


def is_known(identifiers: Sequence[Any]) -> bool:
    """Return whether all identifiers of a client were sent."""
    return bool(identifiers) and not any(part in (msgspec.UNSET, None, "") for part in identifiers)


def hash_client(identifiers: Sequence[Any], key: bytes | None) -> str | None:
    """Return the keyed hash of a client's identifiers, or None without identifiers or key.

    A client predicted a hundred times counts once in drift. Without the key the hash does not
    confirm a guessed name.
    """
    if key is None or not is_known(identifiers):
        return None
    return erased_clients.hash_identifiers(key, [str(part).strip() for part in identifiers])


def is_erased(identifiers: Sequence[Any], erased: ErasedClients | None) -> bool:
    """Return whether a row is of an erased client."""
    if erased is None or not is_known(identifiers):
        return False
    return erased.has(name_client([str(part).strip() for part in identifiers]))


def format_rows(
    predicted: LoggedRows, key: bytes | None = None, erased: ErasedClients | None = None
) -> list[dict[str, Any]]:
    """Return the rows of the table of predictions, without those of erased clients."""
    at = datetime.fromtimestamp(predicted.at_s, UTC)
    ids = predicted.identifiers or [()] * predicted.n_rows
    cells = zip(*(column.tolist() for column in predicted.columns.values()), strict=True)
    return [
        {
            "at": at,
            "release": predicted.release,
            "client": hash_client(identifiers, key),
            # A missing number is NaN, which JSON does not have, and becomes null.
            "values": msgspec.json.encode(values).decode(),
            "probability": probability,
            "predicted": is_positive,
        }
        for values, identifiers, probability, is_positive in zip(
            cells, ids, predicted.probabilities, predicted.predictions, strict=True
        )
        if not is_erased(identifiers, erased)
    ]


def format_batch(
    batch: Sequence[LoggedRows], key: bytes | None, erased: ErasedClients | None
) -> list[dict[str, Any]]:
    """Return the rows of several requests, without those of erased clients."""
    return [row for predicted in batch for row in format_rows(predicted, key, erased)]


def write(config: Config, batch: Sequence[LoggedRows], key: bytes | None) -> int:
    """Insert rows into the database, and delete the oldest beyond the limit.

    Parameters
    ----------
    config : Config
        The config in use.
    batch : sequence of LoggedRows
        The rows of some requests.
    key : bytes or None
        The key of the installation, as far as known.

    Returns
    -------
    int
        The number of rows written. Those of erased clients are left out.

    Raises
    ------
    PipelineError
        If the database is missing, cannot be used, or has another version.
    """
    erased = erased_clients.find(config.prod_deployment_path)
    rows = format_batch(batch, key, erased)
    with records_reader.import_queries().writing(config.database_url, WAIT_S) as queries:
        # An erasure first writes its list and then deletes, and may have done so in the wait for
        # the database.
        now_erased = erased_clients.find(config.prod_deployment_path)
        if now_erased != erased:
            rows = format_batch(batch, key, now_erased)
        queries.record_predictions(rows, config.retention.predictions)
    return len(rows)


class PredictionLog:
    """A writer of predictions with a queue and a thread.

    Parameters
    ----------
    read_config : callable
        Returns the config in use.
    count : callable
        Called with "logged", "dropped" or "failed" and a number of rows.
    count_failure : callable, optional
        Called for each unexpected error.
    """

    def __init__(
        self,
        read_config: Callable[[], Config],
        count: Callable[[str, int], None],
        count_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._read_config = read_config
        self._count = count
        self._count_failure = count_failure
        self._lock = threading.Lock()
        self._waiting: deque[LoggedRows] = deque()
        self._n_waiting = 0
        self._fault = self._key_fault = ""
        self._writer = BackgroundWriter(
            "prediction log", self._flush, self._end, flush_s=FLUSH_S, retry_s=RETRY_S
        )

    def start(self) -> None:
        """Start the thread."""
        self._writer.start()

    def add(self, predicted: LoggedRows, fraction: float) -> None:
        """Queue a sample of a request's rows, or count them as dropped if the queue is full."""
        sampled = sample_indices(predicted.n_rows, fraction)
        if sampled is not None:
            if not len(sampled):
                return
            predicted = sample_rows(predicted, sampled)
        with self._lock:
            has_room = not self._n_waiting or self._n_waiting + predicted.n_rows <= MAX_WAITING
            if has_room:
                self._waiting.append(predicted)
                self._n_waiting += predicted.n_rows
        if not has_room:
            self._count("dropped", predicted.n_rows)

    def stop(self) -> None:
        """Write the queue and end, within a few seconds."""
        self._writer.stop(WAIT_S + 1)

    def _end(self) -> None:
        """Write the queue for the last time, and give up the rest."""
        if not self._flush():
            self._give_up(self._dequeue(None), "the service ends")

    def _dequeue(self, n_rows: int | None) -> list[LoggedRows]:
        """Remove about `n_rows` rows from the queue, and return them."""
        batch: list[LoggedRows] = []
        with self._lock:
            n_taken = 0
            while self._waiting and (n_rows is None or n_taken < n_rows):
                batch.append(self._waiting.popleft())
                n_taken += batch[-1].n_rows
            self._n_waiting -= n_taken
        return batch

    def _requeue(self, batch: list[LoggedRows]) -> None:
        """Queue an unwritten batch again, without the rows past the time limit."""
        limit_s = time.time() - GIVEN_UP_S
        fresh = [predicted for predicted in batch if predicted.at_s > limit_s]
        with self._lock:
            self._waiting.extendleft(reversed(fresh))
            self._n_waiting += sum(predicted.n_rows for predicted in fresh)
        self._give_up([p for p in batch if p.at_s <= limit_s], self._fault)

    def _give_up(self, batch: Iterable[LoggedRows], reason: str) -> None:
        n_rows = sum(predicted.n_rows for predicted in batch)
        if n_rows:
            self._count("dropped", n_rows)
            log.warning("%d predictions were not logged: %s", n_rows, reason)

    def _find_key(self, config: Config) -> bytes | None:
        """Return the hash key of the installation, or None if it cannot be read."""
        fault = ""
        try:
            key = keys.make_key(config.prod_deployment_path)
        except (PipelineError, OSError) as error:
            key, fault = None, str(error)
        if fault and fault != self._key_fault:
            log.warning("Predictions are logged without a hash of the client: %s", fault)
        self._key_fault = fault
        return key

    def _fail(self, batch: list[LoggedRows], fault: str) -> bool:
        """Count a failure, log a new cause, queue the batch again, and return False."""
        self._count("failed", 1)
        if fault != self._fault:
            log.warning("%s Predictions go on, and wait to be logged.", fault)
        self._fault = fault
        self._requeue(batch)
        return False

    def _flush(self) -> bool:
        """Write the queue, and return whether the database could be used."""
        while batch := self._dequeue(BATCH):
            try:
                config = self._read_config()
                n_rows = write(config, batch, self._find_key(config))
            except (PipelineError, OSError) as error:
                return self._fail(batch, str(error))
            except Exception as error:
                # The thread must survive any error: the next attempt may succeed.
                self._count_failure()
                return self._fail(batch, f"Predictions were not logged: {describe_bug(error)}.")
            self._fault = ""
            self._count("logged", n_rows)
            n_erased = sum(predicted.n_rows for predicted in batch) - n_rows
            if n_erased:
                self._count("dropped", n_erased)
                log.info("%d predictions were not logged: their clients were erased.", n_erased)
        return True
