"""Comparison of a candidate with the pending one: the better candidate stays pending."""

import logging
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy.engine import Engine

from scripts.core.errors import ReleaseError
from scripts.data import dataset
from scripts.model import logistic_model, metrics, paired_log_loss
from scripts.production import approval, promotion_gate, promotion_metric, release
from scripts.production.promotion_gate import Decision, GateVerdict
from scripts.production.release import Release
from scripts.production.run_context import RunContext
from scripts.records import approvals, database

log = logging.getLogger(__name__)


def load_waiting(engine: Engine, context: RunContext) -> Release | None:
    """Load the pending candidate, None without a usable candidate."""
    with database.reading(engine) as connection:
        waiting = approvals.find_waiting(connection)
    if waiting is None:
        return None
    try:
        return release.load_release(approval.pending_path(context.config, waiting["release"]))
    except ReleaseError as error:
        log.warning("The candidate that waits cannot be used, and is replaced: %s", error)
        return None


def wait_for_approval(
    engine: Engine, context: RunContext, model_path: Path, decision: Decision
) -> Decision:
    """Return the decision on a candidate after the gate, where a person approves.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    context : RunContext
        The context of the run.
    model_path : Path
        The candidate.
    decision : Decision
        The decision beside production.

    Returns
    -------
    Decision
        Wait, or hold if another candidate waits already and this one does not pass the gate
        beside it. Any other decision than to deploy is returned as it is.
    """
    if decision.answer is not GateVerdict.DEPLOY:
        return decision
    waits = replace(decision, answer=GateVerdict.WAIT)
    candidate, waiting = logistic_model.load_model(model_path), load_waiting(engine, context)
    if waiting is None:
        return waits
    if promotion_gate.find_mismatch(candidate.schema, waiting.model.schema):
        return waits
    table, _ = context.test_data.read(candidate.schema)
    y = dataset.target(table, candidate.schema)
    labels, probability = metrics.predict_table(candidate, table)
    waiting_labels, waiting_probability = metrics.predict_table(waiting.model, table)
    beside = promotion_gate.should_deploy(
        y,
        labels,
        waiting_labels,
        context.config.promotion,
        losses=paired_log_loss.compare(y, probability, waiting_probability),
        measured=promotion_metric.compare(
            context, candidate, waiting.model, decision.n_judged or 1
        ),
        n_judged=decision.n_judged or 1,
    )
    if beside.answer is GateVerdict.DEPLOY:
        return waits
    reason = f"release {waiting.name} waits for approval already, and beside it {beside.reason}"
    return replace(decision, answer=GateVerdict.HOLD, reason=reason)
