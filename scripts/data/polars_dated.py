"""Large tables of dated rows: read, sorted and cleared of repeated rows with Polars."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import accumulate, chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.data import client_dates, dated_files, dated_rows, polars_dataset, polars_reader
from scripts.data.arrays import Floats, Places
from scripts.data.cells import UNLABELLED
from scripts.data.dated_rows import Flags, Labels
from scripts.data.read_report import FileReading

# Among so many numbers a fraction is looked for first.
TRIED_ROWS = 100
# Rows of a file are kept in parts of so many, such as an extract.
FILE_ROWS = 2**20
IS_LABELLED = "\x00labelled"
# The place of a row in the order of the files.
ORIGIN = "\x00origin"


def leaving_kind(schema: Schema) -> Any:
    """Return the type of the column of leaving: text of a status, or a day."""
    return pl.String if schema.status_columns else pl.Float64


def column_kinds(schema: Schema) -> dict[Any, Any]:
    """Return the type of each column of the rows of files that can hold the cells of any file."""
    rows = client_dates.row_schema(schema)
    kinds: dict[Any, Any] = dict.fromkeys(rows.columns, pl.String)
    kinds |= dict.fromkeys(rows.numeric, pl.Float64)
    kinds |= {name: leaving_kind(schema) for name in schema.leaving_names}
    return kinds | dict.fromkeys((schema.target, schema.as_of), pl.Int64)


def empty_rows(schema: Schema) -> pl.DataFrame:
    """Return no rows of files."""
    return pl.DataFrame(schema=column_kinds(schema) | {dated_rows.OF_TEST: pl.Boolean})


def get_floats(numbers: pl.Series) -> Floats:
    """Return a column of numbers or days, NaN where missing."""
    return numbers.cast(pl.Float64).to_numpy()


def repeat(name: str, value: int | bool, like: pl.Series) -> pl.Series:
    """Return a column of one value, in chunks as of another column."""
    return polars_reader.split_like(like, pl.Series(name, [value]).new_from_index(0, len(like)))


def to_columns(derived: dict[str, Floats]) -> list[pl.Series]:
    """Return derived columns, null where missing."""
    return [pl.Series(name, values, nan_to_null=True) for name, values in derived.items()]


def derive_alone(columns: dict[str, Floats], schema: Schema) -> list[pl.Series]:
    """Return the columns derived from single rows: days as integers, and ratios."""
    derived = to_columns(client_dates.derive_alone(columns, schema))
    days = {client_dates.days_since(name) for name in schema.date_formats}
    return [column.cast(pl.Int64) if column.name in days else column for column in derived]


def complete(table: pl.DataFrame, schema: Schema, day: int | None) -> pl.DataFrame:
    """Return rows of a file with all columns derived from single rows, without other dates.

    Parameters
    ----------
    table : polars.DataFrame of shape (n_rows, n_columns)
        A part of a file. It is derived while it is in the processor's cache.
    schema : Schema
        The schema by which files are read.
    day : int or None
        The day of the rows, counted from 1970-01-01, None where a column has it.

    Returns
    -------
    polars.DataFrame of shape (n_rows, n_columns)
        The columns of `column_kinds`: with the day and target that a file lacks. Numbers without
        fractions may be integers, as they were read.
    """
    key, columns = table[schema.client_key], {column.name: column for column in table}
    if day is not None:
        columns[schema.as_of] = repeat(schema.as_of, day, key)
    columns.setdefault(schema.target, repeat(schema.target, UNLABELLED, key))
    ratios = (schema.ratios or {}).values()
    dates = [schema.as_of, *schema.date_formats] if schema.date_formats else []
    sources = {name: get_floats(columns[name]) for name in {*chain(*ratios), *dates}}
    derived = derive_alone(sources, schema)
    columns |= {column.name: polars_reader.split_like(key, column) for column in derived}
    kinds = column_kinds(schema).items()
    # Not as a query, whose planning takes longer than the work on a block.
    return pl.DataFrame(
        [columns[name] if kind == pl.Float64 else columns[name].cast(kind) for name, kind in kinds]
    )


def shortened_names(schema: Schema) -> tuple[str, ...]:
    """Return the columns of rows that are kept in as few bytes as they need."""
    return (*client_dates.row_schema(schema).numeric, schema.as_of, schema.target)


def shorten(numbers: pl.Series) -> pl.Series:
    """Return numbers in as few bytes as they need, and fractions unchanged.

    Most columns have small whole numbers.
    """
    if numbers.dtype == pl.Float64:
        if polars_reader.has_fractions(numbers.head(TRIED_ROWS)):
            return numbers
        whole = numbers.cast(pl.Int32, strict=False)
        if whole.null_count() != numbers.null_count() or (whole != numbers).any():
            return numbers
        numbers = whole
    return numbers.shrink_dtype()


def unify_kinds(parts: Sequence[pl.DataFrame], schema: Schema) -> list[pl.DataFrame]:
    """Return parts with one type for each column of numbers: integers if they are in all parts."""
    kinds: dict[Any, Any] = {}
    for name in shortened_names(schema):
        of_parts = {part.schema[name] for part in parts}
        if len(of_parts) > 1:
            shared = pl.concat(
                [pl.Series(dtype=kind).to_frame() for kind in of_parts], how="vertical_relaxed"
            )
            kinds[name] = shared.dtypes[0]
    return [part.cast(kinds) for part in parts] if kinds else list(parts)


def unite_blocks(blocks: Sequence[pl.DataFrame], schema: Schema) -> Iterator[pl.DataFrame]:
    """Yield the blocks of a file in parts of some million rows, each column in one piece.

    Rows are gathered from one piece in half of the time.
    """
    starts = [0, *accumulate(block.height for block in blocks)]
    for _, of_part in groupby(range(len(blocks)), key=lambda place: starts[place] // FILE_ROWS):
        yield pl.concat(unify_kinds([blocks[place] for place in of_part], schema), rechunk=True)


def keep_block(
    block: pl.DataFrame, schema: Schema, day: int | None, *, of_test: bool
) -> pl.DataFrame:
    """Return a block of a file as its rows are kept until the end: shorter, with OF_TEST."""
    rows, short = complete(block, schema, day), {*shortened_names(schema)}
    flags = repeat(dated_rows.OF_TEST, of_test, rows[schema.client_key])
    return pl.DataFrame([*(shorten(c) if c.name in short else c for c in rows), flags])


def read_files(
    paths: Sequence[Path], schema: Schema, *, has_outcomes: bool, of_test: bool
) -> tuple[list[pl.DataFrame], list[FileReading]]:
    """Read files of dated rows in the order given into parts with OF_TEST, with a report each."""
    parts: list[pl.DataFrame] = []
    readings = []
    for path in paths:
        plan = dated_files.plan_file(path, schema, has_outcomes=has_outcomes)
        if plan.refused is not None:
            readings.append(plan.refused)
            continue
        keep = partial(keep_block, schema=schema, day=plan.day, of_test=of_test)
        reading, blocks = polars_reader.read_file(
            path, path.parent, plan.schema, needs_label=False, keep=keep
        )
        readings.append(reading)
        parts += unite_blocks(blocks, schema)
    return parts, readings


def find_repeated(ordered: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Return a mask of the rows whose client and day the next row has as well."""
    is_repeated = pl.all_horizontal(pl.col(key) == pl.col(key).shift(-1) for key in keys)
    return ordered.select(is_repeated.fill_null(value=False)).to_series()


