"""The record of a run in the database of runs: files, model, scores, decision and durations."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict
from sqlalchemy.engine import Engine

from scripts.core import console
from scripts.core.config import Config
from scripts.core.errors import PipelineError, RecordsError, RunTimeoutError
from scripts.data import read_report
from scripts.pipeline.snapshot import Snapshot
from scripts.pipeline.watchdog import Watch
from scripts.records import database, evidence, runs, shadows
from scripts.records.tables import DeploymentKind, FileRole, Status, Verdict

if TYPE_CHECKING:
    # These modules import pandas, and a run with nothing new must not pay for it.
    from scripts.data.read_report import FileReading
    from scripts.ingestion import Ingestion
    from scripts.model.metrics import Evaluation
    from scripts.production.promotion_gate import Decision
    from scripts.production.release import Release
    from scripts.production.shadow_types import ShadowComparison
    from scripts.training import Training


Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
BY_HAND = "hand"
SCORES = ("f1", "f1_low", "f1_high", "precision", "recall", "roc_auc")

log = logging.getLogger(__name__)


class Request(Struct, frozen=True):
    """The trigger of a run, and the reason to train although no data is new."""

    trigger: str = BY_HAND
    force_reason: str | None = None

    @property
    def actor(self) -> str:
        """Return the person or trigger of the run: the account at the terminal, or the trigger."""
        return console.actor() if self.trigger == BY_HAND else self.trigger


def describe_readings(readings: "Iterable[FileReading]") -> list[Mapping[str, Any]]:
    """Return a row for the records from each read report."""
    return [
        {
            "path": str(reading.path),
            "sha256": reading.sha256,
            "n_bytes": reading.n_bytes,
            "n_rows": reading.n_rows,
            "n_rejected": 0 if reading.refused else len(reading.rejected),
            "refused": reading.refused,
        }
        for reading in readings
    ]


class Run(Struct):
    """A run and its row in the records, from start to end."""

    id: int
    config: Config
    engine: Engine
    watch: Watch
    request: Request
    verdict: Verdict | None = None
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    durations_s: dict[str, float] = field(default_factory=dict)
    is_first_release: bool = False
    # How many candidates the test rows have judged, the run's own included.
    n_judged: int = 1
    # They stand before the reason: sentences about files of which most rows were rejected.
    complaints: list[str] = field(default_factory=list)

    def step(
        self,
        name: str,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call the function of a step, known to the watchdog, and note the duration."""
        self.watch.note(self.id, name)
        started = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            self.durations_s[name] = round(time.monotonic() - started, 3)

    def record_snapshot(self, snapshot: Snapshot) -> None:
        """Record the input and test files before they are read."""
        with database.writing(self.engine) as connection:
            runs.record_files(connection, self.id, snapshot.rows())

    def record_readings(self, readings: "Iterable[FileReading]", role: FileRole) -> None:
        """Record the read reports of the files of a role in place of their snapshot."""
        readings = list(readings)
        complaint = read_report.format_mostly_rejected(readings)
        self.complaints += [complaint] if complaint else []
        with database.writing(self.engine) as connection:
            runs.replace_files(connection, self.id, role, describe_readings(readings))

    def record_model(
        self, trained: "Training", ingested: "Ingestion", origin: Mapping[str, Any]
    ) -> None:
        """Record the trained model with its dataset, periods, settings, origin and versions."""
        dropped, dated = ingested.dropped, ingested.dated
        facts = trained.model.dataset
        versions = self.facts.setdefault("versions", {})
        versions |= trained.model.versions
        with database.writing(self.engine) as connection:
            runs.record_model(
                connection,
                self.id,
                stamp=trained.stamp,
                dataset_sha256=facts.sha256,
                n_rows=facts.n_rows,
                n_positives=facts.n_positives,
                settings=trained.model.settings
                | {
                    "n_dropped": dropped.n_rows,
                    "n_dropped_positives": dropped.n_positives,
                    "n_drawn_rows": facts.n_drawn_rows,
                },
                threshold=trained.model.threshold,
                origin=origin,
                periods=None if dated is None else asdict(dated.periods),
            )

    def count_judged(self) -> int:
        """Count the candidates judged on the test rows of the run, with its own candidate."""
        with database.reading(self.engine) as connection:
            return evidence.count_judged(connection, self.id)

    def record_scores(self, measured: "Evaluation") -> None:
        """Record the scores of the candidate on the test data."""
        scores = {name: getattr(measured, name) for name in SCORES}
        with database.writing(self.engine) as connection:
            runs.record_scores(
                connection,
                self.id,
                n_test_rows=measured.n_rows,
                n_test_positives=measured.n_positives,
                n_judged=self.n_judged,
                **scores,
            )

    def record_groups(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record the metrics of the candidate by groups of clients."""
        with database.writing(self.engine) as connection:
            evidence.record_groups(connection, self.id, rows)

    def record_decision(
        self, decision: "Decision", shadow: "ShadowComparison | None" = None
    ) -> None:
        """Record the decision of the promotion gate with its evidence and the shadow."""
        summary: dict[str, Any] | None = None
        moved: list[dict[str, Any]] = []
        if shadow is not None:
            summary, moved = shadows.split_shadow(msgspec.to_builtins(shadow))
        with database.writing(self.engine) as connection:
            runs.record_decision(
                connection, self.id, datetime.now(UTC), **decision.as_row(), shadow=summary
            )
            shadows.record_clients(connection, self.id, moved)

    def record_deployment(self, release: "Release", previous: str | None) -> None:
        """Record the deployment of a release."""
        with database.writing(self.engine) as connection:
            runs.record_deployment(
                connection,
                datetime.now(UTC),
                DeploymentKind.DEPLOY,
                release.name,
                run_id=self.id,
                previous_release=previous,
                model_stamp=release.manifest.model_stamp,
                f1=release.manifest.f1,
                actor=self.request.actor,
                reason=self.reason,
            )

    def end(self, status: Status, **facts: Any) -> None:
        """Record the end of the run: status, durations and reason, with the reason of --force."""
        self.reason = " ".join([*self.complaints, self.reason])
        if self.request.force_reason is not None:
            self.reason = f"forced ({self.request.force_reason}): {self.reason}"
        with database.writing(self.engine) as connection:
            runs.end_run(
                connection,
                self.id,
                status=status,
                ended_at=datetime.now(UTC),
                reason=self.reason,
                durations_s=self.durations_s,
                **(self.facts | facts),
            )

    def end_failed(self, error: Exception) -> None:
        """Record the end of the run by an error."""
        self.watch.end()
        status = Status.TIMEOUT if isinstance(error, RunTimeoutError) else Status.FAILED
        text = str(error) if isinstance(error, PipelineError) else repr(error)
        self.reason = f"{'stuck' if status is Status.TIMEOUT else 'failed'} in {self.watch.step}"
        try:
            self.end(status, error=text)
        except RecordsError as lost:
            # The run's own error is the one that its caller must see.
            log.error("How run %d ended could not be recorded: %s", self.id, lost)
