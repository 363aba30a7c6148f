"""Metrics for Prometheus and the access log."""

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct, field
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from scripts.api.background import BackgroundWriter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
)  # fmt: skip

FLUSH_S = 0.25
# The pause after a failure.
RETRY_S = 1.0
MAX_WAITING = 20_000
# Lines per write. Joining more would delay responses.
BATCH = 256
MAX_PARTS = 1_000

LogEntry = tuple[float, str, str, int, float, int, str | None]

log = logging.getLogger(__name__)


def share_between_processes(folder: Path) -> None:
    """Keep the counters of the process in a folder shared with sibling processes.

    Call before making `Metrics`, since prometheus_client reads the folder from the environment.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    # prometheus_client does not annotate this function.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


class Gauge(Struct, frozen=True):
    """A metric computed at each scrape."""

    name: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


class Gauges(Collector):
    """A collector of gauges for prometheus_client."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """Return the gauges in Prometheus' types."""
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=list(gauge.labels))
            family.add_metric(list(gauge.labels.values()), gauge.value)
            yield family


def make_logging_counters(registry: CollectorRegistry) -> dict[str, Counter]:
    """Return the counters of the prediction log, by the words of `Metrics.count_logging`."""
    return {
        "logged": Counter(
            "adras_logged_predictions",
            "Predicted rows written to the prediction log.",
            registry=registry,
        ),
        "dropped": Counter(
            "adras_dropped_predictions",
            "Predicted rows the prediction log had no room for, or gave up.",
            registry=registry,
        ),
        "failed": Counter(
            "adras_prediction_log_failures",
            "Times that the prediction log could not be written.",
            registry=registry,
        ),
    }


class Metrics:
    """Counters of requests, predictions and failures.

    Parameters
    ----------
    read_gauges : callable
        Returns the gauges of the present state.
    """

    def __init__(self, read_gauges: Callable[[], Iterable[Gauge]]) -> None:
        # prometheus_client does not annotate this function.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._read_gauges = read_gauges
        self._requests = Counter(
            "adras_requests",
            "Requests by route, method and status.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._latency = Histogram(
            "adras_request_duration_seconds",
            "From the last byte of a request to its answer, by route.",
            ["route"],
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._rows = Counter("adras_predicted_rows", "Rows predicted.", registry=self._registry)
        self._positives = Counter(
            "adras_predicted_positives", "Rows predicted to leave.", registry=self._registry
        )
        self._reload_failures = Counter(
            "adras_reload_failures",
            "Releases and configurations that were refused while serving.",
            registry=self._registry,
        )
        self._thread_failures = Counter(
            "adras_thread_failures",
            "Unexpected errors in background threads, which went on.",
            registry=self._registry,
        )
        self._logging = make_logging_counters(self._registry)
        self._access_log = Counter(
            "adras_access_log",
            "Lines the access log dropped, and times that it could not be written.",
            ["what"],
            registry=self._registry,
        )
        # Finding the child of a label costs more than counting.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count_request(self, route: str, method: str, status: int, duration_s: float) -> None:
        """Count an answered request."""
        key = (route, method, status)
        counters = self._known.get(key)
        if counters is None:
            counter = self._requests.labels(route, method, str(status))
            counters = self._known[key] = (counter, self._latency.labels(route))
        counters[0].inc()
        counters[1].observe(duration_s)

    def count_predictions(self, n_rows: int, n_positives: int) -> None:
        """Count predicted rows."""
        self._rows.inc(n_rows)
        self._positives.inc(n_positives)

    def count_reload_failure(self) -> None:
        """Count a refused release or configuration."""
        self._reload_failures.inc()

    def count_thread_failure(self) -> None:
        """Count an unexpected error in a background thread."""
        self._thread_failures.inc()

    def count_logging(self, what: str, number: int) -> None:
        """Count rows of the prediction log as "logged", "dropped" or "failed"."""
        self._logging[what].inc(number)

    def count_access_log(self, what: str, number: int) -> None:
        """Count access log lines as "dropped", or write failures as "failed"."""
        self._access_log.labels(what).inc(number)

    def expose(self) -> bytes:
        """Return the metrics of every process in Prometheus' text format."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        counted = self._registry
        if folder:
            counted = CollectorRegistry()
            # prometheus_client does not annotate this class.
            MultiProcessCollector(counted, folder)  # type: ignore[no-untyped-call]
        present = CollectorRegistry()
        ProcessCollector(registry=present)
        present.register(Gauges([*self._read_gauges(), self._share(counted)]))
        return generate_latest(counted) + generate_latest(present)

    @staticmethod
    def _share(counted: CollectorRegistry) -> Gauge:
        """Return the gauge of the share of positives."""
        n_rows = counted.get_sample_value("adras_predicted_rows_total") or 0.0
        n_positives = counted.get_sample_value("adras_predicted_positives_total") or 0.0
        return Gauge(
            "adras_predicted_positive_share",
            "Share of the predicted rows that are predicted to leave, since the start.",
            n_positives / n_rows if n_rows else math.nan,
        )


class LineWriter:
    """A formatter of access log lines, optimised for the request path.

    A line is a JSON object without address, query, body or unknown path. A line is formatted when
    its request ends: formatting many lines in a thread would block the interpreter for
    milliseconds and delay responses.
    """

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""
        self._parts: dict[tuple[str, str, int, int, str | None], tuple[str, str]] = {}

    def format(self, entry: LogEntry) -> bytes:
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
        """Return the line before and after the duration, the same for most requests."""
        method, route, status, n_rows, release = key
        before = msgspec.json.encode({"method": method, "route": route, "status": status})
        after = msgspec.json.encode({"n_rows": n_rows, "release": release})
        parts = f'",{before[1:-1].decode()},"duration_ms":', f",{after[1:].decode()}\n"
        if len(self._parts) >= MAX_PARTS:
            self._parts.clear()
        self._parts[key] = parts
        return parts


def now_text() -> str:
    """Format the present moment."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")


