"""Rows and reports of tasks as batches of Arrow, without a cluster."""

from pathlib import Path

import pyarrow as pa
import pytest

from scripts.core.config import Schema
from scripts.data import polars_ranges
from scripts.data.polars_ranges import RowForm
from scripts.spark import read_files
from scripts.spark.read_files import CELLS, FILE, REPORT, ROW

pytest.importorskip("pyspark", reason="PySpark is not installed; pip install '.[spark]'")

SCHEMA = Schema(
    target="left", ids=("id",), numeric=("age", "spent"), categorical=("plan",), minimum={}
)
LINES = "id,age,spent,plan,left\na,1,2.5,x,0\nb,,3,,1\nc,many,1,x,0\nd,4,5,y,\n"


def read(folder: Path, form: RowForm) -> pa.Table:
    """Read a file as the second of a task, from position 7 on."""
    path = folder / "a.csv"
    path.write_text(LINES)
    kinds = read_files.row_kinds(form)
    tables = read_files.to_tables(polars_ranges.read_whole(path, form), 1, path, 7, form)
    return pa.concat_tables(table.select(kinds.names).cast(kinds) for table in tables)


def test_typed_rows_come_with_file_and_position_and_the_report_last(tmp_path: Path) -> None:
    found = read(tmp_path, RowForm(SCHEMA)).to_pylist()

    assert [(row["id"], row["age"], row["spent"], row["plan"], row["left"]) for row in found] == [
        ("a", 1.0, 2.5, "x", 0), ("b", None, 3.0, "", 1), ("d", 4.0, 5.0, "y", -1),
        (None, None, None, None, None),
    ]  # fmt: skip
    assert [(row[FILE], row[ROW]) for row in found] == [(1, 7), (1, 8), (1, 9), (1, -1)]
    assert [row[REPORT] is None for row in found] == [True, True, True, False]
    assert '"column":"age"' in found[-1][REPORT]


def test_rows_of_text_have_all_cells_of_a_file(tmp_path: Path) -> None:
    schema = Schema(target="left", ids=(), numeric=(), categorical=())

    found = read(tmp_path, RowForm(schema, as_text=True)).to_pylist()

    assert [row[CELLS] for row in found] == [
        ["a", "1", "2.5", "x", "0"], ["b", "", "3", "", "1"], ["c", "many", "1", "x", "0"],
        ["d", "4", "5", "y", ""], None,
    ]  # fmt: skip


def test_a_large_file_is_a_task_per_range_and_one_that_has_gone_is_a_task(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * 10)

    pieces = read_files.cut_files([tmp_path / "gone.csv", path], 4)

    assert [(number, *bounds) for number, _, *bounds in pieces] == [
        (0, 0, None), (1, 0, 3), (1, 3, 6), (1, 6, 10),
    ]  # fmt: skip
