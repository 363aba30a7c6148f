"""Gives tasks the contents of files in an object store, as Spark's own sources read them."""

import io
import itertools
import operator
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts import sparkparts
from scripts.addresses import Address

START, LINE = "start", "line"
NEWLINE = b"\n"
# Whatever Spark's own settings say: what cannot be read must not be taken for nothing.
STRICT = {"ignoreCorruptFiles": "false", "ignoreMissingFiles": "false"}

# Takes the number of a file and its content.
ReadWhole = Callable[[int, BinaryIO], Iterator[pa.RecordBatch]]
# Takes where in the file a range begins, and its lines, a block at a time.
ReadRange = Callable[[int, Iterator[bytes]], Iterator[pa.RecordBatch]]


def read_whole(
    session: SparkSession, files: Mapping[int, Address], read: ReadWhole, kinds: str
) -> DataFrame:
    """Read small files, several by one task, each at once.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        The cluster.
    files : mapping of int to Address
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

    escaped = [sparkparts.escape(str(path)) for path in files.values()]
    files_read = session.read.format("binaryFile").options(**STRICT).load(escaped)
    return files_read.select("path", "content").mapInArrow(work, kinds)


def read_lines(session: SparkSession, path: Address) -> DataFrame:
    """Read the lines of a file as they are in it, in partitions of ranges.

    An end of a line is \\n, which is taken away; of the first line a byte order mark is, too.
    """
    lines = session.read.options(**STRICT).text(sparkparts.escape(str(path)), lineSep="\n")
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
    path: Address,
    mark: bytes,
    read: Callable[[BinaryIO], Iterator[pa.RecordBatch]],
    kinds: str,
) -> DataFrame:
    """Read a file of any size in one task, through a file of the worker's own.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        The cluster.
    path : Address
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


def read_ranges(session: SparkSession, path: Address, read: ReadRange, kinds: str) -> DataFrame:
    """Read a large file in ranges, a task each."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        blocks = (made for batch in batches for made in join_lines(batch))
        for start, of_one in itertools.groupby(blocks, operator.itemgetter(0)):
            yield from read(start, (block for _, block in of_one))

    return read_lines(session, path).mapInArrow(work, kinds)
