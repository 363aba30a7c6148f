"""What reading a file found: how it is written, and what of it is not used and why."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from scripts.data import safe_csv

MAX_NAMES = 5
MAX_LABELS = 5
MOST_FRACTION = 0.9
# How the reason begins why a row was rejected for its label.
LABEL_REASON = "expected one of"
# What has been logged of files; None where every time counts.
LOGGED: ContextVar[set[str] | None] = ContextVar("LOGGED", default=None)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RejectedRow:
    """A row that cannot be right, where it stands and why; line 0 means the whole file."""

    file: str
    line: int
    column: str
    reason: str
    found: str = ""  # shortened and quoted


@dataclass
class FileReading:
    """What one file held."""

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


def first_reasons(reading: FileReading) -> list[str]:
    """Give the first reason why rows of a file were not used, with the place."""
    if reading.refused or not reading.rejected:
        return [reading.refused or "it has no rows"]
    row = reading.rejected[0]
    return [f"line {row.line} {row.column} {row.reason}".replace("  ", " ")]


def rejected_labels(reading: FileReading) -> Counter[str]:
    """Count the labels, quoted, for which rows of a file were rejected."""
    rejected = [] if reading.refused else reading.rejected
    return Counter(row.found for row in rejected if row.reason.startswith(LABEL_REASON))


def format_labels(reading: FileReading) -> str:
    """Return the labels for which rows of a file were rejected, for a message; "" if none.

    Many different ones are no labels but a column of something else, which is not shown.
    """
    labels = rejected_labels(reading)
    if not labels:
        return ""
    if len(labels) > MAX_LABELS:
        return f"; found {len(labels)} different values"
    shown = [f"{text} in {count} rows" for text, count in labels.most_common()]
    return f"; found {', '.join(shown)}"


def format_mostly_rejected(readings: Sequence[FileReading]) -> str:
    """Return a sentence per file of which nine tenths or more were rejected, "" for none."""
    return " ".join(
        f"{len(r.rejected)} of {r.n_rows} rows of {r.path.name} were rejected; the first:"
        f" {first_reasons(r)[0]}{format_labels(r)}."
        for r in readings
        if not r.refused and r.rejected and len(r.rejected) >= MOST_FRACTION * r.n_rows
    )


def log_mostly_rejected(readings: Sequence[FileReading]) -> None:
    """Warn of files of which nine tenths or more were rejected."""
    sentence = format_mostly_rejected(readings)
    if sentence:
        log.warning("%s", sentence)


def format_complaints(readings: Sequence[FileReading]) -> str:
    """Say of each file why rows of it were not used."""
    complaints = [
        f"{r.path}: {reason}{format_labels(r)}." for r in readings for reason in first_reasons(r)
    ]
    return " ".join(complaints) or "There is no CSV file."


def log_detections(readings: Sequence[FileReading]) -> None:
    """Say once per kind of file which separator and encoding were found."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for reading in readings:
        if not reading.refused and reading.is_detected:
            kinds.setdefault((reading.separator, reading.encoding), []).append(reading.path.name)
    for (separator, encoding), names in kinds.items():
        shown = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
        log.info(
            "Detected the separator %r and the encoding %s in %d files: %s.",
            separator, encoding, len(names), shown,
        )  # fmt: skip


@contextmanager
def logged_once() -> Iterator[None]:
    """Log the same of a file once, however often its rows are read meanwhile."""
    token = LOGGED.set(set())
    try:
        yield
    finally:
        LOGGED.reset(token)


def format_unused(reading: FileReading) -> str:
    """Say what of a file was not used, and why; "" if all of it was."""
    if reading.refused:
        return f"Refused {reading.path}: {reading.refused}."
    if not reading.rejected:
        return ""
    return (
        f"Rejected {len(reading.rejected)} of {reading.n_rows} rows of {reading.path}; the first:"
        f" {first_reasons(reading)[0]}."
    )


def log_readings(readings: Sequence[FileReading]) -> None:
    """Say once per file what was not used."""
    logged = LOGGED.get()
    for text in filter(None, map(format_unused, readings)):
        if logged is None or text not in logged:
            log.warning("%s", text)
        if logged is not None:
            logged.add(text)


def format_rejected(readings: Sequence[FileReading]) -> str:
    """Spell the rejected rows as CSV: file, line, column, reason."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "line", "column", "reason"])
    for reading in readings:
        for r in reading.rejected:
            reason = f"{r.reason}, found {r.found}" if r.found else r.reason
            cells: tuple[safe_csv.Cell, ...] = (r.file, r.line, r.column, reason)
            writer.writerow([safe_csv.format_cell(cell) for cell in cells])
    return buffer.getvalue()
