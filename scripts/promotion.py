"""Decides whether the candidate replaces the production model, and says why."""

import logging
from dataclasses import replace
from pathlib import Path

from scripts import artifacts, dataset, evaluation, gate, model, release, withdrawals
from scripts.artifacts import Kind
from scripts.config import Config, Schema
from scripts.console import run_as_script
from scripts.gate import Answer, Decision
from scripts.model import Model

__all__ = ["Answer", "Decision", "main"]

log = logging.getLogger(__name__)


def are_comparable(candidate: Schema, production: Schema) -> bool:
    """Say whether production can answer for the test rows that the candidate is judged on."""
    return (
        (candidate.target, candidate.labels) == (production.target, production.labels)
        and set(production.numeric) <= set(candidate.numeric)
        and set(production.categorical) <= set(candidate.categorical)
    )


def hold_withdrawn(decision: Decision, candidate: Model, prod_folder: Path) -> Decision:
    """Hold a candidate that a person has rolled back, whoever trained it again."""
    found = withdrawals.find_withdrawal(withdrawals.read_withdrawals(prod_folder), candidate)
    if found is None or decision.answer is not Answer.DEPLOY:
        return decision
    reason = (
        f"this model was rolled back as release {found.release} by {found.actor} at"
        f" {found.at:%Y-%m-%d %H:%M} UTC: {found.reason}; to let it serve again: python -m"
        f" scripts.deployment rollback {found.release} --reason TEXT"
    )
    return replace(decision, answer=Answer.HOLD, reason=reason)


def main(config: Config, *, model_path: Path | None = None) -> Decision:
    """Compare the latest model with production on the test data, and say which should serve."""
    if model_path is None:
        model_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    candidate = model.load_model(model_path)
    table, _ = dataset.read_test_table(config.test_data_path, candidate.schema)
    production = release.load_current(config.prod_deployment_path)
    if production is not None and not are_comparable(candidate.schema, production.model.schema):
        # Somebody has changed the schema: there is no other way to the model it asks for.
        log.warning("The model in production answers for another schema; it is not compared.")
        production = None
    decision = gate.should_deploy(
        dataset.target(table, candidate.schema),
        evaluation.predict_table(candidate, table)[0],
        None if production is None else evaluation.predict_table(production.model, table)[0],
        config.promotion,
    )
    decision = replace(
        decision,
        candidate_stamp=artifacts.stamp_of(model_path),
        production_release=None if production is None else production.name,
    )
    decision = hold_withdrawn(decision, candidate, config.prod_deployment_path)
    log.info("Decided to %s: %s.", decision.answer, decision.reason)
    return decision


if __name__ == "__main__":
    run_as_script(main)
