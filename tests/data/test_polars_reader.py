"""Polars reads large files as the rules of rows read them: rows, rejections, reports."""

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.core.config import ISO_FORMAT, Schema
from scripts.data import csv_reader, polars_lines, polars_proofs, polars_reader
from scripts.data.cells import day_of
from scripts.data.polars_lines import Block, UnprovenError
from scripts.data.polars_reader import BlockReader
from tests.support.hostile_files import FORMATS, HEADER, SCHEMA, make_file

TEXTUAL = Schema(
    ids=(), numeric=("n",), categorical=("kind",), target="left", positive="yes", minimum={"n": 0.5}
)


def spell(cell: Any) -> str:
    """Format a cell, with equal missing numbers and different 0.0 and -0.0."""
    if cell is None or cell != cell:
        return ""
    return cell if isinstance(cell, str) else repr(float(cell))


def spell_rows(rows: Iterable[Iterable[Any]]) -> list[list[str]]:
    """Format the cells of rows."""
    return [[spell(cell) for cell in row] for row in rows]


def check_both_agree(path: Path, schema: Schema, *, needs_label: bool = True) -> tuple[int, int]:
    """Read a file both ways, and return the numbers of accepted and rejected rows."""
    strict, columns = csv_reader.read_file(path, path.parent, schema, needs_label=needs_label)
    reading, parts = polars_reader.read_file(path, path.parent, schema, needs_label=needs_label)

    assert reading == strict
    rows = [row for part in parts for row in part.select(schema.columns).rows()]
    expected = zip(*(columns[name] for name in schema.columns), strict=True)
    assert spell_rows(rows) == spell_rows(expected)
    return len(rows), len(reading.rejected)


def check_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch, seeds: range) -> tuple[int, int]:
    """Read generated files both ways, in blocks of all sizes."""
    n_accepted, n_rejected = 0, 0
    for seed in seeds:
        draw = random.Random(seed)
        schema, header, separator = draw.choice(FORMATS)
        path = folder / "x.csv"
        path.write_bytes(make_file(draw, header, separator))
        monkeypatch.setattr(polars_reader, "BLOCK_BYTES", draw.choice([1, 7, 50, 300, 10_000]))
        needs_label = draw.random() < 0.5
        accepted, rejected = check_both_agree(path, schema, needs_label=needs_label)
        n_accepted, n_rejected = n_accepted + accepted, n_rejected + rejected
    return n_accepted, n_rejected


def check_texts_agree(path: Path, schema: Schema) -> int:
    """Read every column of a file as text both ways, and return the number of accepted rows."""
    strict, columns = csv_reader.read_file(path, path.parent, schema, as_text=True)
    reading, parts = polars_reader.read_file(path, path.parent, schema, as_text=True)

    assert reading == strict
    rows = [row for part in parts for row in part.rows()]
    assert rows == list(zip(*columns.values(), strict=True))
    assert all(part.columns == list(columns) for part in parts)
    return len(rows)


