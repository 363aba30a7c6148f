"""Strict reading of a file: separator, encoding, header and rows."""

from pathlib import Path
from typing import Any, BinaryIO

import pytest

from scripts.core import files
from scripts.core.config import Schema
from scripts.data import csv_reader
from scripts.data.csv_reader import RefusedFileError
from scripts.data.read_report import FileReading

SCHEMA = Schema(target="left", ids=("name",), numeric=("age",), categorical=("plan",))
ROWS = [["name", "age", "plan", "left"], ["ann", "31", "gold", "1"], ["bob", "", " ", "0"]]


def read(
    folder: Path, content: bytes, schema: Schema = SCHEMA
) -> tuple[FileReading, dict[str, list[Any]]]:
    """Write a file and read it."""
    path = folder / "a.csv"
    path.write_bytes(content)
    return csv_reader.read_file(path, folder, schema)


def spell(separator: str, rows: list[list[str]] = ROWS) -> str:
    """Format rows with a separator."""
    return "".join(separator.join(row) + "\n" for row in rows)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_separator_and_both_encodings_give_the_same_rows(
    tmp_path: Path, separator: str, mark: bytes, line_end: str
) -> None:
    reading, columns = read(tmp_path, mark + spell(separator).replace("\n", line_end).encode())

    assert reading.refused == ""
    assert (reading.separator, reading.encoding) == (separator, "utf-8-sig" if mark else "utf-8")
    assert reading.is_detected
    assert columns["name"] == ["ann", "bob"]
    assert columns["age"][0] == 31
    assert columns["plan"] == ["gold", ""]
    assert columns["left"] == [1, 0]


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ('"name";"age";"plan";"left"', ";"),
        ("name;age;plan;left;cost (EUR, gross)", ";"),
        ('name,age,plan,left,"a;b;c;d;e;f"', ","),
        ("name,age,plan,left,a;b;c;d;e;f;g", ","),
        ("name\tage\tplan\tleft\t", "\t"),
    ],
)
def test_the_separator_is_the_one_that_gives_the_declared_columns(
    header: str, separator: str
) -> None:
    assert csv_reader.read_header(header, SCHEMA)[0] == separator


def test_a_quoted_cell_may_hold_the_separator(tmp_path: Path) -> None:
    content = 'name;age;plan;left\nann;5;"gold; old";1\n'

    _, columns = read(tmp_path, content.encode())

    assert columns["plan"] == ["gold; old"]


def test_a_row_with_another_separator_is_rejected_and_the_rest_stays(tmp_path: Path) -> None:
    content = spell(";") + "cid,4,gold,1\n"

    reading, columns = read(tmp_path, content.encode())

    assert [(r.line, r.reason) for r in reading.rejected] == [(4, "expected 4 fields, found 1")]
    assert columns["name"] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("declared", "content", "message"),
    [
        ({"separator": ";"}, spell(",").encode(), "lacks the columns"),
        ({"separator": "|"}, spell("\t").encode(), "lacks the columns"),
        ({"encoding": "utf-8"}, b"\xef\xbb\xbf" + spell(",").encode(), "declares utf-8;"),
        ({"encoding": "utf-8-sig"}, spell(",").encode(), "declares utf-8-sig;"),
    ],
)
def test_a_file_that_is_not_as_declared_is_refused(
    tmp_path: Path, declared: dict[str, Any], content: bytes, message: str
) -> None:
    schema = Schema(target="left", ids=("name",), numeric=("age",), categorical=(), **declared)

    reading, _ = read(tmp_path, content, schema)

    assert message in reading.refused
    assert len(reading.rejected) == 1


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_declared_separator_is_not_detected(tmp_path: Path, separator: Any) -> None:
    schema = Schema(
        target="left", ids=("name",), numeric=("age",), separator=separator, encoding="utf-8"
    )

    reading, columns = read(tmp_path, spell(separator).encode(), schema)

    assert not reading.is_detected
    assert columns["left"] == [1, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("name;age;plan", r"lacks the columns \['left'\]; it has \['name', 'age', 'plan'\]"),
        ("x y z", "its first line names none of ours"),
        ("name,age,age,plan,left", r"names \['age'\] more than once"),
        ('"name', "its header cannot be read"),
    ],
)
def test_a_header_that_cannot_be_right_is_refused(line: str, message: str) -> None:
    with pytest.raises(RefusedFileError, match=message):
        csv_reader.read_header(line, SCHEMA)


def test_the_first_line_is_not_shown_when_it_may_be_a_clients_row() -> None:
    with pytest.raises(RefusedFileError) as caught:
        csv_reader.read_header("ann,31,gold,1", SCHEMA)

    assert "ann" not in str(caught.value)


def test_latin_1_and_utf_16_are_refused_with_the_line(tmp_path: Path) -> None:
    latin, _ = read(tmp_path, spell(",").encode() + "zoë,3,gold,1\n".encode("latin-1"))
    wide, _ = read(tmp_path, spell(",").encode("utf-16"))

    assert "line 4 is not UTF-8" in latin.refused
    assert "it looks like UTF-16" in wide.refused


def test_as_text_gives_every_column_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name,left,more\nann,yes, 1 \n")

    _, columns = csv_reader.read_file(
        path, tmp_path, Schema(target="left", ids=(), numeric=()), as_text=True
    )

    assert columns == {"name": ["ann"], "left": ["yes"], "more": ["1"]}


def test_the_file_that_was_checked_is_the_file_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, secret = tmp_path / "in" / "a.csv", tmp_path / "secret.csv"
    path.parent.mkdir()
    path.write_text(spell(","))
    secret.write_text(spell(",").replace("ann", "eve"))
    open_regular = files.open_regular

    def swap_and_open(checked: Path) -> BinaryIO:
        """Open a path in whose place somebody has just put a link to another file."""
        path.unlink()
        path.symlink_to(secret)
        return open_regular(checked)

    monkeypatch.setattr(files, "open_regular", swap_and_open)

    reading, columns = csv_reader.read_file(path, path.parent, SCHEMA)

    assert reading.refused == csv_reader.NOT_REGULAR
    assert columns["name"] == []


def test_a_link_within_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").write_text(spell(","))
    (tmp_path / "a.csv").symlink_to("data")

    reading, columns = csv_reader.read_file(tmp_path / "a.csv", tmp_path, SCHEMA)

    assert not reading.refused
    assert columns["name"] == ["ann", "bob"]
