"""Strict reading of client tables: accepted rows, rejected rows and their reasons."""

import csv
import gzip
import io
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts import ingestion
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.errors import DatasetError
from scripts.data import cells, csv_reader, csv_writer, dataset, read_report
from scripts.data.cells import BadCellError
from tests.conftest import HEADER, SMALL_ROWS, TEST_ROWS, write_csv

ROOT = Path(__file__).parents[2]
SCHEMA = Schema()
MAX_MEMORY_MB = 200
ROW = "x1,10,20,30,1"


def lines(*rows: str) -> bytes:
    """Return a file with the usual header and LF line ends."""
    return "".join(f"{row}\n" for row in (HEADER, *rows)).encode()


@dataclass(frozen=True)
class Case:
    """A file, the number of usable rows, and the place and reason of every rejected row.

    A rejection at line 0 is the refusal of the whole file.
    """

    name: str
    content: bytes
    n_used: int
    rejections: tuple[tuple[int, str, str], ...] = ()


def refused(name: str, content: bytes, reason: str) -> Case:
    """Make the case of a file that is refused as a whole."""
    return Case(name, content, 0, ((0, "", reason),))


def one_bad_row(name: str, row: str | bytes, column: str, reason: str) -> Case:
    """Make the case of a file whose second row is wrong, between two right ones."""
    bad = row if isinstance(row, bytes) else row.encode()
    content = b"\n".join([HEADER.encode(), ROW.encode(), bad, b"x3,11,21,31,0", b""])
    return Case(name, content, 2, ((3, column, reason),))


