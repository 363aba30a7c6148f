"""Drift of partitions equals drift on one machine, without a cluster."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from benchmarks.drift import SCHEMA, accumulate, draw, make_model
from scripts.data.profile import Running
from scripts.model import drift as model_drift
from scripts.model.chunked_drift import Tally
from scripts.model.drift import DataDrift
from scripts.model.logistic_model import Model
from scripts.spark import dataset, drift
from tests.model.test_scanned_drift import check_same

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


def compare(partitions: list[pa.Table], table: pd.DataFrame, used: Model) -> DataDrift:
    """Compare as a cluster does, with encoded and decoded tallies of partitions."""
    kept = used.dataset.reference
    assert kept is not None
    whole = Tally(used, kept)
    for partition in partitions:
        own = Tally(used, kept)
        own.add(drift.to_pandas_types(partition, SCHEMA))
        whole.merge(drift.decode_tally(drift.encode_tally(own), used, kept))
    counted = whole.counted() if whole.n_rows else {}
    overview = model_drift.describe_table(table, SCHEMA)
    return model_drift.describe_columns(overview, SCHEMA, counted, whole.compared(counted))


@pytest.mark.parametrize("n_partitions", [1, 3, 40])
def test_partitions_tell_together_what_one_machine_finds(n_partitions: int) -> None:
    before = draw(np.random.default_rng(1), 400)
    later = draw(np.random.default_rng(2), 300)
    moved = later.assign(
        balance=later["balance"] + 500, plan=later["plan"].replace("basic", "never seen")
    )
    table, used = accumulate(before, moved), make_model(before)

    found = compare(as_partitions(table, n_partitions), table, used)

    assert {column.column for column in found.drifted} >= {"balance", "plan"}
    check_same(found, model_drift.compare_data(table, used))


def test_a_dataset_without_a_new_row_has_nothing_to_compare() -> None:
    before = draw(np.random.default_rng(1), 200)

    found = compare(as_partitions(before, 4), before, make_model(before))

    assert (found.n_compared, found.rows) == (0, "new")
    assert not found.drifted


def test_merged_sums_are_those_of_all_numbers() -> None:
    parts = [
        np.array(values, np.float64) for values in ([1e9 + 1], [], [1e9 + 2, 1e9 + 6, 1e9 + 7])
    ]
    whole = Running()

    for part in parts:
        own = Running()
        own.add(part)
        whole.merge(own)

    # Around the mean 4 they are -3, -2, 2 and 3: 26 in squares.
    assert replace(whole) == Running(4, 1e9 + 4, 26.0)


def test_of_labels_that_came_at_once_leaving_counts_last() -> None:
    labels = dataset.in_any_order(dataset.as_labels(["a", "b", "a"], [7, 9, 3], [1, 0, 1]))

    found = zip(labels.row_hashes.tolist(), labels.labels.tolist(), strict=True)
    assert list(found) == [(9, 0), (3, 1), (7, 1)]