def test_both_readers_agree_on_generated_files_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_accepted = 0
    for seed in range(75):
        draw = random.Random(seed)
        schema, header, separator = draw.choice(FORMATS)
        path = tmp_path / "x.csv"
        path.write_bytes(make_file(draw, header, separator))
        monkeypatch.setattr(polars_reader, "BLOCK_BYTES", draw.choice([1, 50, 300, 10_000]))
        n_accepted += check_texts_agree(path, schema)

    assert n_accepted > 250


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("kind", "a\n\nb\n \n"),
        ("kind\tn", "\t\na\t\n\t\n"),
        ("kind,,", "a,1,2\nb,,\n"),
        ("kind,kind", "a,1\nb,2\n"),
        ("kind,n", '"a,b",1\n"a""b,c",2\nx"y,3\n"z,4\n"u,v",5\n'),
        ("kind,n", 'a"b,1\n"c,d",2\n'),
        ("kind;n", ' "a;b";1\n"a;b";^~`{}\\#$@!?<>[]=_\n'),
        ("kind;n", '"a;b^";1\n"a;b~";2\n'),
    ],
)
def test_both_readers_agree_on_odd_lines_as_text(tmp_path: Path, header: str, rows: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{header}\n{rows}")
    named = "kind" in header and "kind,kind" not in header
    schema = Schema(ids=("kind",) if named else (), numeric=(), target="")

    check_texts_agree(path, schema)


@pytest.mark.parametrize("rows", ["\t\n1\ta\n\t\n", "\ta\n\t\n", "\t\n\t\n"])
def test_a_line_of_tabs_is_no_row_of_a_table_without_a_target(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"n\tkind\n{rows}")

    check_both_agree(path, Schema(ids=(), numeric=("n",), categorical=("kind",), target=""))


def test_an_empty_line_is_no_row_of_a_single_column(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("n\n1\n\n2\n")

    check_both_agree(path, Schema(ids=(), numeric=("n",), target=""))


MARKED = [
    Schema(ids=("id",), numeric=("n", "x"), target="left", thousands=",", percent=("x",)),
    Schema(ids=("id",), numeric=("n", "x"), target="left", thousands=".", decimal=","),
    Schema(ids=("id",), numeric=("n", "x"), target="left", thousands=" ", decimal=","),
    Schema(ids=("id",), numeric=("n", "x"), target="left", thousands="'", percent=("n", "x")),
    Schema(ids=("id",), numeric=("n", "x"), target="left", decimal=",", minimum={"n": 5}),
]
MARKED_NUMBERS = [
    "", "1", "-5", "1,234", "1.234", "1 234", "1'234", "1,234.5", "1.234,5", "1 234,5", "12.5%",
    "12,5 %", "12\u00a0%", "1\u202f234", "1,23", "12,34,567", "1,234,567.25", "1.234.567,25", "%",
    "1,234e5", "1,234.e5", "1,234.5e3", ".5", ",5", "+1,000", "9,007,199,254,740,993", " 7 ",
    "\x0b7",
]  # fmt: skip


@pytest.mark.parametrize("schema", MARKED)
@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_numbers_with_marks_are_read_as_the_rules_read_them(
    tmp_path: Path, schema: Schema, separator: str
) -> None:
    draw = random.Random(7)

    def cell(text: str) -> str:
        return f'"{text}"' if separator in text or draw.random() < 0.3 else text

    rows = [
        [f"c{k}", cell(draw.choice(MARKED_NUMBERS)), cell(draw.choice(MARKED_NUMBERS)), "1"]
        for k in range(400)
    ]
    path = tmp_path / "x.csv"
    path.write_text(
        "\n".join([separator.join(["id", "n", "x", "left"]), *map(separator.join, rows)])
    )

    n_accepted, _ = check_both_agree(path, schema)

    assert n_accepted > 10


@pytest.mark.parametrize(
    ("schema", "row"),
    [(MARKED[0], 'c,"1,234",5%,1'), (MARKED[1], 'c,"1.234,5","7,5",1'), (MARKED[2], "c,1 234,2,1")],
)
def test_no_number_with_right_marks_goes_to_the_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: Schema, row: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,n,x,left\n" + f"{row}\n" * 50)
    monkeypatch.delattr(csv_reader, "read_record")

    reading, (table,) = polars_reader.read_file(path, tmp_path, schema)

    assert (reading.n_rows, table.height, reading.rejected) == (50, 50, [])


def test_both_readers_agree_on_generated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_accepted, n_rejected = check_seeds(tmp_path, monkeypatch, range(150))

    assert n_accepted > 500
    assert n_rejected > 50


@pytest.mark.campaign
def test_both_readers_agree_on_many_generated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_files = 50_000
    n_accepted, n_rejected = check_seeds(tmp_path, monkeypatch, range(1000, 1000 + n_files))

    print(f"{n_files} files, {n_accepted} rows accepted and {n_rejected} rejected alike")
    assert n_rejected > n_files


@given(content=st.binary(max_size=200))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_both_readers_agree_on_any_bytes_after_a_header(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(HEADER.encode() + b"\n" + content)

    check_both_agree(path, SCHEMA, needs_label=False)


@given(rows=st.lists(st.text('ab1,"\n\r\t .e-5é', max_size=12), max_size=12))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_both_readers_agree_on_any_rows_of_few_characters(tmp_path: Path, rows: list[str]) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(("n,kind,left\n" + "\n".join(rows)).encode())

    check_both_agree(path, TEXTUAL, needs_label=False)


@pytest.mark.parametrize(
    "cell",
    ["0x1F", "1.5", "1e3", "+7", "007", "9007199254740993", "1_0", "1e00001", "nan", "inf", "-0.0"],
)
@pytest.mark.parametrize("other", ["2", "2.5", ""])
def test_a_number_is_read_as_the_rules_read_it_beside_whole_numbers_and_fractions(
    tmp_path: Path, cell: str, other: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}\na,{other},2,3,0\nb,{cell},2,3,1\nc,2,3,{cell},1\n")

    check_both_agree(path, SCHEMA)


@pytest.mark.parametrize(
    "rows",
    [
        "a,1,2,3\nb,1,2,3,1,0\n",
        "a,1,2\nb,1,2,3,1\n",
        "\n\na,1,2,3,1\n",
        ",,,,\n,,,,0\n",
        "a,1,2,3,1\n\n\n",
        '"","",2,3,\n"a",1,2,"3",1\n',
        '"a\nb",1,2,3,1\nc,1,2,3,0\n',
        'c,1,2,3,0\n"a,1,2,3,1\n' + "d,1,2,3,0\n" * 120,
        '"a,b",1,2,3,1\n"c""d",1,2,3,0\n',
        "a,1,2,3,1\r\nb,1,2,3,0\r\n",
        "a,1,2,3,1\rb,1,2,3,0\r\n",
        "\ufeffa,1,2,3,1\n",
        "a\x00,1,2,3,1\nb,1,2,3,0\n",
        "a" * 2**20 + ",1,2,3,1\n",
    ],
)
def test_lines_that_polars_reads_otherwise_go_by_the_rules(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}\n{rows}", newline="")

    check_both_agree(path, SCHEMA, needs_label=False)


def test_a_wide_table_is_read_as_the_rules_read_it(tmp_path: Path) -> None:
    names = [f"n{k}" for k in range(300)]
    schema = Schema(ids=("id",), numeric=tuple(names[:200:2]), target="left")
    lines = [",".join(["id", *names, "left"])]
    lines += [",".join([f"c{k}", *["1.5" if k % 3 else "7"] * 300, "1"]) for k in range(20)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([*lines, lines[1] + ",1"]))

    assert check_both_agree(path, schema) == (20, 1)


def test_bytes_that_are_not_utf_8_in_an_unused_column_refuse_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(f"{HEADER},more\na,1,2,3,1,caf".encode() + b"\xe9\n")

    assert check_both_agree(path, SCHEMA) == (0, 1)


def test_blocks_are_parsed_as_fractions_once_one_has_them(tmp_path: Path) -> None:
    layout = csv_reader.read_layout(HEADER, SCHEMA, csv_reader.new_reading(tmp_path, SCHEMA))
    reader = BlockReader(layout, csv_reader.new_reading(tmp_path / "x.csv", SCHEMA))

    whole, fractions = (
        reader.read(Block(b"a,1,2,3,1\n"), 2),
        reader.read(Block(b"b,1.5,2,3,1\n"), 3),
    )

    assert whole["lastmonth_activity"].dtype == pl.Int64
    assert fractions["lastmonth_activity"].to_list() == [1.5]
    assert reader.kinds["lastmonth_activity"] == pl.Float64


def test_a_quote_left_open_is_for_the_rules_alone(tmp_path: Path) -> None:
    layout = csv_reader.read_layout(HEADER, SCHEMA, csv_reader.new_reading(tmp_path, SCHEMA))
    reader = BlockReader(layout, csv_reader.new_reading(tmp_path / "x.csv", SCHEMA))

    with pytest.raises(UnprovenError):
        reader.read(Block(b'a,1,2,3,1\n"b,1,2,3,1\n'), 2)


def test_the_sha_256_is_that_of_every_byte_that_was_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polars_reader, "BLOCK_BYTES", 30)
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}\n" + 'a,1,2,3,1\nb,x,2,3,1\n"c",1,2,3,1\n' * 20 + '"d')

    reading, _ = polars_reader.read_file(path, tmp_path, SCHEMA)

    assert reading.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert reading.n_bytes == path.stat().st_size


def test_only_odd_lines_go_to_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"c{k},1,2,3,1" for k in range(300)]
    lines[::2] = [f'"c"" {k}",{k},2,3,1' for k in range(0, 300, 2)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([HEADER, *lines]))
    numbers, read_record = list[int](), csv_reader.read_record

    def note(number: int, *others: Any) -> dict[str, Any] | None:
        numbers.append(number)
        return read_record(number, *others)

    monkeypatch.setattr(csv_reader, "read_record", note)

    polars_reader.read_file(path, tmp_path, SCHEMA)

    assert numbers == list(range(2, 302, 2))


