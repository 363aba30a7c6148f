"""Kept inputs: a copy of each training file, named after the content."""

import hashlib
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from scripts.core import erased_clients, files
from scripts.core.config import Config
from scripts.data import client_lines
from scripts.data.client_lines import Span
from scripts.records.runs import Row
from scripts.records.tables import FileRole

FOLDER = "inputs"
# The columns that identify a client in a file.
Candidates = tuple[tuple[str, ...], ...]
# What a model is made from. The test rows only judge it.
ROLES = (FileRole.INPUT, FileRole.OUTCOME)
CHUNK_BYTES = 2**20

log = logging.getLogger(__name__)


def candidates_of(config: Config) -> Candidates:
    """Return the identifier columns of client tables and of outcome files."""
    own = config.schema.client_ids
    key = "" if config.outcomes is None else config.outcomes.key
    found = [ids for ids in (own, (key,)) if ids and ids != ("",)]
    return tuple(dict.fromkeys(found))


class ChangedFileError(OSError):
    """A file with another content than the run has read."""


def folder_of(config: Config) -> Path:
    """Return the folder of the kept inputs, whose name has no date as a guard from retention."""
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


def list_copies(folder: Path, sha256: str) -> list[Path]:
    """List the copies of a content, with and without the lines of erased clients.

    Such a copy is named after the content with all lines and, behind a point, its own.
    """
    return [path for path in (folder / sha256, *folder.glob(f"{sha256}.*")) if path.exists()]


def find_erased(config: Config, path: Path) -> Sequence[Span]:
    """Return the lines of erased clients in a file."""
    erased = erased_clients.REFUSED.get()
    if erased is None:
        return ()
    for ids in candidates_of(config):
        found = client_lines.find_spans(path, ids, erased.has)
        if found is not None:
            return found.spans
    return ()


def copy(config: Config, path: Path, sha256: str) -> None:
    """Keep a copy of a file, without the lines of erased clients.

    Raises
    ------
    OSError
        If the file has changed, or cannot be copied.
    """
    folder, spans = folder_of(config), find_erased(config, path)
    if not spans:
        files.write_whole(folder / sha256, read_checked(path, sha256))
        return
    if files.digest_file(path) != sha256:
        raise ChangedFileError(f"{path} has changed since the run has read it")
    content = b"".join(client_lines.iterate_without(path, spans))
    files.write_whole(folder / f"{sha256}.{files.digest(content)}", content)


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
        sha256, path = str(row["sha256"]), Path(str(row["path"]))
        if row["role"] not in ROLES or row["refused"] or list_copies(folder, sha256):
            continue
        try:
            copy(config, path, sha256)
        except OSError as error:
            log.warning("%s is not kept, so this run cannot be reproduced: %s.", path, error)
        else:
            n_new += 1
    if n_new:
        log.info("Kept %d new input files in %s.", n_new, folder)
    return n_new


def remove_unused(config: Config, wanted: set[str]) -> int:
    """Remove the kept inputs of forgotten runs, and return their number."""
    folder = folder_of(config)
    if not folder.is_dir():
        return 0
    unused = [path for path in folder.iterdir() if path.name.partition(".")[0] not in wanted]
    for path in unused:
        path.unlink()
    return len(unused)


def find(config: Config, row: Row) -> Path | None:
    """Find the content of a recorded file: the kept copy, or the unchanged file itself."""
    sha256, path = str(row["sha256"]), Path(str(row["path"]))
    for place in (*list_copies(folder_of(config), sha256), path):
        own = place.name.partition(".")[2] if place.parent == folder_of(config) else ""
        if files.is_regular(place) and files.digest_file(place) == (own or sha256):
            return place
    return None


def place(source: Path, target: Path) -> None:
    """Place a copy of a file, with shared disk blocks where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
