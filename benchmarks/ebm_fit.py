"""Fit an explainable boosting machine in an environment of its own; print probabilities and CPU.

Called by `benchmarks.additive --ebm PYTHON` with a folder: training.csv and test.csv have
the features, training_y.npy the target. The environment needs interpret-core and pandas.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

# The library has an environment of its own, so mypy does not find it here.
from interpret.glassbox import (  # type: ignore[import-not-found]
    ExplainableBoostingClassifier,
)


def main(folder: Path) -> None:
    """Fit to the training rows, and write the probabilities of the test rows and the CPU time."""
    training, test = (pd.read_csv(folder / f"{name}.csv") for name in ("training", "test"))
    started = time.process_time()
    # One process, so that its CPU time is the whole one.
    fitted = ExplainableBoostingClassifier(n_jobs=1, random_state=0)
    fitted.fit(training, np.load(folder / "training_y.npy"))
    taken = time.process_time() - started
    np.save(folder / "probability.npy", fitted.predict_proba(test)[:, 1])
    print(taken)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
