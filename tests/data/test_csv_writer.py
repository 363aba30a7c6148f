"""The writer of datasets: the bytes of each cell, and equal bytes for equal tables."""

import random

import numpy as np
import pandas as pd
import pytest

from scripts.data import csv_writer

TEXTS = ["a", "", "b,c", 'say "hi"', "é", " x ", "line\nend", "=1+1", "株", None]
NUMBERS = [0.1, 2.0, -0.0, 1e22, 1e-7, 1e15, 123456789.125, 1e16, 5e-324, float("nan"), 1 / 3]


def spell(table: pd.DataFrame) -> str:
    """Spell a table as one text."""
    return b"".join(csv_writer.spell_table(table)).decode()


def test_whole_numbers_are_bare_and_blanks_empty() -> None:
    table = pd.DataFrame({"id": ["a", "b"], "n": [1.0, np.nan], "x": [0.1, 2.0], "exited": [1, 0]})

    assert spell(table) == "id,n,x,exited\na,1,0.1,1\nb,,2.0,0\n"


@pytest.mark.parametrize("part_rows", [1, 7, 1000])
@pytest.mark.parametrize("texts", [["a", "b"], TEXTS])
def test_large_tables_are_spelled_as_small_ones(
    monkeypatch: pytest.MonkeyPatch, part_rows: int, texts: list[str | None]
) -> None:
    draw = random.Random(part_rows)
    n_rows = 200
    table = pd.DataFrame(
        {
            "id": pd.Series(draw.choices(texts, k=n_rows), dtype="str"),
            "x": draw.choices(NUMBERS, k=n_rows),
            "whole": draw.choices([1.0, 2.0, 2.0**53, -3.0, float("nan")], k=n_rows),
            "n": draw.choices([0, 1, -5, 2**53], k=n_rows),
        }
    )
    by_pandas = spell(table)
    monkeypatch.setattr(csv_writer, "FEW_ROWS", 0)
    monkeypatch.setattr(csv_writer, "PART_ROWS", part_rows)

    assert spell(table) == by_pandas


def test_columns_of_other_kinds_and_a_single_column_are_spelled_by_pandas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(csv_writer, "FEW_ROWS", 0)

    assert spell(pd.DataFrame({"b": [True, False], "n": [1, 2]})) == "b,n\nTrue,1\nFalse,2\n"
    assert spell(pd.DataFrame({"x": pd.Series(["a", ""], dtype="str")})) == 'x\na\n""\n'


def test_a_table_without_rows_is_its_header() -> None:
    assert spell(pd.DataFrame({"a": [], "b": []})) == "a,b\n"
