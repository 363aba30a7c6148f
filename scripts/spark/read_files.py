"""Reads files on a cluster by the rules of one machine: a task per file, or per range of it."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from scripts.core import files
from scripts.data import polars_ranges
from scripts.data.polars_ranges import Range, Report, Results, RowForm
from scripts.data.read_report import FileReading
from scripts.spark import cluster, dataset
from scripts.spark.cluster import column

# Beside the columns of the rows: the file, the position in it, and the report of a task.
FILE, ROW, REPORT = "adras file", "adras row", "adras report"
# The column of rows with all cells as text.
CELLS = "cells"

# The number and the path of a file, and a range of it.
Piece = tuple[int, str, Range | None]

log = logging.getLogger(__name__)


def row_kinds(form: RowForm) -> dict[str, str]:
    """Return the Spark types of the columns of rows."""
    rows = {CELLS: "array<string>"} if form.as_text else dataset.column_kinds(form.schema)
    return rows | {FILE: "int", ROW: "bigint", REPORT: "string"}


def to_batches(
    results: Results, number: int, path: Path, first_row: int, form: RowForm
) -> Iterator[pa.RecordBatch]:
    """Yield rows with the number of the file and rising positions, and the report as a row."""
    kinds = row_kinds(form)
    for result in results:
        if isinstance(result, Report):
            text = msgspec.json.encode(result, enc_hook=str).decode()
            row = dict.fromkeys(kinds) | {FILE: number, ROW: -1, REPORT: text}
            yield pa.RecordBatch.from_pylist([row], cluster.arrow_schema(kinds))
            continue
        rows = form.complete(result, path)
        if form.as_text:
            rows = rows.select(pl.concat_list(pl.all()).alias(CELLS))
        placed = rows.with_columns(
            pl.lit(number).alias(FILE),
            pl.int_range(first_row, first_row + result.height).alias(ROW),
            pl.lit(None, pl.String).alias(REPORT),
        ).select([*kinds])
        arrow = placed.to_arrow(compat_level=pl.CompatLevel.oldest())
        yield from arrow.cast(cluster.arrow_schema(kinds)).to_batches()
        first_row += result.height


def range_bytes(session: SparkSession) -> int:
    """Return the bytes of a task: Spark's own `spark.sql.files.maxPartitionBytes`."""
    return int(session._jsparkSession.sessionState().conf().filesMaxPartitionBytes())


def cut_files(paths: Sequence[Path], n_bytes_each: int) -> list[Piece]:
    """Return a task for each file of a folder, and several for a large file."""
    pieces: list[Piece] = []
    for number, path in enumerate(paths):
        n_bytes = path.stat().st_size if files.is_readable(path) else 0
        is_large = n_bytes > n_bytes_each
        parts = polars_ranges.cut(n_bytes, n_bytes_each) if is_large else [None]
        pieces += [(number, str(path), part) for part in parts]
    return pieces


def read_pieces(session: SparkSession, pieces: Sequence[Piece], form: RowForm) -> DataFrame:
    """Plan the reading of files of a folder, a task per piece."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for text in (text for batch in batches for text in batch.column(0).to_pylist()):
            number, path, part = msgspec.json.decode(text, type=Piece)
            if part is None:
                results, first_row = polars_ranges.read_whole(Path(path), form), 0
            else:
                results = polars_ranges.read_range(Path(path), part, form)
                # Each row has at least a byte, so positions rise from range to range.
                first_row = part.start
            yield from to_batches(results, number, Path(path), first_row, form)

    encoded = [(msgspec.json.encode(piece).decode(),) for piece in pieces]
    listed = session.sparkContext.parallelize(encoded, len(encoded))
    return session.createDataFrame(listed, "piece string").mapInArrow(
        work, cluster.ddl(row_kinds(form))
    )


def hash_large_files(session: SparkSession, pieces: Sequence[Piece]) -> dict[int, str]:
    """Compute the SHA-256 of the files that are read in ranges, "" for one that has gone."""
    large = sorted({(number, path) for number, path, part in pieces if part is not None})

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            hashes = []
            for path in map(Path, batch.column("path").to_pylist()):
                try:
                    hashes.append(files.digest_lines(path.resolve()))
                except (OSError, RuntimeError, files.NotRegularError):
                    hashes.append("")
            yield pa.RecordBatch.from_arrays([batch.column(0), pa.array(hashes)], ["n", "sha256"])

    if not large:
        return {}
    listed = session.sparkContext.parallelize(large, len(large))
    hashed = session.createDataFrame(listed, "n int, path string")
    return dict(hashed.mapInArrow(work, "n int, sha256 string").collect())


def collect_reports(rows: DataFrame) -> dict[int, list[Report]]:
    """Collect the reports of the tasks by the number of the file."""
    reports = rows.where(column(REPORT).isNotNull()).select(column(FILE), column(REPORT)).collect()
    by_file: dict[int, list[Report]] = {}
    for number, text in reports:
        report = msgspec.json.decode(text, type=Report, dec_hook=lambda kind, value: kind(value))
        by_file.setdefault(number, []).append(report)
    return by_file


def read_all(
    read: DataFrame,
    merge: Callable[[int, list[Report]], FileReading | None],
    read_from_start: Callable[[list[int]], DataFrame],
    paths: Sequence[Path],
) -> tuple[DataFrame, dict[int, FileReading]]:
    """Read files in ranges, and those with an unproven range again from the start.

    Parameters
    ----------
    read : pyspark.sql.DataFrame
        The planned rows and reports of all files.
    merge : callable
        Makes the report of the file of a number from those of its ranges, None if unproven.
    read_from_start : callable
        Plans a task for each of the files of given numbers.
    paths : sequence of Path
        The files.

    Returns
    -------
    tuple of pyspark.sql.DataFrame and dict of int to FileReading
        All rows, also those of refused files, and the reports by number.
    """
    # Kept, on disk where memory is short: both reports and rows are taken from it.
    read = read.persist()
    readings = {
        number: reports[0].reading if reports[0].part is None else merge(number, reports)
        for number, reports in collect_reports(read).items()
    }
    rest = [number for number, reading in readings.items() if reading is None]
    if rest:
        names = [paths[number].name for number in rest]
        log.info("Read %s in one task each: their lines alone do not tell where rows end.", names)
        whole = read_from_start(rest).persist()
        readings |= {number: found[0].reading for number, found in collect_reports(whole).items()}
        read = read.where(~column(FILE).isin(rest)).unionAll(whole)
    return read, {
        number: replace(reading, path=paths[number])
        for number, reading in readings.items()
        if reading is not None
    }


def read_folder(
    session: SparkSession, paths: Sequence[Path], form: RowForm
) -> tuple[DataFrame, list[FileReading]]:
    """Read files that all workers see at the same paths, with a report per file."""
    pieces = cut_files(paths, range_bytes(session))
    hashes = hash_large_files(session, pieces)

    def merge(number: int, reports: list[Report]) -> FileReading | None:
        path = paths[number]
        if not files.is_readable(path):
            return None
        state = files.file_state(path)[:2]
        return polars_ranges.merge_reports(reports, path, state, hashes[number])

    def read_from_start(numbers: list[int]) -> DataFrame:
        return read_pieces(session, [(n, str(paths[n]), None) for n in numbers], form)

    planned = read_pieces(session, pieces, form)
    read, readings = read_all(planned, merge, read_from_start, paths)
    return read, [reading for _, reading in sorted(readings.items())]
