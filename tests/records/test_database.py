"""Connections and migrations on both databases."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from scripts.core.errors import RecordsError
from scripts.records import alert_states, database, migrations, runs, tables
from tests.support import new_records
from tests.support.damage import DAMAGES, damage

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# As the first installations' programs made them, before the tables had versions.
FIRST_TABLES = """
CREATE TABLE digests (
    path TEXT NOT NULL, n_bytes BIGINT NOT NULL, changed_ns BIGINT NOT NULL,
    inode VARCHAR(24) NOT NULL, sha256 VARCHAR(64) NOT NULL, PRIMARY KEY (path)
);
CREATE TABLE runs (
    id {serial} NOT NULL, started_at {moment} NOT NULL, ended_at {moment},
    status VARCHAR(16) NOT NULL, verdict VARCHAR(32), reason TEXT, fingerprint VARCHAR(64),
    stamp VARCHAR(32), candidate_f1 FLOAT, production_f1 FLOAT, release VARCHAR(64),
    durations_s JSON, PRIMARY KEY (id)
);
CREATE TABLE files (
    id {serial} NOT NULL, run_id INTEGER NOT NULL, path TEXT NOT NULL,
    sha256 VARCHAR(64) NOT NULL, n_bytes BIGINT NOT NULL, n_rows BIGINT NOT NULL,
    n_rejected BIGINT NOT NULL, refused TEXT NOT NULL,
    PRIMARY KEY (id), FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE INDEX ix_files_run_id ON files (run_id);
INSERT INTO runs (started_at, status, verdict, fingerprint, candidate_f1, durations_s) VALUES
    ('2026-03-01 12:00:00.000000', 'finished', 'deployed', 'abc', 0.75, '{{"training": 1.5}}');
INSERT INTO files (run_id, path, sha256, n_bytes, n_rows, n_rejected, refused) VALUES
    (1, 'a.csv', 'def', 10, 9, 1, ''), (1, 'b.csv', 'fed', 20, 0, 0, 'not UTF-8');
INSERT INTO digests VALUES ('a.csv', 10, 1, '18446744073709551615', 'def');
"""


@pytest.fixture(autouse=True)
def whole_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Alembic make the tables of all records in this module."""
    monkeypatch.setattr(migrations, "upgrade", new_records.MIGRATE)


def make_first_tables(url: str) -> None:
    """Make records as the first installations' programs did."""
    is_sqlite = url.startswith("sqlite")
    script = FIRST_TABLES.format(
        serial="INTEGER" if is_sqlite else "SERIAL",
        moment="DATETIME" if is_sqlite else "TIMESTAMP WITHOUT TIME ZONE",
    )
    engine = sa.create_engine(database.parse_url(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%"))
    engine.dispose()


def test_new_records_have_the_tables_that_the_programs_expect(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, tables.metadata) == []
        scripts = ScriptDirectory.from_config(migrations.make_alembic_config())
        assert database.read_version(connection) == tables.VERSION == scripts.get_current_head()


def test_the_tables_of_other_tests_are_those_that_the_migrations_make(
    records_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "upgrade", new_records.upgrade)
    monkeypatch.setattr(new_records, "STATEMENTS", {})
    made = []
    for _ in range(2):
        with database.open_records(records_url) as engine, database.reading(engine) as connection:
            found = sa.MetaData()
            found.reflect(connection)
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, tables.metadata) == []
            made.append([str(sa.schema.CreateTable(table)) for table in found.sorted_tables])
            assert database.read_version(connection) == tables.VERSION
        with database.open_records(records_url) as engine, database.writing(engine) as connection:
            found.drop_all(connection)

    assert made[0] == made[1]
    assert len(made[0]) == len(tables.metadata.tables) + 1


def test_records_made_before_versions_are_changed_without_loss(records_url: str) -> None:
    make_first_tables(records_url)

    with database.open_records(records_url) as engine, database.reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        (run,) = runs.latest_runs(connection, 10)
        files = runs.files_of_run(connection, run["id"])
        assert runs.last_decided_run(connection) == run
        assert runs.known_files(connection)["a.csv"].inode == 2**64 - 1

    assert run["started_at"].isoformat() == "2026-03-01T12:00:00+00:00"
    assert (run["candidate_f1"], run["durations_s"]) == (0.75, {"training": 1.5})
    assert [(f["path"], f["n_rows"], f["refused"], f["role"]) for f in files] == [
        ("a.csv", 9, "", None),
        ("b.csv", 0, "not UTF-8", None),
    ]


def test_a_change_that_fails_halfway_changes_nothing(
    records_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_first_tables(records_url)
    upgrade = migrations.upgrade

    def fail(connection: sa.Connection, *, made_before_versions: bool) -> None:
        upgrade(connection, made_before_versions=made_before_versions)
        raise ZeroDivisionError

    monkeypatch.setattr(migrations, "upgrade", fail)
    with pytest.raises(ZeroDivisionError), database.open_records(records_url):
        pass
    monkeypatch.undo()

    engine = sa.create_engine(database.parse_url(records_url), poolclass=sa.NullPool)
    assert sorted(sa.inspect(engine).get_table_names()) == ["digests", "files", "runs"]
    engine.dispose()
    with database.open_records(records_url) as engine, database.reading(engine) as connection:
        assert len(runs.latest_runs(connection, 10)) == 1


def test_programs_that_start_together_make_the_tables_once(records_url: str) -> None:
    code = (
        "import sys; from scripts.records import alert_states, database\n"
        "with database.open_records(sys.argv[1]) as e, database.writing(e) as c:\n"
        "    alert_states.set_state(c, sys.argv[2], 'ok', __import__('datetime').datetime.now())\n"
    )
    command = [sys.executable, "-c", code, records_url]
    started = [subprocess.Popen([*command, f"s{number}"], cwd=ROOT) for number in range(4)]

    assert [process.wait() for process in started] == [0] * 4

    with database.open_records(records_url) as engine, database.reading(engine) as connection:
        assert len(alert_states.list_states(connection)) == 4


def test_records_of_newer_programs_are_refused_and_left_alone(records_url: str) -> None:
    with database.open_records(records_url) as engine, database.writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with (
        pytest.raises(RecordsError, match="have version 9999.*use the newer programs"),
        database.open_records(records_url),
    ):
        pass


def test_records_that_are_up_to_date_are_opened_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with database.open_records(url):
        pass
    code = (
        "import sys; from scripts.records import database\n"
        "with database.open_records(sys.argv[1]): pass\n"
        "sys.exit(any(name.split('.')[0] in ('alembic', 'mako') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code, url], cwd=ROOT, check=False).returncode == 0


def test_reading_keeps_no_other_reader_waiting(records_url: str) -> None:
    with (
        database.open_records(records_url, wait_s=0.1) as engine,
        database.reading(engine) as one,
        database.reading(engine) as other,
    ):
        assert runs.latest_runs(one, 1) == runs.latest_runs(other, 1) == []


def test_readers_go_on_until_a_part_of_the_scores_is_committed(tmp_path: Path) -> None:
    engine = database.make_engine(f"sqlite:///{tmp_path / 'records.db'}", 0.1)
    with database.writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE part (content BLOB)")

    with database.writing(engine) as connection:
        for _ in range(100):
            connection.exec_driver_sql("INSERT INTO part VALUES (zeroblob(100000))")
        with database.reading(engine) as reader:
            n_seen = reader.exec_driver_sql("SELECT count(*) FROM part").scalar_one()

    assert n_seen == 0


def test_a_writer_that_waits_too_long_says_so(records_url: str) -> None:
    with (
        database.open_records(records_url, wait_s=0.2) as engine,
        database.writing(engine),
        pytest.raises(RecordsError, match=r"lock"),
        database.writing(engine),
    ):
        pass


@pytest.mark.parametrize(
    ("bad_url", "message"),
    [
        ("nonsense", "database_url cannot be used"),
        ("nodialect://x", "database_url cannot be used"),
        ("postgresql://u:canary@h:port/x", "database_url cannot be used"),
        ("sqlite://", "sqlite needs a file"),
        ("mysql+pymysql://u:canary@h/x", "database_url"),
    ],
)
def test_a_url_that_cannot_be_right_is_refused_and_not_shown(bad_url: str, message: str) -> None:
    with pytest.raises(RecordsError, match=message) as caught, database.open_records(bad_url):
        pass

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_urls_of_postgresql_servers_are_accepted(scheme: str) -> None:
    url = database.parse_url(f"{scheme}://u@h/x")

    assert (url.get_backend_name(), url.get_driver_name()) == ("postgresql", "psycopg")


def test_without_the_client_of_postgresql_the_lock_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(
        RecordsError, match=r"package psycopg, .* --require-hashes -r requirements-postgres\.lock"
    ):
        database.parse_url("postgresql://u@h/x")


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    url = "postgresql://somebody:canary@127.0.0.1:1/risk?password=canary"

    with (
        pytest.raises(
            RecordsError, match=r"127\.0\.0\.1/risk cannot be used.*server runs"
        ) as found,
        database.open_records(url),
    ):
        pass

    assert "canary" not in str(found.value)


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"garbage" * 1000)

    with (
        pytest.raises(RecordsError, match="file is not a database.*move it away"),
        database.open_records(f"sqlite:///{path}"),
    ):
        pass


# Every kind of damage is an expected failure


@pytest.mark.parametrize("statement", DAMAGES.values(), ids=list(DAMAGES))
def test_whatever_the_records_hold_wrongly_is_an_error_of_theirs(
    tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "adras.db"
    with database.open_records(f"sqlite:///{path}") as engine:
        with database.writing(engine) as connection:
            run_id = runs.start_run(connection, NOW)
            runs.end_run(connection, run_id, status="finished", ended_at=NOW, durations_s={})
        damage(path, statement)

        # Which of the two questions meets the damage depends on what is damaged.
        with (
            pytest.raises(RecordsError, match=r"adras\.db cannot be used: "),
            database.reading(engine) as connection,
        ):
            _ = runs.latest_runs(connection, 1), runs.list_deployments(connection, 1)


def test_a_bug_of_whoever_asks_is_none_of_the_records(tmp_path: Path) -> None:
    with (
        database.open_records(f"sqlite:///{tmp_path / 'adras.db'}") as engine,
        pytest.raises(ValueError, match="invalid literal"),
        database.reading(engine),
    ):
        int("a bug")
