"""Files of an object store: listing, identity and download by Hadoop."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from py4j.java_gateway import is_instance_of
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from scripts.core import files
from scripts.core.errors import DatasetError
from scripts.core.files import KnownFile, RemotePath
from scripts.data.read_report import FileReading
from scripts.spark import cluster

# Hadoop's prefixes of files without data, such as _SUCCESS, and of unfinished files.
HIDDEN = (".", "_")
NO_INODE = 0

log = logging.getLogger(__name__)


class StoredFile(Struct, frozen=True):
    """Size, time of change and ETag of a file in the store, with "" for a missing ETag."""

    n_bytes: int
    changed_ns: int
    etag: str
    is_file: bool

    @property
    def state(self) -> files.FileState:
        """The state in the form of local files, without an inode."""
        return self.n_bytes, self.changed_ns, NO_INODE


@contextmanager
def open_path(place: RemotePath) -> Iterator[tuple[Any, Any, Any]]:
    """Return the JVM, the Hadoop file system of an address, and its Hadoop path.

    Raises
    ------
    DatasetError
        If Hadoop cannot reach the address.
    """
    try:
        jvm, settings = cluster.open_hadoop()
        path = jvm.org.apache.hadoop.fs.Path(str(place))
        yield jvm, path.getFileSystem(settings), path
    except (PySparkException, Py4JError) as error:
        raise DatasetError(
            f"{place} cannot be read: {cluster.root_cause(error)}. Expected an address that"
            " Hadoop knows, with its connector and keys in Spark's spark-defaults.conf, as in"
            " docs/spark.md."
        ) from error


def describe(status: Any) -> StoredFile:
    """Convert a Hadoop file status."""
    knows_tag = is_instance_of(SparkContext._gateway, status, "org.apache.hadoop.fs.EtagSource")
    etag = (status.getEtag() or "") if knows_tag else ""
    changed_ns = status.getModificationTime() * 10**6
    return StoredFile(status.getLen(), changed_ns, etag, bool(status.isFile()))


def scan_folder(place: RemotePath) -> dict[RemotePath, StoredFile]:
    """List the CSV files of a folder, or a single file, in name order, also unusable files.

    Names with the prefix "." or "_" are left out, since Hadoop reserves them.
    """
    with open_path(place) as (_, system, path):
        listed = {RemotePath(s.getPath().toString()): describe(s) for s in system.listStatus(path)}
    tables = [
        path
        for path in listed
        if path.suffix.casefold() == ".csv" and not path.name.startswith(HIDDEN)
    ]
    return {path: listed[path] for path in sorted(tables, key=lambda path: path.name)}


def rescan_files(paths: Sequence[RemotePath]) -> dict[RemotePath, StoredFile]:
    """Return the present state of listed files of a folder, without deleted files.

    Several files take one listing of the folder, since each question is a request to the store.
    """
    if len(paths) > 1:
        return scan_folder(RemotePath(str(paths[0]).removesuffix(paths[0].name)))
    found = {}
    for one in paths:
        with open_path(one) as (_, system, path):
            found[one] = describe(system.getFileStatus(path))
    return found


def read_start(path: RemotePath, n_bytes: int) -> bytes:
    """Read at most the first `n_bytes` bytes of a file."""
    with open_path(path) as (_, system, place):
        stream = system.open(place)
        try:
            return bytes(stream.readNBytes(n_bytes))
        finally:
            stream.close()


def identify(path: RemotePath, stored: StoredFile, known: Mapping[str, KnownFile]) -> KnownFile:
    """Compute the digest of a file from its ETag or checksum, without reading the content.

    In a store without ETags and checksums the digest is of name and time of change.
    """
    before, tag = known.get(str(path)), stored.etag
    if not tag:
        if before is not None and before == KnownFile(*stored.state, before.sha256):
            return before
        with open_path(path) as (_, system, place):
            checksum = system.getFileChecksum(place) if stored.is_file else None
        tag = f"{path} {stored.changed_ns}" if checksum is None else checksum.toString()
    return KnownFile(*stored.state, files.digest(f"{tag} {stored.n_bytes}".encode()))


def download_folder(place: RemotePath, folder: Path) -> None:
    """Download the changed files of an address, and remove local files missing there.

    Parameters
    ----------
    place : RemotePath
        A folder or a file.
    folder : Path
        The local folder, made if missing.
    """
    remote = {
        path.name: (path, stored) for path, stored in scan_folder(place).items() if stored.is_file
    }
    files.make_folder(folder)
    for path in folder.iterdir():
        if path.name not in remote:
            files.remove(path)
    for name, (address, stored) in remote.items():
        path = folder / name
        if path.exists() and files.file_state(path)[:2] == stored.state[:2]:
            continue
        temporary = path.with_name(files.temporary_name(name))
        with open_path(address) as (jvm, system, source):
            goal = jvm.org.apache.hadoop.fs.Path(f"file://{temporary}")
            # As a plain file, without a file of checksums.
            system.copyToLocalFile(False, source, goal, True)
        os.utime(temporary, ns=(stored.changed_ns, stored.changed_ns))
        temporary.replace(path)
        log.info("Downloaded %s to %s.", address, folder)


def as_stored(readings: Sequence[FileReading], place: Path) -> list[FileReading]:
    """Return the reports of downloaded files with address and digest in the store."""
    if not isinstance(place, RemotePath):
        return [*readings]
    listed = {path.name: (path, stored) for path, stored in scan_folder(place).items()}
    found = []
    for reading in readings:
        if reading.path.name in listed:
            path, stored = listed[reading.path.name]
            found.append(replace(reading, path=path, sha256=identify(path, stored, {}).sha256))
        else:
            found.append(reading)
    return found


class StoreFolder(Struct, frozen=True):
    """A folder or a file of an object store."""

    place: RemotePath

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable files."""
        return [*scan_folder(self.place)]

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete and the growing files, after at most one wait."""
        settled, growing = self._find_complete(settle_s)
        return [*settled], growing

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], _keep: object = None
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing files, and the digests of the complete files."""
        settled, growing = self._find_complete(settle_s)
        digests = {str(path): identify(path, of, known) for path, of in settled.items()}
        return [*settled], growing, digests

    def fetch(self, folder: Path) -> Path:
        """Download the files into a local folder, and return the folder."""
        download_folder(self.place, folder)
        return folder

    def _find_complete(self, settle_s: float) -> tuple[dict[RemotePath, StoredFile], list[Path]]:
        """Return the complete files with their states, and the growing files."""
        listed: dict[RemotePath, StoredFile] = {}

        def list_states() -> dict[Path, files.FileState]:
            """List the folder, and return the state of each file."""
            listed.clear()
            listed.update(scan_folder(self.place))
            return {path: stored.state for path, stored in listed.items()}

        settled, growing = files.find_complete(list_states, settle_s)
        return {path: of for path, of in listed.items() if path in settled}, growing
