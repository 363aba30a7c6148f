"""Ingests large files as rows of bytes: what is right and no duplicate is copied, in its order.

Keeps the rows of a dataset in their order, in bytes, until it is known which of them stay.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from scripts.core import files
from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    csv_arrow,
    csv_blocks,
    csv_reader,
    csv_writer,
    dataset,
    deduplicate,
    read_report,
)
from scripts.data.arrays import Places as DeduplicatePlaces
from scripts.data.csv_fast_path import Judge, Rows
from scripts.data.csv_reader import RefusedFileError
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.data.streaming_deduplicate import Sieve, Stack

Mask = NDArray[np.bool_]
Clean = Callable[[pd.DataFrame], pd.DataFrame]
NoteGone = Callable[[DeduplicatePlaces, NDArray[np.uint8]], None]
FindClients = Callable[[pd.DataFrame, Schema], pd.DataFrame]


class FractionsError(Exception):
    """A column has fractions, so that its whole numbers are spelled otherwise than they are."""


@dataclass(frozen=True)
class Known:
    """What the rows so far have told, which a file that is refused late must not change."""

    n_rows: int = 0
    clients: pd.DataFrame = field(default_factory=pd.DataFrame)
    header: tuple[str, ...] = ()
    n_labelled: int = 0
    # Rows with a label that `clean` left out, and how many of them are of clients who left.
    left_out: tuple[int, int] = (0, 0)
    with_fractions: frozenset[str] = frozenset()
    not_whole: frozenset[str] = frozenset()


Breaks = NDArray[np.int64]
Places = NDArray[np.int64]


class Shelf:
    """Keeps rows in their order: in memory, or in a file that has no name.

    Parameters
    ----------
    file : file, optional
        Where to keep the rows; without it, in memory.
    n_bytes : int
        How many there will be, about. Memory that is not used is only asked for, not taken.
    """

    def __init__(self, file: BinaryIO | None = None, n_bytes: int = 0) -> None:
        """Begin without rows."""
        self.file = file
        self.sizes: list[tuple[int, int]] = []
        room = 0 if file is not None else n_bytes
        self.content = Stack(np.uint8, room + WORD_BYTES)
        self.breaks = Stack(np.int64, room // WORD_BYTES + 1)
        self.breaks.put(np.zeros(1, np.int64))

    def put(self, rows: Rows) -> None:
        """Keep the next rows."""
        breaks = rows.ends + 1
        if self.file is None:
            breaks += self.content.n_values
            self.content.put(np.frombuffer(rows.content + bytes(WORD_BYTES), np.uint8))
            self.content.n_values -= WORD_BYTES
            self.breaks.put(breaks)
            return
        self.file.write(rows.content)
        self.file.write(breaks.tobytes())
        self.sizes.append((len(rows.content), breaks.nbytes))

    def take(self) -> Iterator[tuple[NDArray[np.uint8], Breaks]]:
        """Yield the rows, each part's bytes and, with the first one's start, where lines end."""
        if self.file is None:
            breaks = self.breaks.values
            for start in range(0, len(breaks) - 1, PART_ROWS):
                own = breaks[start : start + PART_ROWS + 1]
                yield self.content.values[own[0] : own[-1]], own - own[0]
            return
        with self.file:
            self.file.seek(0)
            for n_bytes, n_break_bytes in self.sizes:
                content = np.frombuffer(self.file.read(n_bytes), np.uint8)
                breaks = np.frombuffer(self.file.read(n_break_bytes), np.int64)
                yield content, np.append(0, breaks)

    def row(self, place: int) -> bytes:
        """Give the bytes of a row that is in memory."""
        start, stop = self.breaks.values[place : place + 2].tolist()
        return self.content.values[start:stop].tobytes()

    def are_equal(self, left: Places, right: Places) -> Mask:
        """Compare pairs of rows that are in memory, byte for byte."""
        parts = range(0, len(left), PART_PAIRS)
        same = [self.compare(left[n : n + PART_PAIRS], right[n : n + PART_PAIRS]) for n in parts]
        return np.concatenate([np.zeros(0, np.bool_), *same])

    def compare(self, left: Places, right: Places) -> Mask:
        """Compare some pairs of rows, a word of eight bytes at a time."""
        breaks, codes = self.breaks.values, self.content.room
        # What is beyond the last row is masked; there is always a word of room for it.
        words = np.ndarray(len(codes) - WORD_BYTES + 1, np.dtype("<u8"), codes.data, strides=(1,))
        one, other = breaks[left], breaks[right]
        lengths = breaks[left + 1] - one
        same: Mask = lengths == breaks[right + 1] - other
        pairs = np.flatnonzero(same)
        for place in range(0, int(lengths.max(initial=0)), WORD_BYTES):
            pairs = pairs[lengths[pairs] > place]
            differ = words[one[pairs] + place] ^ words[other[pairs] + place]
            differ &= FIRST[np.minimum(lengths[pairs] - place, WORD_BYTES)]
            same[pairs[differ != 0]] = False
            pairs = pairs[differ == 0]
        return same


@dataclass
class Gathering:
    """What has been read so far: rows on the shelf, their hashes in the sieve, today's clients."""

    schema: Schema
    sieve: Sieve
    shelf: Shelf
    clean: Clean | None
    find_clients: FindClients
    may_have_fractions: bool
    known: Known = field(default_factory=Known)

    def judge(self, layout: csv_reader.ColumnLayout) -> Callable[[bytes], Rows | None]:
        """Say how the blocks of a file are taken as they are."""
        judge = Judge(layout)
        # Where clients without a label are known, the names in every later row count.
        is_free = self.clean is None
        return lambda content: judge.read(content) if is_free and self.known.clients.empty else None

    def put(self, rows: Rows) -> None:
        """Keep rows of the dataset."""
        if rows.n_rows:
            self.sieve.add(rows.content, rows.starts, rows.ends)
            self.shelf.put(rows)

    def take_rows(self, rows: Rows) -> None:
        """Take rows that are spelled right."""
        self.known = replace(
            self.known,
            n_rows=self.known.n_rows + rows.n_rows,
            n_labelled=self.known.n_labelled + rows.n_rows,
            not_whole=self.known.not_whole | rows.with_blanks,
        )
        self.put(rows)

    def take_table(self, found: pa.Table) -> None:
        """Take rows that had to be parsed: those with a label to the dataset, others to clients."""
        if not found.num_rows:
            return
        parts = [found]
        table = dataset.make_table(
            {name: csv_blocks.take_column(parts, name) for name in self.schema.columns}, self.schema
        )
        not_whole = {name for name in self.schema.numeric if table[name].dtype != np.int64}
        labelled, unlabelled = dataset.split_unlabelled(table, self.schema)
        clients = self.known.clients
        if len(unlabelled) or len(clients):
            earlier = [clients] if len(clients) else []
            clients = self.find_clients(
                pd.concat([*earlier, table], ignore_index=True), self.schema
            )
        self.known = replace(
            self.known,
            n_rows=self.known.n_rows + found.num_rows,
            n_labelled=self.known.n_labelled + len(labelled),
            clients=clients,
            not_whole=self.known.not_whole | not_whole,
        )
        cleaned = self.clean_part(labelled)
        self.note_columns(cleaned)
        if len(cleaned):
            self.put(Rows(*csv_writer.spell_rows(cleaned)))

    def clean_part(self, labelled: pd.DataFrame) -> pd.DataFrame:
        """Clean some rows by the user's own function, and count the rows it leaves out."""
        if self.clean is None:
            return labelled
        cleaned, target = self.clean(labelled), self.schema.target
        if target in cleaned:
            gone = deduplicate.count_dropped(
                labelled[target].to_numpy(), cleaned[target].to_numpy()
            )
            n_rows, n_positives = self.known.left_out
            more = (n_rows + gone.n_rows, n_positives + (gone.n_positives or 0))
            self.known = replace(self.known, left_out=more)
        return cleaned

    def note_columns(self, cleaned: pd.DataFrame) -> None:
        """Note the columns of the dataset, and which of them have fractions."""
        names, header = tuple(map(str, cleaned.columns)), self.known.header
        if header and names != header:
            raise DatasetError(
                f"clean_more gave the columns {names} for some rows and {header} for others;"
                " beyond memory it is given the table in parts and must treat them alike."
            )
        floats = map(str, cleaned.select_dtypes("float").columns)
        fractional = set(floats) - set(csv_writer.whole_columns(cleaned))
        if fractional and not self.may_have_fractions:
            raise FractionsError
        with_fractions = self.known.with_fractions | fractional
        self.known = replace(self.known, header=names, with_fractions=with_fractions)

    def read(self, path: Path, *, needs_label: bool) -> FileReading:
        """Read a file; if it is refused, nothing of it stays."""
        found, since = csv_reader.new_reading(path, self.schema), self.sieve.n_rows
        before = self.known
        try:
            with csv_reader.open_file(path, path.parent) as handle:
                for part in csv_blocks.read_parts(
                    handle, self.schema, found, needs_label=needs_label, shortcut=self.judge
                ):
                    if isinstance(part, Rows):
                        self.take_rows(part)
                    else:
                        self.take_table(part)
        except RefusedFileError as error:
            csv_reader.refuse(found, error)
            self.sieve.cancel(since)
            self.known = before
        return found


