"""Kept inputs: a copy of each file that a run was trained on, named after its content."""

import hashlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from scripts.core import files
from scripts.core.config import Config
from scripts.records.runs import Row
from scripts.records.tables import FileRole

FOLDER = "inputs"
# What a model is made from. The test rows only judge it.
ROLES = (FileRole.INPUT, FileRole.OUTCOME)
CHUNK_BYTES = 2**20

log = logging.getLogger(__name__)


class ChangedFileError(OSError):
    """A file with another content than the run has read."""


def folder_of(config: Config) -> Path:
    """Return the folder of the kept inputs, without a date, so that only this module removes it."""
    return config.output_folder_path / FOLDER


def read_checked(path: Path, sha256: str) -> Iterator[bytes]:
    """Yield the content of a file.

    Raises
    ------
    ChangedFileError
        At the end, if the content has another hash.
    """
    digest = hashlib.sha256()
    with files.open_regular(path) as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != sha256:
        raise ChangedFileError(f"{path} has changed since the run has read it")


def keep(config: Config, rows: Iterable[Row]) -> int:
    """Keep the files of a run, each content once.

    Parameters
    ----------
    config : Config
        The installation.
    rows : iterable of mapping
        The files of the run, as recorded.

    Returns
    -------
    int
        The number of new copies. A file that cannot be copied is named in the log, and the run goes
        on.
    """
    folder, n_new = folder_of(config), 0
    for row in rows:
        target = folder / str(row["sha256"])
        if row["role"] not in ROLES or row["refused"] or target.exists():
            continue
        path = Path(str(row["path"]))
        try:
            files.write_whole(target, read_checked(path, target.name))
        except OSError as error:
            log.warning("%s is not kept, so this run cannot be reproduced: %s.", path, error)
        else:
            n_new += 1
    if n_new:
        log.info("Kept %d new input files in %s.", n_new, folder)
    return n_new


def remove_unused(config: Config, wanted: set[str]) -> int:
    """Remove the kept inputs that no kept run needs, and return their number."""
    folder = folder_of(config)
    if not folder.is_dir():
        return 0
    unused = [path for path in folder.iterdir() if path.name not in wanted]
    for path in unused:
        path.unlink()
    return len(unused)


def find(config: Config, row: Row) -> Path | None:
    """Find the content of a recorded file: the kept copy, or else the unchanged file itself."""
    kept, path = folder_of(config) / str(row["sha256"]), Path(str(row["path"]))
    for place in (kept, path):
        if files.is_regular(place) and files.digest_file(place) == row["sha256"]:
            return place
    return None


def place(source: Path, target: Path) -> None:
    """Place a copy of a file, without a second copy on disk where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
