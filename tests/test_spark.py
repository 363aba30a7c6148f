"""The whole process on a real standalone cluster: one master, two workers, one of them killed."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from scripts import (
    app,
    artifacts,
    dataset,
    evaluation,
    ingestion,
    model,
    monitoring,
    reference,
    regression,
    training,
)
from scripts import config as config_module
from scripts.artifacts import Kind
from scripts.config import Config
from scripts.errors import DatasetError
from scripts.model import CategoricalTerm, Model, NumericTerm
from scripts.regression import BLANK_WEIGHT, RAW, SCALED
from tests.service import ROOT
from tests.sparkcluster import LOOPBACK, Cluster, running_cluster, why_not

NAMES = ("corporation", "lastmonth_activity", "lastyear_activity", "number_of_employees", "plan")
HEADER = ",".join((*NAMES, "exited"))
PLANS = ["basic"] * 50 + ["gold"] * 30 + ["trial"] * 19 + [""]
RARE = ["legacy", "partner"]
SCHEMA = {
    "target": "exited", "positive": 1, "ids": ["corporation"], "numeric": list(NAMES[1:4]),
    "categorical": ["plan"], "minimum": {"number_of_employees": 0},
}  # fmt: skip
HOSTILE = [
    'q1,12,900,4,"ba\nsic",1',  # a line end within quotes
    '"q,2",8,800,7,gold,0',
    "w1,many,800,7,gold,0",
    "w2,8,800,-7,gold,0",
    "w3,8,800,7,gold,2",
    "w4,8,800,7",
    "u1,8,800,7,gold,",
    "u2,9,900,7,basic,",
    "u2,9,900,8,basic,1",  # what became of u2 is known
]


def make_lines(n_rows: int, seed: int, prefix: str) -> list[str]:
    """Make clients of whom the quiet ones and those on trial leave, with blanks and rare plans."""
    random, lines = Random(seed), []
    for number in range(n_rows):
        month, year = random.randrange(200), random.randrange(2000)
        plan = random.choice(RARE) if random.random() < 0.006 else random.choice(PLANS)
        risk = 2.0 - month / 40 + (plan == "trial") + random.gauss(0, 1.5)
        shown = "" if random.random() < 0.05 else str(month)
        size = random.randrange(1, 90)
        lines.append(f"{prefix}{number},{shown},{year},{size},{plan},{int(risk > 0)}")
    return lines


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a file of clients."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *lines]) + "\n")


def write_installation(folder: Path, engine: dict[str, Any]) -> Path:
    """Write an installation whose input has duplicates, hostile rows and a refused file."""
    first = make_lines(2500, 1, "a")
    write_lines(folder / "input" / "a.csv", [*first, *HOSTILE])
    write_lines(folder / "input" / "b.csv", [*make_lines(1500, 2, "b"), *first[:700]])
    write_lines(folder / "input" / "c.csv", make_lines(800, 3, "c"))
    (folder / "input" / "d.csv").write_text("nobody,knows\n1,2\n")
    write_lines(folder / "test" / "test.csv", make_lines(600, 4, "t"))
    settings = {
        "input_folder_path": "input", "output_folder_path": "output", "test_data_path": "test",
        "output_model_path": "models", "prod_deployment_path": "prod", "schema": SCHEMA,
        "ingestion": {"settle_s": 0}, "run": {"timeout_minutes": 30}, "engine": engine,
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    return path


def environment(folder: Path) -> dict[str, str]:
    """Say how a driver finds its place and its memory, as an administrator would."""
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "spark-defaults.conf").write_text(
        "spark.driver.memory 512m\nspark.executor.memory 512m\nspark.sql.shuffle.partitions 4\n"
    )
    return os.environ | {"SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": LOOPBACK}


def run_module(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of ours to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip


@dataclass(frozen=True)
class Done:
    """An installation on a cluster, after a run of the whole process and one that lost a worker."""

    config: Config
    first: Model
    first_path: Path
    second: Model
    dataset_path: Path
    n_alive: int
    probed: dict[str, Any]


def kill_in_the_middle(folder: Path, config_path: Path, cluster: Cluster) -> None:
    """Run the whole process again, and kill a worker as soon as the dataset is written."""
    command = [sys.executable, "-m", "scripts.fullprocess", "--config", str(config_path)]
    with subprocess.Popen(
        [*command, "--force", "one worker will die"],
        cwd=ROOT, env=environment(folder), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "ingestion: Wrote" in line and ".parquet" in line:
                cluster.kill(cluster.processes[1])
                assert process.poll() is None
        assert process.wait() == 0, "".join(said)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Run everything once."""
    if why_not():
        pytest.skip(why_not())
    folder = tmp_path_factory.mktemp("spark [1]")  # Spark would take brackets for a pattern
    with running_cluster(folder / "cluster") as cluster:
        path = write_installation(folder, {"name": "spark", "master": cluster.master})
        ran = run_module(folder, "scripts.fullprocess", "--config", str(path))
        assert ran.returncode == 0, ran.stderr
        config = config_module.read_config(path)
        first_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
        dataset_path = artifacts.find_latest(config.output_folder_path, Kind.PARTS, "ingestion")
        kill_in_the_middle(folder, path, cluster)
        n_alive = cluster.n_alive()
        arguments = [str(path), str(first_path), str(dataset_path)]
        probed = run_module(folder, "tests.sparkprobe", *arguments)
        assert probed.returncode == 0, probed.stderr
    second_path = artifacts.find_latest(config.output_model_path, Kind.MODEL, "training")
    return Done(
        config, model.load_model(first_path), first_path, model.load_model(second_path),
        dataset_path, n_alive, json.loads(probed.stdout.splitlines()[-1]),
    )  # fmt: skip


