"""Finds out on a cluster what `inference` finds out here: what the columns of client tables are."""

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
from scripts.data import cells, read_report, schema_inference
from scripts.data.read_report import FileReading
from scripts.data.schema_inference import ColumnProfile, Inference
from scripts.spark import cluster, read_tasks
from scripts.spark.cluster import aggregate, column, gather
from scripts.spark.read_tasks import FILE
from scripts.spark.row_formats import CELLS, Texts


class Numbers(Struct, frozen=True):
    """Of the different values of a column: how many rows have a number, any value, the commonest.

    Whether there is a fraction among the numbers is said, too, and a value but "".
    """

    n_values: int = 0
    n_most: int = 0
    n_cells: int = 0
    n_numbers: int = 0
    measure: bool = False


def usable_header(found: FileReading) -> list[str]:
    """Give the columns of a file, none if no row of it is usable."""
    return found.header if found.n_rows > len(found.rejected) else []


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
        measure=schema_inference.is_measure(numbers, marks),
    )


def look_at(rows: DataFrame, place: int, n_rows: int, marks: NumberMarks) -> ColumnProfile:
    """Look at a column as `inference.look_at` does, through its different values."""
    counted = rows.groupBy(column(str(place))).agg(F.count(F.lit(1)))

    def work(parts: Iterator[pa.Table]) -> bytes:
        return msgspec.json.encode(count_numbers(parts, marks))

    pieces = [msgspec.json.decode(piece, type=Numbers) for piece in gather(counted, work)]
    n_values, n_cells = sum(p.n_values for p in pieces), sum(p.n_cells for p in pieces)
    numeric = schema_inference.is_numeric(sum(p.n_numbers for p in pieces), n_cells)
    return ColumnProfile(
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
        read, readings = read_tasks.read_stored_files(session, paths, Texts(declared))
        headers = [usable_header(found) for found in readings]
        usable = zip(headers, readings, strict=True)
        counted = [(h, r.n_rows - len(r.rejected)) for h, r in usable if h]
        if not counted:
            raise DatasetError(
                f"No usable row was found. {read_report.format_complaints(readings)}"
            )
        common = schema_inference.common_names(counted)
        rows = take_common(read, headers, common)
        (n_rows,) = aggregate(rows, [F.count(F.lit(1))])
        looks = {
            name: look_at(rows, common.index(name), n_rows, declared.marks(name))
            for name in schema_inference.undeclared_columns(common, declared)
        }
        labels = rows.select(column(str(common.index(declared.target)))).distinct().collect()
        for kept in (read, rows):
            kept.unpersist()
    rare = sorted({name for header in headers for name in header} - set(common))
    found = schema_inference.classify_columns(looks, declared)
    return schema_inference.finish_inference(
        found, [row[0] for row in labels], declared, readings, rare
    )
