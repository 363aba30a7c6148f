"""What a client table is: its columns, reading it strictly, X and y."""

import csv
import hashlib
import io
import logging
import math
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts import artifacts
from scripts.config import Schema, spell_label
from scripts.errors import DatasetError
from scripts.model import LARGEST_NUMBER, MISSING_CATEGORY, ColumnSummary

MAX_LINE_BYTES = 2**20
MAX_RECORD_LINES = 100
MAX_SHOWN = 40
MAX_SHOWN_NAMES = 20
# Each text matches in at most one way: with "\d+\.?\d*" a long wrong cell would take hours.
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
# RFC 4180: a field is quoted as a whole, with quotes inside it doubled, or it has no quote.
OPEN_FIELD = r'"[^"]*+(?:""[^"]*+)*+'
FIELD = rf'(?:{OPEN_FIELD}"|[^",]*+)'
RECORD = re.compile(rf"{FIELD}(?:,{FIELD})*+")
OPEN_RECORD = re.compile(rf"(?:{FIELD},)*{OPEN_FIELD}")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
KNOWN_SIGNATURES = {
    b"\xff\xfe": "it looks like UTF-16",
    b"\xfe\xff": "it looks like UTF-16",
    b"\x1f\x8b": "it looks like a gzip archive",
    b"PK": "it looks like a zip archive or a spreadsheet",
}

log = logging.getLogger(__name__)


class BadCellError(ValueError):
    """A cell that cannot be right: what was expected, what was found, and in which column.

    They are kept apart because what was found is a client's data: it goes to the rejected rows,
    and never to a log.
    """

    def __init__(self, expected: str, found: str = "", column: str = "") -> None:
        super().__init__(expected)
        self.expected, self.found, self.column = expected, found, column


class RefusedFileError(DatasetError):
    """A file that cannot be right as a whole."""


@dataclass(frozen=True)
class RejectedRow:
    """A row that cannot be right, where it stands and why; line 0 means the whole file."""

    file: str
    line: int
    column: str
    reason: str
    found: str = ""


@dataclass
class FileReading:
    """What one file held."""

    path: Path
    sha256: str = ""
    n_bytes: int = 0
    n_rows: int = 0
    refused: str = ""
    rejected: list[RejectedRow] = field(default_factory=list)


def shorten(value: str) -> str:
    """Quote a value for a message, shortened."""
    return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "...")


def shorten_all(names: Sequence[str]) -> str:
    """Quote names for a message: the first ones, shortened."""
    shown = [shorten(name) for name in names[:MAX_SHOWN_NAMES]]
    return ", ".join([*shown, "..."] if len(names) > len(shown) else shown)


def parse_number(text: str, minimum: float | None) -> float:
    """Read a numeric cell: a plain finite number not below the minimum; blank is NaN."""
    text = text.strip()
    if not text:
        return math.nan
    if not NUMBER.fullmatch(text):
        raise BadCellError("expected a number or nothing", text)
    number = float(text)
    if abs(number) > LARGEST_NUMBER:
        raise BadCellError("expected a number up to 2**53", text)
    if minimum is not None and number < minimum:
        raise BadCellError(f"expected at least {minimum:g}", text)
    return number + 0.0  # turns -0.0 into 0.0, so that equal rows are equal


def parse_id(text: str) -> str:
    """Read an identifier: any text but none."""
    text = text.strip()
    if not text:
        raise BadCellError("expected an identifier", text)
    return text


def parse_label(text: str, labels: dict[str, int]) -> int:
    """Read the target: one of the two declared labels."""
    try:
        return labels[spell_label(text)]
    except (KeyError, OverflowError) as error:
        raise BadCellError(f"expected one of {list(labels)}", text) from error


def cell_parsers(schema: Schema) -> dict[str, Callable[[str], Any]]:
    """Say for each column of the schema how a cell is read."""
    labels, minimums = schema.labels, schema.minimums

    def number_parser(minimum: float | None) -> Callable[[str], float]:
        return lambda text: parse_number(text, minimum)

    parsers: dict[str, Callable[[str], Any]] = dict.fromkeys(schema.ids, parse_id)
    parsers |= {name: number_parser(minimums.get(name)) for name in schema.numeric}
    parsers |= dict.fromkeys(schema.categorical, str.strip)
    parsers[schema.target] = lambda text: parse_label(text, labels)
    return parsers


