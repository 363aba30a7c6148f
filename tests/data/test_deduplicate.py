"""Duplicate rows of large tables, with the result of pandas."""

import random

import numpy as np
import pandas as pd
import pytest

from scripts.data import deduplicate

TEXTS = ["", "a", "b", "exactly8", "exactly8b", "a much longer name of a client", "é", "株", None]
NUMBERS = [0.0, -0.0, 1.0, 2.0, 2.5, float("nan"), 1e300]


def make_table(seed: int, n_rows: int) -> pd.DataFrame:
    """Make a table with many duplicates, of every kind of column that is compared in bulk."""
    draw = random.Random(seed)
    return pd.DataFrame(
        {
            "text": pd.Series(draw.choices(TEXTS, k=n_rows), dtype="str"),
            "number": draw.choices(NUMBERS, k=n_rows),
            "count": draw.choices([0, 1, -1, 2**53], k=n_rows),
            "flag": draw.choices([True, False], k=n_rows),
            "small": pd.Series(draw.choices([0, 1], k=n_rows), dtype=np.int8),
        }
    )


@pytest.fixture
def always_in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tables of any size be compared in bulk."""
    monkeypatch.setattr(deduplicate, "FEW_ROWS", 0)


@pytest.mark.usefixtures("always_in_bulk")
@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 50, 2000])
@pytest.mark.parametrize("seed", range(5))
def test_the_duplicates_are_those_of_pandas(seed: int, n_rows: int) -> None:
    table = make_table(seed, n_rows)

    found = deduplicate.find_duplicates(table)

    assert found.tolist() == table.duplicated().tolist()
    pd.testing.assert_frame_equal(
        deduplicate.drop_duplicates(table), table.drop_duplicates(ignore_index=True)
    )


@pytest.mark.usefixtures("always_in_bulk")
@pytest.mark.parametrize("n_numbers", [1, 2, 7])
def test_rows_with_the_same_number_by_chance_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, n_numbers: int
) -> None:
    def poor_numbers(table: pd.DataFrame) -> deduplicate.Numbers:
        mixed = pd.util.hash_pandas_object(table, index=False).to_numpy() % np.uint64(n_numbers)
        return (mixed << np.uint64(32)).astype(np.uint64)

    monkeypatch.setattr(deduplicate, "row_numbers", poor_numbers)
    table = make_table(1, 500)[["text", "count"]]

    assert deduplicate.find_duplicates(table).tolist() == table.duplicated().tolist()


@pytest.mark.usefixtures("always_in_bulk")
def test_texts_that_differ_in_length_or_in_the_last_byte_only_are_different() -> None:
    texts = ["x" * 8, "x" * 9, "x" * 7, "x" * 16, "x" * 15 + "y", "x" * 8, "", "\0"]
    table = pd.DataFrame({"text": pd.Series(texts, dtype="str"), "n": 1})

    assert np.flatnonzero(deduplicate.find_duplicates(table)).tolist() == [5]


@pytest.mark.usefixtures("always_in_bulk")
def test_equal_rows_have_equal_numbers_and_nearly_all_others_do_not() -> None:
    table = pd.DataFrame({"id": [f"client{n}" for n in range(50_000)], "n": range(50_000)})

    numbers = deduplicate.row_numbers(pd.concat([table, table]))

    assert numbers[:50_000].tolist() == numbers[50_000:].tolist()
    # With 64 bits the expected number of collisions is below one in ten billion.
    assert len(np.unique(numbers)) == 50_000


@pytest.mark.usefixtures("always_in_bulk")
def test_a_column_of_another_kind_is_left_to_pandas() -> None:
    table = pd.DataFrame({"day": pd.to_datetime(["2026-01-01", "2026-01-01"]), "n": [1, 1]})

    assert deduplicate.find_duplicates(table).tolist() == [False, True]
    assert len(deduplicate.drop_duplicates(table)) == 1


def test_the_table_stays_as_it_was() -> None:
    table = make_table(3, 100)
    before = table.copy()

    deduplicate.drop_duplicates(table)

    pd.testing.assert_frame_equal(table, before)
