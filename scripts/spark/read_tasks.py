"""Reads files on a cluster by the rules of `reading`: one task each, of a large one several.

Reads files in an object store on a cluster, by the same rules as files at paths.
"""

import codecs
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import pyarrow as pa
from msgspec import Struct
from pyspark.sql import DataFrame, SparkSession

from scripts.core import files
from scripts.core.files import RemotePath
from scripts.data import csv_reader
from scripts.data.csv_reader import RefusedFileError
from scripts.data.read_report import FileReading, RejectedRow
from scripts.spark import file_ranges, object_store
from scripts.spark.cluster import column
from scripts.spark.file_ranges import Blocks, Range, Told
from scripts.spark.object_store import StoredFile

# Beside the columns of a form: which file a row is of, and in a row of its own what it held.
FILE, REPORT = "adras file", "adras report"
HASH_ALONE = Range(-1, 0, 0)
# More rows than a range can have, so that places in the file go up with the ranges.
MAX_RANGE_ROWS = 2**40

log = logging.getLogger(__name__)


class Form(file_ranges.Form, Protocol):
    """What tasks make of the content of files."""

    @property
    def kinds(self) -> str:
        """Spell the columns of its rows for Spark."""

    def read_whole(self, handle: BinaryIO, found: FileReading) -> Iterator[pa.Table]:
        """Read a file from its start, some rows at a time."""

    def place(self, table: pa.Table, number: int, n_before: int) -> Iterator[pa.RecordBatch]:
        """Give rows as the cluster keeps them, with the file and the place in it."""

    def report(self, spelled: str, number: int) -> pa.RecordBatch:
        """Spell what a task tells of a file as a row of its own."""


class Reported(Struct, frozen=True, kw_only=True):
    """What a task tells of a file: of the whole, of a range, or its SHA-256 alone."""

    whole: dict[str, Any] | None = None
    told: Told | None = None
    sha256: str = ""


class Piece(Struct, frozen=True):
    """What one task reads: a file, or a range of it; without bytes it is hashed alone."""

    number: int
    path: str
    part: Range | None = None


def report(found: Reported, number: int, form: Form) -> pa.RecordBatch:
    """Spell what a task tells of a file."""
    return form.report(msgspec.json.encode(found).decode(), number)


def read_one(
    number: int, path: Path, form: Form, content: BinaryIO | None = None
) -> Iterator[pa.RecordBatch]:
    """Read one file from its start, on a worker.

    Parameters
    ----------
    number : int
        Which file it is.
    path : Path
        Its name, and its place if there is no content.
    form : Form
        What is made of it.
    content : file, optional
        Its content, where the file is in an object store.

    Yields
    ------
    pyarrow.RecordBatch
        Its rows, some at a time, then the report.
    """
    found, n_rows = csv_reader.new_reading(path, form.schema), 0
    try:
        opened = csv_reader.open_file(path, path.parent) if content is None else content
        with opened as handle:
            for table in form.read_whole(handle, found):
                yield from form.place(table, number, n_rows)
                n_rows += table.num_rows
    except RefusedFileError as error:
        # Rows that were handed on before it showed are left out by whoever reads the report.
        csv_reader.refuse(found, error)
    yield report(Reported(whole=asdict(found) | {"path": path.name}), number, form)


def read_part(
    number: int, first: int, made: Iterator[pa.Table | Told], form: Form
) -> Iterator[pa.RecordBatch]:
    """Give the rows of a range, numbered from its first one on, then the report."""
    n_before = first
    for one in made:
        if isinstance(one, Told):
            yield report(Reported(told=one), number, form)
        else:
            yield from form.place(one, number, n_before)
            n_before += one.num_rows


def hash_alone(path: Path) -> str:
    """Compute the SHA-256 of a file; of one that will not do in ranges, "" is enough."""
    try:
        return files.digest_lines(path.resolve())
    except (OSError, RuntimeError, files.NotRegularError):
        return ""


def read_piece(piece: Piece, form: Form) -> Iterator[pa.RecordBatch]:
    """Read what a task is to read."""
    number, path, part = piece.number, Path(piece.path), piece.part
    if part is None:
        return read_one(number, path, form)
    if part == HASH_ALONE:
        return iter([report(Reported(sha256=hash_alone(path)), number, form)])
    first = part.place * MAX_RANGE_ROWS
    return read_part(number, first, file_ranges.read_range(path, part, form), form)


def range_bytes(session: SparkSession) -> int:
    """Ask how much one task is to read: Spark's own `spark.sql.files.maxPartitionBytes`."""
    return int(session._jsparkSession.sessionState().conf().filesMaxPartitionBytes())