def test_bytes_prove_cells_only_where_each_cell_alone_is_proven() -> None:
    n_plain = n_odd = 0
    for seed in range(3000):
        draw = random.Random(seed)
        separator = draw.choice(",;|\t")
        cells = draw.choices(["", "a", "a b", " a", "a ", " ", "\x7f", "\x01", "a\tb", "é"], k=4)
        if draw.random() < 0.6:
            cells = [cell if cell.isalnum() or cell == "a b" else "x" for cell in cells]
        content = f"{separator.join(cells[:2])}\n{separator.join(cells[2:])}"
        block = Block((content + draw.choice(["", "\n"])).encode())
        kept = [part for line in content.split("\n") for part in line.split(separator)]
        has_odd_cell = pl.Series(kept).str.contains(polars_proofs.UNPLAIN_TEXT).any()

        is_plain = block.is_plain(separator)

        assert not (is_plain and has_odd_cell)
        n_plain, n_odd = n_plain + is_plain, n_odd + bool(has_odd_cell)
    assert n_plain > 500
    assert n_odd > 500


DAYS = ["2024-02-29", "1970-01-01", "1902-01-01", "9998-12-31", "2100-02-28", "2000-02-29"]


def test_columns_of_iso_dates_are_read_at_once_with_the_days_of_the_rules() -> None:
    found = polars_proofs.parse_iso_days(pl.Series(DAYS * 3)[2:])

    assert found is not None
    assert found.tolist() == [day_of(text, ISO_FORMAT) for text in (DAYS * 3)[2:]]


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29", "1900-02-29", "0000-01-01", "2024-13-01", "2024-00-10", "2024-01-00",
        "2024-01-32", "2024-1-011", "2024/01/01", "\uff12024-01-1", "abcd-ef-gh", "2024-01-0x",
        "", None, "2024-01-01T00:00", "9999-12-31", "1900-01-01", "0001-01-01",
    ],
)  # fmt: skip
def test_a_column_with_any_other_text_is_judged_text_by_text(text: str | None) -> None:
    assert polars_proofs.parse_iso_days(pl.Series([*DAYS, text], dtype=pl.String)) is None