def test_in_ci_the_cluster_is_not_left_out() -> None:
    if "ADRAS_CI_SPARK" not in os.environ:
        pytest.skip("only `.ci/run spark` promises a cluster")

    assert why_not() == ""


@pytest.fixture(scope="module")
def here(done: Done) -> tuple[pd.DataFrame, pd.DataFrame, list[Any]]:
    """Read the same files by the pandas engine."""
    paths = artifacts.list_tables(done.config.input_folder_path)
    return ingestion.read_input(paths, done.config.schema)


def read_parts(path: Path) -> pd.DataFrame:
    """Read the parts of a dataset without Spark."""
    return pd.concat([pd.read_parquet(part) for part in path.glob("part-*")])


def test_the_dataset_is_the_same_set_of_rows(done: Done, here: Any) -> None:
    table, clients, _ = here
    names = list(done.config.schema.columns)

    made = read_parts(done.dataset_path)

    rows = made[names].astype({"exited": int}).sort_values(names, ignore_index=True)
    expected = table[names].sort_values(names, ignore_index=True)
    pd.testing.assert_frame_equal(
        rows, expected, check_dtype=False, check_exact=True, check_column_type=False
    )
    assert clients["corporation"].tolist() == ["u1"]
    assert (done.dataset_path / "_SUCCESS").exists()
    assert not list(done.dataset_path.parent.glob(".*"))


def test_what_is_rejected_is_said_in_the_same_bytes(done: Done, here: Any) -> None:
    from scripts import findings

    _, _, readings = here
    rejected = Kind.REJECTED.path(
        done.config.output_folder_path, artifacts.stamp_of(done.dataset_path)
    )

    assert rejected.read_text() == findings.spell_rejected(readings)
    assert rejected.read_text().count("\n") == 1 + 5 + 1
    assert sum(found.n_rows for found in readings) == 2509 + 2200 + 800


def fit_here(done: Done, table: pd.DataFrame) -> Pipeline:
    """Fit the pandas engine's pipeline to the rows that the cluster fitted to."""
    from scripts import sparkdata

    config, schema = done.config, done.config.schema
    shares = sparkdata.share_rows(table, schema, config.training.random_state)
    rows = table[shares >= config.training.validation_fraction]
    assert len(rows) == done.first.n_training_rows
    X, y = dataset.features(rows, schema), dataset.target(rows, schema)
    form = RAW if done.first.numeric[0].scale == 1.0 else SCALED
    pipeline = regression.make_pipeline(X, schema, config.training, form)
    # scikit-learn stops by default where the sixth digit may still change.
    return pipeline.set_params(regression__tol=1e-9).fit(X, y)


def numbers_of(
    numeric: tuple[NumericTerm, ...], categorical: tuple[CategoricalTerm, ...]
) -> dict[str, float]:
    """List coefficients, medians and scales by what they belong to."""
    found: dict[str, float] = {}
    for term in numeric:
        facts = msgspec.structs.asdict(term)
        found |= {f"{term.column} {key}": facts[key] for key in facts if key != "column"}
    for one in categorical:
        found |= {f"{one.column} {text!r}": effect for text, effect in one.effects.items()}
        found[f"{one.column} rare"] = float(len(one.rare))
    return found


def test_coefficients_are_those_of_the_pandas_engine_on_the_same_split(
    done: Done, here: Any
) -> None:
    fitted, schema = fit_here(done, here[0]), done.config.schema
    slope = done.first.validation["calibration_slope"]
    offset = done.first.validation["calibration_offset"]
    assert slope is not None
    assert offset is not None
    fitted["regression"].coef_ = fitted["regression"].coef_ * slope

    expected = numbers_of(
        training.numeric_terms(fitted, schema), training.categorical_terms(fitted, schema)
    )

    found = numbers_of(done.first.numeric, done.first.categorical)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert set(done.first.categorical[0].rare) == set(RARE)
    assert done.first.numeric[0].missing_coefficient != 0
    assert done.first.intercept == pytest.approx(
        fitted["regression"].intercept_[0] * slope + offset, rel=1e-6
    )


