"""Strict reading of a CSV file of clients: lines, header, records and rejected rows."""

import codecs
import csv
import hashlib
import io
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from msgspec import Struct

from scripts.core import erased_clients, files, progress
from scripts.core.config import Schema
from scripts.core.erased_clients import ErasedClients
from scripts.core.errors import DatasetError
from scripts.data.cells import (
    CONTROL,
    BadCellError,
    cell_parsers,
    name_client,
    shorten,
    shorten_all,
)
from scripts.data.read_report import FileReading, RejectedRow

MAX_LINE_BYTES = files.MAX_LINE_BYTES
MAX_RECORD_LINES = 100
COMMA = ","
SEPARATORS = (COMMA, ";", "\t", "|")
# RFC 4180: a field is quoted as a whole, with quotes inside it doubled, or it has no quote.
OPEN_FIELD = r'"[^"]*+(?:""[^"]*+)*+'
FIELDS = {mark: rf'(?:{OPEN_FIELD}"|[^"\{mark}]*+)' for mark in SEPARATORS}
RECORDS = {mark: re.compile(rf"{field}(?:\{mark}{field})*+") for mark, field in FIELDS.items()}
OPEN_RECORDS = {
    mark: re.compile(rf"(?:{field}\{mark})*{OPEN_FIELD}") for mark, field in FIELDS.items()
}
# Git writes this before the first of two versions that it could not merge.
CONFLICT = "<<<<<<<"
# A line that begins within quotes either ends within quotes, too, or ends the record.
WITHIN = r'[^"]*+(?:""[^"]*+)*+'
STILL_OPEN = {
    mark: re.compile(rf'{WITHIN}(?:"(?:\{mark}{field})*\{mark}{OPEN_FIELD})?')
    for mark, field in FIELDS.items()
}
CLOSED = {mark: re.compile(rf'{WITHIN}"(?:\{mark}{field})*+') for mark, field in FIELDS.items()}
WITHOUT_BOM, WITH_BOM = "utf-8", "utf-8-sig"
AUTO: Final = "auto"
NOT_REGULAR = "it is not a regular file"
EMPTY = "it is empty, or its first line is"
KNOWN_SIGNATURES = {
    b"\xff\xfe": "it looks like UTF-16",
    b"\xfe\xff": "it looks like UTF-16",
    b"\x1f\x8b": "it looks like a gzip archive",
    b"PK": "it looks like a zip archive or a spreadsheet",
}

Parsers = dict[str, Callable[[str], Any]]
Row = dict[str, Any]
Columns = dict[str, list[Any]]


class ColumnLayout(Struct, frozen=True):
    """The separator, header and cell parsers of a file, and the clients whose rows are refused."""

    schema: Schema
    separator: str
    header: list[str]
    parsers: Parsers
    erased: ErasedClients | None = None

    def place(self, name: str) -> int:
        """Return the place of a column, where only nameless columns may have several places."""
        return len(self.header) - 1 - self.header[::-1].index(name)


class RefusedFileError(DatasetError):
    """A file that is refused as a whole."""


def split_record(record: str, separator: str = COMMA) -> list[str]:
    """Split a record into fields by RFC 4180."""
    if '"' not in record:
        return record.split(separator)
    # A CR ends a row for the csv module: the rest of the record would be lost silently.
    if "\r" in record:
        raise BadCellError("expected lines that end with LF or CR LF, found a CR alone")
    if not RECORDS[separator].fullmatch(record):
        raise BadCellError("expected quotes around whole fields, and those inside doubled")
    try:
        return next(csv.reader(io.StringIO(record, newline=""), delimiter=separator))
    except csv.Error as error:
        longest = csv.field_size_limit()
        raise BadCellError(f"expected quoted fields of at most {longest} characters") from error


def check_name(path: Path) -> None:
    """Refuse a file name with a control character."""
    if CONTROL.search(path.name):
        raise RefusedFileError("its name has a control character, such as a line end; rename it")


def open_file(path: Path, folder: Path) -> BinaryIO:
    """Open a regular file of a folder for reading.

    Parameters
    ----------
    path : Path
        The file, or a link to one in its folder.
    folder : Path
        The folder it belongs to.

    Returns
    -------
    file
        The very file that was checked, even if its name leads to another file by now.

    Raises
    ------
    RefusedFileError
        If it is no plain file of the folder that this user may read.
    """
    check_name(path)
    # Checked first: resolving a link that leads to itself would fail.
    if not files.is_regular(path):
        raise RefusedFileError(NOT_REGULAR)
    target = path.resolve() if path.is_symlink() else path
    if target is not path and not target.is_relative_to(folder.resolve()):
        raise RefusedFileError("it is a link to a file outside its folder; copy the file instead")
    try:
        return files.open_regular(target)
    except PermissionError as error:
        raise RefusedFileError("it may not be read by this user; change its permissions") from error
    except (files.NotRegularError, FileNotFoundError) as error:
        raise RefusedFileError(NOT_REGULAR) from error


