"""Drift of a scanned dataset equals drift of a table in memory."""

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from benchmarks.drift import SCHEMA, accumulate, draw, make_model
from scripts.core import capacity
from scripts.core.config import Config
from scripts.data import csv_writer, dataset_scan, deduplicate
from scripts.model import drift
from scripts.model.drift import ColumnDrift, DataDrift
from scripts.model.logistic_model import Model
from scripts.production import monitor
from scripts.production.run_context import RunContext


def as_numbers(column: ColumnDrift) -> dict[str, float]:
    """Return the numbers of a column, NaN for None."""
    row = {"effect": column.effect} | column.as_row()
    return {
        name: np.nan if value is None else float(value)
        for name, value in row.items()
        if not isinstance(value, str)
    }


def check_same(found: DataDrift, expected: DataDrift) -> None:
    """Compare two results, up to the last digits of sums in another order."""
    assert replace(found, columns=()) == replace(expected, columns=())
    ours = {column.column: column for column in found.columns}
    assert [c.column for c in found.columns] == [c.column for c in expected.columns]
    for column in expected.columns:
        own = ours[column.column]
        assert (own.kind, own.has_drifted) == (column.kind, column.has_drifted)
        assert as_numbers(own) == pytest.approx(as_numbers(column), nan_ok=True, abs=1e-9)


def compare(
    folder: Path, table: pd.DataFrame, used: Model | None, max_rows: int | None = None
) -> DataDrift:
    """Compare a table from its file."""
    path = folder / "finaldata.csv"
    path.write_bytes(b"".join(csv_writer.encode_table(table)))
    comparison = None if used is None else drift.comparison_for(used)
    scan = dataset_scan.scan(path, SCHEMA, max_rows=max_rows, seed=1, comparison=comparison)
    return drift.compare_scan(scan, used)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in many batches."""
    monkeypatch.setattr(dataset_scan, "BATCH_ROWS", 100)


@pytest.fixture
def before() -> pd.DataFrame:
    """The rows of a model."""
    return draw(np.random.default_rng(1), 800)


def test_new_rows_that_drifted_are_found(tmp_path: Path, before: pd.DataFrame) -> None:
    later = draw(np.random.default_rng(2), 600)
    moved = later.assign(
        balance=later["balance"] + 500, plan=later["plan"].replace("basic", "never seen")
    )
    table, used = accumulate(before, moved), make_model(before)

    found = compare(tmp_path, table, used)

    assert found.n_compared == 600
    assert {column.column for column in found.drifted} >= {"balance", "plan"}
    check_same(found, drift.compare_data(table, used))


def test_a_sample_of_the_new_rows_is_compared_where_the_reference_is_large(
    tmp_path: Path, before: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deduplicate, "N_HASHES", 200)
    table, used = accumulate(before, draw(np.random.default_rng(3), 600)), make_model(before)

    found = compare(tmp_path, table, used)

    assert found.rows == "sample of new"
    assert 0 < found.n_compared < 600
    check_same(found, drift.compare_data(table, used))


def test_more_new_rows_than_are_drawn_are_compared_by_those_drawn(
    tmp_path: Path, before: pd.DataFrame
) -> None:
    later = draw(np.random.default_rng(2), 600).assign(balance=lambda rows: rows["balance"] + 500)
    table, used = accumulate(before, later), make_model(before)

    found = compare(tmp_path, table, used, max_rows=300)

    assert (found.n_compared, found.rows) == (300, "sample of new")
    assert "balance" in {column.column for column in found.drifted}


def test_all_rows_are_compared_where_rows_have_no_identifier(
    tmp_path: Path, before: pd.DataFrame
) -> None:
    later = draw(np.random.default_rng(3), 600)
    used = make_model(before)
    used = msgspec.structs.replace(used, schema=msgspec.structs.replace(used.schema, ids=()))

    everyone = compare(tmp_path, later, used)
    some = compare(tmp_path, later, used, max_rows=200)

    assert (everyone.n_compared, everyone.rows) == (600, "all")
    check_same(everyone, drift.compare_data(later, used))
    assert (some.n_compared, some.rows) == (200, "sample of all")


def test_without_new_rows_there_are_statistics_only(tmp_path: Path, before: pd.DataFrame) -> None:
    used = make_model(before)

    found = compare(tmp_path, before, used)

    assert found.n_compared == 0
    check_same(found, drift.compare_data(before, used))


def test_before_the_first_model_there_are_statistics_only(
    tmp_path: Path, before: pd.DataFrame
) -> None:
    check_same(compare(tmp_path, before, None), drift.describe_data(before, SCHEMA))


def test_a_model_of_an_earlier_version_has_nothing_to_compare_with(
    tmp_path: Path, before: pd.DataFrame
) -> None:
    used = make_model(before)
    facts = msgspec.structs.replace(used.dataset, reference=None)
    used = msgspec.structs.replace(used, dataset=facts)

    check_same(compare(tmp_path, before, used), drift.compare_data(before, used))


@pytest.mark.parametrize("many_rows", [20, 10**6])
def test_a_scan_goes_to_training_only_where_there_are_many_rows(
    deployed: Config, monkeypatch: pytest.MonkeyPatch, many_rows: int
) -> None:
    monkeypatch.setattr(capacity, "MANY_ROWS", many_rows)

    found = monitor.measure(RunContext(deployed))

    assert (found.scan is not None) is (many_rows == 20)
    assert found.data.n_rows == 26
