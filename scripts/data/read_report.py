"""The report of reading a CSV file: format, number of rows, rejected rows and their reasons."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from msgspec import Struct, field

from scripts.core import sentences
from scripts.data import safe_csv

MAX_NAMES = 5
MAX_LABELS, MIN_LABEL_ROWS = 5, 10
MOST_FRACTION = 0.9
# The reason of a row rejected for its label begins so.
LABEL_REASON = "expected one of"
# The messages logged about files so far; None where repeated messages are logged, too.
LOGGED: ContextVar[set[str] | None] = ContextVar("LOGGED", default=None)

log = logging.getLogger(__name__)


class RejectedRow(Struct, frozen=True):
    """A rejected row: file, line (0 for the whole file), column and reason."""

    file: str
    line: int
    column: str
    reason: str
    found: str = ""  # shortened and quoted


class FileReading(Struct):
    """The report of a file."""

    path: Path
    sha256: str = ""
    n_bytes: int = 0
    n_rows: int = 0
    separator: str = ""
    encoding: str = ""
    header: list[str] = field(default_factory=list)
    is_detected: bool = False
    refused: str = ""
    rejected: list[RejectedRow] = field(default_factory=list)


def count_usable(readings: Iterable[FileReading]) -> int:
    """Count the accepted rows of files."""
    return sum(r.n_rows - len(r.rejected) for r in readings if not r.refused)


def find_new_columns(readings: Sequence[FileReading], known: Collection[str]) -> list[str]:
    """List the unknown columns of some files that other files lack, in the order of the files."""
    headers = [reading.header for reading in readings if reading.header and not reading.refused]
    names = dict.fromkeys(name for header in headers for name in header if name)
    return [n for n in names if n not in known and any(n not in header for header in headers)]


def first_reasons(reading: FileReading) -> list[str]:
    """Return the first reason for unused rows of a file, with the line and column."""
    if reading.refused or not reading.rejected:
        return [reading.refused or "it has no rows"]
    row = reading.rejected[0]
    where = f"line {row.line} " if row.line else ""
    return [f"{where}{row.column} {row.reason}".replace("  ", " ")]


def rejected_labels(reading: FileReading) -> Counter[str]:
    """Count the rejected labels of a file, quoted."""
    rejected = [] if reading.refused else reading.rejected
    return Counter(row.found for row in rejected if row.reason.startswith(LABEL_REASON))


def format_labels(reading: FileReading) -> str:
    """Return the rejected labels of a file for a message, or "" if there are none.

    More than MAX_LABELS different values are no labels but another column. They are not shown.
    """
    labels = rejected_labels(reading)
    if not labels:
        return ""
    if len(labels) > MAX_LABELS:
        return f"; found {len(labels)} different values"
    shown = [f"{text} in {sentences.count(count, 'row')}" for text, count in labels.most_common()]
    return f"; found {', '.join(shown)}"


def format_frequent_labels(reading: FileReading) -> str:
    """Return the rejected labels of many rows for a message, or "".

    A value of many rows is a label written wrongly, and never a client's own.
    """
    found = rejected_labels(reading).most_common(MAX_LABELS)
    shown = [
        f"{text} in {sentences.count(count, 'row')}"
        for text, count in found
        if count >= MIN_LABEL_ROWS
    ]
    return f"; found {', '.join(shown)}" if shown else ""


def format_mostly_rejected(readings: Sequence[FileReading]) -> str:
    """Return a sentence for each file with at least 90 % rejected rows, or ""."""
    return " ".join(
        f"{len(r.rejected)} of {r.n_rows} rows of {r.path.name} were rejected; the first:"
        f" {first_reasons(r)[0]}{format_labels(r)}."
        for r in readings
        if not r.refused and r.rejected and len(r.rejected) >= MOST_FRACTION * r.n_rows
    )


def log_mostly_rejected(readings: Sequence[FileReading]) -> None:
    """Log a warning for files with at least 90 % rejected rows."""
    sentence = format_mostly_rejected(readings)
    if sentence:
        log.warning("%s", sentence)


def format_complaints(readings: Sequence[FileReading]) -> str:
    """Return the reasons for the unused rows of each file."""
    complaints = [
        f"{r.path}: {reason}{format_labels(r)}."
        for r in readings
        if r.refused or r.rejected or not r.n_rows
        for reason in first_reasons(r)
    ]
    return " ".join(complaints) if readings else "There is no CSV file."


def log_detections(readings: Sequence[FileReading]) -> None:
    """Log the detected separators and encodings with their files."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for reading in readings:
        if not reading.refused and reading.is_detected:
            kinds.setdefault((reading.separator, reading.encoding), []).append(reading.path.name)
    for (separator, encoding), names in kinds.items():
        shown = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
        log.info(
            "Detected the separator %r and the encoding %s in %s: %s.",
            separator, encoding, sentences.count(len(names), "file"), shown,
        )  # fmt: skip


@contextmanager
def logged_once() -> Iterator[None]:
    """Return a context with each message about a file logged once."""
    token = LOGGED.set(set())
    try:
        yield
    finally:
        LOGGED.reset(token)


def format_unused(reading: FileReading) -> str:
    """Return a sentence about the unused rows of a file, or "" if every row was used."""
    if reading.refused:
        return f"Refused {reading.path}: {reading.refused}."
    if not reading.rejected:
        return ""
    return (
        f"Rejected {len(reading.rejected)} of {reading.n_rows} rows of {reading.path}; the first:"
        f" {first_reasons(reading)[0]}{format_frequent_labels(reading)}."
    )


def log_readings(readings: Sequence[FileReading]) -> None:
    """Log a warning for each file with unused rows."""
    logged = LOGGED.get()
    for text in filter(None, map(format_unused, readings)):
        if logged is None or text not in logged:
            log.warning("%s", text)
        if logged is not None:
            logged.add(text)


def format_rejected(readings: Sequence[FileReading]) -> str:
    """Format the rejected rows as CSV: file, line, column, reason."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "line", "column", "reason"])
    for reading in readings:
        for r in reading.rejected:
            reason = f"{r.reason}, found {r.found}" if r.found else r.reason
            cells: tuple[safe_csv.Cell, ...] = (r.file, r.line, r.column, reason)
            writer.writerow([safe_csv.format_cell(cell) for cell in cells])
    return buffer.getvalue()