MONTH, YEAR, SIZE, EXITED = HEADER.split(",")[1:]
LACKS = "it lacks the columns"
NUMBER_WANTED = "expected a number or nothing"
QUOTES = "expected quotes around whole fields"
# A row to be judged on needs a label; among the input it is one of today's clients.
BLANK_LABEL = one_bad_row("label blank", "x2,1,2,3,", EXITED, "expected one of ['1', '0']")
CORPUS = [
    # Right, although unusual.
    Case("bom", b"\xef\xbb\xbf" + lines(ROW), 1),
    Case("crlf", lines(ROW, ROW).replace(b"\n", b"\r\n"), 2),
    Case("no line end at the end", lines(ROW)[:-1], 1),
    Case("blank lines", lines("", ROW, "  ", ROW, ""), 2),
    Case(
        "other order, more columns", b"note,exited," + HEADER[:-7].encode() + b"\nhi,1,x,1,2,3\n", 1
    ),
    Case("spaces around", lines(" x1 , 10 ,20, 30 , 1 "), 1),
    Case("quoted fields", lines('"a, ""b""","10",20,"30","1"'), 1),
    Case("blank numbers", lines("x1,,,,1"), 1),
    Case("floats and exponents", lines("x1,1.5,2e2,.5,0", "x2,+1,2.,1E-3,1.0"), 2),
    Case("label as text", lines("x1,1,2,3, 1.0 ", "x2,1,2,3,0.0"), 2),
    Case(
        "quoted line end in a column of no use",
        b"note,"
        + HEADER.encode()
        + b'\n"two\nlines",'
        + ROW.encode()
        + b"\nn,"
        + ROW.encode()
        + b"\n",
        2,
    ),
    Case(
        "nameless columns at the end, as a spreadsheet writes them",
        HEADER.encode() + b",,,\n" + ROW.encode() + b",,,\n" + ROW.encode() + b",x,,\n",
        2,
    ),
    Case("tabs", lines(ROW).replace(b",", b"\t"), 1),
    Case("semicolons", lines(ROW).replace(b",", b";"), 1),
    Case("utf-8 text", lines("Société Générale 株式会社,1,2,3,1"), 1),
    # Refused as a whole.
    refused("empty", b"", "it is empty"),
    refused("one line end", b"\n", "it is empty"),
    refused("blank first line", b"\n" + lines(ROW), "it is empty, or its first line is"),
    refused("utf-16", lines(ROW).decode().encode("utf-16"), "looks like UTF-16"),
    refused(
        "utf-16 big endian",
        b"\xfe\xff" + lines(ROW).decode().encode("utf-16-be"),
        "looks like UTF-16",
    ),
    refused("latin-1", lines("Société,1,2,3,1").decode().encode("latin-1"), "line 2 is not UTF-8"),
    refused("cut in a letter", lines("Société,1,2,3,1")[:-10], "line 2 is not UTF-8"),
    refused("lone surrogate", lines(ROW) + b"\xed\xa0\x80,1,2,3,1\n", "line 3 is not UTF-8"),
    refused("gzip renamed", gzip.compress(lines(ROW), mtime=0), "looks like a gzip archive"),
    refused(
        "spreadsheet renamed", b"PK\x03\x04\xff\xff", "looks like a zip archive or a spreadsheet"
    ),
    refused("image renamed", b"\x89PNG\r\n\x1a\n", "line 1 is not UTF-8"),
    refused("colons", lines(ROW).replace(b",", b":"), "first line names none of ours"),
    refused("no header", f"{ROW}\n{ROW}\n".encode(), "first line names none of ours"),
    refused(
        "merge conflict",
        b"<<<<<<< HEAD\n" + lines(ROW),
        "'<<<<<<< HEAD', is the mark of a merge conflict",
    ),
    refused("web page", b"<!DOCTYPE html>\n<html></html>\n", "first line names none of ours"),
    refused("json", b'[{"corporation": "x"}]\n', "its header cannot be read"),
    refused(
        "missing column", b"corporation,exited\nx1,1\n", f"{LACKS} ['{MONTH}', '{YEAR}', '{SIZE}']"
    ),
    refused("renamed column", lines(ROW).replace(b"exited", b"churned"), f"{LACKS} ['exited']"),
    refused("upper case", lines(ROW).replace(b"exited", b"Exited"), f"{LACKS} ['exited']"),
    refused(
        "duplicate column",
        HEADER.encode() + b",exited\n" + ROW.encode() + b",0\n",
        "more than once",
    ),
    refused("row doubled like a header", b"7,7,7,7,1\n", "first line names none of ours"),
    refused("a million columns", b"," * (2**20 - 1) + b"\n", "first line names none of ours"),
    refused(
        "many columns more",
        ",".join(map(str, range(99_999))).encode() + b"," + lines(ROW).replace(b"exited", b"x"),
        f"{LACKS} ['exited']; it has ['0', '1',",
    ),
    refused("duplicate column of no use", b"a,a," + lines(ROW), "more than once"),
    refused("CR alone", lines(ROW).replace(b"\n", b"\r"), "its header has a control character"),
    refused(
        "NUL in the header",
        lines(ROW).replace(b"exited", b"exited\x00"),
        "control character, such as NUL",
    ),
    refused("header within open quotes", b'"' + lines(ROW), "its header cannot be read"),
    refused("long line", lines(ROW) + b"x" * (2**20 + 1), "line 3 is longer than 1048576 bytes"),
    # One row is rejected; the rows before and after it are used.
    one_bad_row("second header", HEADER, MONTH, NUMBER_WANTED),
    one_bad_row("merge conflict inside", "=======", "", "expected 5 fields, found 1"),
    one_bad_row("text in a number", "x2,many,2,3,1", MONTH, NUMBER_WANTED),
    one_bad_row("two numbers", "x2,1 2,2,3,1", MONTH, NUMBER_WANTED),
    one_bad_row("thousands", 'x2,"1,000",2,3,1', MONTH, NUMBER_WANTED),
    one_bad_row("underscore", "x2,1_000,2,3,1", MONTH, NUMBER_WANTED),
    one_bad_row("hexadecimal", "x2,0x10,2,3,1", MONTH, NUMBER_WANTED),
    one_bad_row("Arabic digits", "x2,٣,2,3,1", MONTH, NUMBER_WANTED),
    one_bad_row("NaN", "x2,NaN,2,3,1", MONTH, NUMBER_WANTED),
    one_bad_row("inf", "x2,1,-inf,3,1", YEAR, NUMBER_WANTED),
    one_bad_row("1e999", "x2,1,1e999,3,1", YEAR, "expected a number up to 2**53"),
    one_bad_row("1e99999", "x2,1,1e99999,3,1", YEAR, NUMBER_WANTED),
    one_bad_row("40 digits", f"x2,1,2,{'9' * 40},1", SIZE, "expected a number up to 2**53"),
    one_bad_row("5000 digits", f"x2,1,2,{'9' * 5000},1", SIZE, "expected a number up to 2**53"),
    one_bad_row("negative", "x2,-1,2,3,1", MONTH, "expected at least 0"),
    one_bad_row("label 2", "x2,1,2,3,2", EXITED, "expected one of ['1', '0']"),
    one_bad_row("label as a word", "x2,1,2,3,yes", EXITED, "expected one of ['1', '0']"),
    one_bad_row("label 1e999", "x2,1,2,3,1e999", EXITED, "expected one of ['1', '0']"),
    one_bad_row("label NaN", "x2,1,2,3,nan", EXITED, "expected one of ['1', '0']"),
    one_bad_row(
        "label of 5000 digits", f"x2,1,2,3,{'1' * 5000}", EXITED, "expected one of ['1', '0']"
    ),
    BLANK_LABEL,
    one_bad_row("identifier blank", " ,1,2,3,1", "corporation", "expected an identifier"),
    one_bad_row("extra field", "x2,1,2,3,1,", "", "expected 5 fields, found 6"),
    one_bad_row("missing field", "x2,1,2,3", "", "expected 5 fields, found 4"),
    one_bad_row("NUL", "x\x002,1,2,3,1", "corporation", "has a control character"),
    one_bad_row("CR inside", "x\r2,1,2,3,1", "corporation", "has a control character"),
    one_bad_row("escape sequence", "\x1b[31mx2,1,2,3,1", "corporation", "has a control character"),
    one_bad_row("open quote", '"x2,1,2,3,1', "", QUOTES),
    one_bad_row("open quote at the end", 'x2,1,2,3,"1', "", QUOTES),
    one_bad_row("text after a quote", '"x"2,1,2,3,1', "", QUOTES),
    one_bad_row("quote inside", 'x"2,1,2,3,1', "", QUOTES),
    one_bad_row("quoted line end", '"x\n2",1,2,3,1', "corporation", "has a control character"),
    one_bad_row(
        "row within quotes", '"x\nx2,1,2,3,1\n",1,2,3,1', "corporation", "has a control character"
    ),
    one_bad_row("quoted long field", f'"{"x" * 200_000}",1,2,3,1', "", "at most 131072 characters"),
    # All rows are rejected, or there is none.
    Case("header only", lines(), 0),
    Case("header without line end", HEADER.encode(), 0),
    Case(
        "two open quotes",
        lines('"a,1,2,3,1', ROW, '"b,1,2,3,1', ROW),
        2,
        ((2, "", QUOTES), (4, "", QUOTES)),
    ),
    Case("separators mixed", lines("x1;1;2;3;1", ROW), 1, ((2, "", "expected 5 fields, found 1"),)),
]
CORPUS_NAMES = [case.name for case in CORPUS]


