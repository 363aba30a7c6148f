"""How a dated file is read: with or without the target, and the day of all its rows."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from scripts.core.config import FILE_NAME, Schema
from scripts.data import csv_reader, name_dates
from scripts.data.csv_reader import RefusedFileError
from scripts.data.read_report import FileReading


class FilePlan(Struct, frozen=True):
    """The schema of a file, and the day of all rows, None if a column has the days.

    `refused` is the report of a file that is not read, for want of a day.
    """

    schema: Schema
    day: int | None = None
    refused: FileReading | None = None


def find_day(path: Path, schema: Schema) -> int | None:
    """Return the day of all rows of a file, None if a column has the days.

    Raises
    ------
    RefusedFileError
        If the name of the file should have the day and has none.
    """
    own = schema.date_column
    day = None if own is None else name_dates.file_day(path, own)
    if own is not None and own.column == FILE_NAME and day is None:
        raise RefusedFileError(
            "its name has no date such as 2026-03-31 or March 2026, and schema.date is 'file_name';"
            " put the day of the extract into the name"
        )
    return day


def choose_schema(names: Sequence[str], schema: Schema, *, has_outcomes: bool) -> Schema:
    """Return the schema of a file with columns of some names, perhaps without the target."""
    if has_outcomes and schema.target not in names:
        return msgspec.structs.replace(schema, target="")
    return schema


def plan_file(path: Path, schema: Schema, *, has_outcomes: bool) -> FilePlan:
    """Return how a file is read.

    Parameters
    ----------
    path : Path
        The CSV file.
    schema : Schema
        The schema by which files are read, with key and date.
    has_outcomes : bool
        Whether outcomes are declared, in files of their own or in a column of leaving; the target
        is then optional.
    """
    try:
        day = find_day(path, schema)
    except RefusedFileError as error:
        reading = csv_reader.new_reading(path, schema)
        csv_reader.refuse(reading, error)
        return FilePlan(schema, None, reading)
    names = csv_reader.peek_header(path, schema) if has_outcomes else []
    return FilePlan(choose_schema(names, schema, has_outcomes=has_outcomes), day)


def column_names(schema: Schema) -> tuple[str, ...]:
    """Return the columns of a dated table: the columns of files, and the day."""
    return (*schema.columns, schema.as_of, *schema.date_formats, *schema.leaving_names)
