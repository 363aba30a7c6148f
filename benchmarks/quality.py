"""Our models beside a reference of scikit-learn, on made-up churn tables.

For each table and seed both are fitted to the same training rows and asked about the same test
rows. Printed are the F1 of both and their ratio, the difference of ROC AUC, and the ratio of the
CPU times of fitting; the last lines hold the means and the medians, which must meet the limits.

With --interactions the question is another one: what the reference gains on the same rows by the
products of its columns, and whether our rule for what pays on validation rows would take them;
also on a table made to have such products, of two sizes.
"""

import argparse
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
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from benchmarks import churn_tables
from scripts import dataset, evaluation, gains, inference, ingestion, suggest, training
from scripts.config import FOLDER_KEYS, Config, Schema, read_config

N_ROWS = {"telecom": 7000, "bank": 10000, "wireless": 3300}
N_CROSSED_ROWS = {"crossed": 3300, "crossed10k": 10000}
TEST_FRACTION = 0.2
SEEDS = range(5)
KINDS = {"numeric": "numeric x numeric", "both": "and numeric x categorical"}
MIN_F1_RATIO, MAX_AUC_LOSS, MAX_TIME_RATIO = 0.99, 0.002, 2.0


@dataclass(frozen=True)
class Result:
    """Both sides of one table and seed."""

    f1: float
    reference_f1: float
    auc: float
    reference_auc: float
    time_ratio: float


@dataclass(frozen=True)
class Gain:
    """What products of columns brought on the test rows, and whether our rule takes them."""

    f1: float
    auc: float
    is_taken: bool


def add_products(table: NDArray[np.float64], n_numeric: int, kinds: str) -> NDArray[np.float64]:
    """Put behind the columns, of which the numeric ones are first, their products in pairs."""
    numeric = table[:, :n_numeric]
    first, second = np.triu_indices(n_numeric, k=1)
    parts = [table, numeric[:, first] * numeric[:, second]]
    if kinds == "both":
        crossed = numeric[:, :, np.newaxis] * table[:, np.newaxis, n_numeric:]
        parts.append(crossed.reshape(len(table), -1))
    return np.hstack(parts)


def make_products(schema: Schema, kinds: str) -> FunctionTransformer:
    """Make the step that adds products of numeric columns, for both with categories too."""
    arguments = {"n_numeric": len(schema.numeric), "kinds": kinds}
    return FunctionTransformer(add_products, kw_args=arguments)


def make_regression(schema: Schema, *steps: FunctionTransformer) -> Pipeline:
    """Make the regression of the reference: scaled, unpooled."""
    columns = ColumnTransformer(
        [
            (
                "numeric",
                make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
                list(schema.numeric),
            ),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), list(schema.categorical)),
        ],
        sparse_threshold=0 if steps else 0.3,
    )
    return make_pipeline(columns, *steps, LogisticRegression(max_iter=5000))


def make_reference(schema: Schema, *steps: FunctionTransformer) -> TunedThresholdClassifierCV:
    """Make the reference: its regression with a tuned threshold."""
    return TunedThresholdClassifierCV(make_regression(schema, *steps), scoring="f1", cv=5)


def read_both(name: str, seed: int, folder: Path) -> tuple[Config, pd.DataFrame, pd.DataFrame]:
    """Write a table as files, and read training and test rows by the schema that is suggested."""
    n_rows = (N_ROWS | N_CROSSED_ROWS)[name]
    table = (churn_tables.MAKERS | churn_tables.CROSSED)[name](n_rows, seed)
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


def pays_on_validation(train: pd.DataFrame, config: Config, kinds: str) -> bool:
    """Decide by the rule that decides on scaling: the log loss of the validation rows."""
    schema = config.schema
    split = training.prepare_dataset(train, schema, config.training, create_val_data=True)
    X, y = split["training"]["X"], split["training"]["y"]
    losses = []
    for steps in ((), (make_products(schema, kinds),)):
        fitted = make_regression(schema, *steps).fit(X, y)
        log_odds = fitted.decision_function(split["val"]["X"])
        losses.append(gains.row_losses(split["val"]["y"], log_odds))
    return gains.is_more_than_chance(losses[0] - losses[1])


def measure_products(name: str, seed: int) -> dict[str, Gain]:
    """Fit the reference without and with products, and ask all about the same other rows."""
    with tempfile.TemporaryDirectory() as folder:
        config, train, test = read_both(name, seed, Path(folder))
    schema = config.schema
    X, y = dataset.features(train, schema), dataset.target(train, schema)
    X_test, y_test = dataset.features(test, schema), dataset.target(test, schema)

    def measure(*steps: FunctionTransformer) -> tuple[float, float]:
        fitted = make_reference(schema, *steps).fit(X, y)
        probability = fitted.predict_proba(X_test)[:, 1]
        return f1_score(y_test, fitted.predict(X_test)), roc_auc_score(y_test, probability)

    f1, auc = measure()
    found = {}
    for kinds in KINDS:
        with_f1, with_auc = measure(make_products(schema, kinds))
        is_taken = pays_on_validation(train, config, kinds)
        found[kinds] = Gain(with_f1 - f1, with_auc - auc, is_taken)
    return found


def report_products(name: str) -> None:
    """Print what products bring on a table: means over the seeds and their standard errors."""
    found = [measure_products(name, seed) for seed in SEEDS]
    for kinds, text in KINDS.items():
        gains = [gain[kinds] for gain in found]
        f1, auc = [g.f1 for g in gains], [g.auc for g in gains]
        root = np.sqrt(len(gains))
        print(
            f"{name:10} {text:28} F1 {np.mean(f1):+.4f} (se {np.std(f1, ddof=1) / root:.4f})"
            f"  AUC {np.mean(auc):+.4f} (se {np.std(auc, ddof=1) / root:.4f})"
            f"  taken {sum(g.is_taken for g in gains)} of {len(gains)}",
            flush=True,
        )


def main() -> int:
    """Compare on every table; 1 if a limit is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interactions", action="store_true", help="what products of columns gain")
    if parser.parse_args().interactions:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in (*N_ROWS, *N_CROSSED_ROWS):
                report_products(name)
        return 0
    kept = [report(name) for name in N_ROWS]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