@pytest.mark.parametrize("case", CORPUS, ids=CORPUS_NAMES)
def test_a_hostile_file_is_read_as_far_as_it_is_right(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(case.content)

    reading, columns = csv_reader.read_file(path, tmp_path, SCHEMA)

    places = [(r.line, r.column) for r in reading.rejected]
    assert places == [(line, column) for line, column, _ in case.rejections]
    for row, (_, _, reason) in zip(reading.rejected, case.rejections, strict=True):
        assert reason in row.reason
    assert {len(values) for values in columns.values()} == {case.n_used}
    assert bool(reading.refused) == (places[:1] == [(0, "")])
    if not reading.refused:
        assert reading.n_rows == case.n_used + len(case.rejections)
        assert reading.n_bytes == len(case.content)


def make_fifo(folder: Path) -> str:
    """Make a pipe without a writer, where a reader waits for ever."""
    os.mkfifo(folder / "pipe.csv")
    return "it is not a regular file"


def make_directory(folder: Path) -> str:
    """Make a folder with the name of a table."""
    (folder / "folder.csv").mkdir()
    return "it is not a regular file"


def make_link_outside(folder: Path) -> str:
    """Make a link to a file outside of the folder."""
    outside = write_csv(folder.parent / "secret" / "outside.csv", [ROW])
    (folder / "outside.csv").symlink_to(outside)
    return "it is a link to a file outside its folder"


def make_link_to_nothing(folder: Path) -> str:
    """Make a dangling link."""
    (folder / "nothing.csv").symlink_to("nowhere.csv")
    return "it is not a regular file"


def make_link_to_itself(folder: Path) -> str:
    """Make a link to the link itself."""
    (folder / "loop.csv").symlink_to("loop.csv")
    return "it is not a regular file"


def make_device(folder: Path) -> str:
    """Make a link to an endless device."""
    (folder / "zero.csv").symlink_to("/dev/zero")
    return "it is not a regular file"


def make_odd_name(folder: Path) -> str:
    """Make a file with a line end in the name."""
    (folder / "two\nlines.csv").write_bytes(lines(ROW))
    return "its name has a control character"


def make_sparse(folder: Path) -> str:
    """Make a file of a header and a sparse line of 300 MB."""
    with (folder / "sparse.csv").open("wb") as handle:
        handle.write(lines(ROW))
        handle.truncate(300 * 2**20)
    return "line 3 is longer than 1048576 bytes"


ODDITIES = [
    make_fifo, make_directory, make_link_outside, make_link_to_nothing, make_link_to_itself,
    make_device, make_odd_name, make_sparse,
]  # fmt: skip


@pytest.mark.parametrize("make", ODDITIES)
def test_what_only_looks_like_a_file_is_refused(
    tmp_path: Path, make: Callable[[Path], str]
) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    reason = make(folder)
    (path,) = folder.iterdir()

    reading, columns = csv_reader.read_file(path, folder, SCHEMA)

    assert reason in reading.refused
    assert columns[EXITED] == []


def test_a_link_inside_the_folder_is_a_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [ROW])
    (tmp_path / "b.csv").symlink_to(path)

    reading, columns = csv_reader.read_file(tmp_path / "b.csv", tmp_path, SCHEMA)

    assert (reading.refused, columns[EXITED]) == ("", [1])


