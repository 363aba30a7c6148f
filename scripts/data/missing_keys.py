"""Explains why no column of client tables identifies clients over time."""

from itertools import combinations

import numpy as np
import pandas as pd

from scripts.data import cells
from scripts.data.column_kinds import ColumnKind
from scripts.data.time_suggestion import TimeLayout

MIN_UNIQUE_FRACTION = 0.99
# Several rows of a client: a name of few values is a category, and one of hardly any repeats a key.
MIN_VALUES, MIN_ROWS_PER_VALUE, MIN_RECURRING_FRACTION = 20, 1.2, 0.5
MAX_PAIRED_COLUMNS = 12


def find_pair(table: pd.DataFrame, layout: TimeLayout, files: pd.Series) -> tuple[str, str] | None:
    """Return the first two columns that together have another value in each row of a file."""
    names = [
        name
        for name in table.columns
        if name and layout.kinds[name] is ColumnKind.OTHER and not is_measure(table[name])
    ]
    for pair in combinations(names[:MAX_PAIRED_COLUMNS], 2):
        values = table[list(pair)]
        is_new = ~values.assign(file=files).duplicated()
        recurs = (files.groupby([values[name] for name in pair]).nunique() > 1).mean()
        if is_new.mean() >= MIN_UNIQUE_FRACTION and recurs >= MIN_RECURRING_FRACTION:
            return pair
    return None


def is_measure(column: pd.Series) -> bool:
    """Return whether a column has numbers with fractions, which identify nobody."""
    return bool(column.str.contains(r"^-?\d*[.,]\d*[1-9]\d*$").any())


def find_repeated(table: pd.DataFrame, layout: TimeLayout, files: pd.Series) -> str:
    """Return a sentence about a column of clients with several rows in each file, or ""."""
    best, most = "", 0
    for name in (name for name in table.columns if name and name != layout.key):
        column = table[name]
        if layout.kinds[name] is not ColumnKind.OTHER or is_measure(column):
            continue
        n_values = column.nunique()
        n_in_files = len(pd.DataFrame({"value": column, "file": files}).drop_duplicates())
        recurs = (files.groupby(column).nunique() > 1).mean() if files.nunique() > 1 else 1
        is_client = n_values >= MIN_VALUES and recurs >= MIN_RECURRING_FRACTION
        if is_client and len(table) >= MIN_ROWS_PER_VALUE * n_in_files and n_values > most:
            best, most = name, n_values
    if not best:
        return ""
    n_rows = len(table) / len(pd.DataFrame({"v": table[best], "f": files}).drop_duplicates())
    return (
        f" {best!r} stands in {n_rows:.1f} rows of a file on average. If it is the client, export"
        " one row for each client and day, such as with the number and the sum of these rows."
    )


def describe(table: pd.DataFrame, layout: TimeLayout, sizes: list[int]) -> str:
    """Return sentences about the likeliest key where no column identifies clients, else "".

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of the files, one file after the other, as text.
    layout : TimeLayout
        The key found, if any, and whether clients recur.
    sizes : list of int
        The number of rows of each file.
    """
    if not len(table) or (layout.key and (layout.recurs or len(sizes) == 1)):
        return ""
    files = pd.Series(np.repeat(np.arange(len(sizes)), sizes), index=table.index)
    repeated = find_repeated(table, layout, files)
    if layout.key:
        if not repeated:
            return ""
        return f" Besides, {layout.key!r} has no value in two files.{repeated}"
    numbers = {name: table[name].nunique() for name in table.columns if name}
    best = max(numbers, key=lambda name: numbers[name], default="")
    nearest = (
        " Besides, no column identifies the clients, with a different value in each row of a file:"
        f" {cells.shorten(best)} comes nearest, with {numbers.get(best, 0)} different values in"
        f" {len(table)} rows."
    )
    pair = find_pair(table, layout, files)
    if pair is not None:
        example = "-".join(table[list(pair)].iloc[0])
        return (
            f"{nearest} {pair[0]!r} and {pair[1]!r} do so together: write both into one column,"
            f" such as {example!r}, in all files, also those of who left."
        )
    return f"{nearest}{repeated}"
