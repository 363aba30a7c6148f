"""The lines of a client are found in any table, and only these are left out."""

from pathlib import Path

import pytest

from scripts.core.errors import DatasetError
from scripts.data import client_lines
from scripts.data.client_lines import FoundLines, Span

IDS = (("id",),)


def find(folder: Path, content: str, name: str, ids: tuple[str, ...] = ("id",)) -> FoundLines:
    """Find the lines of a client in a file with some content."""
    path = folder / "a.csv"
    path.write_bytes(content.encode())
    return client_lines.find_lines(path, (ids,), name)


@pytest.mark.parametrize(
    ("content", "spans"),
    [
        ("id,a\nx,1\ny,2\nx,3\n", (Span(2, 1), Span(4, 1))),
        ("a;id\r\n1;x\r\n2;y\r\n", (Span(2, 1),)),
        ("\ufeffid\ta\nx\t1\n", (Span(2, 1),)),
        ('id,a\n"x","two\nlines"\ny,2\n', (Span(2, 2),)),
        ("id,a\n\n x ,1\nxx,2\n", (Span(3, 1),)),
        ("id,a\nx,1,too,many\n", (Span(2, 1),)),
        ('id,a\nx,"open\ny,2\n', (Span(2, 1),)),
        ("id,a\nxx,2\n", ()),
    ],
)
def test_the_records_of_a_client_are_found(
    tmp_path: Path, content: str, spans: tuple[Span, ...]
) -> None:
    assert find(tmp_path, content, "x").spans == spans


def test_all_other_bytes_stay_as_they_are(tmp_path: Path) -> None:
    found = find(tmp_path, 'id,a\r\n"x","two\nlines"\r\n"y",2', "x")

    left = b"".join(client_lines.iterate_without(found.path, found.spans))

    assert left == b'id,a\r\n"y",2'


def test_several_identifiers_are_named_together(tmp_path: Path) -> None:
    content = "id,site,a\nx|y,1,5\nx,1,5\n"

    assert find(tmp_path, content, "x\\|y | 1", ("id", "site")).spans == (Span(2, 1),)


def test_a_quote_in_a_name_is_doubled_in_a_file(tmp_path: Path) -> None:
    assert find(tmp_path, 'id,a\n"the ""x""",1\n', 'the "x"').spans == (Span(2, 1),)


def test_a_file_without_the_columns_of_clients_is_searched_as_text(tmp_path: Path) -> None:
    found = find(tmp_path, "name,a\nacme,1\n", "acme")

    assert found.spans == (Span(2, 1),)
    assert not found.is_certain


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"missing\.csv cannot be searched"):
        client_lines.find_lines(tmp_path / "missing.csv", IDS, "x")
