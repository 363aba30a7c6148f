"""Opens the records, in SQLite or PostgreSQL, and brings their tables up to date."""

import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from scripts.core.errors import NotMadeYetError, PipelineError, RecordsError
from scripts.records import tables

WAIT_S = 30.0
# In the transactions of one schema; another number than a program beside ours would choose.
ADVISORY_LOCK = 0x41445241
LIBRARIES = frozenset({"sqlalchemy", "alembic"})

log = logging.getLogger(__name__)


def describe(url: sa.URL) -> str:
    """Name a database in a message, without user and password."""
    place = url.database or ""
    return place if url.get_backend_name() == "sqlite" else f"{url.host or 'localhost'}/{place}"


def what_helps(url: sa.URL) -> str:
    """Say what to do when the records cannot be used."""
    if url.get_backend_name() == "sqlite":
        return "If the file is damaged, move it away: the next run starts a new one"
    return "Check that the server runs, and database_url or ADRAS_DATABASE_URL"


def is_of_the_library(error: Exception) -> bool:
    """Return whether an error was raised within SQLAlchemy or Alembic, not by whoever asks."""
    frames = traceback.walk_tb(error.__traceback__)
    names = (str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in frames)
    return not LIBRARIES.isdisjoint(names)


@contextmanager
def as_records_error(url: sa.URL) -> Iterator[None]:
    """Turn every error of the library into the one that the programs expect.

    Damaged records raise more than the library's own errors: text that is no UTF-8, a date or JSON
    that is none, a number out of range. A bug of whoever asks stays as it is.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        # Any class: what a damaged value raises depends on the column that holds it.
        if not is_of_the_library(error):
            raise
        cause = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
        raise RecordsError(
            f"The records in {describe(url)} cannot be used: {cause[0]}. {what_helps(url)};"
            " production is not touched."
        ) from error


def parse_url(database_url: str) -> sa.URL:
    """Read a database_url; one that cannot be right is refused without being shown."""
    try:
        url = sa.make_url(database_url)
        driver = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
        url = url.set(drivername=driver.get(url.drivername, url.drivername))
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise RecordsError(
            f"database_url needs the package {error.name}; for PostgreSQL:"
            " python -m pip install --require-hashes -r requirements.lock."
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
    """Make SQLite's connections wait for others, and begin as this module says."""

    def prepare(connection: DBAPIConnection, _record: object) -> None:
        # The transactions are SQLAlchemy's, and begun below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # The rollback journal, SQLite's default, is kept: the write-ahead log of libraries
        # before 3.51.3 can lose a commit. EXTRA makes the end of a journal durable, too.
        cursor.execute("PRAGMA synchronous = EXTRA")
        cursor.close()

    def begin(connection: Connection) -> None:
        # A deferred begin, the default, loses updates between two writers.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    sa.event.listen(engine, "connect", prepare)
    sa.event.listen(engine, "begin", begin)


def listen_postgresql(engine: Engine, wait_s: float) -> None:
    """Let PostgreSQL's writing transactions follow one another, as SQLite's do."""

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(wait_s * 1000)}")
        if connection.get_execution_options().get("writes", False):
            connection.exec_driver_sql(
                f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK}, hashtext(current_schema()))"
            )

    sa.event.listen(engine, "begin", begin)


def make_engine(database_url: str, wait_s: float) -> Engine:
    """Make an engine whose connections wait so long for other writers."""
    url = parse_url(database_url)
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        listen_sqlite(engine, wait_s)
    else:
        arguments = {"connect_timeout": max(2, int(wait_s))}
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)
        listen_postgresql(engine, wait_s)
    return engine


def read_version(connection: Connection) -> str | None:
    """Read which version the tables have; None before they had versions."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if version is None else str(version)


def no_records(url: sa.URL) -> NotMadeYetError:
    """Make the error that says that there is nothing to ask yet."""
    return NotMadeYetError(
        f"There are no records in {describe(url)} yet; run python -m scripts.fullprocess first."
    )


def upgrade_tables(engine: Engine, *, may_change: bool) -> None:
    """Make the tables, or change them to what the programs expect; mostly there is nothing to do.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of the records.
    may_change : bool
        Whether tables may be made or changed.

    Raises
    ------
    NotMadeYetError
        If there are no records, and none may be made.
    RecordsError
        If the records were made by a newer version of the programs, or by an older one and may
        not be changed.
    """
    with reading(engine) as connection:
        version = read_version(connection)
    if version == tables.VERSION:
        return
    if version is None and not may_change:
        raise no_records(engine.url)
    if version is not None and version > tables.VERSION:
        raise RecordsError(
            f"The records in {describe(engine.url)} have version {version} and these programs know"
            f" {tables.VERSION}; use the newer programs, or restore a backup made before them."
        )
    if not may_change:
        raise RecordsError(
            f"The records in {describe(engine.url)} have version {version} and these programs know"
            f" {tables.VERSION}; the next run brings them up to date."
        )
    # Imported when there is work: a run with nothing new must not pay for Alembic.
    from scripts.records import migrations  # noqa: PLC0415

    with writing(engine) as connection:
        # Asked again, now that nobody else writes.
        version = read_version(connection)
        if version != tables.VERSION:
            is_old = version is None and sa.inspect(connection).has_table("runs")
            migrations.upgrade(connection, made_before_versions=is_old)
            log.info(
                "Brought the records in %s from version %s to %s.",
                describe(engine.url), version or ("0001" if is_old else "none"), tables.VERSION,
            )  # fmt: skip


def close_to_others(path: Path) -> None:
    """Make a file that earlier versions left open to every account this account's only.

    SQLite gives its journal the mode of the database.
    """
    status = path.stat()
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        path.chmod(0o600)


@contextmanager
def open_records(
    database_url: str, *, wait_s: float = WAIT_S, may_change: bool = True
) -> Iterator[Engine]:
    """Open the records, bringing their tables up to date, and close them at the end.

    Parameters
    ----------
    database_url : str
        As SQLAlchemy spells it, of SQLite or PostgreSQL.
    wait_s : float
        How long to wait for another writer.
    may_change : bool
        Whether the records may be made if they are missing, and changed if they are old; not
        for those who only ask.

    Yields
    ------
    sqlalchemy.Engine
        For `writing` and `reading`.

    Raises
    ------
    NotMadeYetError
        If there are no records, and none may be made.
    RecordsError
        If the database cannot be opened, or is none.
    """
    engine = make_engine(database_url, wait_s)
    if engine.dialect.name == "sqlite":
        path = Path(str(engine.url.database))
        if not may_change and not path.exists():
            # SQLite would make the file by opening it.
            raise no_records(engine.url)
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        upgrade_tables(engine, may_change=may_change)
        if may_change and engine.dialect.name == "sqlite":
            close_to_others(path)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that nobody else's writing interrupts; an error rolls it back."""
    with (
        as_records_error(engine.url),
        engine.execution_options(writes=True).begin() as connection,
    ):
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only asks, and keeps no other reader waiting."""
    with as_records_error(engine.url), engine.begin() as connection:
        yield connection