def cut_files(paths: Sequence[Path], n_bytes_each: int) -> list[Piece]:
    """Make a task of each file, and several of a large one, which is hashed besides."""
    pieces = []
    for number, path in enumerate(paths):
        n_bytes = path.stat().st_size if files.is_readable(path) else 0
        if n_bytes <= n_bytes_each:
            pieces.append(Piece(number, str(path)))
            continue
        parts = file_ranges.cut(n_bytes, n_bytes_each)
        pieces += [Piece(number, str(path), part) for part in (HASH_ALONE, *parts)]
    return pieces


def read_pieces(session: SparkSession, pieces: Sequence[Piece], form: Form) -> DataFrame:
    """Read files on the cluster, a task per piece."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for spelled in batch.column(0).to_pylist():
                yield from read_piece(msgspec.json.decode(spelled, type=Piece), form)

    spelled = [(msgspec.json.encode(piece).decode(),) for piece in pieces]
    listed = session.sparkContext.parallelize(spelled, len(spelled))
    return session.createDataFrame(listed, "piece string").mapInArrow(work, form.kinds)


def read_account(spelled: Sequence[str], path: Path, form: Form) -> FileReading | None:
    """Put together what was told of a file; None if ranges will not do."""
    told = [msgspec.json.decode(one, type=Reported) for one in spelled]
    if told[0].whole is not None:
        rejected = [RejectedRow(**row) for row in told[0].whole["rejected"]]
        return FileReading(**told[0].whole | {"path": path, "rejected": rejected})
    sha256 = "".join(one.sha256 for one in told)
    return file_ranges.put_together(
        [one.told for one in told if one.told], sha256, path, form.schema
    )


def collect_readings(
    rows: DataFrame, paths: Sequence[Path], form: Form
) -> dict[int, FileReading | None]:
    """Bring back what each file held, by its number."""
    reports = rows.where(column(REPORT).isNotNull()).select(column(FILE), column(REPORT)).collect()
    by_file: dict[int, list[str]] = {}
    for number, spelled in reports:
        by_file.setdefault(number, []).append(spelled)
    return {
        number: read_account(spelled, paths[number], form) for number, spelled in by_file.items()
    }


def read_where_it_will_do(
    read: DataFrame, again: Callable[[list[int]], DataFrame], paths: Sequence[Path], form: Form
) -> tuple[DataFrame, dict[int, FileReading]]:
    """Read what is laid out, and again from their starts the files whose ranges will not do.

    Parameters
    ----------
    read : pyspark.sql.DataFrame
        The rows and reports of all files, not read yet.
    again : callable
        Lays out, of files by their numbers, a task each.
    paths : sequence of Path
        The files.
    form : Form
        What is made of them.

    Returns
    -------
    tuple of pyspark.sql.DataFrame and dict of int to FileReading
        All rows, those of refused files too, kept; and the readings.
    """
    # Kept, on disk where memory is short: readings and rows both come of it.
    read = read.persist()
    found = collect_readings(read, paths, form)
    rest = [number for number, made in found.items() if made is None]
    if rest:
        names = [paths[number].name for number in rest]
        log.info("Read %s in one task each: their lines alone do not tell where rows end.", names)
        whole = again(rest).persist()
        found |= collect_readings(whole, paths, form)
        read = read.where(~column(FILE).isin(rest)).unionAll(whole)
    return read, {number: made for number, made in found.items() if made is not None}


def read_files(
    session: SparkSession, paths: Sequence[Path], form: Form
) -> tuple[DataFrame, list[FileReading]]:
    """Read files that all workers see; give all rows, those of refused files too, and readings."""
    pieces = cut_files(paths, range_bytes(session))

    def again(numbers: list[int]) -> DataFrame:
        return read_pieces(session, [Piece(n, str(paths[n])) for n in numbers], form)

    read, found = read_where_it_will_do(read_pieces(session, pieces, form), again, paths, form)
    return read, [made for _, made in sorted(found.items())]


# Spark holds a file that is read at once several times over, and there may be a task per core.
MOST_WHOLE_BYTES = 2**25
# A longer line is refused, and so is its file.
HEAD_BYTES = csv_reader.MAX_LINE_BYTES + 1


def unite(frames: Sequence[DataFrame]) -> DataFrame:
    """Unite tables in halves, since Spark looks through each union as deep as it is."""
    if len(frames) == 1:
        return frames[0]
    half = len(frames) // 2
    return unite(frames[:half]).unionAll(unite(frames[half:]))


def read_head(path: RemotePath) -> bytes:
    """Read the first line of a file, or so much of it as can be right."""
    return object_store.read_start(path, HEAD_BYTES).partition(b"\n")[0] + b"\n"


def lay_out_ranges(session: SparkSession, number: int, path: RemotePath, form: Form) -> DataFrame:
    """Lay out the reading of a large file in ranges."""
    head = read_head(path)

    def read(start: int, blocks: Iterator[bytes]) -> Iterator[pa.RecordBatch]:
        def open_blocks(found: FileReading) -> Blocks:
            layout = file_ranges.read_header(io.BytesIO(head), form, found)
            for place, block in enumerate(blocks):
                is_first = start == 0 and place == 0
                lines = block.partition(b"\n")[2] if is_first else block
                if lines:
                    yield lines, layout

        # Each row has some bytes, so that counted from there they are in order, too.
        made = file_ranges.read_blocks(start, path, form, open_blocks)
        return read_part(number, start, made, form)

    return object_store.read_ranges(session, path, read, form.kinds)


def lay_out(
    session: SparkSession,
    files: Mapping[int, RemotePath],
    found: Mapping[RemotePath, StoredFile],
    form: Form,
) -> DataFrame:
    """Lay out the reading of files: of large ones in ranges, of the others together."""
    most_bytes = min(MOST_WHOLE_BYTES, range_bytes(session))
    small = {n: path for n, path in files.items() if found[path].n_bytes <= most_bytes}

    def read(number: int, content: BinaryIO) -> Iterator[pa.RecordBatch]:
        return read_one(number, files[number], form, content)

    made = [object_store.read_whole(session, small, read, form.kinds)] if small else []
    made += [
        lay_out_ranges(session, number, path, form)
        for number, path in files.items()
        if number not in small
    ]
    return unite(made or [session.createDataFrame([], form.kinds)])


def lay_out_in_order(session: SparkSession, number: int, path: RemotePath, form: Form) -> DataFrame:
    """Lay out the reading of a large file from its start, in one task."""
    mark = codecs.BOM_UTF8 if read_head(path).startswith(codecs.BOM_UTF8) else b""

    def read(content: BinaryIO) -> Iterator[pa.RecordBatch]:
        return read_one(number, path, form, content)

    return object_store.read_in_order(session, path, mark, read, form.kinds)


def why_not(path: RemotePath, stored: StoredFile | None) -> str:
    """Say why there is nothing of a file to read, "" if there is."""
    try:
        csv_reader.check_name(path)
    except RefusedFileError as error:
        return str(error)
    if stored is None:
        return "it has gone since it was listed"
    if not stored.is_file:
        return csv_reader.NOT_REGULAR
    return "" if stored.n_bytes else csv_reader.EMPTY


def refuse(found: FileReading, reason: str) -> FileReading:
    """Refuse a file as a whole."""
    csv_reader.refuse(found, RefusedFileError(reason))
    return found


def settle(
    found: FileReading, before: StoredFile | None, after: StoredFile | None, path: RemotePath
) -> FileReading:
    """Say of a file what it is, and refuse one that is not any more what it was before."""
    if before != after or after is None:
        return refuse(found, "it has changed while it was read; the next run reads it again")
    # A last line end that the file lacks may have been read.
    if not found.refused and found.n_bytes not in (after.n_bytes, after.n_bytes + 1):
        return refuse(
            found, f"of its {after.n_bytes} bytes {found.n_bytes} were read; run ingestion again"
        )
    known = object_store.identify(path, after, {})
    found.sha256, found.n_bytes = known.sha256, known.n_bytes
    return found


def read_stored(
    session: SparkSession, paths: Sequence[RemotePath], form: Form
) -> tuple[DataFrame, list[FileReading]]:
    """Read files as `sparkpieces.read_files` does; what the store says of them identifies them."""
    before = object_store.rescan_files(paths)
    reasons = {number: why_not(path, before.get(path)) for number, path in enumerate(paths)}
    files = {number: paths[number] for number, reason in reasons.items() if not reason}

    def again(numbers: list[int]) -> DataFrame:
        made = [lay_out_in_order(session, number, paths[number], form) for number in numbers]
        return unite(made)

    laid_out = lay_out(session, files, before, form)
    read, found = read_where_it_will_do(laid_out, again, paths, form)
    after = object_store.rescan_files(paths)
    readings = []
    for number, path in enumerate(paths):
        made = found.get(number)
        if made is None:
            reason = reasons[number] or "Spark found nothing in it"
            made = refuse(csv_reader.new_reading(path, form.schema), reason)
        readings.append(settle(made, before.get(path), after.get(path), path))
    return read, readings


def read_stored_files(
    session: SparkSession, paths: Sequence[Path], form: Form
) -> tuple[DataFrame, list[FileReading]]:
    """Read the files of one folder, wherever it is."""
    stored = [path for path in paths if isinstance(path, RemotePath)]
    if stored:
        return read_stored(session, stored, form)
    return read_files(session, paths, form)
