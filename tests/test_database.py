"""The history of the runs, also under concurrent writers."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from scripts import database
from scripts.database import KnownFile, Status, Verdict
from scripts.errors import RecordsError

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database that is not there yet."""
    return f"sqlite:///{tmp_path / 'runs.db'}"


def test_a_run_is_found_again_with_its_zone(url: str) -> None:
    with database.open_records(url) as engine, database.writing(engine) as connection:
        run_id = database.start_run(connection, NOW)
        database.end_run(
            connection, run_id, status=Status.FINISHED, verdict=Verdict.HELD, durations_s={"a": 1.5}
        )

        run = database.latest_runs(connection, 1)[0]

    assert run["started_at"] == NOW
    assert run["durations_s"] == {"a": 1.5}


def test_the_last_decided_run_is_neither_a_failed_nor_an_idle_one(url: str) -> None:
    ends = [
        (Status.FINISHED, Verdict.DEPLOYED),
        (Status.FINISHED, Verdict.NOTHING_NEW),
        (Status.FAILED, None),
        (Status.SKIPPED, None),
    ]
    with database.open_records(url) as engine, database.writing(engine) as connection:
        assert database.last_decided_run(connection) is None
        for status, verdict in ends:
            run_id = database.start_run(connection, NOW)
            database.end_run(connection, run_id, status=status, verdict=verdict)

        last = database.last_decided_run(connection)

    assert last is not None
    assert last["verdict"] == Verdict.DEPLOYED


def test_a_run_that_never_ended_is_aborted(url: str) -> None:
    with database.open_records(url) as engine, database.writing(engine) as connection:
        database.start_run(connection, NOW)

        n_dead = database.abort_dead_runs(connection, NOW + timedelta(hours=1))

        assert n_dead == 1
        assert database.latest_runs(connection, 1)[0]["status"] == Status.ABORTED
        assert database.abort_dead_runs(connection, NOW) == 0


def test_known_files_are_replaced_whole_with_inodes_of_64_bits(url: str) -> None:
    known = {"a.csv": KnownFile(10, 2**62, 2**64 - 1, "f" * 64)}
    with database.open_records(url) as engine, database.writing(engine) as connection:
        database.replace_known_files(connection, {"old.csv": KnownFile(1, 1, 1, "0" * 64)})

        database.replace_known_files(connection, known)

        assert database.known_files(connection) == known


def start_and_fail(engine: Engine) -> None:
    """Start a run in a transaction that fails."""
    with database.writing(engine) as connection:
        database.start_run(connection, NOW)
        raise ZeroDivisionError


def test_an_error_rolls_the_transaction_back(url: str) -> None:
    with database.open_records(url) as engine:
        with pytest.raises(ZeroDivisionError):
            start_and_fail(engine)

        with database.writing(engine) as connection:
            assert database.latest_runs(connection, 5) == []


@pytest.mark.parametrize("bad_url", ["nonsense", "nodialect://x"])
def test_a_url_that_cannot_be_right_is_named(bad_url: str) -> None:
    with pytest.raises(RecordsError, match="database_url"), database.open_records(bad_url):
        pass


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"garbage" * 1000)

    with (
        pytest.raises(RecordsError, match="file is not a database.*move it away"),
        database.open_records(f"sqlite:///{path}"),
    ):
        pass


WRITER = """
import sys
from datetime import UTC, datetime
from scripts import database
with database.open_records(sys.argv[1]) as engine:
    for _ in range(20):
        with database.writing(engine) as connection:
            known = database.known_files(connection)
            count = known["x"].n_bytes if known else 0
            database.replace_known_files(
                connection, {"x": database.KnownFile(count + 1, 0, 0, "")})
"""


def test_no_update_is_lost_between_concurrent_writers(url: str) -> None:
    command = [sys.executable, "-c", WRITER, url]
    writers = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]

    assert [writer.wait() for writer in writers] == [0] * 4

    with database.open_records(url) as engine, database.writing(engine) as connection:
        assert database.known_files(connection)["x"].n_bytes == 80
