"""No row disappears without a word: rows in = used + rejected + duplicates + clients."""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts import bulk, dataset, ingestion, linewise, ranges, uploads
from scripts.answers import RefusedError
from scripts.bodies import read_csv
from scripts.config import Schema
from scripts.errors import DatasetError
from scripts.findings import FileReading

SCHEMA = Schema()
HEADER = ",".join(SCHEMA.columns)
LABELLED = ["1", "0", " 1", "1.0"]
WRONG = ["x,text,1,1,1", "x,1,1,1,maybe", "x,1,1,1", "x,1,1,1,1,1", '"x,1,1,1,0', ",1,1,1,1"]
EMPTY = ["", " ", "\t"]
# A row of CR alone, beside a quote or not, is no end of a row here.
CR_ROWS = [
    "a,1,2,3,0\rb,1,2,3,1",
    '"a",1,2,3,0\rb,1,2,3,1',
    'a,1,2,3,0\r"b",1,2,3,1',
    '"a\rb",1,2,3,1',
]


@dataclass
class Made:
    """A file, and what its rows are."""

    content: bytes = b""
    used: list[str] = field(default_factory=list)
    rejected: int = 0
    clients: int = 0


def make_file(draw: random.Random) -> Made:
    """Make a file whose rows are known to be labelled, clients, wrong or empty."""
    made, lines = Made(), [HEADER]
    weights = draw.choice([(1, 0, 0, 0, 0), (6, 1, 0, 1, 0), (6, 2, 1, 2, 1), (1, 1, 1, 1, 1)])
    for number in range(draw.randrange(1, 40)):
        kind = draw.choices(["right", "client", "wrong", "empty", "cr"], weights)[0]
        name = draw.choice([f"c{number}", f'"c{number}"', f"é{number}", f"r{draw.randrange(3)}"])
        if kind == "right":
            month = draw.choice(["1", "2.5", "", "1e1"])
            made.used.append(name.strip('"'))
            lines.append(f"{name},{month},2,3,{draw.choice(LABELLED)}")
        elif kind == "client":
            made.clients += 1
            lines.append(f"{name},1,2,3,{draw.choice(['', ' '])}")
        elif kind == "empty":
            lines.append(draw.choice(EMPTY))
        else:
            made.rejected += 1
            lines.append(draw.choice(WRONG if kind == "wrong" else CR_ROWS))
    end = draw.choice(["\n", "\r\n"])
    last = draw.choice(["", end, end * 20])
    made.content = (end.join(lines) + last).encode()
    return made


def account(found: FileReading) -> tuple[int, int]:
    """Return the rows in and the rows rejected of a file."""
    assert not found.refused
    return found.n_rows, len(found.rejected)


def by_rows(path: Path) -> tuple[int, int, int, int]:
    table, (found,) = dataset.read_few([path], SCHEMA, needs_label=False)
    labelled, clients = dataset.split_unlabelled(table, SCHEMA)
    return *account(found), len(labelled), len(clients)


def by_blocks(path: Path) -> tuple[int, int, int, int]:
    table, (found,) = dataset.read_many([path], SCHEMA, needs_label=False)
    labelled, clients = dataset.split_unlabelled(table, SCHEMA)
    return *account(found), len(labelled), len(clients)


def by_ranges(path: Path) -> tuple[int, int, int, int]:
    form = ranges.Rows(SCHEMA, needs_label=False)
    parts = [
        p
        for part in ranges.cut(path.stat().st_size, 200)
        for p in ranges.read_range(path, part, form)
    ]
    told = [part for part in parts if isinstance(part, ranges.Told)]
    found = ranges.put_together(told, "", path, SCHEMA)
    if found is None:  # A quote is left open: whoever asked reads the file in one go.
        return by_blocks(path)
    labels = [
        v for part in parts if not isinstance(part, ranges.Told) for v in part["exited"].to_pylist()
    ]
    return *account(found), sum(v >= 0 for v in labels), sum(v < 0 for v in labels)


