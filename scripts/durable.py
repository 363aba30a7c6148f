"""Files that are written whole and outlast a crash, and the one lock of who writes."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.errors import BusyError

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
