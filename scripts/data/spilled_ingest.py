"""Ingestion beyond memory: rows go through files, and equal rows are compared cell by cell.

Hashes only choose the rows to compare: rows whose hash no other row has repeat none. The key of the
hashes is drawn anew for each ingestion, so nobody can choose rows whose hashes are equal.
"""

import contextlib
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct, field
from numpy.typing import NDArray

from scripts.core import files
from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import csv_reader, polars_dataset, polars_reader, polars_repeats, read_report
from scripts.data.arrays import Mask
from scripts.data.csv_reader import RefusedFileError
from scripts.data.deduplicate import Dropped
from scripts.data.polars_dataset import Clean, Ingested
from scripts.data.polars_repeats import ROW
from scripts.data.read_report import FileReading

# Equal rows are looked for in so many parts, one after the other.
N_PARTS_BITS = 8
RECORD_WORDS = 2
# The memory of a row whose hash waits to be sorted and written.
ROW_BYTES = 64
# Rows that wait to be written are in memory twice while they are parted.
TABLE_COPIES = 4
N_KEYS = 2**64
PLACE, PART = "\x00place", "\x00part"


def read_rows(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a file of rows, or some columns, from a folder of any name."""
    rows = pl.scan_ipc(path, glob=False)
    return (rows if columns is None else rows.select(columns)).collect()


class RowFiles(Struct):
    """Tables in files, in the order of reading, with their columns with fractions.

    `known` selects the rows with a label, None if all have one.
    """

    folder: Path
    known: pl.Expr | None
    paths: list[Path] = field(default_factory=list)
    fractions: list[tuple[set[str], set[str]]] = field(default_factory=list)
    n_written: int = 0

    def put(self, table: pl.DataFrame) -> None:
        """Write a table behind the earlier tables."""
        path = self.folder / f"{id(self)}-{self.n_written}.arrow"
        table.write_ipc(path)
        self.n_written += 1
        self.paths.append(path)
        of_all = polars_reader.fractional_columns(table)
        of_known = polars_reader.fractional_columns(self.select_known(table))
        self.fractions.append((of_all, of_known))

    def select_known(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of a table with a label."""
        return table if self.known is None else table.filter(self.known)

    def keep(self, n_tables: int) -> None:
        """Remove all but the first tables."""
        for path in self.paths[n_tables:]:
            path.unlink()
        del self.paths[n_tables:], self.fractions[n_tables:]

    def read(self) -> Iterator[pl.DataFrame]:
        """Read all rows, with integers in columns without any fraction."""
        fractional = set[str]().union(*(of_all for of_all, _ in self.fractions))
        for path in self.paths:
            yield polars_reader.cast_numbers(read_rows(path), fractional)

    def read_known(self) -> Iterator[pl.DataFrame]:
        """Read the rows with a label, with integers in columns without any fraction in these."""
        fractional = set[str]().union(*(of_known for _, of_known in self.fractions))
        for path in self.paths:
            table = self.select_known(read_rows(path))
            yield polars_reader.cast_numbers(table, fractional)

    def read_labels(self, target: str) -> Iterator[pl.Series]:
        """Read the labels of the rows with a label."""
        for path in self.paths:
            yield self.select_known(read_rows(path, [target]))[target]


def part_of(hashes: NDArray[np.uint64], n_parts: int) -> NDArray[np.int64]:
    """Return the part of each hash, 0 to `n_parts` - 1."""
    return ((hashes >> np.uint64(32)) % np.uint64(n_parts)).astype(np.int64)


class SharedHashFinder:
    """Finds the rows with a shared hash, by hashes in files.

    Parameters
    ----------
    folder : Path
        Where the hashes are kept.
    key : int
        The key of the hashes.
    bound_bytes : int
        The memory for the hashes that wait to be written.
    """

    def __init__(self, folder: Path, key: int, bound_bytes: int) -> None:
        self.folder, self.key, self.bound_bytes = folder, key, bound_bytes
        self.waiting: list[NDArray[np.uint64]] = []
        self.shared: list[Mask] = []
        self.n_waiting, self.n_rows = 0, 0

    def add(self, table: pl.DataFrame) -> None:
        """Take the next rows."""
        self.waiting.append(polars_repeats.hash_rows(table, self.key))
        self.n_rows += table.height
        self.n_waiting += table.height
        if self.n_waiting * ROW_BYTES > self.bound_bytes:
            self.write()

    def write(self) -> None:
        """Write the first of the waiting rows of each hash to the file of its part."""
        hashes = np.concatenate([np.zeros(0, np.uint64), *self.waiting])
        series = pl.Series(hashes)
        self.shared.append(series.is_duplicated().to_numpy())
        places = np.arange(self.n_rows - len(hashes), self.n_rows, dtype=np.uint64)
        # The others are known to be shared: any number of equal rows takes no more memory than one.
        records = np.column_stack([hashes, places])[series.is_first_distinct().to_numpy()]
        self.waiting, self.n_waiting = [], 0
        parts = part_of(records[:, 0], 2**N_PARTS_BITS)
        order = np.argsort(parts, kind="stable")
        records, parts = records[order], parts[order]
        bounds = np.searchsorted(parts, np.arange(2**N_PARTS_BITS + 1))
        for part in range(2**N_PARTS_BITS):
            with (self.folder / f"{part}.hashes").open("ab") as handle:
                handle.write(records[bounds[part] : bounds[part + 1]].tobytes())

    def find(self) -> Mask:
        """Return a mask of the rows whose hash another row has, shape (n_rows,)."""
        self.write()
        is_shared = np.concatenate(self.shared)
        for part in range(2**N_PARTS_BITS):
            path = self.folder / f"{part}.hashes"
            records = np.fromfile(path, np.uint64).reshape(-1, RECORD_WORDS)
            path.unlink()
            hashes = pl.Series(np.ascontiguousarray(records[:, 0]))
            is_shared[records[hashes.is_duplicated().to_numpy(), 1].astype(np.int64)] = True
        return is_shared


class PartWriter(Struct):
    """Writes rows to the files of their part, in their order.

    Rows wait until so many copies of them need the memory that is given.
    """

    folder: Path
    bound_bytes: int
    n_copies: int
    waiting: list[pl.DataFrame] = field(default_factory=list)
    n_bytes: int = 0
    n_writes: int = 0

    def add(self, table: pl.DataFrame) -> None:
        """Take the next rows, with the column PART."""
        self.waiting.append(table)
        self.n_bytes += int(table.estimated_size())
        if self.n_bytes * self.n_copies > self.bound_bytes:
            self.write()

    def write(self) -> None:
        """Write the waiting rows to files, one for each part."""
        if not self.waiting:
            return
        parts = pl.concat(self.waiting, how="vertical_relaxed").partition_by(
            PART, as_dict=True, include_key=False, maintain_order=True
        )
        for (part,), table in parts.items():
            table.write_ipc(self.path(part, self.n_writes))
        self.waiting, self.n_bytes, self.n_writes = [], 0, self.n_writes + 1

    def path(self, part: int, number: int) -> Path:
        """Return the file of a part of a write."""
        return self.folder / f"{part}-{number}.rows"

    def list_paths(self, part: int) -> list[Path]:
        """List the files of a part in the order of the writes."""
        paths = (self.path(part, number) for number in range(self.n_writes))
        return [path for path in paths if path.exists()]


class RowComparer:
    """Compares rows cell by cell, with possibly equal rows in the same files.

    Parameters
    ----------
    folder : Path
        Where the rows are kept.
    key : int
        The key of the hashes.
    bound_bytes : int
        The memory for the rows that wait to be written.
    n_bytes : int
        About how many bytes all rows to compare take: the more, the more files.
    """

    def __init__(self, folder: Path, key: int, *, bound_bytes: int, n_bytes: int) -> None:
        self.key, self.bound_bytes = key, bound_bytes
        # Small files cost more time than the rows in them.
        self.n_parts = min(2**N_PARTS_BITS, 1 + TABLE_COPIES * n_bytes // bound_bytes)
        self.writer = PartWriter(folder, bound_bytes, TABLE_COPIES)

    def add(self, table: pl.DataFrame, places: NDArray[np.int64]) -> None:
        """Take the next rows to compare, with their ascending places in the dataset."""
        parts = part_of(polars_repeats.hash_rows(table, self.key), self.n_parts)
        self.writer.add(table.with_columns(pl.Series(PART, parts), pl.Series(PLACE, places)))

    def find(self) -> NDArray[np.int64]:
        """Return the places of the rows that repeat an earlier one."""
        self.writer.write()
        places = [np.zeros(0, np.int64)]
        for part in range(self.n_parts):
            known: list[pl.DataFrame] = []
            for table in self.read(part):
                places.append(self.compare(known, table))
        return np.concatenate(places)

    def read(self, part: int) -> Iterator[pl.DataFrame]:
        """Read the rows of a part, as many at once as fit into the memory, and remove its files."""
        tables: list[pl.DataFrame] = []
        for path in self.writer.list_paths(part):
            tables.append(read_rows(path))
            path.unlink()
            n_bytes = sum(int(table.estimated_size()) for table in tables)
            if n_bytes * TABLE_COPIES > self.bound_bytes:
                yield pl.concat(tables, how="vertical_relaxed")
                tables = []
        if tables:
            yield pl.concat(tables, how="vertical_relaxed")

    def compare(self, known: list[pl.DataFrame], table: pl.DataFrame) -> NDArray[np.int64]:
        """Return the places of repeats of known rows or earlier ones, and add the others."""
        rows = pl.concat([*known, table.drop(PLACE)], how="vertical_relaxed")
        is_first = rows.select(ROW.is_first_distinct()).to_series()
        known[:] = [rows.filter(is_first)]
        is_new = is_first.slice(rows.height - table.height)
        return table.filter(~is_new)[PLACE].to_numpy()


def spill_file(path: Path, schema: Schema, rows: RowFiles) -> FileReading:
    """Read a file into row files, and nothing of a refused file."""
    reading, n_before = csv_reader.new_reading(path, schema), len(rows.paths)
    try:
        with csv_reader.open_file(path, path.parent) as handle:
            for table in polars_reader.read_blocks(handle, schema, reading, needs_label=False):
                if table.height:
                    rows.put(table)
    except RefusedFileError as error:
        csv_reader.refuse(reading, error)
        rows.keep(n_before)
    return reading


def select_places(rows: RowFiles, places: pl.Series, empty: pl.DataFrame) -> pl.DataFrame:
    """Return the rows at ascending places."""
    taken, n_before = [empty], 0
    for table in rows.read():
        stop = n_before + table.height
        here = places.filter((places >= n_before) & (places < stop)) - n_before
        taken.append(table[here])
        n_before = stop
    return pl.concat(taken, how="vertical_relaxed")


def find_clients(rows: RowFiles, schema: Schema) -> tuple[pl.DataFrame, set[str]]:
    """Return today's clients, and the numeric columns with integers in all rows."""
    integers, unlabelled = set(schema.numeric), [polars_reader.empty_table(schema)]
    without = ~polars_dataset.is_labelled(schema)
    for table in rows.read():
        integers &= polars_dataset.integer_columns(table, schema)
        unlabelled.append(table.filter(without))
    todays = pl.concat(unlabelled, how="vertical_relaxed")
    if not todays.height or not schema.ids:
        return todays, integers
    # Of the rows that mention these clients only names and labels are kept, and the places.
    ids, n_before, mentions = list(schema.ids), 0, []
    names = todays.select(ids).unique()
    for table in rows.read():
        numbered = table.select(*ids, schema.target).with_row_index(PLACE, n_before)
        mentions.append(numbered.join(names, on=ids, how="semi"))
        n_before += table.height
    last = pl.concat(mentions).sort(PLACE).unique(ids, keep="last", maintain_order=True)
    return select_places(rows, last.filter(without)[PLACE], todays.clear()), integers


def clean_tables(
    tables: Iterable[pl.DataFrame], folder: Path, schema: Schema, clean: Clean
) -> RowFiles:
    """Clean labelled rows in parts by the user's own function, into files of a folder.

    Raises
    ------
    DatasetError
        If the function returns other columns for some rows than for others.
    """
    cleaned, header = RowFiles(folder, None), tuple[str, ...]()
    for table in tables:
        integers = polars_dataset.integer_columns(table, schema)
        part = clean(polars_dataset.to_pandas(table, schema, integers))
        names = tuple(map(str, part.columns))
        if header and names != header:
            raise DatasetError(
                f"clean_more gave the columns {names} for some rows and {header} for others;"
                " beyond memory it is given the table in parts and must treat them alike."
            )
        header = names
        cleaned.put(polars_dataset.from_pandas(part))
    return cleaned


def find_repeats(rows: RowFiles, bound_bytes: int) -> Mask:
    """Return a mask of the labelled rows equal to an earlier row."""
    key = secrets.randbelow(N_KEYS)
    finder = SharedHashFinder(rows.folder, key, bound_bytes)
    for table in rows.read_known():
        finder.add(table)
    is_shared, n_before = finder.find(), 0
    is_repeat = np.zeros(len(is_shared), np.bool_)
    n_bytes = int(files.total_bytes(rows.paths) * is_shared.mean()) if len(is_shared) else 0
    comparer = RowComparer(rows.folder, key, bound_bytes=bound_bytes, n_bytes=n_bytes)
    for table in rows.read_known() if is_shared.any() else ():
        places = np.flatnonzero(is_shared[n_before : n_before + table.height])
        if len(places):
            comparer.add(table[places], places + n_before)
        n_before += table.height
    is_repeat[comparer.find()] = True
    return is_repeat


def count_kept_positives(rows: RowFiles, target: str, is_repeat: Mask) -> int | None:
    """Count the positives among unrepeated rows, None if cleaning left out the target."""
    if target not in pl.read_ipc_schema(rows.paths[0]):
        return None
    n_before = n_positives = 0
    for labels in rows.read_labels(target):
        is_kept = ~is_repeat[n_before : n_before + len(labels)]
        n_positives += int(((labels == 1).to_numpy() & is_kept).sum())
        n_before += len(labels)
    return n_positives


def count_rows(rows: RowFiles) -> int:
    """Count the rows with a label."""
    return sum(table.height for table in rows.read_known())


def count_labelled(rows: RowFiles, target: str) -> tuple[int, int]:
    """Count the rows with a label, and the positives among them."""
    labels = list(rows.read_labels(target))
    return sum(map(len, labels)), sum(int((own == 1).sum()) for own in labels)


def encode_parts(rows: RowFiles, is_repeat: Mask, stack: contextlib.ExitStack) -> Iterator[bytes]:
    """Encode the unrepeated rows, then remove the files."""
    with stack:
        n_before = 0
        for number, table in enumerate(rows.read_known()):
            mask = is_repeat[n_before : n_before + table.height]
            parts = polars_dataset.encode_rows(table, mask)
            header = next(parts)
            if number == 0:
                yield header
            yield from parts
            n_before += table.height


def ingest(
    paths: Sequence[Path],
    schema: Schema,
    folder: Path,
    *,
    bound_bytes: int,
    drop_equal: bool,
    clean: Clean | None = None,
) -> Ingested:
    """Read files strictly, in the order given, without holding their rows in memory.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        Their columns.
    folder : Path
        Where rows are kept that do not fit into memory. Nothing stays there once the parts of the
        result have been taken.
    bound_bytes : int
        The memory for hashes that wait to be written.
    drop_equal : bool
        Whether rows that are equal to an earlier one are dropped.
    clean : callable, optional
        The cleaning of this installation. It is given the labelled rows in parts.

    Returns
    -------
    Ingested
        The same rows as from `polars_ingest.ingest`. The classes of the dropped rows are known
        once the parts have been taken.

    Raises
    ------
    DatasetError
        If no row is usable, or `clean` returns different columns for different rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        place = tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp")
        rows = RowFiles(Path(stack.enter_context(place)), polars_dataset.is_labelled(schema))
        readings = [spill_file(path, schema, rows) for path in paths]
        if not rows.paths:
            raise DatasetError(
                f"No usable row was found. {read_report.format_complaints(readings)}"
            )
        clients, integers = find_clients(rows, schema)
        n_labelled, n_positives = count_labelled(rows, schema.target)
        kept = (
            rows if clean is None else clean_tables(rows.read_known(), rows.folder, schema, clean)
        )
        if drop_equal:
            is_repeat = find_repeats(kept, bound_bytes)
        else:
            is_repeat = np.zeros(count_rows(kept), np.bool_)
        n_kept_positives = count_kept_positives(kept, schema.target, is_repeat)
        n_rows = int((~is_repeat).sum())
        n_gone = None if n_kept_positives is None else n_positives - n_kept_positives
        # From here on whoever takes the parts removes the files.
        parts = encode_parts(kept, is_repeat, stack.pop_all())
    return Ingested(
        n_rows, n_labelled, Dropped(n_labelled - n_rows, n_gone), parts,
        polars_dataset.to_pandas(clients, schema, integers), readings,
    )  # fmt: skip
