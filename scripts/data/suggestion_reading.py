"""Reads an unknown folder of client tables as text, for suggestions about it."""

from pathlib import Path
from typing import Any, cast

import pandas as pd
from msgspec import Struct

from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    cells,
    csv_reader,
    read_report,
    schema_inference,
    table_reader,
)
from scripts.data.csv_reader import RefusedFileError
from scripts.data.number_suggestion import MARKS, N_SAMPLED
from scripts.data.read_report import FileReading

# A second header has values in most columns that no row has.
MIN_DESCRIBED_FRACTION = 0.8
MIN_DESCRIBED = 2
# A key and a measure at least.
MIN_NAMED = 2
# A column with more values is hardly categorical, and single values then predict nothing.
MAX_CATEGORIES = 50


class FileTable(Struct, frozen=True):
    """A file read as text."""

    path: Path
    table: pd.DataFrame


class FolderReading(Struct, frozen=True):
    """The files of a folder as text: files with the columns of most rows, and further files."""

    tables: list[FileTable]
    others: list[FileTable]
    readings: list[FileReading]
    described: list[str]
    lacking: dict[str, list[str]]

    @property
    def table(self) -> pd.DataFrame:
        """All rows of the files with the common columns."""
        return pd.concat([file.table for file in self.tables], ignore_index=True)

    @property
    def sizes(self) -> list[int]:
        """The number of rows of each file with the common columns."""
        return [len(file.table) for file in self.tables]


def read_header_line(path: Path) -> str:
    """Return the first line of a file, "" of an empty or unreadable file."""
    try:
        with path.open("rb") as handle:
            return next(csv_reader.iterate_lines(handle, FileReading(path)), (0, ""))[1]
    except RefusedFileError:
        return ""


def describe_title(line: str) -> str:
    """Return the reason against a first line that names no columns."""
    return (
        f"its first line is {cells.shorten(line.strip())}; expected the names of all columns there,"
        " and no title above them"
    )


def find_separator(paths: list[Path]) -> tuple[str, str]:
    """Return the separator to declare and the first column name of the first file with a header."""
    for path in paths:
        line = read_header_line(path)
        if line.startswith(csv_reader.CONFLICT):
            continue
        splits = csv_reader.try_separators(line, csv_reader.AUTO) if line.strip() else {"": [""]}
        widest = max(splits, key=lambda mark: len(splits[mark]))
        if len(splits[widest]) > 1:
            several = sum(len(names) > 1 for names in splits.values()) > 1
            named = [name for name in splits[widest] if name]
            if len(named) < MIN_NAMED or named[0].casefold().startswith("sep="):
                raise DatasetError(f"{path}: {describe_title(line)}.")
            return (widest if several else csv_reader.AUTO), named[0]
    if not paths:
        raise DatasetError("No CSV file was given.")
    # The reason is in the report; if the file is readable, the first line is no header.
    nothing = Schema(target="", ids=(), numeric=())
    reading, _ = table_reader.read_file(paths[0], paths[0].parent, nothing, as_text=True)
    reason = read_report.first_reasons(reading)[0]
    if reading.header:
        reason = describe_title(reading.header[0])
    raise DatasetError(f"{paths[0].parent} has no CSV with a header. {paths[0].name}: {reason}.")


def find_description(table: pd.DataFrame) -> list[str]:
    """List the columns described by the first row, if the first row is a second header.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows, as text.

    Returns
    -------
    list of str
        The columns whose first row is the only text among numbers, or a category of no other row.
        Empty if these are too few of the comparable columns.
    """
    rest, described, n_comparable, n_numbers = table.iloc[1:], list[str](), 0, 0
    for name in table.columns if len(rest) else ():
        first, values = table[name].iloc[0], rest[name].unique()
        filled = [text for text in values[:N_SAMPLED] if text]
        is_number = bool(filled) and all(
            any(cells.is_number(text, marks) for marks in MARKS) for text in filled
        )
        if not first or not (is_number or len(filled) <= MAX_CATEGORIES):
            continue
        n_comparable += 1
        if first not in set(values) and not any(cells.is_number(first, m) for m in MARKS):
            described.append(name)
            n_numbers += is_number
    is_enough = len(described) >= MIN_DESCRIBED_FRACTION * n_comparable
    return described if is_enough and (n_numbers or len(described) > MIN_DESCRIBED) else []


def read_folder(paths: list[Path], separator: str) -> FolderReading:
    """Read the files of a folder as text, and part files with further columns from them.

    Raises
    ------
    DatasetError
        If no file has a usable row.
    """
    # One of the marks that a config may name.
    schema = Schema(target="", ids=(), numeric=(), separator=cast("Any", separator))
    readings, found = [], []
    for path in paths:
        reading, columns = table_reader.read_file(path, path.parent, schema, as_text=True)
        readings.append(reading)
        table = pd.DataFrame(columns, dtype="str")
        if len(table):
            found.append(FileTable(path, table))
    if not found:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints(readings)}")
    widest = max(found, key=lambda file: file.table.size)
    names = set(widest.table.columns)
    alike = [2 * len(names & set(file.table.columns)) > len(names) for file in found]
    same = [file for file, is_alike in zip(found, alike, strict=True) if is_alike]
    others = [file for file, is_alike in zip(found, alike, strict=True) if not is_alike]
    common = schema_inference.common_names(
        [(list(file.table.columns), len(file.table)) for file in same]
    )
    # A file of today's clients may lack the label.
    filled = [file.table.reindex(columns=common, fill_value="") for file in same]
    described = find_description(pd.concat(filled))
    if described:
        filled[0] = filled[0].iloc[1:]
    tables = [FileTable(file.path, table) for file, table in zip(same, filled, strict=True)]
    lacking = {
        file.path.name: missing
        for file in same
        if (missing := [name for name in common if name not in file.table.columns])
    }
    return FolderReading(tables, others, readings, described, lacking)
