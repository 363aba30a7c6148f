"""Cells of plain lines are found, and read as numbers and texts, by their bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from scripts.core.config import Schema
from scripts.data import csv_blocks, csv_fast_path, csv_reader
from scripts.data.csv_fast_path import Judge
from scripts.data.csv_reader import ColumnLayout

SCHEMA = Schema(ids=("id",), numeric=("n", "m"), categorical=("kind",), target="left")
HEADER = ["id", "n", "m", "kind", "left"]


def judge(header: list[str] | None = None, separator: str = ",") -> Judge:
    """Give the judge of a file."""
    return Judge(ColumnLayout(SCHEMA, separator, header or HEADER, {}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("7", 7),
        ("12345678", 12345678),
        ("123456789", 123456789),
        ("900000000000000", 900000000000000),
        ("100000000", 100000000),
        ("99999999", 99999999),
        ("2147483647", 2147483647),
        ("2147483648", 2147483648),
    ],
)
def test_numbers_of_up_to_fifteen_digits_are_read_exactly(text: str, expected: int) -> None:
    table = judge().parse(f"a,{text},1,x,1\nb,3,{text},y,0\n".encode())

    assert table is not None
    assert table["n"].to_pylist() == [expected, 3]
    assert table["m"].to_pylist() == [1, expected]


def test_texts_labels_and_blanks_are_taken_as_they_stand() -> None:
    table = judge().parse(b"a b,,10,,1\n007,2,20,x y,0\nc,3,30,z,1\n")

    assert table is not None
    assert table["id"].to_pylist() == ["a b", "007", "c"]
    assert table["kind"].to_pylist() == ["", "x y", "z"]
    assert table["left"].to_pylist() == [1, 0, 1]
    assert np.isnan(table["n"].to_numpy()).tolist() == [True, False, False]
    assert table["n"].to_pylist()[1:] == [2.0, 3.0]
    assert pa.types.is_int32(table["m"].type)


@pytest.mark.parametrize(
    "line",
    [
        "a,01,1,x,1",
        "a,1,00,x,1",
        "a,-1,1,x,1",
        "a,1.5,1,x,1",
        "a,1e3,1,x,1",
        "a, 1,1,x,1",
        "a,1:,1,x,1",
        "a,/1,1,x,1",
        "a,1234567890123456,1,x,1",
        "a,1,1,x,2",
        "a,1,1,x,",
        "a,1,1,x,01",
        ",1,1,x,1",
        " a,1,1,x,1",
        "a,1,1,x ,1",
        '"a",1,1,x,1',
        "a,1,1,é,1",
        "a,1,1,x\t,1",
        "a,1,1,x",
        "a,1,1,x,1,1",
        "",
    ],
)
def test_what_is_spelled_otherwise_is_left_to_the_rules_of_rows(line: str) -> None:
    for content in (f"{line}\nb,2,3,y,0\n", f"b,2,3,y,0\n{line}\n"):
        assert judge().parse(content.encode()) is None
        assert judge().read(content.encode()) is None


def test_a_last_line_without_an_end_is_left_to_the_rules_of_rows() -> None:
    assert judge().parse(b"b,2,3,y,0\na,1,1,x,1") is None


@pytest.mark.parametrize(
    "line",
    ["a,01,1,x,1", "a,1,00,x,1", "a,1x,1,x,1", "a,1,1/,x,1", "a,1,:,x,1", "a,-1,1,x,1"],
)
def test_numbers_are_read_at_once_only_where_all_of_them_are_plain(line: str) -> None:
    for content in (f"{line}\nb,2,3,y,0\n", f"b,,3,y,0\n{line}\n"):
        marks = judge().look_at(content.encode())

        assert marks is not None
        assert csv_fast_path.read_short(marks, range(1, 3)) is None


def test_numbers_side_by_side_are_read_at_once() -> None:
    marks = judge().look_at(b"a,12345678,0,x,1\nbc,,70,y,0\n")

    assert marks is not None
    short = csv_fast_path.read_short(marks, range(1, 3))
    assert short is not None
    values, lengths = short
    assert values.tolist() == [[12345678, 0], [0, 70]]
    assert lengths.tolist() == [[8, 0], [1, 2]]


def test_numbers_of_nine_digits_are_not_read_at_once() -> None:
    marks = judge().look_at(b"a,123456789,0,x,1\n")

    assert marks is not None
    assert csv_fast_path.read_short(marks, range(1, 3)) is None


def test_a_row_that_begins_with_a_number_is_read_like_others() -> None:
    schema = Schema(ids=(), numeric=("n", "m"), categorical=(), target="left")

    table = Judge(ColumnLayout(schema, ",", ["n", "m", "left"], {})).parse(
        b"12,3,1\n,40,0\n5,6,1\n"
    )

    assert table is not None
    assert table["m"].to_pylist() == [3, 40, 6]
    assert np.isnan(table["n"].to_numpy()).tolist() == [False, True, False]
    assert table["n"].to_pylist()[0::2] == [12.0, 5.0]


def test_a_zero_that_begins_a_text_is_no_superfluous_zero() -> None:
    rows = judge().read(b"007,1,2,0x,1\n08,10,0,09,0\n")

    assert rows is not None
    assert rows.n_rows == 2


@pytest.mark.parametrize(
    "other", [judge(["n", "id", "m", "kind", "left"]), judge([*HEADER, "more"]), judge(None, ";")]
)
def test_files_that_are_laid_out_otherwise_are_not_judged(other: Judge) -> None:
    assert other.parse(b"a,1,2,x,1\n") is None


def test_lines_of_another_number_of_cells_have_no_marks() -> None:
    codes = np.frombuffer(b"a,1\nb\n,2\n", np.uint8)

    assert csv_fast_path.find_marks(codes, 2) is None
    assert csv_fast_path.MAX_DIGITS == 15


def test_blocks_of_all_sizes_give_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.csv"
    rows = [f"c{n},{n**3},{n % 7},{'x' * (n % 9)},{n % 2}" for n in range(300)]
    path.write_text("\n".join([",".join(HEADER), *rows]) + "\n")
    strict, expected = csv_reader.read_file(path, tmp_path, SCHEMA)

    for size in (1, 40, 1000, 2**18):
        monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", size)
        found, parts = csv_blocks.read_file(path, tmp_path, SCHEMA)

        assert found == strict
        for name in HEADER:
            assert [v for part in parts for v in part[name].to_pylist()] == expected[name]
