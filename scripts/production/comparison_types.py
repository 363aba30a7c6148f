"""The response types of the comparison of two runs."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from scripts.core.config import Fraction
from scripts.production.shadow_types import Count, Moment

TermKind = Literal["curve", "line", "categories", "pair", "absent"]


class RunSide(Struct, frozen=True, kw_only=True):
    """A compared run with its model and the place of the model."""

    run_id: int
    started_at: Moment
    verdict: str | None
    model_stamp: str | None
    release: str | None
    model_from: str


class ValueChange(Struct, frozen=True, kw_only=True):
    """A changed setting, version or column, with null for a missing side."""

    name: str
    a: str | None
    b: str | None


class FileChange(Struct, frozen=True, kw_only=True):
    """A file added, removed or changed between two runs."""

    role: str
    path: str
    change: Literal["added", "removed", "changed"]
    n_rows_a: int | None
    n_rows_b: int | None


class TermPoint(Struct, frozen=True, kw_only=True):
    """The log-odds of both models at a value, null for a value unknown to a model."""

    value: float | str | None
    a: float | None
    b: float | None


class TermChange(Struct, frozen=True, kw_only=True):
    """A changed term of the models.

    `largest` is the largest difference of its log-odds, at the value `widest`. The points of a
    number rise, and a missing value is the last one. A pair of columns has no points.
    """

    columns: list[str]
    kind_a: TermKind
    kind_b: TermKind
    largest: float
    widest: str
    points: list[TermPoint] = []


class MetricChange(Struct, frozen=True, kw_only=True):
    """A metric of both models on the same test rows, and the difference of b less a.

    The interval is that of the paired bootstrap, null for a metric without one.
    """

    name: str
    a: float | None
    b: float | None
    difference: float | None
    low: float | None = None
    high: float | None = None
    probability_b_better: Fraction | None = None


class ListedClient(Struct, frozen=True, kw_only=True):
    """A client on the list of a single run, with the place and the names for people."""

    client: str
    names: dict[str, str] | UnsetType = UNSET
    place: Count
    probability: Fraction


class ListChange(Struct, frozen=True, kw_only=True):
    """The lists to call of two runs, and the clients on a single list.

    At most 500 clients are named on each side. The counts are of all.
    """

    n_listed_a: Count
    n_listed_b: Count
    n_both: Count
    release_a: str
    release_b: str
    only_a: list[ListedClient]
    only_b: list[ListedClient]
    n_only_a: Count
    n_only_b: Count


class RunComparison(Struct, frozen=True, kw_only=True):
    """Two runs beside each other: a is the first run, b the second run.

    `unknown` says for each part that cannot be compared why: settings, files, schema, terms,
    metrics, lists.
    """

    a: RunSide
    b: RunSide
    settings: list[ValueChange]
    versions: list[ValueChange]
    files: list[FileChange]
    schema: list[ValueChange]
    terms: list[TermChange]
    n_equal_terms: Count
    metrics: list[MetricChange]
    n_test_rows: Count
    lists: ListChange | None
    unknown: dict[str, str]
