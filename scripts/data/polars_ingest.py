"""Ingestion of large files with Polars: the rows of the dataset, today's clients, the reports."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    csv_reader,
    dataset_scan,
    polars_dataset,
    polars_dated,
    polars_profile,
    polars_reader,
    polars_repeats,
    read_report,
    spilled_dated,
    spilled_ingest,
)
from scripts.data.csv_reader import Columns, RefusedFileError
from scripts.data.deduplicate import Dropped
from scripts.data.polars_dataset import Clean, Ingested
from scripts.data.read_report import FileReading

__all__ = [
    "dataset_scan", "encode_table", "ingest", "ingest_in_files", "iterate_chosen",
    "iterate_tables", "polars_profile", "read_columns", "read_dated", "read_records",
    "read_tables", "spilled_dated",
]  # fmt: skip


def read_tables(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read files strictly into a table of pandas, as `dataset.read_small_files` does."""
    table, readings = polars_reader.read_files(paths, schema, needs_label=needs_label)
    integers = polars_dataset.integer_columns(table, schema) if table.height else set()
    return polars_dataset.to_pandas(table, schema, integers), readings


def read_columns(
    path: Path, folder: Path, schema: Schema, *, as_text: bool = False, needs_label: bool = True
) -> tuple[FileReading, Columns]:
    """Read a file strictly into columns, as `csv_reader.read_file` does."""
    reading, parts = polars_reader.read_file(
        path, folder, schema, as_text=as_text, needs_label=needs_label
    )
    is_read = as_text and not reading.refused
    # A spreadsheet writes columns without a name, of which the rules keep one.
    names = dict.fromkeys(reading.header) if is_read else schema.file_columns
    floats = pl.col(pl.Int64, pl.Float64).cast(pl.Float64).fill_null(math.nan)
    tables = [part.with_columns(floats) for part in parts]
    return reading, {
        name: [value for table in tables for value in table[name].to_list()] for name in names
    }


def gather_parts(parts: Iterable[pl.DataFrame], n_rows: int) -> Iterator[pl.DataFrame]:
    """Yield parts put together until they have a number of rows, and the last ones."""
    waiting: list[pl.DataFrame] = []
    for part in parts:
        waiting.append(part)
        if sum(table.height for table in waiting) >= n_rows:
            yield pl.concat(waiting, how="vertical_relaxed")
            waiting = []
    if waiting:
        yield pl.concat(waiting, how="vertical_relaxed")


def iterate_chosen(path: Path, schema: Schema, wanted: "pd.Series[str]") -> Iterator[pd.DataFrame]:
    """Yield the rows of a file with a wanted first identifier, in parts.

    A refused file ends early: the ingestion has reported it.
    """
    reading, known = csv_reader.new_reading(path, schema), pl.from_pandas(wanted)
    try:
        with csv_reader.open_file(path, path.parent) as handle:
            blocks = polars_reader.read_blocks(handle, schema, reading, needs_label=False)
            # Each search costs as much as the wanted identifiers, which may be a million.
            for part in gather_parts(blocks, len(known)):
                chosen = part.filter(pl.col(schema.ids[0]).is_in(known.implode()))
                if chosen.height:
                    yield polars_dated.to_pandas(chosen)
    except RefusedFileError as error:
        csv_reader.refuse(reading, error)


def iterate_tables(path: Path, schema: Schema, reading: FileReading) -> Iterator[pd.DataFrame]:
    """Read a file strictly, a part of the rows at a time, as tables of pandas."""
    with path.open("rb") as handle:
        for part in polars_reader.read_blocks(handle, schema, reading, needs_label=True):
            if part.height:
                integers = polars_dataset.integer_columns(part, schema)
                yield polars_dataset.to_pandas(part, schema, integers)


def encode_table(table: pd.DataFrame) -> Iterator[bytes]:
    """Encode a table of pandas as CSV."""
    return polars_dataset.encode_rows(polars_dataset.from_pandas(table))


def clean_table(table: pl.DataFrame, schema: Schema, clean: Clean) -> pl.DataFrame:
    """Clean labelled rows by the user's own function for tables of pandas."""
    integers = polars_dataset.integer_columns(table, schema)
    cleaned = clean(polars_dataset.to_pandas(table, schema, integers))
    return polars_reader.unite([polars_dataset.from_pandas(cleaned)])


def count_positives(labels: pl.Series) -> int:
    """Count the clients who left."""
    return int((labels == 1).sum())


def ingest(
    paths: Sequence[Path], schema: Schema, *, drop_equal: bool, clean: Clean | None = None
) -> Ingested:
    """Read files strictly, in the order given, and drop repeated rows.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        Their columns.
    drop_equal : bool
        Whether rows that are equal to an earlier one are dropped.
    clean : callable, optional
        The cleaning of this installation, for the labelled rows.

    Returns
    -------
    Ingested
        The labelled rows in file order, and the last row of each of today's clients.

    Raises
    ------
    DatasetError
        If no row is usable.
    """
    table, readings = polars_reader.read_files(paths, schema, needs_label=False)
    if not table.height:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints(readings)}")
    integers = polars_dataset.integer_columns(table, schema)
    todays = polars_dataset.find_todays_clients(table, schema)
    clients = polars_dataset.to_pandas(todays, schema, integers)
    table = polars_dataset.keep_labelled(table, schema)
    n_labelled, n_positives = table.height, count_positives(table[schema.target])
    if clean is not None:
        table = clean_table(table, schema, clean)
    is_repeat = np.zeros(table.height, np.bool_)
    if drop_equal:
        is_repeat = polars_repeats.find_repeats(table)
    n_rows = int((~is_repeat).sum())
    n_gone = None
    if schema.target in table.columns:
        kept = table[schema.target].filter(pl.Series(~is_repeat, dtype=pl.Boolean))
        n_gone = n_positives - count_positives(kept)
    dropped = Dropped(n_labelled - n_rows, n_gone)
    parts = polars_dataset.encode_rows(table, is_repeat)
    return Ingested(n_rows, n_labelled, dropped, parts, clients, readings)


def read_unique(
    paths: Sequence[Path], name: str, wanted: Collection[str] | None = None
) -> list[str]:
    """Read the different texts of a column of CSV or Parquet files.

    Parameters
    ----------
    paths : sequence of Path
        Files of one format, with a header.
    name : str
        The column.
    wanted : collection of str, optional
        The texts to look for. By default all of them.

    Returns
    -------
    list of str
        In no order.
    """
    if paths[0].suffix == ".csv":
        # Identifiers such as 007 must stay as they are.
        rows = pl.scan_csv(list(paths), infer_schema=False, glob=False)
    else:
        rows = pl.scan_parquet(list(paths), glob=False)
    texts = rows.select(pl.col(name).cast(pl.String).alias("text"))
    if wanted is not None:
        texts = texts.filter(
            pl.col("text").is_in(pl.Series(sorted(wanted), dtype=pl.String).implode())
        )
    found: list[str] = texts.unique().collect()["text"].to_list()
    return found


ingest_in_files = spilled_ingest.ingest
read_dated, read_records = polars_dated.read_sorted, polars_dated.read_records
