"""The history of the runs, and the questions asked of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.types import TypeDecorator

from scripts.errors import RecordsError

BUSY_TIMEOUT_S = 30


class Status(StrEnum):
    """How far a run came."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    ABORTED = "aborted"
    SKIPPED = "skipped"


class Verdict(StrEnum):
    """What a finished run decided."""

    DEPLOYED = "deployed"
    HELD = "held"
    INSUFFICIENT = "insufficient data"
    NOTHING_NEW = "nothing new"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets the zone, so it is added when reading."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Store a moment as UTC without a zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give a moment back with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("verdict", sa.String(32)),
    sa.Column("reason", sa.Text),
    sa.Column("fingerprint", sa.String(64)),
    sa.Column("stamp", sa.String(32)),
    sa.Column("candidate_f1", sa.Float),
    sa.Column("production_f1", sa.Float),
    sa.Column("release", sa.String(64)),
    sa.Column("durations_s", sa.JSON),
)

files = sa.Table(
    "files",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.ForeignKey("runs.id"), nullable=False, index=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("n_bytes", sa.BigInteger, nullable=False),
    sa.Column("n_rows", sa.BigInteger, nullable=False),
    sa.Column("n_rejected", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.Text, nullable=False),
)

# What was hashed before, so that a file whose state did not change is not read again.
digests = sa.Table(
    "digests",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("n_bytes", sa.BigInteger, nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
    sa.Column("inode", sa.String(24), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)


@dataclass(frozen=True)
class KnownFile:
    """The state of a file when it was hashed, and its SHA-256."""

    n_bytes: int
    changed_ns: int
    inode: int
    sha256: str


def prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """Make a SQLite connection wait for others, and leave the transactions to SQLAlchemy."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    cursor.close()


def begin_immediate(connection: Connection) -> None:
    """Take the write lock at the start: a deferred one loses updates between two writers."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def as_records_error(url: sa.URL) -> Iterator[None]:
    """Turn the library's errors into the one the programs expect."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        place = url.render_as_string(hide_password=True)
        raise RecordsError(
            f"The records in {place} cannot be used: {cause}. If the file is damaged, move it"
            " away: the next run starts a new one; production is not touched."
        ) from error


@contextmanager
def open_records(database_url: str) -> Iterator[Engine]:
    """Open the records, making the tables if they are missing, and close them at the end.

    Parameters
    ----------
    database_url : str
        As SQLAlchemy spells it.

    Yields
    ------
    sqlalchemy.Engine
        For `writing`.

    Raises
    ------
    RecordsError
        If the database cannot be opened, or is none.
    """
    try:
        engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise RecordsError(f"database_url cannot be used: {error}.") from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", prepare_sqlite)
        sa.event.listen(engine, "begin", begin_immediate)
        if engine.url.database and engine.url.database != ":memory:":
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(engine) as connection:
            metadata.create_all(connection)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction; it is committed at the end, or rolled back by an error."""
    with as_records_error(engine.url), engine.begin() as connection:
        yield connection


def start_run(connection: Connection, now: datetime, status: Status = Status.RUNNING) -> int:
    """Record that a run starts, and return its id."""
    result = connection.execute(runs.insert().values(started_at=now, status=status))
    key = result.inserted_primary_key
    if key is None:
        raise RecordsError("The database gave a new run no id.")
    return int(key[0])


def end_run(connection: Connection, run_id: int, **facts: Any) -> None:
    """Record how a run ended; facts are columns of `runs`."""
    connection.execute(runs.update().where(runs.c.id == run_id).values(**facts))


def abort_dead_runs(connection: Connection, now: datetime) -> int:
    """Mark runs that never ended as aborted, and count them; only the holder of the lock may."""
    reason = "the run was killed, or the machine stopped"
    dead = runs.update().where(runs.c.status == Status.RUNNING)
    return connection.execute(
        dead.values(status=Status.ABORTED, ended_at=now, reason=reason)
    ).rowcount


def last_decided_run(connection: Connection) -> Mapping[str, Any] | None:
    """Find the last run that trained and came to a verdict."""
    decided = (
        sa.select(runs)
        .where(runs.c.status == Status.FINISHED, runs.c.verdict != Verdict.NOTHING_NEW)
        .order_by(runs.c.id.desc())
        .limit(1)
    )
    row = connection.execute(decided).mappings().first()
    return None if row is None else dict(row)


def latest_runs(connection: Connection, limit: int) -> list[Mapping[str, Any]]:
    """List the last runs, newest first."""
    query = sa.select(runs).order_by(runs.c.id.desc()).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def known_files(connection: Connection) -> dict[str, KnownFile]:
    """List the files hashed before, by path."""
    rows = connection.execute(sa.select(digests)).mappings()
    return {
        row["path"]: KnownFile(row["n_bytes"], row["changed_ns"], int(row["inode"]), row["sha256"])
        for row in rows
    }


def replace_known_files(connection: Connection, known: Mapping[str, KnownFile]) -> None:
    """Remember the files hashed now, and forget all others."""
    connection.execute(digests.delete())
    # An inode is an unsigned number of 64 bits, which no integer column holds.
    rows = [
        {"path": path, **asdict(file), "inode": str(file.inode)} for path, file in known.items()
    ]
    if rows:
        connection.execute(digests.insert(), rows)


def record_files(connection: Connection, run_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record the files that a run read; the keys are columns of `files`."""
    if rows:
        connection.execute(files.insert(), [{"run_id": run_id, **row} for row in rows])