def by_upload(path: Path) -> tuple[int, int, int, int]:
    found, columns = uploads.read_table(path.read_bytes(), SCHEMA, 1000, needs_label=False)
    labels = columns["exited"]
    return *account(found), sum(v >= 0 for v in labels), sum(v < 0 for v in labels)


def by_lines(path: Path, bound_bytes: int | None) -> tuple[int, int, int, int]:
    """Read as ingestion does, keeping equal rows, with every row without a label a client."""
    schema = SCHEMA
    found = linewise.gather(
        [path], schema, path.parent / "work", bound_bytes=bound_bytes,
        find_clients=lambda table, own: dataset.split_unlabelled(table, own)[1],
        drop_equal=False,
    )  # fmt: skip
    b"".join(found.parts)
    return *account(found.readings[0]), found.n_rows, len(found.clients)


def in_memory(path: Path) -> tuple[int, int, int, int]:
    try:
        return by_lines(path, None)
    except linewise.FractionsError:  # ingestion then reads a table
        return by_blocks(path)


def within_bounds(path: Path) -> tuple[int, int, int, int]:
    return by_lines(path, 2**20)


PATHS = [by_rows, by_blocks, by_ranges, by_upload, in_memory, within_bounds]


def check(n_files: int, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read made files on every path and compare with what was made."""
    draw = random.Random(seed)
    for number in range(n_files):
        made, path = make_file(draw), folder / "a.csv"
        path.write_bytes(made.content)
        monkeypatch.setattr(bulk, "BLOCK_BYTES", draw.choice([64, 256, 2**18]))
        n_rows = len(made.used) + made.clients + made.rejected
        expected = (n_rows, made.rejected, len(made.used), made.clients)
        for read in PATHS:
            if expected[2] + expected[3] == 0 and read in (in_memory, within_bounds):
                with pytest.raises(DatasetError, match="No usable row"):
                    read(path)
                continue
            assert read(path) == expected, (number, read, made.content)


def test_rows_in_are_used_rejected_or_clients_on_every_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(170, 1, tmp_path, monkeypatch)


@pytest.mark.campaign
def test_rows_in_are_used_rejected_or_clients_in_many_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(20_000, 2, tmp_path, monkeypatch)


@pytest.mark.parametrize("read", PATHS[:4])
def test_rows_between_which_only_a_cr_stands_are_rejected_aloud(
    tmp_path: Path, read: Callable[[Path], tuple[int, int, int, int]]
) -> None:
    rows = [f'"c{n}",1,2,3,0' if n == 500 else f"c{n},1,2,3,0" for n in range(1000)]
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "\n" + "\r".join(rows), newline="")

    assert read(path) == (1, 1, 0, 0)
    _, (found,) = dataset.read_few([path], SCHEMA)
    assert found.rejected[0].reason == "expected lines that end with LF or CR LF, found a CR alone"


@pytest.mark.parametrize("n_lines", [20, 300_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_at_the_end_are_no_clients(tmp_path: Path, n_lines: int, end: str) -> None:
    path = tmp_path / "a.csv"
    rows = end.join([HEADER, *(f"c{n},1,2,3,0" for n in range(30))])
    path.write_text(rows + end * n_lines, newline="")

    for read in (by_blocks, within_bounds, in_memory):
        assert read(path) == (30, 0, 30, 0)


def test_a_csv_body_with_a_quote_and_a_cr_alone_is_refused() -> None:
    body = b'lastmonth_activity,lastyear_activity,number_of_employees\n1,2,"3"\r4,5,6\r'

    with pytest.raises(RefusedError, match="CR alone"):
        read_csv(body, SCHEMA, 10)


def test_equal_rows_are_counted_as_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join([HEADER, *["x,1,2,3,1"] * 3, *["y,1,2,3,0"] * 2, "z,1,2,3,"]))

    found = linewise.gather(
        [path], SCHEMA, tmp_path / "work", find_clients=ingestion.find_todays_clients
    )
    b"".join(found.parts)

    assert (found.n_rows, found.dropped.n_rows, found.dropped.n_positives) == (2, 3, 2)
    assert io.BytesIO(path.read_bytes()).read().count(b"\n") == 6