@dataclass(frozen=True)
class Gathered:
    """The rows of a dataset, in bytes, with what was found on the way.

    Of which class the dropped rows are is known when all parts have been taken.
    """

    n_rows: int
    n_labelled: int
    dropped: Dropped
    parts: Iterator[bytes]
    clients: pd.DataFrame
    readings: list[FileReading]


def respell(
    part: bytes, header: Sequence[str], schema: Schema, with_fractions: frozenset[str]
) -> bytes:
    """Spell rows anew where a column has fractions elsewhere, so that a whole number ends in .0."""
    table = csv_arrow.parse_spelled(part, header, schema).to_pandas()
    whole = [name for name in table.select_dtypes("float") if name not in with_fractions]
    return csv_writer.spell_by_arrow(table, whole)


def count_repeats(gathering: Gathering, dropped: Dropped) -> NoteGone:
    """Return what counts the dropped rows of clients who left, by the last byte of each row."""

    def note(places: DeduplicatePlaces, last: NDArray[np.uint8]) -> None:
        if dropped.n_positives is not None:
            is_repeat = ~gathering.sieve.is_cancelled(places)
            dropped.n_positives += int(np.count_nonzero(last[is_repeat] == ord("1")))

    return note


def spell(gathering: Gathering, is_first: Mask, dropped: Dropped) -> Iterator[bytes]:
    """Spell the dataset.

    Parameters
    ----------
    gathering : Gathering
        All that was read.
    is_first : numpy.ndarray of shape (n_rows,)
        Which rows stay.
    dropped : Dropped
        Is told of which class the other rows are.

    Yields
    ------
    bytes
        Whole lines, the header first.
    """
    known = gathering.known
    header = known.header or gathering.schema.columns
    yield csv_writer.spell_header(header)
    for part in choose_rows(gathering.shelf, is_first, count_repeats(gathering, dropped)):
        if known.with_fractions:
            yield respell(part, header, gathering.schema, known.with_fractions)
        else:
            yield part


