"""The files a run leaves: their names, written whole, found again."""

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
RELEASES = "releases"
CURRENT = "current"
# Beside the parts of a dataset, which Spark does not read since its name starts with "_".
IDENTITY = "_identity.json"
WITHDRAWN = "withdrawn.json"
RELEASE_PATTERN = re.compile(r"(\d{4,})_\d{8}T\d{12}Z")


class Kind(StrEnum):
    """The dated files, as their names before and after the stamp."""

    DATASET = "finaldata_{}.csv"
    # A dataset of a cluster is a folder of parts.
    PARTS = "finaldata_{}.parts"
    SCHEMA = "schema_{}.json"
    INGESTED = "ingestedfiles_{}.txt"
    REJECTED = "rejected_{}.csv"
    PICKLE = "trainedmodel_{}.pkl"
    MODEL = "model_{}.json"
    SCORE = "latestscore_{}.txt"
    CRONTAB = "crontab_{}.txt"
    REPORT = "report_{}.pdf"

    def path(self, folder: Path, stamp: str) -> Path:
        """Name the file of this kind that belongs to a stamp."""
        return folder / self.format(stamp)


COMPANIONS = {Kind.DATASET: Kind.INGESTED, Kind.PARTS: Kind.INGESTED, Kind.MODEL: Kind.PICKLE}


def is_stamp(text: str) -> bool:
    """Say whether a text of the right shape is a moment: there is no 13th month."""
    try:
        datetime.strptime(text, STAMP_FORMAT)  # noqa: DTZ007 - only asked whether it is one
    except ValueError:
        return False
    return True


def stamp_of(path: Path) -> str:
    """Read the stamp in the name of a dated file or folder; '' if there is none."""
    found = STAMP_PATTERN.search(path.name)
    return found.group() if found and is_stamp(found.group()) else ""


def moment_of(stamp: str) -> datetime:
    """Turn a stamp back into its moment."""
    return datetime.strptime(stamp, STAMP_FORMAT).replace(tzinfo=UTC)


def next_stamp(now: datetime, folders: Iterable[Path]) -> str:
    """Make a run's stamp, later than every stamp in the folders even if the clock went back.

    A stamp of the last year there is, which is no moment of any clock, counts for nothing: no
    stamp may be later.
    """
    names = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
    found = {match.group() for match in map(STAMP_PATTERN.search, names) if match}
    found = {stamp for stamp in found if stamp < LAST_YEAR}
    latest = next(filter(is_stamp, sorted(found, reverse=True)), "")
    stamp = now.astimezone(UTC).strftime(STAMP_FORMAT)
    if stamp > latest:
        return stamp
    moment = datetime.strptime(latest, STAMP_FORMAT) + timedelta(microseconds=1)  # noqa: DTZ007 - both ends are UTC
    return moment.strftime(STAMP_FORMAT)


def list_exact(folder: Path, kind: Kind) -> list[Path]:
    """List the files of a kind, oldest first; copies that a user named differently are not one."""
    found = sorted(folder.glob(kind.format("*")))
    return [path for path in found if path == kind.path(folder, stamp_of(path))]


def list_dated(folder: Path, kind: Kind) -> list[Path]:
    """List the whole files of a kind, oldest first; one whose companion is missing is not whole."""
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
        Where to look; it may be missing.
    kind : Kind
        What to look for.
    made_by : str
        The module that makes it, for the message.

    Returns
    -------
    Path
        The newest whole file.

    Raises
    ------
    NotMadeYetError
        If there is none.
    """
    found = list_dated(folder, kind)
    if not found:
        raise NotMadeYetError(
            f"{folder} has no {kind.format('<stamp>')}; run python -m scripts.{made_by} first."
        )
    return found[-1]


def current_target(prod_folder: Path) -> str | None:
    """Read where `current` points, from the deployment folder; None before the first release."""
    try:
        # Asked once per request, and joining paths costs more than the call.
        return os.readlink(f"{prod_folder}{os.sep}{CURRENT}")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReleaseError(
            f"{prod_folder / CURRENT} is not a symbolic link ({error.strerror}); remove it and"
            " deploy again."
        ) from error


def current_name(prod_folder: Path) -> str | None:
    """Name the release in production; None before the first one."""
    target = current_target(prod_folder)
    return None if target is None else Path(target).name


def link_changed_s(prod_folder: Path) -> float | None:
    """Say when `current` was last replaced, in seconds since 1970; None without one."""
    try:
        return (prod_folder / CURRENT).lstat().st_mtime
    except (OSError, ValueError):
        return None


def list_releases(prod_folder: Path) -> list[Path]:
    """List the releases of a deployment folder, oldest first."""
    folder = prod_folder / RELEASES
    found = folder.iterdir() if folder.is_dir() else iter(())
    named = [(int(m[1]), path) for path in found if (m := RELEASE_PATTERN.fullmatch(path.name))]
    return [path for _, path in sorted(named)]


def read_identity(path: Path) -> str:
    """Read the SHA-256 that identifies a dataset in parts, "" if it has none."""
    try:
        return str(json.loads((path / IDENTITY).read_bytes())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
