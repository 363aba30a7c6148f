"""The prediction log: sampled, bounded, written in batches, and never on a prediction's way."""

import json
import logging
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import requests
from flask.testing import FlaskClient

from scripts import apicalls, diagnostics
from scripts.api import prediction_log
from scripts.api.prediction_log import LoggedRows, PredictionLog
from scripts.app import create_app
from scripts.core import artifacts, erased_clients, keys
from scripts.core.config import Config
from scripts.core.config_file import read_config
from scripts.records import database, predictions, runs, tables
from scripts.records.tables import DeploymentKind
from tests.support.service import (
    FIRST,
    ROOT,
    SECOND,
    answer_of,
    edit_config,
    make_model,
    make_row,
    predict,
    served,
    switch,
    write_release,
)

KEY = bytes(range(32))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Counts(dict[str, int]):
    """What a log was told to count."""

    def __call__(self, what: str, number: int) -> None:
        """Count."""
        self[what] = self.get(what, 0) + number


def make_predicted(n_rows: int, *, at_s: float | None = None, ids: Any = None) -> LoggedRows:
    """Make the rows of one request: their first activity is their number."""
    columns = {"lastmonth_activity": np.arange(n_rows, dtype=np.float64)}
    at_s = time.time() if at_s is None else at_s
    return LoggedRows(FIRST, columns, ids, [0.25] * n_rows, [False] * n_rows, at_s)


def make_records(url: str) -> None:
    """Make the records, as the first run does."""
    with database.open_records(url):
        pass


def rows_of(url: str, release: str = FIRST) -> list[runs.Row]:
    """List what was logged, the oldest first."""
    with database.open_records(url) as engine, database.reading(engine) as connection:
        return predictions.recent_predictions(connection, release, 1_000_000)[::-1]


@pytest.fixture
def counts() -> Counts:
    """What the log counted."""
    return Counts()


@pytest.fixture
def started(config: Config, counts: Counts) -> Iterator[PredictionLog]:
    """A log that writes to the records of an installation."""
    make_records(config.database_url)
    begun = PredictionLog(lambda: config, counts)
    begun.start()
    yield begun
    begun.stop()


@pytest.fixture
def logging_client(prod: Path, config_path: Path) -> Iterator[FlaskClient]:
    """A client of a service that logs every row."""
    edit_config(config_path, api={"log_predictions": 1})
    make_records(read_config(config_path).database_url)
    client = create_app(config_path).test_client()
    log: PredictionLog = client.application.extensions["middleware"].prediction_log
    log.start()
    yield client
    log.stop()


def stop_log(client: FlaskClient) -> None:
    """Let the log of a service write what waits and end."""
    client.application.extensions["middleware"].prediction_log.stop()


def numbers_of(client: FlaskClient) -> dict[str, float]:
    """Read the counters of the log off /metrics."""
    lines = [line.split() for line in client.get("/metrics").text.splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in lines if "logg" in name or "dropped" in name
            or "prediction_log" in name}  # fmt: skip


# What is logged


def test_a_row_is_logged_as_it_was_predicted(
    logging_client: FlaskClient, config_path: Path
) -> None:
    before = datetime.now(UTC)
    answer_of(predict(logging_client, make_row(0) | {"corporation": "acme", "secret": "x"}))
    answer_of(predict(logging_client, make_row(None), make_row(2)))
    stop_log(logging_client)

    first, second, third = rows_of(read_config(config_path).database_url)

    assert (first["release"], first["probability"], first["predicted"]) == (FIRST, 0.75, True)
    assert [json.loads(row["values"]) for row in (first, second, third)] == [
        [0.0, 7.0, 3.0], [None, 7.0, 3.0], [2.0, 7.0, 3.0],
    ]  # fmt: skip
    assert (third["probability"], third["predicted"]) == (pytest.approx(0.25), False)
    assert before <= first["at"] <= datetime.now(UTC)
    assert numbers_of(logging_client) == {
        "adras_logged_predictions_total": 3.0,
        "adras_dropped_predictions_total": 0.0,
        "adras_prediction_log_failures_total": 0.0,
    }


