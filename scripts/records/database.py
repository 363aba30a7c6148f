"""Opens the records in SQLite or PostgreSQL, and migrates their tables."""

import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from scripts.core.errors import NotMadeYetError, PipelineError, RecordsError
from scripts.records import tables
from scripts.records.sqlite_locks import PollingConnection

WAIT_S = 30.0
# Arbitrary number against a clash with locks of other programs in the same database.
ADVISORY_LOCK = 0x41445241
# SQLite locks readers out as soon as the pages of a transaction exceed its cache. A transaction
# with scores has a few megabytes.
WRITER_CACHE_KB = 2**14
# The version of records that were made before versions were written down.
BEFORE_VERSIONS = "0001"
LIBRARIES = frozenset({"sqlalchemy", "alembic"})

log = logging.getLogger(__name__)


def describe_url(url: sa.URL) -> str:
    """Return the host and name of a database for messages, without user and password."""
    place = url.database or ""
    return place if url.get_backend_name() == "sqlite" else f"{url.host or 'localhost'}/{place}"


def suggest_remedy(url: sa.URL) -> str:
    """Return the advice for unusable records."""
    if url.get_backend_name() == "sqlite":
        return "If the file is damaged, move it away: the next run starts a new one"
    return "Check that the server runs, and database_url or ADRAS_DATABASE_URL"


def is_library_error(error: Exception) -> bool:
    """Return whether an error was raised inside SQLAlchemy or Alembic."""
    frames = traceback.walk_tb(error.__traceback__)
    names = (str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in frames)
    return not LIBRARIES.isdisjoint(names)


@contextmanager
def as_records_error(url: sa.URL) -> Iterator[None]:
    """Convert errors of the database library to RecordsError.

    Damaged records also raise errors of Python, for invalid UTF-8, dates, JSON or numbers. An
    error of the caller is raised unchanged.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        # Any class, because the error of a damaged value depends on its column.
        if not is_library_error(error):
            raise
        cause = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
        raise RecordsError(
            f"The records in {describe_url(url)} cannot be used: {cause[0]}. {suggest_remedy(url)};"
            " production is not touched."
        ) from error


def parse_url(database_url: str) -> sa.URL:
    """Parse a database_url. An invalid URL is not shown, since it may hold a password."""
    try:
        url = sa.make_url(database_url)
        driver = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
        url = url.set(drivername=driver.get(url.drivername, url.drivername))
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise RecordsError(
            f"database_url needs the package {error.name}, which is not installed; for PostgreSQL:"
            " python -m pip install --require-hashes -r requirements-postgres.lock."
        ) from error
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ValueError) as error:
        raise RecordsError(
            "database_url cannot be used; expected sqlite:///adras.db or"
            " postgresql://user@host/database."
        ) from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise RecordsError(
            f"database_url names {url.get_backend_name()}; expected sqlite or postgresql."
        )
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise RecordsError("database_url: sqlite needs a file, as in sqlite:///adras.db.")
    return url


def listen_sqlite(engine: Engine, wait_s: float) -> None:
    """Set the waiting time, durability and start of transactions of SQLite connections."""

    def prepare(connection: PollingConnection, _record: object) -> None:
        """Set the pragmas of a new connection."""
        # SQLAlchemy controls the transactions, and `begin` below starts them.
        connection.isolation_level = None
        connection.wait_s = wait_s
        connection.execute("PRAGMA foreign_keys = ON")
        # The rollback journal, SQLite's default, stays, because the write-ahead log of libraries
        # before 3.51.3 can lose a commit. EXTRA also makes the removal of a journal durable.
        connection.execute("PRAGMA synchronous = EXTRA")

    def begin(connection: Connection) -> None:
        """Start a transaction, for a writer with the lock at once."""
        options = connection.get_execution_options()
        writes = options.get("writes", False)
        driver: Any = connection.connection.driver_connection
        if options.get("is_one_of_many", False):
            # A file with the same blocks as before is durable without the file system's own
            # journal, which waits for the data of all programs. The next transaction of another
            # kind removes the file.
            driver.execute("PRAGMA journal_mode = PERSIST")
            # Some builds of SQLite overwrite what is deleted, and readers wait. An erasure rewrites
            # the whole file instead.
            driver.execute("PRAGMA secure_delete = FAST")
        driver.begin(writes=writes)
        if writes:
            connection.exec_driver_sql(f"PRAGMA cache_size = -{WRITER_CACHE_KB}")

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", begin)


def listen_postgresql(engine: Engine, wait_s: float) -> None:
    """Serialise the writing transactions of PostgreSQL, like those of SQLite."""

    def begin(connection: Connection) -> None:
        """Set the waiting time, and let a writer wait for the lock of writers."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(wait_s * 1000)}")
        if connection.get_execution_options().get("writes", False):
            connection.exec_driver_sql(
                f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK}, hashtext(current_schema()))"
            )

    sa.event.listen(engine, "begin", begin)


