"""The committed tables are those of the generator, and tell the story by themselves."""

import csv
from pathlib import Path

import pytest

from examples import make_data

ROOT = Path(__file__).parent.parent
TABLES = make_data.make_tables()


def rows_of(name: str) -> list[list[str]]:
    """Read a made table without its header."""
    return list(csv.reader(TABLES[name].splitlines()))[1:]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_committed_table_is_made_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    make_data.main(tmp_path)

    assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_about_35_of_100_clients_leave(name: str) -> None:
    exits = [int(row[4]) for row in rows_of(name)]

    assert 0.3 <= sum(exits) / len(exits) <= 0.4


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("practicedata/dataset1.csv", "practicedata/dataset2.csv"),
        ("sourcedata/dataset3.csv", "sourcedata/dataset4.csv"),
    ],
)
def test_about_a_tenth_of_the_second_file_repeats_rows_of_the_first(
    first: str, second: str
) -> None:
    shared = set(map(tuple, rows_of(first))) & set(map(tuple, rows_of(second)))

    assert len(shared) == pytest.approx(len(rows_of(second)) / 10, rel=0.06)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_only_the_source_extracts_have_blanks(name: str) -> None:
    has_blanks = any(cell == "" for row in rows_of(name) for cell in row)

    assert has_blanks == name.startswith("sourcedata")
