"""Compares a dataset of very many rows with that of a model, a part at a time."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.data import chunked_dataset, profile
from scripts.data.chunk_store import Passes
from scripts.data.chunked_dataset import Digest
from scripts.data.profile import SMALL_NUMBER, Moments, Reference, Running
from scripts.model import drift, logistic_model, reference
from scripts.model.drift import BinnedSamples, ColumnKind, ComparedRows, DataDrift, TableStatistics
from scripts.model.drift_tests import Counts
from scripts.model.logistic_model import Model

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint32]


def encode(texts: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """Give the different texts of a column, and for each row the place of its own."""
    encoded = texts.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


@dataclass
class Tally:
    """What the rows to compare have in each column, so far."""

    used: Model
    kept: Reference
    n_rows: int = 0
    which: str = ""
    cells: dict[str, Counts] = field(default_factory=dict)
    categories: dict[str, Counter[str]] = field(default_factory=dict)
    labels: Counts = field(default_factory=lambda: np.zeros(2, np.int64))
    values: dict[str, Running] = field(default_factory=dict)
    terms: dict[str, Running] = field(default_factory=dict)
    small: dict[str, Counts] = field(default_factory=dict, repr=False, compare=False)

    def add(self, table: pa.Table, hashes: Hashes | None = None) -> None:
        """Take from further rows those that are to be compared; they may be hashed already."""
        rows = self.choose(table, hashes)
        if not rows.num_rows:
            return
        self.n_rows += rows.num_rows
        for term in self.used.numeric:
            found = rows[term.column].to_numpy()
            numbers = found.astype(np.float64)
            self.count_numbers(term.column, found)
            self.running(self.values, term.column).add(numbers[~np.isnan(numbers)])
            self.running(self.terms, term.column).add(logistic_model.numeric_effects(term, numbers))
        for category in self.used.categorical:
            texts, places = encode(rows[category.column])
            counts = np.bincount(places, minlength=len(texts)).tolist()
            own = self.categories.setdefault(category.column, Counter())
            own.update(dict(zip(texts, counts, strict=True)))
            effects = logistic_model.category_effects(category, np.array(texts, dtype=object))
            self.running(self.terms, category.column).add(effects[places])
        y = rows[self.used.schema.target].to_numpy().astype(np.int64)
        self.labels = self.labels + np.bincount(y, minlength=2)

    def merge(self, other: "Tally") -> None:
        """Take what another one has taken."""
        self.n_rows += other.n_rows
        self.which = other.which or self.which
        self.labels = self.labels + other.labels
        for name, cells in other.cells.items():
            self.cells[name] = self.cells.get(name, np.zeros_like(cells)) + cells
        for name, counts in other.categories.items():
            self.categories.setdefault(name, Counter()).update(counts)
        for own, theirs in ((self.values, other.values), (self.terms, other.terms)):
            for name, running in theirs.items():
                self.running(own, name).merge(running)

    def choose(self, table: pa.Table, hashes: Hashes | None) -> pa.Table:
        """Choose the rows to compare, as `samples.choose_rows` does."""
        schema = self.used.schema
        if not schema.ids or self.kept.is_sealed:
            self.which = "all"
            return table
        hashes = chunked_dataset.hash_rows(table, schema) if hashes is None else hashes
        is_new, is_complete = reference.find_new_rows(self.kept, hashes)
        self.which = drift.name_rows(is_complete=is_complete)
        return table if is_new.all() else table.filter(pa.array(is_new))

    def count_numbers(self, name: str, numbers: NDArray[Any]) -> None:
        """Count numbers in the cells of the reference; blanks are left out."""
        edges = self.kept.numeric[name].edges
        before = self.cells.get(name, np.zeros(len(edges) + 1, np.int64))
        if numbers.dtype.kind == "i" and numbers.min() >= 0 and numbers.max() < SMALL_NUMBER:
            # Looked up, which is far cheaper than looking for.
            found = np.bincount(self.cell_of(name)[numbers], minlength=len(before))
        else:
            present = numbers[~np.isnan(numbers)].astype(np.float64)
            found = profile.count_bins(edges, present)
        self.cells[name] = before + found

    def cell_of(self, name: str) -> Counts:
        """Give the cell of each small whole number."""
        if name not in self.small:
            edges = np.asarray(self.kept.numeric[name].edges)
            self.small[name] = np.searchsorted(edges, np.arange(SMALL_NUMBER), side="left")
        return self.small[name]

    @staticmethod
    def running(kept: dict[str, Running], name: str) -> Running:
        """Give what is kept of a column."""
        return kept.setdefault(name, Running())

    def counted(self) -> dict[str, BinnedSamples]:
        """Give both samples of every feature, and of the target, in the same cells."""
        facts, found = self.used.dataset, {}
        for name, cells in self.kept.numeric.items():
            then, now = np.array(cells.counts), self.cells[name]
            blanks = facts.n_rows - int(then.sum()), self.n_rows - int(now.sum())
            found[name] = BinnedSamples(ColumnKind.NUMERIC, then, now, *blanks)
        for name, counts in self.kept.categorical.items():
            both = drift.align_counts(counts, self.categories[name])
            found[name] = BinnedSamples(ColumnKind.CATEGORICAL, *both)
        then = np.array([facts.n_rows - facts.n_positives, facts.n_positives])
        found[self.used.schema.target] = BinnedSamples(ColumnKind.TARGET, then, self.labels)
        return found

    def means(self) -> dict[str, float | None]:
        """Give the mean of each numeric column and of the target."""
        means: dict[str, float | None] = {
            name: own.mean if own.n_values else None for name, own in self.values.items()
        }
        return means | {self.used.schema.target: int(self.labels[1]) / self.n_rows}

    def moments(self) -> dict[str, Moments]:
        """Give mean and standard deviation of each column's terms."""
        return {
            name: Moments(mean=own.mean, standard_deviation=own.deviation(0))
            for name, own in self.terms.items()
        }

    def compared(self, counted: Mapping[str, BinnedSamples]) -> ComparedRows:
        """Say what was compared."""
        if not self.n_rows:
            return ComparedRows(self.used.dataset.n_rows, 0, self.which, 0, {}, {})
        return ComparedRows(
            n_reference_rows=self.used.dataset.n_rows,
            n_compared=self.n_rows,
            rows=self.which,
            n_tests=sum(column.has_values + column.has_missing for column in counted.values()),
            shifts=drift.shift_means(self.used, self.means()),
            risks=drift.shift_risks(self.kept, self.moments()),
        )