# root may read everything by the capabilities 1 and 2, which the second process starts without.
WITHOUT_PRIVILEGE = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""
READ_AND_TELL = r"""
import json, re, sys
from pathlib import Path
from scripts.data import csv_reader
from scripts.core.config import Schema
folder = Path(sys.argv[1])
readings = [csv_reader.read_file(p, folder, Schema())[0] for p in sorted(folder.iterdir())]
# Not ru_maxrss, which a process inherits from the one that started it.
status = Path("/proc/self/status").read_text()
peak_mb = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
print(json.dumps([peak_mb, {r.path.name: r.refused for r in readings}]))
"""


def read_elsewhere(folder: Path) -> tuple[float, dict[str, str]]:
    """Read a folder in a process of its own, without privileges.

    Returns
    -------
    tuple of float and dict of str to str
        Its peak memory in MB, and why each file was refused.
    """
    command = [sys.executable, "-c", WITHOUT_PRIVILEGE, READ_AND_TELL, str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    peak_mb, reading = json.loads(done.stdout)
    return float(peak_mb), dict(reading)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "input"
    write_csv(folder / "a.csv", [ROW]).chmod(0)

    _, reading = read_elsewhere(folder)

    assert "it may not be read by this user" in reading["a.csv"]


def test_no_file_of_the_corpus_takes_much_memory(tmp_path: Path) -> None:
    for number, case in enumerate(CORPUS):
        (tmp_path / f"{number}.csv").write_bytes(case.content)
    make_sparse(tmp_path)
    # 50 MB of rejected cells, of which only the beginnings may be kept.
    with (tmp_path / "long.csv").open("wb") as handle:
        handle.write(lines())
        for _ in range(50):
            handle.write(b"x," + b"w" * (2**20 - 20) + b",2,3,1\n")

    peak_mb, reading = read_elsewhere(tmp_path)

    assert len(reading) == len(CORPUS) + 2
    assert peak_mb < MAX_MEMORY_MB, peak_mb


def test_what_is_kept_of_a_rejected_cell_is_short(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [f"x1,{'w' * 100_000},2,3,1"])

    reading, _ = csv_reader.read_file(path, tmp_path, SCHEMA)

    assert reading.rejected[0].found == repr("w" * 40 + "...")


def test_a_folder_of_nothing_but_hostile_files_and_one_good_one_is_ingested(
    config: Config,
) -> None:
    folder = config.input_folder_path
    for number, case in enumerate(CORPUS):
        (folder / f"hostile{number:02d}.csv").write_bytes(case.content)
    for make in ODDITIES:
        make(folder)

    ingested = ingestion.main(config)

    table, _ = dataset.read_dataset(ingested.dataset_path, SCHEMA)
    good_ids = {row.split(",")[0] for row in SMALL_ROWS}
    assert good_ids <= set(table["corporation"])
    assert len(ingested.readings) == 2 + len(CORPUS) + len(ODDITIES)
    rejected_path = Kind.REJECTED.path(config.output_folder_path, ingested.stamp)
    listed = list(csv.DictReader(rejected_path.read_text().splitlines()))
    for number, case in enumerate(CORPUS):
        mine = [row for row in listed if row["file"] == f"hostile{number:02d}.csv"]
        assert [(int(row["line"]), row["column"]) for row in mine] == [
            (line, column) for line, column, _ in case.rejections if case is not BLANK_LABEL
        ]
    assert ingested.clients["corporation"].tolist() == ["x2"]
    n_rejections = sum(len(case.rejections) for case in CORPUS) - 1 + len(ODDITIES)
    assert len(listed) == n_rejections
    used = Kind.INGESTED.path(config.output_folder_path, ingested.stamp).read_text().splitlines()
    whole = [case for case in CORPUS if not case.rejections or case.rejections[0][0]]
    assert len(used) == 2 + len(whole)


@pytest.mark.parametrize("case", CORPUS, ids=CORPUS_NAMES)
def test_a_file_alone_is_usable_or_refused_by_name(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(case.content)

    if case.n_used:
        table, _ = dataset.read_tables([path], SCHEMA)
        assert len(table) == case.n_used
        assert list(table.columns) == HEADER.split(",")
    else:
        with pytest.raises(DatasetError, match=r"No usable row was found\. .*x\.csv"):
            dataset.read_tables([path], SCHEMA)


def test_a_row_without_a_label_is_read_where_none_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(lines(ROW, "x2,1.5,2,,", "x3,11,21,31,  ", "x4,1,2,3,0", "x5,1,2,3,maybe"))

    table, (reading,) = dataset.read_tables([path], SCHEMA, needs_label=False)
    labelled, unlabelled = dataset.split_unlabelled(table, SCHEMA)

    assert list(labelled["corporation"]) == ["x1", "x4"]
    assert list(labelled["exited"]) == [1, 0]
    # As if the row with a fraction and a blank had never been there.
    assert list(labelled.dtypes[1:]) == ["int64"] * 4
    assert list(unlabelled["corporation"]) == ["x2", "x3"]
    assert [row.line for row in reading.rejected] == [6]


def test_a_blank_that_is_a_declared_label_is_one(tmp_path: Path) -> None:
    schema = Schema(positive="left", negative="")
    path = tmp_path / "x.csv"
    path.write_bytes(lines("x1,1,2,3,left", "x2,1,2,3,"))

    table, _ = dataset.read_tables([path], schema, needs_label=False)

    assert list(table["exited"]) == [1, 0]


@pytest.mark.parametrize(
    ("identifiers", "name"),
    [
        (("a",), "a"),
        (("a", "b"), "a | b"),
        (("a | b", "c"), "a \\| b | c"),
        (("a", "b | c"), "a | b \\| c"),
        (("a\\", "b"), "a\\\\ | b"),
    ],
)
def test_client_names_tell_clients_apart(identifiers: tuple[str, ...], name: str) -> None:
    schema = Schema(ids=tuple(f"id{place}" for place in range(len(identifiers))))
    row = dict(zip(schema.ids, identifiers, strict=True))
    table = pd.DataFrame([row], dtype="str")

    assert list(dataset.client_names(table, schema)) == [name]
    assert list(table.iloc[0]) == list(identifiers)


def test_no_cell_gets_into_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "CANARY4711"
    cells = [
        f"{canary},1,2,3,1",
        f"x,{canary},2,3,1",
        f"x,1,2,3,{canary}",
        f'"{canary},1,2,3,0',
        f"{canary}",
        f"{canary},{canary}",
        f"x,1,2,3,1,{canary}",
        f"{canary}\x00,1,2,3,1",
    ]
    contents = [
        *[lines(row, ROW) for row in cells],
        *[f"{row}\n{ROW}\n".encode() for row in cells],
        lines(*cells).replace(b"\n", b"\r"),
        lines(*cells).replace(b",", b"#"),
        lines(*cells) + b"\xff",
    ]
    for number, content in enumerate(contents):
        (tmp_path / f"{number:02d}.csv").write_bytes(content)
    paths = sorted(tmp_path.iterdir())

    _, readings = dataset.read_tables(paths, SCHEMA)
    read_report.log_readings(readings)
    with pytest.raises(DatasetError) as raised:
        dataset.read_tables(paths[len(cells) :], SCHEMA)

    assert len(caplog.records) >= len(contents) - 1
    assert canary not in caplog.text
    assert canary not in str(raised.value)


# What no reader may do, whatever the file.

TOKENS = [
    *HEADER.split(","), HEADER, HEADER + "\n", ROW, ROW + "\n", ",", "\n", "\r", "\r\n", '"', '""',
    '","', "1", "0", "-1", "2.5", "1e999", "nan", " ", "\t", ";", "|", "\x00", "\ufeff", "é", "株",
    "x", "x,1,2,3,1\n", '"a\nb",1,2,3,0\n', "x,1,2,3,2\n", "x,1,2,3\n", "\u2028", "\x85", "\x1c",
]  # fmt: skip
texts = st.lists(st.sampled_from(TOKENS), max_size=30).map("".join)
contents = st.one_of(
    st.binary(max_size=300),
    texts.map(str.encode),
    texts.map(lambda text: (HEADER + "\n" + text).encode()),
    st.tuples(texts, st.sampled_from(["latin-1", "utf-16", "utf-8-sig", "cp1252"])).map(
        lambda pair: pair[0].encode(pair[1], "replace")
    ),
    st.tuples(texts, st.binary(max_size=3), texts).map(
        lambda parts: (HEADER + "\n" + parts[0]).encode() + parts[1] + parts[2].encode()
    ),
)


def check_any_content(folder: Path, content: bytes) -> None:
    """Read a file of any content: a table that is right, or the documented refusal."""
    path = folder / "x.csv"
    path.write_bytes(content)
    try:
        table, (reading,) = dataset.read_tables([path], SCHEMA)
    except DatasetError:
        return
    assert reading.n_rows == len(table) + len(reading.rejected)
    assert set(table["exited"]) <= {0, 1}
    numbers = table[list(SCHEMA.numeric)].to_numpy(dtype=float)
    present = numbers[~np.isnan(numbers)]
    assert ((present >= 0) & (present <= 2**53)).all()
    assert all(name and name == name.strip() for name in table["corporation"])
    assert not table["corporation"].str.contains(r"[\x00-\x08\x0a-\x1f]").any()
    written = folder / "finaldata.csv"
    written.write_text(b"".join(csv_writer.encode_table(table)).decode(), newline="")
    again, _ = dataset.read_dataset(written, SCHEMA)
    pd.testing.assert_frame_equal(again, table)


OFTEN = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@OFTEN
@given(content=contents)
def test_any_content_is_a_right_table_or_a_refusal(tmp_path: Path, content: bytes) -> None:
    check_any_content(tmp_path, content)


@pytest.mark.campaign
def test_1000_contents_are_right_tables_or_refusals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n_read = 0

    @settings(OFTEN, max_examples=1000)
    @given(content=contents)
    def fuzz(content: bytes) -> None:
        nonlocal n_read
        n_read += 1
        check_any_content(tmp_path, content)

    fuzz()
    with capsys.disabled():
        print(f"\n{n_read} contents read, no exception but the documented refusal")
    assert n_read >= 1000


cell_texts = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
).filter(str.strip)
numbers = st.none() | st.integers(0, 2**53) | st.floats(0, 1e15, allow_subnormal=False)
clients = st.tuples(cell_texts, numbers, numbers, numbers, st.integers(0, 1))


@OFTEN
@given(rows=st.lists(clients, min_size=1, max_size=8), separator=st.sampled_from(["\n", "\r\n"]))
def test_any_right_table_is_read_as_it_was_written(
    tmp_path: Path, rows: list[tuple[Any, ...]], separator: str
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator=separator)
    writer.writerow(HEADER.split(","))
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    (tmp_path / "x.csv").write_text(buffer.getvalue(), newline="")

    reading, columns = csv_reader.read_file(tmp_path / "x.csv", tmp_path, SCHEMA)

    assert reading.rejected == []
    assert columns["corporation"] == [row[0].strip() for row in rows]
    for position, name in enumerate(SCHEMA.numeric, start=1):
        given_numbers = [
            math.nan if row[position] is None else float(row[position]) for row in rows
        ]
        np.testing.assert_array_equal(columns[name], given_numbers)
    assert columns["exited"] == [row[4] for row in rows]


# Cells


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0.0), ("-0", 0.0), ("007", 7.0), ("+3", 3.0), ("3.", 3.0), (".25", 0.25),
        ("1e2", 100.0), ("1E+2", 100.0), ("25e-2", 0.25), (" 5\t", 5.0), ("1e-400", 0.0),
        ("9007199254740992", 2.0**53),
    ],
)  # fmt: skip
def test_parse_number_reads_what_is_a_number(text: str, number: float) -> None:
    parsed = cells.parse_number(text, 0.0)

    assert parsed == number
    assert math.copysign(1.0, parsed) == 1.0


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_parse_number_reads_nothing_as_a_blank(text: str) -> None:
    assert math.isnan(cells.parse_number(text, None))


