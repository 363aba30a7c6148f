"""Folder of the metrics that the processes of a service share, removed with the service."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "adras-metrics-"
# Locked as long as a process of the service lives.
LOCK_NAME = "alive"


def is_left_over(folder: Path) -> bool:
    """Return whether a folder is this account's, and its service was killed."""
    try:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            return False
        with (folder / LOCK_NAME).open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # The service lives, or begins, or another one has removed the folder this moment.
        return False
    return True


def remove_left_over() -> None:
    """Remove the folders of killed services."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if is_left_over(folder):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def opened() -> Iterator[Path]:
    """Yield a new folder, and remove it at the end. Those of killed services are removed first."""
    remove_left_over()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        begun = folder / f"{LOCK_NAME}.new"
        with begun.open("w") as stream:
            # Named after it is locked, so that no other service takes the folder for left over.
            fcntl.flock(stream, fcntl.LOCK_EX)
            begun.rename(folder / LOCK_NAME)
            yield folder
