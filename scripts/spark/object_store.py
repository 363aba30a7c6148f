"""Files of an object store: listing, identity and download by Hadoop."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from py4j.java_gateway import is_instance_of
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from scripts.core import files
from scripts.core.errors import DatasetError
from scripts.core.files import KnownFile, RemotePath
from scripts.spark import cluster

# Hadoop's prefixes of files without data, such as _SUCCESS, and of unfinished files.
HIDDEN = (".", "_")
NO_INODE = 0


class StoredFile(NamedTuple):
    """Size, time of change and ETag of a file in the store, with "" for a missing ETag."""

    n_bytes: int
    changed_ns: int
    etag: str
    is_file: bool


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
    shown = [path for path in listed if not path.name.startswith(HIDDEN)]
    tables = [path for path in shown if path.suffix.casefold() == ".csv"]
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


def download(path: RemotePath, copy: Path) -> None:
    """Copy a file to a local path."""
    with open_path(path) as (jvm, system, place):
        goal = jvm.org.apache.hadoop.fs.Path(f"file://{copy}")
        # As a plain file, without a file of checksums.
        system.copyToLocalFile(False, place, goal, True)


def identify(path: RemotePath, stored: StoredFile, known: Mapping[str, KnownFile]) -> KnownFile:
    """Compute the digest of a file from its ETag or checksum, without reading the content.

    In a store without ETags and checksums the digest is of name and time of change.
    """
    before, tag = known.get(str(path)), stored.etag
    if not tag:
        if before is not None and (before.n_bytes, before.changed_ns) == stored[:2]:
            return before
        with open_path(path) as (_, system, place):
            checksum = system.getFileChecksum(place) if stored.is_file else None
        tag = f"{path} {stored.changed_ns}" if checksum is None else checksum.toString()
    sha256 = files.digest(f"{tag} {stored.n_bytes}".encode())
    return KnownFile(stored.n_bytes, stored.changed_ns, NO_INODE, sha256)
