"""Diagnostics: missing values, durations and outdated packages, also without an answer of pip."""

import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from scripts import diagnostics
from scripts.api.responses import Diagnosis
from scripts.core import capacity
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError
from scripts.data import table_reader
from scripts.diagnostics import OutdatedPackage, RunMeasurements
from scripts.engine import pandas_engine
from scripts.production import monitor, release
from scripts.production.run_context import RunContext
from tests.conftest import SMALL_ROWS, write_csv

# Stands in for the interpreter that runs pip: $4 is the file of pip's log.
PIP = """#!/bin/sh
printf '%s\\n' '{said}' > "$4"
{then}
"""
FETCHED = "2026 Fetched page https://index/simple/numpy/ as text/html"
TWO = (
    '[{"name": "numpy", "version": "2.1.0", "latest_version": "2.4.1", "latest_filetype": "wheel"},'
    ' {"name": "a-long-name", "version": "1", "latest_version": "10.0"}]'
)


@pytest.fixture(autouse=True)
def without_pip() -> None:
    """Let the tests of this module ask pip, as no other module does."""


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path for a stand-in for the interpreter, which pip is then asked of."""
    path = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(path))
    return path


def install(path: Path, said: str, then: str) -> None:
    """Write the stand-in: what goes to pip's log, and what is done then."""
    path.write_text(PIP.format(said=said, then=then))
    path.chmod(0o755)


def test_outdated_packages_are_a_table(pip: Path) -> None:
    install(pip, FETCHED, f"echo '{TWO}'")

    assert diagnostics.outdated_packages().splitlines() == [
        "package      installed  newest",
        "numpy        2.1.0      2.4.1",
        "a-long-name  1          10.0",
    ]


@pytest.mark.parametrize(
    ("said", "then", "reason"),
    [
        (FETCHED, "echo '[]'", "every package is the newest"),
        ("nothing of note", "echo '[]'", "index could not be reached"),
        ("Could not fetch URL https://index/simple/: connection refused", "echo '[]'",
         "index could not be reached"),
        (f"Could not fetch URL https://index/a/: timed out\n{FETCHED}", "echo '[]'",
         "index could not be reached"),
        (f"Could not fetch URL https://index/a/: 404 Client Error\n{FETCHED}", "echo '[]'",
         "every package is the newest"),
        (FETCHED, "exit 2", "pip ended with exit code 2"),
        (FETCHED, "kill -15 $$", "pip ended with signal 15"),
        (FETCHED, "kill -9 $$", "pip ended with signal 9, probably for want of memory"),
        (FETCHED, "echo 'WARNING: [] no JSON'", "the answer of pip cannot be read"),
        (FETCHED, "echo '{}'", "the answer of pip cannot be read"),
        (FETCHED, "echo '[{\"name\": 1}]'", "the answer of pip cannot be read"),
        (FETCHED, "printf '\\377'", "the answer of pip cannot be read"),
        (FETCHED, "true", "the answer of pip cannot be read"),
        (FETCHED, 'rm "$4"; echo "[]"', "index could not be reached"),
    ],
)  # fmt: skip
def test_what_pip_may_answer_is_understood(pip: Path, said: str, then: str, reason: str) -> None:
    install(pip, said, then)

    answer = diagnostics.outdated_packages()

    assert reason in answer
    assert answer.startswith("not available: ") == (reason != "every package is the newest")


def test_a_pip_that_hangs_is_given_up(pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "PIP_TIMEOUT_S", 0.3)
    install(pip, FETCHED, "exec sleep 60")
    started = time.monotonic()

    answer = diagnostics.outdated_packages()

    assert answer == "not available: pip did not answer within 0.3 s"
    assert time.monotonic() - started < 20


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux has the order")
def test_pip_ends_before_the_run_where_memory_runs_out(pip: Path) -> None:
    # Until the order is set, the stand-in waits.
    install(
        pip, FETCHED, "until grep -qx 1000 /proc/$$/oom_score_adj; do sleep 0.01; done; echo []"
    )

    assert diagnostics.outdated_packages() == "every package is the newest"


def test_an_interpreter_that_is_gone_is_said(pip: Path) -> None:
    assert not pip.exists()

    answer = diagnostics.outdated_packages()

    assert answer == "not available: pip could not be started (No such file or directory)"


def test_the_real_pip_without_an_index_says_so_soon() -> None:
    answer = diagnostics.outdated_packages()

    assert answer == "not available: the package index could not be reached"


@pytest.mark.parametrize(
    ("durations_s", "expected"),
    [
        ({"training": 7.0, "ingestion": 5.0}, [7.0, 5.0]),
        ({"training": 0.2, "ingestion": 0.0, "scoring": 3.0}, [0.2, 0.0]),
        ({"training": 7.0}, None),
        ({}, None),
    ],
)
def test_times_of_a_run_are_taken_where_it_did_both_steps(
    durations_s: dict[str, float], expected: list[float] | None
) -> None:
    assert RunMeasurements(durations_s).execution_time == expected


