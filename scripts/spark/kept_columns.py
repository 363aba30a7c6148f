"""Columns of today's clients that are no features, read on a cluster."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from scripts.core.config import Schema
from scripts.data import dataset, kept_columns
from scripts.data.kept_columns import CLIENT, DAY
from scripts.data.polars_ranges import RowForm
from scripts.spark import read_input
from scripts.spark.cluster import column
from scripts.spark.read_files import FILE, ROW


def read(
    session: SparkSession,
    paths: Sequence[Path],
    schema: Schema,
    columns: Sequence[str],
    table: pd.DataFrame,
) -> pd.DataFrame:
    """Read the kept columns of today's clients, as `data.kept_columns.read` does.

    A file that lacks one of the columns is left out: each of them is read for the whole table.
    """
    clients = kept_columns.name_clients(table, schema)
    wanted = kept_columns.reading_schema(schema, columns)
    rows, _ = read_input.read_rows(session, paths, RowForm(wanted, has_outcomes=True))
    known, keys = clients[list(schema.client_ids)], list(schema.client_ids)
    if schema.date:
        known, keys = known.assign(**{schema.as_of: clients[DAY]}), [*keys, schema.as_of]
    chosen = rows.join(
        F.broadcast(session.createDataFrame(known.drop_duplicates())), keys, "left_semi"
    )
    texts = F.struct(*(column(name) for name in columns))
    place = F.struct(column(FILE), column(ROW))
    last = chosen.groupBy(*map(column, keys)).agg(F.max_by(texts, place).alias("last"))
    found = last.select(*map(column, keys), "last.*").toArrow().to_pandas()
    found[CLIENT] = dataset.client_names(found, schema)
    found[DAY] = found[schema.as_of] if schema.date else 0
    return kept_columns.join(clients, found, columns)
