"""What Spark reads in an object store, put together again; without a cluster."""

from pathlib import Path

import pytest

pytest.importorskip("pyspark", reason="PySpark is not installed; pip install '.[spark]'")

import pyarrow as pa

from scripts import reading, sparkcontents
from scripts.bulk import UnprovenError
from scripts.config import Schema
from scripts.findings import FileReading
from scripts.sparktexts import Texts


def batch_of(lines: list[tuple[int, bytes]]) -> pa.RecordBatch:
    """Make a batch as Spark does of lines."""
    starts, texts = zip(*lines, strict=True) if lines else ((), ())
    return pa.RecordBatch.from_pydict(
        {"start": pa.array(starts, pa.int64()), "line": pa.array(texts, pa.binary())}
    )


@pytest.mark.parametrize(
    ("lines", "blocks"),
    [
        ([], []),
        ([(0, b"a")], [(0, b"a\n")]),
        ([(0, b"a\r"), (0, b""), (0, b"\xff")], [(0, b"a\r\n\n\xff\n")]),
        ([(0, b""), (0, b"")], [(0, b"\n\n")]),
        (
            [(0, b"a"), (9, b"b"), (9, b"c"), (20, b"d")],
            [(0, b"a\n"), (9, b"b\nc\n"), (20, b"d\n")],
        ),
    ],
)  # fmt: skip
def test_lines_are_put_together_range_by_range(
    lines: list[tuple[int, bytes]], blocks: list[tuple[int, bytes]]
) -> None:
    assert list(sparkcontents.join_lines(batch_of(lines))) == blocks


def test_a_slice_of_a_batch_is_put_together_without_its_neighbours() -> None:
    batch = batch_of([(0, b"a"), (0, b"b"), (5, b"c"), (5, b"d")]).slice(1, 2)

    assert list(sparkcontents.join_lines(batch)) == [(0, b"b\n"), (5, b"c\n")]


SCHEMA = Schema(target="left", positive="yes", ids=(), numeric=(), inferred=("numeric",))


def read_texts(content: bytes) -> tuple[list[str], FileReading]:
    """Read lines after a header as texts."""
    found, own = (reading.new_reading(Path("a.csv"), SCHEMA) for _ in range(2))
    layout = Texts(SCHEMA).read_layout("a,left", found)
    return Texts(SCHEMA).read_block(content, 0, layout, own)["cells"].to_pylist(), own


def test_lines_are_read_as_texts_with_blanks_taken_off_and_what_is_wrong_told() -> None:
    rows, own = read_texts(b'1, yes\r\n\n"x,""y""",no\n1,2,3\nsl"ip,no\n4,yes')

    assert rows == ['["1","yes"]', '["x,\\"y\\"","no"]', '["4","yes"]']
    assert [(row.line, row.reason) for row in own.rejected] == [
        (3, "expected 2 fields, found 3"),
        (4, "expected quotes around whole fields, and those inside doubled"),
    ]
    assert own.n_rows == 5


@pytest.mark.parametrize(
    "content",
    [b'1,"yes\nno"\n', b"1,\xff\n", b"1," + "é".encode() * (reading.MAX_LINE_BYTES // 2)],
)
def test_lines_that_may_not_be_whole_records_are_left_to_reading_from_the_start(
    content: bytes,
) -> None:
    with pytest.raises(UnprovenError):
        read_texts(content)