def split_record(record: str) -> list[str]:
    """Split a record into its fields, as RFC 4180 has it."""
    if '"' not in record:
        return record.split(",")
    if not RECORD.fullmatch(record):
        raise BadCellError("expected quotes around whole fields, and those inside doubled")
    try:
        return next(csv.reader(io.StringIO(record, newline="")))
    except csv.Error as error:
        longest = csv.field_size_limit()
        raise BadCellError(f"expected quoted fields of at most {longest} characters") from error


def check_is_file(path: Path, folder: Path) -> None:
    """Refuse what is named like a table but is not a file of the folder."""
    if CONTROL.search(path.name):
        raise RefusedFileError("its name has a control character, such as a line end; rename it")
    # Looked at first: following a link that leads to itself would fail.
    if not artifacts.is_regular(path):
        raise RefusedFileError("it is not a regular file")
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise RefusedFileError("it is a link to a file outside its folder; copy the file instead")
    if not os.access(path, os.R_OK):
        raise RefusedFileError("it may not be read by this user; change its permissions")


def iterate_lines(handle: BinaryIO, reading: FileReading) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, hashing every byte that is handed on."""
    sha = hashlib.sha256()
    line_number = 0
    while raw := handle.readline(MAX_LINE_BYTES + 1):
        line_number += 1
        sha.update(raw)
        reading.n_bytes += len(raw)
        if len(raw) > MAX_LINE_BYTES:
            raise RefusedFileError(f"line {line_number} is longer than {MAX_LINE_BYTES} bytes")
        try:
            text = raw.decode("utf-8-sig" if line_number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            hints = [hint for start, hint in KNOWN_SIGNATURES.items() if raw.startswith(start)]
            hint = f" ({hints[0]})" if hints and line_number == 1 else ""
            raise RefusedFileError(
                f"line {line_number} is not UTF-8{hint}; save the file as CSV in UTF-8"
            ) from error
        yield line_number, text.removesuffix("\n").removesuffix("\r")
    reading.sha256 = sha.hexdigest()


def iterate_records(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield each record with the number of its first line; quoted fields may have line ends.

    A quote that is not closed soon is a slip of its line only, and must not swallow the rows
    after it: that line stands alone, to be rejected, and the next ones are read as usual.
    """
    source, ahead = iter(lines), deque[tuple[int, str]]()
    while first := ahead.popleft() if ahead else next(source, None):
        number, line = first
        record, n_joined = line, 0
        while '"' in record and len(record) <= MAX_LINE_BYTES and OPEN_RECORD.fullmatch(record):
            if n_joined == len(ahead):
                ahead.extend(islice(source, 1))
            if n_joined in (len(ahead), MAX_RECORD_LINES):
                break
            record = f"{record}\n{ahead[n_joined][1]}"
            n_joined += 1
        if n_joined and RECORD.fullmatch(record):
            for _ in range(n_joined):
                ahead.popleft()
            line = record
        yield number, line


def read_header(line: str, schema: Schema) -> list[str]:
    """Read the header and refuse one that lacks or doubles a declared column."""
    if CONTROL.search(line):
        # Where lines end with CR alone, the "header" is the whole file: it is not shown.
        raise RefusedFileError(
            "its header has a control character, such as NUL, or a line end within quotes or of"
            " CR alone; save the file as CSV in UTF-8"
        )
    try:
        header = [name.strip() for name in split_record(line)]
    except BadCellError as error:
        raise RefusedFileError(f"its header cannot be read: {error}") from error
    lacking = [name for name in schema.columns if name not in header]
    # Where no name is known, the first line may be a client's row: it is not shown.
    known = len(lacking) < len(schema.columns)
    doubled = sorted(name for name, count in Counter(header).items() if count > 1)
    if doubled and known:
        raise RefusedFileError(f"its header names [{shorten_all(doubled)}] more than once")
    if lacking:
        what = f"it has [{shorten_all(header)}]" if known else "its first line names none of ours"
        raise RefusedFileError(
            f"it lacks the columns {lacking}; {what}. The first line must name the columns,"
            " separated by commas"
        )
    return header


def read_row(
    fields: Sequence[str], header: Sequence[str], parsers: dict[str, Callable[[str], Any]]
) -> dict[str, Any]:
    """Read the cells of one row; the first that cannot be right is named."""
    if len(fields) != len(header):
        raise BadCellError(f"expected {len(header)} fields, found {len(fields)}")
    cells = dict(zip(header, fields, strict=True))
    row = {}
    for name, parse in parsers.items():
        if CONTROL.search(cells[name]):
            raise BadCellError("has a control character, such as NUL", column=name)
        try:
            row[name] = parse(cells[name])
        except BadCellError as error:
            raise BadCellError(error.expected, error.found or "nothing", name) from error
    return row