def test_columns_made_in_one_piece_take_the_pieces_of_a_table() -> None:
    column = pl.concat([pl.Series([1, 2]), pl.Series([3])], rechunk=False)

    split = polars_reader.split_like(column, pl.Series("a", [7, 8, 9]))

    assert (split.chunk_lengths(), split.to_list()) == ([2, 1], [7, 8, 9])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"1e00001,2\n", True), (b"a,1E+12345", True), (b"1e-+99999\n", True),
        (b"e1,E22,e333", False), (b"free,DE,e\n", False), (b"", False), (b"e", False),
        (b"1e1234,5e12345", True),
        # The exponent stands in two windows.
        (b"," * (polars_lines.CACHED_BYTES - 2) + b"1e12345", True),
        (b"," * (polars_lines.CACHED_BYTES - 1) + b"1e12345", True),
    ],
)  # fmt: skip
def test_long_exponents_are_found_wherever_they_stand(content: bytes, *, expected: bool) -> None:
    assert polars_lines.has_long_exponent(content) == expected


@pytest.mark.parametrize(
    ("text", "is_needed", "expected"),
    [
        ("2024-02-29", True, (19782.0, True)), ("", False, (None, True)), ("", True, (None, False)),
        ("2024-02-30", False, (None, False)),
    ],
)  # fmt: skip
def test_a_column_of_one_day_is_judged_once(
    text: str, *, is_needed: bool, expected: tuple[float | None, bool]
) -> None:
    days, proven = polars_proofs.parse_day(
        pl.Series("d", [text] * 3), ISO_FORMAT, is_needed=is_needed
    )

    assert (days.name, days.to_list(), proven.to_list()) == (
        "d", [expected[0]] * 3, [expected[1]] * 3,
    )  # fmt: skip
