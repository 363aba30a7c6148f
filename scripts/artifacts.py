"""The files a run leaves: their names, written whole, found again."""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from scripts.errors import BusyError, DatasetError, NotMadeYetError, ReleaseError

STAMP_FORMAT = "%Y%m%dT%H%M%S%fZ"
STAMP_PATTERN = re.compile(r"\d{8}T\d{12}Z")
TEMPORARY_SUFFIX = ".tmp"

CONFUSION_MATRIX = "confusion_matrix.png"
API_RETURNS = "apireturns.txt"
DIAGNOSTICS = "diagnostics.json"
LOCK = ".adras.lock"
LOGS = "logs"
RELEASES = "releases"
CURRENT = "current"
# Beside the parts of a dataset, which Spark does not read since its name starts with "_".
IDENTITY = "_identity.json"
WITHDRAWN = "withdrawn.json"
RELEASE_PATTERN = re.compile(r"(\d{4,})_\d{8}T\d{12}Z")

# Size in bytes, time of change in nanoseconds, inode.
State = tuple[int, int, int]

log = logging.getLogger(__name__)


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
    """Make a run's stamp, later than every stamp in the folders even if the clock went back."""
    names = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
    found = {match.group() for match in map(STAMP_PATTERN.search, names) if match}
    latest = next(filter(is_stamp, sorted(found, reverse=True)), "")
    stamp = now.astimezone(UTC).strftime(STAMP_FORMAT)
    if stamp > latest:
        return stamp
    moment = datetime.strptime(latest, STAMP_FORMAT) + timedelta(microseconds=1)  # noqa: DTZ007 - both ends are UTC
    return moment.strftime(STAMP_FORMAT)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the content of a file that another program wrote durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents durably; nothing happens if it is there."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        sync_folder(place.parent)


def write_whole(path: Path, content: str | bytes | Iterable[bytes]) -> Path:
    """Write a file so that a reader, or a crash, sees all of it or what was there before.

    Parameters
    ----------
    path : Path
        The file; its folder is made if it is missing.
    content : str, bytes or iterable of bytes
        Text is written as UTF-8, parts one after the other.

    Returns
    -------
    Path
        The path given.

    Raises
    ------
    OSError
        If the disk refuses; a failed fsync is not retried, since the kernel may have dropped
        the pages already.
    """
    encoded = content.encode() if isinstance(content, str) else content
    parts = [encoded] if isinstance(encoded, bytes) else encoded
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as handle:
            handle.writelines(parts)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path


def replace_link(link: Path, target: str) -> None:
    """Point a symbolic link at a target by one rename; a reader sees the old or the new one."""
    temporary = link.with_name(f".{link.name}{TEMPORARY_SUFFIX}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


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


def remove(path: Path) -> None:
    """Remove a file, or a folder with what is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_leftovers(folders: Iterable[Path]) -> int:
    """Remove what a killed run left half-written, and count it; only the holder of the lock may."""
    leftovers = [
        path
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX)
    ]
    for path in leftovers:
        remove(path)
    return len(leftovers)


def remove_all_but_latest(folder: Path, n_kept: int, spared: frozenset[str]) -> int:
    """Remove dated files whose stamp is not among the newest; stamps in spared always stay.

    Reports have times of their own, and are counted by themselves.
    """
    by_stamp: dict[str, list[Path]] = {}
    for kind in set(Kind) - {Kind.REPORT}:
        for path in list_exact(folder, kind):
            by_stamp.setdefault(stamp_of(path), []).append(path)
    for path in list_exact(folder, Kind.REPORT)[:-n_kept]:
        path.unlink()
    outdated = [stamp for stamp in sorted(by_stamp)[:-n_kept] if stamp not in spared]
    for stamp in outdated:
        for path in by_stamp[stamp]:
            remove(path)
    return len(outdated)


def is_utf8(name: str) -> bool:
    """Say whether the name of a file can be spelled; Python marks other bytes as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def list_tables(place: Path) -> list[Path]:
    """List the CSV files of a folder in name order (or the one file given), also unusable ones.

    Parameters
    ----------
    place : Path
        A folder, or one file.

    Returns
    -------
    list of Path
        Names that start with "." or end in .tmp or .part are left out: they are being written.
        A name that is not UTF-8 is left out with a warning: no record could spell it.

    Raises
    ------
    DatasetError
        If the folder is missing or cannot be listed.
    """
    if place.is_file():
        return [place]
    try:
        paths = sorted(place.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DatasetError(f"{place} cannot be listed: {error.strerror}.") from error
    tables = [
        path for path in paths if path.suffix.casefold() == ".csv" and not path.name.startswith(".")
    ]
    nameless = [path for path in tables if not is_utf8(path.name)]
    for path in nameless:
        log.warning("Left out %r in %s: its name is not UTF-8; rename it.", path.name, place)
    return [path for path in tables if path not in nameless]


def file_state(path: Path) -> State:
    """Size in bytes, time of change in nanoseconds, inode; equal states mean an untouched file."""
    # Of what a link leads to: content that changes behind a link is new data, too.
    status = path.stat() if path.exists() else path.lstat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def settled_tables(place: Path, settle_s: float) -> tuple[list[Path], list[Path]]:
    """Tell complete files from those that somebody is still writing, waiting once if need be.

    Parameters
    ----------
    place : Path
        A folder, or one file.
    settle_s : float
        A file that has not changed for so many seconds is complete.

    Returns
    -------
    tuple of two lists of Path
        Complete files, in name order; files that changed while being watched.
    """
    return settle(lambda: {path: file_state(path) for path in list_tables(place)}, settle_s)


def settle(
    look: Callable[[], Mapping[Path, State]], settle_s: float
) -> tuple[list[Path], list[Path]]:
    """Tell complete files from growing ones, wherever they are, by looking once or twice."""
    states = look()
    ages = [time.time() - changed_ns / 1e9 for _, changed_ns, _ in states.values()]
    if all(age >= settle_s for age in ages):
        return list(states), []
    time.sleep(settle_s)
    now = look()
    settled = [path for path, state in states.items() if now.get(path) == state]
    return settled, [path for path in now if path not in settled]


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


def is_regular(path: Path) -> bool:
    """Say whether a path is a plain file, or a link to one, and not a folder, pipe or device."""
    return path.exists() and stat.S_ISREG(path.stat().st_mode)


def is_readable(path: Path) -> bool:
    """Say whether this user can read a path as a plain file."""
    return is_regular(path) and os.access(path, os.R_OK)


def total_bytes(paths: Iterable[Path]) -> int:
    """Add up the sizes of those paths that are plain files."""
    return sum(path.stat().st_size for path in paths if is_regular(path))


def digest(content: bytes) -> str:
    """Compute the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Compute the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_identity(path: Path) -> str:
    """Read the SHA-256 that identifies a dataset in parts, "" if it has none."""
    try:
        return str(json.loads((path / IDENTITY).read_bytes())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold the one lock of an installation while writing.

    Parameters
    ----------
    folder : Path
        The deployment folder, made if it is missing. The lock file is never removed: a
        second program could otherwise lock a file that no longer has a name.

    Raises
    ------
    BusyError
        If another program holds it.
    """
    make_folder(folder)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"Another program is writing to {folder}; try again when it has ended."
            ) from error
        yield
    finally:
        os.close(descriptor)
