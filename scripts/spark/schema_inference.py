"""Inference of a schema from client files on a cluster."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from scripts.core.config import EngineSettings, Schema
from scripts.data import read_report, schema_inference
from scripts.data.column_kinds import ColumnCounts
from scripts.data.polars_ranges import RowForm
from scripts.data.read_report import FileReading
from scripts.data.schema_inference import ColumnProfile, Inference
from scripts.spark import cluster, read_store
from scripts.spark.cluster import Batches, column
from scripts.spark.read_files import CELLS, FILE, ROW


def select_common(rows: DataFrame, readings: Sequence[FileReading], common: list[str]) -> DataFrame:
    """Return the distinct rows of the common columns, each with the first place.

    Rows of files that lack a column are left out.
    """
    places = {
        number: [list(dict.fromkeys(reading.header)).index(name) for name in common]
        for number, reading in enumerate(readings)
        if read_report.count_usable([reading]) and set(common) <= set(reading.header)
    }

    def work(batches: Batches) -> Iterator[pa.Table]:
        """Yield the cells of the common columns with their places."""
        for batch in batches:
            numbered = zip(batch[FILE].to_pylist(), batch[CELLS].to_pylist(), strict=True)
            chosen = [[row[place] for place in places[number]] for number, row in numbered]
            cells = pa.array(chosen, pa.list_(pa.string()))
            yield pa.table({CELLS: cells, FILE: batch[FILE], ROW: batch[ROW]})

    kinds = pa.schema([(CELLS, pa.list_(pa.string())), (FILE, pa.int32()), (ROW, pa.int64())])
    wanted = column(FILE).isin(list(places)) & column(CELLS).isNotNull()
    found = cluster.map_batches(rows.where(wanted), work, kinds)
    return found.groupBy(CELLS).agg(F.min(F.struct(column(FILE), column(ROW))).alias(ROW)).persist()


def cell(common: list[str], name: str) -> Column:
    """Return the cell of a common column."""
    return F.get(CELLS, F.lit(common.index(name)))


def profile_columns(
    rows: DataFrame, common: list[str], declared: Schema
) -> dict[str, ColumnProfile]:
    """Profile the undeclared columns, with all values of a column in a task."""
    names = schema_inference.undeclared_columns(common, declared)

    def work(batches: Batches) -> bytes:
        """Profile the columns of a task by their counted values."""
        counts = defaultdict[str, dict[str, int]](dict)
        for batch in batches:
            for place, text, n_rows in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                counts[common[place]][text] = n_rows
        return msgspec.json.encode(
            {
                name: schema_inference.count_values(of_column, declared.marks(name))
                for name, of_column in counts.items()
            }
        )

    cells = rows.select(F.posexplode(CELLS)).where(column("pos").isin([*map(common.index, names)]))
    pieces = cluster.gather(cells.groupBy("pos", "col").count().repartition("pos"), work)
    found = [msgspec.json.decode(piece, type=dict[str, ColumnCounts]) for piece in pieces]
    counted = {name: counts for part in found for name, counts in part.items()}
    return {name: schema_inference.make_profile(counted[name]) for name in names}


def infer(engine: EngineSettings, paths: Sequence[Path], declared: Schema) -> Inference:
    """Complete a declared schema from the content of files, as `data.schema_inference.infer` does.

    Raises
    ------
    DatasetError
        If no row is usable, no column is left, or the target has not two labels.
    """
    with cluster.open_cluster(engine) as session:
        form = RowForm(schema_inference.required_schema(declared), as_text=True)
        read, readings = read_store.read_anywhere(session, paths, form)
        n_usable = [(r.header, read_report.count_usable([r])) for r in readings]
        shapes = [(header, n_rows) for header, n_rows in n_usable if n_rows]
        common, rare = schema_inference.split_names(shapes, readings)
        rows = clients = select_common(read, readings, common)
        if declared.date:
            # Of a client with many rows the last one shows how the columns are written.
            last = F.max_by(column(CELLS), column(ROW)).alias(CELLS)
            clients = rows.groupBy(cell(common, declared.client_key)).agg(last)
        profiles, labels = profile_columns(clients, common, declared), []
        if declared.target in common:
            labels = rows.select(cell(common, declared.target)).distinct().collect()
        for kept in (read, rows):
            kept.unpersist()
    columns = schema_inference.classify_columns(profiles, declared)
    return schema_inference.finish_inference(
        columns, [row[0] for row in labels], declared, readings, rare
    )
