"""Backup and restore of the records, and import of an old history."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from scripts.core.config import Config
from scripts.core.errors import DatasetError, NotMadeYetError, RecordsError
from scripts.records import database, maintenance, tables
from scripts.records import runs as run_records
from scripts.records.tables import Status


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("latestscore_20240131T081502000000Z.txt", (2024, 1, 31, 8, 15, 2)),
        ("latestscore_20240131.txt", (2024, 1, 31)),
        ("latestscore_2024-01-31.txt", (2024, 1, 31)),
        ("latestscore_2024-01-31 08:15:02.txt", (2024, 1, 31, 8, 15, 2)),
        ("latestscore_2024_01_31_08_15.txt", (2024, 1, 31, 8, 15)),
        ("latestscore_20240131_081502.txt", (2024, 1, 31, 8, 15, 2)),
        ("latestscore.txt", (2023, 5, 6)),
        ("latestscore_20249999.txt", (2023, 5, 6)),
    ],
)
def test_a_file_is_as_old_as_its_name_says_or_else_its_last_change(
    tmp_path: Path, name: str, moment: tuple[int, ...]
) -> None:
    path = tmp_path / name
    path.touch()
    os.utime(path, (datetime(2023, 5, 6, tzinfo=UTC).timestamp(),) * 2)

    assert maintenance.file_date(path) == datetime(*moment, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "f1"),
    [
        ("0.5714285714285715\n", 0.5714285714285715),
        ("F1 score: 0.75", 0.75),
        ("1", 1.0),
        ("5e-1", 0.5),
        ("", None),
        ("none", None),
        ("57.1", None),
        ("-0.5", None),
    ],
)
def test_the_score_is_the_first_number_if_it_can_be_an_f1(
    tmp_path: Path, text: str, f1: float | None
) -> None:
    path = tmp_path / "latestscore.txt"
    path.write_text(text)

    assert maintenance.read_f1(path) == f1


@pytest.mark.parametrize(
    "text", ["a.csv\nb.csv\n", "['a.csv', 'b.csv']", "a.csv,b.csv", '["a.csv",\n"b.csv"]\n\n']
)
def test_the_ingested_files_are_read_in_every_format(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ingestedfiles.txt"
    path.write_text(text)

    assert maintenance.read_names(path) == ("a.csv", "b.csv")


def test_files_of_one_date_are_one_run_wherever_they_are(tmp_path: Path) -> None:
    for name, text in {
        "data/finaldata_20240131.csv": "h\n1\n2\n",
        "data/ingestedfiles_20240131.txt": "a.csv\n",
        "models/latestscore_20240131.txt": "0.5",
        "models/trainedmodel_20240131.pkl": "never read",
        "models/latestscore_20240201.txt": "0.75",
        "prod/latestscore.txt": "0.75",
        "notes.txt": "not ours",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    first, second, undated = maintenance.read_runs(tmp_path)

    assert (first.stamp, first.f1, first.n_rows, first.ingested) == ("20240131", 0.5, 2, ("a.csv",))
    assert set(first.files) == {"dataset", "ingested", "score", "pickle"}
    assert (second.stamp, second.f1, second.n_rows) == ("20240201", 0.75, None)
    assert undated.stamp == ""


def test_a_folder_without_a_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(DatasetError, match="has no finaldata"):
        maintenance.read_runs(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        maintenance.read_runs(tmp_path / "missing")


ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# Two rows that belong together, in one transaction, over and over.
WRITER = """
import sys
import tempfile
from datetime import UTC, datetime
from scripts.records import database
from scripts.records import runs
with database.open_records(sys.argv[1]) as engine:
    while True:
        with database.writing(engine) as rows:
            run_id = runs.start_run(rows, datetime.now(UTC))
            runs.record_model(rows, run_id, stamp="S", settings={"filler": "x" * 2000})
        print(flush=True)
