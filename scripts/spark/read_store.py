"""Reads files of an object store on a cluster, by the rules and with the reports of a folder."""

import codecs
import functools
import hashlib
import io
import itertools
import operator
import tempfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from scripts.core.files import RemotePath
from scripts.data import csv_reader, polars_ranges
from scripts.data.csv_reader import RefusedFileError
from scripts.data.polars_ranges import Blocks, Range, RowForm
from scripts.data.read_report import FileReading
from scripts.spark import cluster, dataset, object_store, read_files
from scripts.spark.cluster import Batches, column
from scripts.spark.object_store import StoredFile
from scripts.spark.read_files import row_kinds, to_tables

# A longer line is refused, and so is its file.
HEAD_BYTES = csv_reader.MAX_LINE_BYTES + 1
# Of a line: the name of its file, the start of its range or null in a file read as a whole, bytes.
NAME, START, LINE = "name", "start", "line"
NEWLINE = b"\n"
# Override the settings of the cluster: an unreadable file must be an error, not an empty table.
STRICT = {"ignoreCorruptFiles": "false", "ignoreMissingFiles": "false"}


class Source(Struct, frozen=True):
    """A file to read, with the first line of one that Spark may cut into ranges."""

    number: int
    path: RemotePath
    n_bytes: int
    head: bytes

    def open_whole(self, blocks: Iterator[bytes]) -> BinaryIO:
        """Open the content made of all lines, that of a large file in a file of the worker."""
        if self.head:
            # The reader closes the file, so that no `with` may do so here.
            handle = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
            handle.write(codecs.BOM_UTF8 if self.head.startswith(codecs.BOM_UTF8) else b"")
            handle.writelines(blocks)
            handle.seek(0)
            return handle
        content = b"".join(blocks)
        # Without a byte order mark, since Spark removes it.
        return io.BytesIO(content if len(content) >= self.n_bytes else codecs.BOM_UTF8 + content)

    def open_range(
        self, start: int, blocks: Iterator[bytes], form: RowForm, reading: FileReading
    ) -> Blocks:
        """Yield the blocks of a range with the reader of the file."""
        reader = form.read_header(io.BytesIO(self.head), reading, hashlib.sha256())
        for place, block in enumerate(blocks):
            lines = block.partition(NEWLINE)[2] if start == place == 0 else block
            if lines:
                yield lines, reader


def find_source(session: SparkSession, number: int, path: RemotePath, n_bytes: int) -> Source:
    """Return a file to read, with its first line up to the permitted length if it may be cut."""
    head, smallest = b"", session._jsparkSession.sessionState().conf().filesOpenCostInBytes()
    if n_bytes > min(smallest, read_files.range_bytes(session)):
        head = object_store.read_start(path, HEAD_BYTES).partition(NEWLINE)[0] + NEWLINE
    return Source(number, path, n_bytes, head)


def read_lines(session: SparkSession, sources: Sequence[Source], *, in_order: bool) -> DataFrame:
    """Read the lines of files as bytes: by ranges, or all lines of a file in order in a task.

    Lines end at \\n, which is removed, as is a byte order mark of the first line.
    """
    addresses = [dataset.escape(str(source.path)) for source in sources]
    lines = session.read.options(**STRICT).text(addresses, lineSep="\n")
    # The name alone, as a part of a URL: Spark may write the folder of an address differently.
    name, start, n_bytes, size = (
        F.col(f"_metadata.file_{fact}") for fact in ("name", "block_start", "block_length", "size")
    )
    line = F.col("value").cast("binary").alias(LINE)
    if not in_order:
        return lines.select(name.alias(NAME), F.when(n_bytes < size, start).alias(START), line)
    place = F.struct(start, F.monotonically_increasing_id()).alias(START)
    by_file = lines.select(name.alias(NAME), place, line).repartition(len(sources), column(NAME))
    in_file = by_file.sortWithinPartitions(NAME, START)
    return in_file.withColumn(START, F.lit(None).cast("bigint"))


