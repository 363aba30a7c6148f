"""Scoring: measures a model on the test data and writes F1 and further metrics."""

import logging
from pathlib import Path

from msgspec import Struct

from scripts.core import artifacts, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.core.errors import InsufficientDataError
from scripts.data import read_report
from scripts.data.read_report import FileReading
from scripts.model import logistic_model, metrics
from scripts.model.metrics import Evaluation
from scripts.production.run_context import RunContext

log = logging.getLogger(__name__)


class Scoring(Struct, frozen=True):
    """The result of a scoring: the evaluation, the written file and the read reports."""

    score_path: Path
    evaluation: Evaluation
    readings: tuple[FileReading, ...]


def format_score(measured: Evaluation) -> str:
    """Format an evaluation: F1 with full precision on the first line, then named metrics."""
    rest = [f"{name} {value}" for name, value in measured.as_dict().items() if name != "f1"]
    return "\n".join([str(measured.f1), *rest]) + "\n"


def format_fraction(value: float | None) -> str:
    """Format a fraction for the log, None as undefined."""
    return "undefined" if value is None else f"{value:.3f}"


def main(
    config: Config,
    *,
    model_path: Path | None = None,
    context: RunContext | None = None,
    n_judged: int = 1,
) -> Scoring:
    """Measure the latest model on the test data and write the F1 score."""
    folder = config.output_model_path
    if model_path is None:
        model_path = artifacts.find_latest(folder, Kind.MODEL, "training")
    candidate = logistic_model.load_model(model_path)
    context = context or RunContext(config)
    measured, readings, dropped = context.engine.score(candidate, context.test_data.read_counted)
    measured = metrics.correct_for_reuse(measured, n_judged)
    # Of the steps that read the test data, only this one logs this: once per run is enough.
    read_report.log_mostly_rejected(readings)
    read_report.log_detections(readings)
    if dropped.n_rows:
        log.info("Dropped %s of the test data: equal to an earlier row.", dropped.describe())
    if measured.f1 is None:
        raise InsufficientDataError(
            f"F1 is not defined on {config.test_data_path}: none of its {measured.n_rows} rows has"
            " the positive label, and none was predicted to. Add test rows of clients who left."
        )

    score_path = Kind.SCORE.path(folder, artifacts.stamp_of(model_path))
    files.write_whole(score_path, format_score(measured))
    log.info(
        "F1 %.3f (95 %% interval %s to %s), precision %s, recall %s, AUC %s, %d rows; wrote %s.",
        measured.f1, format_fraction(measured.f1_low), format_fraction(measured.f1_high),
        format_fraction(measured.precision), format_fraction(measured.recall),
        format_fraction(measured.roc_auc), measured.n_rows, score_path,
    )  # fmt: skip
    expected = metrics.next_interval(measured)
    if config.schema.date and config.tests_latest_rows:
        if expected is None:
            log.info(
                "An F1 of %.0f on %d test rows says nothing about that of the next period.",
                measured.f1, measured.n_rows,
            )  # fmt: skip
        else:
            log.info(
                "The next period is expected to have an F1 of %.3f to %.3f (95 %%).", *expected
            )
    return Scoring(score_path, measured, tuple(readings))


if __name__ == "__main__":
    run_as_script(main, exclusive=True)
