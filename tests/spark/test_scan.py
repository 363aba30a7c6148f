"""The parts of a cluster's scan, without a cluster: hashes, and facts of numbers."""

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from benchmarks.drift import SCHEMA, draw
from scripts.core.config import Schema
from scripts.data import dataset, dataset_scan, deduplicate
from scripts.data.numeric_column import NumberBuffer
from scripts.data.scanned_dataset import NumberStatistics, describe_column

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

    parts = [pl.DataFrame(part) for part in as_partitions(table, 4)]
    hashes = [dataset_scan.hash_rows(part, SCHEMA) for part in parts]

    assert np.array_equal(np.concatenate(hashes), deduplicate.hash_table_rows(table, SCHEMA))


@pytest.mark.parametrize("values", [[1e9 + 1, 1e9 + 6], [1.0, np.nan, 4.0], [np.nan], [3.0]])
def test_a_column_is_described_as_on_one_machine(values: list[float]) -> None:
    schema = Schema(ids=(), numeric=("age",), categorical=(), target="left")
    table = pd.DataFrame({"age": values, "left": [0] * len(values)})
    buffer = NumberBuffer(len(values), None)
    buffer.add(np.array(values), np.zeros(len(values), np.bool_))

    found = describe_column(buffer.finish(), "age")
    sent = msgspec.json.decode(msgspec.json.encode(found), type=NumberStatistics)

    assert sent == found
    assert sent.n_missing == int(np.isnan(values).sum())
    assert np.array_equal(sent.stayed_median, table["age"].median(), equal_nan=True)
    expected = msgspec.structs.astuple(dataset.summarise(table, schema)[0])
    assert msgspec.structs.astuple(sent.summarise("age")) == pytest.approx(expected)
