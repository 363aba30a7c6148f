"""Large tables of dated rows: read, sorted and cleared of repeated rows with Polars."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from scripts.core.config import Schema
from scripts.data import dated_files, dated_rows, polars_reader
from scripts.data.cells import UNLABELLED
from scripts.data.read_report import FileReading

IS_LABELLED = "\x00labelled"


def column_kinds(schema: Schema) -> dict[Any, Any]:
    """Return the type of each column of a dated table."""
    kinds: dict[Any, Any] = dict.fromkeys(dated_files.column_names(schema), pl.String)
    kinds |= dict.fromkeys((*schema.numeric, *schema.date_formats), pl.Float64)
    return kinds | dict.fromkeys((schema.target, schema.as_of), pl.Int64)


def read_files(
    paths: Sequence[Path], schema: Schema, *, has_outcomes: bool
) -> tuple[pl.DataFrame, list[FileReading]]:
    """Read files of dated rows in the order given, with one report per file."""
    kinds = column_kinds(schema)
    parts, readings = [pl.DataFrame(schema=kinds)], []
    for path in paths:
        plan = dated_files.plan_file(path, schema, has_outcomes=has_outcomes)
        if plan.refused is not None:
            readings.append(plan.refused)
            continue
        reading, tables = polars_reader.read_file(path, path.parent, plan.schema, needs_label=False)
        readings.append(reading)
        constants = [] if plan.day is None else [pl.lit(plan.day).alias(schema.as_of)]
        constants += [] if plan.schema.target else [pl.lit(UNLABELLED).alias(schema.target)]
        parts += [table.with_columns(constants).select(*kinds).cast(kinds) for table in tables]
    return pl.concat(parts), readings


def sort_rows(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return rows by client and day, the last one of each, as `dated_rows.sort_rows` does."""
    keys = [schema.client_key, schema.as_of]
    ordered = table.with_columns((pl.col(schema.target) >= 0).alias(IS_LABELLED)).sort(
        [*keys, IS_LABELLED], maintain_order=True
    )
    is_last = pl.any_horizontal(pl.col(key) != pl.col(key).shift(-1) for key in keys)
    return ordered.filter(is_last.fill_null(value=True)).drop(IS_LABELLED)


def number_clients(table: pl.DataFrame, schema: Schema) -> pl.Series:
    """Return the number of the client of each row, of rows by client."""
    key = table[schema.client_key]
    return (key != key.shift()).fill_null(value=False).cum_sum().cast(pl.Int64)


def to_pandas(table: pl.DataFrame) -> pd.DataFrame:
    """Return a table of pandas, with NaN for missing numbers."""
    columns: dict[str, Any] = {}
    for column in table:
        if column.dtype == pl.String:
            texts = column.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
            columns[column.name] = pd.Series(texts.to_pandas(), dtype="str").array
        else:
            columns[column.name] = column.to_numpy()
    return pd.DataFrame(columns, copy=False)


def read_sorted(
    paths: Sequence[Path], test_paths: Sequence[Path], schema: Schema, *, has_outcomes: bool
) -> tuple[pd.DataFrame, int, list[FileReading], list[FileReading]]:
    """Read files and test files into rows by client and day, with the numbers of the clients.

    Returns
    -------
    tuple of pandas.DataFrame, int, list of FileReading and list of FileReading
        The rows, the number of rows with the repeated ones, and the reports of both. Where a row
        is in both, it is the test's.
    """
    read, readings = read_files(paths, schema, has_outcomes=has_outcomes)
    tested, test_readings = read_files(test_paths, schema, has_outcomes=has_outcomes)
    flags = [pl.lit(value=of_test).alias(dated_rows.OF_TEST) for of_test in (False, True)]
    both = pl.concat([read.with_columns(flags[0]), tested.with_columns(flags[1])])
    ordered = sort_rows(both, schema)
    numbers = number_clients(ordered, schema).alias(dated_rows.NUMBER)
    table = to_pandas(ordered.with_columns(numbers))
    return table, both.height, readings, test_readings
