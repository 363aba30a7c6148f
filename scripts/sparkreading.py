"""Reads files on a cluster by the rules of `reading`: one task per file, rejected rows and all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import msgspec
import narwhals as nw
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts import bulk, columns, dataset, findings, reading
from scripts.cells import UNLABELLED
from scripts.cluster import column
from scripts.config import Schema
from scripts.errors import ConfigError, DatasetError
from scripts.findings import FileReading, RejectedRow
from scripts.reading import RefusedFileError

# Beside the columns of the schema: where a row stands, and in a row of its own what a file held.
FILE, ROW, REPORT = "adras file", "adras row", "adras report"
BLANKS = pa.scalar(None, pa.float64())

Clean = Callable[[Any], Any]


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


def report(found: FileReading, number: int, schema: Schema) -> pa.RecordBatch:
    """Spell what a file held as a row of its own."""
    spelled = msgspec.json.encode(asdict(found), enc_hook=str).decode()
    kinds = worker_kinds(schema)
    arrays = {kind.name: pa.nulls(1, kind.type) for kind in kinds}
    arrays[FILE] = pa.array([number], pa.int32())
    arrays[ROW] = pa.array([-1], pa.int64())
    arrays[REPORT] = pa.array([spelled], pa.string())
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
    yield report(found, number, schema)


def read_rows(
    session: SparkSession, paths: Sequence[Path], schema: Schema, *, needs_label: bool
) -> DataFrame:
    """Read files on the cluster, one task each, so that quoted line ends stay within a task."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number, path in zip(*(values.to_pylist() for values in batch), strict=True):
                yield from read_one(number, Path(path), schema, needs_label=needs_label)

    numbered = [(number, str(path)) for number, path in enumerate(paths)]
    listed = session.sparkContext.parallelize(numbered, len(numbered))
    files = session.createDataFrame(listed, "number int, path string")
    return files.mapInArrow(work, spell_kinds(schema))


def collect_readings(rows: DataFrame, paths: Sequence[Path]) -> list[FileReading]:
    """Bring back what each file held, in the order of the files."""
    reports = rows.where(column(REPORT).isNotNull()).select(column(FILE), column(REPORT)).collect()
    readings = []
    for number, spelled in sorted((row[0], row[1]) for row in reports):
        facts = msgspec.json.decode(spelled)
        rejected = [RejectedRow(**row) for row in facts.pop("rejected")]
        readings.append(FileReading(**facts | {"path": paths[number], "rejected": rejected}))
    return readings


def read_tables(
    session: SparkSession, paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[DataFrame, list[FileReading]]:
    """Read files strictly on the cluster.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        Whose workers see the files at the same paths.
    paths : sequence of Path
        CSV files.
    schema : Schema
        The columns.
    needs_label : bool
        Reject rows whose target is blank.

    Returns
    -------
    tuple of pyspark.sql.DataFrame and list of FileReading
        The rows that can be right, with `FILE` and `ROW`, which tell their order; one reading per
        file, as `dataset.read_tables` gives them.

    Raises
    ------
    DatasetError
        If no row is usable.
    """
    if not paths:
        raise DatasetError(f"No usable row was found. {findings.spell_complaints([])}")
    # Kept, on disk where memory is short: readings and rows both come of it.
    read = read_rows(session, paths, schema, needs_label=needs_label).persist()
    readings = collect_readings(read, paths)
    if not any(found.n_rows > len(found.rejected) for found in readings):
        raise DatasetError(f"No usable row was found. {findings.spell_complaints(readings)}")
    refused = [number for number, found in enumerate(readings) if found.refused]
    rows = read.where(column(REPORT).isNull() & ~column(FILE).isin(refused))
    return rows.drop(REPORT), readings


def to_pandas(rows: DataFrame, schema: Schema) -> pd.DataFrame:
    """Bring few rows back as the table that the pandas engine would have."""
    ordered = rows.orderBy(column(FILE), column(ROW)).toArrow()
    return dataset.make_table(
        {name: ordered[name].to_pandas().to_numpy() for name in schema.columns}, schema
    )


def find_todays_clients(rows: DataFrame, schema: Schema) -> pd.DataFrame:
    """Find the clients whose outcome is not known yet, as `ingestion.find_todays_clients` does."""
    is_unlabelled = column(schema.target) == UNLABELLED
    unlabelled = rows.where(is_unlabelled)
    if schema.ids:
        ids = [column(name) for name in schema.ids]
        mentioned = rows.join(unlabelled.select(*ids).distinct(), list(schema.ids), "left_semi")
        everything = F.struct(*(column(name) for name in rows.columns))
        place = F.struct(column(FILE), column(ROW))
        last = mentioned.groupBy(*ids).agg(F.max_by(everything, place).alias("last"))
        unlabelled = last.select("last.*").where(is_unlabelled)
    return to_pandas(unlabelled, schema)


def clean(rows: DataFrame, clean_dataset: Clean, schema: Schema) -> DataFrame:
    """Clean rows by the one definition that serves both engines.

    Raises
    ------
    ConfigError
        If it does what only pandas can.
    """
    lazy = nw.from_native(rows.select(*(column(name) for name in schema.columns)))
    try:
        cleaned = nw.to_native(clean_dataset(lazy), pass_through=True)
        if not isinstance(cleaned, DataFrame):
            raise TypeError(f"it gave {type(cleaned).__name__}")
        return cleaned.select(*(column(name) for name in schema.columns))
    except (AttributeError, TypeError, NotImplementedError, KeyError) as error:
        raise ConfigError(
            f"clean_dataset in scripts/ingestion.py does what only pandas can ({error}). On Spark"
            " the table is a lazy frame of narwhals, and what is written for narwhals serves both"
            ' engines: narwhals.from_native(table).filter(narwhals.col("age") > 17).to_native().'
            ' README, section "A cluster".'
        ) from error


def read_input(
    session: SparkSession, paths: Sequence[Path], schema: Schema, clean_dataset: Clean
) -> tuple[DataFrame, pd.DataFrame, list[FileReading]]:
    """Read files and clean the rows to train on, as `ingestion.read_input` does."""
    rows, readings = read_tables(session, paths, schema, needs_label=False)
    clients = find_todays_clients(rows, schema)
    labelled = rows.where(column(schema.target) != UNLABELLED)
    return clean(labelled, clean_dataset, schema), clients, readings
