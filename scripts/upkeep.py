"""Copies and restores the records, and takes over a history that was kept in text files."""

import logging
import os
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts import artifacts, database, durable, filebook, legacy, storage
from scripts.config import Config
from scripts.database import Role, Status
from scripts.errors import NotMadeYetError, RecordsError
from scripts.legacy import LegacyRun

TRIGGER = "import"
UNDATED = "undated"
MAX_STAMP = 32

log = logging.getLogger(__name__)


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite file by SQLite's own means, and check the copy; writers wait meanwhile."""
    # mode=rw, not the usual rwc: an original that has vanished must not be made anew, empty.
    original = sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=storage.WAIT_S)
    copy = sqlite3.connect(target)
    try:
        original.backup(copy)
        (found,) = copy.execute("PRAGMA integrity_check").fetchone()
        has_runs = copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
    except sqlite3.Error as error:
        raise RecordsError(f"{source} cannot be copied: {error}.") from error
    finally:
        copy.close()
        original.close()
    if found != "ok" or has_runs is None:
        what = "has no runs" if found == "ok" else f"is damaged: {found}"
        raise RecordsError(f"{source} {what}; it was not copied.")


def dump_postgresql(url: sa.URL, target: Path) -> None:
    """Let pg_dump copy a PostgreSQL database in its custom format, for pg_restore."""
    program = shutil.which("pg_dump")
    if program is None:
        raise RecordsError("pg_dump is not there; install PostgreSQL's client programs.")
    address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    # Arguments can be seen by every user of the machine, the environment cannot.
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}
    command = [program, "--format=custom", f"--file={target}", f"--dbname={address}"]
    done = subprocess.run(
        command, env={**os.environ, **secret}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RecordsError(f"pg_dump ended with exit code {done.returncode}: {said}")


def backup(config: Config, *, path: Path) -> Path:
    """Copy the records as they are at one moment, while runs go on, to a file not there yet."""
    if path.exists():
        raise RecordsError(f"{path} is there already; name a new file.")
    url = storage.parse_url(config.database_url)
    durable.make_folder(path.absolute().parent)
    temporary = path.absolute().with_name(f".{path.name}{durable.TEMPORARY_SUFFIX}")
    temporary.unlink(missing_ok=True)
    try:
        if url.get_backend_name() == "sqlite":
            source = Path(str(url.database))
            if not source.exists():
                raise NotMadeYetError(f"There are no records in {source} yet.")
            copy_sqlite(source, temporary)
        else:
            dump_postgresql(url, temporary)
        durable.sync_file(temporary)
        temporary.replace(path)
        durable.sync_folder(path.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)
    log.info("Copied the records in %s to %s.", storage.describe(url), path)
    return path


def restore(config: Config, *, path: Path) -> None:
    """Put a copy of the records in the place of the present ones, which are kept beside."""
    url = storage.parse_url(config.database_url)
    if url.get_backend_name() != "sqlite":
        raise RecordsError(
            f"A PostgreSQL database is restored by its own program: pg_restore --clean"
            f" --if-exists --dbname=... {path}."
        )
    if not path.is_file():
        raise NotMadeYetError(f"There is no copy {path}.")
    place = Path(str(url.database))
    temporary = place.with_name(f".{place.name}{durable.TEMPORARY_SUFFIX}")
    temporary.unlink(missing_ok=True)
    try:
        copy_sqlite(path.absolute(), temporary)
        durable.sync_file(temporary)
        stamp = datetime.now(UTC).strftime(artifacts.STAMP_FORMAT)
        # The journal first: beside the restored file it would be taken for that file's own.
        for old in (place.with_name(f"{place.name}-journal"), place):
            if old.exists():
                old.rename(old.with_name(f"{old.name}.before-{stamp}"))
        temporary.replace(place)
        durable.sync_folder(place.parent)
    finally:
        temporary.unlink(missing_ok=True)
    log.info("Restored the records in %s from %s.", place, path)


def describe_model(found: LegacyRun) -> dict[str, Any]:
    """Say what is known of a model that was not recorded; nothing is unpickled."""
    facts: dict[str, Any] = {"f1": found.f1, "n_rows": found.n_rows}
    if "dataset" in found.files:
        facts["dataset_sha256"] = durable.digest_file(found.files["dataset"])
    if "model" in found.files:
        try:
            spelled = msgspec.json.decode(found.files["model"].read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            log.warning(
                "%s is damaged (%s); what it says is left out.", found.files["model"], error
            )
            return facts
        settings, threshold = spelled.get("settings"), spelled.get("threshold")
        facts["settings"] = settings if isinstance(settings, dict) else None
        facts["threshold"] = threshold if isinstance(threshold, int | float) else None
    return facts


def describe_files(found: LegacyRun) -> list[dict[str, Any]]:
    """Say which files a run ingested; how they looked is no longer known."""
    unknown = {"sha256": "", "n_bytes": 0, "n_rows": None, "n_rejected": None, "refused": None}
    return [{"role": Role.INPUT, "path": name, **unknown} for name in found.ingested]


def take_over(connection: Connection, found: LegacyRun, run_id: int, folder: Path) -> None:
    """Record one run of the past."""
    stamp = found.stamp[:MAX_STAMP] or UNDATED
    database.record_past_run(
        connection,
        run_id,
        started_at=found.at,
        ended_at=found.at,
        trigger=TRIGGER,
        status=Status.FINISHED,
        reason=f"taken over from {folder}",
        stamp=stamp,
        candidate_f1=found.f1,
    )
    filebook.record_files(connection, run_id, describe_files(found))
    if found.files.keys() & {"score", "pickle", "model"}:
        database.record_model(connection, run_id, stamp=stamp, **describe_model(found))


def import_legacy(config: Config, *, folder: Path) -> int:
    """Take over the history of an installation that has only dated text files; count its runs."""
    found = legacy.read_runs(folder)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        known = database.past_stamps(connection, TRIGGER)
        fresh = [run for run in found if (run.stamp[:MAX_STAMP] or UNDATED) not in known]
        # What is past comes before what is recorded, whenever it is taken over.
        first_id = database.lowest_run_id(connection) - len(fresh)
        for run_id, run in enumerate(fresh, first_id):
            take_over(connection, run, run_id, folder)
    log.info(
        "Took over %d runs from %s; %d were known.", len(fresh), folder, len(found) - len(fresh)
    )
    return len(fresh)
