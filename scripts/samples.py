"""The rows to compare with a model's dataset, and both counted in the same cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts import contrast, dataset, reference
from scripts.config import Schema
from scripts.contrast import Contrast, Counts
from scripts.model import DatasetFacts, Reference


class Kind(StrEnum):
    """What a column is for."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TARGET = "target"


def kinds_of(schema: Schema) -> dict[str, Kind]:
    """Say what each feature is, and the target if there is one."""
    kinds = dict.fromkeys(schema.numeric, Kind.NUMERIC)
    kinds |= dict.fromkeys(schema.categorical, Kind.CATEGORICAL)
    return kinds | ({schema.target: Kind.TARGET} if schema.target else {})


def align(before: Mapping[str, int], values: NDArray[Any]) -> tuple[Counts, Counts]:
    """Count the categories of two samples in the same order, also those that only one has."""
    names, counts = np.unique(values.astype(str), return_counts=True)
    return align_counts(before, dict(zip(names.tolist(), counts.tolist(), strict=True)))


def align_counts(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[Counts, Counts]:
    """Give the counts of two samples in the same order of categories."""
    names = sorted({*before, *now})
    then, own = ([counts.get(name, 0) for name in names] for counts in (before, now))
    return np.array(then, dtype=np.int64), np.array(own, dtype=np.int64)


@dataclass(frozen=True)
class Counted:
    """One column of both samples as counts of the same cells, blanks of a number apart."""

    kind: Kind
    before: Counts
    now: Counts
    n_blank_before: int = 0
    n_blank_now: int = 0

    @property
    def has_values(self) -> bool:
        """Whether both samples have values, and not all of them in one cell."""
        both = bool(self.before.sum()) and bool(self.now.sum())
        return both and int(np.count_nonzero(self.before + self.now)) > 1

    @property
    def has_blanks(self) -> bool:
        """Whether either sample has a blank."""
        return self.n_blank_before + self.n_blank_now > 0

    def compare_values(self, false_alarm: float) -> Contrast | None:
        """Compare the values, in the way of their kind."""
        if not self.has_values:
            return None
        if self.kind is Kind.NUMERIC:
            return contrast.compare_numbers(self.before, self.now, false_alarm)
        if self.kind is Kind.CATEGORICAL:
            return contrast.compare_categories(self.before, self.now, false_alarm)
        n_before, n_now = int(self.before.sum()), int(self.now.sum())
        return contrast.compare_shares(
            int(self.before[1]), n_before, int(self.now[1]), n_now, false_alarm
        )

    def compare_blanks(self, false_alarm: float) -> Contrast | None:
        """Compare the shares of blanks."""
        if not self.has_blanks:
            return None
        n_before = self.n_blank_before + int(self.before.sum())
        n_now = self.n_blank_now + int(self.now.sum())
        return contrast.compare_shares(
            self.n_blank_before, n_before, self.n_blank_now, n_now, false_alarm
        )


def count_columns(
    facts: DatasetFacts, kept: Reference, new_rows: pd.DataFrame, schema: Schema
) -> dict[str, Counted]:
    """Count both samples of every feature, and of a target, in the cells of the reference."""
    columns = dataset.feature_arrays(new_rows, schema)
    counted = {}
    for name, cells in kept.numeric.items():
        values = columns[name][~np.isnan(columns[name])]
        then, now = np.array(cells.counts), reference.count_cells(cells.edges, values)
        blanks = facts.n_rows - int(then.sum()), len(new_rows) - len(values)
        counted[name] = Counted(Kind.NUMERIC, then, now, *blanks)
    for name, counts in kept.categorical.items():
        counted[name] = Counted(Kind.CATEGORICAL, *align(counts, columns[name]))
    if not schema.target:
        return counted
    y = dataset.target(new_rows, schema)
    then = np.array([facts.n_rows - facts.n_positives, facts.n_positives])
    counted[schema.target] = Counted(Kind.TARGET, then, np.bincount(y, minlength=2))
    return counted


def choose_rows(table: pd.DataFrame, kept: Reference, schema: Schema) -> tuple[pd.DataFrame, str]:
    """Choose the rows to compare: the new ones, a sample of them, or all; and say which."""
    if not schema.ids or kept.is_sealed:
        # Equal rows are duplicates and dropped. Without an identifier only unusual new rows
        # would be left, which differ from the reference for that reason alone. Hashes that were
        # sealed with another key, as in a copied release, tell no row from another.
        return table, "all"
    is_new, is_complete = reference.tell_new_rows(kept, reference.hash_rows(table, schema))
    return table[is_new], name_rows(is_complete=is_complete)


def name_rows(*, is_complete: bool) -> str:
    """Name the rows that are compared where a client can be told from another."""
    return "new" if is_complete else "sample of new"
