"""Dated rows beyond memory: parts with all rows of their clients go through files in turn.

Parts are ranges of the key, so the parts one after the other are all rows by client. What is to be
decided from all rows, such as the split, is decided from groups of rows that are alike.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from msgspec import Struct, field
from numpy.typing import NDArray

from scripts.core import capacity, name_hashes
from scripts.core.config import Schema
from scripts.data import (
    client_dates,
    csv_reader,
    dated_files,
    dated_rows,
    key_spellings,
    polars_dataset,
    polars_dated,
    polars_reader,
    spilled_ingest,
)
from scripts.data.cells import UNLABELLED
from scripts.data.csv_reader import RefusedFileError
from scripts.data.dated_rows import OF_TEST, Flags
from scripts.data.deduplicate import Dropped
from scripts.data.polars_dataset import Clean
from scripts.data.polars_dated import PolarsRows
from scripts.data.read_report import FileReading
from scripts.data.spilled_ingest import PART, PartWriter, RowFiles

# Rows are in memory several times while a part is sorted and derived.
TABLE_COPIES = 8
MAX_PARTS = 1024
# Every so many rows, the key of one is kept to choose the ranges of the parts.
SAMPLED = 256
# A slice of a file is read in batches of so many rows.
BATCH_ROWS = 2**14
# Beside the columns of the dataset: the group of a row, and whether its client is open today.
GROUP, OPEN = "\x00group", "\x00open"
GROUP_NAMES = ("labels", "is_mature", "left_before", "of_test", "in_fold", "gone")

Ints = NDArray[np.int64]
Judged = Mapping[str, NDArray[Any]]


class Folder:
    """A folder for rows, removed with the last object in need of the rows."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(dir=parent, prefix=".", suffix=".tmp"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder now."""
        self._remove()


