"""The full process on a standalone cluster: a master, two workers, and the loss of a worker."""

import json
import os
import pickle
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from scripts import app, fullprocess, ingestion
from scripts.clients import score_clients
from scripts.core import artifacts, config_file, files, keys
from scripts.core.artifacts import Kind
from scripts.core.config import Config, EngineSettings
from scripts.core.errors import DatasetError
from scripts.data import (
    client_dates,
    client_lines,
    csv_writer,
    dataset,
    deduplicate,
    read_report,
    sampling,
)
from scripts.data.read_report import FileReading
from scripts.engine import pandas_engine
from scripts.model import candidate, drift, logistic_model, metrics, reference
from scripts.pipeline import erasure
from scripts.production import monitor, release, rollback
from scripts.production.run_context import RunContext
from scripts.records import database, runs, tables
from scripts.records.tables import FileRole, Verdict
from tests.support import sparkdated
from tests.support.clientele import ask
from tests.support.recorded import last_scores, list_outcomes
from tests.support.sparkcluster import why_not
from tests.support.sparkruns import (
    DATED,
    IMMATURE_HERE,
    IN_FOLDER,
    LAKE,
    STORED_DATED,
    Done,
    run_once,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Run everything once."""
    if why_not():
        pytest.skip(why_not())
    return run_once(tmp_path_factory)


def test_in_ci_the_cluster_is_not_left_out() -> None:
    if "ADRAS_CI" not in os.environ:
        pytest.skip("only .ci/run promises a cluster")

    assert why_not() == ""


@pytest.fixture(scope="module")
def here(done: Done) -> tuple[pd.DataFrame, pd.DataFrame, list[Any]]:
    """Read the same files by the pandas engine."""
    return pandas_engine.read_input(done.input_paths, done.config.schema)


def test_the_rows_dropped_are_counted_by_class(done: Done) -> None:
    paths, config = done.input_paths, done.config
    _, dropped, _, _ = pandas_engine.read_table(paths, config.schema, config.ingestion)

    with database.open_records(config.database_url) as engine, engine.connect() as connection:
        query = sa.select(tables.models.c.settings).where(tables.models.c.run_id == 1)
        settings = connection.execute(query).scalar_one()

    assert dropped.n_rows > 0
    assert settings["n_dropped"] == dropped.n_rows
    assert settings["n_dropped_positives"] == dropped.n_positives


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
    _, _, readings = here
    rejected = Kind.REJECTED.path(
        done.config.output_folder_path, artifacts.stamp_of(done.dataset_path)
    )

    assert rejected.read_text() == read_report.format_rejected(readings)
    assert rejected.read_text().count("\n") == 1 + 6 + 1
    assert sum(found.n_rows for found in readings) == 2509 + 2201 + 800


def test_the_model_is_that_of_the_ordinary_fit_to_the_same_rows_in_the_order_of_their_keys(
    done: Done, here: Any
) -> None:
    table, config = here[0], done.config
    keys = sampling.draw_keys(
        deduplicate.hash_table_rows(table, config.schema), config.training.random_state
    )
    rows = table.iloc[np.argsort(keys, kind="stable")].reset_index(drop=True)

    expected = candidate.fit_candidate(rows, done.first.dataset.sha256, config).model

    assert done.first.dataset.n_drawn_rows is None
    assert {**done.first.versions, "pyspark": ""} == expected.versions | {"pyspark": ""}
    unlike = {"dataset": done.first.dataset, "versions": done.first.versions}
    # All but the facts of the dataset, in which the order of sums differs: bit by bit.
    assert done.first == msgspec.structs.replace(expected, **unlike)


def test_the_facts_of_the_dataset_are_those_of_the_pandas_engine(done: Done, here: Any) -> None:
    table, schema, facts = here[0], done.config.schema, done.first.dataset
    expected = reference.add_reference(
        msgspec.structs.replace(
            done.first,
            dataset=candidate.describe_dataset(table, facts.sha256, schema),
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

    measured = metrics.evaluate_model(done.first, table).as_dict()

    assert float(score_path.read_text().splitlines()[0]) == measured.pop("f1")
    assert said == {name: str(value) for name, value in measured.items()}


def test_the_pickle_is_the_same_regression(done: Done) -> None:
    pickle_path = Kind.PICKLE.path(
        done.config.output_model_path, artifacts.stamp_of(done.first_path)
    )
    table, _ = dataset.read_test_table(done.config.test_data_path, done.config.schema)

    estimator = pickle.loads(pickle_path.read_bytes())

    X = dataset.features(table, done.config.schema)
    predicted, probability = metrics.predict_table(done.first, table)
    assert estimator.predict_proba(X)[:, 1] == pytest.approx(probability, rel=0, abs=1e-12)
    assert np.array_equal(estimator.predict(X), predicted)


def test_the_service_answers_from_what_the_cluster_made(done: Done, here: Any) -> None:
    client = app.create_app(done.config.output_model_path.parent / "config.json").test_client()
    rows = here[0].head(5)[list(done.config.schema.features)]

    answer = client.post(
        "/predict", data=rows.to_json(orient="table"), content_type="application/json"
    )

    assert answer.status_code == 200
    place = done.config.prod_deployment_path
    name = artifacts.current_name(place)
    assert name is not None
    served = release.load_release(place / artifacts.RELEASES / name).model
    _, probability = metrics.predict_table(served, here[0].head(5))
    assert answer.get_json()["probabilities"] == pytest.approx(probability.tolist())


def test_the_run_had_lost_a_worker(done: Done) -> None:
    assert done.n_alive == 1


def test_what_is_written_for_narwhals_cleans_on_spark_and_what_is_for_pandas_is_refused(
    done: Done,
) -> None:
    cleaned = done.probed["cleaned"]

    assert 0 < cleaned["with_narwhals"] == done.probed["n_active"] < done.probed["n_rows"]
    for name in ("with_a_mask", "with_assign", "with_nothing"):
        assert "does what only pandas can" in cleaned[name]
        assert "narwhals.from_native(table).filter" in cleaned[name]
    assert "leaves out the columns ['plan']" in cleaned["with_a_column_less"]


@pytest.fixture(scope="module")
def later(done: Done) -> tuple[pd.DataFrame, pd.DataFrame, list[FileReading]]:
    """Read the files of the second run, from the store, by the pandas engine."""
    paths = files.list_tables(done.config.input_folder_path)
    return pandas_engine.read_input(paths, done.config.schema)


def test_of_more_rows_the_same_ones_are_drawn_as_on_one_machine(done: Done, later: Any) -> None:
    table, config, drawn = later[0], done.config, done.probed["drawn"]
    expected = sampling.draw_rows(table, config.schema, 1000, config.training.random_state)
    names = [*config.schema.features, config.schema.target]

    found = pd.DataFrame(json.loads(drawn["rows"]), columns=names)

    assert len(found) == 1000
    pd.testing.assert_frame_equal(
        found.sort_values(names, ignore_index=True),
        expected[names].sort_values(names, ignore_index=True),
        check_dtype=False, check_column_type=False,
    )  # fmt: skip
    assert drawn["rows"] == drawn["in_other_parts"]
    # Of rows that are all there twice, half of those drawn at least have no equal one.
    assert drawn["doubled"][0] == 1000
    assert 500 < drawn["doubled"][1] < 1000


def test_drift_is_that_of_the_pandas_engine_on_the_same_rows(done: Done, later: Any) -> None:
    expected = drift.compare_data(later[0], done.first)
    with database.open_records(done.config.database_url) as engine, engine.connect() as connection:
        found = connection.execute(
            sa.select(tables.column_statistics).where(tables.column_statistics.c.run_id == 2)
        ).mappings()
        rows = {row["column"]: dict(row) for row in found}

    assert {one.column for one in expected.drifted} >= {"plan"}
    assert set(rows) == {one.column for one in expected.columns}
    for one in expected.columns:
        for name, value in one.as_row().items():
            same = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            assert rows[one.column][name] == same, (one.column, name)
        assert rows[one.column]["n_compared"] == expected.n_compared
        assert rows[one.column]["n_rows"] == len(later[0])
    assert monitor.describe_data(expected) in done.said


def score_by_pandas(
    done: Done, folder: Path, rounds: list[tuple[pd.DataFrame, pd.DataFrame]]
) -> Config:
    """Score clients by the pandas engine, with the release of each run."""
    config = msgspec.structs.replace(
        done.config, engine=EngineSettings(), database_url=f"sqlite:///{folder / 'adras.db'}"
    )
    with database.open_records(done.config.database_url) as engine, engine.connect() as connection:
        served = connection.execute(sa.select(tables.runs.c.release).order_by(tables.runs.c.id))
        names = [row.release for row in served]
    with database.open_records(config.database_url) as engine:
        # The third run had nothing new.
        for name, (labelled, clients_found) in zip(names[:2], rounds, strict=True):
            path = Kind.DATASET.path(folder, "20250101T000000000000Z")
            files.write_whole(path, csv_writer.encode_table(labelled))
            with database.writing(engine) as connection:
                run_id = runs.start_run(connection, datetime.now(UTC))
            current = release.load_release(config.prod_deployment_path / artifacts.RELEASES / name)
            score_clients.score_clients(
                RunContext(config), engine, run_id, clients_found, path, config.schema, current
            )
    return config


def test_todays_clients_and_their_outcomes_are_those_of_the_pandas_engine(
    done: Done, here: Any, later: Any, tmp_path: Path
) -> None:
    expected = score_by_pandas(done, tmp_path, [here[:2], later[:2]])

    scores, others = ask(done.config, last_scores), ask(expected, last_scores)
    assert set(scores) == set(others) == {"u1", "u3", "u4"}
    for name, row in scores.items():
        for key in ("position", "probability", "band", "values"):
            assert row[key] == others[name][key], (name, key)
    (outcome,), (other,) = (ask(config, list_outcomes) for config in (done.config, expected))
    for key in ("client", "exited", "position", "probability", "band", "release"):
        assert outcome[key] == other[key]
    assert (outcome["client"], outcome["exited"]) == ("u1", True)


def test_a_dataset_elsewhere_in_parts_of_csv_is_the_same_set_of_rows(
    done: Done, later: Any
) -> None:
    folder = done.config.output_model_path.parent.parent / "lake" / done.second_path.stem
    identity = json.loads((done.second_path / artifacts.IDENTITY).read_text())
    names = list(done.config.schema.columns)

    kinds = {"corporation": str, "plan": str}
    parts = [pd.read_csv(part, dtype=kinds, na_filter=False) for part in folder.glob("part-*.csv")]

    assert identity["address"] == LAKE + done.second_path.stem
    assert [path.name for path in done.second_path.iterdir()] == [artifacts.IDENTITY]
    made = pd.concat(parts)[names]
    made["lastmonth_activity"] = pd.to_numeric(made["lastmonth_activity"])
    pd.testing.assert_frame_equal(
        made.sort_values(names, ignore_index=True),
        later[0][names].sort_values(names, ignore_index=True),
        check_dtype=False, check_exact=True, check_column_type=False,
    )  # fmt: skip
    assert made["corporation"].str.contains(",").any()


def test_an_address_goes_to_spark_as_it_stands_and_is_cleared_when_retention_forgets_it(
    done: Done,
) -> None:
    moved = done.probed["moved"]
    identity = json.loads((done.second_path / artifacts.IDENTITY).read_text())

    assert moved["address"].startswith("file:///")
    assert moved["sha256"] == identity["sha256"]
    assert moved["n_parts"] > 0
    assert not moved["is_left"]
    ledger = json.loads((done.config.output_folder_path / "datasets_elsewhere.json").read_text())
    assert list(ledger) == [done.second_path.name]


def test_what_the_schema_leaves_out_is_found_out_as_by_the_pandas_engine(done: Done) -> None:
    found, stored, expected = done.probed["inferred"]

    # Of 40 KB a task: it is looked at in ranges.
    odd = done.config.output_model_path.with_name("odd") / "a.csv"
    assert odd.stat().st_size > 40 * 1024
    assert found == stored == expected
    assert found["schema"]["numeric"] == ["measure"]
    assert found["schema"]["negative"] == "stays"
    assert set(found["set_aside"]) == {"serial", "void", "one", "extra"}


@pytest.mark.parametrize("name", DATED)
def test_dated_rows_are_those_of_the_pandas_engine(done: Done, tmp_path: Path, name: str) -> None:
    folder, found = done.config.output_folder_path.with_name(name), done.probed["dated"][name]
    more = {
        f"{key}_path": str(folder / place)
        for key, place in STORED_DATED.items()
        if (folder / place).exists()
    }
    path = sparkdated.write_installation(tmp_path, {"name": "pandas"}, **DATED[name] | more)
    whole = json.loads(path.read_text())
    if "input_folder_path" in whole["outcomes"]:
        whole["outcomes"]["input_folder_path"] = str(folder / "outcomes")
    path.write_text(json.dumps(whole))
    config = config_file.read_config(path)

    here = ingestion.main(config)

    expected = sparkdated.describe(here, config)
    for key, value in expected.items():
        assert found[key] == value, key
    schema = client_dates.dataset_schema(config.schema)
    table = pd.read_csv(here.dataset_path, dtype=dict.fromkeys(schema.ids, str))
    parts = [*Path(found["dataset"]).glob("part-*.csv")]
    made = (
        pd.concat([pd.read_csv(part, dtype=dict.fromkeys(schema.ids, str)) for part in parts])
        if parts
        else read_parts(Path(found["dataset"]))
    )[list(table.columns)]
    order = list(schema.ids)
    pd.testing.assert_frame_equal(
        made.sort_values(order, ignore_index=True), table.sort_values(order, ignore_index=True),
        check_dtype=False, check_exact=True, check_column_type=False,
    )  # fmt: skip
    assert len(table) > 500
    assert expected["clients"].count("\n") > 400
    if "input_folder_path" in whole["outcomes"]:
        assert sum(bool(refused) for _, _, refused in expected["outcomes"]) == 2


def test_months_without_a_mature_outcome_are_listed_and_scored_as_by_the_pandas_engine(
    done: Done,
) -> None:
    found = done.probed["immature"]
    place = done.config.output_folder_path.with_name(IMMATURE_HERE)
    config = sparkdated.add_immature_month(place, {"name": "pandas"})

    fullprocess.main(config)

    expected = sparkdated.describe_run(config)
    assert expected["verdict"] == Verdict.INSUFFICIENT
    assert expected["reason"].startswith("None of 750 rows has an outcome that is known for good.")
    assert len(expected["listed"]) == 150
    assert expected["outcomes"]
    for key, value in expected.items():
        assert found[key] == value, key
    assert "Found 150 clients without a label: today's clients." in found["said"]


def test_a_backtest_prints_the_tables_of_the_pandas_engine(done: Done, tmp_path: Path) -> None:
    folder = done.config.output_folder_path.with_name(IN_FOLDER)
    whole = json.loads((folder / "config.json").read_text())
    places = {
        key: str(folder / whole[key]) for key in ("input_folder_path", "output_folder_path")
    }  # fmt: skip
    outcomes = whole["outcomes"] | {"input_folder_path": str(folder / "outcomes")}
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(whole | places | {"outcomes": outcomes, "engine": {"name": "pandas"}})
    )

    expected = sparkdated.print_backtest(config_file.read_config(path))

    assert expected.count("2025-") >= 2
    assert done.probed["backtest"] == expected


def test_large_files_are_read_in_ranges_unless_quotes_go_over_lines(done: Done) -> None:
    # Of 40 KB a task: a.csv, with a line end within quotes, and b.csv are larger.
    assert (done.config.input_folder_path / "b.csv").stat().st_size > 40 * 1024
    assert "Read ['a.csv'] in one task each" in done.said_first
    assert "Read ['a.csv'] in one task each" in done.said


def test_input_in_a_store_is_read_and_recorded_as_the_same_files_here(
    done: Done, later: Any
) -> None:
    rejected = Kind.REJECTED.path(
        done.config.output_folder_path, artifacts.stamp_of(done.second_path)
    )
    with database.open_records(done.config.database_url) as engine, engine.connect() as connection:
        rows = runs.files_of_run(connection, 2)
    expected = {
        found.path.name.replace("f.csv", "e.csv"): (found.n_rows, found.refused, found.n_bytes)
        for found in later[2]
    }

    found = {row["path"].rpartition("/")[2]: row for row in rows if row["role"] == FileRole.INPUT}

    assert {name: (row["n_rows"], row["refused"]) for name, row in found.items()} == {
        name: facts[:2] for name, facts in expected.items()
    }
    for name, (_, refused, n_bytes) in expected.items():
        assert refused or found[name]["n_bytes"] == n_bytes
    assert all(row["path"].startswith("webhdfs://127.0.0.1:") for row in rows)
    assert {row["role"] for row in rows} == {FileRole.INPUT, FileRole.TEST}
    lines = read_report.format_rejected(later[2]).replace("f.csv,", "e.csv,").splitlines()
    assert sorted(rejected.read_text().splitlines()) == sorted(lines)
    assert {name for name, row in found.items() if row["refused"]} == {
        "d.csv", "empty.csv", "folder.csv",
    }  # fmt: skip


def test_a_run_with_nothing_new_asks_a_store_for_its_lists_and_opens_no_session(
    done: Done,
) -> None:
    # Two files have another name or time, so that their checksums are asked for; no content is.
    assert done.asked == ["GETFILECHECKSUM"] * 2 + ["LISTSTATUS"] * 2
    assert "nothing new" in done.tick
    assert "Opened a session" not in done.tick


def test_test_data_in_a_store_is_brought_once(done: Done) -> None:
    folder = done.config.output_folder_path / "testdata"

    assert done.said.count("Downloaded webhdfs://") == 1
    assert [path.name for path in folder.iterdir()] == ["test.csv"]
    assert (folder / "test.csv").read_bytes() == (
        done.config.test_data_path / "test.csv"
    ).read_bytes()


def test_nothing_of_the_second_run_was_left_out(done: Done) -> None:
    assert "failed, and the run goes on" not in done.said.replace("The step apicalls failed", "")
    assert "were not scored" not in done.said


def test_a_dataset_in_parts_is_refused_by_the_pandas_engine(done: Done) -> None:
    config = msgspec.structs.replace(done.config, engine=EngineSettings())

    with pytest.raises(DatasetError, match="dataset of the Spark engine, in parts"):
        monitor.main(config, dataset_path=done.dataset_path)


def test_a_client_is_erased_from_a_dataset_and_the_models_of_the_cluster(
    done: Done,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, name = done.config.prod_deployment_path.parent, "a1999"
    for part in ("input", "output", "models", "prod", "test"):
        shutil.copytree(folder / part, tmp_path / part, symlinks=True)
    for file in ("config.json", "adras.db"):
        shutil.copy(folder / file, tmp_path)
    config = config_file.read_config(tmp_path / "config.json")
    first, second = artifacts.list_exact(config.output_folder_path, Kind.PARTS)
    assert name in set(read_parts(first)["corporation"])
    monkeypatch.setattr(erasure, "draw_again", lambda *_: None)

    erasure.erase(config, client=name, reason="request 17")

    # The parts of the first dataset lay here. Those of the second one are elsewhere, which is told.
    assert (first.exists(), second.exists()) == (False, True)
    told = capsys.readouterr().out
    assert f"{second}: a dataset of the Spark engine without Parquet files here" in told
    company = [config.input_folder_path / file for file in ("a.csv", "b.csv")]
    assert all(f"{path}: line" in told for path in company if name in path.read_text())
    left = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.is_symlink() and path not in company
    ]
    assert [path for path in left if client_lines.has_word(path, name)] == []
    rollback.verify(config)
    model_path = artifacts.list_dated(config.output_model_path, Kind.MODEL)[0]
    key = keys.find_key(config.prod_deployment_path)
    after = logistic_model.unseal(logistic_model.load_model(model_path), key)
    n_before, n_after = (
        len(model.dataset.reference.row_hashes)
        for model in (done.first, after)
        if model.dataset.reference is not None
    )
    # The client's own row may be one of the sample of hashes.
    assert n_after in (n_before, n_before - deduplicate.HASH_TYPE.itemsize)
