"""Compare a model fitted to drawn rows with a fit to all rows, by the log loss of new rows.

    python -m benchmarks.sampling CONFIG.json [--limit 1e-4] [--rows 500000]

Reads the latest dataset and model of an installation on tables of `large_data.py`, fits
scikit-learn's LogisticRegression to all rows of the dataset, and makes new clients.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from benchmarks import large_data
from scripts.core import artifacts
from scripts.core.artifacts import Kind
from scripts.core.config_file import read_config
from scripts.model import logistic_model
from scripts.model.logistic_model import Model

TOLERANCE = 1e-10
FIRST_NEW_CLIENT = 3 * 10**9


def fit_all(dataset_path: Path, used: Model) -> LogisticRegression:
    """Fit scikit-learn's regression to all rows of a dataset."""
    features = list(used.schema.numeric)
    table = pd.read_csv(dataset_path, usecols=[*features, used.schema.target])
    X, y = table[features].to_numpy(np.float64), table[used.schema.target].to_numpy()
    del table
    regression = LogisticRegression(
        C=used.settings["C"], solver="newton-cholesky", tol=TOLERANCE, max_iter=1000
    )
    return regression.fit(X, y)


def main() -> None:
    """Print both log losses and their difference, and fail above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--limit", type=float, default=1e-4)
    parser.add_argument("--rows", type=int, default=500_000)
    chosen = parser.parse_args()
    config = read_config(chosen.config)
    model_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    used = logistic_model.load_model(model_path)
    dataset_path = artifacts.find_latest(config.output_folder_path, Kind.DATASET, "ingestion")
    fitted = fit_all(dataset_path, used)
    new = large_data.make_rows(large_data.clients_of(FIRST_NEW_CLIENT, chosen.rows), inverted=False)
    columns = {name: new[name].to_numpy().astype(np.float64) for name in used.schema.numeric}
    y = new[used.schema.target].to_numpy()
    ours = log_loss(y, logistic_model.probabilities(used, columns))
    theirs = log_loss(y, fitted.predict_proba(np.column_stack([*columns.values()]))[:, 1])
    facts = used.dataset
    print(
        f"log loss of {chosen.rows} new rows: {ours:.6f} of the model fitted to"
        f" {facts.n_drawn_rows or facts.n_rows} of {facts.n_rows} rows, {theirs:.6f} of a fit to"
        f" all; difference {ours - theirs:+.6f}, required at most {chosen.limit:g}:"
        f" {'met' if ours - theirs <= chosen.limit else 'NOT MET'}"
    )
    sys.exit(not ours - theirs <= chosen.limit)


if __name__ == "__main__":
    main()