class Blocks(Struct):
    """Tables in files, in the order of reading, and some of their keys."""

    folder: Path
    key: str
    paths: list[Path] = field(default_factory=list)
    samples: list[pl.Series] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    n_written: int = 0

    def put(self, table: pl.DataFrame) -> None:
        """Write a table behind the earlier tables."""
        path = self.folder / f"{self.n_written}.block"
        table.write_ipc(path)
        self.n_written += 1
        self.paths.append(path)
        self.samples.append(table[self.key].gather_every(SAMPLED))
        self.sizes.append(int(table.estimated_size()))
        self.heights.append(table.height)

    def keep(self, n_tables: int) -> None:
        """Remove all but the first tables."""
        for path in self.paths[n_tables:]:
            path.unlink()
        for kept in (self.paths, self.samples, self.sizes, self.heights):
            del kept[n_tables:]

    def choose_bounds(self, bound_bytes: int) -> pl.Series:
        """Return the first keys of all parts but the first, for parts within the memory."""
        n_parts = min(MAX_PARTS, 1 + TABLE_COPIES * sum(self.sizes) // bound_bytes)
        keys = pl.concat(self.samples).sort()
        places = [len(keys) * part // n_parts for part in range(1, n_parts)]
        return keys.gather(places).unique().sort()


def spill_file(
    path: Path, schema: Schema, blocks: Blocks, *, has_outcomes: bool, of_test: bool
) -> FileReading:
    """Read a dated file into blocks, and nothing of a refused file."""
    plan = dated_files.plan_file(path, schema, has_outcomes=has_outcomes)
    if plan.refused is not None:
        return plan.refused
    reading, n_before = csv_reader.new_reading(path, plan.schema), len(blocks.paths)
    try:
        with csv_reader.open_file(path, path.parent) as handle:
            for table in polars_reader.read_blocks(handle, plan.schema, reading, needs_label=False):
                if table.height:
                    whole = polars_dated.complete(table, schema, plan.day)
                    whole = whole.cast(polars_dated.column_kinds(schema))
                    blocks.put(whole.with_columns(pl.lit(value=of_test).alias(OF_TEST)))
    except RefusedFileError as error:
        csv_reader.refuse(reading, error)
        blocks.keep(n_before)
    return reading


def split_ranges(blocks: Blocks, bounds: pl.Series, bound_bytes: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of each range of keys with rows, in the order of the keys.

    Yields
    ------
    polars.DataFrame of shape (n_rows, n_columns)
        Rows of a range in their order. Blocks and files are removed.
    """
    writer = PartWriter(blocks.folder, bound_bytes, TABLE_COPIES)
    for path in blocks.paths:
        table = spilled_ingest.read_rows(path)
        parts = bounds.search_sorted(table[blocks.key], side="right")
        writer.add(table.with_columns(parts.alias(PART)))
        path.unlink()
    writer.write()
    for part in range(len(bounds) + 1):
        paths = writer.list_paths(part)
        if paths:
            yield pl.concat([spilled_ingest.read_rows(path) for path in paths])
        for path in paths:
            path.unlink()


class Part(Struct, frozen=True):
    """A file of rows by day and client, with the number of rows of each day."""

    path: Path
    days: Ints
    n_rows: Ints

    def read_days(self, first: int, last: int) -> pl.DataFrame:
        """Read the rows from a first to a last day."""
        start, end = np.searchsorted(self.days, [first, last + 1])
        offset = int(self.n_rows[:start].sum())
        rows = pl.scan_ipc(self.path, glob=False)
        return rows.slice(offset, int(self.n_rows[start:end].sum())).collect()

    def read_open(self, first: int, target: str) -> pl.DataFrame:
        """Read the rows of open clients from a day on, without a label."""
        rows = self.read_days(first, int(self.days[-1])).filter(OPEN).drop(GROUP, OPEN)
        return rows.with_columns(pl.lit(UNLABELLED, pl.Int64).alias(target))

    def read_columns(self, *names: str) -> pl.DataFrame:
        """Read some columns of all rows."""
        return spilled_ingest.read_rows(self.path, names)


class Groups(Struct, frozen=True):
    """Numbers of similar rows: the day, the outcome and the use of each group.

    `codes` are sorted numbers that `encode_groups` gives to the rows of a group.
    """

    codes: Ints
    n_rows: Ints

    def find(self, name: str) -> Ints:
        """Return the value of a name of GROUP_NAMES of each group."""
        place = GROUP_NAMES.index(name)
        found: Ints = self.codes // 4 ** (len(GROUP_NAMES) - 1 - place) % 4
        return found - 1 if name == "labels" else found

    @property
    def days(self) -> Ints:
        """Return the day of each group, counted from 1970-01-01."""
        days: Ints = self.codes // 4 ** len(GROUP_NAMES)
        return days

    def are_in(self, codes: Ints, chosen: Flags) -> Flags:
        """Return a mask of the rows of the chosen groups."""
        found: Flags = chosen[np.searchsorted(self.codes, codes)]
        return found


def encode_groups(days: Ints, judged: Judged) -> Ints:
    """Return the number of the group of each row: by day, outcome and use."""
    codes = days
    for name in GROUP_NAMES:
        values = judged[name].astype(np.int64)
        codes = codes * 4 + (values + 1 if name == "labels" else values)
    return codes


def unite_groups(parts: Sequence[Groups]) -> Groups:
    """Return the groups of all parts."""
    codes = np.concatenate([part.codes for part in parts])
    n_rows = np.concatenate([part.n_rows for part in parts])
    found, places = np.unique(codes, return_inverse=True)
    return Groups(found, np.bincount(places, weights=n_rows).astype(np.int64))


class SpilledRows(Struct, frozen=True):
    """The rows of each client and day with their outcomes, in parts, with GROUP and OPEN."""

    folder: Folder
    parts: Sequence[Part]
    groups: Groups
    schema: Schema
    batch_rows: int

    def iterate(self, chosen: Flags, share: float = 1.0) -> Iterator[pl.DataFrame]:
        """Yield the rows of the chosen groups in the columns of a dataset, by day and client.

        Of a share of the clients, always the same ones, if it is less than 1.

        Yields
        ------
        polars.DataFrame of shape (n_rows, n_columns)
            With the day as text.
        """
        columns = client_dates.dataset_schema(self.schema).columns
        for first, last in self.list_batches(chosen):
            taken = []
            for part in self.parts:
                rows = part.read_days(first, last)
                is_chosen = self.groups.are_in(rows[GROUP].to_numpy(), chosen)
                rows = rows.filter(pl.Series(is_chosen)).select(columns)
                if share < 1:
                    hashes = name_hashes.hash_names(rows[self.schema.client_key].to_list())
                    rows = rows.filter(pl.Series(hashes < share * 2**name_hashes.HASH_BITS))
                if first == last and rows.height:
                    # Parts are in the order of the keys.
                    yield self.format_days(rows)
                elif rows.height:
                    taken.append(rows)
            if taken:
                together = pl.concat(taken).sort(self.schema.as_of, maintain_order=True)
                yield self.format_days(together)

    def select(self, chosen: Flags, share: float = 1.0) -> pd.DataFrame:
        """Return the rows of the chosen groups, or of a share of the clients, as a dataset."""
        schema = client_dates.dataset_schema(self.schema)
        rows = polars_reader.unite([*self.iterate(chosen, share)])
        return polars_dataset.to_pandas(rows, schema, polars_dataset.integer_columns(rows, schema))

    def choose_share(self, chosen: Flags) -> float:
        """Return the largest share of clients with chosen rows within the memory as a table."""
        n_rows = int(self.groups.n_rows[chosen].sum())
        return min(1.0, max(capacity.LEAST_ROWS, self.batch_rows) / max(1, n_rows))

    def encode(
        self, chosen: Flags, clean: Clean | None, share: float = 1.0
    ) -> tuple[Iterator[bytes], int, Dropped]:
        """Encode the rows of the chosen groups, or of a share of the clients, as a dataset's file.

        Parameters
        ----------
        chosen : numpy.ndarray of shape (n_groups,)
            Which groups are encoded.
        clean : callable, optional
            The cleaning of this installation. It is given the rows in parts.
        share : float
            The share of the clients, in (0, 1].

        Returns
        -------
        tuple of iterator of bytes, int and Dropped
            The file, the number of its rows, and the rows that cleaning left out.

        Raises
        ------
        DatasetError
            If `clean` returns different columns for different rows.
        """
        schema = client_dates.dataset_schema(self.schema)
        n_rows = int(self.groups.n_rows[chosen].sum())
        if clean is None:
            fractional = set[str]()
            for rows in self.iterate(chosen, share):
                fractional |= polars_reader.fractional_columns(rows)
            tables = (
                polars_reader.cast_numbers(rows, fractional) for rows in self.iterate(chosen, share)
            )
            return polars_dataset.encode_tables(schema.columns, tables), n_rows, Dropped()
        cleaned = spilled_ingest.clean_tables(
            (polars_reader.unite([rows]) for rows in self.iterate(chosen, share)),
            self.folder.path, schema, clean,
        )  # fmt: skip
        return self.encode_cleaned(cleaned, chosen, n_rows)

    def encode_cleaned(
        self, cleaned: RowFiles, chosen: Flags, n_before: int
    ) -> tuple[Iterator[bytes], int, Dropped]:
        """Encode cleaned rows, with the number of rows removed by the cleaning."""
        target, labels = self.schema.target, self.groups.find("labels")
        n_positives = int(self.groups.n_rows[chosen & (labels == 1)].sum())
        n_rows, kept_positives = 0, 0
        columns: Sequence[str] = client_dates.dataset_schema(self.schema).columns
        for rows in cleaned.read():
            n_rows, columns = n_rows + rows.height, rows.columns
            kept_positives += int((rows[target] == 1).sum()) if target in columns else 0
        n_gone = n_positives - kept_positives if target in columns else None
        return (
            polars_dataset.encode_tables(columns, cleaned.read()),
            n_rows,
            Dropped(n_before - n_rows, n_gone),
        )

    def list_batches(self, chosen: Flags) -> Iterator[tuple[int, int]]:
        """Yield the first and the last day of batches of days within the memory."""
        days, n_rows = client_dates.count_days(self.groups.days[chosen], self.groups.n_rows[chosen])
        start = 0
        for place in range(1, len(days) + 1):
            if place == len(days) or n_rows[start : place + 1].sum() > self.batch_rows:
                yield int(days[start]), int(days[place - 1])
                start = place

    def format_days(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the day as text."""
        days, n_rows = client_dates.count_days(rows[self.schema.as_of].to_numpy())
        texts = pl.Series(self.schema.as_of, client_dates.format_days(days).tolist(), pl.String)
        return rows.with_columns(texts.gather(np.repeat(np.arange(len(days)), n_rows)))

    def find_todays(self, newest: int) -> pd.DataFrame:
        """Return today's clients: open clients with a row of the newest extract or after."""
        schema, as_of = client_dates.dataset_schema(self.schema), self.schema.as_of
        rows = pl.concat([part.read_open(newest, schema.target) for part in self.parts])
        if not rows[as_of].is_sorted():
            rows = rows.sort(as_of, maintain_order=True)
        rows = self.format_days(rows)
        # Each column is freed once it is converted: the clients may be most of the memory.
        columns: dict[str, Any] = {}
        for name in schema.columns:
            column = rows.drop_in_place(name)
            is_integer = name in schema.numeric and not (
                column.null_count() or polars_reader.has_fractions(column)
            )
            columns[name] = polars_dataset.to_array(column, schema, is_integer=is_integer)
        return pd.DataFrame(columns, copy=False)

    def find_moves(self, extract_days: Ints) -> pd.DataFrame:
        """Return who is new or absent in an extract, as `key_spellings.find_moves` does."""
        key, as_of = self.schema.client_key, self.schema.as_of
        found = []
        for part in self.parts:
            # By day already.
            rows = part.read_columns(key, as_of).sort(key, maintain_order=True)
            keys = polars_dated.to_pandas(rows.select(key))[key]
            is_last, days = key_spellings.are_last(keys), rows[as_of].to_numpy()
            found.append(key_spellings.find_moves(keys, is_last, days, extract_days))
        return pd.concat(found, ignore_index=True)

    def count_shared(self, training: Flags, test: Flags) -> tuple[int, int]:
        """Count the clients of the test also in training, and all clients of the test."""
        n_shared = n_tested = 0
        for part in self.parts:
            rows = part.read_columns(self.schema.client_key, GROUP)
            keys, codes = rows[self.schema.client_key], rows[GROUP].to_numpy()
            tested, trained = (
                keys.filter(pl.Series(self.groups.are_in(codes, chosen))).unique()
                for chosen in (test, training)
            )
            n_tested += len(tested)
            n_shared += int(tested.is_in(trained.implode()).sum())
        return n_shared, n_tested

    def find_period(self, day: int) -> pd.DataFrame:
        """Return each client's row at a day, if the outcome of the row is known."""
        key, as_of = self.schema.client_key, self.schema.as_of
        return self.find_history(
            lambda rows: rows.filter(pl.col(as_of) <= day).unique(
                key, keep="last", maintain_order=True
            )
        )

    def find_labelled(self, days: Sequence[int]) -> pd.DataFrame:
        """Return the rows of some days with a known outcome."""
        wanted = pl.Series(list(days), dtype=pl.Int64)
        return self.find_history(
            lambda rows: rows.filter(pl.col(self.schema.as_of).is_in(wanted.implode()))
        )

    def find_history(self, choose: Callable[[pl.DataFrame], pl.DataFrame]) -> pd.DataFrame:
        """Return client, day and outcome of the chosen rows with an outcome."""
        names = (self.schema.client_key, self.schema.as_of, self.schema.target)
        columns = (dated_rows.CLIENT, dated_rows.DAY, dated_rows.LABEL)
        taken = []
        for part in self.parts:
            rows = choose(part.read_columns(*names)).select(names)
            rows = rows.rename(dict(zip(names, columns, strict=True)))
            taken.append(rows.filter(pl.col(dated_rows.LABEL) != UNLABELLED))
        return polars_dated.to_pandas(pl.concat(taken))


class DerivedParts(Struct, frozen=True):
    """The rows of each client and day with the derived columns, in files of whole clients.

    The files are in the order of the keys. `n_read` is the number of rows with the repeated ones.
    """

    folder: Folder
    paths: Sequence[Path]
    schema: Schema
    n_read: int
    readings: Sequence[FileReading]
    test_readings: Sequence[FileReading]
    bound_bytes: int

    def iterate(self) -> Iterator[PolarsRows]:
        """Yield the rows of each part."""
        for path in self.paths:
            yield PolarsRows(spilled_ingest.read_rows(path), self.schema)

    def label(self, judge: Callable[[pd.DataFrame], Judged]) -> SpilledRows:
        """Return the rows with their outcomes, and remove the files without.

        Parameters
        ----------
        judge : callable
            Takes the places of the rows of a part, and returns arrays by the names of GROUP_NAMES,
            and by "open" which clients are open today if their row is new enough.
        """
        schema, parts, groups, n_bytes = self.schema, [], [], 0
        columns = client_dates.dataset_schema(schema).columns
        for path, part in zip(self.paths, self.iterate(), strict=True):
            places = part.places
            judged, days = judge(places), places[schema.as_of].to_numpy(np.int64)
            codes = encode_groups(days, judged)
            added = [
                pl.Series(schema.target, judged["labels"].astype(np.int64)),
                pl.Series(GROUP, codes),
                pl.Series(OPEN, judged["open"]),
            ]
            rows = part.rows.with_columns(added).select(*columns, GROUP, OPEN)
            rows = rows[dated_rows.order_by_day(days)]
            n_bytes += int(rows.estimated_size())
            path.unlink()
            parts.append(write_part(rows, path.with_suffix(".labelled"), schema.as_of))
            groups.append(Groups(*np.unique(codes, return_counts=True)))
        found = unite_groups(groups)
        row_bytes = 1 + n_bytes // int(found.n_rows.sum())
        batch_rows = max(1, self.bound_bytes // TABLE_COPIES // row_bytes)
        return SpilledRows(self.folder, parts, found, schema, batch_rows)


def write_part(rows: pl.DataFrame, path: Path, as_of: str) -> Part:
    """Write rows by day to the file of a part."""
    days, n_rows = client_dates.count_days(rows[as_of].to_numpy())
    rows.write_ipc(path, record_batch_size=BATCH_ROWS)
    return Part(path, days, n_rows)


def read(
    paths: Sequence[Path], test_paths: Sequence[Path], schema: Schema, parent: Path, *,
    has_outcomes: bool, bound_bytes: int,
) -> DerivedParts:  # fmt: skip
    """Read files and test files into parts by client and day with the derived columns.

    Parameters
    ----------
    paths, test_paths : sequence of Path
        CSV files.
    schema : Schema
        The schema by which files are read.
    parent : Path
        The folder in which a hidden folder keeps the rows.
    has_outcomes : bool
        Whether files may lack the target.
    bound_bytes : int
        The memory for rows.

    Returns
    -------
    DerivedParts
        Without any part if no row is usable. Where a row is in both, it is the test's.
    """
    folder = Folder(parent)
    blocks = Blocks(folder.path, schema.client_key)
    readings, test_readings = (
        [
            spill_file(path, schema, blocks, has_outcomes=has_outcomes, of_test=of_test)
            for path in of_kind
        ]
        for of_kind, of_test in ((paths, False), (test_paths, True))
    )
    derived: list[Path] = []
    if blocks.paths:
        ranges = split_ranges(blocks, blocks.choose_bounds(bound_bytes), bound_bytes)
        for number, rows in enumerate(ranges):
            ordered = polars_dated.sort_rows(rows, schema)
            derived.append(folder.path / f"{number}.derived")
            polars_dated.add_changes(ordered, schema).write_ipc(derived[-1])
    return DerivedParts(
        folder, derived, schema, sum(blocks.heights), readings, test_readings, bound_bytes
    )
