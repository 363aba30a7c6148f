"""How a dated file is read: with or without the target, and the day of all its rows."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from scripts.core.config import FILE_NAME, Schema
from scripts.data import client_dates, csv_reader
from scripts.data.read_report import FileReading


@dataclass(frozen=True)
class FilePlan:
    """The schema of a file, and the day of its rows, None where a column has the days.

    `refused` is the report of a file that is not read, for want of a day.
    """

    schema: Schema
    day: int | None = None
    refused: FileReading | None = None


def plan_file(path: Path, schema: Schema, *, has_outcomes: bool) -> FilePlan:
    """Return how a file is read.

    Parameters
    ----------
    path : Path
        The CSV file.
    schema : Schema
        The schema by which files are read, with key and date.
    has_outcomes : bool
        Whether outcomes come in files of their own; the target is then optional.
    """
    own = schema.date_column
    day = None if own is None else client_dates.file_day(path, own)
    if own is not None and own.column == FILE_NAME and day is None:
        reading = csv_reader.new_reading(path, schema)
        reason = (
            "its name has no date such as 2026-03-31, and schema.date is 'file_name'; put the day"
            " of the extract into the name"
        )
        csv_reader.refuse(reading, csv_reader.RefusedFileError(reason))
        return FilePlan(schema, None, reading)
    if has_outcomes and schema.target not in csv_reader.peek_header(path, schema):
        return FilePlan(msgspec.structs.replace(schema, target=""), day)
    return FilePlan(schema, day)


def column_names(schema: Schema) -> tuple[str, ...]:
    """Return the columns of a dated table as read: those of files, and the day."""
    return (*schema.columns, schema.as_of, *schema.date_formats)
