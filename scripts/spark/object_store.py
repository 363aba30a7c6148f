"""Lists, identifies and brings the files of an object store, by Hadoop, which has the keys.

Gives tasks the contents of files in an object store, as Spark's own sources read them.
"""

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

# As Hadoop has it: the name of what is no data, such as _SUCCESS, or is still being written.
HIDDEN = (".", "_")
NO_INODE = 0

log = logging.getLogger(__name__)


class StoredFile(Struct, frozen=True):
    """What the store says of a file; the ETag is "" where it knows none."""

    n_bytes: int
    changed_ns: int
    etag: str
    is_file: bool

    @property
    def state(self) -> files.FileState:
        """Spell it as the state of a file of this machine."""
        return self.n_bytes, self.changed_ns, NO_INODE


@contextmanager
def reaching(place: RemotePath) -> Iterator[tuple[Any, Any, Any]]:
    """Give Java, the file system of a place, and the place as Hadoop has it.

    Raises
    ------
    DatasetError
        If Hadoop does not get there.
    """
    try:
        jvm, settings = cluster.open_hadoop()
        path = jvm.org.apache.hadoop.fs.Path(str(place))
        yield jvm, path.getFileSystem(settings), path
    except (PySparkException, Py4JError) as error:
        raise DatasetError(
            f"{place} cannot be read: {cluster.shorten_cause(error)}. Expected an address that"
            " Hadoop knows, with its connector and keys in Spark's spark-defaults.conf; README,"
            ' section "A cluster".'
        ) from error


def describe(status: Any) -> StoredFile:
    """Take over what Hadoop says of a file."""
    knows_tag = is_instance_of(SparkContext._gateway, status, "org.apache.hadoop.fs.EtagSource")
    etag = (status.getEtag() or "") if knows_tag else ""
    changed_ns = status.getModificationTime() * 10**6
    return StoredFile(status.getLen(), changed_ns, etag, bool(status.isFile()))


def scan_folder(place: RemotePath) -> dict[RemotePath, StoredFile]:
    """List the CSV files of a folder in name order (or the one file given), also unusable ones.

    Names that start with "." or "_" are left out: that is how Hadoop marks what is no data.
    """
    with reaching(place) as (_, system, path):
        found = {RemotePath(s.getPath().toString()): describe(s) for s in system.listStatus(path)}
    tables = [
        path
        for path in found
        if path.suffix.casefold() == ".csv" and not path.name.startswith(HIDDEN)
    ]
    return {path: found[path] for path in sorted(tables, key=lambda path: path.name)}


def rescan_files(paths: Sequence[RemotePath]) -> dict[RemotePath, StoredFile]:
    """Tell how files are now that were listed together before; those that are gone are left out.

    Of several the folder is listed at once, since each question is a request to the store.
    """
    if not paths:
        return {}
    if len(paths) > 1:
        return scan_folder(RemotePath(str(paths[0]).removesuffix(paths[0].name)))
    with reaching(paths[0]) as (_, system, path):
        return {paths[0]: describe(system.getFileStatus(path))}


def read_start(path: RemotePath, n_bytes: int) -> bytes:
    """Read the first bytes of a file, at most so many."""
    with reaching(path) as (_, system, place):
        stream = system.open(place)
        try:
            return bytes(stream.readNBytes(n_bytes))
        finally:
            stream.close()


def identify(path: RemotePath, stored: StoredFile, known: Mapping[str, KnownFile]) -> KnownFile:
    """Identify a file by what the store says of it; its content is not read.

    An ETag or a checksum tells contents apart, whatever the name. A store without them has the
    name and the time of change.
    """
    before, said = known.get(str(path)), stored.etag
    if not said:
        if before is not None and before == KnownFile(*stored.state, before.sha256):
            return before
        with reaching(path) as (_, system, place):
            checksum = system.getFileChecksum(place) if stored.is_file else None
        said = f"{path} {stored.changed_ns}" if checksum is None else checksum.toString()
    return KnownFile(*stored.state, files.digest(f"{said} {stored.n_bytes}".encode()))


def scan_complete_files(
    place: RemotePath, settle_s: float, known: Mapping[str, KnownFile]
) -> tuple[list[Path], list[Path], dict[str, KnownFile]]:
    """Find complete and growing files, waiting once if need be, and identify the complete ones."""
    found: dict[RemotePath, StoredFile] = {}

    def list_states() -> dict[Path, files.FileState]:
        found.clear()
        found.update(scan_folder(place))
        return {path: stored.state for path, stored in found.items()}

    settled, growing = files.find_complete(list_states, settle_s)
    seen = {str(p): identify(p, s, known) for p, s in found.items() if p in settled}
    return settled, growing, seen


