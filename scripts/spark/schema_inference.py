"""Inference of a schema from client files on a cluster."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from scripts.core.config import EngineSettings, Schema
from scripts.data import read_report, schema_inference
from scripts.data.column_kinds import ColumnCounts
from scripts.data.polars_ranges import RowForm
from scripts.data.read_report import FileReading
from scripts.data.schema_inference import ColumnProfile, Inference
from scripts.spark import cluster, read_input
from scripts.spark.cluster import Batches, column
from scripts.spark.read_files import CELLS, FILE, ROW

# The places of the common columns in a file.
PLACES = "places"


def select_common(rows: DataFrame, readings: Sequence[FileReading], common: list[str]) -> DataFrame:
    """Return the distinct rows of the common columns, each with the first place.

    Rows of files that lack a column are left out.
    """
    places = [
        (number, [list(dict.fromkeys(reading.header)).index(name) for name in common])
        for number, reading in enumerate(readings)
        if read_report.count_usable([reading]) and set(common) <= set(reading.header)
    ]
    of_files = rows.sparkSession.createDataFrame(places, f"`{FILE}` int, {PLACES} array<int>")
    read = rows.join(F.broadcast(of_files), FILE)
    cells = F.transform(PLACES, lambda place: F.get(CELLS, place)).alias(CELLS)
    first = F.min(F.struct(column(FILE), column(ROW))).alias(ROW)
    return read.groupBy(cells).agg(first).persist()


def profile_columns(
    rows: DataFrame, common: list[str], declared: Schema
) -> dict[str, ColumnProfile]:
    """Profile the undeclared columns, with all values of a column in a task."""
    names = schema_inference.undeclared_columns(common, declared)

    def work(batches: Batches) -> dict[str, ColumnCounts]:
        """Profile the columns of a task by their counted values."""
        counts = defaultdict[str, dict[str, int]](dict)
        for batch in batches:
            for place, text, n_rows in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                counts[common[place]][text] = n_rows
        return {
            name: schema_inference.count_values(of_column, declared.marks(name))
            for name, of_column in counts.items()
        }

    cells = rows.select(F.posexplode(CELLS)).where(column("pos").isin([*map(common.index, names)]))
    values = cells.groupBy("pos", "col").count()
    counted = cluster.gather(values, "pos", work, dict[str, ColumnCounts])
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
        read, readings = read_input.read_rows(session, paths, form)
        n_usable = [(r.header, read_report.count_usable([r])) for r in readings]
        shapes = [(header, n_rows) for header, n_rows in n_usable if n_rows]
        common, rare = schema_inference.split_names(shapes, readings)
        rows = clients = select_common(read, readings, common)
        cells = {name: F.get(CELLS, F.lit(place)) for place, name in enumerate(common)}
        if declared.date:
            # Of a client with many rows the last one shows how the columns are written.
            last = F.max_by(column(CELLS), column(ROW)).alias(CELLS)
            clients = rows.groupBy(cells[declared.client_key]).agg(last)
        profiles, labels = profile_columns(clients, common, declared), []
        if declared.target in common:
            labels = rows.select(cells[declared.target]).distinct().collect()
        # What is kept after a look at the files: nothing else has been read yet.
        session.catalog.clearCache()
    found = schema_inference.classify_columns(profiles, declared)
    texts = [text for (text,) in labels]
    return schema_inference.finish_inference(found, texts, declared, readings, rare)
