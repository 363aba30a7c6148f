"""Copies and restores the records, and takes over a history that was kept in text files.

Reads what an installation left that kept its history in text files only.
"""

import logging
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scripts.core import artifacts, files
from scripts.core.config import Config
from scripts.core.errors import DatasetError, NotMadeYetError, RecordsError
from scripts.records import database, runs
from scripts.records.tables import FileRole, Status

TRIGGER = "import"
UNDATED = "undated"
MAX_STAMP = 32
# The parameters of a PostgreSQL address that hold passwords.
SECRETS = frozenset({"password", "sslpassword"})

log = logging.getLogger(__name__)


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite file by SQLite's own means, and check the copy; writers wait meanwhile."""
    try:
        # mode=rw, not the usual rwc: an original that has vanished must not be made anew, empty.
        with (
            closing(
                sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=database.WAIT_S)
            ) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
            (found,) = copy.execute("PRAGMA integrity_check").fetchone()
            has_runs = copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
    except (sqlite3.Error, UnicodeDecodeError, MemoryError) as error:
        # Damage also shows as names that are no UTF-8, or as lengths that fit into no memory.
        raise RecordsError(f"{source} cannot be copied: {error}.") from error
    if found != "ok" or has_runs is None:
        what = "has no runs" if found == "ok" else f"is damaged: {found}"
        raise RecordsError(f"{source} {what}; it was not copied.")


def render_address(url: sa.URL) -> str:
    """Return the address of a PostgreSQL database without any password, as pg_dump takes it."""
    query = {name: value for name, value in url.query.items() if name not in SECRETS}
    # Not url.set(password=None), which leaves the password where it is.
    bare = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return bare.render_as_string(hide_password=False)


def write_secrets(url: sa.URL, folder: Path) -> dict[str, str]:
    """Write the passwords of an address into files; return the variables that name the files.

    Parameters
    ----------
    url : sqlalchemy.URL
        Its passwords stand beside the user or in the query.
    folder : Path
        A folder that only this account can enter.

    Returns
    -------
    dict of str to str
        For the environment of PostgreSQL's programs. Every user of the machine can see the
        arguments of a program.
    """
    query = {name: url.query[name] for name in SECRETS & url.query.keys()}
    found = {name: text if isinstance(text, str) else text[-1] for name, text in query.items()}
    if url.password is not None:
        # The password in the query counts, as for libpq.
        found = {"password": str(url.password)} | found
    variables = {}
    if "password" in found:
        escaped = found["password"].replace("\\", "\\\\").replace(":", "\\:")
        path = files.write_whole(folder / "passwords", f"*:*:*:*:{escaped}\n")
        path.chmod(0o600)
        variables["PGPASSFILE"] = str(path)
    if "sslpassword" in found:
        # The password of a certificate's key has no variable of its own, only a service.
        path = files.write_whole(
            folder / "services", f"[adras]\nsslpassword={found['sslpassword']}\n"
        )
        path.chmod(0o600)
        variables |= {"PGSERVICEFILE": str(path), "PGSERVICE": "adras"}
    return variables


