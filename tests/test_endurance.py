"""Whatever happens to the records, the service answers, and works again once they are whole."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from scripts import fullprocess
from scripts.api import prediction_log, records_reader
from scripts.app import create_app
from scripts.core.config import Config
from scripts.core.errors import RecordsError
from scripts.records import predictions, runs
from tests.support.damage import DAMAGES, damage
from tests.support.service import ALL_ROUTES, answer_of, edit_config, make_row, predict, problem_of


def path_of(config: Config) -> Path:
    """Return the path of an installation's records."""
    return Path(config.database_url.removeprefix("sqlite:///"))


@pytest.fixture
def recorded(config: Config) -> Config:
    """An installation whose first run deployed a model and recorded everything."""
    fullprocess.main(config)
    return config


@pytest.fixture
def served(recorded: Config, config_path: Path) -> FlaskClient:
    """A client of a service whose records hold a run and a deployment."""
    return create_app(config_path).test_client()


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=list(DAMAGES))
def test_no_route_fails_over_damaged_records(
    served: FlaskClient, recorded: Config, statement: str
) -> None:
    damage(path_of(recorded), statement)
    served.application.extensions["records"].check()

    statuses = {
        route.path: served.get(route.path.replace("{", "").replace("}", "")).status_code
        for route in ALL_ROUTES
        if route.method == "GET"
    }

    assert {path: status for path, status in statuses.items() if status == 500} == {}
    assert statuses["/health"] == 200
    assert predict(served, make_row()).status_code == 200


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("/runs", "UPDATE runs SET status = X'ff', reason = X'ff'"),
        ("/releases", "UPDATE deployments SET release = X'ff', f1 = 'high'"),
    ],
)
def test_bytes_in_a_column_of_text_are_a_fault_of_the_records(
    served: FlaskClient, recorded: Config, path: str, statement: str
) -> None:
    damage(path_of(recorded), statement)

    assert "The records are damaged" in problem_of(served.get(path), 503)["detail"]


# Charts and report ask the records as well.
@pytest.mark.usefixtures("with_charts")
@pytest.mark.parametrize("statement", DAMAGES.values(), ids=list(DAMAGES))
def test_a_run_over_damaged_records_ends_with_an_expected_failure(
    recorded: Config, statement: str
) -> None:
    damage(path_of(recorded), statement)

    # A run does not ask about every place.
    with suppress(RecordsError):
        fullprocess.main(recorded)


# Threads outlive what they meet


def wait_until(is_so: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def lively(
    recorded: Config, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FlaskClient]:
    """A client of a service whose threads look often and log every prediction."""
    monkeypatch.setattr(records_reader, "CHECK_S", 0.05)
    monkeypatch.setattr(records_reader, "WAIT_S", 0.1)
    monkeypatch.setattr(prediction_log, "FLUSH_S", 0.05)
    monkeypatch.setattr(prediction_log, "RETRY_S", 0.1)
    monkeypatch.setattr(prediction_log, "WAIT_S", 0.1)
    edit_config(config_path, api={"log_predictions": 1})
    client = create_app(config_path).test_client()
    parts = client.application.extensions
    threads = [parts["records"], parts["middleware"].prediction_log]
    for thread in threads:
        thread.start()
    yield client
    for thread in threads:
        thread.stop()


def numbers_of(client: FlaskClient) -> dict[str, float]:
    """Read the numbers without labels off /metrics."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line[0] != "#"]
    pairs = (line.rsplit(" ", 1) for line in lines if "{" not in line)
    return {name: float(value) for name, value in pairs}


def n_logged(client: FlaskClient) -> int:
    """Ask how many predictions were logged."""
    return int(numbers_of(client)["adras_logged_predictions_total"])


def break_by_a_statement(path: Path, statement: str) -> Callable[[], None]:
    """Damage records, and return the repair."""
    whole = path.read_bytes()
    damage(path, statement)
    return lambda: restore(path, whole)


def restore(path: Path, whole: bytes) -> None:
    """Restore records like `python -m scripts.database restore`."""
    path.with_name(".whole").write_bytes(whole)
    path.with_name(".whole").replace(path)


def break_by_garbage(path: Path) -> Callable[[], None]:
    """Fill records with garbage, and return the repair."""
    whole = path.read_bytes()
    path.write_bytes(b"\xff\xfe" * 4000)
    return lambda: restore(path, whole)


def break_by_cutting(path: Path) -> Callable[[], None]:
    """Cut records in two, and return the repair."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return lambda: restore(path, whole)


def break_by_locking(path: Path) -> Callable[[], None]:
    """Lock records, and return the release of the lock."""
    holder = sqlite3.connect(path, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    return holder.close


def break_by_removing(path: Path) -> Callable[[], None]:
    """Remove records, and return the repair."""
    whole = path.read_bytes()
    path.unlink()
    return lambda: restore(path, whole)


BREAKS = {
    "a damaged value": lambda path: break_by_a_statement(path, DAMAGES["a date that is none"]),
    "damaged names": lambda path: break_by_a_statement(path, DAMAGES["names that are no UTF-8"]),
    "garbage": break_by_garbage,
    "half a file": break_by_cutting,
    "a lock": break_by_locking,
    "no file": break_by_removing,
}


@pytest.mark.parametrize("break_records", BREAKS.values(), ids=list(BREAKS))
def test_everything_works_again_by_itself_once_the_records_are_whole(
    lively: FlaskClient, recorded: Config, break_records: Callable[[Path], Callable[[], None]]
) -> None:
    answer_of(predict(lively, make_row()))
    wait_until(lambda: n_logged(lively) == 1 and not answer_of(lively.get("/health"))["errors"])

    repair = break_records(path_of(recorded))
    wait_until(lambda: len(answer_of(lively.get("/health"))["errors"]) == 1)
    answer_of(predict(lively, make_row()))
    repair()

    wait_until(lambda: n_logged(lively) == 2 and not answer_of(lively.get("/health"))["errors"])
    answer_of(lively.get("/runs"))


def test_health_says_that_the_records_do_not_answer(
    lively: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(records_reader, "HANG_LIMIT_S", 0.2)

    with monkeypatch.context() as broken:
        broken.setattr(records_reader, "query_records", lambda *_: goes_on.wait(20) and None)
        wait_until(lambda: "have not answered" in str(answer_of(lively.get("/health"))["errors"]))
    goes_on.set()

    wait_until(lambda: not answer_of(lively.get("/health"))["errors"])


class UnforeseenError(Exception):
    """An error that nobody expected."""


def test_threads_outlive_an_error_that_nobody_expected(
    lively: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UnforeseenError("of a kind of its own")

    with monkeypatch.context() as broken:
        broken.setattr(runs, "last_finished_run", fail)
        broken.setattr(predictions, "record_predictions", fail)
        answer_of(predict(lively, make_row()))
        wait_until(lambda: "UnforeseenError" in str(answer_of(lively.get("/health"))["errors"]))
        wait_until(lambda: numbers_of(lively)["adras_prediction_log_failures_total"] >= 2)
        assert numbers_of(lively)["adras_thread_failures_total"] >= 2

    wait_until(lambda: n_logged(lively) == 1 and not answer_of(lively.get("/health"))["errors"])
    assert {thread.name for thread in threading.enumerate()} >= {"history", "prediction log"}
    # Told once, not every time.
    assert caplog.text.count("The records could not be checked") == 1
