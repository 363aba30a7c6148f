"""Retention in a single module, light enough for a run with nothing new."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scripts.core import artifacts
from scripts.core.artifacts import Kind
from scripts.core.config import Config
from scripts.core.failed_logins import FailedLogin, Failures, Way
from scripts.pipeline import retention
from scripts.records import database, failed_logins, runs, tables

ROOT = Path(__file__).parents[2]


def test_files_of_old_runs_go_and_those_of_the_model_in_production_stay(
    deployed: Config, changed: Callable[..., Config]
) -> None:
    (model_path,) = artifacts.list_dated(deployed.output_model_path, Kind.MODEL)
    stamp = artifacts.stamp_of(model_path)
    for year in (2090, 2091, 2092):
        Kind.MODEL.path(model_path.parent, f"{year}0101T000000000000Z").write_text("later")
    config = changed(retention={"runs": 1})

    with database.open_records(config.database_url) as engine:
        retention.remove_old_files(engine, config, stamp)

    kept = sorted(path.name for path in model_path.parent.glob(Kind.MODEL.format("*")))
    assert kept == [model_path.name, "model_20920101T000000000000Z.json"]


def test_records_are_forgotten_by_every_twentieth_run(
    config: Config, changed: Callable[..., Config]
) -> None:
    few = changed(retention={"history": 1})
    with database.open_records(config.database_url) as engine:
        with database.writing(engine) as connection:
            for _ in range(3):
                runs.start_run(connection, datetime.now(UTC), tables.Status.SKIPPED)
        counts = []
        for run_id in (19, 20):
            retention.forget_old_records(engine, few, run_id)
            with database.reading(engine) as connection:
                counts.append(len(runs.latest_runs(connection, 9)))

    assert counts == [3, 1]


def test_failed_logins_are_forgotten_by_runs_too(config: Config) -> None:
    now = datetime.now(UTC)
    old = FailedLogin(now - failed_logins.KEPT - timedelta(hours=1), "192.0.2.1", Way.FORM)
    one = Failures(now, now, 1, 0)
    counts = []
    with database.open_records(config.database_url) as engine:
        with database.writing(engine) as connection:
            failed_logins.record(connection, {old: one}, old.minute)
        for run_id in (19, 20):
            retention.forget_old_records(engine, config, run_id)
            with database.reading(engine) as connection:
                counts.append(failed_logins.find(connection, old))

    assert counts == [one, None]


def test_retention_brings_neither_numpy_nor_pandas() -> None:
    code = (
        "import sys; from scripts.pipeline import retention;"
        " sys.exit(bool({'numpy', 'pandas'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert done.returncode == 0
