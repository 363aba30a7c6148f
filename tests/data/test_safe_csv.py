"""CSV without formulas."""

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.data import safe_csv
from scripts.data.safe_csv import Cell


@pytest.mark.parametrize(
    ("cell", "spelled"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n=1", "'\n'=1"),
        ("a=1", "a=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20SUM(A1)", "'\uff20SUM(A1)"),
        ("a;=1+1", "a;'=1+1"),
        ("a;b; =1;+2", "a;b; '=1;'+2"),
        ("a\t-1", "a\t'-1"),
        ("a\n@b", "a\n'@b"),
        ('a;"=1', "a;\"'=1"),
        ("a;\uff1d1", "a;'\uff1d1"),
        ("a;b", "a;b"),
        ("", ""),
        ("'quoted", "'quoted"),
        (-1, "-1"),
        (-0.5, "-0.5"),
        (1e-7, "1e-07"),
        (None, ""),
    ],
)
def test_text_that_could_be_a_formula_is_prefixed_and_numbers_stay(
    cell: Cell, spelled: str
) -> None:
    assert safe_csv.format_cell(cell) == spelled


cells = st.one_of(
    st.none(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12),
    st.tuples(
        st.sampled_from([*"=+-@\t\r\n\uff1d\uff0b\uff0d\uff20", '"=', ",=", ";=", "a;=", "a\t+"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
    ).map("".join),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(cells, st.text("a, \"'\r\n;", max_size=5)), max_size=4))
def test_a_table_is_as_the_writer_of_python_writes_it(rows: list[tuple[Cell, Cell]]) -> None:
    expected = io.StringIO(newline="")
    writer = csv.writer(expected, lineterminator="\r\n")
    writer.writerows([safe_csv.format_cell(cell) for cell in row] for row in [("a", "=b"), *rows])

    assert safe_csv.format_csv(["a", "=b"], rows) == expected.getvalue()


@settings(max_examples=500, deadline=None)
@given(cells)
def test_any_cell_comes_back_as_it_was_and_is_no_formula(cell: Cell) -> None:
    text = safe_csv.format_csv(["a", "b"], [[cell, "end"]])
    header, (found, end) = csv.reader(io.StringIO(text, newline=""))

    assert (header, end) == (["a", "b"], "end")
    if isinstance(cell, str):
        assert not found.startswith(
            ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")
        )
        assert found.replace("'", "") == cell.replace("'", "")
        # Read with another separator, each piece of the line is a cell.
        pieces = re.split("[;\t\r\n]", text.split("\r\n", 1)[1])
        firsts = [piece.strip().strip('"').strip() for piece in pieces[1:]]
        assert not any(first.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20")) for first in firsts)
    elif cell is None:
        assert found == ""
    else:
        # A whole number beyond 2**53 is no float any more.
        assert type(cell)(found) == cell
