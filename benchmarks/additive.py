"""Our model beside boosting, a tuned logistic regression and an EBM, on tables that bend.

For each table and seed all are fitted to the same training rows and evaluated on the same 20,000
test rows: ROC AUC, F1, log loss, calibration error in ten bins, and the CPU time of fitting. The
calibration error is the distance from the true risks where the table knows them: that from the
outcomes of 20,000 rows with 1 % leavers would be chance alone. The output has the means over the
seeds, and whether they meet the limits. Log loss and calibration error miss theirs by more than a
standard error. Boosting is scikit-learn's HistGradientBoostingClassifier, the regression its
LogisticRegression on scaled and one-hot encoded columns; both get their threshold from
TunedThresholdClassifierCV. The tables are those of `shaped_tables.py`; --today adds the ten of
`quality.py`, with their own test rows.

--only takes some of the tables, --seeds more or fewer seeds. --ebm PYTHON adds an explainable
boosting machine: the interpreter of an environment with interpret-core, as its fit needs minutes.
--cost measures instead the CPU time and the memory of 1 million rows of 3 and of 20 columns.
"""

# First, as in every program of ours: it keeps OpenBLAS to one thread before numpy is imported. Two
# threads that wait for each other by spinning took ten times the CPU of a fit.
import scripts  # noqa: F401 isort: skip
import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.model_selection import TunedThresholdClassifierCV

from benchmarks import quality, shaped_tables
from scripts.core.config import Config, Schema
from scripts.core.config_file import FOLDER_KEYS, read_config
from scripts.data import dataset
from scripts.model import candidate, metrics
from scripts.model.logistic_model import Model

Floats = NDArray[np.float64]
N_SEEDS, N_BINS = 5, 10
N_LARGE_ROWS = 1_000_000
MAX_AUC_LOSS, MAX_STRAIGHT_LOSS, MIN_F1_RATIO = 0.005, 0.002, 0.99
MIN_EBM_RATIO, MAX_COST_RATIO, MAX_MEMORY_MB = 20.0, 3.0, 1024
FIGURES = ("AUC", "F1", "log loss", "calibration", "CPU")


@dataclass(frozen=True)
class Split:
    """Training and test rows of a table, with the schema, and the true risks of the test rows."""

    config: Config
    training: pd.DataFrame
    test: pd.DataFrame
    risk: Floats | None = None

    @property
    def schema(self) -> Schema:
        """The columns."""
        return self.config.schema

    @property
    def y_test(self) -> NDArray[np.int64]:
        """The outcomes of the test rows."""
        return dataset.target(self.test, self.schema)


def make_config(schema: Schema) -> Config:
    """Return a configuration with a schema, of folders that are not used."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps({key: key for key in FOLDER_KEYS}))
        return msgspec.structs.replace(read_config(path), schema=schema)


def draw_shaped(name: str, seed: int) -> Split:
    """Draw training and test rows of a shaped table."""
    drawn = shaped_tables.draw(name, seed)
    columns = drawn[0].columns
    schema = Schema(
        target="left",
        ids=(),
        numeric=tuple(name for name, values in columns.items() if values.dtype != object),
        categorical=tuple(name for name, values in columns.items() if values.dtype == object),
        minimum={},
    )
    training, test = (pd.DataFrame({**rows.columns, "left": rows.y}) for rows in drawn)
    return Split(make_config(schema), training, test, shaped_tables.sigmoid(drawn[1].log_odds))


def draw_today(name: str, seed: int) -> Split:
    """Draw training and test rows of a table of `quality.py`, such as "bank 1000"."""
    kind, n_rows = name.split()
    with tempfile.TemporaryDirectory() as folder:
        return Split(*quality.read_both(kind, int(n_rows), seed, Path(folder)))


def calibration_error(real: NDArray[Any], probability: Floats) -> float:
    """Compute the mean distance of predicted and real shares over ten bins of equal size.

    The real shares are of the true risks, or of the outcomes where no risk is known.
    """
    edges = np.quantile(probability, np.linspace(0, 1, N_BINS + 1)[1:-1])
    bins = np.searchsorted(edges, probability)
    parts = [bins == number for number in range(N_BINS)]
    return float(sum(abs(probability[own].sum() - real[own].sum()) for own in parts) / len(real))


def measure(
    split: Split, probability: Floats, predicted: NDArray[np.int64], taken: float
) -> Floats:
    """Return the figures of a model on test rows."""
    y = split.y_test
    real = y if split.risk is None else split.risk
    return np.array(
        [
            roc_auc_score(y, probability), f1_score(y, predicted), log_loss(y, probability),
            calibration_error(real, probability), taken,
        ]
    )  # fmt: skip


def as_frames(split: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the features of both parts, with categories for boosting."""
    X, X_test = (dataset.features(part, split.schema) for part in (split.training, split.test))
    for name in split.schema.categorical:
        X[name] = pd.Categorical(X[name])
        X_test[name] = pd.Categorical(X_test[name], categories=X[name].cat.categories)
    return X, X_test


