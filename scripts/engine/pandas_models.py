"""The operations with a model on a single machine: fit, scores on test data, drift."""

import functools
from pathlib import Path

from scripts.core import capacity, files, progress
from scripts.core.config import Config
from scripts.data import (
    dataset,
    table_reader,
)
from scripts.data.scanned_dataset import ScannedDataset
from scripts.model import candidate, drift, metrics
from scripts.model.candidate import FittedCandidate
from scripts.model.drift import DataDrift
from scripts.model.logistic_model import Model

# The columns that the categories of a column are taken for, before they are known.
CATEGORY_WIDTH = 20

__all__ = ["compare_drift", "metrics", "read_and_fit", "scan_dataset"]


def scan_dataset(path: Path, config: Config, model: Model | None = None) -> ScannedDataset:
    """Read a large dataset once: facts, rows to fit to, and rows to compare with a model's."""
    dataset.check_is_table(path)
    settings = config.training
    bound = capacity.bound_bytes(path.stat().st_size, config.engine)
    schema = config.schema
    width = len(schema.numeric) + CATEGORY_WIDTH * len(schema.categorical)
    scanned: ScannedDataset = table_reader.import_polars().dataset_scan.scan(
        path, schema, seed=settings.random_state,
        max_rows=capacity.limit_rows(settings.max_rows, width, config.engine),
        by_place=candidate.has_equal_rows(config),
        comparison=None if model is None else drift.comparison_for(model),
        folder=None if bound is None else config.output_folder_path,
    )  # fmt: skip
    return scanned


def read_and_fit(path: Path, config: Config, scan: ScannedDataset | None) -> FittedCandidate:
    """Read a dataset, unless scanned already, and fit a model."""
    fitting_shown = functools.partial(progress.shown, "Fitting")
    if scan is None and not capacity.is_large(path, config.engine):
        with progress.shown("Reading the dataset", files.total_bytes([path])):
            table, sha256 = dataset.read_dataset(path, config.schema)
        with fitting_shown():
            return candidate.fit_candidate(table, sha256, config)
    scan = scan_dataset(path, config) if scan is None else scan
    with fitting_shown():
        return candidate.fit_scan(scan, config)


def compare_drift(
    path: Path, config: Config, model: Model | None
) -> tuple[DataDrift, ScannedDataset | None]:
    """Return a dataset's drift since the training of a model, and a large dataset's scan."""
    dataset.check_is_table(path)
    if capacity.is_large(path, config.engine):
        scan = scan_dataset(path, config, model)
        return drift.compare_scan(scan, model), scan
    table, _ = dataset.read_dataset(path, config.schema)
    if model is None:
        return drift.describe_data(table, config.schema), None
    return drift.compare_data(table, model), None
