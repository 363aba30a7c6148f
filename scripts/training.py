"""Fits a logistic regression to the latest dataset and writes it, also as plain numbers."""

import gc

if __name__ == "__main__":
    # Before anything else is imported: garbage collection is a third of the imports' CPU time.
    gc.disable()

import functools
import logging
import pickle
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from scripts import (
    artifacts,
    candidates,
    capacity,
    dataset,
    digest,
    durable,
    engines,
    garbage,
    inbox,
    keys,
    model,
    plainmodel,
    progress,
)
from scripts.artifacts import Kind
from scripts.capacity import Way
from scripts.config import Config
from scripts.console import run_as_script
from scripts.digest import Digest
from scripts.model import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """The files a training made, and the stamp they share."""

    model_path: Path
    pickle_path: Path
    dataset_path: Path
    stamp: str
    model: Model


def read_and_fit(path: Path, config: Config, read: Digest | None) -> candidates.Candidate:
    """Read a dataset, unless that has been done, and fit a model in the way that suits its size."""
    fitting_shown = functools.partial(progress.shown, "Fitting")
    if read is not None:
        with fitting_shown():
            return candidates.fit_in_passes(read, config)
    way = capacity.choose_way(path, config.engine)
    if way is Way.TABLE:
        with progress.shown("Reading the dataset", inbox.total_bytes([path])):
            table, sha256 = dataset.read_dataset(path, config.schema)
        with fitting_shown():
            return candidates.fit_candidate(table, sha256, config)
    with capacity.place_for(way, config.output_model_path) as file:
        found = digest.read(path, config.schema, file)
        with fitting_shown():
            return candidates.fit_in_passes(found, config)


def fit_on_cluster(config: Config, dataset_path: Path) -> candidates.Candidate:
    """Fit a model to the dataset of a cluster, which sends back numbers only."""
    # PySpark and Java are for who has a cluster.
    from scripts import sparktraining  # noqa: PLC0415

    fitted = sparktraining.fit(config, dataset_path, candidates.package_versions())
    plainmodel.check_equal(fitted.model, fitted.pipeline, fitted.examples)
    y = np.arange(len(fitted.examples)) % 2
    wrapped = candidates.wrap(fitted.pipeline, fitted.model.threshold, fitted.examples, y)
    return candidates.Candidate(fitted.model, wrapped)


def main(
    config: Config, *, dataset_path: Path | None = None, read: Digest | None = None
) -> Training:
    """Read the latest dataset, fit a model, write it as a pickle and as plain numbers."""
    is_cluster = engines.is_cluster(config)
    kind = Kind.PARTS if is_cluster else Kind.DATASET
    if dataset_path is None:
        dataset_path = artifacts.find_latest(config.output_folder_path, kind, "ingestion")
    stamp_of_dataset = artifacts.stamp_of(dataset_path)
    schema_path = Kind.SCHEMA.path(dataset_path.parent, stamp_of_dataset)
    config = msgspec.structs.replace(config, schema=dataset.read_schema(schema_path, config.schema))
    candidate = (
        fit_on_cluster(config, dataset_path)
        if is_cluster
        else read_and_fit(dataset_path, config, read)
    )
    log.info(
        "Fitted %d of %d rows; validation F1 %s, accuracy %.3f; threshold %.3f.",
        candidate.model.n_training_rows, candidate.model.dataset.n_rows,
        candidate.model.validation["f1"],
        candidate.model.validation["accuracy"], candidate.model.threshold,
    )  # fmt: skip

    folder, stamp = config.output_model_path, stamp_of_dataset
    if Kind.MODEL.path(folder, stamp).exists():
        stamp = artifacts.next_stamp(datetime.now(UTC), [config.output_folder_path, folder])
    pickle_path = Kind.PICKLE.path(folder, stamp)
    durable.write_whole(pickle_path, pickle.dumps(candidate.estimator))
    model_path = Kind.MODEL.path(folder, stamp)
    sealed = model.seal(candidate.model, keys.make_key(config.prod_deployment_path))
    durable.write_whole(model_path, model.encode_model(sealed))
    log.info("Wrote the model to %s and %s.", model_path, pickle_path.name)
    return Training(model_path, pickle_path, dataset_path, stamp, candidate.model)


if __name__ == "__main__":
    garbage.set_aside()
    run_as_script(main, exclusive=True)