def test_who_was_asked_about_is_kept_as_a_hash_only(
    logging_client: FlaskClient, config_path: Path
) -> None:
    rows = [make_row(0) | {"corporation": name} for name in ("acme", "acme", " acme", "bloom", "")]
    for row in [*rows, make_row(0)]:
        answer_of(predict(logging_client, row))
    answer_of(predict(logging_client, *rows))
    body = "corporation,lastmonth_activity,lastyear_activity,number_of_employees\nacme,0,7,3\n"
    answer_of(logging_client.post("/predict", data=body, content_type="text/csv"))
    stop_log(logging_client)

    config = read_config(config_path)
    clients = [row["client"] for row in rows_of(config.database_url)]

    acme, bloom = clients[0], clients[3]
    assert clients == [acme, acme, acme, bloom, None, None, acme, acme, acme, bloom, None, acme]
    assert len(acme) == 12
    assert acme != bloom
    assert b"acme" not in Path(config.database_url.removeprefix("sqlite:///")).read_bytes()


@pytest.mark.parametrize(
    "parts", [(), (None,), ("",), (msgspec.UNSET,), ("a", None), ("a", msgspec.UNSET)]
)
def test_a_client_who_is_not_fully_named_has_no_hash(parts: tuple[object, ...]) -> None:
    assert prediction_log.hash_client(parts, KEY) is None


def test_several_identifiers_are_not_run_together() -> None:
    hashes = [
        prediction_log.hash_client(names, KEY) for names in (("ab", "c"), ("a", "bc"), (7,), ("7",))
    ]

    assert hashes[0] != hashes[1]
    assert hashes[2] == hashes[3]


def test_a_hash_cannot_be_guessed_without_the_key_of_the_installation() -> None:
    hashed = prediction_log.hash_client(("acme",), KEY)

    assert hashed != prediction_log.hash_client(("acme",), bytes(32))
    assert prediction_log.hash_client(("acme",), None) is None


def test_hashes_that_earlier_versions_logged_without_a_key_are_forgotten(records_url: str) -> None:
    common = {"at": NOW, "release": FIRST, "values": "[]", "probability": 0.5, "predicted": False}
    keyed = prediction_log.hash_client(("acme",), KEY)
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        rows = [common | {"client": client} for client in ("0123456789abcdef", keyed, None)]
        predictions.record_predictions(connection, rows)

        n_forgotten = predictions.forget_open_hashes(connection)

        assert n_forgotten == 1
        assert [row["client"] for row in predictions.recent_predictions(connection, FIRST, 9)] == [
            None, keyed, None,
        ]  # fmt: skip


