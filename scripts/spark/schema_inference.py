"""Inference of a schema from client files on a cluster."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from scripts.core.config import EngineSettings, Schema
from scripts.core.errors import DatasetError
from scripts.data import read_report, schema_inference
from scripts.data.column_kinds import ColumnCounts
from scripts.data.polars_ranges import RowForm
from scripts.data.read_report import FileReading
from scripts.data.schema_inference import ColumnProfile, Inference
from scripts.spark import cluster, read_store
from scripts.spark.cluster import column, gather
from scripts.spark.read_files import CELLS, FILE, ROW

PartCounts = dict[str, ColumnCounts]


def usable_header(reading: FileReading) -> list[str]:
    """Return the columns of a file, or none without a usable row."""
    return reading.header if reading.n_rows > len(reading.rejected) else []


def select_common(rows: DataFrame, headers: Sequence[list[str]], common: list[str]) -> DataFrame:
    """Return the distinct rows of the common columns, each with its first place.

    Rows of files that lack a column are left out.
    """
    places = {
        number: [list(dict.fromkeys(header)).index(name) for name in common]
        for number, header in enumerate(headers)
        if header and set(common) <= set(header)
    }

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbered = zip(batch[FILE].to_pylist(), batch[CELLS].to_pylist(), strict=True)
            chosen = [[row[place] for place in places[number]] for number, row in numbered]
            cells = pa.array(chosen, pa.list_(pa.string()))
            yield pa.RecordBatch.from_arrays([cells, batch[FILE], batch[ROW]], [*kinds])

    kinds = {CELLS: "array<string>", FILE: "int", ROW: "bigint"}
    wanted = column(FILE).isin(list(places)) & column(CELLS).isNotNull()
    found = rows.where(wanted).mapInArrow(work, cluster.ddl(kinds))
    return found.groupBy(CELLS).agg(F.min(F.struct(column(FILE), column(ROW))).alias(ROW)).persist()


def keep_last(rows: DataFrame, place: int) -> DataFrame:
    """Return the last of the distinct rows of each client, whose key has a place in the cells."""
    last = F.max_by(column(CELLS), column(ROW)).alias(CELLS)
    return rows.groupBy(F.get(CELLS, F.lit(place))).agg(last).select(CELLS)


def profile_columns(
    rows: DataFrame, common: list[str], names: list[str], declared: Schema
) -> dict[str, ColumnProfile]:
    """Profile columns by their distinct values, in one pass."""
    of_place = {common.index(name): name for name in names}
    cells = rows.select(F.posexplode(CELLS)).where(column("pos").isin(list(of_place)))

    def work(parts: Iterator[pa.Table]) -> bytes:
        counts: dict[str, Counter[str]] = {}
        for part in parts:
            for place, text, n_rows in zip(*(c.to_pylist() for c in part.columns), strict=True):
                counts.setdefault(of_place[place], Counter())[text] = n_rows
        return msgspec.json.encode(
            {
                name: schema_inference.count_values(of_column, declared.marks(name))
                for name, of_column in counts.items()
            }
        )

    pieces = gather(cells.groupBy("pos", "col").count(), work)
    parts = [msgspec.json.decode(piece, type=PartCounts) for piece in pieces]
    return {
        name: schema_inference.make_profile(
            schema_inference.merge_counts([p[name] for p in parts if name in p])
        )
        for name in names
    }


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
        form = RowForm(schema_inference.required_schema(declared), as_text=True)
        read, readings = read_store.read_anywhere(session, paths, form)
        headers = [usable_header(reading) for reading in readings]
        usable = zip(headers, readings, strict=True)
        counted = [(h, r.n_rows - len(r.rejected)) for h, r in usable if h]
        if not counted:
            raise DatasetError(
                f"No usable row was found. {read_report.format_complaints(readings)}"
            )
        common = schema_inference.common_names(counted)
        rows = select_common(read, headers, common)
        names = schema_inference.undeclared_columns(common, declared)
        clients = keep_last(rows, common.index(declared.client_key)) if declared.date else rows
        profiles = profile_columns(clients, common, names, declared)
        labels = []
        if declared.target in common:
            target = F.get(CELLS, F.lit(common.index(declared.target)))
            labels = rows.select(target).distinct().collect()
        for kept in (read, rows):
            kept.unpersist()
    rare = sorted({name for header in headers for name in header} - set(common))
    columns = schema_inference.classify_columns(profiles, declared)
    return schema_inference.finish_inference(
        columns, [row[0] for row in labels], declared, readings, rare
    )
