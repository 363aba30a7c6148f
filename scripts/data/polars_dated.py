"""Large tables of dated rows: read, sorted and cleared of repeated rows with Polars."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.data import client_dates, dated_files, dated_rows, polars_dataset, polars_reader
from scripts.data.arrays import Floats
from scripts.data.cells import UNLABELLED
from scripts.data.dated_rows import Flags, Labels
from scripts.data.read_report import FileReading

IS_LABELLED = "\x00labelled"
# The place of a row in the order of the files.
ORIGIN = "\x00origin"


def column_kinds(schema: Schema) -> dict[Any, Any]:
    """Return the type of each column of a dated table."""
    kinds: dict[Any, Any] = dict.fromkeys(dated_files.column_names(schema), pl.String)
    kinds |= dict.fromkeys((*schema.numeric, *schema.date_formats), pl.Float64)
    return kinds | dict.fromkeys((schema.target, schema.as_of), pl.Int64)


def complete(table: pl.DataFrame, schema: Schema, day: int | None) -> pl.DataFrame:
    """Return rows in the columns of a dated table, with the day and target that a file lacks."""
    kinds = column_kinds(schema)
    constants = [] if day is None else [pl.lit(day).alias(schema.as_of)]
    if schema.target not in table.columns:
        constants.append(pl.lit(UNLABELLED).alias(schema.target))
    return table.with_columns(constants).select(*kinds).cast(kinds)


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
        parts += [complete(table, schema, plan.day) for table in tables]
    return pl.concat(parts), readings


def sort_rows(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return rows by client and day, the last one of each, as `dated_rows.sort_rows` does."""
    keys = [schema.client_key, schema.as_of]
    ordered = table.with_columns((pl.col(schema.target) >= 0).alias(IS_LABELLED)).sort(
        [*keys, IS_LABELLED], maintain_order=True
    )
    is_repeated = pl.all_horizontal(pl.col(key) == pl.col(key).shift(-1) for key in keys)
    repeated = ordered.select(is_repeated.fill_null(value=False)).to_series()
    ordered = ordered.drop(IS_LABELLED)
    return ordered.filter(~repeated) if repeated.any() else ordered


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


def get_floats(rows: pl.DataFrame, name: str) -> Floats:
    """Return a column of numbers or days, NaN where missing."""
    return rows[name].cast(pl.Float64).to_numpy()


def find_sources(schema: Schema) -> set[str]:
    """Return the columns that derived columns are made of."""
    sources = {*(schema.changes or ()), *schema.date_formats, schema.as_of}
    return sources | {name for pair in (schema.ratios or {}).values() for name in pair}


def derive(rows: pl.DataFrame, before: dict[str, Floats], schema: Schema) -> list[pl.Series]:
    """Return the derived columns of rows, null where missing."""
    columns = {name: get_floats(rows, name) for name in find_sources(schema)}
    derived = client_dates.derive(columns, before, schema)
    return [pl.Series(name, values, nan_to_null=True) for name, values in derived.items()]


def have_before(numbers: pl.Series) -> Flags:
    """Return which rows by client have a row of the same client before them."""
    is_same: Flags = (numbers == numbers.shift()).fill_null(value=False).to_numpy()
    return is_same


