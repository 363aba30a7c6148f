"""Folders of client tables in an object store: complete files, and copies of them here."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from scripts.core import files
from scripts.core.files import KnownFile, RemotePath
from scripts.data.read_report import FileReading
from scripts.spark import object_store
from scripts.spark.object_store import StoredFile

log = logging.getLogger(__name__)


def download_folder(place: RemotePath, folder: Path) -> None:
    """Download the changed files of an address, and remove local files missing there.

    Parameters
    ----------
    place : RemotePath
        A folder or a file.
    folder : Path
        The local folder, made if missing.
    """
    listed = object_store.scan_folder(place).items()
    remote = {path.name: (path, stored) for path, stored in listed if stored.is_file}
    files.make_folder(folder)
    for path in folder.iterdir():
        if path.name not in remote:
            files.remove(path)
    for name, (address, stored) in remote.items():
        path = folder / name
        if path.exists() and files.file_state(path)[:2] == stored[:2]:
            continue
        temporary = path.with_name(files.temporary_name(name))
        object_store.download(address, temporary)
        os.utime(temporary, ns=(stored.changed_ns, stored.changed_ns))
        temporary.replace(path)
        log.info("Downloaded %s to %s.", address, folder)


def as_stored(readings: Sequence[FileReading], place: Path) -> list[FileReading]:
    """Return the reports of downloaded files with address and digest in the store."""
    if not isinstance(place, RemotePath):
        return [*readings]
    listed = {path.name: (path, stored) for path, stored in object_store.scan_folder(place).items()}

    def as_listed(reading: FileReading) -> FileReading:
        """Return the report of a file that the store still has."""
        path, stored = listed[reading.path.name]
        return replace(reading, path=path, sha256=object_store.identify(path, stored, {}).sha256)

    return [as_listed(found) if found.path.name in listed else found for found in readings]


class StoreFolder(Struct, frozen=True):
    """A folder or a file of an object store."""

    place: RemotePath

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable files."""
        return [*object_store.scan_folder(self.place)]

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete and the growing files, after at most one wait."""
        settled, growing = self._find_complete(settle_s)
        return [*settled], growing

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], _keep: object = None
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing files, and the digests of the complete files."""
        settled, growing = self._find_complete(settle_s)
        digests = {
            str(path): object_store.identify(path, stored, known)
            for path, stored in settled.items()
        }
        return [*settled], growing, digests

    def _find_complete(
        self, settle_s: float
    ) -> tuple[dict[RemotePath, StoredFile], list[RemotePath]]:
        """Return the complete files with their states, and the growing files."""
        return files.find_complete(lambda: object_store.scan_folder(self.place), settle_s)

    def fetch(self, folder: Path) -> Path:
        """Download the files into a local folder, and return the folder."""
        download_folder(self.place, folder)
        return folder
