"""Files of an object store read on a cluster equal files read here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from scripts.core.config import Schema
from scripts.data import csv_reader
from scripts.data.read_report import FileReading
from tests.data.test_dataset import CORPUS, ROW, lines
from tests.support.service import ROOT
from tests.support.sparkcluster import LOOPBACK, why_not

SETTINGS = """
spark.driver.memory 1g
spark.sql.shuffle.partitions 2
spark.driver.extraJavaOptions -XX:+UseSerialGC
"""
BAD = ["x,many,2,3,1", "x,1,2,3", "x,1,2,3,9", 'x"y,1,2,3,0', "", '"x ""y""",1,2,3,0', "é,1,2,3,1"]


def mark(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Add each file with a byte order mark."""
    return contents | {f"{name} mark": b"\xef\xbb\xbf" + told for name, told in contents.items()}


def make_small() -> dict[str, bytes]:
    """Write files of few rows: the corpus, and mixed rows."""
    many = [ROW.replace("x1", f"r{number}") for number in range(20)]
    whole = lines(*many)
    made = {str(number): case.content for number, case in enumerate(CORPUS)}
    made = {name: content for name, content in made.items() if len(content) < 10_000}
    made |= {
        f"bad {number} {place}": lines(*many[:place], bad, *many[place:])[:-1]
        for number, bad in enumerate(BAD)
        for place in (0, 7, 20)
    }
    return made | mark(
        {
            "quote over lines": lines(*many, '"two\nlines",1,2,3,1', *many),
            "quote never closed": lines(*many, '"open,1,2,3,1', *many),
            "no text": whole + b"\xff,1,2,3,1\n" + whole,
            "no header": whole.partition(b"\n")[2],
            "blank end": whole + b"\n\r\n  \n",
            "ends of CR": whole.replace(b"\n", b"\r"),
            "ends of CRLF": whole.replace(b"\n", b"\r\n"),
        }
    )


def make_long() -> dict[str, bytes]:
    """Write files with a line near the limit of length."""
    most, many = csv_reader.MAX_LINE_BYTES, [ROW] * 9
    rows = {n_more: "x" * (most - 9 + n_more) + ",1,2,3,1" for n_more in (-1, 0, 1)}
    made = {f"long line {n}": lines(*many, row, *many) for n, row in rows.items()}
    return made | mark({"long header": b"x" * (most + 5) + b"\n" + lines(*many)})


KINDS = {"small": (make_small, 150), "long": (make_long, 300_000)}


def as_comparable(found: FileReading) -> dict[str, Any]:
    """Return a reading as a dict, without path and hash of the file."""
    return asdict(found) | {"path": found.path.name, "sha256": ""}


def compare(folder: Path, n_bytes: int) -> dict[str, Any]:
    """Read files through Spark's own sources and here, and return the differences."""
    from scripts.core.config import EngineSettings
    from scripts.core.files import RemotePath
    from scripts.data.polars_ranges import RowForm
    from scripts.spark import cluster, object_store, read_input
    from scripts.spark.read_files import FILE

    paths = [*object_store.scan_folder(RemotePath(f"file://{folder}"))]
    differ, schema = [], Schema()
    with cluster.open_cluster(EngineSettings(name="spark", master="local[2]")) as session:
        session.conf.set("spark.sql.files.maxPartitionBytes", n_bytes)
        session.conf.set("spark.sql.files.openCostInBytes", 1)
        for as_text in (False, True):
            form = RowForm(schema, as_text=as_text)
            rows, readings = read_input.read_rows(session, paths, form)
            counts = {row[FILE]: row["count"] for row in rows.groupBy(FILE).count().collect()}
            for number, found in enumerate(readings):
                expected, kept = csv_reader.read_file(
                    folder / found.path.name, folder, schema, as_text=as_text, needs_label=False
                )
                n_rows = len(next(iter(kept.values()))) if not expected.refused else 0
                here = as_comparable(expected) | {
                    "n_bytes": 0 if expected.refused else expected.n_bytes
                }
                there = as_comparable(found) | {"n_bytes": 0 if found.refused else found.n_bytes}
                is_same = found.refused or counts.get(number, 0) == n_rows
                if here != there or not is_same:
                    differ.append([str(form), here, there, n_rows, counts.get(number, 0)])
    return {"n_compared": 2 * len(paths), "differ": differ}


@pytest.mark.campaign
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_files_hold_they_are_read_as_here(tmp_path: Path, kind: str) -> None:
    make, n_bytes = KINDS[kind]
    if why_not():
        pytest.skip(why_not())
    folder, conf = tmp_path / "in", tmp_path / "conf"
    for made in (folder, conf):
        made.mkdir()
    (conf / "spark-defaults.conf").write_text(SETTINGS)
    for name, content in make().items():
        (folder / f"{name}.csv").write_bytes(content)
    code = (
        "import json, sys; from pathlib import Path;"
        " from tests.spark.test_read_store import compare;"
        " print(json.dumps(compare(Path(sys.argv[1]), int(sys.argv[2]))))"
    )
    env = os.environ | {"SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": LOOPBACK}

    ran = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(n_bytes)],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    print(f"{found['n_compared']} files compared in ranges of {n_bytes} bytes")
    assert found["differ"] == []
    assert found["n_compared"] == 2 * len(make())
