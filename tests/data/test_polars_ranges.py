"""Files read in ranges equal files read as a whole, in rows and reports."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.core import files
from scripts.core.config import Schema
from scripts.data import csv_reader, polars_ranges, polars_reader
from scripts.data.polars_ranges import Range, Report, Results, RowForm
from scripts.data.read_report import FileReading

SCHEMA = Schema(
    target="left", ids=("id",), numeric=("age",), categorical=("plan",), minimum={"age": 0},
    separator=",",
)  # fmt: skip
FORM = RowForm(SCHEMA)
HEADER = "id,age,plan,left\n"
PLAIN = ["a,1,x,0", "b,22,yy,1", "c,333,,0", "d,,x,1", "eeeeee,5,zzz,0"]
FILES = {
    "plain": "\n".join(PLAIN) + "\n",
    "no end": "\n".join(PLAIN),
    "CRLF": "\r\n".join(PLAIN) + "\r\n",
    "blank lines": "\n\n".join(PLAIN) + "\n\n\n",
    "fractions": "a,1.5,x,0\nb,2,x,1\n",
    "rejected": "a,1,x,0\nb,many,x,1\nc,-3,x,0\nd,4,x\ne,5,x,9\nf,6,x,1\n",
    "unlabelled": "a,1,x,\nb,2,x,1\nc,3,x,\n",
    "quotes within a line": 'a,1,"x,y",0\nb,2,"say ""no""",1\nc,3,"x,0\r"\nd,4,x"y,1\n',
    "other letters": "ä,1,é,0\n漢字,2,x,1\n",
    "nothing": "",
}


def read(results: Results) -> tuple[list[pl.DataFrame], Report]:
    """Return rows and report of a file or a range."""
    *tables, report = results
    assert isinstance(report, Report)
    return [table for table in tables if isinstance(table, pl.DataFrame)], report


def read_in_ranges(path: Path, n_bytes: int) -> tuple[pl.DataFrame, FileReading | None]:
    """Read a file in ranges of about so many bytes, the last first, and merge the reports."""
    reports: list[Report] = []
    tables: list[pl.DataFrame] = []
    for part in reversed(polars_ranges.cut(path.stat().st_size, n_bytes)):
        rows, report = read(polars_ranges.read_range(path, part, FORM))
        reports.append(report)
        tables[:0] = rows
    state = files.file_state(path)[:2]
    merged = polars_ranges.merge_reports(reports, path, state)
    assert merged is None or merged.sha256 == files.digest_file(path)
    return polars_reader.unite([polars_reader.empty_table(SCHEMA), *tables]), merged


def read_whole(path: Path) -> tuple[pl.DataFrame, FileReading]:
    """Read a file from its start."""
    tables, report = read(polars_ranges.read_whole(path, FORM))
    return polars_reader.unite([polars_reader.empty_table(SCHEMA), *tables]), report.reading


def check_same(path: Path, n_bytes: int) -> None:
    """Compare both ways, with NaN equal to NaN."""
    rows, account = read_in_ranges(path, n_bytes)
    expected, found = read_whole(path)
    assert account == found
    assert rows.equals(expected)
    by_rules, columns = csv_reader.read_file(path, path.parent, SCHEMA, needs_label=False)
    assert found == by_rules
    assert expected.height == len(columns["id"])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ranges_of_any_size_give_what_the_whole_gives(tmp_path: Path, name: str, mark: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes((mark + HEADER + FILES[name]).encode())

    for n_bytes in (1, 2, 3, 5, 8, 13, 21, 34, 55, 200):
        check_same(path, n_bytes)


LINES = st.lists(
    st.sampled_from([*PLAIN, 'q,1,"x', 'y",0', '"', 'r,1,"x",1', "s,x,x,1", "", "é,2,x,0"]),
    max_size=12,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=LINES, n_bytes=st.integers(1, 60))
def test_a_record_over_several_lines_is_never_cut(
    tmp_path: Path, lines: list[str], n_bytes: int
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "\n".join(lines))

    _, account = read_in_ranges(path, n_bytes)

    if account is not None:
        check_same(path, n_bytes)
    assert account is not None or '"' in "".join(lines)


@pytest.mark.parametrize(
    "content",
    [
        HEADER.encode() + b'a,1,"x\ny",0\nb,2,x,1\n',
        HEADER.encode() + b"a,1,x,0\nb,\xff,x,1\n",
        HEADER.encode() + b"a,1," + b"x" * 2**20 + b",0\nb,2,x,1\n",
        b"nobody,knows\n1,2\n",
        b"",
    ],
    ids=["open quote", "not UTF-8", "long line", "other columns", "empty"],
)
@pytest.mark.parametrize("n_ranges", [1, 3])
def test_what_ranges_cannot_prove_is_left_to_who_reads_the_whole(
    tmp_path: Path, content: bytes, n_ranges: int
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)

    _, account = read_in_ranges(path, max(1, len(content) // n_ranges))

    assert account is None


def test_ranges_of_a_file_that_changed_meanwhile_do_not_go_together(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "\n".join(PLAIN))
    first, second = polars_ranges.cut(path.stat().st_size, 30)[:2]
    _, report = read(polars_ranges.read_range(path, first, FORM))
    path.write_text(HEADER + "\n".join([*PLAIN, "more,1,x,0"]))

    _, other = read(polars_ranges.read_range(path, second, FORM))

    state = files.file_state(path)[:2]
    assert polars_ranges.merge_reports([report, other], path, state) is None


@pytest.mark.parametrize(
    ("n_bytes", "range_bytes", "expected"),
    [
        (10, 4, [(0, 3), (3, 6), (6, 10)]),
        (8, 4, [(0, 4), (4, 8)]),
        (3, 4, [(0, 3)]),
        (0, 4, [(0, 0)]),
    ],
)
def test_a_file_is_cut_into_ranges_of_about_equal_size(
    n_bytes: int, range_bytes: int, expected: list[tuple[int, int]]
) -> None:
    assert polars_ranges.cut(n_bytes, range_bytes) == [Range(*bytes_of) for bytes_of in expected]


@pytest.mark.parametrize("separator", [",", "\t"])
def test_rows_are_read_as_texts_of_all_columns(tmp_path: Path, separator: str) -> None:
    lines = [
        "a, left ,b",
        " 1,yes,x",
        "",
        ",,",
        '"x,""y""",no,é',
        "1,2,3,4",
        'sl"ip,no,z',
        "4,yes,",
    ]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines).replace(",", separator))
    schema = Schema(target="left", ids=(), numeric=(), categorical=())

    tables, report = read(polars_ranges.read_whole(path, RowForm(schema, as_text=True)))

    reading, columns = csv_reader.read_file(path, tmp_path, schema, as_text=True)
    assert report.reading == reading
    found = polars_reader.unite([table for table in tables if table.height])
    assert found.to_dict(as_series=False) == columns