def test_what_a_run_has_measured_is_not_measured_again(
    deployed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "outdated_packages", lambda: "a table")
    report = monitor.measure(RunContext(deployed))
    for path in deployed.output_folder_path.iterdir():
        path.unlink()
    for path in deployed.input_folder_path.iterdir():
        path.unlink()

    measured = RunMeasurements({"training": 2.5, "ingestion": 1.5}, report)
    said = json.loads(diagnostics.main(deployed, measured=measured).read_text())

    assert said["execution_time"] == [2.5, 1.5]
    assert said["drift"] == json.loads(json.dumps(monitor.as_members(report)["drift"]))
    assert said["drift"]["n_rows"] == 26


@pytest.mark.parametrize(
    ("answer", "hours", "is_asked"),
    [
        ("a table", 23.9, False),
        ("a table", 24, True),
        ("a table", -1, True),
        ("not available: no index", 0.9, False),
        ("not available: no index", 1, True),
    ],
)
def test_pip_is_asked_once_a_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, hours: float, is_asked: bool
) -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    before = (now - timedelta(hours=hours)).isoformat()
    path = tmp_path / "diagnostics.json"
    path.write_text(json.dumps({"outdated_dependencies": answer, "packages_at": before, "x": 1}))
    monkeypatch.setattr(diagnostics, "outdated_packages", lambda: "asked")

    report = diagnostics.recent_packages(path, now)

    assert report == (("asked", now.isoformat()) if is_asked else (answer, before))


@pytest.mark.parametrize("content", [None, "", "{", '{"outdated_dependencies": "a table"}', "[]"])
def test_pip_is_asked_where_no_answer_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path, now = tmp_path / "diagnostics.json", datetime(2026, 11, 24, tzinfo=UTC)
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(diagnostics, "outdated_packages", lambda: "asked")

    assert diagnostics.recent_packages(path, now) == ("asked", now.isoformat())


