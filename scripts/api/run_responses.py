"""Responses about a run: inputs, model, decision, shadow, approval, deployments and alerts."""

from msgspec import Struct

from scripts.api.responses import ReleaseEntry, RunEntry
from scripts.clients.response_types import Moment
from scripts.production.shadow_types import ShadowComparison


class RunFile(Struct, frozen=True, kw_only=True):
    """A file of a run, with null counts for unread content."""

    role: str | None
    path: str
    sha256: str
    n_bytes: int
    n_rows: int | None
    n_rejected: int | None
    refused: str | None


class RunModel(Struct, frozen=True, kw_only=True):
    """The model of a run, with the metrics on the test rows.

    `periods` are the first and last days of dated rows of training and test.
    """

    stamp: str
    dataset_sha256: str | None
    n_rows: int | None
    n_positives: int | None
    threshold: float | None
    f1: float | None
    f1_low: float | None
    f1_high: float | None
    precision: float | None
    recall: float | None
    roc_auc: float | None
    n_test_rows: int | None
    n_test_positives: int | None
    n_judged: int | None
    periods: dict[str, str | None] | None


class RunDecision(Struct, frozen=True, kw_only=True):
    """The decision on the candidate of a run, with the evidence of the gate."""

    decided_at: Moment
    answer: str
    reason: str
    candidate_stamp: str | None
    production_release: str | None
    candidate_f1: float | None
    production_f1: float | None
    metric: str | None
    candidate_value: float | None
    production_value: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    probability_better: float | None
    loss_difference: float | None
    loss_standard_error: float | None
    n_test_rows: int | None
    n_test_positives: int | None
    n_judged: int | None


class ApprovalEntry(Struct, frozen=True, kw_only=True):
    """A state of the candidate of a run: waiting, approved, rejected or replaced."""

    at: Moment
    state: str
    release: str
    actor: str
    reason: str | None


class AlertEntry(Struct, frozen=True, kw_only=True):
    """An alert of a run, null until sent."""

    at: Moment
    name: str
    state: str
    previous_state: str | None
    detail: str
    sent_at: Moment | None


class RunDetails(Struct, frozen=True, kw_only=True):
    """A run with all recorded facts.

    Of approvals, deployments and alerts the newest comes first. The deployments are those of the
    run, and the later ones to or from its release, such as a rollback. The files are empty once
    they are forgotten.
    """

    run: RunEntry
    files: list[RunFile]
    model: RunModel | None
    decision: RunDecision | None
    shadow: ShadowComparison | None
    approvals: list[ApprovalEntry]
    deployments: list[ReleaseEntry]
    alerts: list[AlertEntry]
    release: str | None
