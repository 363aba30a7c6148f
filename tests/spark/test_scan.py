"""The parts of a cluster's scan, without a cluster: hashes, counts, moments, limits of keys."""

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from benchmarks.drift import SCHEMA, accumulate, draw, make_model
from scripts.core.config import Schema
from scripts.data import dataset, deduplicate, profile
from scripts.data.profile import Bins
from scripts.model import drift
from scripts.spark import evaluation, scan

pytest.importorskip("pyspark", reason="PySpark is not installed; pip install '.[spark]'")


def as_partitions(table: pd.DataFrame, n_partitions: int) -> list[pa.Table]:
    """Cut a table into partitions of a cluster: missing numbers are null, missing texts are ""."""
    kinds = dict.fromkeys(SCHEMA.numeric, pa.float64()) | {SCHEMA.target: pa.int8()}
    columns = {
        name: pa.array(table[name].to_numpy(), kinds.get(name, pa.string()), from_pandas=True)
        for name in SCHEMA.columns
    }
    whole = pa.table(columns)
    places = np.array_split(np.arange(len(table)), n_partitions)
    return [whole.take(pa.array(place)) for place in places]


def test_rows_have_the_hashes_they_have_on_one_machine() -> None:
    table = draw(np.random.default_rng(1), 300)

    hashes = [scan.hash_rows(part, SCHEMA) for part in as_partitions(table, 4)]

    assert np.array_equal(np.concatenate(hashes), deduplicate.hash_table_rows(table, SCHEMA))


@pytest.mark.parametrize("n_partitions", [1, 3, 40])
def test_counts_of_partitions_are_those_of_the_whole(n_partitions: int) -> None:
    before, later = draw(np.random.default_rng(1), 400), draw(np.random.default_rng(2), 300)
    table, comparison = accumulate(before, later), drift.comparison_for(make_model(before))
    columns = dataset.feature_arrays(table, SCHEMA)
    bins = {n: profile.make_bins(columns[n][~np.isnan(columns[n])]) for n in SCHEMA.numeric}
    edges = {name: of_column.edges for name, of_column in bins.items()}

    counted = [
        scan.count_part(part, SCHEMA, edges, comparison)
        for part in as_partitions(table, n_partitions)
    ]
    found = scan.merge([scan.merge(counted[:2], SCHEMA), *counted[2:]], SCHEMA)

    assert (found.n_rows, found.n_positives) == (700, int(table[SCHEMA.target].sum()))
    assert found.n_to_compare == 300
    assert {n: tuple(counts) for n, counts in found.bins.items()} == {
        name: of_column.counts for name, of_column in bins.items()
    }
    for name in SCHEMA.categorical:
        of_label = table.groupby(name)[SCHEMA.target].agg(["size", "sum"])
        assert found.categories[name] == {
            text: (size - left, left) for text, size, left in of_label.itertuples()
        }
    hashes = deduplicate.hash_rows(table, SCHEMA)
    assert found.hashes == deduplicate.encode_smallest(hashes)


def test_counts_of_no_partition_are_empty() -> None:
    found = scan.merge([], SCHEMA)

    assert (found.n_rows, found.n_to_compare, found.hashes) == (0, 0, b"")


@pytest.mark.parametrize("values", [[1e9 + 1, 1e9 + 6], [1.0, np.nan, 4.0], [np.nan], [3.0]])
def test_a_column_is_summarised_as_on_one_machine(values: list[float]) -> None:
    column = pd.Series(values)
    own = [column.count(), column.mean(), column.std(ddof=0), column.median(), column.median()]
    results = [None if pd.isna(value) else value for value in own]
    (expected, _) = dataset.summarise(
        pd.DataFrame({"age": values, "left": [0] * len(values)}),
        Schema(ids=(), numeric=("age",), categorical=(), target="left"),
    )

    found = scan.make_statistics(results, len(values), Bins(edges=(), counts=(0,)))

    assert found.n_missing == int(np.isnan(values).sum())
    assert msgspec.structs.astuple(found.summarise("age")) == pytest.approx(
        msgspec.structs.astuple(expected)
    )


def test_a_column_without_numbers_has_no_statistics() -> None:
    found = scan.make_statistics([0, None, None, None, None], 5, Bins(edges=(), counts=(0,)))

    assert (found.n_values, found.n_missing) == (0, 5)
    assert np.isnan(found.stayed_median)
    assert found.summarise("age").mean is None


@pytest.mark.parametrize("n_wanted", [1, 100, 5000])
def test_enough_of_many_keys_do_not_exceed_the_limit(n_wanted: int) -> None:
    keys = np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64)

    n_below = int((keys <= np.uint64(scan.limit_key(n_wanted, 100_000))).sum())

    assert n_wanted <= n_below < n_wanted + 30 * np.sqrt(n_wanted)


def test_of_few_rows_every_key_is_within_the_limit() -> None:
    assert scan.limit_key(100, 150) == scan.LARGEST_KEY


@pytest.mark.parametrize(
    ("stayed", "left", "expected"),
    [
        ([2, 0], [0, 2], 1.0),
        ([0, 2], [2, 0], 0.0),
        ([1, 1], [1, 1], 0.5),
        # Of the four pairs the leaver is ahead in two, behind in one, level in one.
        ([1, 1, 0], [1, 0, 1], 0.625),
        ([3, 0], [0, 0], None),
    ],
)
def test_the_auc_counts_pairs(stayed: list[int], left: list[int], expected: float | None) -> None:
    assert evaluation.auc_of(np.array([stayed, left])) == expected
