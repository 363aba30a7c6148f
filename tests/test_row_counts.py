"""No row disappears without a word: rows in = used + rejected + duplicates + clients."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts.api.request_bodies import read_csv
from scripts.api.request_rows import FaultyRowsError
from scripts.core import files
from scripts.core.config import Schema
from scripts.dashboard import upload
from scripts.data import dataset, polars_ingest, polars_ranges, polars_reader, spilled_ingest
from scripts.data.polars_dataset import Ingested
from scripts.data.polars_ranges import Report, RowForm
from scripts.data.read_report import FileReading

SCHEMA = Schema()
# So many files are read at once: most paths have something to set up.
BATCH = 50
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
    for number in range(draw.randrange(1, 25)):
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


@dataclass(frozen=True)
class Counts:
    """The read and rejected rows of each file, and the used rows and clients of all files."""

    files: list[tuple[int, int]]
    used: int
    clients: int


def count(readings: Sequence[FileReading], labels: Iterable[int]) -> Counts:
    """Count what was read of files, with the labels of the rows that can be right."""
    assert not any(found.refused for found in readings)
    labels = list(labels)
    counts = [(found.n_rows, len(found.rejected)) for found in readings]
    return Counts(counts, sum(label >= 0 for label in labels), sum(label < 0 for label in labels))


def by_rows(paths: list[Path]) -> Counts:
    table, readings = dataset.read_small_files(paths, SCHEMA, needs_label=False)
    return count(readings, table["exited"])


def by_polars(paths: list[Path]) -> Counts:
    table, readings = dataset.read_large_files(paths, SCHEMA, needs_label=False)
    return count(readings, table["exited"])


def by_ranges(paths: list[Path]) -> Counts:
    """Read as Spark's tasks do, each a range of a file."""
    form = RowForm(SCHEMA)
    readings, labels = [], list[int]()
    for path in paths:
        cut = polars_ranges.cut(path.stat().st_size, 500)
        results = [one for part in cut for one in polars_ranges.read_range(path, part, form)]
        reports = [one for one in results if isinstance(one, Report)]
        state = files.file_state(path)[:2]
        reading = polars_ranges.merge_reports(reports, path, state)
        if reading is None:  # A quote is left open: the file is read from its start.
            results = [*polars_ranges.read_whole(path, form)]
            reading = next(one.reading for one in results if isinstance(one, Report))
        readings.append(reading)
        tables = [one for one in results if not isinstance(one, Report)]
        labels += [label for table in tables for label in table["exited"].to_list()]
    return count(readings, labels)


def by_upload(paths: list[Path]) -> Counts:
    made = [upload.read_table(p.read_bytes(), SCHEMA, 1000, needs_label=False) for p in paths]
    return count([found for found, _ in made], [n for _, own in made for n in own["exited"]])


def count_ingested(result: Ingested) -> Counts:
    """Count the rows of a dataset where equal rows are kept, and the rows without a label."""
    n_written = sum(part.count(b"\n") for part in result.parts) - len(["header"])
    assert n_written == result.n_rows
    n_right = sum(found.n_rows - len(found.rejected) for found in result.readings)
    n_unlabelled = n_right - result.n_labelled
    return count(result.readings, [0] * result.n_rows + [-1] * n_unlabelled)


def in_memory(paths: list[Path]) -> Counts:
    return count_ingested(polars_ingest.ingest(paths, SCHEMA, drop_equal=False))


def within_bounds(paths: list[Path]) -> Counts:
    folder = paths[0].parent / "work"
    return count_ingested(
        spilled_ingest.ingest(paths, SCHEMA, folder, bound_bytes=2**20, drop_equal=False)
    )


PATHS = [by_rows, by_polars, by_ranges, by_upload, in_memory, within_bounds]
# The paths that write a dataset take most of the time, and read by the same reader as the others.
WRITING = {in_memory, within_bounds}


def check(n_batches: int, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read batches of made files on every path and compare with what was made."""
    draw = random.Random(seed)
    for batch in range(n_batches):
        made = [make_file(draw) for _ in range(BATCH)]
        paths = [folder / f"{number}.csv" for number in range(BATCH)]
        for path, file in zip(paths, made, strict=True):
            path.write_bytes(file.content)
        monkeypatch.setattr(polars_reader, "BLOCK_BYTES", draw.choice([200, 2**18]))
        counts = [(len(m.used) + m.clients + m.rejected, m.rejected) for m in made]
        expected = Counts(counts, sum(len(m.used) for m in made), sum(m.clients for m in made))
        for read in PATHS:
            if read not in WRITING or batch % 2 == 0:
                assert read(paths) == expected


def test_rows_in_are_used_rejected_or_clients_on_every_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(500 // BATCH, 1, tmp_path, monkeypatch)


@pytest.mark.campaign
def test_rows_in_are_used_rejected_or_clients_in_many_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(20_000 // BATCH, 2, tmp_path, monkeypatch)


@pytest.mark.parametrize("read", PATHS[:4])
def test_rows_between_which_only_a_cr_stands_are_rejected_aloud(
    tmp_path: Path, read: Callable[[list[Path]], Counts]
) -> None:
    rows = [f'"c{n}",1,2,3,0' if n == 500 else f"c{n},1,2,3,0" for n in range(1000)]
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "\n" + "\r".join(rows), newline="")

    assert read([path]) == Counts([(1, 1)], 0, 0)
    _, (found,) = dataset.read_small_files([path], SCHEMA)
    assert found.rejected[0].reason == "expected lines that end with LF or CR LF, found a CR alone"


@pytest.mark.parametrize("n_lines", [20, 300_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_at_the_end_are_no_clients(tmp_path: Path, n_lines: int, end: str) -> None:
    path = tmp_path / "a.csv"
    rows = end.join([HEADER, *(f"c{n},1,2,3,0" for n in range(30))])
    path.write_text(rows + end * n_lines, newline="")

    for read in (by_polars, within_bounds, in_memory):
        assert read([path]) == Counts([(30, 0)], 30, 0)


def test_a_csv_body_with_a_quote_and_a_cr_alone_is_refused() -> None:
    body = b'lastmonth_activity,lastyear_activity,number_of_employees\n1,2,"3"\r4,5,6\r'

    with pytest.raises(FaultyRowsError) as raised:
        read_csv(body, SCHEMA, 10)

    assert raised.value.faults[0].expected == "lines that end with LF or CR LF"


def test_equal_rows_are_counted_as_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join([HEADER, *["x,1,2,3,1"] * 3, *["y,1,2,3,0"] * 2, "z,1,2,3,"]))

    found = polars_ingest.ingest([path], SCHEMA, drop_equal=True)
    b"".join(found.parts)

    assert (found.n_rows, found.dropped.n_rows, found.dropped.n_positives) == (2, 3, 2)