@pytest.mark.parametrize(
    "text",
    ["-", ".", "e5", "1e", "1.2.3", "--1", "1,5", "1 000", "½", "1e5.5", "nan", "inf", "None", "-1",
     "9007199254740993.9", "1" * 10_000 + "x", "1e00001"],
)  # fmt: skip
def test_parse_number_refuses_what_is_none(text: str) -> None:
    with pytest.raises(BadCellError):
        cells.parse_number(text, 0.0)


def test_a_minimum_is_of_its_column_only(tmp_path: Path) -> None:
    schema = Schema(numeric=("balance", "age"), minimum={"age": 18})
    path = tmp_path / "x.csv"
    path.write_text("corporation,balance,age,exited\na,-5,18,1\nb,-5,17.9,1\n")

    reading, columns = csv_reader.read_file(path, tmp_path, schema)

    assert columns["balance"] == [-5.0]
    assert [(r.line, r.column, r.reason) for r in reading.rejected] == [
        (3, "age", "expected at least 18")
    ]


@pytest.mark.parametrize(
    ("positive", "negative", "texts"),
    [
        (1, None, {"1": 1, "0": 0, "1.0": 1, " 0 ": 0, "1e0": 1, "+1": 1}),
        ("Yes", None, {"Yes": 1, "no": 0, "YES ": 1}),
        (True, None, {"True": 1, "false": 0}),
        ("Churned", "Stayed", {"churned": 1, "STAYED": 0}),
        (0, None, {"0": 1, "1": 0}),
    ],
)
def test_parse_label_takes_the_two_declared_values(
    positive: str | int, negative: str | None, texts: dict[str, int]
) -> None:
    labels = Schema(positive=positive, negative=negative).labels

    assert {text: cells.parse_label(text, labels) for text in texts} == texts
    for other in ("", "2", "maybe", "1_0", "\uff11", "nan", "1e999"):
        with pytest.raises(BadCellError, match="expected one of"):
            cells.parse_label(other, labels)


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        ("", [""]),
        (",", ["", ""]),
        ('"",""', ["", ""]),
        ('"a,b",c', ["a,b", "c"]),
        ('"say ""hi""",c', ['say "hi"', "c"]),
        ('"""",x', ['"', "x"]),
        ('"a\nb",c', ["a\nb", "c"]),
        ('a, "b"', None),
        ('"a" ,b', None),
        ('a"b', None),
        ('"', None),
        ('"""', None),
        ('"a"b"', None),
    ],
)
def test_split_record_keeps_to_rfc_4180(record: str, fields: list[str] | None) -> None:
    if fields is None:
        with pytest.raises(BadCellError, match="expected quotes around whole fields"):
            csv_reader.split_record(record)
    else:
        assert csv_reader.split_record(record) == fields


