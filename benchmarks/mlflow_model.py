"""Fit the pipeline of the plain way and save it for MLflow's scoring server; see serving.py.

    PYTHON_WITH_MLFLOW benchmarks/mlflow_model.py TABLE.csv FOLDER

It runs in an environment of its own and imports nothing of this project.
"""

import sys

import mlflow.sklearn
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

FEATURES = ["lastmonth_activity", "lastyear_activity", "number_of_employees"]

if __name__ == "__main__":
    table = pd.read_csv(sys.argv[1])
    pipeline = make_pipeline(SimpleImputer(strategy="median"), LogisticRegression(max_iter=1000))
    pipeline.fit(table[FEATURES].astype(float), table["exited"].astype(int))
    mlflow.sklearn.save_model(
        pipeline,
        sys.argv[2],
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
    )