class AccessLog:
    """A writer of access log lines with a bounded queue and a thread.

    Parameters
    ----------
    stream : binary file
        The output.
    count : callable
        Called with "failed" for each write failure, and with "dropped" and a number of lines.
    """

    def __init__(
        self, stream: IO[bytes], count: Callable[[str, int], None] = lambda _what, _n: None
    ) -> None:
        self._stream = stream
        self._count = count
        self._lines = LineWriter()
        self._waiting: deque[bytes] = deque()
        # The unwritten rest of a batch, so that a partly written line is finished first.
        self._rest = memoryview(b"")
        self._n_dropped = 0
        self._fault = ""
        self._writer = BackgroundWriter(
            "access log", self._flush, self._flush, flush_s=FLUSH_S, retry_s=RETRY_S
        )

    def start(self) -> None:
        """Start the thread."""
        self._writer.start()

    def add(self, entry: LogEntry) -> None:
        """Queue a line, or drop the line if the queue is full."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(self._lines.format(entry))
        else:
            self._n_dropped += 1

    def stop(self) -> None:
        """Write the queue and end, within a second."""
        self._writer.stop(1)

    def _flush(self) -> bool:
        """Write the queue, and return whether the stream accepted the lines."""
        try:
            while self._rest or self._waiting or self._n_dropped:
                if not self._rest:
                    self._rest = memoryview(self._dequeue())
                self._write()
        except (OSError, ValueError) as error:
            # A full disk or a missing reader: either may recover.
            self._count("failed", 1)
            if str(error) != self._fault:
                log.warning("The access log cannot be written: %s. Its lines wait.", error)
            self._fault = str(error)
            return False
        if self._fault:
            self._fault = ""
            log.info("The access log can be written again.")
        return True

    def _dequeue(self) -> bytes:
        """Return the next lines and the number of dropped lines."""
        lines = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if self._n_dropped and not self._waiting:
            n_dropped, self._n_dropped = self._n_dropped, 0
            self._count("dropped", n_dropped)
            lines.append(msgspec.json.encode({"at": now_text(), "n_dropped": n_dropped}) + b"\n")
        return b"".join(lines)

    def _write(self) -> None:
        """Write as many bytes as the stream accepts."""
        n_written = self._stream.write(self._rest)
        self._stream.flush()
        if not n_written:
            raise OSError("nobody reads it")
        self._rest = self._rest[n_written:]