@pytest.mark.parametrize(
    ("texts", "records"),
    [
        ([], []),
        (["a", "b"], [(1, "a"), (2, "b")]),
        (['"a', 'b"', "c"], [(1, '"a\nb"'), (3, "c")]),
        (['x,"a', "", 'b",y', "c"], [(1, 'x,"a\n\nb",y'), (4, "c")]),
        (['"a', 'b"c', "d"], [(1, '"a'), (2, 'b"c'), (3, "d")]),
        (['"a', "b"], [(1, '"a'), (2, "b")]),
        (['"a', '"b', 'c"'], [(1, '"a'), (2, '"b\nc"')]),
        (['"', *["b"] * 99, '"'], [(1, '"\n' + "b\n" * 99 + '"')]),
    ],
)
def test_iterate_records_joins_the_lines_of_a_quoted_field(
    texts: list[str], records: list[tuple[int, str]]
) -> None:
    assert list(csv_reader.iterate_records(enumerate(texts, start=1))) == records


def test_a_quote_that_is_never_closed_costs_its_own_line_only() -> None:
    texts = ['"', *["b"] * 100, '"', "c"]

    records = list(csv_reader.iterate_records(enumerate(texts, start=1)))

    assert records == list(enumerate(texts, start=1))


# Tables


def test_tables_are_read_in_the_order_given(tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / f"{name}.csv", [f"{name},1,2,3,1"]) for name in "cab"]

    table, readings = dataset.read_tables(paths, SCHEMA)

    assert table["corporation"].tolist() == ["c", "a", "b"]
    assert [reading.path for reading in readings] == paths


