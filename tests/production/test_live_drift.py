"""Drift of the live rows, in the records and the alerts."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from sqlalchemy.engine import Engine

from benchmarks.drift import NUMBERS, draw, make_model
from scripts import diagnostics, fullprocess
from scripts.core import artifacts
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.core.errors import RecordsError
from scripts.model import drift
from scripts.production import alerts, live_drift, observation
from scripts.production.run_context import RunContext
from scripts.records import alert_states, database, predictions, runs, tables
from scripts.records.tables import RowsOf, Verdict
from tests.conftest import SMALL_ROWS
from tests.production.test_observation import make_evaluation
from tests.support.service import edit_config, served

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FEATURES = [*NUMBERS, "plan"]
ACTIVITIES = [[float(part) for part in row.split(",")[1:4]] for row in SMALL_ROWS]


@pytest.fixture
def logging_installation(deployed: Config, changed: Callable[..., Config]) -> Config:
    """An installation with a first release and a prediction log."""
    return changed(api={"log_predictions": 1.0})


@pytest.fixture
def engine(deployed: Config) -> Iterator[Engine]:
    """The records of the installation."""
    with database.open_records(deployed.database_url) as opened:
        yield opened


def release_of(config: Config) -> str:
    """Return the name of the release in production."""
    return Path(str(artifacts.current_target(config.prod_deployment_path))).name


def log_rows(
    engine: Engine, config: Config, values: list[list[Any]], clients: list[str | None] | None = None
) -> None:
    """Log rows as the service does."""
    rows = [
        {
            "at": datetime.now(UTC), "release": release_of(config), "client": client,
            "values": json.dumps(row), "probability": 0.5, "predicted": True,
        }
        for row, client in zip(values, clients or [None] * len(values), strict=True)
    ]  # fmt: skip
    with database.writing(engine) as connection:
        predictions.record_predictions(connection, rows)


def start_run(engine: Engine) -> int:
    """Record that a run starts."""
    with database.writing(engine) as connection:
        return runs.start_run(connection, datetime.now(UTC))


def shifted(n_rows: int) -> list[list[float]]:
    """Make rows of clients far more active than in the training data."""
    return [[5000.0 + k, 300.0, 20.0] for k in range(n_rows)]


# The comparison


@pytest.fixture
def before() -> pd.DataFrame:
    """A thousand clients of the training data."""
    return draw(np.random.default_rng(20), 1000)


def test_rows_like_those_of_training_are_no_drift(before: pd.DataFrame) -> None:
    rows = draw(np.random.default_rng(21), 800)[FEATURES]

    found = drift.compare_live(rows, make_model(before))

    assert found.drifted == ()
    assert (found.rows, found.n_compared, found.n_reference_rows) == ("live", 800, 1000)
    assert sorted(column.column for column in found.columns) == sorted(FEATURES)


def test_alarms_without_any_drift_are_about_one_in_a_hundred(before: pd.DataFrame) -> None:
    used = make_model(before)

    alarms = [
        bool(drift.compare_live(draw(np.random.default_rng(seed), 300)[FEATURES], used).drifted)
        for seed in range(100, 160)
    ]

    # Of 60 comparisons more than five would be drift of a chance below one in 4,000.
    assert sum(alarms) <= 5


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("balance", lambda values: values + 0.5),
        ("balance", lambda values: values.where(np.arange(len(values)) % 8 != 0)),
        ("plan", lambda values: values.where(np.arange(len(values)) % 5 != 0, "unheard of")),
        ("plan", lambda values: values.where(np.arange(len(values)) % 5 != 0, "")),
        ("is_new", lambda values: values.where(np.arange(len(values)) % 5 != 0, 1.0)),
    ],
    ids=["numbers", "blanks", "new category", "blank category", "rare flag"],
)
def test_a_column_that_moved_is_found_and_no_other(
    before: pd.DataFrame, column: str, change: Callable[[Any], Any]
) -> None:
    rows = draw(np.random.default_rng(21), 800)[FEATURES]

    found = drift.compare_live(rows.assign(**{column: change(rows[column])}), make_model(before))

    assert [c.column for c in found.drifted] == [column]


def test_the_rows_given_are_left_as_they_were(before: pd.DataFrame) -> None:
    rows = draw(np.random.default_rng(21), 50)[FEATURES]
    copy = rows.copy()

    drift.compare_live(rows, make_model(before))

    pd.testing.assert_frame_equal(rows, copy)


# What is compared


def test_a_client_asked_about_often_counts_once_with_his_last_row() -> None:
    rows: list[Any] = [
        {"client": client, "values": value}
        for client, value in [("a", 4), (None, 3), ("b", 2), ("a", 1), (None, 0)]
    ]

    kept = live_drift.last_of_each_client(rows)

    assert [row["values"] for row in kept] == [4, 3, 2, 0]


def test_logged_rows_are_read_as_they_were_predicted(
    logging_installation: Config, engine: Engine
) -> None:
    log_rows(engine, logging_installation, [[1.0, None, 3.0], [2.0, 5.0, 4.0]])

    found = live_drift.measure(engine, RunContext(logging_installation))

    assert found is not None
    months, years = (
        next(c for c in found.data.columns if c.column == name)
        for name in ("lastmonth_activity", "lastyear_activity")
    )
    assert (months.summary.mean, years.missing_fraction) == (1.5, 0.5)
    assert (found.n_logged, found.data.n_compared) == (2, 2)
    assert found.release == release_of(logging_installation)


def test_nothing_is_compared_without_a_log(
    logging_installation: Config, deployed: Config, engine: Engine
) -> None:
    assert live_drift.measure(engine, RunContext(logging_installation)) is None
    log_rows(engine, deployed, ACTIVITIES)
    assert live_drift.measure(engine, RunContext(deployed)) is None


# In the records


def test_live_drift_is_recorded_beside_that_of_the_dataset_and_is_one_alert(
    logging_installation: Config, engine: Engine
) -> None:
    config = logging_installation
    log_rows(engine, config, shifted(60))
    path = artifacts.find_latest(config.output_folder_path, artifacts.Kind.DATASET, "ingestion")
    for _ in range(2):
        run_id = start_run(engine)
        observation.observe(engine, run_id, RunContext(config), path)
        observation.observe_live(engine, run_id, RunContext(config))

    with database.reading(engine) as connection:
        of_dataset = runs.column_statistics_of_run(connection, run_id)
        live = runs.column_statistics_of_run(connection, run_id, RowsOf.LIVE)
        over_runs = runs.list_column_statistics(connection, "lastmonth_activity", 9)
        live_runs = runs.list_column_statistics(
            connection, "lastmonth_activity", 9, role=RowsOf.LIVE
        )
        found = {row["name"]: row["state"] for row in alert_states.list_states(connection)}
        alerts = runs.newest_rows(connection, tables.alerts, 9)
    assert (len(of_dataset), len(live)) == (4, 3)
    assert (len(over_runs), len(live_runs)) == (2, 2)
    assert live_runs[0]["n_compared"] == 60
    assert live_runs[0]["mean"] == pytest.approx(5029.5)
    assert live_runs[0]["drift"] > live_runs[0]["drift_limit"]
    assert found == {"live": "drift", "data": "ok", "model": "ok"}
    assert [(a["name"], a["state"]) for a in alerts] == [("live", "drift")]
    assert "drift in lastmonth_activity" in alerts[0]["detail"]
    assert "60 live rows against 26" in alerts[0]["detail"]


def test_a_deployment_ends_live_drift(logging_installation: Config, engine: Engine) -> None:
    log_rows(engine, logging_installation, shifted(60))
    observation.observe_live(engine, start_run(engine), RunContext(logging_installation))

    observation.record_new_release(engine, start_run(engine), "0002_x", make_evaluation())

    with database.reading(engine) as connection:
        state = alert_states.current_state(connection, "live")
    assert state is not None
    assert state["state"] == "ok"


def test_diagnostics_tell_of_live_rows(
    logging_installation: Config, engine: Engine, deployed: Config
) -> None:
    log_rows(engine, logging_installation, shifted(60))

    measured = json.loads(diagnostics.main(logging_installation).read_text())
    without = json.loads(diagnostics.main(deployed).read_text())

    assert measured["live"]["drifted"][0] == "lastmonth_activity"
    assert (measured["live"]["n_logged"], measured["live"]["rows"]) == (60, "live")
    assert measured["live"]["columns"][0].keys() == measured["drift"]["columns"][0].keys()
    assert without["live"] is None


def test_diagnostics_go_on_without_the_records(
    logging_installation: Config, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.dispose()
    Path(logging_installation.database_url.removeprefix("sqlite:///")).write_bytes(b"x" * 2000)

    measured = json.loads(diagnostics.main(logging_installation).read_text())

    assert measured["live"] is None
    assert "Live rows could not be compared" in caplog.text


# In runs


@pytest.mark.parametrize(
    ("minutes", "more", "expected"),
    [(0, True, False), (59, True, False), (60, True, True), (60, False, False), (-5, True, True)],
)
def test_live_rows_are_looked_at_once_an_hour_if_there_are_more(
    logging_installation: Config, engine: Engine, minutes: int, more: bool, expected: bool
) -> None:
    config, release = logging_installation, release_of(logging_installation)
    assert not alerts.is_live_due(engine, config, release, NOW)
    log_rows(engine, config, ACTIVITIES)
    assert alerts.is_live_due(engine, config, release, datetime.now(UTC))
    observation.observe_live(engine, start_run(engine), RunContext(config))
    if more:
        log_rows(engine, config, ACTIVITIES)

    now = datetime.now(UTC) + timedelta(minutes=minutes)

    assert alerts.is_live_due(engine, config, release, now) is expected


def test_a_run_with_nothing_new_looks_at_live_rows(
    config: Config, changed: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = changed(api={"log_predictions": 1.0})
    assert fullprocess.main(config) is Verdict.DEPLOYED
    with database.open_records(config.database_url) as engine:
        log_rows(engine, config, shifted(60))

    verdicts = [fullprocess.main(config) for _ in range(2)]

    assert verdicts == [Verdict.NOTHING_NEW] * 2
    with database.open_records(config.database_url) as engine, database.reading(engine) as rows:
        state = alert_states.current_state(rows, "live")
        looks = runs.list_column_statistics(rows, "lastmonth_activity", 9, role=RowsOf.LIVE)
    assert state is not None
    assert state["state"] == "drift"
    assert len(looks) == 1
    assert "Compared live rows of release 0001_" in caplog.text
    shown = json.loads((config.prod_deployment_path / artifacts.DIAGNOSTICS).read_text())
    assert shown["live"]["n_logged"] == 60
    assert shown["missing_values"] == [0.0] * 4


def test_a_run_goes_on_when_live_rows_cannot_be_compared(
    config: Config,
    changed: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> bool:
        raise RecordsError("no such table")

    config = changed(api={"log_predictions": 1.0})
    fullprocess.main(config)
    monkeypatch.setattr(alerts, "is_live_due", fail)

    assert fullprocess.main(config) is Verdict.NOTHING_NEW
    assert "Live rows were not compared, and the run goes on: no such table" in caplog.text


def test_what_the_real_server_is_asked_becomes_drift_in_diagnose(
    deployed: Config, config_path: Path, engine: Engine
) -> None:
    names = ("lastmonth_activity", "lastyear_activity", "number_of_employees")
    with served(config_path, log_predictions=1, max_rows=100, max_body_bytes=20_000) as (url, _):
        rows = [dict(zip(names, row, strict=True)) for row in shifted(60)]
        requests.post(f"{url}/predict", json={"data": rows}, timeout=10).raise_for_status()
        for _ in range(100):
            with database.reading(engine) as connection:
                if len(runs.newest_rows(connection, tables.predictions, 10**6)) == 60:
                    break
            time.sleep(0.1)
        diagnostics.main(read_config(config_path))
        told = requests.get(f"{url}/diagnose", timeout=10).json()

    assert told["live"]["drifted"][0] == "lastmonth_activity"
    assert told["live"]["n_compared"] == 60
    edit_config(config_path, api={})