def read_rows(
    lines: Iterable[tuple[int, str]], schema: Schema, reading: FileReading
) -> dict[str, list[Any]]:
    """Read a file's lines into columns; what cannot be right goes to `reading.rejected`."""
    iterator = iterate_records(lines)
    _, first = next(iterator, (0, ""))
    if not first.strip():
        raise RefusedFileError("it is empty, or its first line is")
    header, parsers = read_header(first, schema), cell_parsers(schema)
    columns: dict[str, list[Any]] = {name: [] for name in parsers}
    for number, line in iterator:
        if not line.strip():
            continue
        reading.n_rows += 1
        try:
            row = read_row(split_record(line), header, parsers)
        except BadCellError as error:
            reading.rejected.append(
                RejectedRow(
                    reading.path.name, number, error.column, error.expected, shorten(error.found)
                )
            )
            continue
        for name, value in row.items():
            columns[name].append(value)
    return columns


def as_integers(column: pd.Series) -> pd.Series:
    """Turn a float column that holds only whole numbers and no blank into integers."""
    values = column.to_numpy()
    whole = len(values) > 0 and bool(
        np.isfinite(values).all() and (values == np.floor(values)).all()
    )
    return column.astype(np.int64) if whole else column


def make_table(columns: dict[str, list[Any]], schema: Schema) -> pd.DataFrame:
    """Make a client table of columns: identifiers and categories text, the target 0 or 1."""
    table = pd.DataFrame(index=pd.RangeIndex(len(columns[schema.target])))
    for name in schema.columns:
        if name in schema.numeric:
            table[name] = as_integers(pd.Series(columns[name], dtype=np.float64))
        elif name == schema.target:
            table[name] = pd.Series(columns[name], dtype=np.int64)
        else:
            table[name] = pd.Series(columns[name], dtype="str")
    return table


def read_file(path: Path, folder: Path, schema: Schema) -> tuple[FileReading, dict[str, list[Any]]]:
    """Read one file strictly; a file that cannot be right is refused as a whole.

    Parameters
    ----------
    path : Path
        The CSV file: UTF-8, a header that names the columns of the schema, comma-separated.
    folder : Path
        The folder it belongs to; a link that leads out of it is refused.
    schema : Schema
        The columns.

    Returns
    -------
    tuple of FileReading and dict of str to list
        What was found, and the columns of the rows that can be right. `refused` says why the
        file as a whole was not used, and is empty otherwise.
    """
    reading = FileReading(path)
    try:
        check_is_file(path, folder)
        with path.open("rb") as handle:
            columns = read_rows(iterate_lines(handle, reading), schema, reading)
    except RefusedFileError as error:
        reading.refused, reading.rejected, reading.n_rows = str(error), [], 0
        reading.rejected.append(RejectedRow(path.name, 0, "", str(error)))
        return reading, {name: [] for name in schema.columns}
    return reading, columns


def read_tables(paths: Sequence[Path], schema: Schema) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read files strictly, in the order given, into one table.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        The columns.

    Returns
    -------
    tuple of pandas.DataFrame of shape (n_rows, n_columns) and list of FileReading
        The rows that can be right, in file order, columns in the order of `schema.columns`; one
        reading per file, with what was rejected and why.

    Raises
    ------
    DatasetError
        If no row is usable.

    Notes
    -----
    README, section "Ingestion".
    """
    readings: list[FileReading] = []
    gathered: dict[str, list[Any]] = {name: [] for name in schema.columns}
    for path in paths:
        reading, columns = read_file(path, path.parent, schema)
        readings.append(reading)
        for name, values in columns.items():
            gathered[name].extend(values)
    if not gathered[schema.target]:
        complaints = [f"{r.path}: {reason}." for r in readings for reason in first_reasons(r)]
        found = " ".join(complaints) or "There is no CSV file."
        raise DatasetError(f"No usable row was found. {found}")
    return make_table(gathered, schema), readings


def first_reasons(reading: FileReading) -> list[str]:
    """Give the first reason why rows of a file were not used, with the place."""
    if reading.refused or not reading.rejected:
        return [reading.refused or "it has no rows"]
    row = reading.rejected[0]
    return [f"line {row.line} {row.column} {row.reason}".replace("  ", " ")]


def log_readings(readings: Sequence[FileReading]) -> None:
    """Say once per file what was not used."""
    for reading in readings:
        if reading.refused:
            log.warning("Refused %s: %s.", reading.path, reading.refused)
        elif reading.rejected:
            log.warning(
                "Rejected %d of %d rows of %s; the first: %s.",
                len(reading.rejected), reading.n_rows, reading.path, first_reasons(reading)[0],
            )  # fmt: skip


def read_test_table(place: Path, schema: Schema) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read the labelled rows on which models are compared."""
    table, readings = read_tables(artifacts.list_tables(place), schema)
    log_readings(readings)
    return table, readings


