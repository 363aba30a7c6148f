"""Hashes of rows, and tables without duplicate rows."""

import numpy as np
import pandas as pd

from scripts.data import deduplicate


def test_equal_rows_have_equal_numbers_and_nearly_all_others_do_not() -> None:
    table = pd.DataFrame({"id": [f"client{n}" for n in range(50_000)], "n": range(50_000)})

    numbers = deduplicate.row_numbers(pd.concat([table, table]))

    assert numbers[:50_000].tolist() == numbers[50_000:].tolist()
    # With 64 bits the expected number of collisions is below one in ten billion.
    assert len(np.unique(numbers)) == 50_000


def test_the_table_stays_as_it_was() -> None:
    table = pd.DataFrame({"id": ["a", "a", "b"], "n": [1, 1, 1]}, index=[5, 6, 7])
    before = table.copy()

    cleaned = deduplicate.drop_duplicates(table)

    assert cleaned.index.tolist() == [0, 1]
    pd.testing.assert_frame_equal(table, before)
