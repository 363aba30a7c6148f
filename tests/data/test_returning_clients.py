"""Clients with rows in several files are found."""

from pathlib import Path

import pytest

from scripts import ingestion
from scripts.core.config import Config
from scripts.data import returning_clients
from tests.conftest import write_csv


def write(folder: Path, *contents: list[str]) -> list[Path]:
    paths = [folder / f"{number}.csv" for number in range(len(contents))]
    for path, rows in zip(paths, contents, strict=True):
        write_csv(path, rows)
    return paths


def test_clients_with_other_values_in_another_file_are_counted(
    tmp_path: Path, config: Config
) -> None:
    first = [f"c{k},{k},2,3,0" for k in range(10)]
    second = [f"c{k},{k + k % 2},2,3,1" for k in range(5, 15)]
    paths = write(tmp_path / "x", first, second)

    assert returning_clients.count_returning(paths, config.schema) == (3, 15)


def test_a_refused_file_counts_nobody(tmp_path: Path, config: Config) -> None:
    paths = write(tmp_path / "x", ["c1,1,2,3,0"])
    paths.append(tmp_path / "x" / "y.csv")
    paths[-1].write_text("nothing\n")

    assert returning_clients.count_returning(paths, config.schema) == (0, 1)


def test_a_run_on_monthly_files_without_dates_says_what_to_declare(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    for path in config.input_folder_path.iterdir():
        path.unlink()
    for month in range(3):
        rows = [f"c{k},{k + month},2,3,{k % 2}" for k in range(20)]
        write_csv(config.input_folder_path / f"{month}.csv", rows)

    ingestion.main(config)

    assert "20 of 20 clients stand in several files with different values" in caplog.text
    assert "Declare schema.date" in caplog.text


def test_the_small_table_of_the_tests_is_no_reason_to_warn(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    ingestion.main(config)

    assert "stand in several files" not in caplog.text
