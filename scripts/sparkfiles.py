"""Reads files on a cluster by the rules of `reading`: one task each, of a large one several."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from pyspark.sql import DataFrame, SparkSession

from scripts import artifacts, bulk, columns, ranges, reading
from scripts.cluster import column
from scripts.config import Schema
from scripts.findings import FileReading, RejectedRow
from scripts.ranges import Range, Told
from scripts.reading import RefusedFileError

# Beside the columns of the schema: where a row stands, and in a row of its own what a file held.
FILE, ROW, REPORT = "adras file", "adras row", "adras report"
BLANKS = pa.scalar(None, pa.float64())

HASH_ALONE = Range(-1, 0, 0)
# More rows than a range can have, so that places in the file go up with the ranges.
MAX_RANGE_ROWS = 2**40

log = logging.getLogger(__name__)


def worker_kinds(schema: Schema) -> pa.Schema:
    """Say how each column is kept on the cluster: a blank number is null there, not NaN."""
    kinds = [
        (kind.name, pa.string() if pa.types.is_large_string(kind.type) else kind.type)
        for kind in columns.arrow_schema(schema)
    ]
    return pa.schema(kinds)


def spell_kinds(schema: Schema) -> str:
    """Spell the same for Spark, with what is beside."""
    names = {pa.string(): "string", pa.float64(): "double", pa.int8(): "tinyint"}
    kinds = {kind.name: names[kind.type] for kind in worker_kinds(schema)}
    kinds |= {FILE: "int", ROW: "bigint", REPORT: "string"}
    return ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, kind in kinds.items())


def place_rows(table: pa.Table, number: int, n_before: int) -> Iterator[pa.RecordBatch]:
    """Give rows as the cluster keeps them, with the file and the place in it."""
    arrays = {name: table[name] for name in table.column_names}
    for name, values in arrays.items():
        if pa.types.is_float64(values.type):
            arrays[name] = pc.if_else(pc.is_nan(values), BLANKS, values)
    n_rows = table.num_rows
    arrays[FILE] = pa.array([number] * n_rows, pa.int32())
    arrays[ROW] = pa.array(range(n_before, n_before + n_rows), pa.int64())
    arrays[REPORT] = pa.nulls(n_rows, pa.string())
    yield from pa.table(arrays).to_batches()


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


def report(found: Reported, number: int, schema: Schema) -> pa.RecordBatch:
    """Spell what a task tells as a row of its own."""
    kinds = worker_kinds(schema)
    arrays = {kind.name: pa.nulls(1, kind.type) for kind in kinds}
    arrays[FILE] = pa.array([number], pa.int32())
    arrays[ROW] = pa.array([-1], pa.int64())
    arrays[REPORT] = pa.array([msgspec.json.encode(found).decode()], pa.string())
    return pa.RecordBatch.from_pydict(arrays)


def read_one(
    number: int, path: Path, schema: Schema, *, needs_label: bool
) -> Iterator[pa.RecordBatch]:
    """Read one file as `bulk.read_file` does, on a worker.

    Yields
    ------
    pyarrow.RecordBatch
        Its rows, a block at a time, then the report.
    """
    found, kinds, n_rows = reading.new_reading(path, schema), worker_kinds(schema), 0
    try:
        reading.check_is_file(path, path.parent)
        with path.open("rb") as handle:
            for part in bulk.read_parts(handle, schema, found, needs_label=needs_label):
                table = cast(pa.Table, part).cast(kinds)
                yield from place_rows(table, number, n_rows)
                n_rows += table.num_rows
    except RefusedFileError as error:
        # Rows that were handed on before it showed are left out by whoever reads the report.
        reading.refuse(found, error)
    yield report(Reported(whole=asdict(found) | {"path": str(path)}), number, schema)


def read_part(
    number: int, path: Path, part: Range, schema: Schema, *, needs_label: bool
) -> Iterator[pa.RecordBatch]:
    """Read a range of a file, on a worker: its rows, then the report."""
    kinds, n_before = worker_kinds(schema), part.place * MAX_RANGE_ROWS
    for made in ranges.read_range(path, part, schema, needs_label=needs_label):
        if isinstance(made, Told):
            yield report(Reported(told=made), number, schema)
        else:
            yield from place_rows(made.cast(kinds), number, n_before)
            n_before += made.num_rows


def read_piece(piece: Piece, schema: Schema, *, needs_label: bool) -> Iterator[pa.RecordBatch]:
    """Read what a task is to read."""
    number, path, part = piece.number, Path(piece.path), piece.part
    if part is None:
        return read_one(number, path, schema, needs_label=needs_label)
    if part == HASH_ALONE:
        hashed = Reported(sha256=artifacts.digest_file(path))
        return iter([report(hashed, number, schema)])
    return read_part(number, path, part, schema, needs_label=needs_label)


def range_bytes(session: SparkSession) -> int:
    """Ask how much one task is to read: Spark's own `spark.sql.files.maxPartitionBytes`."""
    return int(session._jsparkSession.sessionState().conf().filesMaxPartitionBytes())


