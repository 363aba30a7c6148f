"""One run at work: its steps, timed and watched, and what it leaves in the records."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.engine import Engine

from scripts.core.config import Config
from scripts.core.errors import PipelineError, RecordsError, RunTimeoutError
from scripts.data import read_report
from scripts.pipeline.snapshot import Snapshot
from scripts.pipeline.watchdog import Watch
from scripts.records import database, runs
from scripts.records.tables import DeploymentKind, FileRole, Status, Verdict

if TYPE_CHECKING:
    from scripts.data.deduplicate import Dropped
    from scripts.data.read_report import FileReading
    from scripts.model.metrics import Evaluation
    from scripts.production.promotion_gate import Decision
    from scripts.production.release import Release
    from scripts.training import Training


Made = TypeVar("Made")
EVIDENCE = ("f1", "f1_low", "f1_high", "precision", "recall", "roc_auc")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """How a run came to be: what started it, and why it must train although nothing is new."""

    trigger: str = "hand"
    force_reason: str | None = None


@dataclass
class Run:
    """A run that has been recorded as started, and what it has come to so far."""

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
    # What must be said before the reason: files of which most rows were rejected.
    complaints: list[str] = field(default_factory=list)

    def step(self, name: str, work: Callable[[], Made]) -> Made:
        """Do a step: the watchdog knows of it, and it is noted how long it took."""
        self.watch.note(self.id, name)
        started = time.monotonic()
        try:
            return work()
        finally:
            self.durations_s[name] = round(time.monotonic() - started, 3)

    def record_snapshot(self, snapshot: Snapshot) -> None:
        """Record the files that the run is about to read."""
        with database.writing(self.engine) as connection:
            runs.record_files(connection, self.id, snapshot.rows())

    def record_readings(self, readings: "Iterable[FileReading]", role: FileRole) -> None:
        """Record what was found in the files of a role, now that they have been read."""
        readings = list(readings)
        complaint = read_report.format_mostly_rejected(readings)
        self.complaints += [complaint] if complaint else []
        with database.writing(self.engine) as connection:
            runs.replace_files(connection, self.id, role, describe_readings(readings))

    def record_model(self, trained: "Training", dropped: "Dropped") -> None:
        """Record the model that was trained, and what it was made of."""
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
                | {"n_dropped": dropped.n_rows, "n_dropped_positives": dropped.n_positives},
                threshold=trained.model.threshold,
            )

    def record_scores(self, measured: "Evaluation") -> None:
        """Record how good the run's model is on the test data."""
        scores = {name: getattr(measured, name) for name in EVIDENCE}
        with database.writing(self.engine) as connection:
            runs.record_scores(
                connection,
                self.id,
                n_test_rows=measured.n_rows,
                n_test_positives=measured.n_positives,
                **scores,
            )

    def record_decision(self, decision: "Decision") -> None:
        """Record what the promotion decided, and on what evidence."""
        with database.writing(self.engine) as connection:
            runs.record_decision(connection, self.id, datetime.now(UTC), **decision.as_row())

    def record_deployment(self, made: "Release", previous: str | None) -> None:
        """Record that a release serves since now."""
        with database.writing(self.engine) as connection:
            runs.record_deployment(
                connection,
                datetime.now(UTC),
                DeploymentKind.DEPLOY,
                made.name,
                run_id=self.id,
                previous_release=previous,
                model_stamp=made.manifest.model_stamp,
                f1=made.manifest.f1,
                actor=self.request.trigger,
                reason=self.reason,
            )

    def end(self, status: Status, **facts: Any) -> None:
        """Record how the run ended; a forced one says why it was."""
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

    def end_badly(self, error: Exception) -> None:
        """Record the error that ended the run; what has been recorded before it stays."""
        self.watch.end()
        status = Status.TIMEOUT if isinstance(error, RunTimeoutError) else Status.FAILED
        text = str(error) if isinstance(error, PipelineError) else repr(error)
        self.reason = f"{'stuck' if status is Status.TIMEOUT else 'failed'} in {self.watch.step}"
        try:
            self.end(status, error=text)
        except RecordsError as lost:
            # The run's own error is what its caller must see.
            log.error("How run %d ended could not be recorded: %s", self.id, lost)


def describe_readings(readings: "Iterable[FileReading]") -> list[Mapping[str, Any]]:
    """Turn what was read into rows for the records."""
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
