"""Client tables read in blocks of lines, compared with the strict reader of single rows."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.core.config import Schema
from scripts.data import csv_arrow, csv_blocks, csv_reader
from tests.support.hostile_files import FORMATS, HEADER, SCHEMA, make_file


def check_both_agree(path: Path, schema: Schema, *, needs_label: bool = True) -> tuple[int, int]:
    """Read a file both ways; return how many rows were accepted and rejected."""
    strict, rows = csv_reader.read_file(path, path.parent, schema, needs_label=needs_label)
    found, tables = csv_blocks.read_file(path, path.parent, schema, needs_label=needs_label)

    assert found == strict
    kinds = csv_arrow.arrow_schema(schema)
    expected = pa.table(rows, schema=kinds)
    table = pa.concat_tables([table.cast(kinds) for table in tables])
    # Spelled, so that NaN equals NaN and -0.0 differs from 0.0.
    assert str(table.to_pylist()) == str(expected.to_pylist())
    return table.num_rows, len(found.rejected)


def check_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch, seeds: range) -> tuple[int, int]:
    """Read generated files both ways, in blocks of all sizes."""
    n_accepted, n_rejected = 0, 0
    for seed in seeds:
        draw = random.Random(seed)
        schema, header, separator = draw.choice(FORMATS)
        path = folder / "x.csv"
        path.write_bytes(make_file(draw, header, separator))
        monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", draw.choice([1, 7, 50, 300, 10_000]))
        needs_label = draw.random() < 0.5
        accepted, rejected = check_both_agree(path, schema, needs_label=needs_label)
        n_accepted, n_rejected = n_accepted + accepted, n_rejected + rejected
    return n_accepted, n_rejected


def test_both_readers_agree_on_generated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_accepted, n_rejected = check_seeds(tmp_path, monkeypatch, range(400))

    assert n_accepted > 1000
    assert n_rejected > 100


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
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_both_readers_agree_on_any_bytes_after_a_header(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(HEADER.encode() + b"\n" + content)

    check_both_agree(path, SCHEMA)


def test_every_blank_that_python_strips_is_known() -> None:
    blanks = {chr(code) for code in range(0x110000) if chr(code).isspace()}

    assert set(csv_arrow.WHITESPACE) == blanks


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,1\nb,2\n", True),
        (b'a,"1"\n', False),
        (b"a\t1\n", False),
        (b"a,1\r\n", False),
        ("é,1\n".encode(), False),
        (b"a,1", True),
        (b"x" * 2**20 + b",1\n", False),
        (b"a,1\n" * 2**19, True),
    ],
)
def test_calm_lines_are_ascii_without_quotes_and_short(content: bytes, expected: bool) -> None:
    assert csv_arrow.are_calm(content) is expected


@pytest.mark.parametrize("cell", ["0x1F", "0X1f", "1.5", "1e3", "+7", "007", "9007199254740993"])
def test_numbers_that_are_not_plain_are_read_as_the_rules_of_rows_do(
    tmp_path: Path, cell: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}\na,1,2,3,0\nb,{cell},2,3,1\n")

    check_both_agree(path, SCHEMA)