def check_encoding(first: bytes, declared: str) -> str:
    """Return the encoding, UTF-8 with or without a byte order mark, if permitted by the schema."""
    encoding = WITH_BOM if first.startswith(codecs.BOM_UTF8) else WITHOUT_BOM
    if declared not in (AUTO, encoding):
        raise RefusedFileError(
            f"its first bytes say {encoding}, but schema.encoding declares {declared}; write"
            f" {AUTO!r} there to take both"
        )
    return encoding


def read_line(
    handle: BinaryIO, number: int, reading: FileReading, sha: "hashlib._Hash", declared: str = AUTO
) -> str | None:
    """Read and hash the line of a number, counted from 1, or return None at the end of the file."""
    raw = handle.readline(MAX_LINE_BYTES + 1)
    if not raw:
        return None
    sha.update(raw)
    reading.n_bytes += len(raw)
    progress.advance(len(raw), 1)
    if len(raw) > MAX_LINE_BYTES:
        raise RefusedFileError(f"line {number} is longer than {MAX_LINE_BYTES} bytes")
    if number == 1:
        reading.encoding = check_encoding(raw, declared)
    try:
        text = raw.decode(reading.encoding if number == 1 else WITHOUT_BOM)
    except UnicodeDecodeError as error:
        hints = [hint for start, hint in KNOWN_SIGNATURES.items() if raw.startswith(start)]
        hint = f" ({hints[0]})" if hints and number == 1 else ""
        raise RefusedFileError(
            f"line {number} is not UTF-8{hint}; save the file as CSV in UTF-8"
        ) from error
    return text.removesuffix("\n").removesuffix("\r")