def join_lines(batch: pa.RecordBatch) -> Iterator[tuple[str, int | None, bytes]]:
    """Join the lines of each file or range to a block, with name and start."""
    ends = [pc.run_end_encode(batch[name]).run_ends for name in (NAME, START)]
    for first, stop in itertools.pairwise([0, *np.union1d(*ends).tolist()]):
        lines = batch[LINE].slice(first, stop - first)
        listed = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
        block = pc.binary_join(listed, NEWLINE)[0].as_py() + NEWLINE
        yield batch[NAME][first].as_py(), batch[START][first].as_py(), block


def read_sources(lines: DataFrame, sources: Sequence[Source], form: RowForm) -> DataFrame:
    """Plan the reading of files from their lines, with rows and reports of files and ranges."""
    by_name = {source.path.name: source for source in sources}

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Read the files and ranges of a task, and yield rows and reports."""
        joined = (block for batch in batches for block in join_lines(batch))
        for (name, start), found in itertools.groupby(joined, operator.itemgetter(0, 1)):
            source, blocks = by_name[unquote(name)], map(operator.itemgetter(2), found)
            path = source.path
            if start is None:
                results = polars_ranges.read_whole(path, form, source.open_whole(blocks))
            else:
                open_blocks = functools.partial(source.open_range, start, blocks, form)
                results = polars_ranges.read_lines(path, Range(start, start), form, open_blocks)
            yield from to_tables(results, source.number, path, start or 0, form)

    return cluster.map_batches(lines, work, row_kinds(form))


def find_fault(path: RemotePath, stored: StoredFile | None) -> str:
    """Return the reason against reading a file, or ""."""
    try:
        csv_reader.check_name(path)
    except RefusedFileError as error:
        return str(error)
    if stored is None:
        return "it has gone since it was listed"
    return "" if stored.is_file else csv_reader.NOT_REGULAR


def settle(
    reading: FileReading, before: StoredFile | None, after: StoredFile | None, path: RemotePath
) -> FileReading:
    """Complete a report by the identity of the file, or refuse a changed file."""
    if before != after or after is None:
        reason = "it has changed while it was read; the next run reads it again"
    # A missing last line end may have been read.
    elif not reading.refused and reading.n_bytes not in (after.n_bytes, after.n_bytes + 1):
        reason = f"of its {after.n_bytes} bytes {reading.n_bytes} were read; run ingestion again"
    else:
        known = object_store.identify(path, after, {})
        reading.sha256, reading.n_bytes = known.sha256, known.n_bytes
        return reading
    csv_reader.refuse(reading, RefusedFileError(reason))
    return reading


def read_store(
    session: SparkSession, paths: Sequence[RemotePath], form: RowForm
) -> tuple[DataFrame, list[FileReading]]:
    """Read files of a store, with a report per file."""
    before = object_store.rescan_files(paths)
    faults = {number: find_fault(path, before.get(path)) for number, path in enumerate(paths)}
    sources = [
        find_source(session, number, paths[number], before[paths[number]].n_bytes)
        for number, fault in faults.items()
        if not fault
    ]

    def plan(rest: Sequence[int] | None) -> DataFrame:
        """Plan the reading of all files, or of some files in order again."""
        chosen = [of for of in sources if rest is None or of.number in rest]
        if not chosen:
            return session.createDataFrame([], from_arrow_schema(row_kinds(form)))
        return read_sources(read_lines(session, chosen, in_order=rest is not None), chosen, form)

    read, found = read_files.read_all(paths, plan)
    after = object_store.rescan_files(paths)
    readings = []
    for number, path in enumerate(paths):
        reading = found.get(number)
        if reading is None:
            reading = csv_reader.new_reading(path, form.schema)
            # Spark makes no line of nothing, or of a byte order mark alone.
            csv_reader.refuse(reading, RefusedFileError(faults[number] or csv_reader.EMPTY))
        readings.append(settle(reading, before.get(path), after.get(path), path))
    return read, readings
