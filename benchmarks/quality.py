"""Our models beside a reference of scikit-learn, on made-up churn tables.

For each table and seed both are fitted to the same training rows and evaluated on the same test
rows. The output is the F1 of both and their ratio, the difference of ROC AUC, and the ratio of the
CPU times of fitting, then the means over the seeds with standard errors, and the worst seed. The
means and the median of the times must meet the limits. --seeds 40 takes more seeds, --only some of
the tables, and --quick measures no times: the reference then takes the threshold of our own search,
which is the same and needs a fraction of the time.

--interactions measures the gain of the reference by products of columns, also on a table with
strong products, in two sizes.
"""

# First, as in every program of ours: it keeps OpenBLAS to one thread before numpy is imported. Two
# threads that wait for each other by spinning took ten times the CPU of a fit.
import scripts  # noqa: F401 isort: skip
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
from sklearn.model_selection import StratifiedKFold, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from benchmarks import churn_tables
from scripts.core.config import Config, Schema
from scripts.core.config_file import FOLDER_KEYS, read_config
from scripts.data import dataset, schema_inference, schema_suggestion
from scripts.engine import pandas_engine
from scripts.model import candidate, decision_threshold, metrics

N_ROWS = {"telecom": 7000, "bank": 10000, "wireless": 3300, "employees": 1470, "shop": 5600}
N_CROSSED_ROWS = {"crossed": 3300, "crossed10k": 10000}
SMALL_ROWS = 1000
TEST_FRACTION = 0.2
N_SEEDS = 5
KINDS = {"numeric": "numeric x numeric", "both": "and numeric x categorical"}
MIN_F1_RATIO, MAX_AUC_LOSS, MAX_TIME_RATIO = 0.99, 0.002, 2.0


@dataclass(frozen=True)
class Result:
    """The metrics of our model and of the reference, for a table and seed."""

    f1: float
    reference_f1: float
    auc: float
    reference_auc: float
    time_ratio: float


@dataclass(frozen=True)
class Gain:
    """The gain of products of columns on the test rows."""

    f1: float
    auc: float


def add_products(table: NDArray[np.float64], n_numeric: int, kinds: str) -> NDArray[np.float64]:
    """Append the pairwise products of numeric columns, which come first."""
    numeric = table[:, :n_numeric]
    first, second = np.triu_indices(n_numeric, k=1)
    parts = [table, numeric[:, first] * numeric[:, second]]
    if kinds == "both":
        crossed = numeric[:, :, np.newaxis] * table[:, np.newaxis, n_numeric:]
        parts.append(crossed.reshape(len(table), -1))
    return np.hstack(parts)


def make_products(schema: Schema, kinds: str) -> FunctionTransformer:
    """Return the transformer for products of numeric columns, and of numbers and categories."""
    arguments = {"n_numeric": len(schema.numeric), "kinds": kinds}
    return FunctionTransformer(add_products, kw_args=arguments)


def make_regression(schema: Schema, *steps: FunctionTransformer) -> Pipeline:
    """Return the regression of the reference: scaled, without grouped categories."""
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
    """Return the reference: the regression with a tuned threshold."""
    return TunedThresholdClassifierCV(make_regression(schema, *steps), scoring="f1", cv=5)


def read_both(
    name: str, n_rows: int, seed: int, folder: Path
) -> tuple[Config, pd.DataFrame, pd.DataFrame]:
    """Write a table as files, and read training and test rows by the suggested schema."""
    table = (churn_tables.MAKERS | churn_tables.CROSSED)[name](n_rows, seed)
    parts = churn_tables.split_rows(table, round(n_rows * (1 - TEST_FRACTION)))
    paths = [folder / "train.csv", folder / "test.csv"]
    for path, part in zip(paths, parts, strict=True):
        path.write_text(churn_tables.to_csv(part))
    section = schema_suggestion.suggest(paths[:1]).section | {"numeric": [], "categorical": []}
    declared = msgspec.convert(section | {"inferred": ["numeric", "categorical"]}, Schema)
    schema = schema_inference.infer(paths[:1], declared).schema
    (folder / "config.json").write_text(json.dumps({key: key for key in FOLDER_KEYS}))
    config = msgspec.structs.replace(read_config(folder / "config.json"), schema=schema)
    train, _, _ = pandas_engine.read_input(paths[:1], schema)
    return config, train, dataset.read_tables(paths[1:], schema)[0]


