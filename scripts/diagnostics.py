"""How the data, the model and the environment of an installation are doing."""

import logging
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import pandas as pd
from msgspec import Struct

from scripts import (
    artifacts,
    database,
    dataset,
    durable,
    evaluation,
    livedrift,
    model,
    monitoring,
    timing,
)
from scripts.config import Config
from scripts.console import run_as_script
from scripts.errors import DatasetError, NotMadeYetError, RecordsError
from scripts.monitoring import Findings
from scripts.release import Release
from scripts.run_context import RunContext

PIP_TIMEOUT_S = 30
PACKAGES_VALID = timedelta(days=1)
RETRIED_AFTER = timedelta(hours=1)
UNREACHED = re.compile(r"Could not fetch URL (?!.*\b404\b)|is not a trusted or secure host")
FETCHED = re.compile(r"Fetched page ")

Found = TypeVar("Found")

log = logging.getLogger(__name__)


class OutdatedPackage(Struct, frozen=True):
    """One line of what pip says."""

    name: str
    version: str
    latest_version: str


class PackagesFound(Struct, frozen=True):
    """What earlier diagnostics say of packages; the rest of the file is not read."""

    outdated_dependencies: str
    packages_at: str


@dataclass(frozen=True)
class Measured:
    """What a run has measured by the time of its diagnostics, which need not do it again."""

    durations_s: Mapping[str, float]
    found: Findings | None = None

    @property
    def execution_time(self) -> list[float | None] | None:
        """Give the seconds of training, then of ingestion; None where the run did not do both."""
        known = [self.durations_s.get(step) for step in ("training", "ingestion")]
        return None if None in known else known


def spell_outdated(packages: list[OutdatedPackage]) -> str:
    """Spell outdated packages as a text table."""
    rows = [("package", "installed", "newest")]
    rows += [(p.name, p.version, p.latest_version) for p in packages]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines) if packages else "every package is the newest"


