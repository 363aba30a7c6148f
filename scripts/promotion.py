"""Decides whether the candidate replaces the production model, and says why."""

import logging
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts import artifacts, dataset, evaluation, model, release
from scripts.artifacts import Kind
from scripts.config import Config, PromotionSettings
from scripts.console import run_as_script
from scripts.evaluation import Comparison

log = logging.getLogger(__name__)


class Answer(StrEnum):
    """What a promotion decides."""

    DEPLOY = "deploy"
    HOLD = "hold"
    INSUFFICIENT = "insufficient data"


@dataclass(frozen=True)
class Decision:
    """The answer, the reason in one sentence, and the numbers behind it."""

    answer: Answer
    reason: str
    candidate_f1: float | None
    production_f1: float | None
    n_test_rows: int
    n_test_positives: int
    comparison: Comparison | None = None


def should_deploy(
    y: NDArray[np.int64],
    candidate: NDArray[np.int64],
    production: NDArray[np.int64] | None,
    settings: PromotionSettings,
) -> Decision:
    """Decide from the truth and both models' predictions for the same test rows.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        0 stayed, 1 left.
    candidate : numpy.ndarray of shape (n_rows,)
        The candidate's predictions, 0 or 1.
    production : numpy.ndarray of shape (n_rows,) or None
        The production model's predictions; None when there is no production model.
    settings : PromotionSettings
        How sure one must be, on how many rows.

    Returns
    -------
    Decision
        Deploy when there is no production model, or when the candidate's F1 is strictly higher
        and the paired bootstrap is sure enough of it; insufficient data when there are too few
        test rows or F1 is not defined.
    """
    n_rows, n_positives = len(y), int(y.sum())
    candidate_f1 = evaluation.f1_of(y, candidate)
    production_f1 = None if production is None else evaluation.f1_of(y, production)

    def decide(answer: Answer, reason: str, comparison: Comparison | None = None) -> Decision:
        return Decision(
            answer, reason, candidate_f1, production_f1, n_rows, n_positives, comparison
        )

    if n_rows < settings.min_test_rows:
        return decide(
            Answer.INSUFFICIENT,
            f"{n_rows} test rows are fewer than promotion.min_test_rows = {settings.min_test_rows}",
        )
    if candidate_f1 is None or n_positives == 0:
        return decide(Answer.INSUFFICIENT, f"no test row of {n_rows} has the positive label")
    if production is None:
        return decide(Answer.DEPLOY, f"no model is in production; F1 {candidate_f1:.4f}")
    comparison = evaluation.compare(y, candidate, production)
    numbers = (
        f"candidate F1 {candidate_f1:.4f}, production F1 {production_f1:.4f} on {n_rows} test rows,"
        f" P(better) {comparison.probability_better:.3f}"
    )
    if not comparison.difference > 0:
        return decide(Answer.HOLD, f"the candidate is not better: {numbers}", comparison)
    if comparison.probability_better < settings.min_probability:
        limit = f"promotion.min_probability = {settings.min_probability:g}"
        return decide(Answer.HOLD, f"better, but below {limit}: {numbers}", comparison)
    return decide(Answer.DEPLOY, f"the candidate is better: {numbers}", comparison)


def main(config: Config, *, model_path: Path | None = None) -> Decision:
    """Compare the latest model with production on the test data, and say which should serve."""
    if model_path is None:
        model_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    table, _ = dataset.read_test_table(config.test_data_path, config.schema)
    production = release.load_current(config.prod_deployment_path)
    decision = should_deploy(
        dataset.target(table, config.schema),
        evaluation.predict_table(model.load_model(model_path), table)[0],
        None if production is None else evaluation.predict_table(production.model, table)[0],
        config.promotion,
    )
    log.info("Decided to %s: %s.", decision.answer, decision.reason)
    return decision


if __name__ == "__main__":
    run_as_script(main)
