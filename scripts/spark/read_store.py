"""Reads files of an object store on a cluster, by the rules and with the reports of a folder."""

import codecs
import functools
import hashlib
import io
import itertools
import operator
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from scripts.core.files import RemotePath
from scripts.data import csv_reader, polars_ranges
from scripts.data.csv_reader import RefusedFileError
from scripts.data.polars_ranges import Blocks, Range, RowForm
from scripts.data.read_report import FileReading
from scripts.spark import cluster, dataset, object_store, read_files
from scripts.spark.cluster import Batches
from scripts.spark.object_store import StoredFile
from scripts.spark.read_files import row_kinds, to_tables

# Spark holds a file that is read as a whole several times over, and each core may have a task.
MAX_WHOLE_BYTES = 2**25
# A longer line is refused, and so is its file.
HEAD_BYTES = csv_reader.MAX_LINE_BYTES + 1
START, LINE = "start", "line"
NEWLINE = b"\n"
# Override the settings of the cluster: an unreadable file must be an error, not an empty table.
STRICT = {"ignoreCorruptFiles": "false", "ignoreMissingFiles": "false"}


def read_head(path: RemotePath) -> bytes:
    """Read the first line of a file, up to the permitted length."""
    return object_store.read_start(path, HEAD_BYTES).partition(NEWLINE)[0] + NEWLINE


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


def unite(frames: Sequence[DataFrame]) -> DataFrame:
    """Unite tables in halves, since Spark descends as deep as unions are nested."""
    if len(frames) == 1:
        return frames[0]
    half = len(frames) // 2
    return unite(frames[:half]).unionAll(unite(frames[half:]))


def plan_whole(session: SparkSession, chosen: Mapping[int, RemotePath], form: RowForm) -> DataFrame:
    """Plan the reading of small files as a whole, several in a task."""
    # By name, since Spark may write the folder of the address differently.
    numbers = {path.name: number for number, path in chosen.items()}

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Read the files of a task, and yield rows and reports."""
        for batch in batches:
            for place, content in zip(*batch.columns, strict=True):
                number = numbers[place.as_py().rpartition("/")[2]]
                path, handle = chosen[number], io.BytesIO(content.as_buffer())
                results = polars_ranges.read_whole(path, form, handle)
                yield from to_tables(results, number, path, 0, form)

    escaped = [dataset.escape(str(path)) for path in chosen.values()]
    found = session.read.format("binaryFile").options(**STRICT).load(escaped)
    return cluster.map_batches(found.select("path", "content"), work, row_kinds(form))


def plan_ranges(session: SparkSession, number: int, path: RemotePath, form: RowForm) -> DataFrame:
    """Plan the reading of a large file in ranges, a task per range."""
    head = read_head(path)

    def open_blocks(start: int, blocks: Iterator[bytes], reading: FileReading) -> Blocks:
        """Yield the blocks of a range with the reader of the file."""
        reader = form.read_header(io.BytesIO(head), reading, hashlib.sha256())
        for place, block in enumerate(blocks):
            lines = block.partition(NEWLINE)[2] if start == place == 0 else block
            if lines:
                yield lines, reader

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Read the ranges of a task, and yield rows and reports."""
        joined = (block for batch in batches for block in join_lines(batch))
        for start, in_range in itertools.groupby(joined, operator.itemgetter(0)):
            blocks = functools.partial(open_blocks, start, map(operator.itemgetter(1), in_range))
            results = polars_ranges.read_lines(path, Range(start, start), form, blocks)
            yield from to_tables(results, number, path, start, form)

    return cluster.map_batches(read_lines(session, path), work, row_kinds(form))


def plan_in_order(session: SparkSession, number: int, path: RemotePath, form: RowForm) -> DataFrame:
    """Plan the reading of a file of any size in a task, by a temporary file of the worker."""
    mark = codecs.BOM_UTF8 if read_head(path).startswith(codecs.BOM_UTF8) else b""

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Copy the file to a temporary file in order, and read the copy."""
        last = 0
        with tempfile.TemporaryFile() as handle:
            handle.write(mark)
            for start, block in (block for batch in batches for block in join_lines(batch)):
                if start < last:
                    raise ValueError(f"the ranges of {path} came in another order")
                handle.write(block)
                last = start
            handle.seek(0)
            results = polars_ranges.read_whole(path, form, cast(BinaryIO, handle))
            yield from to_tables(results, number, path, 0, form)

    # A single task reads the ranges in order.
    return cluster.map_batches(read_lines(session, path).coalesce(1), work, row_kinds(form))


def plan_files(
    session: SparkSession,
    chosen: Mapping[int, RemotePath],
    stored: Mapping[RemotePath, StoredFile],
    form: RowForm,
) -> DataFrame:
    """Plan the reading of files: large files in ranges, small files as a whole."""
    most_bytes = min(MAX_WHOLE_BYTES, read_files.range_bytes(session))
    small = {n: path for n, path in chosen.items() if stored[path].n_bytes <= most_bytes}
    plans = [plan_whole(session, small, form)] if small else []
    large = [item for item in chosen.items() if item[0] not in small]
    plans += [plan_ranges(session, number, path, form) for number, path in large]
    return unite(plans or [session.createDataFrame([], from_arrow_schema(row_kinds(form)))])


def find_fault(path: RemotePath, stored: StoredFile | None) -> str:
    """Return the reason against reading a file, or ""."""
    try:
        csv_reader.check_name(path)
    except RefusedFileError as error:
        return str(error)
    if stored is None:
        return "it has gone since it was listed"
    if not stored.is_file:
        return csv_reader.NOT_REGULAR
    return "" if stored.n_bytes else csv_reader.EMPTY


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
    chosen = {number: paths[number] for number, fault in faults.items() if not fault}

    def plan(rest: Sequence[int] | None) -> DataFrame:
        """Plan the reading of all files, or of some files in order again."""
        in_order = [plan_in_order(session, n, paths[n], form) for n in rest or ()]
        return unite(in_order) if in_order else plan_files(session, chosen, before, form)

    read, found = read_files.read_all(
        paths, plan,
        lambda number, reports: polars_ranges.merge_reports(reports, paths[number], (0, 0)),
    )  # fmt: skip
    after = object_store.rescan_files(paths)
    readings = []
    for number, path in enumerate(paths):
        reading = found.get(number)
        if reading is None:
            reading = csv_reader.new_reading(path, form.schema)
            fault = faults[number] or "Spark found nothing in it"
            csv_reader.refuse(reading, RefusedFileError(fault))
        readings.append(settle(reading, before.get(path), after.get(path), path))
    return read, readings


def read_anywhere(
    session: SparkSession, paths: Sequence[Path], form: RowForm
) -> tuple[DataFrame, list[FileReading]]:
    """Read the files of a folder or store, with all rows, also of refused files."""
    stored = [path for path in paths if isinstance(path, RemotePath)]
    if stored:
        return read_store(session, stored, form)
    return read_files.read_folder(session, paths, form)