def measure_ours(split: Split) -> tuple[Floats, Model]:
    """Fit and measure our model."""
    started = time.process_time()
    fitted = candidate.fit_candidate(split.training, "", split.config).model
    taken = time.process_time() - started
    predicted, probability = metrics.predict_table(fitted, split.test)
    return measure(split, probability, predicted, taken), fitted


def measure_theirs(split: Split, kind: str) -> Floats:
    """Fit and measure boosting or the regression, with a tuned threshold."""
    X, X_test = as_frames(split)
    y = dataset.target(split.training, split.schema)
    estimator: Any = quality.make_regression(split.schema)
    if kind == "boosting":
        estimator = HistGradientBoostingClassifier(
            categorical_features="from_dtype", random_state=0
        )
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = TunedThresholdClassifierCV(estimator, scoring="f1", cv=5).fit(X, y)
        taken = time.process_time() - started
        probability = fitted.predict_proba(X_test)[:, 1]
    predicted = (probability >= fitted.best_threshold_).astype(np.int64)
    return measure(split, probability, predicted, taken)


def measure_ebm(split: Split, python: str) -> Floats:
    """Fit and measure an explainable boosting machine, without a tuned threshold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, table in (("training", split.training), ("test", split.test)):
            dataset.features(table, split.schema).to_csv(folder / f"{part}.csv", index=False)
        np.save(folder / "training_y.npy", dataset.target(split.training, split.schema))
        command = [python, str(Path(__file__).with_name("ebm_fit.py")), str(folder)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        probability = np.load(folder / "probability.npy")
    predicted = (probability >= 0.5).astype(np.int64)
    return measure(split, probability, predicted, float(answer.stdout))


def compare(split: Split, ebm: str) -> tuple[dict[str, Floats], Model]:
    """Fit and measure all models on a table."""
    ours, fitted = measure_ours(split)
    found = {"ours": ours}
    found |= {kind: measure_theirs(split, kind) for kind in ("boosting", "regression")}
    if ebm:
        found["EBM"] = measure_ebm(split, ebm)
    return found, fitted


def compare_losses(of_seeds: dict[str, Floats], place: int) -> tuple[float, float]:
    """Return by how much our loss exceeds the lower one of the others, and the standard error."""
    means = {kind: found[:, place].mean() for kind, found in of_seeds.items()}
    best = min(("boosting", "regression"), key=means.__getitem__)
    more = of_seeds["ours"][:, place] - of_seeds[best][:, place]
    error = more.std(ddof=1) / len(more) ** 0.5 if len(more) > 1 else 0.0
    return float(more.mean()), float(error)


def find_misses(of_seeds: dict[str, Floats]) -> list[str]:
    """Return the limits that the means of a table miss, those of losses by a standard error."""
    mean = {kind: found.mean(axis=0) for kind, found in of_seeds.items()}
    ours, boosting, regression = mean["ours"], mean["boosting"], mean["regression"]
    checks = {
        f"AUC {ours[0] - boosting[0]:+.4f} beside boosting": ours[0] >= boosting[0] - MAX_AUC_LOSS,
        f"AUC {ours[0] - regression[0]:+.4f} beside the regression": (
            ours[0] >= regression[0] - MAX_STRAIGHT_LOSS
        ),
    }
    for name, place in (("log loss", 2), ("calibration", 3)):
        more, error = compare_losses(of_seeds, place)
        checks[f"{name} {more:+.4f} (se {error:.4f})"] = more <= error
    if "EBM" in mean:
        ratio = mean["EBM"][4] / ours[4]
        checks[f"EBM's CPU only {ratio:.0f} times ours"] = ratio >= MIN_EBM_RATIO
    return [text for text, is_met in checks.items() if not is_met]


def report(label: str, splits: Any, ebm: str) -> tuple[float, bool]:
    """Print the means of a table; return the F1 ratio and whether every limit is met."""
    results, models = zip(*(compare(split, ebm) for split in splits), strict=True)
    of_seeds = {kind: np.array([result[kind] for result in results]) for kind in results[0]}
    mean = {kind: found.mean(axis=0) for kind, found in of_seeds.items()}
    ratio = float(mean["ours"][1] / max(mean["boosting"][1], mean["regression"][1]))
    misses = find_misses(of_seeds)
    straight = sum(fitted.is_straight for fitted in models)
    print(
        f"{label}: straight in {straight} of {len(models)},"
        f" pairs {[len(fitted.pairs) for fitted in models]}, F1 ratio {ratio:.3f};"
        f" {'missed: ' + ', '.join(misses) if misses else 'within the limits'}"
    )
    for kind, figures in mean.items():
        text = "  ".join(f"{n} {v:.4f}" for n, v in zip(FIGURES, figures, strict=True))
        print(f"    {kind:11} {text}", flush=True)
    return ratio, not misses


def make_large(n_columns: int) -> pd.DataFrame:
    """Return a large table with bends in the first columns."""
    random = np.random.default_rng(n_columns)
    x = random.normal(size=(n_columns, N_LARGE_ROWS)).round(4)
    log_odds = 0.7 * x[0] ** 2 + 0.5 * x[1] * x[2] - 0.4 * np.maximum(x[2], 0) - 2
    y = (random.random(N_LARGE_ROWS) < shaped_tables.sigmoid(log_odds)).astype(np.int64)
    return pd.DataFrame({**{f"x{i}": values for i, values in enumerate(x)}, "left": y})


def measure_cost(n_columns: int, kind: str) -> None:
    """Fit a large table, and print CPU seconds and the peak of memory of this process."""
    table = make_large(n_columns)
    names = tuple(str(name) for name in table if name != "left")
    config = make_config(Schema(target="left", ids=(), numeric=names, categorical=(), minimum={}))
    training = msgspec.structs.replace(config.training, model=kind)
    started = time.process_time()
    fitted = candidate.fit_candidate(
        table, "", msgspec.structs.replace(config, training=training)
    ).model
    taken = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"taken": taken, "peak_mb": peak, "pairs": len(fitted.pairs)}))


def report_cost(n_columns: int) -> bool:
    """Print the cost of straight and additive fits, each in a process; return whether it is met."""
    found = {}
    for kind in ("linear", "additive"):
        command = [sys.executable, "-m", "benchmarks.additive", "--fit", str(n_columns), kind]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        found[kind] = json.loads(answer.stdout)
    ratio = found["additive"]["taken"] / found["linear"]["taken"]
    print(f"{N_LARGE_ROWS} rows x {n_columns}: CPU {ratio:.2f} times; {found}", flush=True)
    return bool(ratio <= MAX_COST_RATIO) and bool(found["additive"]["peak_mb"] <= MAX_MEMORY_MB)


def main() -> int:
    """Compare on every table, and return 1 unless the limits are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="tables of each kind")
    parser.add_argument("--only", nargs="+", help="some of the tables, by name")
    parser.add_argument("--today", action="store_true", help="also the tables of quality.py")
    parser.add_argument("--ebm", default="", help="the interpreter with interpret-core")
    parser.add_argument("--cost", action="store_true", help="CPU and memory of a million rows")
    parser.add_argument("--fit", nargs=2, metavar=("COLUMNS", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit:
        measure_cost(int(arguments.fit[0]), arguments.fit[1])
        return 0
    if arguments.cost:
        met = [report_cost(n_columns) for n_columns in (3, 20)]
        return 0 if all(met) else 1
    draws = dict.fromkeys(shaped_tables.TABLES, draw_shaped)
    if arguments.today:
        labels = [f"{k} {n}" for k, own in quality.N_ROWS.items() for n in (own, 1000)]
        draws |= dict.fromkeys(labels, draw_today)
    results = [
        report(name, [draw(name, seed) for seed in range(arguments.seeds)], arguments.ebm)
        for name, draw in draws.items()
        if not arguments.only or name in arguments.only
    ]
    ratio = float(np.mean([own for own, _ in results]))
    print(f"F1 ratio on average {ratio:.3f}")
    return 0 if ratio >= MIN_F1_RATIO and all(is_met for _, is_met in results) else 1


if __name__ == "__main__":
    sys.exit(main())
