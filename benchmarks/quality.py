"""Our models beside a reference of scikit-learn, on made-up churn tables.

For each table and seed both are fitted to the same training rows and asked about the same test
rows. Printed are the F1 of both and their ratio, the difference of ROC AUC, and the ratio of the
CPU times of fitting; the last lines hold the means and the medians, which must meet the limits.
"""

import json
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks import churn_tables
from scripts import dataset, evaluation, inference, ingestion, suggest, training
from scripts.config import FOLDER_KEYS, Config, Schema, read_config

N_ROWS = {"telecom": 7000, "bank": 10000, "wireless": 3300}
TEST_FRACTION = 0.2
SEEDS = range(5)
MIN_F1_RATIO, MAX_AUC_LOSS, MAX_TIME_RATIO = 0.99, 0.002, 2.0


@dataclass(frozen=True)
class Result:
    """Both sides of one table and seed."""

    f1: float
    reference_f1: float
    auc: float
    reference_auc: float
    time_ratio: float


def make_reference(schema: Schema) -> TunedThresholdClassifierCV:
    """Make the reference: scaled, unpooled, with a tuned threshold."""
    columns = ColumnTransformer(
        [
            (
                "numeric",
                make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
                list(schema.numeric),
            ),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), list(schema.categorical)),
        ]
    )
    regression = LogisticRegression(max_iter=5000)
    return TunedThresholdClassifierCV(make_pipeline(columns, regression), scoring="f1", cv=5)


def read_both(name: str, seed: int, folder: Path) -> tuple[Config, pd.DataFrame, pd.DataFrame]:
    """Write a table as files, and read training and test rows by the schema that is suggested."""
    n_rows = N_ROWS[name]
    table = churn_tables.MAKERS[name](n_rows, seed)
    parts = churn_tables.split_rows(table, round(n_rows * (1 - TEST_FRACTION)))
    paths = [folder / "train.csv", folder / "test.csv"]
    for path, part in zip(paths, parts, strict=True):
        path.write_text(churn_tables.to_csv(part))
    section = suggest.suggest(paths[:1]).section | {"numeric": [], "categorical": []}
    declared = msgspec.convert(section | {"inferred": ["numeric", "categorical"]}, Schema)
    schema = inference.infer(paths[:1], declared).schema
    (folder / "config.json").write_text(json.dumps({key: key for key in FOLDER_KEYS}))
    config = msgspec.structs.replace(read_config(folder / "config.json"), schema=schema)
    train, _ = ingestion.build_dataset(paths[:1], schema)
    return config, train, dataset.read_tables(paths[1:], schema)[0]


def compare(name: str, seed: int) -> Result:
    """Fit both to the same rows, and ask both about the same others."""
    with tempfile.TemporaryDirectory() as folder:
        config, train, test = read_both(name, seed, Path(folder))
    schema = config.schema
    X, y = dataset.features(train, schema), dataset.target(train, schema)
    times = []
    started = time.process_time()
    ours = training.fit_candidate(train, "", config).model
    times.append(time.process_time() - started)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.process_time()
        reference = make_reference(schema).fit(X, y)
        times.append(time.process_time() - started)
    y_test, X_test = dataset.target(test, schema), dataset.features(test, schema)
    predicted, probability = evaluation.predict_table(ours, test)
    return Result(
        f1=f1_score(y_test, predicted),
        reference_f1=f1_score(y_test, reference.predict(X_test)),
        auc=roc_auc_score(y_test, probability),
        reference_auc=roc_auc_score(y_test, reference.predict_proba(X_test)[:, 1]),
        time_ratio=times[0] / times[1],
    )


def report(name: str) -> bool:
    """Print the results of a table, and say whether its means meet the limits."""
    results = []
    for seed in SEEDS:
        found = compare(name, seed)
        results.append(found)
        print(
            f"{name:10} seed {seed}  F1 {found.f1:.4f} / {found.reference_f1:.4f}"
            f"  AUC {found.auc:.4f} / {found.reference_auc:.4f}  time {found.time_ratio:.2f}",
            flush=True,
        )
    f1 = float(np.mean([r.f1 / r.reference_f1 for r in results]))
    auc = float(np.mean([r.auc - r.reference_auc for r in results]))
    taken = statistics.median(r.time_ratio for r in results)
    print(f"{name:10} F1 ratio {f1:.4f}  AUC difference {auc:+.4f}  time ratio {taken:.2f}")
    return f1 >= MIN_F1_RATIO and auc >= -MAX_AUC_LOSS and taken <= MAX_TIME_RATIO


def main() -> int:
    """Compare on every table; 1 if a limit is not met."""
    kept = [report(name) for name in N_ROWS]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
