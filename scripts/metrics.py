"""The numbers of /metrics, for Prometheus: requests, latency, predictions, and what serves."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
)  # fmt: skip


def share_between_processes(folder: Path) -> None:
    """Keep the counters of this process in files of a folder, where its siblings find them.

    To be called before `Metrics` is made; the library reads the folder from the environment.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    # These three of the library are not annotated.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Gauge:
    """A number that is read off the present state when it is asked for."""

    name: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


class Gauges(Collector):
    """Hand gauges to the library."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """Give each gauge."""
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=list(gauge.labels))
            family.add_metric(list(gauge.labels.values()), gauge.value)
            yield family


class Metrics:
    """Count what is answered.

    Parameters
    ----------
    read_gauges : callable
        Gives the gauges of the present state.
    """

    def __init__(self, read_gauges: Callable[[], Iterable[Gauge]]) -> None:
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
            "Errors that nobody expected in the threads beside the requests, which went on.",
            registry=self._registry,
        )
        self._logging = {
            "logged": Counter(
                "adras_logged_predictions",
                "Predicted rows written to the prediction log.",
                registry=self._registry,
            ),
            "dropped": Counter(
                "adras_dropped_predictions",
                "Predicted rows the prediction log had no room for, or gave up.",
                registry=self._registry,
            ),
            "failed": Counter(
                "adras_prediction_log_failures",
                "Times that the prediction log could not be written.",
                registry=self._registry,
            ),
        }
        self._access_log = Counter(
            "adras_access_log",
            "Lines the access log dropped, and times that it could not be written.",
            ["what"],
            registry=self._registry,
        )
        # Looking up the child of a label costs more than counting.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count_request(self, route: str, method: str, status: int, duration_s: float) -> None:
        """Count an answered request."""
        key = (route, method, status)
        found = self._known.get(key)
        if found is None:
            counter = self._requests.labels(route, method, str(status))
            found = self._known[key] = (counter, self._latency.labels(route))
        found[0].inc()
        found[1].observe(duration_s)

    def count_predictions(self, n_rows: int, n_positives: int) -> None:
        """Count predicted rows."""
        self._rows.inc(n_rows)
        self._positives.inc(n_positives)

    def count_reload_failure(self) -> None:
        """Count a release or configuration that was refused."""
        self._reload_failures.inc()

    def count_thread_failure(self) -> None:
        """Count an error that nobody expected in a thread beside the requests."""
        self._thread_failures.inc()

    def count_logging(self, what: str, number: int) -> None:
        """Count what the prediction log did: "logged", "dropped" or "failed"."""
        self._logging[what].inc(number)

    def count_access_log(self, what: str, number: int) -> None:
        """Count what went wrong with the access log: lines "dropped", or times it "failed"."""
        self._access_log.labels(what).inc(number)

    def expose(self) -> bytes:
        """Spell all numbers as Prometheus reads them, over all processes of the service."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        counted = self._registry
        if folder:
            counted = CollectorRegistry()
            MultiProcessCollector(counted, folder)  # type: ignore[no-untyped-call]
        present = CollectorRegistry()
        ProcessCollector(registry=present)
        present.register(Gauges([*self._read_gauges(), self._share(counted)]))
        return generate_latest(counted) + generate_latest(present)

    @staticmethod
    def _share(counted: CollectorRegistry) -> Gauge:
        """Divide positives by rows."""
        n_rows = counted.get_sample_value("adras_predicted_rows_total") or 0.0
        n_positives = counted.get_sample_value("adras_predicted_positives_total") or 0.0
        return Gauge(
            "adras_predicted_positive_share",
            "Share of the predicted rows that are predicted to leave, since the start.",
            n_positives / n_rows if n_rows else math.nan,
        )
