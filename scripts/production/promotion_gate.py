"""The promotion gate: the decision on a candidate by the evidence of the test rows."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from scripts.core.config import PromotionSettings, Schema
from scripts.model import metrics, paired_metrics
from scripts.model.metrics import Comparison
from scripts.model.paired_log_loss import LogLossComparison
from scripts.model.paired_metrics import MetricComparison

Labels = NDArray[np.int64]


class GateVerdict(StrEnum):
    """The verdict of the promotion gate."""

    DEPLOY = "deploy"
    HOLD = "hold"
    NOT_ENOUGH_EVIDENCE = "hold: not enough evidence"
    INSUFFICIENT = "insufficient data"
    # The candidate passed the gate, and a person decides.
    WAIT = "wait for approval"


class Decision(Struct, frozen=True, kw_only=True):
    """The verdict, the reason in a sentence, and the evidence, None where undefined."""

    answer: GateVerdict
    reason: str
    n_test_rows: int
    n_test_positives: int
    candidate_f1: float | None = None
    production_f1: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    probability_better: float | None = None
    loss_difference: float | None = None
    loss_standard_error: float | None = None
    metric: str | None = None
    candidate_value: float | None = None
    production_value: float | None = None
    n_judged: int | None = None
    candidate_stamp: str | None = None
    production_release: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the decision as a row of the records."""
        return asdict(self) | {"answer": self.answer.value}


def format_reuse(decision: Decision) -> str:
    """Return a clause with the number of candidates judged on the test rows, "" for the first."""
    if decision.n_judged is None or decision.n_judged == 1:
        return ""
    return f" (both corrected: these test rows have judged {decision.n_judged} candidates)"


def format_evidence(decision: Decision, comparison: Comparison) -> str:
    """Return the evidence of a decision in a line."""
    return (
        f"candidate F1 {decision.candidate_f1:.4f}, production F1 {decision.production_f1:.4f} on"
        f" {decision.n_test_rows} test rows ({decision.n_test_positives} positive),"
        f" difference {comparison.difference:+.4f} (95 % interval {comparison.difference_low:+.4f}"
        f" to {comparison.difference_high:+.4f}), P(better) {comparison.probability_better:.3f}"
        f"{format_reuse(decision)}"
    )


def unmet_limits(
    decision: Decision, settings: PromotionSettings, *, is_compared: bool = True
) -> Iterator[str]:
    """Yield a description of every limit of the gate above the evidence."""
    evidence: dict[str, tuple[str, float]] = {
        "min_test_rows": ("test rows", decision.n_test_rows),
        "min_positives": ("positive test rows", decision.n_test_positives),
    }
    if is_compared:
        evidence["min_probability"] = ("P(better)", decision.probability_better or 0.0)
    for key, (name, value) in evidence.items():
        limit = getattr(settings, key)
        if value < limit:
            yield f"{name} {value:.3g} below promotion.{key} = {limit:g}"


def find_mismatch(candidate: Schema, production: Schema) -> str:
    """Return the reason for an incomparable production model, "" for a comparable one."""
    if (candidate.target, candidate.labels) != (production.target, production.labels):
        sides = [f"{s.target!r} with the labels {s.labels}" for s in (production, candidate)]
        return f"predicts {sides[0]}, and the schema now has {sides[1]}"
    lost = [
        f"the {kind} columns {names}"
        for kind in ("numeric", "categorical")
        if (names := sorted(set(getattr(production, kind)) - set(getattr(candidate, kind))))
    ]
    return f"needs {' and '.join(lost)}, which the schema no longer has" if lost else ""


def insufficiency(y: Labels) -> str:
    """Return the reason for an undefined F1 of every model on the rows, or ""."""
    if len(y) == 0:
        return "there is no test row"
    if y.all():
        return f"every one of {len(y)} test rows has the positive label"
    return "" if y.any() else f"no test row of {len(y)} has the positive label"


def describe_use(decision: Decision) -> str:
    """Return a clause about a candidate without predicted leavers, or ""."""
    if decision.candidate_f1:
        return ""
    return (
        f", which finds none of the {decision.n_test_positives} clients who left on the test rows"
    )


def replace_uncompared(decision: Decision, settings: PromotionSettings, why: str) -> Decision:
    """Decide on a candidate beside an incomparable production model."""
    evidence = f"{why}; the candidate has F1 {decision.candidate_f1:.4f}{describe_use(decision)}"
    if unmet := " and ".join(unmet_limits(decision, settings, is_compared=False)):
        return replace(
            decision, answer=GateVerdict.NOT_ENOUGH_EVIDENCE, reason=f"{evidence}, but {unmet}"
        )
    return replace(decision, answer=GateVerdict.DEPLOY, reason=evidence)


def decide_by_f1(
    decision: Decision, comparison: Comparison, settings: PromotionSettings
) -> Decision:
    """Decide by the rule `better`: the F1 must be strictly higher."""
    evidence = format_evidence(decision, comparison)
    if not comparison.difference > 0:
        reason = f"the candidate is not better: {evidence}"
        return replace(decision, answer=GateVerdict.HOLD, reason=reason)
    if unmet := " and ".join(unmet_limits(decision, settings)):
        reason = f"better, but {unmet}: {evidence}"
        return replace(decision, answer=GateVerdict.NOT_ENOUGH_EVIDENCE, reason=reason)
    return replace(
        decision, answer=GateVerdict.DEPLOY, reason=f"the candidate is better: {evidence}"
    )


