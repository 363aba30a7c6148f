"""Counts the rows of a dataset in parts for the comparison with that of a model, on a cluster."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.data import deduplicate, profile
from scripts.data.profile import Moments, Reference, Running
from scripts.model import drift, logistic_model, reference
from scripts.model.drift import BinnedSamples, ColumnKind, ComparedRows
from scripts.model.drift_tests import Counts
from scripts.model.logistic_model import Model

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint32]


def encode(texts: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """Give the different texts of a column, and for each row the place of its own."""
    encoded = texts.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def hash_rows(table: pa.Table, schema: Schema) -> Hashes:
    """Hash rows as `deduplicate.hash_rows` does."""
    numbers = {*schema.numeric, schema.target}
    columns = [
        table[name].to_numpy().astype(np.float64) if name in numbers else table[name]
        for name in schema.columns
    ]
    return deduplicate.short_hashes(deduplicate.number_rows(columns, table.num_rows))


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

    def add(self, table: pa.Table, hashes: Hashes | None = None) -> None:
        """Take from further rows those that are to be compared; they may be hashed already."""
        rows = self.choose(table, hashes)
        if not rows.num_rows:
            return
        self.n_rows += rows.num_rows
        columns: dict[str, NDArray[Any]] = {}
        for term in self.used.numeric:
            found = rows[term.column].to_numpy()
            numbers = found.astype(np.float64)
            self.count_numbers(term.column, found)
            self.running(self.values, term.column).add(numbers[~np.isnan(numbers)])
            columns[term.column] = numbers
        for category in self.used.categorical:
            texts, places = encode(rows[category.column])
            counts = np.bincount(places, minlength=len(texts)).tolist()
            own = self.categories.setdefault(category.column, Counter())
            own.update(dict(zip(texts, counts, strict=True)))
            columns[category.column] = np.array(texts, dtype=object)[places]
        for name, effects in logistic_model.contributions(self.used, columns).items():
            self.running(self.terms, name).add(effects)
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
        hashes = hash_rows(table, schema) if hashes is None else hashes
        is_new, is_complete = reference.find_new_rows(self.kept, hashes)
        self.which = drift.name_rows(is_complete=is_complete)
        return table if is_new.all() else table.filter(pa.array(is_new))

    def count_numbers(self, name: str, numbers: NDArray[Any]) -> None:
        """Count numbers in the cells of the reference; blanks are left out."""
        edges = self.kept.numeric[name].edges
        before = self.cells.get(name, np.zeros(len(edges) + 1, np.int64))
        present = numbers[~np.isnan(numbers)].astype(np.float64)
        found = profile.count_bins(edges, present)
        self.cells[name] = before + found

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