def test_main_writes_what_the_service_hands_out(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts import deployment, ingestion, scoring, training

    rows = [SMALL_ROWS[0].replace(",2,", ",,"), *SMALL_ROWS[1:]]
    (config.input_folder_path / "b.csv").unlink()
    write_csv(config.input_folder_path / "a.csv", rows)
    for step in (ingestion, training, scoring, deployment):
        step.main(config)
    monkeypatch.setattr(diagnostics, "outdated_packages", lambda: "a table")

    report = json.loads(diagnostics.main(config).read_text())

    current = release.load_current(config.prod_deployment_path)
    assert current is not None
    assert report["release"] == current.name
    # As /summarise lists them: the features, then the target, and no identifier.
    assert report["columns"] == [*config.schema.numeric, "exited"]
    assert report["columns"] == [summary.column for summary in current.model.dataset.summary]
    # One blank of 26 in the first column.
    assert report["missing_values"] == [pytest.approx(1 / 26), 0, 0, 0]
    assert list(report["missing_fractions"]) == list(config.schema.columns)
    # Deployed by hand: no run has counted them.
    assert report["dropped_rows"] is None
    described = msgspec.convert(report, Diagnosis)
    assert described.missing_fractions == report["missing_fractions"]
    assert described.dropped_rows is None
    assert len(report["execution_time"]) == 2
    assert report["outdated_dependencies"] == "a table"
    assert report["predictions"]["n_rows"] == 5
    assert report["measured_at"].endswith("+00:00")
    # The newest dataset is that of the release, and so are the test data.
    assert (report["drift"]["n_rows"], report["drift"]["n_compared"]) == (26, 0)
    assert [column["drift"] for column in report["drift"]["columns"]] == [None] * 4
    assert report["production_score"]["f1"] == report["production_score"]["f1_at_deployment"]
    assert report["production_score"]["has_fallen"] is False


def test_main_wants_a_model_in_production(config: Config) -> None:
    with pytest.raises(NotMadeYetError, match="Nothing is in production yet"):
        diagnostics.main(config)


def test_no_package_outdated_is_said_in_words() -> None:
    assert diagnostics.format_outdated([]) == "every package is the newest"
    assert "x        1          2" in diagnostics.format_outdated([OutdatedPackage("x", "1", "2")])


def test_drift_since_the_deployment_is_in_the_diagnostics(
    deployed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts import ingestion

    monkeypatch.setattr(diagnostics, "outdated_packages", lambda: "a table")
    rows = [f"n{i},{500 + i},{120 + 12 * i},{10 + i % 51},1" for i in range(60)]
    write_csv(deployed.input_folder_path / "c.csv", rows)
    ingestion.main(deployed)

    report = json.loads(diagnostics.main(deployed).read_text())["drift"]

    assert (report["n_reference_rows"], report["n_compared"]) == (26, 60)
    assert "lastmonth_activity" in report["drifted"]
    months = next(c for c in report["columns"] if c["column"] == "lastmonth_activity")
    assert months["has_drifted"]
    assert months["drift"] > months["drift_limit"]


def test_without_a_dataset_the_rest_is_still_measured(
    deployed: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(diagnostics, "outdated_packages", lambda: "a table")
    for path in deployed.output_folder_path.iterdir():
        path.unlink()

    report = json.loads(diagnostics.main(deployed).read_text())

    assert report["drift"] is report["production_score"] is None
    assert len(report["execution_time"]) == 2
    assert "Nothing could be compared with the deployment" in caplog.text


def test_the_package_index_is_asked_while_the_rest_is_measured(
    deployed: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    is_measured = threading.Event()
    measure = diagnostics.describe_live

    def answer() -> str:
        # Where the rest waited for pip, this would never come.
        assert is_measured.wait(60)
        return "a table"

    def describe_live(context: RunContext) -> object:
        is_measured.set()
        return measure(context)

    monkeypatch.setattr(diagnostics, "outdated_packages", answer)
    monkeypatch.setattr(diagnostics, "describe_live", describe_live)

    report = json.loads(diagnostics.main(deployed).read_text())

    assert report["outdated_dependencies"] == "a table"
    assert "Asking the package index which packages are outdated, up to 30 s" in caplog.text


def test_whoever_waits_for_the_package_index_reads_so_ever_less_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(diagnostics, "WAIT_S", 0.05)

    def answer() -> tuple[str, str]:
        time.sleep(0.3)
        return "a table", "2025-01-01T00:00:00+00:00"

    packages, _ = diagnostics.wait_for_packages(diagnostics.in_background(answer))

    assert packages == "a table"
    assert 1 <= caplog.text.count("Waiting for the package index") <= 2
    caplog.clear()
    asked = diagnostics.in_background(lambda: ("a table", ""))
    time.sleep(0.1)
    diagnostics.wait_for_packages(asked)
    assert not caplog.text


def test_a_bug_in_the_background_is_raised_where_the_answer_is_wanted(
    deployed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "outdated_packages", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        diagnostics.main(deployed)


def test_the_median_of_three_executions_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])  # below five seconds until the third
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    calls = []

    assert diagnostics.median_duration_s(lambda: calls.append(1)) == 2.0
    assert len(calls) == 3


def test_what_takes_long_is_executed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 5.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))

    assert diagnostics.median_duration_s(lambda: None) == 5.0


def entries(folder: Path) -> list[tuple[str, int]]:
    """List everything below a folder with its time of change."""
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def test_timing_the_steps_writes_nothing(deployed: Config, tmp_path: Path) -> None:
    before = entries(tmp_path)

    training_s, ingestion_s = diagnostics.measure_steps(deployed)

    assert training_s is not None
    assert ingestion_s is not None
    assert 0 < training_s < 60
    assert 0 < ingestion_s < 60
    assert entries(tmp_path) == before


def test_what_cannot_be_timed_is_none(deployed: Config, caplog: pytest.LogCaptureFixture) -> None:
    (deployed.input_folder_path / "b.csv").unlink()
    write_csv(deployed.input_folder_path / "a.csv", [row for row in SMALL_ROWS if row[-1] == "1"])
    training_s, ingestion_s = diagnostics.measure_steps(deployed)
    (deployed.input_folder_path / "a.csv").unlink()

    assert diagnostics.measure_steps(deployed) == [None, None]

    assert training_s is None
    assert ingestion_s is not None
    assert "Training could not be timed: All " in caplog.text
    assert "Nothing could be timed: No usable row" in caplog.text


def test_a_cluster_is_not_taken_up_to_be_timed(
    deployed: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capacity, "is_cluster", lambda config: True)
    monkeypatch.setattr(pandas_engine, "read_input", None)
    caplog.set_level("INFO")

    assert diagnostics.measure_steps(deployed) == [None, None]

    assert "timed by the runs only" in caplog.text


def test_large_input_is_timed_through_a_file_that_goes_again(
    deployed: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_reader, "MANY_BYTES", 1)
    monkeypatch.setattr(diagnostics, "measure_table", None)
    before = [path for path, _ in entries(tmp_path)]

    training_s, ingestion_s = diagnostics.measure_steps(deployed)

    assert training_s is not None
    assert ingestion_s is not None
    assert 0 < training_s < 60
    assert 0 < ingestion_s < 60
    assert [path for path, _ in entries(tmp_path)] == before
