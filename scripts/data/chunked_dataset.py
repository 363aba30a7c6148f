"""Reads a dataset of very many rows once, in parts, and says what is kept of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scripts.core import files, progress
from scripts.core.config import Schema
from scripts.data import csv_blocks, csv_reader, dataset, deduplicate, profile
from scripts.data.cells import MISSING_CATEGORY
from scripts.data.chunk_store import Passes, Store, count_codes
from scripts.data.csv_fast_path import Cells, Judge
from scripts.data.csv_reader import RefusedFileError
from scripts.data.profile import Column, ColumnSummary, DatasetFacts, Running, median

Floats = NDArray[np.float64]


def float_bits(values: NDArray[Any]) -> NDArray[Any]:
    """Give numbers as floats; whole ones, which are never -0.0 or NaN, as the bits of floats."""
    floats = values.astype(np.float64)
    return floats.view(np.int64) if values.dtype.kind == "i" else floats


def hash_cells(cells: Cells) -> NDArray[np.uint32]:
    """Hash rows as `reference.hash_rows` does, their texts where they stand in the file."""
    columns = [
        float_bits(cells.numbers[name]) if name in cells.numbers else cells.words(name)
        for name in cells.schema.columns
    ]
    return deduplicate.short_hashes(deduplicate.number_rows(columns, cells.n_rows))


def hash_rows(table: pa.Table, schema: Schema) -> NDArray[np.uint32]:
    """Hash rows as `reference.hash_rows` does."""
    numbers = {*schema.numeric, schema.target}
    columns = [
        float_bits(table[name].to_numpy()) if name in numbers else table[name]
        for name in schema.columns
    ]
    return deduplicate.short_hashes(deduplicate.number_rows(columns, table.num_rows))


@dataclass
class Digest:
    """What reading a dataset tells, and its rows as plain numbers."""

    store: Store
    sha256: str = ""
    columns: dict[str, Column] = field(default_factory=dict)
    hashes: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    waiting: list[NDArray[np.uint32]] = field(default_factory=list)
    n_waiting: int = 0

    def add(self, table: pa.Table, hashes: NDArray[np.uint32]) -> None:
        """Take the next rows, and their hashes."""
        chunk = self.store.add(table)
        for name in self.store.schema.numeric:
            self.columns.setdefault(name, Column()).add(table[name].to_numpy(), chunk.y)
        if len(self.hashes) == deduplicate.N_HASHES:
            hashes = hashes[hashes < self.hashes[-1]]
        self.waiting.append(hashes)
        self.n_waiting += len(hashes)
        if self.n_waiting > deduplicate.N_HASHES:
            self.sort_hashes()

    @property
    def running(self) -> dict[str, Running]:
        """Count, mean and spread of each numeric column."""
        return {name: column.running for name, column in self.columns.items()}

    def sort_hashes(self) -> None:
        """Keep the smallest of all hashes so far."""
        together = np.sort(np.concatenate([self.hashes, *self.waiting]))
        self.hashes, self.waiting = profile.without_repeats(together)[: deduplicate.N_HASHES], []
        self.n_waiting = 0


def read(
    path: Path,
    schema: Schema,
    file: BinaryIO | None = None,
    *,
    watch: Callable[[pa.Table, NDArray[np.uint32]], None] | None = None,
) -> Digest:
    """Read a dataset that ingestion wrote.

    Parameters
    ----------
    path : Path
        Its file.
    schema : Schema
        Its columns.
    file : file, optional
        Where to keep the rows; without it, in memory.
    watch : callable, optional
        Is given the features and the target of the rows as they are read, and the rows' hashes.

    Returns
    -------
    Digest
        Of all rows.

    Raises
    ------
    DatasetError
        If anything in it is not as ingestion writes it.
    """
    written = dataset.ingested_schema(schema)
    digest, found = Digest(Store(schema, file)), csv_reader.new_reading(path, written)
    try:
        n_bytes = files.total_bytes([path])
        with progress.shown("Reading the dataset", n_bytes), path.open("rb") as handle:
            for part in csv_blocks.read_parts(
                handle, written, found, needs_label=True, shortcut=lambda lay: Judge(lay).take
            ):
                if isinstance(part, Cells):
                    hashes = hash_cells(part)
                    table = part.table((*schema.features, schema.target))
                elif isinstance(part, pa.Table) and part.num_rows:
                    table, hashes = part, hash_rows(part, schema)
                else:
                    continue
                digest.add(table, hashes)
                if watch is not None:
                    watch(table, hashes)
    except RefusedFileError as error:
        csv_reader.refuse(found, error)
    dataset.check_ingested(found)
    digest.sha256 = found.sha256
    digest.sort_hashes()
    return digest


def finite(value: float) -> float | None:
    """Give a statistic, or None where it is not defined."""
    return value if math.isfinite(value) else None


def summarise(digest: Digest, passes: Passes) -> tuple[ColumnSummary, ...]:
    """Give mean, median and standard deviation of the columns, as `dataset.summarise` does."""
    store = digest.store
    summaries = [
        ColumnSummary(
            column=name,
            mean=finite(running.mean if running.n_values else math.nan),
            median=finite(median(passes.spread(name))),
            standard_deviation=finite(running.deviation(1)),
        )
        for name, running in digest.running.items()
    ]
    n_rows, n_left = store.n_rows, store.n_positives
    share = n_left / n_rows
    spread = (n_rows * share * (1 - share) / (n_rows - 1)) ** 0.5 if n_rows > 1 else math.nan
    middle = 0.5 if 2 * n_left == n_rows else float(2 * n_left > n_rows)
    own = ColumnSummary(
        column=store.schema.target, mean=share, median=middle, standard_deviation=finite(spread)
    )
    return (*summaries, own)


def count_categories(store: Store, chosen: NDArray[np.bool_]) -> dict[str, dict[str, int]]:
    """Count the chosen rows of each category of each column."""
    counts = {}
    for place, name in enumerate(store.schema.categorical):
        found = count_codes(store, place, chosen)
        texts = store.texts_of(name).tolist()
        counts[name] = {t: int(n) for t, n in zip(texts, found, strict=False) if n}
    return counts


def missing_fractions(
    digest: Digest, categories: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    """Give the share of blank cells of each column."""
    n_rows, schema = digest.store.n_rows, digest.store.schema
    n_blank = {name: n_rows - own.n_values for name, own in digest.running.items()}
    n_blank |= {name: own.get(MISSING_CATEGORY, 0) for name, own in categories.items()}
    return {name: n_blank.get(name, 0) / n_rows for name in schema.columns}


def describe(digest: Digest, passes: Passes) -> DatasetFacts:
    """Say what a model was trained on."""
    everyone = np.ones(digest.store.n_rows, np.bool_)
    categories = count_categories(digest.store, everyone)
    return DatasetFacts(
        sha256=digest.sha256,
        n_rows=digest.store.n_rows,
        n_positives=digest.store.n_positives,
        missing_fractions=missing_fractions(digest, categories),
        summary=summarise(digest, passes),
    )