def cut_files(paths: Sequence[Path], n_bytes_each: int) -> list[Piece]:
    """Make a task of each file, and several of a large one, which is hashed besides."""
    pieces = []
    for number, path in enumerate(paths):
        n_bytes = path.stat().st_size if artifacts.is_readable(path) else 0
        if n_bytes <= n_bytes_each:
            pieces.append(Piece(number, str(path)))
            continue
        parts = ranges.cut(n_bytes, n_bytes_each)
        pieces += [Piece(number, str(path), part) for part in (HASH_ALONE, *parts)]
    return pieces


def read_rows(
    session: SparkSession, pieces: Sequence[Piece], schema: Schema, *, needs_label: bool
) -> DataFrame:
    """Read files on the cluster, a task per piece."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for spelled in batch.column(0).to_pylist():
                piece = msgspec.json.decode(spelled, type=Piece)
                yield from read_piece(piece, schema, needs_label=needs_label)

    spelled = [(msgspec.json.encode(piece).decode(),) for piece in pieces]
    listed = session.sparkContext.parallelize(spelled, len(spelled))
    files = session.createDataFrame(listed, "piece string")
    return files.mapInArrow(work, spell_kinds(schema))


def read_account(spelled: Sequence[str], path: Path, schema: Schema) -> FileReading | None:
    """Put together what was told of a file; None if ranges will not do."""
    told = [msgspec.json.decode(one, type=Reported) for one in spelled]
    if told[0].whole is not None:
        rejected = [RejectedRow(**row) for row in told[0].whole["rejected"]]
        return FileReading(**told[0].whole | {"path": path, "rejected": rejected})
    sha256 = "".join(one.sha256 for one in told)
    return ranges.put_together([one.told for one in told if one.told], sha256, path, schema)


def collect_readings(
    rows: DataFrame, paths: Sequence[Path], schema: Schema
) -> dict[int, FileReading | None]:
    """Bring back what each file held, by its number."""
    reports = rows.where(column(REPORT).isNotNull()).select(column(FILE), column(REPORT)).collect()
    by_file: dict[int, list[str]] = {}
    for number, spelled in reports:
        by_file.setdefault(number, []).append(spelled)
    return {
        number: read_account(spelled, paths[number], schema) for number, spelled in by_file.items()
    }


def read_files(
    session: SparkSession, paths: Sequence[Path], schema: Schema, *, needs_label: bool
) -> tuple[DataFrame, list[FileReading]]:
    """Read files on the cluster; give all rows, those of refused files too, and the readings."""
    # Kept, on disk where memory is short: readings and rows both come of it.
    pieces = cut_files(paths, range_bytes(session))
    read = read_rows(session, pieces, schema, needs_label=needs_label).persist()
    found = collect_readings(read, paths, schema)
    rest = [number for number, reading_of in found.items() if reading_of is None]
    if rest:
        names = [paths[number].name for number in rest]
        log.info("Read %s in one task each: their lines alone do not tell where rows end.", names)
        pieces = [Piece(number, str(paths[number])) for number in rest]
        again = read_rows(session, pieces, schema, needs_label=needs_label).persist()
        found |= collect_readings(again, paths, schema)
        read = read.where(~column(FILE).isin(rest)).unionAll(again)
    return read, [made for _, made in sorted(found.items()) if made is not None]