@dataclass(frozen=True)
class Tuned:
    """A regression with a threshold."""

    regression: Pipeline
    threshold: float

    def predict_proba(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return the probabilities of both labels, shape (n_rows, 2)."""
        return np.asarray(self.regression.predict_proba(X), dtype=np.float64)

    def predict(self, X: pd.DataFrame) -> NDArray[np.int64]:
        """Return the labels, shape (n_rows,)."""
        return (self.predict_proba(X)[:, 1] >= self.threshold).astype(np.int64)


def tune_quickly(X: pd.DataFrame, y: NDArray[np.int64], schema: Schema) -> Tuned:
    """Fit the reference with the threshold of our search, equal by our tests."""
    log_odds, fold_of = np.empty(len(y)), np.empty(len(y), dtype=np.int64)
    folds = StratifiedKFold(decision_threshold.N_FOLDS).split(X, y)
    for fold, (rest, held_out) in enumerate(folds):
        fitted = make_regression(schema).fit(X.iloc[rest], y[rest])
        log_odds[held_out] = fitted.decision_function(X.iloc[held_out])
        fold_of[held_out] = fold
    threshold = decision_threshold.best_threshold(y, decision_threshold.HeldOut(log_odds, fold_of))
    return Tuned(make_regression(schema).fit(X, y), threshold)


def compare(name: str, n_rows: int, seed: int, *, is_quick: bool = False) -> Result:
    """Fit both to the same training rows, and evaluate both on the same test rows."""
    with tempfile.TemporaryDirectory() as folder:
        config, train, test = read_both(name, n_rows, seed, Path(folder))
    schema = config.schema
    X, y = dataset.features(train, schema), dataset.target(train, schema)
    times = [time.process_time()]
    ours = candidate.fit_candidate(train, "", config).model
    times.append(time.process_time())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = tune_quickly(X, y, schema) if is_quick else make_reference(schema).fit(X, y)
    times.append(time.process_time())
    y_test, X_test = dataset.target(test, schema), dataset.features(test, schema)
    predicted, probability = metrics.predict_table(ours, test)
    return Result(
        f1=f1_score(y_test, predicted),
        reference_f1=f1_score(y_test, reference.predict(X_test)),
        auc=roc_auc_score(y_test, probability),
        reference_auc=roc_auc_score(y_test, reference.predict_proba(X_test)[:, 1]),
        time_ratio=float("nan") if is_quick else (times[1] - times[0]) / (times[2] - times[1]),
    )


def standard_error(values: list[float]) -> float:
    """Compute the standard error of a mean."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def report(name: str, n_rows: int, n_seeds: int, *, is_quick: bool) -> bool:
    """Print the results of a table, and return whether the means meet the limits."""
    label = f"{name} {n_rows}"
    results = []
    for seed in range(n_seeds):
        result = compare(name, n_rows, seed, is_quick=is_quick)
        results.append(result)
        print(
            f"{label:14} seed {seed:2}  F1 {result.f1:.4f} / {result.reference_f1:.4f}"
            f"  AUC {result.auc:.4f} / {result.reference_auc:.4f}  time {result.time_ratio:.2f}",
            flush=True,
        )
    ratios = [r.f1 / r.reference_f1 for r in results]
    differences = [r.auc - r.reference_auc for r in results]
    f1, auc = float(np.mean(ratios)), float(np.mean(differences))
    taken = statistics.median(r.time_ratio for r in results)
    print(
        f"{label:14} mean     F1 ratio {f1:.4f} (se {standard_error(ratios):.4f})"
        f"  AUC {auc:+.4f} (se {standard_error(differences):.4f})  time ratio {taken:.2f}\n"
        f"{label:14} worst    F1 ratio {min(ratios):.4f}  AUC {min(differences):+.4f};"
        f" within the limits: F1 {sum(r >= MIN_F1_RATIO for r in ratios)},"
        f" AUC {sum(d >= -MAX_AUC_LOSS for d in differences)} of {n_seeds}",
        flush=True,
    )
    return f1 >= MIN_F1_RATIO and auc >= -MAX_AUC_LOSS and (is_quick or taken <= MAX_TIME_RATIO)


def measure_products(name: str, n_rows: int, seed: int) -> dict[str, Gain]:
    """Fit the reference without and with products, and evaluate on the same test rows."""
    with tempfile.TemporaryDirectory() as folder:
        config, train, test = read_both(name, n_rows, seed, Path(folder))
    schema = config.schema
    X, y = dataset.features(train, schema), dataset.target(train, schema)
    X_test, y_test = dataset.features(test, schema), dataset.target(test, schema)

    def measure(*steps: FunctionTransformer) -> tuple[float, float]:
        fitted = make_reference(schema, *steps).fit(X, y)
        probability = fitted.predict_proba(X_test)[:, 1]
        return f1_score(y_test, fitted.predict(X_test)), roc_auc_score(y_test, probability)

    f1, auc = measure()
    gains = {}
    for kinds in KINDS:
        with_f1, with_auc = measure(make_products(schema, kinds))
        gains[kinds] = Gain(with_f1 - f1, with_auc - auc)
    return gains


def report_products(name: str, n_rows: int, n_seeds: int) -> None:
    """Print the gains of products on a table: means over the seeds and standard errors."""
    gains = [measure_products(name, n_rows, seed) for seed in range(n_seeds)]
    for kinds, text in KINDS.items():
        brought = [gain[kinds] for gain in gains]
        f1, auc = [g.f1 for g in brought], [g.auc for g in brought]
        print(
            f"{name:10} {text:28} F1 {np.mean(f1):+.4f} (se {standard_error(f1):.4f})"
            f"  AUC {np.mean(auc):+.4f} (se {standard_error(auc):.4f})",
            flush=True,
        )


def main() -> int:
    """Compare on every table, and return 1 unless the limits are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interactions", action="store_true", help="what products of columns gain")
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="how many tables of each kind")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="such as wireless or shop")
    parser.add_argument("--rows", nargs="+", type=int, help="instead of 1000 and the usual number")
    parser.add_argument("--quick", action="store_true", help="measure no times")
    options = parser.parse_args()
    names = options.only or list(N_ROWS)
    if options.interactions:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, n_rows in (N_ROWS | N_CROSSED_ROWS).items():
                if name in names or name in N_CROSSED_ROWS:
                    report_products(name, n_rows, options.seeds)
        return 0
    sizes = {name: options.rows or (SMALL_ROWS, N_ROWS[name]) for name in names}
    kept = [
        report(name, n, options.seeds, is_quick=options.quick)
        for name in names
        for n in sizes[name]
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
