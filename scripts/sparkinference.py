"""Finds out on a cluster what `inference` finds out here: what the columns of client tables are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts import cells, cluster, findings, inference, reading
from scripts.cluster import aggregate, column, gather
from scripts.config import EngineSettings, NumberMarks, Schema
from scripts.errors import DatasetError
from scripts.findings import FileReading, RejectedRow
from scripts.inference import Inference, Look
from scripts.reading import RefusedFileError

FILE, CELLS, REPORT = "file", "cells", "report"
KINDS = pa.schema([(FILE, pa.int32()), (CELLS, pa.string()), (REPORT, pa.string())])
CHUNK_ROWS = 10_000


class Told(Struct, frozen=True):
    """What a file held: its columns, and its account."""

    header: list[str]
    found: dict[str, Any]


class Numbers(Struct, frozen=True):
    """Of the different values of a column: how many rows have a number, any value, the commonest.

    Whether there is a fraction among the numbers is said, too, and a value but "".
    """

    n_values: int = 0
    n_most: int = 0
    n_cells: int = 0
    n_numbers: int = 0
    measure: bool = False


def read_texts(path: Path, schema: Schema, found: FileReading) -> Iterator[dict[str, str]]:
    """Yield the rows of a file, each cell as the text it holds."""
    reading.check_is_file(path, path.parent)
    with path.open("rb") as handle:
        lines = reading.iterate_lines(handle, found, schema.encoding)
        _, first = next(lines, (0, None))
        layout = reading.read_layout(first, schema, found, as_text=True)
        for number, record in reading.iterate_records(lines, layout.separator):
            row = reading.read_record(number, record, layout, found)
            if row is not None:
                yield row


def read_one(number: int, path: Path, schema: Schema) -> Iterator[pa.RecordBatch]:
    """Read a file on a worker.

    Yields
    ------
    pyarrow.RecordBatch
        Its rows as lists of text, a chunk at a time, then the report.
    """
    found, header = reading.new_reading(path, schema), []
    try:
        rows = read_texts(path, schema, found)
        while chunk := list(islice(rows, CHUNK_ROWS)):
            header = list(chunk[0])
            spelled = [msgspec.json.encode(list(row.values())).decode() for row in chunk]
            yield pa.RecordBatch.from_pydict(
                {FILE: [number] * len(chunk), CELLS: spelled, REPORT: [None] * len(chunk)}, KINDS
            )
    except RefusedFileError as error:
        # Rows that were handed on before it showed are left out by whoever reads the report.
        reading.refuse(found, error)
        header = []
    told = msgspec.json.encode(Told(header, asdict(found) | {"path": str(path)})).decode()
    yield pa.RecordBatch.from_pydict({FILE: [number], CELLS: [None], REPORT: [told]}, KINDS)


def read_rows(session: SparkSession, paths: Sequence[Path], schema: Schema) -> DataFrame:
    """Read files on the cluster, a task each."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number, path in zip(*(values.to_pylist() for values in batch), strict=True):
                yield from read_one(number, Path(path), schema)

    numbered = [(number, str(path)) for number, path in enumerate(paths)]
    listed = session.sparkContext.parallelize(numbered, len(numbered))
    files = session.createDataFrame(listed, "number int, path string")
    return files.mapInArrow(work, f"{FILE} int, {CELLS} string, {REPORT} string")


def read_reports(rows: DataFrame, paths: Sequence[Path]) -> list[tuple[list[str], FileReading]]:
    """Bring back the columns and the account of each file, in the order of the files."""
    reports = rows.where(column(REPORT).isNotNull()).select(FILE, REPORT).collect()
    made = []
    for number, spelled in sorted((row[0], row[1]) for row in reports):
        told = msgspec.json.decode(spelled, type=Told)
        rejected = [RejectedRow(**row) for row in told.found["rejected"]]
        facts = told.found | {"path": paths[number], "rejected": rejected}
        made.append((told.header, FileReading(**facts)))
    return made


