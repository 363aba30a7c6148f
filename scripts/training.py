"""Training: fits an additive logistic regression to the latest dataset and writes the model."""

import gc

if __name__ == "__main__":
    # Before the other imports: garbage collection is a third of their CPU time.
    gc.disable()

import logging
import pickle
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from scripts.core import artifacts, console, files, keys
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.data import dataset
from scripts.data.scanned_dataset import ScannedDataset
from scripts.model import logistic_model
from scripts.model.additive_choice import MIN_ROWS_TO_TUNE
from scripts.model.logistic_model import Model
from scripts.production.run_context import RunContext

log = logging.getLogger(__name__)


class Training(Struct, frozen=True):
    """The result of a training: the model, the written files and their stamp."""

    model_path: Path
    pickle_path: Path
    dataset_path: Path
    stamp: str
    model: Model


def log_fit(model: Model) -> None:
    """Log the rows of a fit and the validation, with a warning if a class was hardly drawn."""
    facts = model.dataset
    n_rows = facts.n_rows if facts.n_drawn_rows is None else facts.n_drawn_rows
    log.info(
        "Fitted %d of %d rows; validation F1 %s, accuracy %.3f; threshold %.3f.",
        model.n_training_rows, n_rows, model.validation["f1"], model.validation["accuracy"],
        model.threshold,
    )  # fmt: skip
    if facts.n_drawn_rows is None:
        return
    log.info(
        "Trained on %s of %s rows, drawn at random (%s).",
        f"{n_rows:,}", f"{facts.n_rows:,}",
        "training.max_rows" if n_rows == model.settings["max_rows"] else "engine.memory_limit_gb",
    )  # fmt: skip
    n_rarer = min(facts.n_positives, facts.n_rows - facts.n_positives)
    if n_rarer * n_rows / facts.n_rows < MIN_ROWS_TO_TUNE <= n_rarer:
        log.warning(
            "Few of the %s rows of the rarer class were drawn, too few to choose a threshold by;"
            " raise training.max_rows.",
            f"{n_rarer:,}",
        )


def main(
    config: Config,
    *,
    dataset_path: Path | None = None,
    scan: ScannedDataset | None = None,
    context: RunContext | None = None,
) -> Training:
    """Fit a model to the latest dataset, write the model as a pickle and as plain numbers."""
    engine = (context or RunContext(config)).engine
    if dataset_path is None:
        folder = config.output_folder_path
        dataset_path = artifacts.find_latest(folder, engine.dataset_kind, "ingestion")
    stamp_of_dataset = artifacts.stamp_of(dataset_path)
    schema_path = Kind.SCHEMA.path(dataset_path.parent, stamp_of_dataset)
    schema = dataset.read_schema(schema_path, config.schema)
    candidate = engine.fit(dataset_path, schema, scan)
    log_fit(candidate.model)

    folder, stamp = config.output_model_path, stamp_of_dataset
    if Kind.MODEL.path(folder, stamp).exists():
        stamp = artifacts.next_stamp(datetime.now(UTC), [config.output_folder_path, folder])
    pickle_path = Kind.PICKLE.path(folder, stamp)
    files.write_whole(pickle_path, pickle.dumps(candidate.estimator))
    model_path = Kind.MODEL.path(folder, stamp)
    sealed = logistic_model.seal(candidate.model, keys.make_key(config.prod_deployment_path))
    files.write_whole(model_path, logistic_model.encode_model(sealed))
    log.info("Wrote the model to %s and %s.", model_path, pickle_path.name)
    return Training(model_path, pickle_path, dataset_path, stamp, candidate.model)


if __name__ == "__main__":
    console.freeze_gc()
    run_as_script(main, exclusive=True)