def test_the_digest_of_a_reading_is_that_of_its_bytes(tmp_path: Path) -> None:
    # SHA-256 of "abc": FIPS 180-2, appendix B.1.
    path = tmp_path / "x.csv"
    path.write_bytes(b"abc")
    reading = read_report.FileReading(path)

    with path.open("rb") as handle:
        assert list(csv_reader.iterate_lines(handle, reading)) == [(1, "abc")]

    assert reading.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def table_of(**columns: list[Any]) -> pd.DataFrame:
    """Make a small client table."""
    return pd.DataFrame(columns)


def test_missing_fractions_count_blank_numbers_and_blank_text() -> None:
    table = table_of(a=["x", "", "y", ""], b=[1.0, math.nan, 3.0, 4.0], c=[1, 0, 1, 0])

    assert dataset.missing_fractions(table) == {"a": 0.5, "b": 0.25, "c": 0.0}


def test_missing_fractions_of_no_row_are_refused() -> None:
    with pytest.raises(DatasetError, match="has no row"):
        dataset.missing_fractions(table_of(a=[]))


def test_summarise_gives_the_statistics_worked_out_by_hand() -> None:
    schema = Schema(numeric=("a", "b"))
    table = table_of(a=[1.0, 2.0, 6.0, math.nan], b=[math.nan] * 4, exited=[1, 0, 0, 1])

    a, b, exited = dataset.summarise(table, schema)

    # (1 + 2 + 6) / 3 = 3; squares of 2, 1, 3 make 14, halved 7.
    assert (a.mean, a.median) == (3.0, 2.0)
    assert a.standard_deviation == pytest.approx(math.sqrt(7))
    assert (b.mean, b.median, b.standard_deviation) == (None, None, None)
    assert (exited.column, exited.mean, exited.median) == ("exited", 0.5, 0.5)
    # Four halves squared make 1, divided by 3.
    assert exited.standard_deviation == pytest.approx(math.sqrt(1 / 3))


