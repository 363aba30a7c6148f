"""Counts of text columns by Polars: values, numbers and kinds, equal to the counts by the rules."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from scripts.core import dates
from scripts.core.config import NumberMarks, Schema
from scripts.data import column_kinds, polars_numbers, polars_reader, polars_repeats
from scripts.data.column_kinds import ColumnCounts, KindCounts
from scripts.data.read_report import FileReading

CELL, COUNT = pl.col("cell"), pl.col("count")
DATE, EMAIL, URL, PHONE = (
    f"^(?i:{pattern.pattern})$"
    for pattern in (column_kinds.DATE, column_kinds.EMAIL, column_kinds.URL, column_kinds.PHONE)
)
NO_DAY = f"^(?:{dates.NO_DAY})$"
PHONE_SIGN = f"^(?:{column_kinds.PHONE_SIGN.pattern})"


def read_texts(
    paths: Sequence[Path], schema: Schema
) -> tuple[list[pl.DataFrame], list[FileReading]]:
    """Read every column of files as text, without tables of empty files."""
    readings, tables = [], []
    for path in paths:
        reading, parts = polars_reader.read_file(path, path.parent, schema, as_text=True)
        readings.append(reading)
        if parts:
            tables.append(pl.concat(parts))
    return tables, readings


def unite(tables: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame:
    """Return the different rows of the tables with all of some columns."""
    # By brackets: `select` takes the name * for all columns.
    rows = pl.concat([table[list(names)] for table in tables if {*names} <= {*table.columns}])
    return rows.filter(pl.Series(~polars_repeats.find_repeats(rows)))


def keep_last(table: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return the last row of each value of a column."""
    return table.filter(table[key].is_last_distinct())


def count_rows(values: pl.DataFrame, has_kind: pl.Expr) -> int:
    """Count the rows of the values that have a kind."""
    return int(values.filter(has_kind)["count"].sum())


def count_ascii_kinds(values: pl.DataFrame) -> KindCounts:
    """Count the kinds of different filled cells in ASCII, as `column_kinds.count_kinds` does."""
    n_characters = CELL.str.len_bytes()
    n_digits = CELL.str.count_matches("[0-9]")
    digits = column_kinds.PHONE_DIGITS
    may_be_phone = (n_characters >= digits.start) & CELL.str.contains(PHONE_SIGN)
    may_be_url = CELL.str.contains("/", literal=True) | CELL.str.starts_with("www.")
    numbers = values.filter(may_be_phone)
    is_date = (n_characters >= column_kinds.MIN_DATE) & CELL.str.contains(DATE)
    return KindCounts(
        n_cells=int(values["count"].sum()),
        n_distinct=values.height,
        n_dates=count_rows(values, is_date),
        n_emails=count_rows(
            values.filter(CELL.str.contains("@", literal=True)), CELL.str.contains(EMAIL)
        ),
        n_urls=count_rows(values.filter(may_be_url), CELL.str.contains(URL)),
        n_phones=count_rows(
            numbers,
            n_digits.is_between(digits.start, digits.stop - 1) & CELL.str.contains(PHONE),
        ),
        n_words=int(values.select((CELL.str.count_matches(r"\S+") * COUNT).sum()).item()),
        n_no_days=count_rows(values.filter(CELL.str.contains(NO_DAY)), ~is_date),
    )


def count_kinds(values: pl.DataFrame) -> KindCounts:
    """Count the kinds of different filled cells, of which each stands in a number of rows."""
    is_ascii = CELL.str.len_bytes() == CELL.str.len_chars()
    # Python and Polars differ in the digits and letters of other scripts.
    others = dict(values.filter(~is_ascii).iter_rows())
    return count_ascii_kinds(values.filter(is_ascii)) + column_kinds.count_kinds(others)


def count_column(column: pl.Series, marks: NumberMarks) -> ColumnCounts:
    """Count the values, numbers and kinds of a text column.

    Parameters
    ----------
    column : polars.Series of shape (n_rows,)
        Cells without blanks at their ends and without control characters.
    marks : NumberMarks
        The marks declared for the column.

    Returns
    -------
    ColumnCounts
        As by the rules, cell by cell.
    """
    values = column.alias("cell").value_counts()
    filled = values.filter(CELL != "")
    number, is_number = polars_numbers.parse_number(CELL, marks, None)
    numbers = filled.select(COUNT, number=number, is_number=is_number).filter("is_number")
    return ColumnCounts(
        n_rows=len(column),
        n_values=values.height,
        n_most=int(values.select(COUNT.max()).item() or 0),
        n_numbers=int(numbers["count"].sum()),
        has_fractions=polars_reader.has_fractions(numbers["number"]),
        kinds=count_kinds(filled),
    )
