"""Runs an installation on a cluster once for all tests and pytest processes."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from scripts.core import artifacts, config_file, files, keys
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.model import logistic_model
from scripts.model.logistic_model import Model
from tests.support import sparkdated
from tests.support.service import ROOT
from tests.support.sparkcluster import JAVA_OPTIONS, LOOPBACK, Cluster, running_cluster
from tests.support.webhdfs import Store, serving_store

NAMES = ("corporation", "lastmonth_activity", "lastyear_activity", "number_of_employees", "plan")
HEADER = ",".join((*NAMES, "exited"))
PLANS = ["basic"] * 50 + ["gold"] * 30 + ["trial"] * 19 + [""]
RARE = ["legacy", "partner"]
LAKE = "viewfs://adras/lake/"
STORED = {"input_folder": "input", "test_data": "test/test.csv"}
SCHEMA = {
    "target": "exited", "positive": 1, "ids": ["corporation"], "numeric": list(NAMES[1:4]),
    "categorical": ["plan"], "minimum": {"number_of_employees": 0},
}  # fmt: skip
HOSTILE = [
    'q1,12,900,4,"ba\nsic",1',  # a line end within quotes
    '"q,2",8,800,7,gold,0',
    "w1,many,800,7,gold,0",
    "w2,8,800,-7,gold,0",
    "w3,8,800,7,gold,2",
    "w4,8,800,7",
    "u1,8,800,7,gold,",
    "u2,9,900,7,basic,",
    "u2,9,900,8,basic,1",  # what became of u2 is known
]
# Installations with dates: with the latest rows as the test, with days in names of files and a
# folder of test data, and with the day of leaving in the rows.
IN_FOLDER, BY_NAME, LEAVING = "dated", "dated-by-name", "dated-leaving"
DATED: dict[str, dict[str, Any]] = {
    IN_FOLDER: {}, BY_NAME: {"schema": sparkdated.SCHEMA | {"date": "file_name"}},
    LEAVING: {
        "schema": sparkdated.SCHEMA | {"leaving": "churned.on"}, "outcomes": {"horizon_days": 30},
    },
}  # fmt: skip
# An installation with dates whose model was made on one machine, and a copy of it.
IMMATURE, IMMATURE_HERE = "immature", "immature-here"
STORED_DATED = {"input_folder": "in", "test_data": "test"}
# What an administrator writes for a small machine. Code that Spark writes for a query pays after
# many more rows.
DEFAULTS = f"""
spark.driver.memory 512m
spark.executor.memory 512m
spark.sql.shuffle.partitions 4
spark.sql.files.maxPartitionBytes 40k
spark.sql.codegen.wholeStage false
spark.sql.codegen.factoryMode NO_CODEGEN
spark.driver.extraJavaOptions {JAVA_OPTIONS}
spark.executor.extraJavaOptions {JAVA_OPTIONS}
"""


def make_lines(n_rows: int, seed: int, prefix: str) -> list[str]:
    """Return clients with missing values and rare plans, where quiet clients and trials leave."""
    random, lines = Random(seed), []
    for number in range(n_rows):
        month, year = random.randrange(200), random.randrange(2000)
        plan = random.choice(RARE) if random.random() < 0.006 else random.choice(PLANS)
        risk = 2.0 - month / 40 + (plan == "trial") + random.gauss(0, 1.5)
        shown = "" if random.random() < 0.05 else str(month)
        size = random.randrange(1, 90)
        lines.append(f"{prefix}{number},{shown},{year},{size},{plan},{int(risk > 0)}")
    return lines


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a file of clients."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *lines]) + "\n")


def write_odd_files(folder: Path) -> None:
    """Write files with useless columns: unique, missing, constant, rare, or in a single file."""
    folder.mkdir(parents=True)
    rows = [
        f"k{n};{n};{n / 7:.3f};;same;{'xy'[n % 2]};{n % 5};{'gone' if n % 3 else 'stays'}"
        for n in range(1600)
    ]
    (folder / "a.csv").write_text(
        "\n".join(["key;serial;measure;void;one;letter;few;left", *rows, *rows[:50]]) + "\n"
    )
    more = [f'm{n},{n + 9000},0.5{n},,same,"x",{"-" if n % 9 else n},gone,1' for n in range(150)]
    more += ["m1,1,2"]
    (folder / "b.csv").write_text(
        "\n".join(["key,serial,measure,void,one,letter,few,left,extra", *more])
    )
    (folder / "c.csv").write_bytes(b"key,left\nc1,\xff\n")


def write_installation(folder: Path, engine: dict[str, Any]) -> Path:
    """Write an installation with duplicates, hostile rows and a refused file in the input."""
    first = make_lines(2500, 1, "a")
    write_lines(folder / "input" / "a.csv", [*first, *HOSTILE])
    write_lines(
        folder / "input" / "b.csv", [*make_lines(1500, 2, "b"), "w5,8,800,7,gold,7", *first[:700]]
    )
    write_lines(folder / "input" / "c.csv", make_lines(800, 3, "c"))
    (folder / "input" / "d.csv").write_text("nobody,knows\n1,2\n")
    write_lines(folder / "test" / "test.csv", make_lines(600, 4, "t"))
    write_odd_files(folder / "odd")
    for name, more in DATED.items():
        sparkdated.write_files(folder / name, by_name=name == BY_NAME)
        sparkdated.write_installation(folder / name, engine, **more)
    settings = {
        "input_folder_path": "input", "output_folder_path": "output", "test_data_path": "test",
        "output_model_path": "models", "prod_deployment_path": "prod", "schema": SCHEMA,
        "ingestion": {"settle_s": 0}, "run": {"timeout_minutes": 30}, "engine": engine,
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    return path


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a driver, with folder and memory."""
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    # A file system of Hadoop's that is not the plain one, known to Spark's own settings alone, as
    # an object store is.
    lake = f"spark.hadoop.fs.viewfs.mounttable.adras.link./lake file://{folder.parent}/lake\n"
    (conf / "spark-defaults.conf").write_text(DEFAULTS + lake)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return kept | {
        "SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": LOOPBACK, "PIP_CONFIG_FILE": os.devnull,
        "SPARK_LAUNCHER_OPTS": JAVA_OPTIONS,
        # As for all tests: pip finds its index closed.
        "PIP_INDEX_URL": f"http://{LOOPBACK}:1/simple",
    }  # fmt: skip


