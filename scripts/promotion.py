"""Decides whether the candidate replaces the production model, and says why."""

import logging
from dataclasses import replace
from pathlib import Path

from scripts import artifacts, dataset, evaluation, gate, model, release
from scripts.artifacts import Kind
from scripts.config import Config
from scripts.console import run_as_script
from scripts.gate import Answer, Decision

__all__ = ["Answer", "Decision", "main"]

log = logging.getLogger(__name__)


def main(config: Config, *, model_path: Path | None = None) -> Decision:
    """Compare the latest model with production on the test data, and say which should serve."""
    if model_path is None:
        model_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    table, _ = dataset.read_test_table(config.test_data_path, config.schema)
    production = release.load_current(config.prod_deployment_path)
    decision = gate.should_deploy(
        dataset.target(table, config.schema),
        evaluation.predict_table(model.load_model(model_path), table)[0],
        None if production is None else evaluation.predict_table(production.model, table)[0],
        config.promotion,
    )
    decision = replace(
        decision,
        candidate_stamp=artifacts.stamp_of(model_path),
        production_release=None if production is None else production.name,
    )
    log.info("Decided to %s: %s.", decision.answer, decision.reason)
    return decision


if __name__ == "__main__":
    run_as_script(main)
