"""Ingestion and training are timed on today's input, and nothing of that stays."""

import time
from pathlib import Path

import pytest

from scripts import dataset, engines, pandas_engine, timing
from scripts.config import Config
from tests.conftest import SMALL_ROWS, write_csv


def test_the_median_of_three_executions_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])  # below five seconds until the third
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    calls = []

    assert timing.median_duration_s(lambda: calls.append(1)) == 2.0
    assert len(calls) == 3


def test_what_takes_long_is_executed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 5.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))

    assert timing.median_duration_s(lambda: None) == 5.0


def entries(folder: Path) -> list[tuple[str, int]]:
    """List everything below a folder with its time of change."""
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def test_timing_the_steps_writes_nothing(deployed: Config, tmp_path: Path) -> None:
    before = entries(tmp_path)

    training_s, ingestion_s = timing.measure_steps(deployed)

    assert training_s is not None
    assert ingestion_s is not None
    assert 0 < training_s < 60
    assert 0 < ingestion_s < 60
    assert entries(tmp_path) == before


def test_what_cannot_be_timed_is_none(deployed: Config, caplog: pytest.LogCaptureFixture) -> None:
    (deployed.input_folder_path / "b.csv").unlink()
    write_csv(deployed.input_folder_path / "a.csv", [row for row in SMALL_ROWS if row[-1] == "1"])
    training_s, ingestion_s = timing.measure_steps(deployed)
    (deployed.input_folder_path / "a.csv").unlink()

    assert timing.measure_steps(deployed) == [None, None]

    assert training_s is None
    assert ingestion_s is not None
    assert "Training could not be timed: All " in caplog.text
    assert "Nothing could be timed: No usable row" in caplog.text


def test_a_cluster_is_not_taken_up_to_be_timed(
    deployed: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "is_cluster", lambda config: True)
    monkeypatch.setattr(pandas_engine, "read_input", None)
    caplog.set_level("INFO")

    assert timing.measure_steps(deployed) == [None, None]

    assert "timed by the runs only" in caplog.text


def test_large_input_is_timed_through_a_file_that_goes_again(
    deployed: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "MANY_BYTES", 1)
    monkeypatch.setattr(timing, "measure_table", None)
    before = [path for path, _ in entries(tmp_path)]

    training_s, ingestion_s = timing.measure_steps(deployed)

    assert training_s is not None
    assert ingestion_s is not None
    assert 0 < training_s < 60
    assert 0 < ingestion_s < 60
    assert [path for path, _ in entries(tmp_path)] == before