def test_summarise_of_one_row_has_no_standard_deviation() -> None:
    (a, _) = dataset.summarise(table_of(a=[2.0], exited=[1]), Schema(numeric=("a",)))

    assert (a.mean, a.median, a.standard_deviation) == (2.0, 2.0, None)


def test_encode_table_writes_whole_numbers_bare_and_blanks_empty() -> None:
    table = table_of(id=["a,b", "c"], n=[1.0, math.nan], x=[0.1, 2.0], exited=[1, 0])

    assert (
        b"".join(csv_writer.encode_table(table)).decode()
        == 'id,n,x,exited\n"a,b",1,0.1,1\nc,,2.0,0\n'
    )


def test_a_dataset_somebody_edited_is_refused(config: Config) -> None:
    ingested = ingestion.main(config)
    text = ingested.dataset_path.read_text()
    ingested.dataset_path.write_text(text.replace(",1\n", ",yes\n", 1))

    with pytest.raises(DatasetError, match=r"is not as ingestion wrote it: line 2 exited .*again"):
        dataset.read_dataset(ingested.dataset_path, SCHEMA)


def test_features_are_floats_and_text_and_the_table_is_left_alone(tmp_path: Path) -> None:
    schema = Schema(numeric=("a",), categorical=("b",))
    table = table_of(corporation=["x", "y"], a=[1, 2], b=["u", None], exited=[1, 0])
    before = table.copy(deep=True)

    X = dataset.features(table, schema)

    assert list(X.columns) == ["a", "b"]
    assert X["a"].dtype == np.float64
    assert X["b"].tolist() == ["u", ""]
    pd.testing.assert_frame_equal(table, before)


def test_features_that_are_lacking_are_named() -> None:
    with pytest.raises(DatasetError, match=r"lacks the columns \['a'\]; it has \['exited'\]"):
        dataset.features(table_of(exited=[1]), Schema(numeric=("a",)))


def test_the_test_data_may_be_one_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "test.csv", TEST_ROWS)

    table, _ = dataset.read_test_table(path, SCHEMA)

    assert dataset.target(table, SCHEMA).tolist() == [1, 1, 1, 0, 0]
