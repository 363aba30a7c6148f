"""Drift and failing runs in the records, and alerts on changes only."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.engine import Engine

from scripts import ingestion
from scripts.api.record_queries import RecordQueries
from scripts.core import artifacts, config, config_file
from scripts.core.config import ColumnLabel, Config
from scripts.core.errors import ConfigError, DatasetError
from scripts.model.metrics import Evaluation
from scripts.production import alerts, monitor, observation
from scripts.production.run_context import RunContext
from scripts.records import alert_states, database, runs, tables
from scripts.records.tables import DeploymentKind, Status, Verdict
from tests.conftest import SMALL_ROWS, write_csv
from tests.production.test_alerts import receiver

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
DRIFTED = [f"n{i},{500 + i},{120 + 12 * i},{10 + i % 51},1" for i in range(60)]


@pytest.fixture
def engine(config: Config) -> Iterator[Engine]:
    """The records of an installation."""
    with database.open_records(config.database_url) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the proxies and URLs of the test machine."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("ADRAS_WEBHOOK_URL", raising=False)


def start_run(engine: Engine) -> int:
    """Record that a run starts."""
    with database.writing(engine) as connection:
        return runs.start_run(connection, NOW)


def end_run(engine: Engine, status: Status, **facts: object) -> int:
    """Record an ended run with a status."""
    run_id = start_run(engine)
    with database.writing(engine) as connection:
        runs.end_run(connection, run_id, status=status, ended_at=NOW, **facts)
    return run_id


def states_of(engine: Engine) -> dict[str, str]:
    """Return the alert states by name."""
    with database.reading(engine) as connection:
        return {row["name"]: row["state"] for row in alert_states.list_states(connection)}


def alerts_of(engine: Engine) -> list[tuple[str, str]]:
    """Return the alerts, oldest first."""
    with database.reading(engine) as connection:
        rows = runs.newest_rows(connection, tables.alerts, 100)
    return [(row["name"], row["state"]) for row in reversed(rows)]


def ingest(config: Config, name: str, rows: list[str]) -> Path:
    """Ingest a further extract."""
    write_csv(config.input_folder_path / name, rows)
    return ingestion.main(config).dataset_path


def test_the_first_run_records_statistics_and_no_state(config: Config, engine: Engine) -> None:
    run_id = start_run(engine)

    observation.observe(engine, run_id, RunContext(config), ingestion.main(config).dataset_path)

    with database.reading(engine) as connection:
        rows = runs.column_statistics_of_run(connection, run_id)
        scores = runs.newest_rows(connection, tables.production_scores, 10)
    assert sorted(row["column"] for row in rows) == [
        "exited", "lastmonth_activity", "lastyear_activity", "number_of_employees",
    ]  # fmt: skip
    months = next(row for row in rows if row["column"] == "lastmonth_activity")
    assert (months["n_rows"], months["n_compared"], months["drift"]) == (26, 0, None)
    assert months["mean"] == pytest.approx(1454 / 26)
    assert scores == []
    assert states_of(engine) == {}


def test_drift_is_recorded_with_its_limit_and_effect_and_is_one_alert(
    deployed: Config, engine: Engine
) -> None:
    path = ingest(deployed, "c.csv", DRIFTED)
    for _ in range(3):
        run_id = start_run(engine)
        observation.observe(engine, run_id, RunContext(deployed), path)

    with database.reading(engine) as connection:
        rows = runs.column_statistics_of_run(connection, run_id)
        [alert] = runs.newest_rows(connection, tables.alerts, 10)
    months = next(row for row in rows if row["column"] == "lastmonth_activity")
    assert (months["n_rows"], months["n_compared"]) == (86, 60)
    assert months["drift"] > months["drift_limit"] > 0
    assert months["effect"] >= abs(months["risk_shift"]) > 0
    assert (alert["name"], alert["state"], alert["previous_state"]) == ("data", "drift", None)
    assert "drift in lastmonth_activity" in alert["detail"]
    assert states_of(engine) == {"data": "drift", "model": "ok"}


def test_production_is_scored_in_every_run(deployed: Config, engine: Engine) -> None:
    path = artifacts.find_latest(deployed.output_folder_path, artifacts.Kind.DATASET, "ingestion")
    for _ in range(2):
        observation.observe(engine, start_run(engine), RunContext(deployed), path)

    with database.reading(engine) as connection:
        first, second = runs.newest_rows(connection, tables.production_scores, 10)
    assert first["f1"] == second["f1"] == 0.8
    assert first["f1_low"] <= 0.8 <= first["f1_high"]
    assert first["n_rows"] == 5
    assert first["release"].startswith("0001_")


def make_evaluation() -> Evaluation:
    """Make the evaluation of a candidate by hand."""
    return Evaluation(
        f1=0.5, f1_low=0.4, f1_high=0.6, precision=0.5, recall=0.5, accuracy=0.5, roc_auc=None,
        n_rows=4, n_positives=2, n_true_positives=1, n_false_positives=1, n_false_negatives=1,
        n_true_negatives=1,
    )  # fmt: skip


def test_a_deployment_ends_the_drift(deployed: Config, engine: Engine) -> None:
    observation.observe(
        engine, start_run(engine), RunContext(deployed), ingest(deployed, "c.csv", DRIFTED)
    )

    observation.record_new_release(engine, start_run(engine), "0002_x", make_evaluation())

    assert states_of(engine) == {"data": "ok", "model": "ok"}
    assert alerts_of(engine) == [("data", "drift"), ("data", "ok")]


def test_an_alert_names_a_column_as_people_do(
    deployed: Config, engine: Engine, changed: Callable[..., Config]
) -> None:
    words = {"lastmonth_activity": ColumnLabel(name="Orders in 30 days")}
    labelled = changed(schema={"column_labels": words})
    path = ingest(deployed, "c.csv", DRIFTED)

    observation.observe(engine, start_run(engine), RunContext(labelled), path)

    with database.reading(engine) as connection:
        [alert] = runs.newest_rows(connection, tables.alerts, 10)
    assert "Orders in 30 days (difference" in alert["detail"]
    assert "lastmonth_activity" not in alert["detail"]


def test_after_a_deployment_the_pages_say_that_nothing_was_compared_with_the_new_model(
    deployed: Config, engine: Engine
) -> None:
    path = ingest(deployed, "c.csv", DRIFTED)
    observation.observe(engine, start_run(engine), RunContext(deployed), path)
    with database.writing(engine) as connection:
        runs.record_deployment(connection, NOW, DeploymentKind.DEPLOY, "0002_x", actor="cron")
    observation.record_new_release(engine, start_run(engine), "0002_x", make_evaluation())

    def shown() -> dict[str, str]:
        with database.reading(engine) as connection:
            return {row["name"]: row["state"] for row in RecordQueries(connection).alert_states()}

    assert shown() == {"data": "new model", "model": "new model", "run": None}
    with database.writing(engine) as connection:
        later = runs.start_run(connection, NOW + timedelta(days=1))
    observation.observe(engine, later, RunContext(deployed), path)
    assert shown() == {"data": "drift", "model": "ok", "run": None}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([Status.FINISHED], []),
        ([Status.FAILED], [("run", "failing")]),
        ([Status.TIMEOUT], [("run", "failing")]),
        ([Status.ABORTED], [("run", "failing")]),
        ([Status.FAILED, Status.FAILED, Status.TIMEOUT], [("run", "failing")]),
        ([Status.FAILED, Status.SKIPPED], [("run", "failing")]),
        ([Status.SKIPPED], []),
        ([Status.FAILED, Status.FINISHED], [("run", "failing"), ("run", "ok")]),
        (
            [Status.FINISHED, Status.FAILED, Status.FINISHED, Status.FINISHED, Status.ABORTED],
            [("run", "failing"), ("run", "ok"), ("run", "failing")],
        ),
    ],
)
def test_only_a_change_from_well_to_failing_or_back_is_an_alert(
    statuses: list[Status], expected: list[tuple[str, str]], config: Config, engine: Engine
) -> None:
    for status in statuses:
        end_run(engine, status, verdict=Verdict.HELD, reason="why")
        alerts.send_due_alerts(engine, config, NOW)

    assert alerts_of(engine) == expected


def test_a_failing_run_says_which_and_why(config: Config, engine: Engine) -> None:
    run_id = end_run(engine, Status.FAILED, reason="failed in ingestion", error="no usable row")

    alerts.send_due_alerts(engine, config, NOW)

    with database.reading(engine) as connection:
        [alert] = runs.newest_rows(connection, tables.alerts, 10)
    assert alert["detail"] == f"run {run_id}, failed: failed in ingestion"
    assert alert["run_id"] == run_id


def test_alerts_are_sent_once(
    changed: Callable[..., Config], config: Config, engine: Engine
) -> None:
    end_run(engine, Status.FAILED, error="no usable row")
    with receiver() as (url, received):
        telling = changed(alerts={"webhook_url": url})
        for _ in range(3):
            alerts.send_due_alerts(engine, telling, NOW)

    [(_, _, message)] = received
    assert [alert["state"] for alert in message["alerts"]] == ["failing"]


def test_what_a_dead_receiver_missed_is_sent_when_it_is_back(
    changed: Callable[..., Config], config: Config, engine: Engine
) -> None:
    with receiver() as (dead_url, _):
        pass
    end_run(engine, Status.FAILED, error="first")
    alerts.send_due_alerts(engine, changed(alerts={"webhook_url": dead_url}), NOW)
    end_run(engine, Status.FINISHED, verdict=Verdict.HELD)
    with receiver() as (url, received):
        alerts.send_due_alerts(engine, changed(alerts={"webhook_url": url}), NOW)

    [(_, _, message)] = received
    assert [alert["state"] for alert in message["alerts"]] == ["failing", "ok"]


def test_what_happened_more_than_a_day_ago_is_no_news(
    changed: Callable[..., Config], config: Config, engine: Engine
) -> None:
    end_run(engine, Status.FAILED, error="old")
    alerts.send_due_alerts(engine, config, NOW)
    with receiver() as (url, received):
        telling = changed(alerts={"webhook_url": url})
        alerts.send_due_alerts(engine, telling, NOW + timedelta(days=1, seconds=1))

    assert received == []


def test_the_environment_wins_over_the_configuration(
    changed: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    end_run(engine, Status.FAILED, error="no usable row")
    with receiver() as (url, received), receiver() as (other, others):
        monkeypatch.setenv("ADRAS_WEBHOOK_URL", url)
        alerts.send_due_alerts(engine, changed(alerts={"webhook_url": other}), NOW)

    assert (len(received), len(others)) == (1, 0)


def test_without_a_receiver_nothing_is_sent(
    config: Config, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "send", lambda *_args: pytest.fail("sent"))
    end_run(engine, Status.FAILED, error="no usable row")

    alerts.send_due_alerts(engine, config, NOW)

    assert alerts_of(engine) == [("run", "failing")]


@pytest.mark.parametrize("url", ["ftp://x/s3cret", "hooks.example.org/s3cret", "http://", " ", 5])
def test_an_address_that_is_none_is_refused_without_showing_it(
    url: object, config_path: Path
) -> None:
    settings = msgspec.json.decode(config_path.read_bytes()) | {"alerts": {"webhook_url": url}}
    config_path.write_bytes(msgspec.json.encode(settings))

    with pytest.raises(ConfigError, match="webhook_url") as caught:
        config_file.read_config(config_path)

    assert "s3cret" not in str(caught.value)


def test_an_address_is_taken(config_path: Path) -> None:
    url = "https://hooks.example.org/services/T0/B0/x?y=z"
    settings = msgspec.json.decode(config_path.read_bytes()) | {"alerts": {"webhook_url": url}}
    config_path.write_bytes(msgspec.json.encode(settings))

    assert config.webhook_url(config_file.read_config(config_path)) == url


def test_looking_whether_to_tell_imports_nothing_heavy(config: Config, engine: Engine) -> None:
    """A run with nothing new asks twice."""
    code = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from scripts.core import config_file\nfrom scripts.production import alerts\n"
        "from scripts.records import database\n"
        "settings = config_file.read_config(Path(sys.argv[1]))\n"
        "with database.open_records(settings.database_url) as engine:\n"
        "    alerts.send_due_alerts(engine, settings, datetime.now(UTC))\n"
        "print(sorted({'requests', 'pandas', 'numpy', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    end_run(engine, Status.FINISHED, verdict=Verdict.NOTHING_NEW)
    path = config.prod_deployment_path.parent / "config.json"

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, check=True, capture_output=True
    )

    assert done.stdout.decode().strip() == "[]"


def test_the_small_table_does_not_drift_from_itself(
    deployed: Config, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = ingest(deployed, "c.csv", [f"n{row}" for row in SMALL_ROWS])

    observation.observe(engine, start_run(engine), RunContext(deployed), path)

    assert states_of(engine) == {"data": "ok", "model": "ok"}
    assert alerts_of(engine) == []
    assert monitor.main(deployed, dataset_path=path).data.n_compared == 26


def test_whole_runs_record_drift_and_tell_of_failing_and_recovering(
    config: Config, changed: Callable[..., Config]
) -> None:
    from scripts import fullprocess

    with receiver() as (url, received):
        telling = changed(alerts={"webhook_url": url}, api={"port": 1, "timeout_s": 0.5})
        fullprocess.main(telling)
        fullprocess.main(telling)
        table = telling.input_folder_path / "a.csv"
        text = table.read_text()
        for path in telling.input_folder_path.iterdir():
            path.unlink()
        for _ in range(2):
            with pytest.raises(DatasetError):
                fullprocess.main(telling)
        table.write_text(text)
        fullprocess.main(telling)

    told = [[(a["name"], a["state"]) for a in message["alerts"]] for _, _, message in received]
    assert told == [[("run", "failing")], [("run", "ok")]]
    with (
        database.open_records(config.database_url) as opened,
        database.reading(opened) as connection,
    ):
        rows = runs.column_statistics_of_run(connection, 1)
        scores = runs.newest_rows(connection, tables.production_scores, 10)
    assert len(rows) == 4
    assert scores[-1]["release"].startswith("0001_")
    assert scores[-1]["f1"] == 0.8
