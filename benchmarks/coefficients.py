"""Compare the model of an installation with scikit-learn's own fit to the same rows.

    python -m benchmarks.coefficients CONFIG.json [--limit 1e-4]

Reads the latest dataset and model of an installation with numeric features, splits the rows as
training does, and fits LogisticRegression to the same columns with a tolerance of 1e-10. The
difference is the distance of either fit from the minimum.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from scripts.core import artifacts
from scripts.core.artifacts import Kind
from scripts.core.config_file import read_config
from scripts.model import logistic_model
from scripts.model.logistic_model import Model

TOLERANCE = 1e-10


def fit_reference(dataset_path: Path, used: Model) -> LogisticRegression:
    """Fit scikit-learn's regression to the training rows of a dataset, scaled like the model."""
    features = [term.column for term in used.numeric]
    table = pd.read_csv(dataset_path, usecols=[*features, used.schema.target])
    X, y = table[features].to_numpy(np.float64), table[used.schema.target].to_numpy()
    del table
    settings = used.settings
    X, _, y, _ = train_test_split(
        X, y, test_size=settings["validation_fraction"], random_state=settings["random_state"]
    )
    means = np.array([term.mean for term in used.numeric])
    X = (X - means) / np.array([term.scale for term in used.numeric])
    regression = LogisticRegression(
        C=settings["C"], solver="newton-cholesky", tol=TOLERANCE, max_iter=1000
    )
    return regression.fit(X, y)


def main() -> None:
    """Print the difference of each coefficient, and fail above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--limit", type=float, default=1e-4)
    chosen = parser.parse_args()
    config = read_config(chosen.config)
    model_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    used = logistic_model.load_model(model_path)
    dataset_path = artifacts.find_latest(config.output_folder_path, Kind.DATASET, "ingestion")
    fitted = fit_reference(dataset_path, used)
    ours = np.array([*(term.coefficient for term in used.numeric), used.intercept])
    theirs = np.array([*fitted.coef_[0], *fitted.intercept_])
    furthest = float(np.abs(ours / theirs - 1).max())
    print(
        f"coefficients of {used.n_training_rows} rows: at most {furthest:.1e} (relative) from"
        f" scikit-learn's, required at most {chosen.limit:g}:"
        f" {'met' if furthest <= chosen.limit else 'NOT MET'}"
    )
    sys.exit(not furthest <= chosen.limit)


if __name__ == "__main__":
    main()
