"""Waits for SQLite's locks, and the journal of many transactions one after the other."""

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from scripts.core.errors import RecordsError
from scripts.records import database

BLOB_BYTES = 2**20
# SQLite itself would ask 128 ms and 178 ms after the start.
HELD_S = 0.135
LATE_S = 0.03


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the path of a file with two tables, whose sums are always equal."""
    path = tmp_path / "records.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE one (number INTEGER, content BLOB)")
        connection.execute("CREATE TABLE other (number INTEGER, content BLOB)")
    return path


@pytest.fixture
def engine(place: Path) -> Iterator[Engine]:
    """Return an engine of the file."""
    opened = database.make_engine(f"sqlite:///{place}", 5)
    yield opened
    opened.dispose()


def count(connection: sa.Connection, table: str) -> int:
    """Return the number of rows."""
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def wait_behind_lock(engine: Engine, place: Path, *, writes: bool) -> float:
    """Return how many seconds after the end of another program's lock a transaction reads."""
    released_s: list[float] = []

    def release() -> None:
        holder.execute("COMMIT")
        released_s.append(time.monotonic())

    with closing(sqlite3.connect(place, isolation_level=None, check_same_thread=False)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(HELD_S, release)
        timer.start()
        opened = database.writing(engine) if writes else database.reading(engine)
        with opened as connection:
            count(connection, "one")
            read_s = time.monotonic()
        timer.join()
    return read_s - released_s[0]


@pytest.mark.parametrize("writes", [False, True])
def test_a_wait_ends_with_the_lock(engine: Engine, place: Path, writes: bool) -> None:
    # The shortest, because another program may have the processor.
    assert min(wait_behind_lock(engine, place, writes=writes) for _ in range(4)) < LATE_S


def test_a_commit_waits_for_the_readers_of_its_moment(engine: Engine) -> None:
    started, ended = threading.Event(), threading.Event()

    def read() -> None:
        with database.reading(engine) as connection:
            counts.append(count(connection, "one"))
            started.set()
            ended.wait(5)
            counts.append(count(connection, "one"))

    counts: list[int] = []
    reader = threading.Thread(target=read)
    reader.start()
    started.wait(5)
    threading.Timer(0.05, ended.set).start()
    with database.writing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO one VALUES (1, NULL)")
    reader.join()

    assert counts == [0, 0]
    with database.reading(engine) as connection:
        assert count(connection, "one") == 1


def test_a_commit_behind_a_reader_without_an_end_is_undone(place: Path) -> None:
    engine = database.make_engine(f"sqlite:///{place}", 0.05)
    with (
        database.reading(engine) as reader,
        pytest.raises(RecordsError, match="locked"),
        database.writing(engine) as connection,
    ):
        connection.exec_driver_sql("INSERT INTO one VALUES (1, NULL)")

    assert reader.closed
    with database.reading(engine) as connection:
        assert count(connection, "one") == 0


def test_the_journal_of_many_transactions_is_kept_for_them_alone(
    engine: Engine, place: Path
) -> None:
    journal = place.with_name(f"{place.name}-journal")
    for number in range(2):
        with database.writing(engine, is_one_of_many=True) as connection:
            connection.exec_driver_sql(
                "INSERT INTO one VALUES (?, zeroblob(?))", (number, BLOB_BYTES)
            )
        assert journal.exists()
        with database.reading(engine) as connection:
            assert count(connection, "one") == number + 1

    with database.writing(engine, is_one_of_many=True) as connection:
        connection.exec_driver_sql("DELETE FROM one")
    # What is deleted is neither copied nor overwritten.
    assert journal.stat().st_size < BLOB_BYTES / 8

    with database.writing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO other VALUES (1, NULL)")
    assert not journal.exists()


def write_pairs(place: Path) -> None:
    """Write into both tables, and delete from both, until killed."""
    engine = database.make_engine(f"sqlite:///{place}", 5)
    while True:
        for statement in ("INSERT INTO {} VALUES (1, zeroblob(20000))", "DELETE FROM {}"):
            with database.writing(engine, is_one_of_many=True) as connection:
                for table in ("one", "other"):
                    connection.exec_driver_sql(statement.format(table))


def test_a_transaction_of_many_is_whole_or_undone_after_a_kill(engine: Engine, place: Path) -> None:
    draw = random.Random(1)
    for _ in range(15):
        child = os.fork()
        if child == 0:
            try:
                write_pairs(place)
            finally:
                os._exit(1)
        time.sleep(draw.uniform(0.01, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

        with database.reading(engine) as connection:
            assert count(connection, "one") == count(connection, "other")
    with closing(sqlite3.connect(place)) as checked:
        assert checked.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # The header of a SQLite file counts the transactions.
    assert int.from_bytes(place.read_bytes()[24:28]) > 50
