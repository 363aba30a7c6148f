"""Reads a CSV file of results of contacts with clients, line by line."""

import csv
import io
from collections.abc import Sequence

import msgspec

from scripts.clients.work_input import MAX_ENTRIES, WorkInput
from scripts.core.errors import WorkError
from scripts.data import safe_csv

CLIENT = "client"
# The other columns that count; all others of the worklist as CSV are passed over.
COLUMNS = (
    "result", "note", "contacted_on", "contacted_by", "assigned_to", "snoozed_until",
)  # fmt: skip
SEPARATORS = ",;\t|"
MAX_BYTES = 8 * 2**20
# Faults named in one message.
N_FAULTS = 10


def decode(content: bytes) -> str:
    """Decode a file, or raise for bytes other than UTF-8 text."""
    if len(content) > MAX_BYTES:
        raise WorkError(f"The file has {len(content)} bytes; expected up to {MAX_BYTES}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkError(
            f"The file is not in UTF-8 ({error.reason} at byte {error.start}); save it as CSV"
            " UTF-8."
        ) from error
    if "\0" in text:
        raise WorkError("The file has a NUL character; expected a CSV file of text.")
    return text


def read_header(header: Sequence[str]) -> list[str]:
    """Return the names of the columns, or raise for a missing or repeated name."""
    names = [name.strip().casefold() for name in header]
    used = [name for name in names if name in (CLIENT, *COLUMNS)]
    if CLIENT not in used or len(used) == 1 or len(set(used)) < len(used):
        raise WorkError(
            f"The first line has the columns {names[:20]}; expected {CLIENT} and at least one of"
            f" {', '.join(COLUMNS)}, each once."
        )
    return names


def read_line(names: Sequence[str], cells: Sequence[str]) -> WorkInput | None:
    """Return the entry of a line, or None for a line with a client only.

    Raises
    ------
    WorkError
        If the line has another number of fields than the first one, or no client.
    """
    if len(cells) != len(names):
        raise WorkError(f"{len(cells)} fields; expected {len(names)} as in the first line")
    found = {
        n: safe_csv.unprotect(cell.strip())
        for n, cell in zip(names, cells, strict=True)
        if cell.strip()
    }
    facts = {name: found[name] for name in COLUMNS if name in found}
    if not facts:
        return None
    if CLIENT not in found:
        raise WorkError("no client")
    try:
        return msgspec.convert({CLIENT: found[CLIENT], **facts}, WorkInput)
    except msgspec.ValidationError as error:
        raise WorkError(str(error)) from error


def parse(content: bytes) -> list[WorkInput]:
    """Read the entries of a file of results.

    Parameters
    ----------
    content : bytes
        A CSV file in UTF-8, with a column `client` and at least one more of `COLUMNS`. The
        separator is a comma, a semicolon, a tab or a bar. A line without a result, an assignment
        and a snooze is passed over, so that the worklist itself can be filled in.

    Returns
    -------
    list of WorkInput
        An entry per line.

    Raises
    ------
    WorkError
        If a line cannot be read, with the first faults by line.
    """
    text = decode(content)
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    entries: list[WorkInput] = []
    faults: list[str] = []
    try:
        names = read_header(next(reader, []))
        for cells in reader:
            try:
                entry = read_line(names, cells) if cells else None
            except WorkError as error:
                faults.append(f"line {reader.line_num}: {error}")
                continue
            entries += [] if entry is None else [entry]
    except csv.Error as error:
        raise WorkError(f"Line {reader.line_num} cannot be read: {error}.") from error
    if faults:
        raise WorkError(f"{'; '.join(faults[:N_FAULTS])}. {len(faults)} lines are wrong.")
    if not entries or len(entries) > MAX_ENTRIES:
        raise WorkError(f"The file has {len(entries)} results; expected 1 to {MAX_ENTRIES}.")
    return entries
