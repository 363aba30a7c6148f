"""Evaluation of a model on test data of a cluster."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from scripts.core.config import EngineSettings
from scripts.data import dataset
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.model import metrics
from scripts.model.logistic_model import Model
from scripts.model.metrics import Evaluation
from scripts.spark import cluster, read_input
from scripts.spark.dataset import to_table

# The AUC is exact except for probabilities in the same bin, which count as equal.
N_BINS = 100_000


def score(
    engine: EngineSettings, paths: Sequence[Path], model: Model, *, drop_equal: bool = False
) -> tuple[Evaluation, list[FileReading], Dropped]:
    """Compute the metrics of a model on labelled files, with readings and dropped rows."""

    def work(parts: Iterator[pa.Table]) -> bytes:
        counts, bins = np.zeros(4, np.int64), np.zeros((2, N_BINS), np.int64)
        for part in parts:
            table = to_table(part, model.schema)
            y = dataset.target(table, model.schema)
            predicted, probability = metrics.predict_table(model, table)
            counts += np.bincount(2 * y + predicted, minlength=4)
            places = np.minimum((probability * N_BINS).astype(np.int64), N_BINS - 1)
            for label in (0, 1):
                bins[label] += np.bincount(places[y == label], minlength=N_BINS)
        return np.concatenate([counts, bins.ravel()]).tobytes()

    with cluster.open_cluster(engine) as session:
        rows, readings = read_input.read_tables(session, paths, model.schema)
        before = read_input.count_labels(rows, model.schema) if drop_equal else {}
        if drop_equal:
            rows = rows.select(*map(cluster.column, model.schema.columns)).distinct()
        pieces = [np.frombuffer(piece, np.int64) for piece in cluster.gather(rows, work)]
    summed = np.sum(pieces, axis=0)
    tn, fp, fn, tp = map(int, summed[:4])
    auc = metrics.auc_of_counts(summed[4:].reshape(2, N_BINS))
    dropped = Dropped()
    if drop_equal:
        dropped = Dropped(
            sum(before.values()) - sum(summed[:4].tolist()), before.get(1, 0) - fn - tp
        )
    return metrics.evaluate_counts(tn, fp, fn, tp, roc_auc=auc), readings, dropped