def iterate_lines(
    handle: BinaryIO, reading: FileReading, declared: str = AUTO
) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line and put the SHA-256 of the bytes into the report."""
    sha = hashlib.sha256()
    for number in count(1):
        text = read_line(handle, number, reading, sha, declared)
        if text is None:
            break
        yield number, text
    reading.sha256 = sha.hexdigest()


def iterate_records(
    lines: Iterable[tuple[int, str]], separator: str = COMMA
) -> Iterator[tuple[int, str]]:
    """Yield each record with its first line's number.

    Quoted fields may contain line ends. A quote without a closing quote within a hundred lines is
    an error of its own line only: that line becomes a record, to be rejected, and the following
    lines are read as usual.
    """
    unclosed, still_open, closed = OPEN_RECORDS[separator], STILL_OPEN[separator], CLOSED[separator]
    source, ahead = iter(lines), deque[tuple[int, str]]()
    while first := ahead.popleft() if ahead else next(source, None):
        number, line = first
        n_joined, n_characters = 0, len(line)
        is_open = '"' in line and bool(unclosed.fullmatch(line))
        # Only the new line is matched: the record so far would be matched a hundred times.
        while is_open and n_characters <= MAX_LINE_BYTES and n_joined < MAX_RECORD_LINES:
            if n_joined == len(ahead):
                ahead.extend(islice(source, 1))
            if n_joined == len(ahead):
                break
            following = ahead[n_joined][1]
            n_joined += 1
            n_characters += 1 + len(following)
            is_open = bool(still_open.fullmatch(following))
        if n_joined and not is_open and closed.fullmatch(following):
            line = "\n".join([line, *(ahead.popleft()[1] for _ in range(n_joined))])
        yield number, line


def try_separators(line: str, declared: str) -> dict[str, list[str]]:
    """Return the names of a header for each possible separator."""
    splits, reason = {}, ""
    for separator in SEPARATORS if declared == AUTO else (declared,):
        try:
            splits[separator] = [name.strip() for name in split_record(line, separator)]
        except BadCellError as error:
            # As text: an error held by its own frame would hold the table as well.
            reason = str(error)
    if not splits:
        raise RefusedFileError(f"its header cannot be read: {reason}")
    return splits


def check_header(header: Sequence[str], schema: Schema) -> None:
    """Refuse a header with a missing declared column or a repeated name."""
    lacking = [name for name in schema.file_columns if name not in header]
    # Without any known name, the first line may be a client's row: it is not shown.
    known = len(lacking) < len(schema.file_columns)
    # A spreadsheet writes columns without a name at the end. They are not read.
    doubled = sorted(name for name, n_times in Counter(header).items() if name and n_times > 1)
    if doubled and (known or not schema.file_columns):
        raise RefusedFileError(f"its header names [{shorten_all(doubled)}] more than once")
    if lacking:
        what = f"it has [{shorten_all(header)}]" if known else "its first line names none of ours"
        raise RefusedFileError(
            f"it lacks the columns {lacking}; {what}. The first line must name the columns,"
            " separated by a comma, semicolon, tab or |"
        )


def split_header(line: str, schema: Schema) -> list[tuple[str, list[str]]]:
    """Return the possible separators with the names of a header, the best one last.

    The best one results in the most columns of the schema, among equals in the most columns.

    Raises
    ------
    RefusedFileError
        If the line is no header.
    """
    if CONTROL.search(line):
        # Where lines end with CR alone, the "header" is the whole file: it is not shown.
        raise RefusedFileError(
            "its header has a control character, such as NUL, or a line end within quotes or of"
            " CR alone; save the file as CSV in UTF-8"
        )
    if line.startswith(CONFLICT):
        raise RefusedFileError(
            f"its first line, {shorten(line)}, is the mark of a merge conflict; resolve it and save"
            " the file again"
        )
    splits = try_separators(line, schema.separator)
    wanted = set(schema.file_columns)
    return sorted(splits.items(), key=lambda split: (len(wanted & set(split[1])), len(split[1])))


def read_header(line: str, schema: Schema) -> tuple[str, list[str]]:
    """Return the separator and the column names of a file, read from the header.

    Parameters
    ----------
    line : str
        The first line of the file.
    schema : Schema
        The columns that must be there, and the separator if it is declared.

    Returns
    -------
    tuple of str and list of str
        The separator that results in the most declared columns, among equals in the most columns.

    Raises
    ------
    RefusedFileError
        If a declared column is missing, a name is repeated, or several separators are possible.
    """
    *others, (separator, header) = split_header(line, schema)
    check_header(header, schema)
    possible = [mark for mark, names in others if len(names) > 1]
    # With every column declared only one separator fits. Without, the names do not decide.
    if possible and not schema.features:
        raise RefusedFileError(
            f"its header could be separated by {separator!r} or {possible[-1]!r}; declare"
            " schema.separator"
        )
    return separator, header


def read_cells(
    fields: Sequence[str], header: Sequence[str], parsers: Parsers
) -> tuple[Row, list[BadCellError]]:
    """Return the parsed cells of a row, and an error for each wrong cell."""
    if len(fields) != len(header):
        return {}, [BadCellError(f"expected {len(header)} fields, found {len(fields)}")]
    cells = dict(zip(header, fields, strict=True))
    row: Row = {}
    errors = []
    for name, parse in parsers.items():
        if CONTROL.search(cells[name]):
            errors.append(BadCellError("has a control character, such as NUL", column=name))
            continue
        try:
            row[name] = parse(cells[name])
        except BadCellError as error:
            errors.append(BadCellError(error.expected, error.found or "nothing", name))
    return row, errors


def is_erased(row: Row, layout: ColumnLayout) -> bool:
    """Return whether a row is of an erased client, by the readable identifiers."""
    ids = layout.schema.client_ids
    if layout.erased is None or not ids or any(name not in row for name in ids):
        return False
    return layout.erased.has(name_client([row[name] for name in ids]))


def parse_record(record: str, layout: ColumnLayout) -> tuple[Row, list[BadCellError]]:
    """Return the parsed cells of a record, and the errors of a rejected record."""
    try:
        fields = split_record(record, layout.separator)
    except BadCellError as error:
        # Anew: an error that was raised holds the frames it went through, and their tables.
        return {}, [BadCellError(error.expected)]
    row, errors = read_cells(fields, layout.header, layout.parsers)
    if is_erased(row, layout):
        # No other error of the row, which would show a value.
        return {}, [BadCellError(erased_clients.REASON)]
    return row, errors


def judge_record(
    number: int, record: str, layout: ColumnLayout, reading: FileReading
) -> tuple[Row, list[BadCellError]] | None:
    """Return the parsed cells of a record and its errors, or None for an empty line.

    The report gets the row, or the rejected row with its first error.
    """
    if not record.strip():
        return None
    reading.n_rows += 1
    row, errors = parse_record(record, layout)
    if errors:
        first = errors[0]
        shown = shorten(first.found) if first.found else ""
        reading.rejected.append(
            RejectedRow(reading.path.name, number, first.column, first.expected, shown)
        )
    return row, errors


def read_record(number: int, record: str, layout: ColumnLayout, reading: FileReading) -> Row | None:
    """Return the parsed cells of a record, or None for a rejected record and an empty line."""
    judged = judge_record(number, record, layout, reading)
    return None if judged is None or judged[1] else judged[0]


def read_records(
    lines: Iterable[tuple[int, str]], layout: ColumnLayout, reading: FileReading
) -> dict[str, list[Any]]:
    """Read the lines after the header into columns."""
    columns: dict[str, list[Any]] = {name: [] for name in layout.parsers}
    for number, record in iterate_records(lines, layout.separator):
        row = read_record(number, record, layout, reading)
        if row is not None:
            for name, value in row.items():
                columns[name].append(value)
    return columns


def read_layout(
    first: str | None,
    schema: Schema,
    reading: FileReading,
    *,
    as_text: bool = False,
    needs_label: bool = True,
) -> ColumnLayout:
    """Return the layout of a file, read from the first line."""
    if not (first and first.strip()):
        raise RefusedFileError(EMPTY)
    reading.separator, header = read_header(first, schema)
    reading.header = header
    parsers: Parsers = (
        dict.fromkeys(header, str.strip)
        if as_text
        else cell_parsers(schema, needs_label=needs_label)
    )
    # Cells as text are only looked at, and kept nowhere.
    erased = None if as_text else erased_clients.REFUSED.get()
    return ColumnLayout(schema, reading.separator, header, parsers, erased)


def read_rows(
    lines: Iterable[tuple[int, str]],
    schema: Schema,
    reading: FileReading,
    *,
    as_text: bool = False,
    needs_label: bool = True,
) -> dict[str, list[Any]]:
    """Read the lines of a file into columns and add the rejected rows to the report."""
    iterator = iter(lines)
    _, first = next(iterator, (0, None))
    layout = read_layout(first, schema, reading, as_text=as_text, needs_label=needs_label)
    return read_records(iterator, layout, reading)


def new_reading(path: Path, schema: Schema) -> FileReading:
    """Return an empty report for a file."""
    return FileReading(path, is_detected=AUTO in (schema.separator, schema.encoding))


def refuse(reading: FileReading, error: RefusedFileError) -> None:
    """Mark the file as refused in the report, with the reason."""
    reading.refused, reading.n_rows = str(error), 0
    reading.rejected = [RejectedRow(reading.path.name, 0, "", str(error))]


def read_names(handle: BinaryIO, schema: Schema) -> list[str]:
    """Return the column names of a table, perhaps with missing columns, [] if refused."""
    try:
        lines = iterate_lines(handle, new_reading(Path("the table"), schema), schema.encoding)
        return split_header(next(lines, (0, ""))[1], schema)[-1][1]
    except RefusedFileError:
        return []


def peek_header(path: Path, schema: Schema) -> list[str]:
    """Return the column names of a file, as `read_names` does."""
    try:
        with open_file(path, path.parent) as handle:
            return read_names(handle, schema)
    except RefusedFileError:
        return []


def read_file(
    path: Path, folder: Path, schema: Schema, *, as_text: bool = False, needs_label: bool = True
) -> tuple[FileReading, dict[str, list[Any]]]:
    """Read a CSV file strictly into a report and the columns of the accepted rows.

    Parameters
    ----------
    path : Path
        The CSV file: UTF-8, a header that names the columns of the schema.
    folder : Path
        The folder it belongs to; a link that leads out of it is refused.
    schema : Schema
        The columns.
    as_text : bool
        Return every column of the file as text, for the inference of a schema.
    needs_label : bool
        Reject a row whose target is empty; otherwise its label is `cells.UNLABELLED`.

    Returns
    -------
    tuple of FileReading and dict of str to list
        The report, whose `refused` is the reason if the whole file was not used, and the columns
        of the accepted rows.
    """
    reading = new_reading(path, schema)
    try:
        with open_file(path, folder) as handle:
            lines = iterate_lines(handle, reading, schema.encoding)
            columns = read_rows(lines, schema, reading, as_text=as_text, needs_label=needs_label)
    except RefusedFileError as error:
        refuse(reading, error)
        return reading, {name: [] for name in schema.file_columns}
    return reading, columns
