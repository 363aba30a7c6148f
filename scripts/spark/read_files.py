"""Reads files on a cluster by the rules of one machine: a task per file, or per range of it."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
from msgspec.structs import replace
from pyspark.sql import DataFrame, SparkSession

from scripts.core import files
from scripts.core.files import RemotePath
from scripts.data import client_dates, polars_ranges
from scripts.data.polars_ranges import Range, Report, Results, RowForm
from scripts.data.read_report import FileReading
from scripts.spark import cluster, dataset
from scripts.spark.cluster import Batches, column

# Beside the columns of the rows: the file, the position in it, and the report of a task.
FILE, ROW, REPORT = "adras file", "adras row", "adras report"
# The column of rows with all cells as text.
CELLS = "cells"

# The number and the path of a file, and the bounds of a range of it.
Piece = tuple[int, str, int, int | None]
WHOLE = (0, None)
# The state of a file in an object store, and of one that cannot be read any more.
NO_STATE = (0, 0)

log = logging.getLogger(__name__)


def row_kinds(form: RowForm) -> pa.Schema:
    """Return the kinds of the columns of rows."""
    rows = pa.schema([(CELLS, pa.list_(pa.string()))])
    if form.is_dated:
        rows = dataset.dated_schema(client_dates.row_schema(form.schema))
    elif not form.as_text:
        rows = dataset.arrow_schema(form.schema)
    return pa.schema([*rows, (FILE, pa.int32()), (ROW, pa.int64()), (REPORT, pa.string())])


def to_tables(
    results: Results, number: int, path: Path, first_row: int, form: RowForm
) -> Iterator[pa.Table]:
    """Yield rows with the number of the file and rising positions, and the report as a row."""
    kinds = row_kinds(form)
    for result in results:
        if isinstance(result, Report):
            text = msgspec.json.encode(result, enc_hook=str).decode()
            row = dict.fromkeys(kinds.names) | {FILE: number, ROW: -1, REPORT: text}
            yield pa.Table.from_pylist([row], kinds)
            continue
        rows = form.complete(result, path)
        if form.as_text:
            rows = rows.select(pl.concat_list(pl.all()).alias(CELLS))
        placed = rows.with_columns(
            pl.lit(number).alias(FILE),
            pl.int_range(first_row, first_row + rows.height).alias(ROW),
            pl.lit(None, pl.String).alias(REPORT),
        )
        yield placed.to_arrow(compat_level=pl.CompatLevel.oldest())
        first_row += rows.height


def range_bytes(session: SparkSession) -> int:
    """Return the bytes of a task: Spark's own `spark.sql.files.maxPartitionBytes`."""
    return int(session._jsparkSession.sessionState().conf().filesMaxPartitionBytes())


def cut_files(paths: Sequence[Path], n_bytes_each: int) -> list[Piece]:
    """Return a task for each file of a folder, and several for a large file."""
    pieces: list[Piece] = []
    for number, path in enumerate(paths):
        n_bytes = path.stat().st_size if files.is_readable(path) else 0
        parts = polars_ranges.cut(n_bytes, n_bytes_each)
        bounds = [(part.start, part.stop) for part in parts] if len(parts) > 1 else [WHOLE]
        pieces += [(number, str(path), *bound) for bound in bounds]
    return pieces


def read_pieces(session: SparkSession, pieces: Sequence[Piece], form: RowForm) -> DataFrame:
    """Plan the reading of files of a folder, a task per piece."""

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Read the pieces of a task, and yield rows and reports."""
        for piece in (piece for batch in batches for piece in batch.to_pylist()):
            number, name, start, stop = piece.values()
            path = Path(name)
            if stop is None:
                results = polars_ranges.read_whole(path, form)
            else:
                results = polars_ranges.read_range(path, Range(start, stop), form)
            # Each row has at least a byte, so positions rise from range to range.
            yield from to_tables(results, number, path, start, form)

    listed = session.sparkContext.parallelize(pieces, len(pieces))
    tasks = session.createDataFrame(listed, "number int, path string, start long, stop long")
    return cluster.map_batches(tasks, work, row_kinds(form))


def collect_reports(rows: DataFrame) -> dict[int, list[Report]]:
    """Collect the reports of the tasks by the number of the file."""
    reports = rows.where(column(REPORT).isNotNull()).select(column(FILE), column(REPORT)).collect()
    by_file: dict[int, list[Report]] = {}
    for number, text in reports:
        report = msgspec.json.decode(text, type=Report, dec_hook=lambda kind, value: kind(value))
        by_file.setdefault(number, []).append(report)
    return by_file


def find_state(path: Path) -> tuple[int, int]:
    """Return size and time of change of a file of a folder, or NO_STATE."""
    is_here = not isinstance(path, RemotePath) and files.is_readable(path)
    return files.file_state(path)[:2] if is_here else NO_STATE


def read_all(
    paths: Sequence[Path], plan: Callable[[Sequence[int] | None], DataFrame]
) -> tuple[DataFrame, dict[int, FileReading]]:
    """Read files in ranges, and files with an unproven range again from the start.

    `plan` plans the rows and reports of all files, or those of the files of some numbers, each from
    the start. The rows include those of refused files, and the reports are by number.
    """
    # Kept, on disk where memory is short: both reports and rows are taken from it.
    read = plan(None).persist()
    readings = {
        number: polars_ranges.merge_reports(reports, paths[number], find_state(paths[number]))
        for number, reports in collect_reports(read).items()
    }
    rest = [number for number, reading in readings.items() if reading is None]
    if rest:
        names = [paths[number].name for number in rest]
        log.info("Read %s in one task each: their lines alone do not tell where rows end.", names)
        whole = plan(rest).persist()
        readings |= {number: found[0].reading for number, found in collect_reports(whole).items()}
        read = read.where(~column(FILE).isin(rest)).unionAll(whole)
    return read, {number: replace(of, path=paths[number]) for number, of in readings.items() if of}


def read_folder(
    session: SparkSession, paths: Sequence[Path], form: RowForm
) -> tuple[DataFrame, list[FileReading]]:
    """Read files from paths common to all workers, with a report per file."""

    def plan(rest: Sequence[int] | None) -> DataFrame:
        """Plan the reading of all pieces, or of some whole files again."""
        pieces = [(number, str(paths[number]), *WHOLE) for number in rest or ()]
        return read_pieces(session, pieces or cut_files(paths, range_bytes(session)), form)

    read, readings = read_all(paths, plan)
    return read, [reading for _, reading in sorted(readings.items())]