def take_common(rows: DataFrame, headers: Sequence[list[str]], common: list[str]) -> DataFrame:
    """Take the common columns of the files that have all of them, without duplicate rows."""
    places = {
        number: [header.index(name) for name in common]
        for number, header in enumerate(headers)
        if header and set(common) <= set(header)
    }
    names = [str(place) for place in range(len(common))]

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbered = zip(batch[FILE].to_pylist(), batch[CELLS].to_pylist(), strict=True)
            chosen = [
                [row[place] for place in places[number]]
                for number, spelled in numbered
                for row in [msgspec.json.decode(spelled, type=list[str])]
            ]
            arrays = [pa.array(values, pa.string()) for values in zip(*chosen, strict=True)]
            if arrays:
                yield pa.RecordBatch.from_arrays(arrays, names)

    wanted = column(FILE).isin(list(places)) & column(CELLS).isNotNull()
    kinds = ", ".join(f"`{name}` string" for name in names)
    return rows.where(wanted).mapInArrow(work, kinds).distinct().persist()


def count_numbers(parts: Iterator[pa.Table], marks: NumberMarks) -> Numbers:
    """Look at some of the different values of a column, with the number of rows of each."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(dict(zip(*(values.to_pylist() for values in part.columns), strict=True)))
    numbers = [text for text in counts if text and cells.is_number(text, marks)]
    return Numbers(
        n_values=len(counts),
        n_most=max(counts.values(), default=0),
        n_cells=counts.total() - counts[""],
        n_numbers=sum(counts[text] for text in numbers),
        measure=inference.is_measure(numbers, marks),
    )


def look_at(rows: DataFrame, place: int, n_rows: int, marks: NumberMarks) -> Look:
    """Look at a column as `inference.look_at` does, through its different values."""
    counted = rows.groupBy(column(str(place))).agg(F.count(F.lit(1)))

    def work(parts: Iterator[pa.Table]) -> bytes:
        return msgspec.json.encode(count_numbers(parts, marks))

    pieces = [msgspec.json.decode(piece, type=Numbers) for piece in gather(counted, work)]
    n_values, n_cells = sum(p.n_values for p in pieces), sum(p.n_cells for p in pieces)
    numeric = inference.is_numeric(sum(p.n_numbers for p in pieces), n_cells)
    return Look(
        n_rows=n_rows,
        n_values=n_values,
        n_most=max(p.n_most for p in pieces),
        blank=n_cells == 0,
        numeric=numeric,
        measure=numeric and n_values == n_rows and any(p.measure for p in pieces),
    )


def infer(engine: EngineSettings, paths: Sequence[Path], declared: Schema) -> Inference:
    """Complete a declared schema by looking at files, as `inference.infer` does.

    Parameters
    ----------
    engine : EngineSettings
        The cluster.
    paths : sequence of Path
        CSV files of clients.
    declared : Schema
        `inferred` names what is to be found out.

    Returns
    -------
    Inference
        The same as of `inference.infer`.

    Raises
    ------
    DatasetError
        If no row is usable, no column is left, or the target has not two labels.
    """
    with cluster.working(engine) as session:
        read = read_rows(session, paths, declared).persist()
        reports = read_reports(read, paths)
        headers, readings = [header for header, _ in reports], [found for _, found in reports]
        counted = [(h, r.n_rows - len(r.rejected)) for h, r in reports if h]
        if not counted:
            raise DatasetError(f"No usable row was found. {findings.spell_complaints(readings)}")
        common = inference.common_names(counted)
        rows = take_common(read, headers, common)
        (n_rows,) = aggregate(rows, [F.count(F.lit(1))])
        looks = {
            name: look_at(rows, common.index(name), n_rows, declared.marks(name))
            for name in inference.open_columns(common, declared)
        }
        labels = rows.select(column(str(common.index(declared.target)))).distinct().collect()
        for kept in (read, rows):
            kept.unpersist()
    rare = sorted({name for header in headers for name in header} - set(common))
    found = inference.sort_columns(looks, declared)
    return inference.settle(found, [row[0] for row in labels], declared, readings, rare)