def dump_postgresql(url: sa.URL, target: Path) -> None:
    """Let pg_dump copy a PostgreSQL database in its custom format, for pg_restore."""
    program = shutil.which("pg_dump")
    if program is None:
        raise RecordsError("pg_dump is not there; install PostgreSQL's client programs.")
    command = [program, "--format=custom", f"--file={target}", f"--dbname={render_address(url)}"]
    with tempfile.TemporaryDirectory(prefix="adras-secrets-") as folder:
        done = subprocess.run(
            # A server that wants a password that is not there must not ask for one.
            [*command, "--no-password"],
            env={**os.environ, **write_secrets(url, Path(folder))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RecordsError(f"pg_dump ended with exit code {done.returncode}: {said}")


def backup(config: Config, *, path: Path) -> Path:
    """Copy the records as they are at one moment, while runs go on, to a file not there yet."""
    if path.exists():
        raise RecordsError(f"{path} is there already; name a new file.")
    url = database.parse_url(config.database_url)
    files.make_folder(path.absolute().parent)
    temporary = path.absolute().with_name(f".{path.name}{files.TEMPORARY_SUFFIX}")
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
    log.info("Copied the records in %s to %s.", database.describe(url), path)
    return path


def restore(config: Config, *, path: Path) -> None:
    """Put a copy of the records in the place of the present ones, which are kept beside."""
    url = database.parse_url(config.database_url)
    if url.get_backend_name() != "sqlite":
        raise RecordsError(
            f"A PostgreSQL database is restored by its own program: pg_restore --clean"
            f" --if-exists --dbname=... {path}."
        )
    if not path.is_file():
        raise NotMadeYetError(f"There is no copy {path}.")
    place = Path(str(url.database))
    temporary = place.with_name(f".{place.name}{files.TEMPORARY_SUFFIX}")
    temporary.unlink(missing_ok=True)
    try:
        copy_sqlite(path.absolute(), temporary)
        files.sync_file(temporary)
        stamp = datetime.now(UTC).strftime(artifacts.STAMP_FORMAT)
        # The journal first: beside the restored file it would be taken for that file's own.
        for old in (place.with_name(f"{place.name}-journal"), place):
            if old.exists():
                old.rename(old.with_name(f"{old.name}.before-{stamp}"))
        temporary.replace(place)
        files.sync_folder(place.parent)
    finally:
        temporary.unlink(missing_ok=True)
    log.info("Restored the records in %s from %s.", place, path)


@dataclass
class LegacyRun:
    """What one run of such an installation left: its moment, and its files by kind."""

    stamp: str
    at: datetime
    files: dict[str, Path] = field(default_factory=dict)
    f1: float | None = None
    ingested: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int | None:
        """Count the rows of its dataset, if that is still there."""
        path = self.files.get("dataset")
        if path is None:
            return None
        with path.open("rb") as handle:
            return max(0, sum(1 for line in handle if line.strip()) - 1)


def describe_model(found: LegacyRun) -> dict[str, Any]:
    """Say what is known of a model that was not recorded; nothing is unpickled."""
    facts: dict[str, Any] = {"f1": found.f1, "n_rows": found.n_rows}
    if "dataset" in found.files:
        facts["dataset_sha256"] = files.digest_file(found.files["dataset"])
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
    return [{"role": FileRole.INPUT, "path": name, **unknown} for name in found.ingested]


def import_run(connection: Connection, found: LegacyRun, run_id: int, folder: Path) -> None:
    """Record one run of the past."""
    stamp = found.stamp[:MAX_STAMP] or UNDATED
    runs.record_past_run(
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
    runs.record_files(connection, run_id, describe_files(found))
    if found.files.keys() & {"score", "pickle", "model"}:
        runs.record_model(connection, run_id, stamp=stamp, **describe_model(found))


def import_legacy(config: Config, *, folder: Path) -> int:
    """Take over the history of an installation that has only dated text files; count its runs."""
    found = read_runs(folder)
    with (
        database.open_records(config.database_url) as engine,
        database.writing(engine) as connection,
    ):
        known = runs.past_stamps(connection, TRIGGER)
        fresh = [run for run in found if (run.stamp[:MAX_STAMP] or UNDATED) not in known]
        # What is past comes before what is recorded, whenever it is taken over.
        first_id = runs.lowest_run_id(connection) - len(fresh)
        for run_id, run in enumerate(fresh, first_id):
            import_run(connection, run, run_id, folder)
    log.info(
        "Took over %d runs from %s; %d were known.", len(fresh), folder, len(found) - len(fresh)
    )
    return len(fresh)


# The date in a name: our stamp, 20240131, 2024-01-31 or 2024_01_31, with or without a time of day
# behind it.
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
# Not the 1 of "F1: 0.57".
NUMBER = re.compile(r"(?<![\w.])[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
MAX_TEXT_BYTES = 2**20


def moment_of(path: Path) -> datetime:
    """Read the date in a name; a file without one is as old as its last change."""
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    found = DATE.search(path.stem)
    if not found:
        return changed
    try:
        # The six groups are the six parts of a moment.
        return datetime(*(int(part) for part in found.groups(default="0")), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return changed


def kind_of(path: Path) -> str | None:
    """Say which of the known files a path is, by its name."""
    return next((kind for kind, name in NAMES.items() if name.fullmatch(path.name)), None)


def stamp_of(path: Path) -> str:
    """Name the run a file belongs to: the date in its name as it stands there, or nothing."""
    found = DATE.search(path.stem)
    return path.stem[found.start() :] if found else ""


def read_text(path: Path) -> str:
    """Read a small text file, whatever bytes are in it."""
    with path.open("rb") as handle:
        return handle.read(MAX_TEXT_BYTES).decode("utf-8", "replace")


def read_f1(path: Path) -> float | None:
    """Read the first number of a score's file; None if it has none that could be an F1."""
    found = NUMBER.search(read_text(path))
    f1 = float(found.group()) if found else None
    if f1 is None or not 0 <= f1 <= 1:
        log.warning("%s has no F1 between 0 and 1; its run is taken over without.", path)
        return None
    return f1


def read_names(path: Path) -> tuple[str, ...]:
    """Read names of files, one a line; also those of a list as Python prints it."""
    lines = (line.strip().strip("[],'\"") for line in re.split(r"[\n,]", read_text(path)))
    return tuple(line for line in lines if line.strip("[]'\" "))


def find_files(folder: Path) -> Iterator[Path]:
    """List the known files in a folder and below it, except in releases of our own."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; name the one of the old installation.")
    for path in sorted(folder.rglob("*")):
        if artifacts.RELEASES not in path.parts and not path.is_symlink() and path.is_file():
            yield path


def read_runs(folder: Path) -> list[LegacyRun]:
    """Read the runs that an installation left, oldest first.

    Parameters
    ----------
    folder : Path
        Searched with the folders below it.

    Returns
    -------
    list of LegacyRun
        One per date in the names of the files; the files without a date are one run more, as old
        as the oldest of them. Nothing is unpickled.

    Raises
    ------
    DatasetError
        If the folder is none, or has none of the known files.
    """
    runs: dict[str, LegacyRun] = {}
    for path in find_files(folder):
        kind = kind_of(path)
        if kind is None:
            continue
        stamp, at = stamp_of(path), moment_of(path)
        run = runs.setdefault(stamp, LegacyRun(stamp, at))
        run.at = min(run.at, at)
        # Of copies, as in a folder of practice models and one of production, the first counts.
        run.files.setdefault(kind, path)
    for run in runs.values():
        run.f1 = read_f1(run.files["score"]) if "score" in run.files else None
        run.ingested = read_names(run.files["ingested"]) if "ingested" in run.files else ()
    if not runs:
        raise DatasetError(
            f"{folder} has no finaldata, ingestedfiles, latestscore or trainedmodel file."
        )
    return sorted(runs.values(), key=lambda run: (run.at, run.stamp))
