"""Ingestion beyond memory: rows go through files, and equal rows are found by keyed hashes.

The keys are drawn anew for each ingestion, so nobody can choose rows whose hashes are equal. Rows
are taken for equal if 128 bits are. Two different rows are with a probability of 2**-128. Among
10**8 rows that happens with a probability below 10**-22.
"""

import contextlib
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import csv_reader, polars_dataset, polars_reader, read_report
from scripts.data.arrays import Mask
from scripts.data.csv_reader import RefusedFileError
from scripts.data.deduplicate import Dropped
from scripts.data.polars_dataset import Clean, Ingested
from scripts.data.read_report import FileReading

# Equal rows are looked for in so many parts, one after the other.
N_PARTS_BITS = 8
HASH_WORDS = 3
# The memory of a row whose hashes wait to be sorted and written.
ROW_BYTES = 96
N_KEYS = 2**64
PLACE = "\x00place"
NO_ROW: Mask = np.zeros(0, np.bool_)


@dataclass
class RowFiles:
    """Tables in files, in the order in which they were read, with their columns with fractions.

    `known` selects the rows with a label, None if all have one.
    """

    folder: Path
    known: pl.Expr | None
    paths: list[Path] = field(default_factory=list)
    fractions: list[tuple[set[str], set[str]]] = field(default_factory=list)
    n_written: int = 0

    def put(self, table: pl.DataFrame) -> None:
        """Write a table behind the others."""
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
            yield polars_reader.cast_numbers(pl.read_ipc(path), fractional)

    def read_known(self) -> Iterator[pl.DataFrame]:
        """Read the rows with a label, with integers in columns without any fraction in these."""
        fractional = set[str]().union(*(of_known for _, of_known in self.fractions))
        for path in self.paths:
            table = self.select_known(pl.read_ipc(path))
            yield polars_reader.cast_numbers(table, fractional)


class RepeatFinder:
    """Finds the rows that repeat an earlier one by 128 bits of each, kept in files.

    Parameters
    ----------
    folder : Path
        Where the hashes are kept.
    bound_bytes : int
        The memory for the hashes that wait to be written.
    """

    def __init__(self, folder: Path, bound_bytes: int) -> None:
        self.folder, self.bound_bytes = folder, bound_bytes
        self.keys = [secrets.randbelow(N_KEYS) for _ in range(2)]
        self.waiting: list[NDArray[np.uint64]] = []
        self.n_waiting, self.n_rows = 0, 0

    def add(self, table: pl.DataFrame) -> None:
        """Take the next rows."""
        hashes = [polars_dataset.hash_rows(table, key) for key in self.keys]
        places = np.arange(self.n_rows, self.n_rows + table.height, dtype=np.uint64)
        self.waiting.append(np.column_stack([*hashes, places]))
        self.n_rows += table.height
        self.n_waiting += table.height
        if self.n_waiting * ROW_BYTES > self.bound_bytes:
            self.write()

    def write(self) -> None:
        """Write the waiting hashes to the files of their parts."""
        records = np.concatenate([np.zeros((0, HASH_WORDS), np.uint64), *self.waiting])
        self.waiting, self.n_waiting = [], 0
        parts = (records[:, 1] >> np.uint64(64 - N_PARTS_BITS)).astype(np.int64)
        order = np.argsort(parts, kind="stable")
        records, parts = records[order], parts[order]
        bounds = np.searchsorted(parts, np.arange(2**N_PARTS_BITS + 1))
        for part in range(2**N_PARTS_BITS):
            with (self.folder / f"{part}.hashes").open("ab") as handle:
                handle.write(records[bounds[part] : bounds[part + 1]].tobytes())

    def find(self) -> Mask:
        """Return a mask of the rows that repeat an earlier one, shape (n_rows,)."""
        self.write()
        is_repeat = np.zeros(self.n_rows, np.bool_)
        for part in range(2**N_PARTS_BITS):
            path = self.folder / f"{part}.hashes"
            records = np.fromfile(path, np.uint64).reshape(-1, HASH_WORDS)
            path.unlink()
            pairs = pl.DataFrame(np.ascontiguousarray(records[:, :2]), schema=["one", "other"])
            is_first = pairs.select(pl.struct("one", "other").is_first_distinct()).to_series()
            is_repeat[records[~is_first.to_numpy(), 2].astype(np.int64)] = True
        return is_repeat


def spill_file(path: Path, schema: Schema, rows: RowFiles) -> FileReading:
    """Read a file into row files; of a refused file nothing stays."""
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


def find_clients(rows: RowFiles, schema: Schema) -> tuple[pl.DataFrame, set[str]]:
    """Return today's clients, and the numeric columns that are integers in all rows."""
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
    return take_places(rows, last.filter(without)[PLACE], todays.clear()), integers


def take_places(rows: RowFiles, places: pl.Series, empty: pl.DataFrame) -> pl.DataFrame:
    """Return the rows at ascending places."""
    taken, n_before = [empty], 0
    for table in rows.read():
        stop = n_before + table.height
        here = places.filter((places >= n_before) & (places < stop)) - n_before
        taken.append(table[here])
        n_before = stop
    return pl.concat(taken, how="vertical_relaxed")


def clean_rows(rows: RowFiles, schema: Schema, clean: Clean) -> RowFiles:
    """Clean the labelled rows in parts by the user's own function.

    Raises
    ------
    DatasetError
        If the function returns other columns for some rows than for others.
    """
    cleaned, header = RowFiles(rows.folder, None), tuple[str, ...]()
    for table in rows.read_known():
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


def find_repeats(
    rows: RowFiles, target: str, *, bound_bytes: int, drop_equal: bool
) -> tuple[Mask, int | None]:
    """Return a mask of the repeated rows, and the number of positives among the others.

    The number is None if the rows have no target, as after a cleaning that renames it.
    """
    finder, positives, has_target = RepeatFinder(rows.folder, bound_bytes), [NO_ROW], True
    for table in rows.read_known():
        has_target &= target in table.columns
        if has_target:
            positives.append((table[target] == 1).to_numpy())
        if drop_equal:
            finder.add(table)
        else:
            finder.n_rows += table.height
    is_repeat = finder.find() if drop_equal else np.zeros(finder.n_rows, np.bool_)
    is_positive = np.concatenate(positives)
    return is_repeat, int(is_positive[~is_repeat].sum()) if has_target else None


def count_labelled(rows: RowFiles, target: str) -> tuple[int, int]:
    """Count the rows with a label, and the positives among them."""
    labels = [table[target] for table in rows.read_known()]
    return sum(map(len, labels)), sum(int((own == 1).sum()) for own in labels)


def encode_parts(rows: RowFiles, is_repeat: Mask, stack: contextlib.ExitStack) -> Iterator[bytes]:
    """Encode the rows that repeat no earlier one, then remove the files."""
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
        kept = rows if clean is None else clean_rows(rows, schema, clean)
        is_repeat, n_kept_positives = find_repeats(
            kept, schema.target, bound_bytes=bound_bytes, drop_equal=drop_equal
        )
        n_rows = int((~is_repeat).sum())
        n_gone = None if n_kept_positives is None else n_positives - n_kept_positives
        # From here on whoever takes the parts removes the files.
        parts = encode_parts(kept, is_repeat, stack.pop_all())
    return Ingested(
        n_rows, n_labelled, Dropped(n_labelled - n_rows, n_gone), parts,
        polars_dataset.to_pandas(clients, schema, integers), readings,
    )  # fmt: skip
