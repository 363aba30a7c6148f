"""Fixtures of an installation before the first run, and of a deployed installation."""

import gc
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace

import msgspec
import pytest
import sqlalchemy as sa

from scripts import deployment, diagnostics, ingestion, scoring, training
from scripts.core import config_file
from scripts.core.config import Config
from scripts.pipeline import steps
from scripts.records import migrations
from tests.support import new_records
from tests.support.played import played  # noqa: F401 - a fixture
from tests.support.service import client, guarded, plain_environment, prod  # noqa: F401 - fixtures

HEADER = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited"

# Twenty-six clients by hand: the quieter the last month, the likelier the exit.
SMALL_ROWS = [
    f"c{number:02d},{month},{year},{employees},{exited}"
    for number, (month, year, employees, exited) in enumerate(
        [
            (2, 300, 10, 1), (4, 250, 12, 1), (6, 900, 14, 1), (9, 120, 16, 1), (11, 640, 18, 1),
            (13, 310, 20, 0), (16, 700, 22, 1), (18, 420, 24, 1), (21, 510, 26, 1),
            (24, 380, 28, 0), (30, 290, 30, 1), (36, 810, 32, 0), (41, 560, 34, 1),
            (47, 470, 36, 0), (52, 330, 38, 0), (58, 750, 40, 1), (63, 600, 42, 0),
            (70, 280, 44, 0), (78, 690, 46, 0), (85, 440, 48, 0),
            (93, 530, 50, 1), (102, 360, 52, 0), (115, 820, 54, 0), (130, 410, 56, 0),
            (150, 580, 58, 0), (180, 650, 60, 0),
        ]
    )
]  # fmt: skip
TEST_ROWS = [
    "t1,3,200,10,1",
    "t2,8,300,20,1",
    "t3,110,400,30,1",
    "t4,120,500,40,0",
    "t5,170,600,50,0",
]


# The number of new objects before a garbage collection.
GC_THRESHOLD = 50_000
# They take minutes in all, mostly of waiting, in which the other workers do the other tests.
LONGEST = (
    "test_spark.py", "test_cron_daemon.py", "test_watchdog.py", "test_browser.py",
    "test_row_counts.py", "test_half_year.py", "test_deployment.py", "test_privacy.py",
)  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use a worker more than there are cores: a third of the time of the tests is waiting."""
    return (os.cpu_count() or 1) + 1


# Collection makes half a million objects that stay, so there is nothing to find among them.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave the objects of the collection out of garbage collection: an eighth of the CPU time."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest test files first, so that no worker is left alone with them."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def write_csv(path: Path, rows: list[str]) -> Path:
    """Write a client table with the usual header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def make_rows(n_rows: int, seed: int, noise: float = 0.0) -> list[str]:
    """Return clients with departures of quiet clients, and random labels for a share of noise."""
    random = Random(seed)
    rows = []
    for number in range(n_rows):
        month, year, employees = random.randrange(200), random.randrange(2000), random.randrange(90)
        exited = int(month < 70) if random.random() >= noise else random.randrange(2)
        rows.append(f"s{seed}n{number},{month},{year},{employees},{exited}")
    return rows


@pytest.fixture(autouse=True)
def closed_package_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close the package index to pip, since requests to the index are slow."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")


@pytest.fixture(autouse=True)
def without_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the width of the terminal, which pytest's workers have in their environment."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not start pip, which takes more CPU time than the rest of a run on few rows."""
    monkeypatch.setattr(diagnostics, "outdated_packages", lambda *_args: "not asked")


@pytest.fixture(scope="session", autouse=True)
def quick_tables() -> Iterator[None]:
    """Make the tables of new records without Alembic, after the first ones of a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "upgrade", new_records.upgrade)
        yield


@pytest.fixture
def with_charts() -> None:
    """Let the full processes of a test draw charts and a report, which the others leave out."""


@pytest.fixture(autouse=True)
def without_charts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out charts and report of full processes, three quarters of a run on few rows."""
    if "with_charts" not in request.fixturenames:
        left_out = SimpleNamespace(main=lambda config, **_options: config.output_model_path)
        monkeypatch.setattr(steps, "reporting", left_out)


def write_installation(folder: Path) -> Path:
    """Write input and test folders with a small table, and a configuration with the five keys."""
    write_csv(folder / "input" / "a.csv", SMALL_ROWS[:14])
    write_csv(folder / "input" / "b.csv", SMALL_ROWS[12:])
    write_csv(folder / "test" / "test.csv", TEST_ROWS)
    settings = {
        "input_folder_path": "input",
        "output_folder_path": "output",
        "test_data_path": "test",
        "output_model_path": "models",
        "prod_deployment_path": "prod",
        "ingestion": {"settle_s": 0},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    return path


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """Return a configuration file with the five keys and a small table as input and test data."""
    return write_installation(tmp_path)


@pytest.fixture
def config(config_path: Path) -> Config:
    """Return the config of an installation before the first run."""
    return config_file.read_config(config_path)


@pytest.fixture
def deployed(config: Config) -> Config:
    """Return the config of an installation with a first release."""
    ingestion.main(config)
    training.main(config)
    scoring.main(config)
    deployment.main(config)
    return config


@pytest.fixture
def changed(config: Config) -> Callable[..., Config]:
    """A way to change settings of the installation: `changed(promotion={...})`."""

    def change(**sections: object) -> Config:
        replaced = {
            name: msgspec.structs.replace(getattr(config, name), **values)  # type: ignore[arg-type]
            for name, values in sections.items()
        }
        return msgspec.structs.replace(config, **replaced)

    return change


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """Return the URL of missing records, in a new schema of a real PostgreSQL server."""
    server = os.environ.get("ADRAS_TEST_POSTGRES_URL")
    if not server:
        pytest.skip("ADRAS_TEST_POSTGRES_URL names no PostgreSQL server; .ci/run starts one")
    schema = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(server, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    yield f"{server}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def records_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of missing records, on both databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