def sort_rows(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return rows by client and day, the last one of each, as `dated_rows.sort_rows` does."""
    keys = [schema.client_key, schema.as_of]
    if table[schema.as_of].is_sorted():
        # Files mostly have one day each, and follow each other. One key takes half the time.
        ordered = table.sort(schema.client_key, maintain_order=True)
        if not find_repeated(ordered, keys).any():
            return ordered
    ordered = table.with_columns((pl.col(schema.target) >= 0).alias(IS_LABELLED)).sort(
        [*keys, IS_LABELLED], maintain_order=True
    )
    repeated = find_repeated(ordered, keys)
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


def have_before(numbers: pl.Series) -> Flags:
    """Return a mask of the rows with an earlier row of the same client."""
    is_same: Flags = (numbers == numbers.shift()).fill_null(value=False).to_numpy()
    return is_same


def find_changes(
    sources: pl.DataFrame, numbers: pl.Series, schema: Schema, origin: Places | None = None
) -> list[pl.Series]:
    """Return the changes of rows by client, a part at a time.

    Parameters
    ----------
    sources : polars.DataFrame of shape (n_rows, n_columns)
        The columns of `schema.changes`.
    numbers : polars.Series of shape (n_rows,)
        The number of the client of each row.
    schema : Schema
        With `changes`.
    origin : numpy.ndarray of shape (n_rows,), optional
        The place of each row in `sources`, by default its own.
    """
    values = {name: get_floats(sources[name]) for name in schema.changes or ()}
    has_before, found = have_before(numbers), []
    for start in range(0, max(1, len(numbers)), polars_dataset.PART_ROWS):
        # With the row before the first one.
        rows = slice(max(start - 1, 0), start + polars_dataset.PART_ROWS)
        places = rows if origin is None else origin[rows]
        columns = {name: of_name[places] for name, of_name in values.items()}
        before = dated_rows.find_before(columns, has_before[rows], schema)
        changes = to_columns(client_dates.derive_changes(columns, before, schema))
        found.append(pl.DataFrame(changes)[start - rows.start :])
    return pl.concat(found).get_columns()


def add_changes(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return rows by client and day with NUMBER and the changes, null where missing."""
    numbers = number_clients(rows, schema)
    changes = find_changes(rows, numbers, schema)
    return rows.with_columns(numbers.alias(dated_rows.NUMBER), *changes)


def place_names(schema: Schema) -> tuple[str, ...]:
    """Return the columns for order and use of rows: key, day, label, OF_TEST, that of leaving."""
    own = schema.client_key, schema.as_of, schema.target, dated_rows.OF_TEST
    return (*own, *schema.leaving_names)


def find_places(parts: Sequence[pl.DataFrame], schema: Schema) -> pl.DataFrame:
    """Return the columns of `place_names`, ORIGIN, NUMBER and changes of rows, by client and day.

    The rows themselves stay where they are: to sort all columns takes longer than the rest.
    """
    chosen = [part.select(place_names(schema)) for part in parts]
    places = sort_rows(pl.concat(chosen).with_row_index(ORIGIN), schema)
    places = places.cast(dict.fromkeys((schema.as_of, schema.target), pl.Int64))
    numbers, origin = number_clients(places, schema), places[ORIGIN].to_numpy()
    sources = pl.concat([part.select(schema.changes or ()) for part in parts])
    changes = find_changes(sources, numbers, schema, origin)
    return places.with_columns(numbers.alias(dated_rows.NUMBER), *changes)


class FileRows:
    """Rows in the order of files, in parts.

    The rows of a day are mostly in a few parts near each other, and taken from them as they are.
    Where they are spread, all parts become one, once: a search among many parts takes longer.
    """

    def __init__(self, parts: Sequence[pl.DataFrame]) -> None:
        self.parts = parts

    def gather(self, places: Places, columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of the rows at some places."""
        if not len(places):
            return self.parts[0].select(columns).clear()
        starts = np.cumsum([0, *(part.height for part in self.parts)])
        ends = np.array([places.min(), places.max()])
        first, last = (np.searchsorted(starts, ends, side="right") - 1).tolist()
        if 2 * (starts[last + 1] - starts[first]) > starts[-1] and len(self.parts) > 1:
            self.parts = [pl.concat(self.parts, rechunk=True)]
            first = last = 0
        near = pl.concat([part.select(columns) for part in self.parts[first : last + 1]])
        gathered: pl.DataFrame = near[places - starts[first]]
        return gathered


def cut_parts(of_days: Iterable[Places]) -> Iterator[Places]:
    """Yield the places of rows in parts: of several whole days, or of one day."""
    waiting: list[Places] = []
    for places in of_days:
        if sum(map(len, (*waiting, places))) > polars_dataset.PART_ROWS and waiting:
            yield np.concatenate(waiting)
            waiting = []
        if len(places) <= polars_dataset.PART_ROWS:
            waiting.append(places)
            continue
        yield from np.split(
            places, range(polars_dataset.PART_ROWS, len(places), polars_dataset.PART_ROWS)
        )
    if waiting:
        yield np.concatenate(waiting)


class PolarsRows(Struct, frozen=True, dict=True):
    """Rows by client and day with the derived columns, as a table of Polars.

    `rows` has NUMBER and `dated_rows.OF_TEST` as well, and null for a missing number.
    """

    rows: pl.DataFrame
    schema: Schema

    @property
    def places(self) -> pd.DataFrame:
        """Return the columns of `place_names` and NUMBER of each row."""
        return to_pandas(self.rows.select(*place_names(self.schema), dated_rows.NUMBER))

    @property
    def days(self) -> NDArray[np.int64]:
        """Return the day of each row, counted from 1970-01-01."""
        days: NDArray[np.int64] = self.rows[self.schema.as_of].to_numpy()
        return days

    def gather(self, rows: Places, columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of some rows."""
        return self.rows.select(columns)[rows]

    @cached_property
    def fractional(self) -> set[str]:
        """The columns with a fraction in any row."""
        return polars_reader.fractional_columns(self.rows)

    def _format_days(self, rows: Places) -> pl.Series:
        """Return the days of rows by day as ISO dates."""
        # Most parts are of one day.
        ends = self.days[rows[[0, -1]]] if len(rows) else self.days[:0]
        days = ends[:1] if len(rows) and ends[0] == ends[1] else self.days[rows]
        found, n_rows = client_dates.count_days(days)
        texts = pl.Series(self.schema.as_of, client_dates.format_days(found).tolist(), pl.String)
        if len(days) < len(rows):
            return texts.new_from_index(0, len(rows))
        return texts.gather(np.repeat(np.arange(len(found)), n_rows))

    def take(self, rows: Places, labels: Labels | None = None) -> pl.DataFrame:
        """Return rows, by day and client, in the columns of a dataset, the day as text."""
        columns = client_dates.dataset_schema(self.schema).columns
        written = [self._format_days(rows)]
        if labels is not None:
            written.append(pl.Series(self.schema.target, labels[rows]))
        others = [name for name in columns if name not in {column.name for column in written}]
        return self.gather(rows, others).with_columns(written).select(columns)

    def select(self, chosen: Flags, labels: Labels | None = None) -> pd.DataFrame:
        """Return some rows as a dataset of pandas, with other labels than their own."""
        schema = client_dates.dataset_schema(self.schema)
        rows = dated_rows.order_by_day(self.days, chosen)
        table = polars_reader.unite([self.take(rows, labels)])
        integers = polars_dataset.integer_columns(table, schema)
        return polars_dataset.to_pandas(table, schema, integers)

    def encode(self, chosen: Flags, labels: Labels) -> Iterator[bytes]:
        """Encode some rows with their labels as the file of a dataset, a part at a time."""
        parts = list(cut_parts(dated_rows.group_by_day(self.days, chosen)))
        # A column without fractions among these rows is written as integers.
        fractional, unclear = set[str](), {*self.fractional}
        for part in parts:
            if not unclear:
                break
            fractional |= polars_reader.fractional_columns(self.gather(part, sorted(unclear)))
            unclear -= fractional
        tables = (polars_reader.cast_numbers(self.take(part, labels), fractional) for part in parts)
        names = client_dates.dataset_schema(self.schema).columns
        return polars_dataset.encode_tables(names, tables)


class PlacedRows(PolarsRows, frozen=True, dict=True):
    """Rows with most columns in the order of files.

    `rows` has the result of `find_places`, and `others` the other columns.
    """

    others: FileRows

    def gather(self, rows: Places, columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of some rows by client and day."""
        here = [name for name in columns if name in self.rows.columns]
        elsewhere = [name for name in columns if name not in here]
        if not elsewhere:
            return super().gather(rows, here)
        origin = self.rows[ORIGIN].to_numpy()[rows].astype(np.int64)
        taken = self.others.gather(origin, elsewhere)
        return taken.hstack(super().gather(rows, here)).select(columns) if here else taken

    @cached_property
    def fractional(self) -> set[str]:
        """The columns with a fraction in any row."""
        found = polars_reader.fractional_columns(self.rows)
        for part in self.others.parts:
            found |= polars_reader.fractional_columns(part.drop(found, strict=False))
        return found


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
    parts, readings = read_files(paths, schema, has_outcomes=has_outcomes, of_test=False)
    tested, test_readings = read_files(test_paths, schema, has_outcomes=has_outcomes, of_test=True)
    parts = unify_kinds([*parts, *tested], schema) or [empty_rows(schema)]
    others = FileRows([part.drop(place_names(schema)) for part in parts])
    rows = PlacedRows(find_places(parts, schema), schema, others)
    return rows, sum(part.height for part in parts), readings, test_readings


def read_records(path: Path, schema: Schema) -> tuple[dict[str, Any], FileReading]:
    """Read a large file of outcomes into columns, NaN for a missing day."""
    reading, tables = polars_reader.read_file(path, path.parent, schema)
    table = to_pandas(pl.concat([polars_reader.empty_table(schema), *tables]))
    return {str(name): table[name].array for name in table}, reading
