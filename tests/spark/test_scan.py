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
from scripts.spark import scan

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

    hashes = [deduplicate.hash_arrow_rows(part, SCHEMA) for part in as_partitions(table, 4)]

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
    found = scan.merge([scan.merge(counted[:2], edges), *counted[2:]], edges)

    assert found.n_to_compare == 300
    assert {n: tuple(counts) for n, counts in found.bins.items()} == {
        name: of_column.counts for name, of_column in bins.items()
    }
    hashes = deduplicate.hash_rows(table, SCHEMA)
    assert found.hashes == deduplicate.encode_smallest(hashes)


def test_counts_of_no_partition_are_empty() -> None:
    found = scan.merge([], {"age": (1.0, 2.0)})

    assert (found.n_to_compare, found.bins, found.hashes) == (0, {"age": [0, 0, 0]}, b"")


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
