"""A scan by Polars finds the facts that a table in memory has."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.core.config import Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    csv_writer,
    dataset,
    dataset_scan,
    deduplicate,
    numeric_column,
    profile,
    sampling,
)
from scripts.data.scanned_dataset import RowChoice, ScannedDataset
from scripts.model import candidate

SCHEMA = Schema(
    ids=("id",), numeric=("months", "balance"), categorical=("plan", "city"), target="left"
)
LARGEST = 2.0**53
NUMBERS = st.one_of(
    st.none(),
    st.integers(-3, 70_000),
    st.integers(-(2**53), 2**53),
    st.floats(-LARGEST, LARGEST),
    st.sampled_from([0, -0.0, 1e-300, 0.1, 65534, 65535, 65536, 2**24 + 1]),
)
TEXTS = st.one_of(
    st.sampled_from(["", "a", "b", 'say "x", y', "two\nlines", "NA", "null", "é" * 20]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"])),
)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS, TEXTS, st.integers(0, 1)), min_size=1)


def make_table(rows: list[tuple[float | None, float | None, str, str, int]]) -> pd.DataFrame:
    """Return a dataset in memory."""
    months, balance, plan, city, left = zip(*rows, strict=True)
    columns = {
        "id": [f"client{n}" for n in range(len(rows))],
        "months": np.array(months, np.float64),
        "balance": np.array(balance, np.float64),
        "plan": plan,
        "city": city,
        "left": left,
    }
    return dataset.make_table(columns, SCHEMA)


def write(folder: Path, table: pd.DataFrame) -> Path:
    """Write a dataset as ingestion does."""
    path = folder / "finaldata.csv"
    path.write_bytes(b"".join(csv_writer.encode_table(table)))
    return path


def scan(
    path: Path,
    max_rows: int | None = None,
    *,
    comparison: RowChoice | None = None,
    folder: Path | None = None,
) -> ScannedDataset:
    """Scan a dataset of the schema."""
    return dataset_scan.scan(
        path, SCHEMA, max_rows=max_rows, seed=42, comparison=comparison, folder=folder
    )


def check_close(ours: float | None, theirs: float | None, largest: float = 0.0) -> None:
    """Compare a statistic, None where not defined."""
    assert (ours is None) == (theirs is None)
    if theirs is not None:
        # Sums in another order differ in the last digits of the largest number.
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12 * largest)


def check_facts(found: ScannedDataset, table: pd.DataFrame) -> None:
    """Compare the facts of a scan with those of the table in memory."""
    facts = candidate.describe_dataset(table, found.sha256, SCHEMA)
    own = found.describe()
    assert (own.n_rows, own.n_positives) == (facts.n_rows, facts.n_positives)
    assert own.missing_fractions == facts.missing_fractions
    for ours, theirs in zip(own.summary, facts.summary, strict=True):
        assert ours.column == theirs.column
        largest = table[ours.column].abs().max()
        check_close(ours.median, theirs.median)
        check_close(ours.mean, theirs.mean, largest)
        check_close(ours.standard_deviation, theirs.standard_deviation, largest)
    columns = dataset.feature_arrays(table, SCHEMA)
    for name in SCHEMA.numeric:
        present = columns[name][~np.isnan(columns[name])]
        assert found.numeric[name].bins == profile.make_bins(present)
        stayed = columns[name][(table["left"] == 0) & ~np.isnan(columns[name])]
        middle = np.median(stayed) if len(stayed) else np.nan
        assert found.numeric[name].stayed_median == pytest.approx(middle, rel=1e-12, nan_ok=True)
    for name in SCHEMA.categorical:
        assert found.category_counts[name] == table[name].value_counts().to_dict()
        left = table[table["left"] == 1][name].value_counts().to_dict()
        assert {text: n for text, (_, n) in found.categories[name].items() if n} == left
    hashes = deduplicate.hash_rows(table, SCHEMA)
    assert found.row_hashes == deduplicate.encode_smallest(hashes)


@settings(deadline=None)
@given(ROWS, st.integers(1, 40), st.booleans())
def test_facts_by_polars_equal_facts_in_memory(
    rows: list[tuple[float | None, float | None, str, str, int]], batch_rows: int, in_files: bool
) -> None:
    table = make_table(rows)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_scan, "BATCH_ROWS", batch_rows)
        patch.setattr(dataset_scan, "BLOCK_BYTES", 10 * batch_rows)
        patch.setattr(numeric_column, "PART_ROWS", batch_rows)
        folder = Path(name)

        found = scan(write(folder, table), folder=folder if in_files else None)

        check_facts(found, table)
        assert [path.name for path in folder.iterdir()] == ["finaldata.csv"]
    pd.testing.assert_frame_equal(
        dataset.features(found.rows, SCHEMA), dataset.features(table, SCHEMA), check_exact=True
    )


def make_clients(n_rows: int) -> pd.DataFrame:
    """Return clients with whole numbers, fractions and missing values."""
    random = np.random.default_rng(1)
    balance = np.round(random.lognormal(5, 1, n_rows), 2)
    balance[random.random(n_rows) < 0.05] = np.nan
    rows = zip(
        random.integers(0, 60, n_rows).tolist(), balance.tolist(),
        random.choice(["", "basic", "gold"], n_rows).tolist(),
        random.choice([f"c{n}" for n in range(400)], n_rows).tolist(),
        random.integers(0, 2, n_rows).tolist(), strict=True,
    )  # fmt: skip
    return make_table([*rows])


@pytest.mark.parametrize("in_files", [True, False])
def test_the_facts_of_many_rows_equal_those_in_memory(tmp_path: Path, in_files: bool) -> None:
    table = make_clients(150_000)

    found = scan(write(tmp_path, table), 1_000, folder=tmp_path if in_files else None)

    check_facts(found, table)
    # Small whole numbers and fractions alike.
    for name in SCHEMA.numeric:
        numbers = found.numeric[name]
        assert isinstance(numbers, numeric_column.NumericColumn)
        assert isinstance(numbers.values, np.memmap) == in_files


@pytest.mark.parametrize("by_place", [True, False])
def test_the_rows_drawn_by_polars_are_those_drawn_in_memory(tmp_path: Path, by_place: bool) -> None:
    table = make_clients(3_000)

    found = dataset_scan.scan(
        write(tmp_path, table), SCHEMA, max_rows=1_000, seed=7, by_place=by_place
    )

    drawn = sampling.draw_rows(table, SCHEMA, 1_000, 7, by_place=by_place)
    pd.testing.assert_frame_equal(
        dataset.features(found.rows, SCHEMA), dataset.features(drawn, SCHEMA), check_exact=True
    )
    assert found.rows["left"].tolist() == drawn["left"].tolist()


def test_a_dataset_is_scanned_again_where_too_few_rows_were_kept(tmp_path: Path) -> None:
    # Half of the lines are within cells.
    table = make_clients(3_000).assign(plan="two\nlines")

    expected = sampling.draw_rows(table, SCHEMA, 1_000, 42)
    found = scan(write(tmp_path, table), 1_000)

    assert found.rows["months"].tolist() == expected["months"].tolist()
    check_facts(found, table)


def test_rows_to_compare_are_chosen_by_the_hashes_of_the_reference_s_columns(
    tmp_path: Path,
) -> None:
    table = make_clients(500)
    schema = Schema(ids=("id",), numeric=("months",), categorical=("plan",), target="left")
    wanted = deduplicate.hash_rows(table, schema)[::5]

    found = scan(
        write(tmp_path, table),
        comparison=RowChoice(schema, lambda hashes: np.isin(hashes, wanted)),
    )

    assert found.compared["balance"].dropna().tolist() == table["balance"][::5].dropna().tolist()
    assert found.n_to_compare == 100


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,1,2\n", "line 502 "),
        ("x,1,2,a,b,1,1\n", "line 502 "),
        ("x,1.5.1,2,a,b,1\n", "line 502"),
        ("x,nan,2,a,b,1\n", "line 502"),
        ("x,1e300,2,a,b,1\n", "line 502"),
        ("x,1,2,a,b,\n", "line 502"),
        ("x,1,2,a,b,2\n", "line 502"),
        (",1,2,a,b,1\n", "line 502"),
        ('x,1,2,"a,b,1\n', "not as ingestion wrote it"),
    ],
)
def test_a_damaged_dataset_is_refused_with_its_line(
    tmp_path: Path, line: str, message: str
) -> None:
    path = write(tmp_path, make_clients(500))
    path.write_bytes(path.read_bytes() + line.encode())

    with pytest.raises(DatasetError, match=message):
        scan(path)


def test_a_quote_that_is_not_closed_ends_a_scan_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_scan, "BLOCK_BYTES", 100)
    monkeypatch.setattr(dataset_scan, "MAX_RECORD_BYTES", 1_000)
    path = write(tmp_path, make_clients(500))
    path.write_bytes(path.read_bytes() + b'x,1,2,"a' + b"\n" * 5_000)

    with pytest.raises(DatasetError, match="not as ingestion wrote it"):
        scan(path, folder=tmp_path)


def test_a_dataset_without_a_column_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, make_clients(50).drop(columns="city"))

    with pytest.raises(DatasetError, match="city"):
        scan(path)


@pytest.mark.parametrize(("text", "n_lines"), [("", 0), ("a", 0), ("a\n\nb\r\n", 3)])
def test_lines_are_counted_across_parts_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, n_lines: int
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    monkeypatch.setattr(dataset_scan, "COUNTED_BYTES", 2)

    assert dataset_scan.count_lines(path) == n_lines
