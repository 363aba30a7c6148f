"""Names and finds the dated files and the releases of the runs."""

import json
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from scripts.core.errors import NotMadeYetError, ReleaseError

STAMP_FORMAT = "%Y%m%dT%H%M%S%fZ"
LAST_YEAR = "9999"
STAMP_PATTERN = re.compile(r"\d{8}T\d{12}Z")

CONFUSION_MATRIX = "confusion_matrix.png"
API_RETURNS = "apireturns.txt"
DIAGNOSTICS = "diagnostics.json"
LOGS = "logs"
# An upload through the pages, in the input folder.
UPLOAD = "upload_{}.csv"
# Folders with copies of test data and outcomes of an object store, in the output folder.
FETCHED_TESTS, FETCHED_OUTCOMES = "testdata", "outcomes"
FETCHED = (FETCHED_TESTS, FETCHED_OUTCOMES)
RELEASES = "releases"
# Releases that wait for the approval of a person. Nothing is ever served from there.
PENDING = "pending"
CURRENT = "current"
# Lies beside the parts of a dataset; Spark ignores names that start with "_".
IDENTITY = "_identity.json"
WITHDRAWN = "withdrawn.json"
RELEASE_PATTERN = re.compile(r"(\d{4,})_\d{8}T\d{12}Z")


class Kind(StrEnum):
    """Kinds of dated files, with the file name around the stamp."""

    DATASET = "finaldata_{}.csv"
    # Spark writes a dataset as a folder of parts.
    PARTS = "finaldata_{}.parts"
    # The rows of dated files on which the models of the run are compared.
    TEST_ROWS = "testdata_{}.csv"
    SCHEMA = "schema_{}.json"
    INGESTED = "ingestedfiles_{}.txt"
    REJECTED = "rejected_{}.csv"
    PICKLE = "trainedmodel_{}.pkl"
    MODEL = "model_{}.json"
    SCORE = "latestscore_{}.txt"
    CRONTAB = "crontab_{}.txt"
    REPORT = "report_{}.pdf"

    def path(self, folder: Path, stamp: str) -> Path:
        """Return the path of the file with a stamp."""
        return folder / self.format(stamp)


COMPANIONS = {Kind.DATASET: Kind.INGESTED, Kind.PARTS: Kind.INGESTED, Kind.MODEL: Kind.PICKLE}


def is_stamp(text: str) -> bool:
    """Return whether a text in the form of a stamp is a valid date and time."""
    try:
        datetime.strptime(text, STAMP_FORMAT)  # noqa: DTZ007 - only its validity matters
    except ValueError:
        return False
    return True


def stamp_of(path: Path) -> str:
    """Return the stamp in the name of a dated file or folder, or ""."""
    match = STAMP_PATTERN.search(path.name)
    return match.group() if match and is_stamp(match.group()) else ""


def moment_of(stamp: str) -> datetime:
    """Return the date and time of a stamp, in UTC."""
    return datetime.strptime(stamp, STAMP_FORMAT).replace(tzinfo=UTC)


def next_stamp(now: datetime, folders: Iterable[Path]) -> str:
    """Return a run's stamp, later than every stamp in the folders even if the clock went back.

    Stamps of the year 9999 are ignored, because no later stamp exists.
    """
    names = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
    matches = {match.group() for match in map(STAMP_PATTERN.search, names) if match}
    stamps = {stamp for stamp in matches if stamp < LAST_YEAR}
    latest = next(filter(is_stamp, sorted(stamps, reverse=True)), "")
    stamp = now.astimezone(UTC).strftime(STAMP_FORMAT)
    if stamp > latest:
        return stamp
    moment = datetime.strptime(latest, STAMP_FORMAT) + timedelta(microseconds=1)  # noqa: DTZ007 - both ends are UTC
    return moment.strftime(STAMP_FORMAT)


def list_exact(folder: Path, kind: Kind) -> list[Path]:
    """List the files of a kind with exact names, oldest first."""
    # The pattern also matches renamed copies such as finaldata_20240131_old.csv.
    paths = sorted(folder.glob(kind.format("*")))
    return [path for path in paths if path == kind.path(folder, stamp_of(path))]


def list_dated(folder: Path, kind: Kind) -> list[Path]:
    """List the complete files of a kind, oldest first.

    A dataset without its list of ingested files, or a model without its pickle, is incomplete.
    """
    companion = COMPANIONS.get(kind)
    return [
        path
        for path in list_exact(folder, kind)
        if companion is None or companion.path(folder, stamp_of(path)).exists()
    ]


def find_latest(folder: Path, kind: Kind, made_by: str) -> Path:
    """Find the newest file of a kind.

    Parameters
    ----------
    folder : Path
        The folder to search; it may be missing.
    kind : Kind
        The kind of file.
    made_by : str
        The command that writes the file, for the message.

    Returns
    -------
    Path
        The newest complete file.

    Raises
    ------
    NotMadeYetError
        If the folder has no complete file of the kind.
    """
    paths = list_dated(folder, kind)
    if not paths:
        raise NotMadeYetError(
            f"{folder} has no {kind.format('<stamp>')}; run python -m scripts.{made_by} first."
        )
    return paths[-1]


def current_target(prod_folder: Path) -> str | None:
    """Return the target of the link `current`, or None before the first release."""
    try:
        # Read once per request: joining Path objects would cost more than the system call.
        return os.readlink(f"{prod_folder}{os.sep}{CURRENT}")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReleaseError(
            f"{prod_folder / CURRENT} is not a symbolic link ({error.strerror}); remove it and"
            " deploy again."
        ) from error


def current_name(prod_folder: Path) -> str | None:
    """Return the name of the release in production, or None before the first release."""
    target = current_target(prod_folder)
    return None if target is None else Path(target).name


def link_changed_s(prod_folder: Path) -> float | None:
    """Return the time of the last change of `current` in seconds since 1970, or None."""
    try:
        return (prod_folder / CURRENT).lstat().st_mtime
    except (OSError, ValueError):
        return None


def list_releases(prod_folder: Path, name: str = RELEASES) -> list[Path]:
    """List the releases in a folder of the deployment folder, oldest first."""
    folder = prod_folder / name
    paths = folder.iterdir() if folder.is_dir() else iter(())
    numbered = [(int(m[1]), path) for path in paths if (m := RELEASE_PATTERN.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def read_identity(path: Path) -> str:
    """Return the recorded SHA-256 of a dataset in parts, or "" if it is missing or damaged."""
    try:
        return str(json.loads((path / IDENTITY).read_bytes())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
