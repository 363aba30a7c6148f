"""The model of an earlier run is made again with the same bytes, or what is missing is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from examples.saas import make_data
from examples.saas.company import Plan
from scripts import fullprocess
from scripts.core import console, files
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import ReproductionError
from scripts.model import candidate
from scripts.pipeline import kept_inputs, reproduction, retention, steps
from scripts.production import release
from scripts.records import database, runs
from tests.conftest import HEADER, make_rows, write_csv


@pytest.fixture(autouse=True)
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the charts and the questions to a service."""
    monkeypatch.setattr(steps, "report", lambda *_: None)


@pytest.fixture
def keeping(changed: Callable[..., Config]) -> Config:
    """Return the config of an installation that keeps its inputs."""
    return changed(retention={"inputs": True})


def hash_in_production(config: Config) -> str:
    """Return the hash of model.json in production, as its manifest has it."""
    current = release.load_current(config.prod_deployment_path)
    assert current is not None
    return current.manifest.files[release.MODEL].sha256


def check_again(config: Config, n_runs: int) -> None:
    """Train on other rows each time, then make each model again, from the kept inputs alone."""
    for seed in range(n_runs):
        write_csv(config.input_folder_path / "a.csv", make_rows(200 + seed, seed, noise=0.1))
        fullprocess.main(config)
    shutil.rmtree(config.input_folder_path)

    for run_id in range(1, n_runs + 1):
        made = reproduction.main(config, run_id=run_id)

        assert made == config.output_model_path / "reproduced" / f"run_{run_id}" / "model.json"
        assert [path.name for path in made.parent.iterdir()] == ["model.json"]


def test_models_are_made_again_from_the_kept_inputs(keeping: Config) -> None:
    check_again(keeping, 2)


@pytest.mark.campaign
def test_twenty_of_twenty_models_are_made_again(keeping: Config) -> None:
    check_again(keeping, 20)


def test_the_same_bytes_are_those_of_the_release(keeping: Config) -> None:
    fullprocess.main(keeping)

    made = reproduction.main(keeping, run_id=1)

    assert files.digest_file(made) == hash_in_production(keeping)


def test_without_kept_inputs_the_unchanged_files_serve(config: Config) -> None:
    fullprocess.main(config)
    assert not kept_inputs.folder_of(config).exists()

    assert reproduction.main(config, run_id=1).exists()


def test_a_missing_input_is_named_with_its_hash(config: Config) -> None:
    fullprocess.main(config)
    path = config.input_folder_path / "a.csv"
    path.write_text(path.read_text() + "new,1,2,3,0\n")

    with pytest.raises(
        ReproductionError, match="1 input files are missing: .*a.csv with the SHA"
    ) as caught:
        reproduction.main(config, run_id=1)

    assert "With retention.inputs set to true" in str(caught.value)
    assert not list((config.output_model_path / "reproduced" / "run_1").glob("*"))


def test_other_bytes_are_said_with_the_versions_that_differ(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    fullprocess.main(config)
    other = candidate.package_versions() | {"numpy": "9.9"}
    monkeypatch.setattr(candidate, "package_versions", lambda: other)

    with pytest.raises(
        ReproductionError, match=r"other bytes than then.*other versions: numpy .*, now 9\.9"
    ):
        reproduction.main(config, run_id=1)


def test_runs_without_a_model_cannot_be_reproduced(config: Config) -> None:
    fullprocess.main(config)
    fullprocess.main(config)

    with pytest.raises(ReproductionError, match="Run 2 trained no model"):
        reproduction.main(config, run_id=2)
    with pytest.raises(ReproductionError, match="There is no run 99"):
        reproduction.main(config, run_id=99)


def test_settings_are_those_of_the_run(config: Config, keeping: Config) -> None:
    fullprocess.main(keeping)
    training = msgspec.structs.replace(config.training, C=0.01, decision_threshold=0.9)
    edited = msgspec.structs.replace(keeping, training=training)
    fullprocess.main(edited)

    # With the settings of today, and with those of the second run.
    assert reproduction.main(edited, run_id=1).exists()
    assert reproduction.main(edited, run_id=2).exists()


def test_dated_rows_with_outcomes_are_made_again(tmp_path: Path) -> None:
    shutil.copyfile(make_data.CONFIG, tmp_path / "config.json")
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["retention"] = {"inputs": True}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    config = read_config(tmp_path / "config.json")
    months, _ = make_data.make_months(Plan(n_months=4, n_clients=300))
    for month in months:
        make_data.write_month(tmp_path, month)
    fullprocess.main(config)
    shutil.rmtree(config.input_folder_path)

    assert reproduction.main(config, run_id=1).exists()


def test_kept_inputs_are_stored_once_and_removed_with_the_runs(
    keeping: Config, changed: Callable[..., Config]
) -> None:
    few = msgspec.structs.replace(
        keeping, retention=msgspec.structs.replace(keeping.retention, runs=2)
    )
    for seed in range(4):
        write_csv(few.input_folder_path / "a.csv", make_rows(100, seed))
        fullprocess.main(few)

    # b.csv never changed. Of a.csv the two newest contents are kept, and that of production.
    current = release.load_current(few.prod_deployment_path)
    assert current is not None
    with (
        database.open_records(few.database_url) as engine,
        database.reading(engine) as connection,
    ):
        wanted = runs.input_hashes(connection, 2, current.manifest.model_stamp)
    kept = {path.name for path in kept_inputs.folder_of(few).iterdir()}
    assert kept == wanted - {files.digest_file(few.test_data_path / "test.csv")}
    assert 3 <= len(kept) <= 4
    without = changed(retention={"inputs": False})
    retention.remove_old_files(engine, without, None)
    assert not list(kept_inputs.folder_of(few).iterdir())


def test_a_file_that_changed_after_it_was_read_is_not_kept(
    keeping: Config, caplog: pytest.LogCaptureFixture
) -> None:
    path = keeping.input_folder_path / "a.csv"
    row = {"role": "input", "path": str(path), "sha256": "0" * 64, "refused": None}

    assert kept_inputs.keep(keeping, [row]) == 0

    assert "has changed since the run has read it" in caplog.text
    assert not list(kept_inputs.folder_of(keeping).iterdir())


def test_the_command_says_that_the_bytes_are_the_same(config: Config, config_path: Path) -> None:
    fullprocess.main(config)
    command = console.make_command(fullprocess.show_or_start, fullprocess.OPTIONS)

    result = CliRunner().invoke(command, ["--config", str(config_path), "--reproduce", "1"])

    assert result.exit_code == 0, result.output
    assert HEADER not in result.output
