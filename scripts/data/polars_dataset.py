"""Datasets in Polars: today's clients, tables of pandas and the text of the dataset file."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from msgspec import Struct

from scripts.core.config import Schema
from scripts.data import polars_reader
from scripts.data.arrays import Mask
from scripts.data.cells import UNLABELLED
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading

PART_ROWS = 2**18
# Python writes smaller numbers with an exponent, Polars from 1e-7 on and in other words.
SMALLEST_PLAIN = 1e-4
# Beside the columns of rows: whether a label is missing, and the place of the row.
IS_UNLABELLED, ROW = "\x00unlabelled", "\x00row"

Clean = Callable[[pd.DataFrame], pd.DataFrame]


class Ingested(Struct, frozen=True):
    """The rows of a dataset as bytes, today's clients, the dropped rows and the reports."""

    n_rows: int
    n_labelled: int
    dropped: Dropped
    parts: Iterator[bytes]
    clients: pd.DataFrame
    readings: list[FileReading]


def is_labelled(schema: Schema) -> pl.Expr:
    """Return whether the label of a row is known."""
    return pl.col(schema.target) != UNLABELLED


def find_todays_clients(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return today's clients: the last row of each client, if without a label.

    Parameters
    ----------
    table : polars.DataFrame of shape (n_rows, n_columns)
        The rows of all files in file order.
    schema : Schema
        Its columns; without identifiers each row is a client.

    Returns
    -------
    polars.DataFrame of shape (n_clients, n_columns)
        The clients in the order of their rows.
    """
    is_unlabelled = table.select(~is_labelled(schema)).to_series().alias(IS_UNLABELLED)
    n_unlabelled, names = int(is_unlabelled.sum()), list(schema.ids)
    if not n_unlabelled or not names:
        return table.filter(is_unlabelled)
    is_last = (pl.col(names[0]) if len(names) == 1 else pl.struct(names)).is_last_distinct()
    if 2 * n_unlabelled > table.height:
        return table.filter(is_last & is_unlabelled)
    # Only the rows of these clients are compared, without a copy of their other columns: there may
    # be millions of other clients.
    rows = table.select(*names, is_unlabelled).with_row_index(ROW)
    todays = rows.filter(IS_UNLABELLED).select(names).unique()
    mentioned = rows.join(todays, on=names, how="semi", maintain_order="left")
    return table[mentioned.filter(is_last & pl.col(IS_UNLABELLED))[ROW]]


def keep_labelled(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the rows with a label, with integers in columns without fractions."""
    has_label = table.select(is_labelled(schema)).to_series()
    if has_label.all():
        return table
    return polars_reader.unite([table.filter(has_label)])


def integer_columns(table: pl.DataFrame, schema: Schema) -> set[str]:
    """Return the numeric columns without fractions and missing numbers."""
    return {
        name
        for name in schema.numeric
        if table.schema[name].is_integer() and not table[name].null_count()
    }


def to_array(column: pl.Series, schema: Schema, *, is_integer: bool) -> Any:
    """Return a column of a client table in the layout of pandas."""
    if column.name == schema.target:
        return column.cast(pl.Int64).to_numpy()
    if column.name in schema.numeric:
        return column.to_numpy().astype(np.int64 if is_integer else np.float64, copy=False)
    texts = column.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    return pd.Series(texts.to_pandas(), dtype="str").array


def to_pandas(table: pl.DataFrame, schema: Schema, integers: set[str]) -> pd.DataFrame:
    """Return a table of pandas in the layout of `dataset.make_table`.

    Parameters
    ----------
    table : polars.DataFrame of shape (n_rows, n_columns)
        A client table.
    schema : Schema
        Its columns.
    integers : set of str
        The numeric columns to return as integers; the others become floats.

    Returns
    -------
    pandas.DataFrame of shape (n_rows, n_columns)
        Columns in the order of the schema, NaN for missing numbers.
    """
    columns = {
        name: to_array(table[name], schema, is_integer=name in integers) for name in schema.columns
    }
    return pd.DataFrame(columns, copy=False)


def from_pandas(table: pd.DataFrame) -> pl.DataFrame:
    """Return a table of pandas in Polars: null for NaN, text for kinds other than numbers."""
    numbers = table.select_dtypes("number").columns
    texts = {name: "str" for name in table.columns if name not in numbers}
    return pl.from_pandas(table.astype(texts).rename(columns=str))


def encode_header(names: Sequence[str]) -> bytes:
    """Return the header line of a dataset."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(names)
    return buffer.getvalue().encode()


def format_tiny(numbers: pl.Series) -> pl.Series:
    """Return floats as text, the smallest floats in Python's format."""
    is_tiny = (numbers != 0.0) & (numbers.abs() < SMALLEST_PLAIN)
    places = is_tiny.fill_null(value=False).arg_true()
    if not len(places):
        return numbers
    texts = [repr(number) for number in numbers.gather(places).to_list()]
    return numbers.cast(pl.String).scatter(places, texts)


def as_written(part: pl.DataFrame) -> pl.DataFrame:
    """Return rows as they are written: the text of tiny numbers, null for an empty text."""
    columns: list[pl.Expr | pl.Series] = []
    for column in part:
        if column.dtype == pl.Float64:
            columns.append(format_tiny(column))
        elif column.dtype == pl.String and (column == "").any():
            # Polars writes "" with quotes.
            columns.append(pl.when(pl.col(column.name) != "").then(pl.col(column.name)))
    return part.with_columns(columns)


def encode_rows(table: pl.DataFrame, is_repeat: Mask | None = None) -> Iterator[bytes]:
    """Encode a table as CSV, with the same text as pandas.DataFrame.to_csv.

    Parameters
    ----------
    table : polars.DataFrame of shape (n_rows, n_columns)
        A client table without control characters.
    is_repeat : numpy.ndarray of shape (n_rows,), optional
        The rows to leave out.

    Yields
    ------
    bytes
        Whole lines in UTF-8, the header first.
    """
    yield encode_header(table.columns)
    for start in range(0, table.height, PART_ROWS):
        part = table.slice(start, PART_ROWS)
        if is_repeat is not None:
            part = part.filter(pl.Series(~is_repeat[start : start + PART_ROWS]))
        buffer = io.BytesIO()
        as_written(part).write_csv(buffer, include_header=False)
        yield buffer.getvalue()


def encode_tables(columns: Sequence[str], tables: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Encode tables of equal columns as one CSV file.

    Yields
    ------
    bytes
        Whole lines in UTF-8, the header first.
    """
    yield encode_header(columns)
    for table in tables:
        parts = encode_rows(table)
        next(parts)
        yield from parts