def download_folder(place: RemotePath, folder: Path) -> None:
    """Make a folder of this machine hold the files of a place, bringing those that differ.

    Parameters
    ----------
    place : RemotePath
        A folder, or one file.
    folder : Path
        What else is in it is removed.
    """
    found = {
        path.name: (path, stored) for path, stored in scan_folder(place).items() if stored.is_file
    }
    files.make_folder(folder)
    for path in folder.iterdir():
        if path.name not in found:
            files.remove(path)
    for name, (address, stored) in found.items():
        path = folder / name
        if path.exists() and files.file_state(path)[:2] == stored.state[:2]:
            continue
        temporary = path.with_name(f".{name}{files.TEMPORARY_SUFFIX}")
        with reaching(address) as (jvm, system, source):
            goal = jvm.org.apache.hadoop.fs.Path(f"file://{temporary}")
            # As a plain file, without one of checksums beside it.
            system.copyToLocalFile(False, source, goal, True)
        os.utime(temporary, ns=(stored.changed_ns, stored.changed_ns))
        temporary.replace(path)
        log.info("Brought %s to %s.", address, folder)


@dataclass(frozen=True)
class StoreFolder:
    """A folder of an object store, or one file there."""

    place: RemotePath

    def list_tables(self) -> Sequence[Path]:
        """List the CSV files in name order, also unusable ones."""
        return [*scan_folder(self.place)]

    def settle(self, settle_s: float) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the complete files and those still being written, waiting once if need be."""
        settled, growing, _ = scan_complete_files(self.place, settle_s, {})
        return settled, growing

    def scan(
        self, settle_s: float, known: Mapping[str, KnownFile], _keep: object = None
    ) -> tuple[Sequence[Path], Sequence[Path], dict[str, KnownFile]]:
        """Return the complete files, the growing ones, and the digest of each complete one."""
        return scan_complete_files(self.place, settle_s, known)

    def fetch(self, folder: Path) -> Path:
        """Make a folder of this machine hold the same files, and return it."""
        download_folder(self.place, folder)
        return folder


START, LINE = "start", "line"
NEWLINE = b"\n"
# Whatever Spark's own settings say: what cannot be read must not be taken for nothing.
STRICT = {"ignoreCorruptFiles": "false", "ignoreMissingFiles": "false"}

# Takes the number of a file and its content.
ReadWhole = Callable[[int, BinaryIO], Iterator[pa.RecordBatch]]
# Takes where in the file a range begins, and its lines, a block at a time.
ReadRange = Callable[[int, Iterator[bytes]], Iterator[pa.RecordBatch]]


def read_whole(
    session: SparkSession, files: Mapping[int, RemotePath], read: ReadWhole, kinds: str
) -> DataFrame:
    """Read small files, several by one task, each at once.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        The cluster.
    files : mapping of int to RemotePath
        Files of one folder, by their numbers.
    read : callable
        Makes rows of the content of a file; it must be picklable.
    kinds : str
        The columns of these rows.

    Returns
    -------
    pyspark.sql.DataFrame
        The rows of all files. Of an empty file Spark gives nothing.
    """
    # By name, since Spark may spell the rest of the address in another way.
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
    """Read the lines of a file as they are in it, in partitions of ranges.

    An end of a line is \\n, which is taken away; of the first line a byte order mark is, too.
    """
    lines = session.read.options(**STRICT).text(dataset.escape(str(path)), lineSep="\n")
    start = F.col("_metadata.file_block_start")
    return lines.select(start.alias(START), F.col("value").cast("binary").alias(LINE))


def join_lines(batch: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
    """Put lines together as they were, with the beginning of the range they are of."""
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
    """Read a file of any size in one task, through a file of the worker's own.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        The cluster.
    path : RemotePath
        The file.
    mark : bytes
        Its byte order mark, if it has one.
    read : callable
        Makes rows of the content, which has an end of its last line; it must be picklable.
    kinds : str
        The columns of these rows.
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

    # One task goes through the ranges of the others, one after the other.
    return read_lines(session, path).coalesce(1).mapInArrow(work, kinds)


def read_ranges(session: SparkSession, path: RemotePath, read: ReadRange, kinds: str) -> DataFrame:
    """Read a large file in ranges, a task each."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        blocks = (made for batch in batches for made in join_lines(batch))
        for start, of_one in itertools.groupby(blocks, operator.itemgetter(0)):
            yield from read(start, (block for _, block in of_one))

    return read_lines(session, path).mapInArrow(work, kinds)
