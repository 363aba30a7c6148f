"""The fit, its threshold, and the model as plain numbers."""

import pickle
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from scripts import ingestion, training
from scripts.core import capacity
from scripts.core.config import Config, EngineSettings, Schema, TrainingSettings
from scripts.core.errors import InsufficientDataError, NotMadeYetError
from scripts.data import dataset
from scripts.model import candidate as candidates
from scripts.model import decision_threshold, fit, logistic_model
from tests.conftest import SMALL_ROWS, make_rows, write_csv

SCHEMA = Schema()


def read_rows(tmp_path: Path, rows: list[str], schema: Schema = SCHEMA) -> pd.DataFrame:
    """Read rows as a table."""
    return dataset.read_tables([write_csv(tmp_path / "rows.csv", rows)], schema)[0]


def test_prepare_dataset_splits_26_rows_into_23_and_3(tmp_path: Path) -> None:
    table = read_rows(tmp_path, SMALL_ROWS)

    split = fit.prepare_dataset(table, SCHEMA, TrainingSettings(), create_val_data=True)

    assert split["training"]["X"].shape == (23, 3)
    assert split["val"]["X"].shape == (3, 3)
    assert len(split["training"]["y"]) == 23


def test_prepare_dataset_without_a_split_gives_the_table_without_identifiers(
    tmp_path: Path,
) -> None:
    table = read_rows(tmp_path, SMALL_ROWS)

    prepared = fit.prepare_dataset(table, SCHEMA, TrainingSettings(), create_val_data=False)

    assert list(prepared.columns) == [*SCHEMA.features, "exited"]
    assert len(prepared) == 26


def test_the_coefficients_are_those_of_plain_logistic_regression(
    tmp_path: Path, config: Config
) -> None:
    table = read_rows(tmp_path, SMALL_ROWS)

    fitted = candidates.fit_candidate(table, "0" * 64, config).model

    split = fit.prepare_dataset(table, SCHEMA, TrainingSettings(), create_val_data=True)
    plain = LogisticRegression(solver="newton-cholesky")
    plain.fit(split["training"]["X"].to_numpy(), split["training"]["y"])
    assert [t.coefficient for t in fitted.numeric] == pytest.approx(plain.coef_[0], rel=1e-6)
    assert fitted.intercept == pytest.approx(plain.intercept_[0], rel=1e-6)
    assert fitted.threshold == 0.5


def test_a_quieter_client_is_more_at_risk(tmp_path: Path, config: Config) -> None:
    fitted = candidates.fit_candidate(read_rows(tmp_path, SMALL_ROWS), "", config).model
    columns = {name: np.array([100.0, 100.0]) for name in SCHEMA.features}

    quiet, busy = logistic_model.probabilities(
        fitted, columns | {"lastmonth_activity": np.array([1.0, 190.0])}
    )

    assert quiet > busy


def test_plain_numbers_give_sklearns_probabilities_on_10_000_rows_with_blanks(
    tmp_path: Path, config: Config
) -> None:
    random = Random(5)
    rows = [row.split(",") for row in make_rows(10_000, 3, noise=0.3)]
    for row in rows:
        if random.random() < 0.3:
            row[random.randrange(1, 4)] = ""
    table = read_rows(tmp_path, [",".join(row) for row in rows])
    candidate = candidates.fit_candidate(table, "", config)

    ours = logistic_model.probabilities(candidate.model, dataset.feature_arrays(table, SCHEMA))

    theirs = candidate.estimator.predict_proba(dataset.features(table, SCHEMA))[:, 1]
    assert np.abs(ours - theirs).max() <= 1e-12
    assert table.isna().any().any()


def test_categories_are_columns_of_their_own_and_unknown_ones_add_nothing(
    tmp_path: Path, config: Config
) -> None:
    schema = Schema(numeric=("lastmonth_activity",), categorical=("number_of_employees",))
    rows = [f"c{i},{i},0,{'red' if i % 3 else ''},{int(i % 3 == 0)}" for i in range(60)]
    table = read_rows(tmp_path, rows, schema)

    fitted = candidates.fit_candidate(table, "", _with_schema(config, schema)).model

    assert fitted.categorical[0].categories == ("", "red")
    blue = {"lastmonth_activity": np.array([0.0]), "number_of_employees": np.array(["blue"])}
    assert logistic_model.contributions(fitted, blue)["number_of_employees"].tolist() == [0.0]


def _with_schema(config: Config, schema: Schema) -> Config:
    """Return a config with another schema."""
    settings = {name: getattr(config, name) for name in config.__struct_fields__}
    return Config(**(settings | {"schema": schema}))


@pytest.mark.parametrize(
    ("settings", "n_rows", "expected"),
    [
        (TrainingSettings(decision_threshold=0.3), 200, 0.3),
        (TrainingSettings(), 90, 0.5),
    ],
)
def test_the_threshold_takes_the_declared_one_or_half_when_rows_are_few(
    config: Config, tmp_path: Path, settings: TrainingSettings, n_rows: int, expected: float
) -> None:
    table = read_rows(tmp_path, make_rows(n_rows, 1))
    used = msgspec.structs.replace(config, schema=SCHEMA, training=settings)

    assert candidates.fit_candidate(table, "", used).model.threshold == expected


