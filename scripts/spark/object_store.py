"""Files of an object store: listing, identity and download by Hadoop, and reading by Spark."""

import io
import itertools
import logging
import operator
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from py4j.java_gateway import is_instance_of
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.core import files
from scripts.core.errors import DatasetError
from scripts.core.files import KnownFile, RemotePath
from scripts.spark import cluster, dataset

# Hadoop's prefixes of files without data, such as _SUCCESS, and of unfinished files.
HIDDEN = (".", "_")
NO_INODE = 0

START, LINE = "start", "line"
NEWLINE = b"\n"
# Override the settings of the cluster: an unreadable file must be an error, not an empty table.
STRICT = {"ignoreCorruptFiles": "false", "ignoreMissingFiles": "false"}

# A function of a file's number and content.
ReadWhole = Callable[[int, BinaryIO], Iterator[pa.RecordBatch]]
# A function of the start of a range in a file, and its lines in blocks.
ReadRange = Callable[[int, Iterator[bytes]], Iterator[pa.RecordBatch]]

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
            " Hadoop knows, with its connector and keys in Spark's spark-defaults.conf; README,"
            ' section "A cluster".'
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
    if not paths:
        return {}
    if len(paths) > 1:
        return scan_folder(RemotePath(str(paths[0]).removesuffix(paths[0].name)))
    with open_path(paths[0]) as (_, system, path):
        return {paths[0]: describe(system.getFileStatus(path))}


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


def scan_complete_files(
    place: RemotePath, settle_s: float, known: Mapping[str, KnownFile]
) -> tuple[list[Path], list[Path], dict[str, KnownFile]]:
    """Return the complete files, the growing files, and the digests of the complete files."""
    listed: dict[RemotePath, StoredFile] = {}

    def list_states() -> dict[Path, files.FileState]:
        listed.clear()
        listed.update(scan_folder(place))
        return {path: stored.state for path, stored in listed.items()}

    settled, growing = files.find_complete(list_states, settle_s)
    digests = {str(p): identify(p, s, known) for p, s in listed.items() if p in settled}
    return settled, growing, digests


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
        temporary = path.with_name(f".{name}{files.TEMPORARY_SUFFIX}")
        with open_path(address) as (jvm, system, source):
            goal = jvm.org.apache.hadoop.fs.Path(f"file://{temporary}")
            # As a plain file, without a file of checksums.
            system.copyToLocalFile(False, source, goal, True)
        os.utime(temporary, ns=(stored.changed_ns, stored.changed_ns))
        temporary.replace(path)
        log.info("Downloaded %s to %s.", address, folder)


@dataclass(frozen=True)
class StoreFolder:
    """A folder or a file of an object store."""

    place: RemotePath

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable files."""
        return [*scan_folder(self.place)]

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete and the growing files, after at most one wait."""
        settled, growing, _ = scan_complete_files(self.place, settle_s, {})
        return settled, growing

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], _keep: object = None
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing files, and the digests of the complete files."""
        return scan_complete_files(self.place, settle_s, known)

    def fetch(self, folder: Path) -> Path:
        """Download the files into a local folder, and return the folder."""
        download_folder(self.place, folder)
        return folder


def read_whole(
    session: SparkSession, files: Mapping[int, RemotePath], read: ReadWhole, kinds: str
) -> DataFrame:
    """Read small files as a whole, several in a task.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        The cluster.
    files : mapping of int to RemotePath
        Files of a folder by number.
    read : callable
        A picklable function from the content of a file to rows.
    kinds : str
        The schema of the rows, as Spark DDL.

    Returns
    -------
    pyspark.sql.DataFrame
        The rows of the files. Spark returns no row for an empty file.
    """
    # By name, since Spark may write the folder of the address differently.
    numbers = {path.name: number for number, path in files.items()}

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for path, content in zip(*batch.columns, strict=True):
                number = numbers[path.as_py().rpartition("/")[2]]
                yield from read(number, io.BytesIO(content.as_buffer()))

    escaped = [dataset.escape(str(path)) for path in files.values()]
    files_read = session.read.format("binaryFile").options(**STRICT).load(escaped)
    return files_read.select("path", "content").mapInArrow(work, kinds)


def read_lines(session: SparkSession, path: RemotePath) -> DataFrame:
    """Read the lines of a file as bytes, partitioned by ranges of the file.

    Lines end at \\n, which is removed, as is a byte order mark of the first line.
    """
    lines = session.read.options(**STRICT).text(dataset.escape(str(path)), lineSep="\n")
    start = F.col("_metadata.file_block_start")
    return lines.select(start.alias(START), F.col("value").cast("binary").alias(LINE))


def join_lines(batch: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
    """Join the lines of each range to a block, with the start of the range."""
    starts = batch[START].to_numpy()
    first = 0
    while first < len(starts):
        n_same = int((starts[first:] == starts[first]).argmin()) or len(starts) - first
        lines = batch[LINE].slice(first, n_same)
        listed = pa.ListArray.from_arrays(pa.array([0, n_same], pa.int32()), lines)
        yield int(starts[first]), pc.binary_join(listed, NEWLINE)[0].as_py() + NEWLINE
        first += n_same


def read_in_order(
    session: SparkSession,
    path: RemotePath,
    mark: bytes,
    read: Callable[[BinaryIO], Iterator[pa.RecordBatch]],
    kinds: str,
) -> DataFrame:
    """Read a file of any size in a single task, by a temporary file of the worker.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        The cluster.
    path : RemotePath
        The file.
    mark : bytes
        The byte order mark, or b"".
    read : callable
        A picklable function from the content to rows; the last line has an end.
    kinds : str
        The schema of the rows, as Spark DDL.
    """

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        last = 0
        with tempfile.TemporaryFile() as handle:
            handle.write(mark)
            for batch in batches:
                for start, block in join_lines(batch):
                    if start < last:
                        raise ValueError(f"the ranges of {path} came in another order")
                    handle.write(block)
                    last = start
            handle.seek(0)
            yield from read(cast(BinaryIO, handle))

    # A single task reads the ranges in order.
    return read_lines(session, path).coalesce(1).mapInArrow(work, kinds)


def read_ranges(session: SparkSession, path: RemotePath, read: ReadRange, kinds: str) -> DataFrame:
    """Read a large file in ranges, with a task per range."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        blocks = (block for batch in batches for block in join_lines(batch))
        for start, in_range in itertools.groupby(blocks, operator.itemgetter(0)):
            yield from read(start, (block for _, block in in_range))

    return read_lines(session, path).mapInArrow(work, kinds)