def make_engine(database_url: str, wait_s: float) -> Engine:
    """Return an engine with a waiting time of its connections for writers."""
    url = parse_url(database_url)
    if url.get_backend_name() == "sqlite":
        own = {"factory": PollingConnection, "timeout": 0}
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=own)
        listen_sqlite(engine, wait_s)
    else:
        arguments = {"connect_timeout": max(2, int(wait_s))}
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)
        listen_postgresql(engine, wait_s)
    return engine


def read_version(connection: Connection) -> str | None:
    """Return the version of the tables, or None for tables without a version."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if version is None else str(version)


def no_records(url: sa.URL) -> NotMadeYetError:
    """Return the error about missing records."""
    return NotMadeYetError(
        f"There are no records in {describe_url(url)} yet; run python -m scripts.fullprocess first."
    )


@contextmanager
def writing(engine: Engine, *, is_one_of_many: bool = False) -> Iterator[Connection]:
    """Open an exclusive transaction for writing, with a rollback after an error.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The records.
    is_one_of_many : bool
        Whether further transactions of the same kind follow at once. SQLite then keeps the file
        of its journal for them.
    """
    with (
        as_records_error(engine.url),
        engine.execution_options(writes=True, is_one_of_many=is_one_of_many).begin() as connection,
    ):
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction for reading, without a lock against readers."""
    with as_records_error(engine.url), engine.begin() as connection:
        yield connection


def other_version(url: sa.URL, version: str) -> RecordsError:
    """Return the error about records of a different program version."""
    remedy = (
        "the next run brings them up to date"
        if version < tables.VERSION
        else "use the newer programs, or restore a backup made before them"
    )
    return RecordsError(
        f"The records in {describe_url(url)} have version {version} and these programs know"
        f" {tables.VERSION}; {remedy}."
    )


def check_tables(engine: Engine) -> None:
    """Raise for a database without tables, or with tables of another version.

    Raises
    ------
    NotMadeYetError
        If there are no records: a new file, or a server before the first run.
    RecordsError
        If the records have another version, as between an upgrade and the next run.
    """
    with reading(engine) as connection:
        version = read_version(connection)
        if version is None and sa.inspect(connection).has_table("runs"):
            version = BEFORE_VERSIONS
    if version is None:
        raise no_records(engine.url)
    if version != tables.VERSION:
        raise other_version(engine.url, version)


def upgrade_tables(engine: Engine, *, may_change: bool) -> None:
    """Create or migrate the tables, unless up to date.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Engine of the records.
    may_change : bool
        Whether tables may be created or changed.

    Raises
    ------
    NotMadeYetError
        If there are no records, and `may_change` is false.
    RecordsError
        If the records have a newer version, or an older version and `may_change` is false.
    """
    with reading(engine) as connection:
        version = read_version(connection)
    if version == tables.VERSION:
        return
    if not may_change:
        # Raises, unless another program has brought the tables up to date this moment.
        check_tables(engine)
        return
    if version is not None and version > tables.VERSION:
        raise other_version(engine.url, version)
    # Imported only for a migration, because Alembic would slow down a run with nothing new.
    from scripts.records import migrations  # noqa: PLC0415

    with writing(engine) as connection:
        # Read again, because the transaction now excludes concurrent writers.
        version = read_version(connection)
        if version != tables.VERSION:
            is_old = version is None and sa.inspect(connection).has_table("runs")
            migrations.upgrade(connection, made_before_versions=is_old)
            earlier = version or (BEFORE_VERSIONS if is_old else "none")
            log.info(
                "Brought the records in %s from version %s to %s.",
                describe_url(engine.url), earlier, tables.VERSION,
            )  # fmt: skip


def restrict_to_owner(path: Path) -> None:
    """Close a database file of an earlier version to other accounts.

    SQLite creates the journal with the mode of the database.
    """
    status = path.stat()
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        path.chmod(0o600)


@contextmanager
def open_records(
    database_url: str, *, wait_s: float = WAIT_S, may_change: bool = True
) -> Iterator[Engine]:
    """Open the records with up-to-date tables, and close the engine at the end.

    Parameters
    ----------
    database_url : str
        SQLAlchemy's URL of SQLite or PostgreSQL.
    wait_s : float
        Waiting time for another writer.
    may_change : bool
        Whether missing records may be created and old tables migrated; false for a reader.

    Yields
    ------
    sqlalchemy.Engine
        For `writing` and `reading`.

    Raises
    ------
    NotMadeYetError
        If there are no records, and `may_change` is false.
    RecordsError
        If the database cannot be opened, or the file is no database.
    """
    engine = make_engine(database_url, wait_s)
    if engine.dialect.name == "sqlite":
        path = Path(str(engine.url.database))
        if not may_change and not path.exists():
            # SQLite would create the file.
            raise no_records(engine.url)
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        upgrade_tables(engine, may_change=may_change)
        if may_change and engine.dialect.name == "sqlite":
            restrict_to_owner(path)
        yield engine
    finally:
        engine.dispose()