def test_the_threshold_lowers_the_limit_when_exits_are_rare_and_noisy(
    config: Config, tmp_path: Path
) -> None:
    rows = [f"c{i},{i % 100},1,1,{int(i % 100 < 40 and i % 3 == 0)}" for i in range(1000)]
    table = read_rows(tmp_path, rows)

    fitted = candidates.fit_candidate(table, "", _with_schema(config, SCHEMA)).model

    assert 0 < fitted.threshold < 0.5


def test_main_writes_equal_models_for_equal_data(config: Config) -> None:
    ingestion.main(config)

    first, second = training.main(config), training.main(config)

    assert first.model_path != second.model_path
    assert first.model_path.read_bytes() == second.model_path.read_bytes()


def test_the_pickle_holds_the_estimator_with_its_threshold(config: Config) -> None:
    ingestion.main(config)
    made = training.main(config)

    estimator = pickle.loads(made.pickle_path.read_bytes())

    assert estimator.threshold == made.model.threshold
    assert set(estimator.predict(pd.DataFrame({n: [1.0] for n in SCHEMA.features}))) <= {0, 1}


def test_main_says_that_there_is_no_dataset_yet(config: Config) -> None:
    with pytest.raises(NotMadeYetError, match="run python -m scripts.ingestion first"):
        training.main(config)


@pytest.mark.parametrize(
    "rows", [SMALL_ROWS[:1], [row for row in SMALL_ROWS if row.endswith(",1")]]
)
def test_one_row_or_one_class_is_insufficient(
    tmp_path: Path, config: Config, rows: list[str]
) -> None:
    with pytest.raises(InsufficientDataError):
        candidates.fit_candidate(read_rows(tmp_path, rows), "", config)


def test_a_column_of_blanks_only_is_no_obstacle(tmp_path: Path, config: Config) -> None:
    rows = [",".join([*row.split(",")[:3], "", row.split(",")[4]]) for row in SMALL_ROWS]

    fitted = candidates.fit_candidate(read_rows(tmp_path, rows), "", config).model

    assert fitted.numeric[2].median == 0.0


@pytest.mark.parametrize(
    ("y", "predicted"),
    [([1, 1, 0, 0], [1, 0, 1, 0]), ([1, 1, 0], [1, 1, 0]), ([1, 0], [0, 1]), ([1, 1], [0, 0])],
)
def test_the_fast_f1_of_the_threshold_is_scikit_learns(y: list[int], predicted: list[int]) -> None:
    probability = np.array(predicted, dtype=np.float64)

    (ours,) = decision_threshold.f1_at(np.array([0.5]), np.array(y), probability)

    assert ours == f1_score(y, predicted)


def many_rows(n_rows: int) -> list[str]:
    """Return clients of whom a third leaves."""
    random = Random(7)
    return [
        f"client{n},{random.randint(0, 90)},{random.randint(90, 900)},{n % 50},{n % 3 == 0:d}"
        for n in range(n_rows)
    ]


@pytest.mark.parametrize(("gigabytes", "limit"), [(None, 10**9), (None, 1_000), (1e-6, 10**9)])
def test_the_log_and_the_model_tell_of_how_many_rows_were_drawn(
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    gigabytes: float | None,
    limit: int,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(capacity, "MANY_ROWS", limit)
    write_csv(config.input_folder_path / "many.csv", many_rows(3_000))
    config = msgspec.structs.replace(
        config, training=TrainingSettings(max_rows=2_000),
        engine=EngineSettings(memory_limit_gb=gigabytes),
    )  # fmt: skip
    ingested = ingestion.main(config)

    made = training.main(config)

    facts = logistic_model.load_model(made.model_path).dataset
    n_rows = facts.n_rows
    assert (facts.n_drawn_rows, n_rows) == (2_000, ingested.n_rows)
    assert f"Trained on 2,000 of {n_rows:,} rows, drawn at random (training.max_rows)." in (
        caplog.text
    )
    assert {path.suffix for path in config.output_model_path.iterdir()} == {".json", ".pkl"}


@pytest.mark.parametrize(("max_rows", "is_said"), [(1_000, True), (None, False)])
def test_a_rarer_class_of_which_few_rows_were_drawn_is_a_warning(
    config: Config, caplog: pytest.LogCaptureFixture, max_rows: int | None, is_said: bool
) -> None:
    rows = [f"client{n},{n % 90},{n % 900},{n % 50},{n % 50 == 0:d}" for n in range(3_000)]
    write_csv(config.input_folder_path / "many.csv", rows)
    config = msgspec.structs.replace(config, training=TrainingSettings(max_rows=max_rows))
    ingestion.main(config)

    training.main(config)

    assert ("rows of the rarer class were drawn" in caplog.text) is is_said