def test_where_no_key_can_be_made_rows_are_logged_without_a_client(
    config: Config, counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    make_records(config.database_url)
    (config.prod_deployment_path / keys.KEY).mkdir(parents=True)
    log = PredictionLog(lambda: config, counts)
    for _ in range(2):
        log.add(make_predicted(1, ids=[("acme",)]), 1)
        assert log._flush()

    assert [row["client"] for row in rows_of(config.database_url)] == [None, None]
    assert counts == {"logged": 2}
    assert caplog.text.count("without a hash of the client") == 1


def test_categories_are_logged_as_the_model_reads_them(config_path: Path) -> None:
    write_release(config_path.parent / "prod", FIRST, make_model(categorical=True))
    switch(config_path.parent / "prod", FIRST)
    edit_config(config_path, api={"log_predictions": 1})
    url = read_config(config_path).database_url
    make_records(url)
    client = create_app(config_path).test_client()
    client.application.extensions["middleware"].prediction_log.start()

    for plan in (" gold ", None, "iron\x00\u00e9"):
        answer_of(predict(client, make_row(0) | {"plan": plan}))
    stop_log(client)

    assert [json.loads(row["values"])[3] for row in rows_of(url)] == ["gold", "", "iron\x00\u00e9"]


def test_nothing_is_logged_unless_asked_for(prod: Path, config_path: Path) -> None:
    url = read_config(config_path).database_url
    make_records(url)
    client = create_app(config_path).test_client()
    client.application.extensions["middleware"].prediction_log.start()

    answer_of(predict(client, make_row(0)))
    refused = client.post("/predict", json={"data": [{}]})
    stop_log(client)

    assert refused.status_code == 422
    assert rows_of(url) == []


def test_an_edit_of_the_config_switches_logging_on_and_off(
    logging_client: FlaskClient, config_path: Path
) -> None:
    for fraction, month in ((1, 0), (None, 1), (1, 2)):
        edit_config(config_path, api={"log_predictions": fraction})
        answer_of(predict(logging_client, make_row(month) | {"corporation": "acme"}))
    stop_log(logging_client)

    rows = rows_of(read_config(config_path).database_url)
    assert [json.loads(row["values"])[0] for row in rows] == [0.0, 2.0]
    assert None not in [row["client"] for row in rows]


def test_a_request_that_is_no_traffic_is_not_logged(
    logging_client: FlaskClient, config_path: Path
) -> None:
    for month, value in ((0, "off"), (1, "on"), (2, "")):
        body = {"data": [make_row(month)]}
        answer_of(logging_client.post("/predict", json=body, headers={"Adras-Log": value}))
    stop_log(logging_client)

    rows = rows_of(read_config(config_path).database_url)
    assert [json.loads(row["values"])[0] for row in rows] == [1.0, 2.0]


def test_asking_about_the_test_data_is_no_traffic(deployed: Config, config_path: Path) -> None:
    make_records(deployed.database_url)
    with served(config_path, log_predictions=1, max_rows=100) as (_, process):
        diagnostics.main(read_config(config_path))
        apicalls.main(read_config(config_path))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    name = Path(str(artifacts.current_target(deployed.prod_deployment_path))).name
    assert rows_of(deployed.database_url, name) == []


# How many of them


@pytest.mark.parametrize("n_rows", [1, 10])
def test_a_share_of_the_rows_is_logged(n_rows: int, counts: Counts, config: Config) -> None:
    log = PredictionLog(lambda: config, counts)

    for _ in range(4000 // n_rows):
        log.add(make_predicted(n_rows), 0.25)

    taken = log._dequeue(None)
    # Of 4,000 rows, a quarter, give or take five standard deviations of 27.
    assert sum(predicted.n_rows for predicted in taken) == pytest.approx(1000, abs=137)
    for predicted in taken:
        assert len(predicted.columns["lastmonth_activity"]) == predicted.n_rows > 0


def test_the_chosen_rows_keep_their_columns_together() -> None:
    predicted = make_predicted(4, ids=[("a",), ("b",), ("c",), ("d",)])

    rows = prediction_log.format_rows(prediction_log.sample_rows(predicted, np.array([1, 3])), KEY)

    assert [row["values"] for row in rows] == ["[1.0]", "[3.0]"]
    assert [row["client"] for row in rows] == [
        prediction_log.hash_client(i, KEY) for i in ("b", "d")
    ]


def test_the_newest_rows_are_kept(config: Config, counts: Counts) -> None:
    kept = msgspec.structs.replace(config.retention, predictions=5)
    config = msgspec.structs.replace(config, retention=kept)
    make_records(config.database_url)
    log = PredictionLog(lambda: config, counts)
    log.start()

    for _ in range(3):
        log.add(make_predicted(4), 1)
        while counts.get("logged", 0) % 4 or not counts:
            time.sleep(0.01)
    log.stop()

    values = [row["values"] for row in rows_of(config.database_url)]
    assert counts == {"logged": 12}
    assert values == ["[3.0]", "[0.0]", "[1.0]", "[2.0]", "[3.0]"]


def test_a_full_queue_drops_and_counts(
    counts: Counts, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MAX_WAITING", 10)
    log = PredictionLog(lambda: config, counts)

    for n_rows in (6, 5, 4, 1):
        log.add(make_predicted(n_rows), 1)

    assert counts == {"dropped": 6}
    assert [predicted.n_rows for predicted in log._dequeue(None)] == [6, 4]


def test_a_request_larger_than_the_queue_is_taken_alone(
    counts: Counts, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MAX_WAITING", 10)
    log = PredictionLog(lambda: config, counts)

    log.add(make_predicted(11), 1)
    log.add(make_predicted(1), 1)

    assert counts == {"dropped": 1}


# When the records cannot be written


def test_rows_wait_for_the_records_and_are_not_lost(
    config: Config, counts: Counts, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(prediction_log, "RETRY_S", 0.05)
    log = PredictionLog(lambda: config, counts)
    log.start()
    log.add(make_predicted(2), 1)
    log.add(make_predicted(1), 1)
    while counts.get("failed", 0) < 3:
        time.sleep(0.01)

    make_records(config.database_url)
    log.stop()

    assert [row["values"] for row in rows_of(config.database_url)] == ["[0.0]", "[1.0]", "[0.0]"]
    assert counts["logged"] == 3
    assert "dropped" not in counts
    assert len([entry for entry in caplog.records if entry.levelno >= logging.WARNING]) == 1
    assert "There are no records" in caplog.text


def test_what_waited_too_long_is_given_up(
    config: Config, counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    log = PredictionLog(lambda: config, counts)
    log.add(make_predicted(2, at_s=time.time() - prediction_log.GIVEN_UP_S - 1), 1)
    log.add(make_predicted(3), 1)

    assert not log._flush()

    assert counts == {"failed": 1, "dropped": 2}
    assert [predicted.n_rows for predicted in log._dequeue(None)] == [3]
    assert "2 predictions were not logged" in caplog.text


def test_what_cannot_be_written_at_the_end_is_counted(
    config: Config, counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    log = PredictionLog(lambda: config, counts)
    log.start()
    log.add(make_predicted(2), 1)
    log.stop()

    assert counts["dropped"] == 2
    assert "the service ends" in caplog.text


def test_records_of_another_version_are_left_alone(config: Config, counts: Counts) -> None:
    path = Path(config.database_url.removeprefix("sqlite:///"))
    make_records(config.database_url)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
    connection.close()
    log = PredictionLog(lambda: config, counts)
    log.add(make_predicted(1), 1)

    assert not log._flush()
    assert counts == {"failed": 1}


@pytest.mark.parametrize("state", ["lost", "locked", "garbage"])
def test_without_the_records_predictions_go_on_as_fast(
    logging_client: FlaskClient, config_path: Path, state: str
) -> None:
    path = Path(read_config(config_path).database_url.removeprefix("sqlite:///"))
    holder = None
    if state == "lost":
        path.unlink()
    elif state == "garbage":
        path.write_bytes(b"no database" * 1000)
    else:
        holder = sqlite3.connect(path)
        holder.execute("BEGIN EXCLUSIVE")

    slowest_s, until = 0.0, time.monotonic() + 1.5
    while time.monotonic() < until:
        started = time.monotonic()
        answer_of(predict(logging_client, make_row(0)))
        slowest_s = max(slowest_s, time.monotonic() - started)
        time.sleep(0.002)
    health = logging_client.get("/health")
    if holder is not None:
        holder.close()

    # A lock is waited for by the writer for two seconds, and by a request not at all.
    assert slowest_s < 1
    assert health.status_code == 200
    if state != "locked":
        assert numbers_of(logging_client)["adras_prediction_log_failures_total"] >= 1


def test_rows_are_logged_after_a_lock_is_over(
    started: PredictionLog, config: Config, counts: Counts
) -> None:
    holder = sqlite3.connect(config.database_url.removeprefix("sqlite:///"))
    holder.execute("BEGIN EXCLUSIVE")
    started.add(make_predicted(2), 1)
    time.sleep(prediction_log.FLUSH_S + 0.3)
    assert counts == {}

    holder.close()
    started.stop()

    assert counts == {"logged": 2}


# On both databases


def test_both_databases_keep_the_same(records_url: str, config: Config, counts: Counts) -> None:
    config = msgspec.structs.replace(config, database_url=records_url)
    make_records(records_url)
    log = PredictionLog(lambda: config, counts)
    log.start()
    log.add(make_predicted(3, ids=[("a",), ("b",), (None,)]), 1)
    log.stop()

    rows = rows_of(records_url)

    assert [row["values"] for row in rows] == ["[0.0]", "[1.0]", "[2.0]"]
    key = keys.make_key(config.prod_deployment_path)
    hashes = [prediction_log.hash_client((name,), key) for name in ("a", "b")]
    assert [row["client"] for row in rows] == [*hashes, None]
    assert counts == {"logged": 3}


def test_rows_are_of_the_release_and_of_its_present_time(records_url: str) -> None:
    common = {"client": None, "values": "[]", "probability": 0.5, "predicted": False}
    rows = [
        {"release": name, "at": NOW + timedelta(hours=hours), **common}
        for name, hours in ((FIRST, 0), (SECOND, 1), (FIRST, 3), (FIRST, 4))
    ]
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        predictions.record_predictions(connection, rows)
        before = predictions.recent_predictions(connection, FIRST, 10)
        for hours, name in ((-1, FIRST), (1, SECOND), (2, FIRST)):
            runs.record_deployment(
                connection, NOW + timedelta(hours=hours), DeploymentKind.DEPLOY, name, actor="x"
            )
        after = predictions.recent_predictions(connection, FIRST, 10)
        last = predictions.recent_predictions(connection, FIRST, 1)
        n_removed = predictions.forget_old_predictions(connection, 3)
        n_left = len(runs.newest_rows(connection, tables.predictions, 10**6))

    assert [row["at"].hour for row in before] == [7, 6, 3]
    assert [row["at"].hour for row in after] == [7, 6]
    assert [row["at"].hour for row in last] == [7]
    assert (n_removed, n_left) == (1, 3)


# The real server


def wait_for_rows(url: str, n_rows: int) -> None:
    """Wait until so many rows are logged."""
    for _ in range(100):
        with database.open_records(url) as engine, database.reading(engine) as connection:
            if len(runs.newest_rows(connection, tables.predictions, 10**6)) == n_rows:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{n_rows} rows were not logged")


def test_two_processes_of_the_real_server_log_every_row(
    prod: Path, config_path: Path, records_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_DATABASE_URL", records_url)
    make_records(records_url)
    with served(config_path, workers=2, log_predictions=1) as (url, process):
        for month in range(40):
            body = {"data": [make_row(month), make_row(month)]}
            requests.post(f"{url}/predict", json=body, timeout=10).raise_for_status()
        wait_for_rows(records_url, 80)
        numbers = requests.get(f"{url}/metrics", timeout=10).text
        process.send_signal(signal.SIGTERM)
        _, log_text = process.communicate(timeout=20)

    months = sorted(json.loads(row["values"])[0] for row in rows_of(records_url))
    assert months == sorted([float(month) for month in range(40)] * 2)
    assert "adras_logged_predictions_total 80.0" in numbers
    assert "Traceback" not in log_text


def test_an_orderly_stop_writes_what_waits(prod: Path, config_path: Path) -> None:
    url_of_records = read_config(config_path).database_url
    make_records(url_of_records)
    with served(config_path, log_predictions=1) as (url, process):
        for month in range(5):
            requests.post(f"{url}/predict", json={"data": [make_row(month)]}, timeout=10)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert process.returncode == 0
    assert len(rows_of(url_of_records)) == 5


def test_the_service_imports_no_database_before_there_is_a_row() -> None:
    code = (
        "import sys, scripts.app\nsys.exit('sqlalchemy' in sys.modules or 'alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_no_client_gets_into_the_log_of_the_service(
    logging_client: FlaskClient, config_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    Path(read_config(config_path).database_url.removeprefix("sqlite:///")).write_bytes(b"x" * 999)
    answer_of(predict(logging_client, make_row(1337.25) | {"corporation": "CANARY-4711"}))
    stop_log(logging_client)

    assert "were not logged" in caplog.text
    assert "CANARY" not in caplog.text
    assert "1337" not in caplog.text


def test_it_is_known_when_live_rows_were_last_compared(records_url: str) -> None:
    row = {"release": FIRST, "at": NOW, "values": "[]", "probability": 0.5, "predicted": False}
    statistics = {"column": "age", "dataset_stamp": "S", "kind": "numeric", "n_rows": 9}
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        assert predictions.last_live_comparison(connection) is None
        assert not predictions.has_predictions_since(connection, FIRST, None)
        for hours, role in ((0, "dataset"), (1, "live"), (2, "dataset")):
            run_id = runs.start_run(connection, NOW + timedelta(hours=hours))
            runs.record_column_statistics(connection, run_id, [statistics | {"role": role}])
        predictions.record_predictions(connection, [row])

        assert predictions.last_live_comparison(connection) == NOW + timedelta(hours=1)
        assert predictions.has_predictions_since(connection, FIRST, None)
        assert predictions.has_predictions_since(connection, FIRST, NOW - timedelta(seconds=1))
        assert not predictions.has_predictions_since(connection, FIRST, NOW)
        assert not predictions.has_predictions_since(connection, SECOND, None)


def test_predictions_of_an_erased_client_are_not_logged(config: Config) -> None:
    make_records(config.database_url)
    key = keys.make_key(config.prod_deployment_path)
    counted = Counts()
    prediction = PredictionLog(lambda: config, counted)
    prediction.add(make_predicted(3, ids=[("acme",), ("zeta",), (None,)]), 1.0)
    # Erased while the row waits.
    erased_clients.write_list(
        config.prod_deployment_path, [erased_clients.hash_client(key, "acme")]
    )

    prediction.start()
    prediction.stop()

    rows = rows_of(config.database_url)
    assert [row["values"] for row in rows] == ["[1.0]", "[2.0]"]
    assert counted == {"logged": 2, "dropped": 1}


def test_a_client_erased_while_the_log_waits_for_the_records_is_left_out(
    config: Config, counts: Counts
) -> None:
    make_records(config.database_url)
    folder = config.prod_deployment_path
    erased = erased_clients.hash_client(keys.make_key(folder), "acme")
    log = PredictionLog(lambda: config, counts)
    log.add(make_predicted(2, ids=[("acme",), ("bloom",)]), 1)

    with ThreadPoolExecutor(1) as threads:
        with database.open_records(config.database_url) as engine, database.writing(engine):
            # The erasure holds the records, and the log waits for them.
            flushed = threads.submit(log._flush)
            with pytest.raises(TimeoutError):
                flushed.result(timeout=1)
            erased_clients.write_list(folder, [erased])
        assert flushed.result(timeout=10)

    assert [row["values"] for row in rows_of(config.database_url)] == ["[1.0]"]
    assert counts == {"logged": 1, "dropped": 1}
