"""Files that are written whole and outlast a crash, and the one lock of who writes.

Files that somebody else puts into folders: which are tables, and which are complete.

Names places in object stores, among the paths of files on this machine.
"""

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import BinaryIO, Self

from scripts.core.errors import BusyError, DatasetError

TEMPORARY_SUFFIX = ".tmp"
LOCK = ".adras.lock"


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


def digest(content: bytes) -> str:
    """Compute the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Compute the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


# Size in bytes, time of change in nanoseconds, inode.
FileState = tuple[int, int, int]

# A file with a longer line is refused.
MAX_LINE_BYTES = 2**20
DIGEST_BYTES = 2**18
# The unit of st_blocks, whatever the file system.
BLOCK_BYTES = 512

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownFile:
    """The state of a file when it was hashed, and its SHA-256."""

    n_bytes: int
    changed_ns: int
    inode: int
    sha256: str


class NotRegularError(Exception):
    """A path that leads to something else than a plain file."""


def is_utf8(name: str) -> bool:
    """Say whether the name of a file can be spelled; Python marks other bytes as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def is_regular(path: Path) -> bool:
    """Say whether a path is a plain file, or a link to one, and not a folder, pipe or device."""
    return path.exists() and stat.S_ISREG(path.stat().st_mode)


def is_readable(path: Path) -> bool:
    """Say whether this user can read a path as a plain file."""
    return is_regular(path) and os.access(path, os.R_OK)


def open_regular(path: Path) -> BinaryIO:
    """Open a plain file to read; a link, pipe, folder or device is not opened.

    What is checked is what is read: the name may lead to something else a moment later.

    Raises
    ------
    NotRegularError
        If the path is no plain file.
    OSError
        If it is missing or may not be read.
    """
    # Without O_NONBLOCK, opening a pipe would wait for somebody to write to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        # A link; a socket.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotRegularError(str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(str(path))
    return os.fdopen(descriptor, "rb")


def digest_lines(path: Path) -> str:
    """Compute the SHA-256 of a file's content in hexadecimal, up to a line that is too long.

    Such a file is refused when it is read, so the rest of it does not matter: a file of many
    gigabytes without a line end must not be read to its end by every run.

    Parameters
    ----------
    path : Path
        A plain file.

    Returns
    -------
    str
        Where no line is longer than `MAX_LINE_BYTES`, the digest of the whole content; otherwise
        that of what was read and of the size.
    """
    with open_regular(path) as handle:
        sha, n_open = hashlib.sha256(), 0
        while content := handle.read(DIGEST_BYTES):
            sha.update(content)
            cut = content.rfind(b"\n") + 1
            n_open = len(content) - cut if cut else n_open + len(content)
            if n_open > MAX_LINE_BYTES:
                sha.update(str(os.fstat(handle.fileno()).st_size).encode())
                break
    return sha.hexdigest()


def total_bytes(paths: Iterable[Path]) -> int:
    """Add up the sizes of those paths that are plain files."""
    return sum(path.stat().st_size for path in paths if is_regular(path))


def stored_bytes(paths: Iterable[Path]) -> int:
    """Add up what plain files take on the disk, which for one with holes is less than its size."""
    found = [path.stat() for path in paths if is_regular(path)]
    return sum(min(status.st_size, status.st_blocks * BLOCK_BYTES) for status in found)


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


def check_has_tables(paths: Sequence[Path], place: object) -> None:
    """Refuse a folder, or an address, in which there is no table."""
    if not paths:
        raise DatasetError(f"No usable row was found. There is no CSV file in {place}.")


def file_state(path: Path) -> FileState:
    """Size in bytes, time of change in nanoseconds, inode; equal states mean an untouched file."""
    # Of what a link leads to: content that changes behind a link is new data, too.
    status = path.stat() if path.exists() else path.lstat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def find_complete_tables(place: Path, settle_s: float) -> tuple[list[Path], list[Path]]:
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
    return find_complete(lambda: {path: file_state(path) for path in list_tables(place)}, settle_s)


def find_complete(
    look: Callable[[], Mapping[Path, FileState]], settle_s: float
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


# As Hadoop spells the address of a folder: s3a://bucket/folder; it goes to Spark as it stands.
REMOTE_PATTERN = r"[a-z][a-z0-9+.-]*://\S+"


class RemotePath(PosixPath):
    """A file or folder in an object store, which has a name as a path has, and is nowhere here.

    It is a path so that lists of files, findings and records are the same for both; whoever opens
    or lists files asks first which of the two it is.
    """

    text: str

    def __new__(cls, text: str) -> Self:
        """Take an address as it stands: a path would lose one of its slashes."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        """Spell it as it was given."""
        return self.text

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Say how it is made again, also in another process."""
        return type(self), (self.text,)


def is_remote(text: str) -> bool:
    """Say whether a text is the address of a place in an object store."""
    return re.fullmatch(REMOTE_PATTERN, text) is not None