def look_over(read: Digest) -> TableStatistics:
    """Give the statistics of a dataset."""
    everyone = np.ones(read.store.n_rows, np.bool_)
    passes = Passes(read.store, read.columns, ~everyone)
    categories = chunked_dataset.count_categories(read.store, everyone)
    summaries = {summary.column: summary for summary in chunked_dataset.summarise(read, passes)}
    return TableStatistics(
        read.store.n_rows, summaries, chunked_dataset.missing_fractions(read, categories)
    )


def compare(
    path: Path, schema: Schema, used: Model | None, file: BinaryIO | None = None
) -> tuple[DataDrift, Digest]:
    """Compare a dataset with the one that a model was trained on.

    Parameters
    ----------
    path : Path
        The file of the dataset.
    schema : Schema
        Its columns.
    used : Model or None
        The model in production, if it can be compared.
    file : file, optional
        Where to keep the rows; without it, in memory.

    Returns
    -------
    tuple of DataDrift and Digest
        As from `drift.compare_data`; and what was read.
    """
    kept = None if used is None else used.dataset.reference
    tally = None if used is None or kept is None else Tally(used, kept)
    watch: Any = None if tally is None else tally.add
    read = chunked_dataset.read(path, schema, file, watch=watch)
    overview = look_over(read)
    if used is None or tally is None:
        return drift.describe_columns(overview, schema, {}, drift.NOTHING), read
    counted = tally.counted() if tally.n_rows else {}
    compared = tally.compared(counted)
    return drift.describe_columns(overview, used.schema, counted, compared), read
