"""Tests of the entry to client tables: by size, with one set of rules."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.core.config import Schema
from scripts.data import csv_reader, table_reader
from tests.support.hostile_files import FORMATS, HEADER, SCHEMA, make_file
from tests.support.service import ROOT


def spell_columns(columns: csv_reader.Columns) -> dict[str, list[str]]:
    """Format the cells of columns, with equal missing numbers."""
    return {name: [repr(cell) for cell in cells] for name, cells in columns.items()}


@pytest.mark.parametrize("as_text", [False, True])
def test_files_of_all_sizes_have_the_same_columns_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_text: bool
) -> None:
    path, n_rejected = tmp_path / "x.csv", 0
    for seed in range(60):
        draw = random.Random(seed)
        schema, header, separator = draw.choice(FORMATS)
        path.write_bytes(make_file(draw, header, separator))
        needs_label = draw.random() < 0.5

        monkeypatch.setattr(table_reader, "MANY_BYTES", 2**40)
        small, expected = table_reader.read_file(
            path, tmp_path, schema, as_text=as_text, needs_label=needs_label
        )
        monkeypatch.setattr(table_reader, "MANY_BYTES", 0)
        large, columns = table_reader.read_file(
            path, tmp_path, schema, as_text=as_text, needs_label=needs_label
        )

        assert large == small
        assert spell_columns(columns) == spell_columns(expected)
        n_rejected += len(small.rejected)
    assert n_rejected > 20


def test_a_folder_with_the_name_of_a_table_is_refused(tmp_path: Path) -> None:
    reading, columns = table_reader.read_file(tmp_path, tmp_path.parent, SCHEMA)

    assert reading.refused == csv_reader.NOT_REGULAR
    assert set(columns) == set(SCHEMA.file_columns)


def test_content_has_the_rows_and_the_report_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for seed in range(60):
        draw = random.Random(seed)
        schema, header, separator = draw.choice(FORMATS)
        path.write_bytes(make_file(draw, header, separator))
        of_file, columns = csv_reader.read_file(path, tmp_path, schema)
        reading, rows = csv_reader.new_reading(path, schema), []
        try:
            for row, errors in table_reader.read_content(path.read_bytes(), schema, reading):
                rows += [] if errors else [row]
        except csv_reader.RefusedFileError as error:
            csv_reader.refuse(reading, error)
            rows = []

        found = {name: [row[name] for row in rows] for name in columns}
        assert reading == of_file
        assert spell_columns(found) == spell_columns(columns)


def test_every_error_of_a_row_is_found_and_the_first_one_reported() -> None:
    reading = csv_reader.new_reading(Path("the table"), SCHEMA)
    content = f"{HEADER}\n,x,-1,3,1\n".encode()

    ((row, errors),) = table_reader.read_content(content, SCHEMA, reading)

    assert [error.column for error in errors] == [*SCHEMA.ids, *SCHEMA.numeric[:2]]
    assert row == {SCHEMA.numeric[2]: 3.0, SCHEMA.target: 1}
    assert [rejected.column for rejected in reading.rejected] == [*SCHEMA.ids]


def test_neither_polars_nor_pandas_is_imported_for_small_tables() -> None:
    code = (
        "import sys; from pathlib import Path; from scripts.data import table_reader;"
        "from scripts.core.config import Schema;"
        "path = Path('practicedata/dataset1.csv');"
        "reading, _ = table_reader.read_file(path, path.parent, Schema());"
        "assert reading.n_rows; assert not {'polars', 'pandas'} & {*sys.modules}"
    )

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_names_are_read_by_the_separator_of_the_most_declared_columns() -> None:
    schema = Schema(ids=("a",), numeric=("b", "c"), target="d")

    assert csv_reader.split_header("a;b,x;c", schema)[-1] == (";", ["a", "b,x", "c"])