def outdated_packages(extra_arguments: tuple[str, ...] = ()) -> str:
    """Ask pip which packages are outdated.

    Parameters
    ----------
    extra_arguments : tuple of str
        Further arguments for pip.

    Returns
    -------
    str
        A table with one line per package, or "not available" and why. pip itself answers an
        empty list with exit code 0 when it reaches no index, so its log must show that it did.
    """
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "pip.log"
        command = [sys.executable, "-m", "pip", "--log", str(log_path), "list", "--outdated"]
        command += ["--format", "json", "--retries", "0", "--timeout", "5", *extra_arguments]
        try:
            done = subprocess.run(command, capture_output=True, timeout=PIP_TIMEOUT_S, check=True)
        except subprocess.TimeoutExpired:
            return f"not available: pip did not answer within {PIP_TIMEOUT_S} s"
        except subprocess.CalledProcessError as error:
            return f"not available: pip ended with exit code {error.returncode}"
        except OSError as error:
            return f"not available: pip could not be started ({error.strerror})"
        said = log_path.read_text(errors="replace") if log_path.exists() else ""
    if UNREACHED.search(said) or not FETCHED.search(said):
        return "not available: the package index could not be reached"
    try:
        return spell_outdated(msgspec.json.decode(done.stdout, type=list[OutdatedPackage]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "not available: the answer of pip cannot be read"


def ask_packages(now: datetime) -> tuple[str, str]:
    """Ask which packages are outdated, and say that this takes its time."""
    log.info(
        "Asking the package index which packages are outdated, up to %g s; the diagnostics go on"
        " meanwhile.", PIP_TIMEOUT_S,
    )  # fmt: skip
    return outdated_packages(), now.isoformat()


def in_background(work: Callable[[], Found]) -> "Future[Found]":
    """Do something in a thread of its own, which a program that ends does not wait for."""
    answer: Future[Found] = Future()

    def call() -> None:
        try:
            answer.set_result(work())
        except Exception as error:
            # Nothing is lost: it is raised where the result is asked for.
            answer.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return answer


def recent_packages(path: Path, now: datetime) -> tuple[str, str]:
    """Say which packages are outdated, and since when that is known; asked once a day.

    Where there was no answer, pip is asked again after an hour. It looks every package
    up at the index, which takes many seconds of CPU time.
    """
    try:
        before = msgspec.json.decode(path.read_bytes(), type=PackagesFound)
        age = now - datetime.fromisoformat(before.packages_at)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return ask_packages(now)
    failed = before.outdated_dependencies.startswith("not available")
    if timedelta(0) <= age < (RETRIED_AFTER if failed else PACKAGES_VALID):
        return before.outdated_dependencies, before.packages_at
    return ask_packages(now)


def describe_predictions(current: Release, table: pd.DataFrame) -> dict[str, Any]:
    """Count the rows of a table, those expected to leave, and categories nobody has learnt from."""
    predicted, _ = evaluation.predict_table(current.model, table)
    columns = dataset.feature_arrays(table, current.model.schema)
    return {
        "n_rows": len(table),
        "n_predicted_exits": int(predicted.sum()),
        "n_unknown_categories": model.count_unknown(current.model, columns),
    }


def describe_change(context: RunContext, found: Findings | None) -> dict[str, Any]:
    """Compare today's dataset and test data with those of the deployment, if there are any."""
    try:
        newest = monitoring.find(context) if found is None else monitoring.follow_up(found, context)
        return monitoring.as_members(newest)
    except (NotMadeYetError, DatasetError) as error:
        log.warning("Nothing could be compared with the deployment: %s", error)
        return {"drift": None, "production_score": None}


def describe_live(context: RunContext) -> dict[str, Any] | None:
    """Compare logged live rows with the dataset of production; None if there are none to ask."""
    config = context.config
    if config.api.log_predictions is None:
        return None
    try:
        with database.open_records(config.database_url, may_change=False) as engine:
            return livedrift.as_members(livedrift.find(engine, context))
    except (NotMadeYetError, RecordsError) as error:
        log.warning("Live rows could not be compared: %s", error)
        return None


def describe_dropped(config: Config, current: Release) -> dict[str, Any] | None:
    """Return how many rows were dropped from production's dataset, and of which class."""
    try:
        with (
            database.open_records(config.database_url, may_change=False) as engine,
            database.reading(engine) as connection,
        ):
            trained = database.find_model(connection, current.manifest.model_stamp)
    except NotMadeYetError:
        # Deployed by hand: no run has recorded anything.
        return None
    except RecordsError as error:
        log.warning("The rows dropped from the dataset are not known: %s", error)
        return None
    settings = (trained or {}).get("settings") or {}
    if "n_dropped" not in settings:
        return None
    return {"n_rows": settings["n_dropped"], "n_positives": settings["n_dropped_positives"]}


def main(
    config: Config, *, measured: Measured | None = None, context: RunContext | None = None
) -> Path:
    """Measure the data, the model, the steps and the packages, and write the findings."""
    measured, context = measured or Measured({}), context or RunContext(config)
    current = context.current_release()
    if current is None:
        raise NotMadeYetError("Nothing is in production yet; run python -m scripts.fullprocess.")
    table, _ = context.test_data.read(current.model.schema)
    fractions = current.model.dataset.missing_fractions
    # As /summarise lists them, so that both lists can be put side by side.
    summarised = [summary.column for summary in current.model.dataset.summary]
    path, now = config.prod_deployment_path / artifacts.DIAGNOSTICS, datetime.now(UTC)
    # Before pip is at work, which would slow the steps down.
    execution_time = measured.execution_time or timing.measure_steps(
        msgspec.structs.replace(config, schema=current.model.schema)
    )
    packages = in_background(lambda: recent_packages(path, now))
    findings: dict[str, Any] = {
        "missing_values": [fractions[name] for name in summarised],
        "columns": summarised,
        "missing_fractions": {name: fractions[name] for name in current.model.schema.columns},
        "dropped_rows": describe_dropped(config, current),
        "execution_time": execution_time,
        # Kept in this place, and known last.
        "outdated_dependencies": "",
        "packages_at": "",
        "predictions": describe_predictions(current, table),
        "measured_at": now.isoformat(),
        "release": current.name,
        **describe_change(context, measured.found),
        "live": describe_live(context),
    }
    findings["outdated_dependencies"], findings["packages_at"] = packages.result()
    durable.write_whole(path, msgspec.json.format(msgspec.json.encode(findings)) + b"\n")
    log.info("Wrote the diagnostics of release %s to %s.", current.name, path)
    return path


def show_diagnostics(config: Config) -> None:
    """Measure the data, the model, the steps and the packages; print and write the findings."""
    click.echo(main(config).read_text(), nl=False)


if __name__ == "__main__":
    run_as_script(show_diagnostics, exclusive=True)
