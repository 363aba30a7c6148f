"""Rows drawn by the hash of each row."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.core.config import Schema
from scripts.data import sampling
from scripts.data.sampling import Draw

SCHEMA = Schema(ids=("id",), numeric=("months",), categorical=(), target="left")


def make_table(n_rows: int, first: int = 0) -> pd.DataFrame:
    """Return clients numbered from `first` on."""
    numbers = range(first, first + n_rows)
    return pd.DataFrame(
        {"id": [f"c{n}" for n in numbers], "months": [n % 7 for n in numbers], "left": 0}
    )


def draw(table: pd.DataFrame, max_rows: int | None, seed: int = 42) -> list[str]:
    """Return the identifiers of the drawn rows."""
    return sampling.draw_rows(table, SCHEMA, max_rows, seed)["id"].tolist()


def test_as_many_rows_as_wanted_are_drawn_in_the_order_of_the_table() -> None:
    drawn = draw(make_table(5_000), 1_000)

    assert len(drawn) == 1_000
    assert drawn == sorted(drawn, key=lambda name: int(name[1:]))


def test_the_draw_is_a_fair_one() -> None:
    drawn = np.array([int(name[1:]) for name in draw(make_table(20_000), 5_000)])

    # Of the first half 2,500 are expected, give or take four standard deviations.
    assert abs((drawn < 10_000).sum() - 2_500) < 4 * np.sqrt(20_000 * 0.25 * 0.75 / 2)


@pytest.mark.parametrize("max_rows", [None, 300, 301])
def test_without_a_smaller_number_all_rows_are_used(max_rows: int | None) -> None:
    table = make_table(300)

    assert sampling.draw_rows(table, SCHEMA, max_rows, 42) is table


def test_a_drawn_row_stays_drawn_as_rows_are_added_unless_a_new_one_takes_its_place() -> None:
    before, after = set(draw(make_table(3_000), 1_000)), set(draw(make_table(3_600), 1_000))

    pushed_out, new = before - after, after - before
    assert len(pushed_out) == len(new)
    assert {int(name[1:]) >= 3_000 for name in new} == {True}
    # A sixth of the rows is new.
    assert 100 < len(new) < 240


def test_the_draw_does_not_depend_on_the_order_of_the_rows() -> None:
    table = make_table(2_000)

    shuffled = table.sample(frac=1, random_state=3).reset_index(drop=True)

    assert set(draw(shuffled, 500)) == set(draw(table, 500))


def test_another_seed_draws_other_rows() -> None:
    ours, others = (set(draw(make_table(2_000), 1_000, seed)) for seed in (42, 43))

    assert 400 < len(ours & others) < 600


def test_equal_rows_are_drawn_each_for_itself_by_their_positions() -> None:
    table = pd.concat([make_table(2).assign(id="same")] * 1_000, ignore_index=True)

    drawn = sampling.draw_rows(table, SCHEMA, 500, 42, by_place=True)
    later = sampling.draw_rows(pd.concat([table, table]), SCHEMA, 500, 42, by_place=True)

    # Two kinds of rows: without their positions all rows of one kind would come first.
    assert 200 < (drawn["months"] == 0).sum() < 300
    assert 200 < (later["months"] == 0).sum() < 300


def test_of_equal_keys_the_first_rows_are_drawn() -> None:
    keys = np.array([5, 1, 5, 0, 5], np.uint64)

    assert sampling.smallest(keys, 3).tolist() == [0, 1, 3]
    assert sampling.smallest(keys, 5).tolist() == [0, 1, 2, 3, 4]


def test_a_bound_keeps_hardly_more_rows_than_are_drawn() -> None:
    bound = sampling.likely_bound(10_000, 100_000)
    keys = np.random.default_rng(1).integers(0, 2**64, 100_000, np.uint64)

    assert 10_000 < (keys <= np.uint64(bound)).sum() < 11_200
    assert sampling.likely_bound(None, 100_000) == sampling.LARGEST_KEY
    assert sampling.likely_bound(10_000, 10_100) == sampling.LARGEST_KEY


def test_a_draw_knows_that_its_bound_was_too_low() -> None:
    rows, keys = pa.table({"place": [0, 1, 2]}), np.array([7, 8, 9], np.uint64)

    for bound, is_short in ((7, True), (8, False), (9, False)):
        drawn = Draw(2, bound)
        is_kept = drawn.offer(keys)
        drawn.add(rows.filter(pa.array(is_kept)), keys[is_kept])
        assert drawn.is_short is is_short
    assert drawn.rows()["place"].to_pylist() == [0, 1]


@given(
    st.lists(st.integers(0, 50), max_size=80),
    st.integers(1, 12),
    st.one_of(st.none(), st.integers(1, 20)),
)
def test_a_draw_in_parts_is_that_of_all_rows(
    numbers: list[int], n_in_part: int, max_rows: int | None
) -> None:
    keys = np.array(numbers, np.uint64)
    rows = pa.table({"place": np.arange(len(keys))})
    drawn = Draw(max_rows)

    for start in range(0, len(keys), n_in_part):
        part = slice(start, start + n_in_part)
        is_kept = drawn.offer(keys[part])
        kept = rows.slice(start, n_in_part).filter(pa.array(is_kept))
        drawn.add(kept, keys[part][is_kept])

    found = drawn.rows().to_pydict().get("place", [])
    assert found == sampling.smallest(keys, max_rows).tolist()
    assert drawn.n_offered == len(keys)