def find_harm(decision: Decision, losses: LogLossComparison) -> str:
    """Return the reason for a candidate worse than production by the rule `not_worse`, or ""."""
    if losses.is_worse:
        return "the candidate is worse by more than one standard error"
    if not decision.candidate_f1 and decision.production_f1:
        return "the candidate finds nobody who left"
    if losses.difference == 0 == losses.standard_error:
        return "the candidate has production's own probabilities"
    return ""


def decide_by_loss(
    decision: Decision,
    comparison: Comparison,
    losses: LogLossComparison,
    settings: PromotionSettings,
) -> Decision:
    """Decide by the rule `not_worse`: the log loss must not be higher than chance explains."""
    evidence = (
        f"log loss {losses.difference:+.4f} (standard error {losses.standard_error:.4f}),"
        f" {format_evidence(decision, comparison)}"
    )
    if harm := find_harm(decision, losses):
        return replace(decision, answer=GateVerdict.HOLD, reason=f"{harm}: {evidence}")
    if unmet := " and ".join(unmet_limits(decision, settings, is_compared=False)):
        reason = f"not worse, but {unmet}: {evidence}"
        return replace(decision, answer=GateVerdict.NOT_ENOUGH_EVIDENCE, reason=reason)
    reason = f"the candidate is not worse: {evidence}"
    return replace(decision, answer=GateVerdict.DEPLOY, reason=reason)


def format_metric(decision: Decision, measured: MetricComparison) -> str:
    """Return the evidence of a decision by a metric other than F1 in a line."""
    name, found = paired_metrics.NAMES[measured.metric], measured.comparison
    return (
        f"candidate {name} {measured.candidate:.4f}, production {measured.production:.4f} on"
        f" {decision.n_test_rows} test rows ({decision.n_test_positives} positive), difference"
        f" {found.difference:+.4f} (95 % interval {found.difference_low:+.4f} to"
        f" {found.difference_high:+.4f}), P(better) {found.probability_better:.3f}"
        f"{format_reuse(decision)}"
    )


def decide_by_metric(
    decision: Decision, measured: MetricComparison, settings: PromotionSettings
) -> Decision:
    """Decide by the rule `better` with a metric other than F1, strictly better or not."""
    decision = replace(
        decision,
        metric=measured.metric,
        candidate_value=measured.candidate,
        production_value=measured.production,
        **asdict(measured.comparison),
    )
    evidence = format_metric(decision, measured)
    if not measured.is_better:
        reason = f"the candidate is not better: {evidence}"
        return replace(decision, answer=GateVerdict.HOLD, reason=reason)
    if unmet := " and ".join(unmet_limits(decision, settings)):
        reason = f"better, but {unmet}: {evidence}"
        return replace(decision, answer=GateVerdict.NOT_ENOUGH_EVIDENCE, reason=reason)
    return replace(
        decision, answer=GateVerdict.DEPLOY, reason=f"the candidate is better: {evidence}"
    )


def should_deploy(
    y: Labels,
    candidate: Labels,
    production: Labels | None,
    settings: PromotionSettings,
    *,
    why_uncompared: str = "",
    losses: LogLossComparison | None = None,
    measured: MetricComparison | None = None,
    n_judged: int = 1,
) -> Decision:
    """Decide on a candidate by the labels and both models' predictions for the test rows.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 stayed, 1 left.
    candidate : numpy.ndarray of shape (n_rows,)
        The candidate's predictions, 0 or 1.
    production : numpy.ndarray of shape (n_rows,) or None
        The production model's predictions. None without a comparable production model.
    settings : PromotionSettings
        The least probability of an improvement, test rows and positive test rows.
    why_uncompared : str
        Why the production model is incomparable. "" if there is none, or it is comparable.
    losses : LogLossComparison, optional
        Both models' log loss on the same rows. The rule `not_worse` decides by it.
    measured : MetricComparison, optional
        Both models by another metric than F1, by which the rule `better` then decides.
    n_judged : int
        How many candidates these rows have judged, this one included.

    Returns
    -------
    Decision
        Insufficient data without rows of both classes, where F1 compares nothing. Deploy without a
        production model, or without a comparable one if the limits of rows are reached. By the
        rule `better` hold unless the candidate's F1 is strictly higher, by `not_worse` if its log
        loss is higher by more than one standard error. Not enough evidence if a limit of the gate
        is not reached, else deploy.

    Notes
    -----
    docs/how-it-decides.md, section "Promotion". The gate compares two models: with none in
    production there is nothing to lose, and the limits do not apply.
    """
    decision = Decision(
        answer=GateVerdict.INSUFFICIENT,
        reason=insufficiency(y),
        n_test_rows=len(y),
        n_test_positives=int(y.sum()),
        candidate_f1=metrics.f1_of(y, candidate),
        production_f1=None if production is None else metrics.f1_of(y, production),
        n_judged=n_judged,
    )
    if decision.reason:
        return decision
    if why_uncompared:
        return replace_uncompared(decision, settings, why_uncompared)
    if production is None:
        found = f"F1 {decision.candidate_f1:.4f}{describe_use(decision)}"
        reason = f"nothing was in production before; {found}"
        return replace(decision, answer=GateVerdict.DEPLOY, reason=reason)
    comparison = metrics.compare(y, candidate, production, n_judged)
    decision = replace(decision, **asdict(comparison))
    if losses is not None:
        decision = replace(
            decision,
            loss_difference=losses.difference,
            loss_standard_error=losses.standard_error,
        )
        if settings.rule == "not_worse":
            return decide_by_loss(decision, comparison, losses, settings)
    if measured is not None:
        return decide_by_metric(decision, measured, settings)
    return decide_by_f1(decision, comparison, settings)
