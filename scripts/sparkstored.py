"""Reads files in an object store on a cluster, by the same rules as files at paths."""

import codecs
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from scripts import ranges, reading, sparkcontents, sparkpieces, sparkstore
from scripts.addresses import Address
from scripts.findings import FileReading
from scripts.ranges import Blocks
from scripts.reading import RefusedFileError
from scripts.sparkpieces import Form
from scripts.sparkstore import Stored

# Spark holds a file that is read at once several times over, and there may be a task per core.
MOST_WHOLE_BYTES = 2**25
# A longer line is refused, and so is its file.
HEAD_BYTES = reading.MAX_LINE_BYTES + 1


def unite(frames: Sequence[DataFrame]) -> DataFrame:
    """Unite tables in halves, since Spark looks through each union as deep as it is."""
    if len(frames) == 1:
        return frames[0]
    half = len(frames) // 2
    return unite(frames[:half]).unionAll(unite(frames[half:]))


def read_head(path: Address) -> bytes:
    """Read the first line of a file, or so much of it as can be right."""
    return sparkstore.read_start(path, HEAD_BYTES).partition(b"\n")[0] + b"\n"


def lay_out_ranges(session: SparkSession, number: int, path: Address, form: Form) -> DataFrame:
    """Lay out the reading of a large file in ranges."""
    head = read_head(path)

    def read(start: int, blocks: Iterator[bytes]) -> Iterator[pa.RecordBatch]:
        def open_blocks(found: FileReading) -> Blocks:
            layout = ranges.read_header(io.BytesIO(head), form, found)
            for place, block in enumerate(blocks):
                is_first = start == 0 and place == 0
                lines = block.partition(b"\n")[2] if is_first else block
                if lines:
                    yield lines, layout

        # Each row has some bytes, so that counted from there they are in order, too.
        made = ranges.read_blocks(start, path, form, open_blocks)
        return sparkpieces.read_part(number, start, made, form)

    return sparkcontents.read_ranges(session, path, read, form.kinds)


def lay_out(
    session: SparkSession, files: Mapping[int, Address], found: Mapping[Address, Stored], form: Form
) -> DataFrame:
    """Lay out the reading of files: of large ones in ranges, of the others together."""
    most_bytes = min(MOST_WHOLE_BYTES, sparkpieces.range_bytes(session))
    small = {n: path for n, path in files.items() if found[path].n_bytes <= most_bytes}

    def read(number: int, content: BinaryIO) -> Iterator[pa.RecordBatch]:
        return sparkpieces.read_one(number, files[number], form, content)

    made = [sparkcontents.read_whole(session, small, read, form.kinds)] if small else []
    made += [
        lay_out_ranges(session, number, path, form)
        for number, path in files.items()
        if number not in small
    ]
    return unite(made or [session.createDataFrame([], form.kinds)])


def lay_out_in_order(session: SparkSession, number: int, path: Address, form: Form) -> DataFrame:
    """Lay out the reading of a large file from its start, in one task."""
    mark = codecs.BOM_UTF8 if read_head(path).startswith(codecs.BOM_UTF8) else b""

    def read(content: BinaryIO) -> Iterator[pa.RecordBatch]:
        return sparkpieces.read_one(number, path, form, content)

    return sparkcontents.read_in_order(session, path, mark, read, form.kinds)


def why_not(path: Address, stored: Stored | None) -> str:
    """Say why there is nothing of a file to read, "" if there is."""
    try:
        reading.check_name(path)
    except RefusedFileError as error:
        return str(error)
    if stored is None:
        return "it has gone since it was listed"
    if not stored.is_file:
        return reading.NOT_REGULAR
    return "" if stored.n_bytes else reading.EMPTY


def refuse(found: FileReading, reason: str) -> FileReading:
    """Refuse a file as a whole."""
    reading.refuse(found, RefusedFileError(reason))
    return found


def settle(
    found: FileReading, before: Stored | None, after: Stored | None, path: Address
) -> FileReading:
    """Say of a file what it is, and refuse one that is not any more what it was before."""
    if before != after or after is None:
        return refuse(found, "it has changed while it was read; the next run reads it again")
    # A last line end that the file lacks may have been read.
    if not found.refused and found.n_bytes not in (after.n_bytes, after.n_bytes + 1):
        return refuse(
            found, f"of its {after.n_bytes} bytes {found.n_bytes} were read; run ingestion again"
        )
    known = sparkstore.identify(path, after, {})
    found.sha256, found.n_bytes = known.sha256, known.n_bytes
    return found


def read_stored(
    session: SparkSession, paths: Sequence[Address], form: Form
) -> tuple[DataFrame, list[FileReading]]:
    """Read files as `sparkpieces.read_files` does; what the store says of them identifies them."""
    before = sparkstore.look_again(paths)
    reasons = {number: why_not(path, before.get(path)) for number, path in enumerate(paths)}
    files = {number: paths[number] for number, reason in reasons.items() if not reason}

    def again(numbers: list[int]) -> DataFrame:
        made = [lay_out_in_order(session, number, paths[number], form) for number in numbers]
        return unite(made)

    laid_out = lay_out(session, files, before, form)
    read, found = sparkpieces.read_where_it_will_do(laid_out, again, paths, form)
    after = sparkstore.look_again(paths)
    readings = []
    for number, path in enumerate(paths):
        made = found.get(number)
        if made is None:
            reason = reasons[number] or "Spark found nothing in it"
            made = refuse(reading.new_reading(path, form.schema), reason)
        readings.append(settle(made, before.get(path), after.get(path), path))
    return read, readings


def read_files(
    session: SparkSession, paths: Sequence[Path], form: Form
) -> tuple[DataFrame, list[FileReading]]:
    """Read the files of one folder, wherever it is."""
    stored = [path for path in paths if isinstance(path, Address)]
    if stored:
        return read_stored(session, stored, form)
    return sparkpieces.read_files(session, paths, form)
