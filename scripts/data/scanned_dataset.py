"""The facts of all rows of a dataset too large for one table, and rows drawn from it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import msgspec
import pandas as pd
from msgspec import Struct

from scripts.core.config import Schema
from scripts.data import profile
from scripts.data.arrays import Mask
from scripts.data.cells import MISSING_CATEGORY
from scripts.data.deduplicate import Hashes
from scripts.data.profile import Bins, ColumnSummary, DatasetFacts


@dataclass(frozen=True)
class RowChoice:
    """The columns of a reference, and the choice of rows to compare by the hashes of rows."""

    schema: Schema
    choose: Callable[[Hashes], Mask]


class NumberFacts(Protocol):
    """The facts of all numbers of a column, from this machine or a cluster."""

    @property
    def n_missing(self) -> int:
        """The number of missing values."""

    @property
    def stayed_median(self) -> float:
        """The median of the clients who stayed, NaN without a value."""

    @property
    def bins(self) -> Bins:
        """The bins of the values, as of `profile.make_bins`."""

    def summarise(self, name: str) -> ColumnSummary:
        """Compute mean, median and standard deviation, as `dataset.summarise` does."""


class NumberStatistics(Struct, frozen=True):
    """The facts of all numbers of a column, with the median of stayers, None without stayers."""

    n_missing: int
    typical: float | None
    bins: Bins
    summary: ColumnSummary

    @property
    def stayed_median(self) -> float:
        """The median of the clients who stayed, NaN without a value."""
        return math.nan if self.typical is None else self.typical

    def summarise(self, name: str) -> ColumnSummary:
        """Return mean, median and standard deviation, as `dataset.summarise` does."""
        return msgspec.structs.replace(self.summary, column=name)


def describe_column(facts: NumberFacts, name: str) -> NumberStatistics:
    """Return the facts of a column without numbers."""
    typical = profile.finite_or_none(facts.stayed_median)
    return NumberStatistics(facts.n_missing, typical, facts.bins, facts.summarise(name))


@dataclass(frozen=True)
class ScannedDataset:
    """The facts of all rows of a dataset, and drawn rows.

    `categories` counts the rows by category, those who stayed and those who left. `rows` were drawn
    to fit a model to, `compared` to be compared with a reference; both are in the order of the
    dataset, without identifiers.
    """

    sha256: str
    schema: Schema
    n_rows: int
    n_positives: int
    numeric: Mapping[str, NumberFacts]
    categories: dict[str, dict[str, tuple[int, int]]]
    row_hashes: bytes
    rows: pd.DataFrame = field(repr=False)
    compared: pd.DataFrame = field(repr=False)
    n_to_compare: int

    @cached_property
    def category_counts(self) -> dict[str, dict[str, int]]:
        """The number of rows of each category, by column."""
        return {
            name: {text: sum(of_text) for text, of_text in counts.items()}
            for name, counts in self.categories.items()
        }

    @cached_property
    def missing_fractions(self) -> dict[str, float]:
        """The fraction of missing values of each column, as of `dataset.missing_fractions`."""
        n_missing = {name: column.n_missing for name, column in self.numeric.items()}
        for name, counts in self.category_counts.items():
            n_missing[name] = counts.get(MISSING_CATEGORY, 0)
        # Identifiers and the target are never missing in a dataset.
        return {name: n_missing.get(name, 0) / self.n_rows for name in self.schema.columns}

    @cached_property
    def summary(self) -> tuple[ColumnSummary, ...]:
        """The summaries of numeric columns and target, as of `dataset.summarise`."""
        summaries = [column.summarise(name) for name, column in self.numeric.items()]
        n_rows, share = self.n_rows, self.n_positives / self.n_rows
        middle = 0.5 if 2 * self.n_positives == n_rows else float(2 * self.n_positives > n_rows)
        variance = n_rows * share * (1 - share) / (n_rows - 1) if n_rows > 1 else math.nan
        target = ColumnSummary(
            column=self.schema.target, mean=share, median=middle,
            standard_deviation=profile.finite_or_none(variance**0.5),
        )  # fmt: skip
        return (*summaries, target)

    def describe(self) -> DatasetFacts:
        """Return hash, counts and column statistics of the dataset."""
        return DatasetFacts(
            sha256=self.sha256,
            n_rows=self.n_rows,
            n_positives=self.n_positives,
            missing_fractions=self.missing_fractions,
            summary=self.summary,
        )
