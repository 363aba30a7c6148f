"""Inference of a schema from client files on a cluster."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Struct
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from scripts.core.config import EngineSettings, NumberMarks, Schema
from scripts.core.errors import DatasetError
from scripts.data import cells, column_kinds, read_report, schema_inference
from scripts.data.column_kinds import KindCounts
from scripts.data.read_report import FileReading
from scripts.data.schema_inference import ColumnProfile, Inference
from scripts.spark import cluster, read_tasks
from scripts.spark.cluster import aggregate, column, gather
from scripts.spark.read_tasks import FILE
from scripts.spark.row_formats import CELLS, Texts


class ValueCounts(Struct, frozen=True):
    """Counts of the distinct values of a column, and of the rows with values and numbers.

    `n_most` is the number of rows with the most frequent value, `n_cells` of rows with a value.
    `measure` tells whether the numbers have fractions.
    """

    n_values: int = 0
    n_most: int = 0
    n_cells: int = 0
    n_numbers: int = 0
    measure: bool = False
    kinds: KindCounts = KindCounts()


def usable_header(reading: FileReading) -> list[str]:
    """Return the columns of a file, or none without a usable row."""
    return reading.header if reading.n_rows > len(reading.rejected) else []


def select_common(rows: DataFrame, headers: Sequence[list[str]], common: list[str]) -> DataFrame:
    """Return the distinct rows of the common columns, without files lacking a column."""
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
                for number, encoded in numbered
                for row in [msgspec.json.decode(encoded, type=list[str])]
            ]
            arrays = [pa.array(values, pa.string()) for values in zip(*chosen, strict=True)]
            if arrays:
                yield pa.RecordBatch.from_arrays(arrays, names)

    wanted = column(FILE).isin(list(places)) & column(CELLS).isNotNull()
    kinds = ", ".join(f"`{name}` string" for name in names)
    return rows.where(wanted).mapInArrow(work, kinds).distinct().persist()


def count_values(parts: Iterator[pa.Table], marks: NumberMarks) -> ValueCounts:
    """Count rows and numbers among some distinct values of a column."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(dict(zip(*(values.to_pylist() for values in part.columns), strict=True)))
    numbers = [text for text in counts if text and cells.is_number(text, marks)]
    return ValueCounts(
        n_values=len(counts),
        n_most=max(counts.values(), default=0),
        n_cells=counts.total() - counts[""],
        n_numbers=sum(counts[text] for text in numbers),
        measure=schema_inference.is_measure(numbers, marks),
        kinds=column_kinds.count_kinds({text: counts[text] for text in counts if text}),
    )


def profile_column(rows: DataFrame, place: int, n_rows: int, marks: NumberMarks) -> ColumnProfile:
    """Profile a column by its distinct values."""
    counted = rows.groupBy(column(str(place))).agg(F.count(F.lit(1)))

    def work(parts: Iterator[pa.Table]) -> bytes:
        return msgspec.json.encode(count_values(parts, marks))

    pieces = [msgspec.json.decode(piece, type=ValueCounts) for piece in gather(counted, work)]
    n_values, n_cells = sum(p.n_values for p in pieces), sum(p.n_cells for p in pieces)
    numeric = schema_inference.is_numeric(sum(p.n_numbers for p in pieces), n_cells)
    return ColumnProfile(
        n_rows=n_rows,
        n_values=n_values,
        n_most=max(p.n_most for p in pieces),
        blank=n_cells == 0,
        numeric=numeric,
        measure=numeric and n_values == n_rows and any(p.measure for p in pieces),
        kind=sum((p.kinds for p in pieces), start=KindCounts()).kind(is_numeric=numeric),
    )


def infer(engine: EngineSettings, paths: Sequence[Path], declared: Schema) -> Inference:
    """Complete a declared schema from the content of files.

    Parameters
    ----------
    engine : EngineSettings
        The cluster.
    paths : sequence of Path
        CSV files of clients.
    declared : Schema
        `inferred` names the open parts.

    Returns
    -------
    Inference
        Equal to that of `data.schema_inference.infer`.

    Raises
    ------
    DatasetError
        If no row is usable, no column is left, or the target has not two labels.
    """
    with cluster.open_cluster(engine) as session:
        read, readings = read_tasks.read_stored_files(session, paths, Texts(declared))
        headers = [usable_header(reading) for reading in readings]
        usable = zip(headers, readings, strict=True)
        counted = [(h, r.n_rows - len(r.rejected)) for h, r in usable if h]
        if not counted:
            raise DatasetError(
                f"No usable row was found. {read_report.format_complaints(readings)}"
            )
        common = schema_inference.common_names(counted)
        rows = select_common(read, headers, common)
        (n_rows,) = aggregate(rows, [F.count(F.lit(1))])
        profiles = {
            name: profile_column(rows, common.index(name), n_rows, declared.marks(name))
            for name in schema_inference.undeclared_columns(common, declared)
        }
        labels = rows.select(column(str(common.index(declared.target)))).distinct().collect()
        for kept in (read, rows):
            kept.unpersist()
    rare = sorted({name for header in headers for name in header} - set(common))
    columns = schema_inference.classify_columns(profiles, declared)
    return schema_inference.finish_inference(
        columns, [row[0] for row in labels], declared, readings, rare
    )