def read_dataset(path: Path, schema: Schema) -> tuple[pd.DataFrame, str]:
    """Read a dataset that ingestion wrote, and its SHA-256.

    Raises
    ------
    DatasetError
        If anything in it is not as ingestion writes it.
    """
    reading, columns = read_file(path, path.parent, ingested_schema(schema))
    if reading.refused or reading.rejected:
        reason = first_reasons(reading)[0]
        raise DatasetError(f"{path} is not as ingestion wrote it: {reason}. Run ingestion again.")
    return make_table(columns, schema), reading.sha256


def ingested_schema(schema: Schema) -> Schema:
    """Give the schema of the dataset file, in which the target is always 1 or 0."""
    return Schema(
        target=schema.target,
        ids=schema.ids,
        numeric=schema.numeric,
        categorical=schema.categorical,
        minimum=schema.minimums,
    )


def spell_table(table: pd.DataFrame) -> str:
    """Spell a table as CSV; whole numbers bare, blanks empty; equal tables give equal text."""
    spelled = table.copy()
    for name in table.select_dtypes("float"):
        values = table[name]
        if (values.isna() | (values == values.round())).all():
            spelled[name] = values.astype("Int64")
    return spelled.to_csv(index=False, lineterminator="\n")


def spell_rejected(readings: Sequence[FileReading]) -> str:
    """Spell the rejected rows as CSV: file, line, column, reason."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "line", "column", "reason"])
    for reading in readings:
        writer.writerows(
            [
                r.file,
                r.line,
                r.column,
                f"{r.reason}, found {shorten(r.found)}" if r.found else r.reason,
            ]
            for r in reading.rejected
        )
    return buffer.getvalue()


def features(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Take the feature columns X of a table, shape (n_rows, n_features); blanks in text are "".

    Raises
    ------
    DatasetError
        If the table lacks one, as when a model was trained on another schema.
    """
    lacking = [name for name in schema.features if name not in table.columns]
    if lacking:
        raise DatasetError(f"The table lacks the columns {lacking}; it has {list(table.columns)}.")
    X = table.loc[:, list(schema.features)].copy()
    for name in schema.numeric:
        X[name] = X[name].astype(np.float64)
    for name in schema.categorical:
        X[name] = X[name].fillna(MISSING_CATEGORY).astype(object)
    return X


def target(table: pd.DataFrame, schema: Schema) -> NDArray[np.int64]:
    """Take the target y of a table, shape (n_rows,): 1 left, 0 stayed."""
    return table[schema.target].to_numpy(dtype=np.int64)


def feature_arrays(table: pd.DataFrame, schema: Schema) -> dict[str, NDArray[Any]]:
    """Take the features as arrays by name, as `model.probabilities` wants them."""
    X = features(table, schema)
    return {name: X[name].to_numpy() for name in schema.features}


def missing_fractions(table: pd.DataFrame) -> dict[str, float]:
    """Compute the share of blank cells of each column, in [0, 1].

    Raises
    ------
    DatasetError
        If the table has no row.
    """
    if table.empty:
        raise DatasetError("The table has no row, so no share of blanks can be given.")
    blank = table.isna() | (table == "")
    return {str(name): float(share) for name, share in blank.mean().items()}


def finite_or_none(value: float) -> float | None:
    """Give a statistic, or None where it is not defined."""
    return float(value) if math.isfinite(value) else None


def summarise(table: pd.DataFrame, schema: Schema) -> tuple[ColumnSummary, ...]:
    """Compute mean, median and standard deviation of the numeric features, then of the target.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        A client table; blanks are left out of account.
    schema : Schema
        Its columns.

    Returns
    -------
    tuple of ColumnSummary
        In the unit of each column. The standard deviation has n - 1 in the denominator; it is
        None for fewer than two values, and all three are None for none.

    Notes
    -----
    pandas.Series.mean, .median and .std.
    """
    return tuple(
        ColumnSummary(
            column=name,
            mean=finite_or_none(table[name].mean()),
            median=finite_or_none(table[name].median()),
            standard_deviation=finite_or_none(table[name].std()),
        )
        for name in (*schema.numeric, schema.target)
    )