"""


@pytest.fixture
def recorded(config: Config) -> Config:
    """Return the config of an installation with a recorded run."""
    with database.open_records(config.database_url) as engine, database.writing(engine) as rows:
        run_records.start_run(rows, NOW, Status.FINISHED)
    return config


def at(config: Config, url: str) -> Config:
    """Let the records of an installation be elsewhere."""
    return msgspec.structs.replace(config, database_url=url)


def count(url: str) -> tuple[int, int]:
    """Count runs and models."""
    with database.open_records(url) as engine, database.reading(engine) as rows:
        return len(run_records.newest_rows(rows, tables.runs, 10**6)), len(
            run_records.newest_rows(rows, tables.models, 10**6)
        )


def test_a_copy_made_while_others_write_is_whole(config: Config, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, config.database_url]
    writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()

    copies = [maintenance.backup(config, path=tmp_path / f"{number}.db") for number in range(5)]
    writer.stdout.readline()
    writer.kill()
    writer.communicate()

    counts = [count(f"sqlite:///{path}") for path in copies]
    assert all(runs == models >= 1 for runs, models in counts)
    assert counts == sorted(counts)
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_copy_is_restored_and_what_was_there_is_kept(recorded: Config, tmp_path: Path) -> None:
    copy = maintenance.backup(recorded, path=tmp_path / "copies" / "monday.db")
    place = Path(recorded.database_url.removeprefix("sqlite:///"))
    place.write_bytes(b"garbage" * 1000)
    # Beside the restored file this would be taken for its journal, and played back into it.
    place.with_name("adras.db-journal").write_bytes(b"a journal of the garbage")

    maintenance.restore(recorded, path=copy)

    assert count(recorded.database_url) == (1, 0)
    kept = sorted(path.name.split(".before")[0] for path in tmp_path.glob("adras.db*before*"))
    assert kept == ["adras.db", "adras.db-journal"]


def test_records_are_restored_where_there_are_none(recorded: Config, tmp_path: Path) -> None:
    copy = maintenance.backup(recorded, path=tmp_path / "copy.db")
    Path(recorded.database_url.removeprefix("sqlite:///")).unlink()

    maintenance.restore(recorded, path=copy)

    assert count(recorded.database_url) == (1, 0)


def test_an_older_copy_is_never_overwritten(recorded: Config, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("the copy of last week")

    with pytest.raises(RecordsError, match="is there already"):
        maintenance.backup(recorded, path=copy)

    assert copy.read_text() == "the copy of last week"


def test_there_is_nothing_to_copy_before_the_first_run(config: Config, tmp_path: Path) -> None:
    with pytest.raises(NotMadeYetError, match="no records"):
        maintenance.backup(config, path=tmp_path / "copy.db")
    with pytest.raises(NotMadeYetError, match="no copy"):
        maintenance.restore(config, path=tmp_path / "copy.db")

    assert not list(tmp_path.glob("*.db"))


@pytest.mark.parametrize("content", [b"garbage" * 1000, b""])
def test_what_is_no_copy_is_not_restored(recorded: Config, tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(content)

    with pytest.raises(RecordsError, match=r"bad\.db"):
        maintenance.restore(recorded, path=bad)

    assert count(recorded.database_url) == (1, 0)
    assert not list(tmp_path.glob(".*.tmp"))


def test_damaged_records_are_not_copied_as_if_they_were_whole(
    recorded: Config, tmp_path: Path
) -> None:
    Path(recorded.database_url.removeprefix("sqlite:///")).write_bytes(b"garbage" * 1000)

    with pytest.raises(RecordsError, match="cannot be copied"):
        maintenance.backup(recorded, path=tmp_path / "copy.db")

    assert not list(tmp_path.glob("*copy.db*"))


def test_postgresql_is_copied_by_its_own_program_and_restored_by_it(
    config: Config, postgresql_url: str, tmp_path: Path
) -> None:
    programs = Path(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1])
    elsewhere = at(config, postgresql_url)
    with database.open_records(postgresql_url) as engine, database.writing(engine) as rows:
        run_records.start_run(rows, NOW)

    copy = maintenance.backup(elsewhere, path=tmp_path / "copy.dump")

    url = database.parse_url(postgresql_url)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar()
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    engine.dispose()
    address = url.set(drivername="postgresql", query={}).render_as_string(hide_password=False)
    command = [str(programs / "pg_restore"), f"--schema={schema}", "--dbname", address, str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    assert count(postgresql_url) == (1, 0)
    with pytest.raises(RecordsError, match="pg_restore"):
        maintenance.restore(elsewhere, path=copy)


def test_a_missing_pg_dump_and_a_refusing_server_are_named(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = at(config, "postgresql://somebody:canary@127.0.0.1:1/risk")
    if shutil.which("pg_dump"):
        with pytest.raises(RecordsError, match="exit code 1: pg_dump: error: conn") as caught:
            maintenance.backup(elsewhere, path=tmp_path / "copy.dump")
        assert "canary" not in str(caught.value)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RecordsError, match="install PostgreSQL's client programs"):
        maintenance.backup(elsewhere, path=tmp_path / "copy.dump")

    assert not list(tmp_path.glob("*copy*"))


PG_DUMP = """#!/bin/sh
# Notes what it was called with, as every user of the machine could see it, and the files named.
printf '%s\\n' "$@" > {folder}/arguments
cat "$PGPASSFILE" > {folder}/passwords
cat "$PGSERVICEFILE" > {folder}/services 2>/dev/null
stat -c %a "$PGPASSFILE" > {folder}/mode
for argument; do case $argument in --file=*) echo dumped > "${{argument#--file=}}" ;; esac; done
"""


@pytest.mark.parametrize(
    "place", ["user:ca%3Anary@db", "user@db?password=ca%3Anary", "user:old@db?password=ca%3Anary"]
)
def test_pg_dump_shows_nobody_a_password(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    host, _, query = place.partition("?")
    address = f"postgresql://{host}/risk?{query}&sslpassword=secret&sslmode=require"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pg_dump"
    program.write_text(PG_DUMP.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    maintenance.backup(at(config, address), path=tmp_path / "copy.dump")

    arguments = (tmp_path / "arguments").read_text()
    assert "--dbname=postgresql://user@db/risk?sslmode=require\n" in arguments
    assert not any(word in arguments for word in ("canary", "old", "secret"))
    assert (tmp_path / "passwords").read_text() == "*:*:*:*:ca\\:nary\n"
    assert (tmp_path / "mode").read_text() == "600\n"
    assert (tmp_path / "services").read_text() == "[adras]\nsslpassword=secret\n"
    assert not list(tmp_path.glob("adras-secrets-*"))


@pytest.fixture
def old_installation(tmp_path: Path) -> Path:
    """Return a folder of two dated runs, a model in JSON and files without a date."""
    folder = tmp_path / "old"
    folder.mkdir()
    for name, text in {
        "finaldata_20240131.csv": "h\n1\n2\n",
        "ingestedfiles_20240131.txt": "a.csv\nb.csv\n",
        "latestscore_20240131.txt": "0.5",
        "trainedmodel_20240131.pkl": "never read",
        "latestscore_20240201.txt": "0.75",
        "model_20240201.json": '{"threshold": 0.4, "settings": {"C": 2.0}}',
        "latestscore.txt": "0.75",
        "ingestedfiles.txt": "['a.csv']",
    }.items():
        (folder / name).write_text(text)
    return folder


def test_imported_runs_come_before_recorded_runs(recorded: Config, old_installation: Path) -> None:
    assert maintenance.import_legacy(recorded, folder=old_installation) == 3

    with (
        database.open_records(recorded.database_url) as engine,
        database.reading(engine) as rows,
    ):
        runs = run_records.latest_runs(rows, 10)
        files = [file["path"] for file in run_records.files_of_run(rows, -3)]
        models = {
            model["stamp"]: model for model in run_records.newest_rows(rows, tables.models, 10)
        }
        assert run_records.last_decided_run(rows) is None
    assert [run["id"] for run in runs] == [1, -1, -2, -3]
    assert [run["stamp"] for run in runs[1:]] == ["undated", "20240201", "20240131"]
    assert [run["candidate_f1"] for run in runs[1:]] == [0.75, 0.75, 0.5]
    assert {run["trigger"] for run in runs[1:]} == {"import"}
    assert files == ["a.csv", "b.csv"]
    assert models["20240131"]["n_rows"] == 2
    assert (models["20240201"]["threshold"], models["20240201"]["settings"]) == (0.4, {"C": 2.0})


def test_a_history_is_taken_over_once(config: Config, old_installation: Path) -> None:
    maintenance.import_legacy(config, folder=old_installation)
    (old_installation / "latestscore_20240301.txt").write_text("0.8")

    assert maintenance.import_legacy(config, folder=old_installation) == 1
    assert count(config.database_url) == (4, 4)


def test_the_commands_are_those_of_the_readme(
    config_path: Path, recorded: Config, old_installation: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    for arguments in (
        ["backup", str(copy)],
        ["restore", str(copy)],
        ["import-legacy", str(old_installation)],
    ):
        command = [
            sys.executable,
            "-m",
            "scripts.database",
            *arguments,
            "--config",
            str(config_path),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    assert count(recorded.database_url) == (4, 3)
    assert sqlite3.connect(copy).execute("SELECT count(*) FROM runs").fetchone() == (1,)
