"""Fit the pipeline of the plain way and save it for MLServer; see serving.py.

    PYTHON_WITH_MLSERVER benchmarks/mlserver_model.py TABLE.csv FOLDER

It runs in an environment of its own, with mlserver and mlserver-sklearn, and imports nothing of
this project.
"""

import json
import sys
from pathlib import Path

import joblib
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

FEATURES = ["lastmonth_activity", "lastyear_activity", "number_of_employees"]
SETTINGS = {
    "name": "adras",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib"},
}

if __name__ == "__main__":
    table, folder = pd.read_csv(sys.argv[1]), Path(sys.argv[2])
    pipeline = make_pipeline(SimpleImputer(strategy="median"), LogisticRegression(max_iter=1000))
    # Fitted to an array, since a tensor has no column names.
    pipeline.fit(table[FEATURES].to_numpy(float), table["exited"].astype(int))
    joblib.dump(pipeline, folder / "model.joblib")
    (folder / "model-settings.json").write_text(json.dumps(SETTINGS))
