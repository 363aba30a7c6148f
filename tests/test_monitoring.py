"""Monitoring of the newest data and the production model, and the description of the result."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from scripts import deployment, ingestion, monitoring, scoring, training
from scripts.core import artifacts
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError
from scripts.data.profile import ColumnSummary
from scripts.model import drift
from scripts.model.drift import ColumnDrift, ColumnRole, DataDrift, RiskShift
from scripts.model.drift_tests import F1Drift, TwoSampleResult
from scripts.production import monitor, release
from scripts.production.monitor import MonitoringResult
from scripts.production.run_context import RunContext
from tests.conftest import SMALL_ROWS, make_rows, write_csv


def deliver(config: Config, name: str, rows: list[str]) -> Path:
    """Add an extract to the input folder, and ingest the folder."""
    write_csv(config.input_folder_path / name, rows)
    return ingestion.main(config).dataset_path


def test_before_the_first_release_there_are_statistics_only(config: Config) -> None:
    path = ingestion.main(config).dataset_path

    found = monitor.main(config, dataset_path=path)

    assert (found.release, found.score, found.f1) == (None, None, None)
    assert found.dataset_stamp == artifacts.stamp_of(path)
    assert (found.data.n_rows, found.data.n_compared, found.data.rows) == (26, 0, "none")
    months = next(c for c in found.data.columns if c.column == "lastmonth_activity")
    assert months.summary.mean == pytest.approx(1454 / 26)
    assert months.values is None


def test_new_rows_that_drifted_are_found_after_the_old_dataset_is_gone(
    deployed: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old = artifacts.find_latest(deployed.output_folder_path, artifacts.Kind.DATASET, "ingestion")
    old.unlink()
    rows = [f"n{i},{500 + i},{120 + 12 * i},{10 + i % 51},1" for i in range(60)]

    found = monitor.main(deployed, dataset_path=deliver(deployed, "c.csv", rows))

    assert (found.data.n_reference_rows, found.data.n_compared, found.data.rows) == (26, 60, "new")
    assert found.data.drifted[0].column == "lastmonth_activity"
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage().startswith(
        f"Data of {found.dataset_stamp}: drift in lastmonth_activity (difference 0.5"
    )
    assert "60 new rows against 26" in warning.getMessage()


def test_undrifted_rows_raise_no_warning(
    deployed: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rows = [f"n{row}" for row in SMALL_ROWS]

    found = monitor.main(deployed, dataset_path=deliver(deployed, "c.csv", rows))

    assert found.data.n_compared == 26
    assert found.data.drifted == ()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_the_f1_on_the_test_data_of_the_deployment_is_no_fall(deployed: Config) -> None:
    found = monitor.main(deployed)

    current = release.load_current(deployed.prod_deployment_path)
    assert current is not None
    assert found.score is not None
    assert found.score.f1 == current.manifest.f1
    assert found.f1 is not None
    assert found.f1.f1_before == found.f1.f1_now
    assert not found.f1.has_fallen


def test_a_fall_of_f1_on_new_test_data_is_found(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """The quiet clients left; on the new test data it is the busy ones."""
    write_csv(config.input_folder_path / "a.csv", make_rows(300, 1))
    write_csv(config.test_data_path / "test.csv", make_rows(200, 2))
    for step in (ingestion.main, training.main, scoring.main, deployment.main):
        step(config)
    turned = [f"{row[:-1]}{1 - int(row[-1])}" for row in make_rows(200, 3)]
    write_csv(config.test_data_path / "test.csv", turned)

    found = monitor.main(config)

    assert found.f1 is not None
    assert found.f1.has_fallen
    assert found.f1.f1_before > 0.8 > 0.5 > found.f1.f1_now
    assert "at deployment, p " in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.WARNING


def test_other_columns_are_said_and_nothing_compared(
    deployed: Config,
    changed: Callable[..., Config],
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = changed(schema={"numeric": ("lastmonth_activity",), "minimum": {}})
    path = ingestion.main(other).dataset_path

    found = monitor.main(other, dataset_path=path)

    assert found.data.rows == "none"
    assert "has other columns" in caplog.text


def test_without_a_dataset_it_says_what_to_run(config: Config) -> None:
    with pytest.raises(NotMadeYetError, match=r"scripts\.ingestion"):
        monitor.main(config)


def test_monitoring_writes_nothing(deployed: Config) -> None:
    root = deployed.prod_deployment_path.parent
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    monitor.main(deployed)

    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (b"0.5\nn_rows 4\nn_true_positives 1\nn_false_positives 1\nn_false_negatives 1\n", (4, 1)),
        (b"0.5\nn_rows 4\n", None),
        (b"0.5\nn_rows x\nn_true_positives 1\nn_false_positives 1\nn_false_negatives 1\n", None),
        (b"", None),
    ],
)
def test_what_f1_was_made_of_is_read_off_the_score(
    score: bytes, expected: tuple[int, int] | None
) -> None:
    counts = release.read_counts(score)

    found = None if counts is None else (counts.n_rows, counts.n_true_positives)
    assert found == expected


def make_result() -> MonitoringResult:
    """Make a result by hand: a column with drift, also in missing values, and a column without."""
    drifted = ColumnDrift(
        column="balance",
        kind=ColumnRole.NUMERIC,
        missing_fraction=0.25,
        summary=ColumnSummary(column="balance", mean=1.5, median=1.0, standard_deviation=2.0),
        values=TwoSampleResult(0.2, 0.1),
        missing=TwoSampleResult(0.05, 0.02),
        shift=0.5,
        risk=RiskShift(-0.25, 0.3),
    )
    steady = ColumnDrift(
        column="plan",
        kind=ColumnRole.CATEGORICAL,
        missing_fraction=0.0,
        summary=drift.no_statistics("plan"),
        values=TwoSampleResult(0.01, 0.1),
        missing=None,
        shift=None,
        risk=None,
    )
    data = DataDrift(100, 150, 50, "new", 3, (drifted, steady))
    return MonitoringResult("0001_x", "s", data, None, F1Drift(0.75, 0.5, 200, 300, 0.0012))


def test_findings_are_spelled_as_a_table_and_two_sentences() -> None:
    lines = monitoring.format_result(make_result()).splitlines()

    assert lines[0].split() == [
        "column", "kind", "blank", "mean", "median", "SD", "drift", "limit", "blanks", "limit",
        "shift", "log-odds", "effect",
    ]  # fmt: skip
    assert lines[1].split() == [
        "balance", "numeric", "0.25", "1.5", "1", "2", "0.2", "0.1", "0.05", "0.02", "0.5",
        "-0.25", "0.3", "DRIFT",
    ]  # fmt: skip
    assert lines[2].split() == ["plan", "categorical", "0", "0.01", "0.1"]
    assert lines[3] == (
        "Data: drift in balance (difference 0.200 over 0.100, mean +0.50 SD, blanks differ by"
        " 0.050 over 0.020, effect 0.300, log-odds -0.250); 50 new rows against 100."
    )
    assert lines[4] == (
        "Release 0001_x: F1 0.5000 on 300 test rows, 0.7500 on 200 at deployment, p 0.0012."
    )


def train_and_deploy(config: Config, dataset_path: Path) -> None:
    """Deploy a model of a dataset."""
    model_path = training.main(config, dataset_path=dataset_path).model_path
    scoring.main(config, model_path=model_path)
    deployment.main(config, model_path=model_path, dataset_path=dataset_path)


def test_what_was_found_stands_while_the_same_release_serves(deployed: Config) -> None:
    found = monitor.measure(RunContext(deployed))

    assert monitor.follow_up(found, RunContext(deployed)) is found


def test_after_a_deployment_the_dataset_has_not_drifted_and_is_not_read_again(
    deployed: Config,
) -> None:
    rows = [f"n{i},{500 + i},{120 + 12 * i},{10 + i % 51},1" for i in range(60)]
    path = deliver(deployed, "c.csv", rows)
    before = monitor.measure(RunContext(deployed), path)
    train_and_deploy(deployed, path)
    read_again = monitor.measure(RunContext(deployed), path)
    path.unlink()

    found = monitor.follow_up(before, RunContext(deployed))

    assert before.data.drifted
    assert found.data == replace(read_again.data, rows="none")
    assert (found.release, found.score, found.f1) == (
        read_again.release, read_again.score, read_again.f1,
    )  # fmt: skip


def test_after_a_change_of_schema_the_dataset_is_read_again(deployed: Config) -> None:
    before = monitor.measure(RunContext(deployed))
    schema = msgspec.structs.replace(
        deployed.schema, numeric=deployed.schema.numeric[:2], categorical=("number_of_employees",)
    )
    changed = msgspec.structs.replace(deployed, schema=schema)
    train_and_deploy(changed, ingestion.main(changed).dataset_path)

    found = monitor.follow_up(before, RunContext(changed))

    kinds = {column.column: column.kind for column in found.data.columns}
    assert kinds["number_of_employees"] is ColumnRole.CATEGORICAL