def test_mllib_finds_the_same_minimum(done: Done) -> None:
    found, slope = done.probed["mllib"], done.first.validation["calibration_slope"]
    assert slope is not None
    offset = done.first.validation["calibration_offset"]
    ours = [term.coefficient for term in done.first.numeric]
    missing = [term.missing_coefficient for term in done.first.numeric]
    ours += [coefficient / BLANK_WEIGHT for coefficient in missing if coefficient]
    for term in done.first.categorical:
        ours += [*term.coefficients, term.rare_coefficient]

    theirs = [*(slope * value for value in found["coefficients"]), slope * found["intercept"]]

    expected = [*ours, done.first.intercept - (offset or 0.0)]
    assert theirs == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_the_facts_of_the_dataset_are_those_of_the_pandas_engine(done: Done, here: Any) -> None:
    table, schema, facts = here[0], done.config.schema, done.first.dataset
    expected = reference.add_reference(
        msgspec.structs.replace(
            done.first,
            dataset=training.describe_dataset(table, facts.sha256, schema),
        ),
        table,
    ).dataset

    assert facts.reference is not None
    assert expected.reference is not None
    for name in ("numeric", "categorical", "row_hashes"):
        assert getattr(facts.reference, name) == getattr(expected.reference, name)
    for name, moments in expected.reference.contributions.items():
        found = facts.reference.contributions[name]
        assert msgspec.structs.astuple(found) == pytest.approx(msgspec.structs.astuple(moments))
    assert facts.typical == expected.typical
    assert facts.missing_fractions == pytest.approx(expected.missing_fractions)
    assert (facts.n_rows, facts.n_positives) == (expected.n_rows, expected.n_positives)
    for found_one, expected_one in zip(facts.summary, expected.summary, strict=True):
        assert found_one.column == expected_one.column
        assert msgspec.structs.astuple(found_one)[1:] == pytest.approx(
            msgspec.structs.astuple(expected_one)[1:], rel=1e-12
        )


def test_the_score_is_that_of_the_same_model_on_the_same_rows(done: Done) -> None:
    table, _ = dataset.read_test_table(done.config.test_data_path, done.config.schema)
    score_path = Kind.SCORE.path(done.config.output_model_path, artifacts.stamp_of(done.first_path))
    said = dict(
        line.split(" ", 1) for line in score_path.read_text().splitlines()[1:] if " " in line
    )

    measured = evaluation.evaluate_model(done.first, table).as_dict()

    assert float(score_path.read_text().splitlines()[0]) == measured.pop("f1")
    auc = measured.pop("roc_auc")
    assert float(said.pop("roc_auc")) == pytest.approx(auc, abs=1e-5)
    assert said == {name: str(value) for name, value in measured.items()}


def test_the_pickle_is_the_same_regression(done: Done) -> None:
    pickle_path = Kind.PICKLE.path(
        done.config.output_model_path, artifacts.stamp_of(done.first_path)
    )
    table, _ = dataset.read_test_table(done.config.test_data_path, done.config.schema)

    estimator = pickle.loads(pickle_path.read_bytes())

    X = dataset.features(table, done.config.schema)
    predicted, probability = evaluation.predict_table(done.first, table)
    assert estimator.predict_proba(X)[:, 1] == pytest.approx(probability, rel=0, abs=1e-12)
    assert np.array_equal(estimator.predict(X), predicted)


def test_the_service_answers_from_what_the_cluster_made(done: Done, here: Any) -> None:
    client = app.create_app(done.config.output_model_path.parent / "config.json").test_client()
    rows = here[0].head(5)[list(done.config.schema.features)]

    answer = client.post(
        "/predict", data=rows.to_json(orient="table"), content_type="application/json"
    )

    assert answer.status_code == 200
    _, probability = evaluation.predict_table(done.first, here[0].head(5))
    assert answer.get_json()["probabilities"] == pytest.approx(probability.tolist())


def test_a_run_that_loses_a_worker_completes_with_the_same_model(done: Done) -> None:
    assert done.n_alive == 1
    assert done.second.dataset.sha256 == done.first.dataset.sha256
    assert done.second.threshold == pytest.approx(done.first.threshold, rel=1e-9)
    assert numbers_of(done.second.numeric, done.second.categorical) == pytest.approx(
        numbers_of(done.first.numeric, done.first.categorical), rel=1e-9
    )


def test_what_is_written_for_narwhals_cleans_on_spark_and_what_is_for_pandas_is_refused(
    done: Done,
) -> None:
    cleaned = done.probed["cleaned"]

    assert 0 < cleaned["with_narwhals"] == done.probed["n_active"] < done.probed["n_rows"]
    for name in ("with_a_mask", "with_assign", "with_nothing"):
        assert "does what only pandas can" in cleaned[name]
        assert "narwhals.from_native(table).filter" in cleaned[name]


def test_what_only_the_pandas_engine_does_says_so(done: Done) -> None:
    with pytest.raises(DatasetError, match="dataset of the Spark engine, in parts"):
        monitoring.main(done.config, dataset_path=done.dataset_path)