def as_kept(known: Known, schema: Schema) -> pd.DataFrame:
    """Give clients the kinds of numbers that the table of all rows would have."""
    clients = known.clients
    if clients.empty:
        clients = dataset.make_table({name: [] for name in schema.columns}, schema)
    kinds = {name: np.float64 if name in known.not_whole else np.int64 for name in schema.numeric}
    return clients.astype(kinds)


def gather(
    paths: Sequence[Path],
    schema: Schema,
    folder: Path,
    *,
    find_clients: FindClients,
    clean: Clean | None = None,
    bound_bytes: int | None = None,
    drop_equal: bool = True,
) -> Gathered:
    """Read files strictly, in the order given, and drop the rows that repeat an earlier one.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        Their columns.
    folder : Path
        Where to put what does not fit into memory; nothing stays there.
    find_clients : callable
        Finds today's clients in a table.
    clean : callable, optional
        Is given the rows with a label in parts, as tables.
    bound_bytes : int, optional
        How much memory to use about; without it, as much as the files have bytes, and more.
    drop_equal : bool
        Whether rows that repeat an earlier one go.

    Returns
    -------
    Gathered
        The same rows as from `dataset.read_tables`, cleaned; their bytes once.

    Raises
    ------
    DatasetError
        If no usable row is found.
    FractionsError
        Without a bound, if a column has fractions: the whole table is then spelled better.
    """
    is_bounded = bound_bytes is not None
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile(dir=folder)) if is_bounded else None
        n_bytes = files.stored_bytes(paths)
        n_rows = 0 if is_bounded else n_bytes // WORD_BYTES
        sieve = stack.enter_context(
            contextlib.closing(Sieve(folder, bound_bytes, n_rows, drops_equal=drop_equal))
        )
        shelf = Shelf(file, n_bytes)
        gathering = Gathering(
            schema, sieve, shelf, clean, find_clients, may_have_fractions=is_bounded
        )
        readings = [gathering.read(path, needs_label=False) for path in paths]
        if not gathering.known.n_rows:
            raise DatasetError(
                f"No usable row was found. {read_report.format_complaints(readings)}"
            )
        is_first = sieve.find_firsts(gathering.shelf)
        # From here on whoever takes the rows closes the file.
        stack.pop_all()
    n_rows = int(np.count_nonzero(is_first))
    known = gathering.known
    clients = as_kept(known, schema)
    # Rows end with their label, unless `clean` has put the columns in another order.
    is_last = not known.header or known.header[-1] == schema.target
    n_rows_left_out, n_positives = known.left_out
    n_dropped = known.n_labelled - n_rows
    n_known = n_positives if is_last or n_dropped == n_rows_left_out else None
    dropped = Dropped(n_dropped, n_known)
    parts = spell(gathering, is_first, dropped)
    return Gathered(n_rows, known.n_labelled, dropped, parts, clients, readings)


