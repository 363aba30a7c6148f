"""Backs up and restores the records, and imports the history of an installation without records."""

import logging
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy.engine import Connection

from scripts.core import artifacts, files
from scripts.core.config import Config
from scripts.core.errors import DatasetError, NotMadeYetError, RecordsError
from scripts.records import database, runs
from scripts.records.tables import FileRole, Status

TRIGGER = "import"
UNDATED = "undated"
MAX_STAMP = 32
# Parameters of a PostgreSQL URL with passwords.
SECRETS = frozenset({"password", "sslpassword"})

# The date in a file name: a stamp, 20240131, 2024-01-31 or 2024_01_31, with or without a time.
DATE = re.compile(
    r"(\d{4})[-_.]?(\d{2})[-_.]?(\d{2})(?:[T _.-]*(\d{2})[:_.-]?(\d{2})(?:[:_.-]?(\d{2}))?)?"
)
NAMES = {
    "dataset": re.compile(r"finaldata.*\.csv"),
    "ingested": re.compile(r"ingestedfiles.*\.txt"),
    "score": re.compile(r"latestscore.*\.txt"),
    "pickle": re.compile(r"trainedmodel.*\.pkl"),
    "model": re.compile(r"model_.*\.json"),
}
# Does not match the 1 in "F1: 0.57".
NUMBER = re.compile(r"(?<![\w.])[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
MAX_TEXT_BYTES = 2**20

log = logging.getLogger(__name__)


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite file with SQLite's backup function and check the copy, while writers wait."""
    try:
        # mode=rw instead of the usual rwc, which would create an empty file for a missing original.
        with (
            closing(
                sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=database.WAIT_S)
            ) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
            (result,) = copy.execute("PRAGMA integrity_check").fetchone()
            has_runs = copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
    except (sqlite3.Error, UnicodeDecodeError, MemoryError) as error:
        # A damaged file may also contain invalid UTF-8, or lengths beyond the memory.
        raise RecordsError(f"{source} cannot be copied: {error}.") from error
    if result != "ok" or has_runs is None:
        fault = "has no runs" if result == "ok" else f"is damaged: {result}"
        raise RecordsError(f"{source} {fault}; it was not copied.")


def render_address(url: sa.URL) -> str:
    """Return the URL of a PostgreSQL database for pg_dump, without passwords."""
    query = {name: value for name, value in url.query.items() if name not in SECRETS}
    # url.set(password=None) would keep the password.
    bare = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return bare.render_as_string(hide_password=False)


def write_secrets(url: sa.URL, folder: Path) -> dict[str, str]:
    """Write the passwords of a URL into files, and return environment variables with their paths.

    Parameters
    ----------
    url : sqlalchemy.URL
        A URL with passwords beside the user or in the query.
    folder : Path
        A folder closed to other accounts.

    Returns
    -------
    dict of str to str
        For the environment of PostgreSQL's programs. Passwords in arguments would be visible to
        every user of the machine.
    """
    query = {name: url.query[name] for name in SECRETS & url.query.keys()}
    secrets = {name: text if isinstance(text, str) else text[-1] for name, text in query.items()}
    if url.password is not None:
        # The password in the query takes precedence, as in libpq.
        secrets = {"password": str(url.password)} | secrets
    variables = {}
    if "password" in secrets:
        escaped = secrets["password"].replace("\\", "\\\\").replace(":", "\\:")
        path = files.write_whole(folder / "passwords", f"*:*:*:*:{escaped}\n")
        path.chmod(0o600)
        variables["PGPASSFILE"] = str(path)
    if "sslpassword" in secrets:
        # The password of a certificate's key has no environment variable, only a service file.
        path = files.write_whole(
            folder / "services", f"[adras]\nsslpassword={secrets['sslpassword']}\n"
        )
        path.chmod(0o600)
        variables |= {"PGSERVICEFILE": str(path), "PGSERVICE": "adras"}
    return variables


def dump_postgresql(url: sa.URL, target: Path) -> None:
    """Copy a PostgreSQL database with pg_dump, in the custom format for pg_restore."""
    program = shutil.which("pg_dump")
    if program is None:
        raise RecordsError("pg_dump is not there; install PostgreSQL's client programs.")
    command = [program, "--format=custom", f"--file={target}", f"--dbname={render_address(url)}"]
    with tempfile.TemporaryDirectory(prefix="adras-secrets-") as folder:
        process = subprocess.run(
            # pg_dump must not prompt for a missing password.
            [*command, "--no-password"],
            env={**os.environ, **write_secrets(url, Path(folder))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if process.returncode:
        message = " ".join(process.stderr.split()) or "no reason given"
        raise RecordsError(f"pg_dump ended with exit code {process.returncode}: {message}")


def backup(config: Config, *, path: Path) -> Path:
    """Copy the records to a new file, also during a run.

    Parameters
    ----------
    config : Config
        The config with the URL of the records.
    path : Path
        A file that does not exist yet.

    Returns
    -------
    Path
        The path of the copy.

    Raises
    ------
    RecordsError
        If the file exists, or the records are damaged.
    NotMadeYetError
        If there are no records.
    """
    if path.exists():
        raise RecordsError(f"{path} is there already; name a new file.")
    url = database.parse_url(config.database_url)
    files.make_folder(path.absolute().parent)
    temporary = path.absolute().with_name(files.temporary_name(path.name))
    temporary.unlink(missing_ok=True)
    try:
        if url.get_backend_name() == "sqlite":
            source = Path(str(url.database))
            if not source.exists():
                raise NotMadeYetError(f"There are no records in {source} yet.")
            copy_sqlite(source, temporary)
        else:
            dump_postgresql(url, temporary)
        files.sync_file(temporary)
        temporary.replace(path)
        files.sync_folder(path.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)
    log.info("Copied the records in %s to %s.", database.describe_url(url), path)
    return path


def restore(config: Config, *, path: Path) -> None:
    """Replace the records by a backup, and keep the present records beside."""
    url = database.parse_url(config.database_url)
    if url.get_backend_name() != "sqlite":
        raise RecordsError(
            f"A PostgreSQL database is restored by its own program: pg_restore --clean"
            f" --if-exists --dbname=... {path}."
        )
    if not path.is_file():
        raise NotMadeYetError(f"There is no copy {path}.")
    target = Path(str(url.database))
    temporary = target.with_name(files.temporary_name(target.name))
    temporary.unlink(missing_ok=True)
    try:
        copy_sqlite(path.absolute(), temporary)
        files.sync_file(temporary)
        stamp = datetime.now(UTC).strftime(artifacts.STAMP_FORMAT)
        # The journal first, because SQLite would apply the journal to the restored file.
        for old in (target.with_name(f"{target.name}-journal"), target):
            if old.exists():
                old.rename(old.with_name(f"{old.name}.before-{stamp}"))
        temporary.replace(target)
        files.sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
    log.info("Restored the records in %s from %s.", target, path)


def find_sqlite(config: Config) -> Path | None:
    """Return the file of the records, None for a server."""
    url = database.parse_url(config.database_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def list_replaced(config: Config) -> list[Path]:
    """List the records put aside by a restore."""
    path = find_sqlite(config)
    return [] if path is None else sorted(path.parent.glob(f"{path.name}*.before-*"))


def remove_half_restored(config: Config) -> None:
    """Remove the half-written records of a killed restore."""
    path = find_sqlite(config)
    if path is not None:
        path.with_name(files.temporary_name(path.name)).unlink(missing_ok=True)


class LegacyRun(Struct):
    """Run of an installation without records, with its date and files by kind."""

    stamp: str
    at: datetime
    files: dict[str, Path] = field(default_factory=dict)
    f1: float | None = None
    ingested: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int | None:
        """Return the number of rows of the dataset, or None for a missing dataset."""
        path = self.files.get("dataset")
        if path is None:
            return None
        with path.open("rb") as handle:
            return max(0, sum(1 for line in handle if line.strip()) - 1)


def file_date(path: Path) -> datetime:
    """Return the date in a file name, or the time of the last change."""
    changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    match = DATE.search(path.stem)
    if not match:
        return changed_at
    try:
        # The six groups are the six parts of a moment, and mypy cannot count them.
        return datetime(*(int(part) for part in match.groups(default="0")), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return changed_at


def file_kind(path: Path) -> str | None:
    """Return the kind of a file by its name, or None for an unknown name."""
    return next((kind for kind, name in NAMES.items() if name.fullmatch(path.name)), None)


def file_stamp(path: Path) -> str:
    """Return the end of a file name from its date, as the stamp of the run, or ""."""
    match = DATE.search(path.stem)
    return path.stem[match.start() :] if match else ""


def read_text(path: Path) -> str:
    """Return the beginning of a text file, with a replacement for invalid UTF-8."""
    with path.open("rb") as handle:
        return handle.read(MAX_TEXT_BYTES).decode("utf-8", "replace")


def read_f1(path: Path) -> float | None:
    """Return the first number in a score file, or None if no number from 0 to 1."""
    match = NUMBER.search(read_text(path))
    f1 = float(match.group()) if match else None
    if f1 is None or not 0 <= f1 <= 1:
        log.warning("%s has no F1 between 0 and 1; its run is imported without F1.", path)
        return None
    return f1


def read_names(path: Path) -> tuple[str, ...]:
    """Return the file names in a text file, by line or in the format of a Python list."""
    lines = (line.strip().strip("[],'\"") for line in re.split(r"[\n,]", read_text(path)))
    return tuple(line for line in lines if line.strip("[]'\" "))


def find_files(folder: Path) -> Iterator[Path]:
    """Iterate over the files below a folder, except for folders of releases."""
    if not folder.is_dir():
        raise DatasetError(
            f"{folder} is not a folder; expected the folder of the old installation."
        )
    for path in sorted(folder.rglob("*")):
        if artifacts.RELEASES not in path.parts and not path.is_symlink() and path.is_file():
            yield path


def read_runs(folder: Path) -> list[LegacyRun]:
    """Return the runs of an installation without records, oldest first.

    Parameters
    ----------
    folder : Path
        The folder to search, including its subfolders.

    Returns
    -------
    list of LegacyRun
        A run per date in the file names. The files without a date form another run, as old as the
        oldest of these files. No pickle is loaded.

    Raises
    ------
    DatasetError
        If the path is no folder, or the folder has no known file.
    """
    by_stamp: dict[str, LegacyRun] = {}
    for path in find_files(folder):
        kind = file_kind(path)
        if kind is None:
            continue
        stamp, at = file_stamp(path), file_date(path)
        run = by_stamp.setdefault(stamp, LegacyRun(stamp, at))
        run.at = min(run.at, at)
        # The first copy counts, for example of a model in two folders.
        run.files.setdefault(kind, path)
    for run in by_stamp.values():
        run.f1 = read_f1(run.files["score"]) if "score" in run.files else None
        run.ingested = read_names(run.files["ingested"]) if "ingested" in run.files else ()
    if not by_stamp:
        raise DatasetError(
            f"{folder} has no finaldata, ingestedfiles, latestscore or trainedmodel file."
        )
    return sorted(by_stamp.values(), key=lambda run: (run.at, run.stamp))


def describe_model(run: LegacyRun) -> dict[str, Any]:
    """Return the facts for the record of a model, without loading a pickle."""
    facts: dict[str, Any] = {"f1": run.f1, "n_rows": run.n_rows}
    if "dataset" in run.files:
        facts["dataset_sha256"] = files.digest_file(run.files["dataset"])
    if "model" in run.files:
        try:
            model = msgspec.json.decode(run.files["model"].read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            log.warning("%s is damaged (%s); its content is left out.", run.files["model"], error)
            return facts
        settings, threshold = model.get("settings"), model.get("threshold")
        facts["settings"] = settings if isinstance(settings, dict) else None
        facts["threshold"] = threshold if isinstance(threshold, int | float) else None
    return facts


def describe_files(run: LegacyRun) -> list[dict[str, Any]]:
    """Return the rows for the records of ingested files, with unknown content."""
    unknown = {"sha256": "", "n_bytes": 0, "n_rows": None, "n_rejected": None, "refused": None}
    return [{"role": FileRole.INPUT, "path": name, **unknown} for name in run.ingested]


def import_run(connection: Connection, run: LegacyRun, run_id: int, folder: Path) -> None:
    """Record a run of an installation without records."""
    stamp = run.stamp[:MAX_STAMP] or UNDATED
    runs.record_past_run(
        connection,
        run_id,
        started_at=run.at,
        ended_at=run.at,
        trigger=TRIGGER,
        status=Status.FINISHED,
        reason=f"taken over from {folder}",
        stamp=stamp,
        candidate_f1=run.f1,
    )
    runs.record_files(connection, run_id, describe_files(run))
    if run.files.keys() & {"score", "pickle", "model"}:
        runs.record_model(connection, run_id, stamp=stamp, **describe_model(run))


def import_legacy(config: Config, *, folder: Path) -> int:
    """Import the history of an installation without records.

    Parameters
    ----------
    config : Config
        The config with the URL of the records.
    folder : Path
        The folder of the old installation.

    Returns
    -------
    int
        The number of new runs in the records.

    Raises
    ------
    DatasetError
        If the folder has no known file.
    """
    legacy_runs = read_runs(folder)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        known = runs.past_stamps(connection, TRIGGER)
        fresh = [run for run in legacy_runs if (run.stamp[:MAX_STAMP] or UNDATED) not in known]
        # Imported runs get ids below those of recorded runs.
        first_id = runs.lowest_run_id(connection) - len(fresh)
        for run_id, run in enumerate(fresh, first_id):
            import_run(connection, run, run_id, folder)
    log.info(
        "Imported %d runs from %s; %d were known.",
        len(fresh),
        folder,
        len(legacy_runs) - len(fresh),
    )
    return len(fresh)