def add_derived(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return rows by client and day with NUMBER and the derived columns, null where missing."""
    numbers = number_clients(rows, schema)
    columns = {name: get_floats(rows, name) for name in schema.changes or ()}
    before = dated_rows.find_before(columns, have_before(numbers), schema)
    return rows.with_columns(numbers.alias(dated_rows.NUMBER), *derive(rows, before, schema))


def find_places(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return key, day, label, OF_TEST, ORIGIN and NUMBER of rows in any order, by client and day.

    The rows themselves stay where they are: to sort all columns takes longer than the rest.
    """
    names = (schema.client_key, schema.as_of, schema.target, dated_rows.OF_TEST)
    places = sort_rows(rows.select(names).with_row_index(ORIGIN), schema)
    return places.with_columns(number_clients(places, schema).alias(dated_rows.NUMBER))


def add_derived_at(rows: pl.DataFrame, places: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return rows in any order with the derived columns, as `add_derived` does for rows by client.

    A row that is left out of the places has no row before.
    """
    origin = places[ORIGIN].to_numpy()
    in_order = {name: get_floats(rows, name)[origin] for name in schema.changes or ()}
    has_before = have_before(places[dated_rows.NUMBER])
    before = {}
    for name, values in dated_rows.find_before(in_order, has_before, schema).items():
        before[name] = np.full(rows.height, np.nan)
        before[name][origin] = values
    return rows.with_columns(derive(rows, before, schema))


@dataclass(frozen=True)
class PolarsRows:
    """Rows by client and day with the derived columns, as a table of Polars.

    `rows` has NUMBER and `dated_rows.OF_TEST` as well, and null for a missing number.
    """

    rows: pl.DataFrame
    schema: Schema

    @property
    def table(self) -> pd.DataFrame:
        """Return all rows as a table of pandas, days as numbers."""
        return to_pandas(self.rows)

    @property
    def places(self) -> pd.DataFrame:
        """Return key, day, own label, OF_TEST and NUMBER of each row."""
        schema = self.schema
        names = (schema.client_key, schema.as_of, schema.target)
        return to_pandas(self.rows.select(*names, dated_rows.OF_TEST, dated_rows.NUMBER))

    @property
    def days(self) -> NDArray[np.int64]:
        """Return the day of each row, counted from 1970-01-01."""
        days: NDArray[np.int64] = self.rows[self.schema.as_of].to_numpy()
        return days

    def gather(self, rows: NDArray[np.int64], columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of some rows."""
        return self.rows.select(columns)[rows]

    def take(self, chosen: Flags, labels: Labels | None = None) -> pl.DataFrame:
        """Return some rows in the columns of a dataset, by day and client, the day as text."""
        rows = np.flatnonzero(chosen)
        days = self.days[rows]
        rows = rows[dated_rows.order_by_day(days)]
        taken = self.gather(rows, client_dates.dataset_schema(self.schema).columns)
        if labels is not None:
            taken = taken.with_columns(pl.Series(self.schema.target, labels[rows]))
        found, n_rows = client_dates.count_days(days)
        texts = pl.Series(self.schema.as_of, client_dates.format_days(found).tolist(), pl.String)
        return taken.with_columns(texts.gather(np.repeat(np.arange(len(found)), n_rows)))

    def select(self, chosen: Flags, labels: Labels | None = None) -> pd.DataFrame:
        """Return some rows as a dataset of pandas, with other labels than their own."""
        schema = client_dates.dataset_schema(self.schema)
        rows = polars_reader.unite([self.take(chosen, labels)])
        return polars_dataset.to_pandas(rows, schema, polars_dataset.integer_columns(rows, schema))

    def encode(self, chosen: Flags, labels: Labels) -> Iterator[bytes]:
        """Encode some rows with their labels as the file of a dataset."""
        return polars_dataset.encode_rows(polars_reader.unite([self.take(chosen, labels)]))


@dataclass(frozen=True)
class PlacedRows(PolarsRows):
    """Rows with the derived columns in the order of files, and their order by client and day.

    `order` is the result of `find_places` for `rows`.
    """

    order: pl.DataFrame

    @property
    def table(self) -> pd.DataFrame:
        """Return all rows by client and day as a table of pandas, days as numbers."""
        origin = self.order[ORIGIN].to_numpy()
        return to_pandas(self.rows[origin].with_columns(self.order[dated_rows.NUMBER]))

    @property
    def places(self) -> pd.DataFrame:
        """Return key, day, own label, OF_TEST and NUMBER of each row."""
        return to_pandas(self.order.drop(ORIGIN))

    @property
    def days(self) -> NDArray[np.int64]:
        """Return the day of each row by client and day, counted from 1970-01-01."""
        days: NDArray[np.int64] = self.order[self.schema.as_of].to_numpy()
        return days

    def gather(self, rows: NDArray[np.int64], columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of some rows by client and day."""
        return self.rows.select(columns)[self.order[ORIGIN].to_numpy()[rows]]


def read_sorted(
    paths: Sequence[Path], test_paths: Sequence[Path], schema: Schema, *, has_outcomes: bool
) -> tuple[PlacedRows, int, list[FileReading], list[FileReading]]:
    """Read files and test files into rows by client and day with the derived columns.

    Returns
    -------
    tuple of PlacedRows, int, list of FileReading and list of FileReading
        The rows, the number of rows with the repeated ones, and the reports of both. Where a row
        is in both, it is the test's.
    """
    read, readings = read_files(paths, schema, has_outcomes=has_outcomes)
    tested, test_readings = read_files(test_paths, schema, has_outcomes=has_outcomes)
    flags = [pl.lit(value=of_test).alias(dated_rows.OF_TEST) for of_test in (False, True)]
    # In one piece, since rows are taken out of it by their places.
    both = pl.concat([read.with_columns(flags[0]), tested.with_columns(flags[1])], rechunk=True)
    places = find_places(both, schema)
    rows = PlacedRows(add_derived_at(both, places, schema), schema, places)
    return rows, both.height, readings, test_readings


def read_records(path: Path, schema: Schema) -> tuple[dict[str, Any], FileReading]:
    """Read a large file of outcomes into columns, NaN for a missing day."""
    reading, tables = polars_reader.read_file(path, path.parent, schema)
    table = to_pandas(pl.concat([polars_reader.empty_table(schema), *tables]))
    return {str(name): table[name].array for name in table}, reading