def run_module(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the project to the end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip


def probe(folder: Path, what: str, config_path: Path) -> Any:
    """Ask `tests.support.sparkprobe` for something."""
    ran = run_module(folder, "tests.support.sparkprobe", what, str(config_path))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def change_engine(folder: Path, name: str = "config.json", **settings: str) -> Path:
    """Change the engine settings in the configuration of an installation."""
    whole = json.loads((folder / "config.json").read_text())
    path = folder / name
    path.write_text(json.dumps(whole | {"engine": whole["engine"] | settings}))
    return path


def run_and_kill(folder: Path, config_path: Path, cluster: Cluster) -> str:
    """Run the whole process, and kill a worker as soon as the dataset is written."""
    command = [sys.executable, "-m", "scripts.fullprocess", "--config", str(config_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(folder), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "ingestion: Wrote" in line and ".parts" in line:
                cluster.kill(cluster.processes[1])
                assert process.poll() is None
        assert process.wait() == 0, "".join(said)
    return "".join(said)


def add_drifted(folder: Path) -> None:
    """Add a file of busy clients, mostly on trial, and of outcomes of today's clients."""
    drifted = [
        line.replace(",basic,", ",trial,") for line in make_lines(900, 5, "d") if "90" not in line
    ]
    news = ["u1,8,800,7,gold,1", "u3,5,500,5,trial,", "u4,,500,5,basic,"]
    write_lines(folder / "input" / "e.csv", [*drifted, *news])


def add_odd_names(folder: Path) -> None:
    """Add a file without a table, and a table with a byte order mark and no last line end."""
    (folder / "input" / "empty.csv").write_text("")
    (folder / "input" / "folder.csv").mkdir()
    (folder / "input" / "_hidden.txt").write_text("no table")
    lines = "\n".join([HEADER, *make_lines(40, 6, "o"), "w6,8,800,7,gold"])
    (folder / "input" / "é%20 [1].csv").write_text(lines, "utf-8-sig")


def move_into_store(folder: Path, store: Store) -> Path:
    """Move input and test data of the configuration into a store."""
    whole = json.loads((folder / "config.json").read_text())
    places = {f"{name}_path": f"{store.address}/{end}" for name, end in STORED.items()}
    path = folder / "stored.json"
    path.write_text(json.dumps(whole | places))
    return path


def write_serving(folder: Path) -> None:
    """Let a model of the pandas engine serve in an installation with dates, and in a copy."""
    config = sparkdated.add_month(folder / IMMATURE, 4)
    ran = run_module(
        folder, "scripts.fullprocess", "--config", str(folder / IMMATURE / "config.json")
    )
    assert ran.returncode == 0, ran.stderr
    assert artifacts.current_name(config.prod_deployment_path) is not None
    shutil.copytree(folder / IMMATURE, folder / IMMATURE_HERE, symlinks=True)


def store_dated_files(folder: Path, store: Store) -> None:
    """Move input, test data and outcomes of one of the dated installations into a store."""
    path = folder / BY_NAME / "config.json"
    whole, place = json.loads(path.read_text()), f"{store.address}/{BY_NAME}"
    (folder / BY_NAME / "test").mkdir()
    extract = next((folder / BY_NAME / "in").glob("b *"))
    extract.rename(folder / BY_NAME / "test" / extract.name)
    stored = {f"{key}_path": f"{place}/{end}" for key, end in STORED_DATED.items()}
    whole["outcomes"] |= {"input_folder_path": f"{place}/outcomes"}
    whole["engine"] |= {"dataset_format": "csv"}
    path.write_text(json.dumps(whole | stored))


def run_on_store(folder: Path, store: Store) -> dict[str, Any]:
    """Run twice on a store: on new data, and after files were touched and renamed.

    The first of these runs is in the process of the probe, so that both have one session.
    """
    path = move_into_store(folder, store)
    store_dated_files(folder, store)
    probed = probe(folder, "cleaning", path)
    store.asked.clear()
    os.utime(folder / "input" / "b.csv")
    (folder / "input" / "e.csv").rename(folder / "input" / "f.csv")
    third = run_module(folder, "scripts.fullprocess", "--config", str(path))
    assert third.returncode == 0, third.stderr
    asked = sorted(operation for operation, _ in store.asked)
    return {"said": probed.pop("said"), "tick": third.stderr, "asked": asked, "probed": probed}


@dataclass(frozen=True)
class Done:
    """Installation after two runs on a cluster, with results of the probes."""

    config: Config
    first: Model
    first_path: Path
    dataset_path: Path
    second_path: Path
    n_alive: int
    said_first: str
    said: str
    tick: str
    asked: list[str]
    probed: dict[str, Any]

    @property
    def input_paths(self) -> list[Path]:
        """The files of the first run."""
        return files.list_tables(self.config.input_folder_path)[:4]


def run_everything(folder: Path) -> None:
    """Run the installation of the tests on a new cluster."""
    with running_cluster(folder / "cluster") as cluster:
        path = write_installation(folder, {"name": "spark", "master": cluster.master})
        found: dict[str, Any] = {"said_first": run_and_kill(folder, path, cluster)}
        found["n_alive"] = cluster.n_alive()
        add_drifted(folder)
        add_odd_names(folder)
        write_serving(folder)
        (folder.parent / "lake").mkdir()
        change_engine(folder, dataset_format="csv", dataset_address=LAKE)
        with serving_store(folder) as store:
            found |= run_on_store(folder, store)
    (folder / "done.json").write_text(json.dumps(found))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_once(factory: pytest.TempPathFactory) -> Done:
    """Run the installation, or load the results of a concurrent pytest process."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "spark [1]"  # Spark would take brackets for a pattern
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock"):
        if not (folder / "done.json").exists():
            assert not (folder / "config.json").exists(), "these runs have failed before"
            run_everything(folder)
    config = config_file.read_config(folder / "config.json")
    found = json.loads((folder / "done.json").read_text())
    first_path, _ = artifacts.list_dated(config.output_model_path, Kind.MODEL)
    first, second = artifacts.list_dated(config.output_folder_path, Kind.PARTS)
    # As a run opens the release in production, to tell its rows from new ones.
    key = keys.find_key(config.prod_deployment_path)
    opened = logistic_model.unseal(logistic_model.load_model(first_path), key)
    return Done(config, opened, first_path, first, second, **found)
