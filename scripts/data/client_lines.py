"""The lines of a client in any table file, found by the identifier columns.

A file is not read by its schema here: it may be refused or have wrong cells, and the client's lines
are found all the same.
"""

import mmap
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from scripts.core import files
from scripts.core.errors import DatasetError
from scripts.data import csv_reader
from scripts.data.cells import BadCellError, name_client
from scripts.data.csv_reader import SEPARATORS

Matches = Callable[[str], bool]


class Span(Struct, frozen=True):
    """The lines of a record: the first one, counted from 1, and their number."""

    first: int
    n_lines: int


class FoundLines(Struct, frozen=True):
    """The lines of a client in a file.

    `is_certain` is False where the columns of the clients are not in the file, and the lines merely
    have the client's name in them.
    """

    path: Path
    spans: tuple[Span, ...]
    is_certain: bool = True


def find_columns(line: str, ids: Sequence[str]) -> tuple[str, list[int]] | None:
    """Return the separator of a header and the places of some columns, or None."""
    for separator in SEPARATORS:
        # A header that cannot be split has another separator.
        with suppress(BadCellError):
            header = [name.strip() for name in csv_reader.split_record(line, separator)]
            if all(name in header for name in ids):
                return separator, [header.index(name) for name in ids]
    return None


def name_record(record: str, separator: str, places: Sequence[int]) -> str:
    """Return the name of the client of a record, "" if it has too few fields."""
    try:
        fields = csv_reader.split_record(record, separator)
    except BadCellError:
        # A row that is rejected has a client all the same.
        fields = record.split(separator)
    if max(places) >= len(fields):
        return ""
    return name_client([fields[place].strip() for place in places])


def iterate_text(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, with a replacement for invalid UTF-8."""
    with files.open_regular(path) as handle:
        for number, line in enumerate(handle, start=1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
            yield number, text.removesuffix("\n").removesuffix("\r")


def find_spans(path: Path, ids: Sequence[str], matches: Matches) -> FoundLines | None:
    """Return the lines of the matching clients, None for a file without client columns."""
    lines = iterate_text(path)
    columns = find_columns(next(lines, (0, ""))[1], ids)
    if columns is None:
        return None
    separator, places = columns
    spans = [
        Span(number, record.count("\n") + 1)
        for number, record in csv_reader.iterate_records(lines, separator)
        if matches(name_record(record, separator, places))
    ]
    return FoundLines(path, tuple(spans))


def may_have(path: Path, needle: bytes) -> bool:
    """Return whether a file has some bytes."""
    if not path.stat().st_size:
        return False
    with (
        files.open_regular(path) as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(needle) >= 0


def has_word(path: Path, name: str) -> bool:
    """Return whether a file has a name anywhere, as a whole word."""
    if not path.stat().st_size:
        return False
    pattern = re.compile(
        rb"(?<!\w)" + re.escape(name.encode("utf-8", "surrogatepass")) + rb"(?!\w)"
    )
    with (
        files.open_regular(path) as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return pattern.search(content) is not None


def find_needle(name: str, n_ids: int) -> bytes:
    """Return bytes of every record of a client: the longest part of the name as written."""
    plain = name if n_ids == 1 else name.replace("\\|", "|").replace("\\\\", "\\")
    parts = plain.split(" | ") if n_ids > 1 else [plain]
    # A quote within a cell is doubled in the file.
    pieces = [piece for part in parts for piece in part.split('"')]
    return max(pieces, key=len).encode("utf-8", "surrogatepass")


def find_lines(path: Path, candidates: Sequence[Sequence[str]], name: str) -> FoundLines:
    """Find the lines of a client in a file.

    Parameters
    ----------
    path : Path
        Any file of text.
    candidates : sequence of sequence of str
        The columns that identify a client, as they may be in the file.
    name : str
        The client, named as on the list.

    Returns
    -------
    FoundLines
        By the columns of the clients, or in a file without them by the name anywhere in a line.

    Raises
    ------
    DatasetError
        If the file cannot be read.
    """
    try:
        needle = find_needle(name, max(map(len, candidates)))
        if not may_have(path, needle):
            return FoundLines(path, ())
        for ids in candidates:
            found = find_spans(path, ids, lambda each: each == name)
            if found is not None:
                return found
        lines = iterate_text(path)
        spans = tuple(Span(number, 1) for number, text in lines if needle.decode() in text)
        return FoundLines(path, spans, is_certain=False)
    except (OSError, files.NotRegularError) as error:
        raise DatasetError(f"{path} cannot be searched for the client: {error}.") from error


def list_numbers(spans: Sequence[Span]) -> set[int]:
    """Return the numbers of all lines of some records."""
    return {span.first + place for span in spans for place in range(span.n_lines)}


def iterate_without(path: Path, spans: Sequence[Span]) -> Iterator[bytes]:
    """Yield the lines of a file byte for byte, without those of some records."""
    left_out = list_numbers(spans)
    with files.open_regular(path) as handle:
        for number, line in enumerate(handle, start=1):
            if number not in left_out:
                yield line


def read_only(path: Path, spans: Sequence[Span]) -> bytes:
    """Return the header of a file and the lines of some records."""
    wanted = {1, *list_numbers(spans)}
    with files.open_regular(path) as handle:
        return b"".join(line for number, line in enumerate(handle, start=1) if number in wanted)