WORD_BYTES = 8
FIRST = np.array([2 ** (8 * n) - 1 for n in range(WORD_BYTES + 1)], np.uint64)
# So many rows are handed out, or pairs compared, at once: their bytes stay in the cache.
PART_ROWS = 2**16
PART_PAIRS = 2**13


def choose_rows(
    shelf: Shelf,
    is_first: Mask,
    note: Callable[[Places, NDArray[np.uint8]], None] | None = None,
) -> Iterator[bytes]:
    """Yield the rows that are the first of their kind.

    Parameters
    ----------
    shelf : Shelf
        All rows.
    is_first : numpy.ndarray of shape (n_rows,)
        Which rows stay.
    note : callable, optional
        Is given the places of rows that do not stay, and the last byte of each.

    Yields
    ------
    bytes
        Whole lines.
    """
    place = 0
    for content, breaks in shelf.take():
        kept = is_first[place : place + len(breaks) - 1]
        if note is not None and not kept.all():
            note(place + np.flatnonzero(~kept), content[breaks[1:][~kept] - 2])
        place += len(kept)
        if kept.all():
            yield content.tobytes()
        elif kept.any():
            # Arrow copies runs of rows, not bytes one by one.
            buffers = [None, pa.py_buffer(breaks), pa.py_buffer(content)]
            rows = pa.Array.from_buffers(pa.large_binary(), len(kept), buffers)
            _, _, chosen = rows.filter(pa.array(kept)).buffers()
            yield chosen.to_pybytes()
