"""Reads, lists and writes files safely: durable writes, the lock, input files, remote paths."""

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import Any, BinaryIO, Self, TypeVar

from msgspec import Struct

from scripts.core.errors import BusyError, DatasetError

TEMPORARY_SUFFIX = ".tmp"
LOCK = ".adras.lock"
# The longest wait of a page for a run, since the page waits as long.
LOCK_WAIT_S = 5.0
LOCK_AGAIN_S = 0.05
# The readers refuse a file with a longer line.
MAX_LINE_BYTES = 2**20
DIGEST_BYTES = 2**18
# Linux keeps a large write in large pieces of memory, which are seldom ready: 1.1 s of CPU for a
# file of 570 MB, against 0.2 s in such pieces.
WRITE_BYTES = 2**18
# Tables in a form nobody reads here.
UNREAD_SUFFIXES = frozenset(
    (".gz", ".zip", ".bz2", ".xz", ".7z", ".txt", ".tsv", ".tab", ".dat", ".xls", ".xlsx", ".xlsm",
     ".ods", ".parquet", ".json", ".jsonl")
)  # fmt: skip
NOT_A_TABLE = ("readme", "license")
MAX_NAMED = 3
# Hadoop's format for a folder, as in s3a://bucket/folder; Spark receives the text unchanged.
REMOTE_PATTERN = r"[a-z][a-z0-9+.-]*://\S+"

# Size in bytes, time of the last change in nanoseconds, inode.
FileState = tuple[int, int, int]
Place = TypeVar("Place", bound=Path)
State = TypeVar("State", bound=tuple[Any, ...])

log = logging.getLogger(__name__)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush the content of a file by another program to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a missing folder and its parents durably."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        sync_folder(place.parent)


def temporary_name(name: str) -> str:
    """Return the name of a file or link while it is written."""
    return f".{name}{TEMPORARY_SUFFIX}"


def write_whole(path: Path, content: str | bytes | Iterable[bytes]) -> Path:
    """Write a file atomically: a reader sees the previous or the new content, even after a crash.

    Parameters
    ----------
    path : Path
        The file; a missing folder is created.
    content : str, bytes or iterable of bytes
        Text is written as UTF-8, an iterable in its order.

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
    temporary = path.with_name(temporary_name(path.name))
    try:
        with temporary.open("wb") as handle:
            for part in parts:
                view = memoryview(part)
                for start in range(0, len(view), WRITE_BYTES):
                    handle.write(view[start : start + WRITE_BYTES])
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path


def replace_link(link: Path, target: str) -> None:
    """Point a symbolic link at a target atomically, by a rename."""
    temporary = link.with_name(temporary_name(link.name))
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_leftovers(folders: Iterable[Path]) -> int:
    """Remove the temporary files of killed runs and return their number, under the lock."""
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
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of an installation while writing.

    Parameters
    ----------
    folder : Path
        The deployment folder, created if missing. The lock file is never removed: a second
        program could otherwise lock a file without a name.

    Raises
    ------
    BusyError
        If another program holds the lock.
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


@contextmanager
def waiting_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the installation, after waiting a few seconds at most.

    Raises
    ------
    BusyError
        If another program holds the lock all the time.
    """
    until_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            with exclusive_lock(folder):
                yield
                return
        except BusyError:
            if time.monotonic() > until_s:
                raise
        time.sleep(LOCK_AGAIN_S)


class KnownFile(Struct, frozen=True):
    """SHA-256 of a file, with the file state at the time of hashing."""

    n_bytes: int
    changed_ns: int
    inode: int
    sha256: str


class NotRegularError(Exception):
    """Path leads to a folder, link, pipe or device instead of a plain file."""


def is_utf8(name: str) -> bool:
    """Return whether a file name is UTF-8. Python decodes invalid bytes as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def is_regular(path: Path) -> bool:
    """Return whether a path is a plain file or a link to a plain file."""
    return path.exists() and stat.S_ISREG(path.stat().st_mode)


def is_readable(path: Path) -> bool:
    """Return whether the user can read a path as a plain file."""
    return is_regular(path) and os.access(path, os.R_OK)


def open_regular(path: Path) -> BinaryIO:
    """Open a plain file for reading, but no link, pipe, folder or device.

    The open file is checked instead of the path, because the path may change in between.

    Raises
    ------
    NotRegularError
        If the path is no plain file.
    OSError
        If the file is missing or cannot be read.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        # ELOOP: a link. ENXIO: a socket.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotRegularError(str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(str(path))
    return os.fdopen(descriptor, "rb")


def digest_lines(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal, up to a line above the limit.

    The readers refuse a file with a line above the limit, so the rest does not matter. A run must
    not read gigabytes without a line end.

    Parameters
    ----------
    path : Path
        A plain file.

    Returns
    -------
    str
        The digest of the whole content if no line is longer than `MAX_LINE_BYTES`. Otherwise the
        digest of the content read so far and the file size.
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
    """Return the total size of the plain files among the paths."""
    return sum(path.stat().st_size for path in paths if is_regular(path))


def list_tables(place: Path) -> list[Path]:
    """List the CSV files of a folder by name, without a look at their content.

    Parameters
    ----------
    place : Path
        A folder, or a file.

    Returns
    -------
    list of Path
        The file itself, or the CSV files of the folder. Names that start with "." or end in .tmp
        or .part are left out, since their writers have not finished. A name that is not UTF-8 is
        left out with a warning, since the records cannot store it.

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
    undecodable = [path for path in tables if not is_utf8(path.name)]
    for path in undecodable:
        log.warning("Left out %r in %s: its name is not UTF-8; rename it.", path.name, place)
    return [path for path in tables if path not in undecodable]


def is_unread(path: Path) -> bool:
    """Return whether a path looks like a table in another form, or a folder of tables."""
    if path.suffix.casefold() == ".csv":
        # The usual case, which an idle run meets for each extract: it is read, or refused.
        return False
    if path.name.startswith(".") or path.stem.casefold() in NOT_A_TABLE:
        return False
    if not is_utf8(path.name):
        return False
    if path.is_dir():
        return any(inner.suffix.casefold() == ".csv" for inner in path.iterdir())
    return path.suffix.casefold() in UNREAD_SUFFIXES


def describe_unread(place: Path, known: Collection[Path] = ()) -> str:
    """Return a sentence about the tables of a folder that nobody reads, "" without any.

    Parameters
    ----------
    place : Path
        A folder of CSV files. Of one in an object store nothing is said.
    known : collection of Path
        Folders with another use, such as that of the outcomes.
    """
    if isinstance(place, RemotePath):
        return ""
    # A link to itself has no end, which is an error to `resolve`.
    others = {os.path.realpath(path) for path in known if not isinstance(path, RemotePath)}
    try:
        found = [p for p in place.iterdir() if is_unread(p) and os.path.realpath(p) not in others]
    except OSError:
        # The step that reads the folder says why it cannot be read.
        return ""
    if not found:
        return ""
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in found)
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        f"Not read in {place}: {', '.join(names[:MAX_NAMED])}{more}. Only files .csv in the folder"
        " itself are: unpack the others, or save them as CSV in UTF-8, each with its day in the"
        " name."
    )


def check_has_tables(paths: Sequence[Path], place: object) -> None:
    """Refuse an empty list of input files."""
    if paths:
        return
    unread = describe_unread(place) if isinstance(place, Path) else ""
    raise DatasetError(
        f"No usable row was found. There is no CSV file in {place}. {unread}".rstrip()
    )


def file_state(path: Path) -> FileState:
    """Return size, modification time and inode of a file, equal while the file is unchanged."""
    # The state behind a link counts, since changed content behind a link is new data.
    status = path.stat() if path.exists() else path.lstat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def find_complete(
    list_states: Callable[[], Mapping[Place, State]], settle_s: float
) -> tuple[dict[Place, State], list[Place]]:
    """Split files into complete files with their states and growing files, by two listings at most.

    A state begins with size in bytes and time of the last change in nanoseconds.
    """
    states = list_states()
    ages = [time.time() - state[1] / 1e9 for state in states.values()]
    if all(age >= settle_s for age in ages):
        return dict(states), []
    time.sleep(settle_s)
    later = list_states()
    complete = {path: state for path, state in states.items() if later.get(path) == state}
    return complete, [path for path in later if path not in complete]


def find_complete_tables(place: Path, settle_s: float) -> tuple[list[Path], list[Path]]:
    """Split the tables of a folder into complete and growing files, after a wait if necessary.

    Parameters
    ----------
    place : Path
        A folder, or a file.
    settle_s : float
        A file without a change for this number of seconds is complete.

    Returns
    -------
    tuple of two lists of Path
        Complete files in name order, and files with a change during the wait.
    """
    complete, growing = find_complete(
        lambda: {path: file_state(path) for path in list_tables(place)}, settle_s
    )
    return [*complete], growing


class RemotePath(PosixPath):
    """Address of a file or folder in an object store.

    The class is a Path, so that lists of files, reports and records have a common type. A caller
    that opens or lists files checks first for a RemotePath.
    """

    text: str

    def __new__(cls, text: str) -> Self:
        """Keep the text of the address, since a path would lose a slash."""
        path = super().__new__(cls, text)
        path.text = text
        return path

    def __str__(self) -> str:
        """Return the address unchanged."""
        return self.text

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Return the class and the text, for a copy in another process."""
        return type(self), (self.text,)


def is_remote(text: str) -> bool:
    """Return whether a text is the address of a file or folder in an object store."""
    return re.fullmatch(REMOTE_PATTERN, text) is not None
