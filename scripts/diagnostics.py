"""Diagnostics: missing values, drift, durations of steps and outdated packages."""

import contextlib
import functools
import logging
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import pandas as pd
from msgspec import Struct

from scripts import ingestion
from scripts.core import artifacts, capacity, files
from scripts.core.config import Config
from scripts.core.console import run_as_script
from scripts.core.errors import DatasetError, InsufficientDataError, NotMadeYetError, RecordsError
from scripts.data import (
    dataset,
    table_reader,
)
from scripts.engine import pandas_engine, pandas_models
from scripts.model import candidate, logistic_model, metrics
from scripts.production import live_drift, monitor
from scripts.production.monitor import MonitoringResult
from scripts.production.release import Release
from scripts.production.run_context import RunContext
from scripts.records import database, runs

PIP_TIMEOUT_S = 30
# The first process that the kernel of Linux ends when memory runs out.
KILLED_FIRST = "1000"
# The time between two messages about the wait for pip.
WAIT_S, LONGEST_WAIT_S = 2.0, 8.0
PACKAGES_VALID = timedelta(days=1)
RETRIED_AFTER = timedelta(hours=1)
UNREACHED = re.compile(r"Could not fetch URL (?!.*\b404\b)|is not a trusted or secure host")
FETCHED = re.compile(r"Fetched page ")

N_EXECUTIONS = 3
LONG_S = 5.0

Result = TypeVar("Result")
# A table of outdated packages, and the time of the check in ISO 8601.
Packages = tuple[str, str]

log = logging.getLogger(__name__)


class OutdatedPackage(Struct, frozen=True):
    """An outdated package in the output of pip."""

    name: str
    version: str
    latest_version: str


class EarlierPackages(Struct, frozen=True):
    """The outdated packages in the file of earlier diagnostics, without the rest of the file."""

    outdated_dependencies: str
    packages_at: str


class RunMeasurements(Struct, frozen=True):
    """The measurements of earlier steps of a run: durations and monitoring."""

    durations_s: Mapping[str, float]
    monitored: MonitoringResult | None = None

    @property
    def execution_time(self) -> list[float | None] | None:
        """Return the seconds of training, then of ingestion, or None if a step is missing."""
        known = [self.durations_s.get(step) for step in ("training", "ingestion")]
        return None if None in known else known


def format_outdated(packages: list[OutdatedPackage]) -> str:
    """Format outdated packages as a text table."""
    rows = [("package", "installed", "newest")]
    rows += [(p.name, p.version, p.latest_version) for p in packages]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines) if packages else "every package is the newest"


def run_expendable(command: list[str], timeout_s: float) -> bytes:
    """Run a command as the first process to end when memory runs out, and return its output.

    pip may need more memory than the steps of a run. Under a limit of memory the kernel would end
    the run, which has the largest process.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
        # Only Linux has the file. A process that has ended has none.
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_text(KILLED_FIRST)
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)
    return output


def describe_exit(code: int) -> str:
    """Describe the exit code of a process, which is negative after a signal."""
    if code == -signal.SIGKILL:
        return "signal 9, probably for want of memory"
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def outdated_packages(extra_arguments: tuple[str, ...] = ()) -> str:
    """Return the outdated packages as a table, found with pip.

    Parameters
    ----------
    extra_arguments : tuple of str
        Further arguments for pip.

    Returns
    -------
    str
        A table with one line per package, or "not available" and the reason. Without access to an
        index, pip returns an empty list with exit code 0, so its log must show the access.
    """
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "pip.log"
        command = [sys.executable, "-m", "pip", "--log", str(log_path), "list", "--outdated"]
        command += ["--format", "json", "--retries", "0", "--timeout", "5", *extra_arguments]
        try:
            answer = run_expendable(command, PIP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"not available: pip did not answer within {PIP_TIMEOUT_S} s"
        except subprocess.CalledProcessError as error:
            return f"not available: pip ended with {describe_exit(error.returncode)}"
        except OSError as error:
            return f"not available: pip could not be started ({error.strerror})"
        pip_log = log_path.read_text(errors="replace") if log_path.exists() else ""
    if UNREACHED.search(pip_log) or not FETCHED.search(pip_log):
        return "not available: the package index could not be reached"
    try:
        return format_outdated(msgspec.json.decode(answer, type=list[OutdatedPackage]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "not available: the answer of pip cannot be read"


def ask_packages(now: datetime) -> Packages:
    """Return the outdated packages and the time of the check, after a message about the wait."""
    log.info(
        "Asking the package index which packages are outdated, up to %g s; the rest goes on"
        " meanwhile.", PIP_TIMEOUT_S,
    )  # fmt: skip
    return outdated_packages(), now.isoformat()


def in_background(function: Callable[[], Result]) -> "Future[Result]":
    """Call a function in a daemon thread and return the future result."""
    future: Future[Result] = Future()

    def call() -> None:
        """Call the function, and keep the result or the error for the future."""
        try:
            future.set_result(function())
        except Exception as error:
            # The error is raised at `future.result()`.
            future.set_exception(error)

    # A program that ends does not wait for a daemon thread.
    threading.Thread(target=call, daemon=True).start()
    return future


def recent_packages(path: Path, now: datetime) -> Packages:
    """Return the outdated packages and the time of the check, at most a day old.

    A failed check is repeated after an hour. pip looks up every package at the index, which takes
    many seconds of CPU time.
    """
    try:
        before = msgspec.json.decode(path.read_bytes(), type=EarlierPackages)
        age = now - datetime.fromisoformat(before.packages_at)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return ask_packages(now)
    failed = before.outdated_dependencies.startswith("not available")
    if timedelta(0) <= age < (RETRIED_AFTER if failed else PACKAGES_VALID):
        return before.outdated_dependencies, before.packages_at
    return ask_packages(now)


def start_asking(config: Config) -> "Future[Packages]":
    """Begin to find the outdated packages in the background."""
    path, now = config.prod_deployment_path / artifacts.DIAGNOSTICS, datetime.now(UTC)
    return in_background(lambda: recent_packages(path, now))


def wait_for_packages(asked: "Future[Packages]") -> Packages:
    """Wait for the outdated packages, with a message after 2 s, and ever rarer ones then.

    Parameters
    ----------
    asked : Future
        The result of `start_asking`.

    Returns
    -------
    tuple of str
        The outdated packages as a table, and the time of the check.
    """
    started_s, wait_s = time.monotonic(), WAIT_S
    while wait({asked}, wait_s).not_done:
        log.info(
            "Waiting for the package index, %.0f s of at most %g s.",
            time.monotonic() - started_s, PIP_TIMEOUT_S,
        )  # fmt: skip
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    return asked.result()


def describe_predictions(current: Release, table: pd.DataFrame) -> dict[str, Any]:
    """Count the rows of a table, the predicted exits, and the categories unknown to the model."""
    predicted, _ = metrics.predict_table(current.model, table)
    columns = dataset.feature_arrays(table, current.model.schema)
    return {
        "n_rows": len(table),
        "n_predicted_exits": int(predicted.sum()),
        "n_unknown_categories": logistic_model.count_unknown(current.model, columns),
    }


def describe_drift(context: RunContext, monitored: MonitoringResult | None) -> dict[str, Any]:
    """Return the drift of the data and of the F1 score since the deployment."""
    try:
        if monitored is None:
            return monitor.as_members(monitor.measure(context))
        return monitor.as_members(monitor.follow_up(monitored, context))
    except (NotMadeYetError, DatasetError) as error:
        log.warning("Nothing could be compared with the deployment: %s", error)
        return {"drift": None, "production_score": None}


def describe_live(context: RunContext) -> dict[str, Any] | None:
    """Return the drift of logged live rows, or None without logged rows."""
    config = context.config
    if config.api.log_predictions is None:
        return None
    try:
        with database.open_records(config.database_url, may_change=False) as engine:
            return live_drift.as_members(live_drift.measure(engine, context))
    except (NotMadeYetError, RecordsError) as error:
        log.warning("Live rows could not be compared: %s", error)
        return None


def describe_dropped(config: Config, current: Release) -> dict[str, Any] | None:
    """Return the number of rows dropped from production's dataset, by class."""
    try:
        with (
            database.open_records(config.database_url, may_change=False) as engine,
            database.reading(engine) as connection,
        ):
            trained = runs.find_model(connection, current.manifest.model_stamp)
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


def median_duration_s(work: Callable[[], object]) -> float:
    """Return the median wall time of several executions in seconds, or of a single long one."""
    durations: list[float] = []
    while len(durations) < N_EXECUTIONS and sum(durations) < LONG_S:
        started = time.perf_counter()
        work()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def time_training(train: Callable[[], object]) -> float | None:
    """Return the seconds of training, or None if the data are not enough."""
    try:
        return median_duration_s(train)
    except InsufficientDataError as error:
        log.warning("Training could not be timed: %s", error)
        return None


def measure_table(config: Config, paths: Sequence[Path]) -> list[float | None]:
    """Return the seconds of training and ingestion on a table in memory, without any file."""
    read = functools.partial(
        pandas_engine.read_input, paths, config.schema, config.ingestion, ingestion.clean_more
    )
    table, _, _ = read()
    ingestion_s = median_duration_s(read)
    return [time_training(lambda: candidate.fit_candidate(table, "", config)), ingestion_s]


def measure_file(config: Config, paths: Sequence[Path]) -> list[float | None]:
    """Return the seconds of training and ingestion of large input, with a temporary dataset."""
    folder = config.output_folder_path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as name:
        path = Path(name) / "dataset.csv"

        def ingest() -> None:
            """Ingest the files into the temporary dataset."""
            intake = pandas_engine.ingest_files(paths, config.schema, config, ingestion.clean_more)
            with path.open("wb") as handle:
                handle.writelines(intake.parts)

        ingestion_s = median_duration_s(ingest)
        return [time_training(lambda: pandas_models.read_and_fit(path, config, None)), ingestion_s]


def measure_steps(config: Config) -> list[float | None]:
    """Return the seconds of training and ingestion on today's input, without a trace on disk.

    Parameters
    ----------
    config : Config
        The installation, with the schema of the input.

    Returns
    -------
    list of float or None
        Seconds of training, then of ingestion. None if the input is not enough for a step.
    """
    if capacity.is_cluster(config):
        # The durations on this machine would be meaningless, and a cluster is too costly for it.
        log.info("On a cluster the steps are timed by the runs only.")
        return [None, None]
    if config.schema.date:
        # Their steps need the outcomes and the day of the run.
        log.info("Steps on dated rows are timed by the runs only.")
        return [None, None]
    try:
        paths = files.list_tables(config.input_folder_path)
        is_large = table_reader.are_large(paths)
        return (measure_file if is_large else measure_table)(config, paths)
    except DatasetError as error:
        log.warning("Nothing could be timed: %s", error)
        return [None, None]


def main(
    config: Config,
    *,
    measured: RunMeasurements | None = None,
    context: RunContext | None = None,
    asked: "Future[Packages] | None" = None,
) -> Path:
    """Measure the data, the model, the steps and the packages, and write the findings.

    Parameters
    ----------
    config : Config
        The installation.
    measured : RunMeasurements, optional
        The measurements of this run's steps.
    context : RunContext, optional
        The context of the run.
    asked : Future, optional
        The packages, if they are asked for already.

    Returns
    -------
    Path
        The file with the findings.

    Raises
    ------
    NotMadeYetError
        If nothing is in production.
    """
    measured, context = measured or RunMeasurements({}), context or RunContext(config)
    current = context.require_release()
    table, _ = context.test_data.read(current.model.schema)
    fractions = current.model.dataset.missing_fractions
    # In the order of /summarise, so that both lists can be compared.
    summarised = [summary.column for summary in current.model.dataset.summary]
    path, now = config.prod_deployment_path / artifacts.DIAGNOSTICS, datetime.now(UTC)
    # Before pip is at work, which would slow the steps down.
    execution_time = measured.execution_time or measure_steps(
        msgspec.structs.replace(config, schema=current.model.schema)
    )
    asked = asked or start_asking(config)
    findings: dict[str, Any] = {
        "missing_values": [fractions[name] for name in summarised],
        "columns": summarised,
        "missing_fractions": {name: fractions[name] for name in current.model.schema.columns},
        "dropped_rows": describe_dropped(config, current),
        "execution_time": execution_time,
        # A placeholder for the order of the file: the result of pip comes last.
        "outdated_dependencies": "",
        "packages_at": "",
        "predictions": describe_predictions(current, table),
        "measured_at": now.isoformat(),
        "release": current.name,
        **describe_drift(context, measured.monitored),
        "live": describe_live(context),
    }
    findings["outdated_dependencies"], findings["packages_at"] = wait_for_packages(asked)
    files.write_whole(path, msgspec.json.format(msgspec.json.encode(findings)) + b"\n")
    log.info("Wrote the diagnostics of release %s to %s.", current.name, path)
    return path


def show_diagnostics(config: Config) -> None:
    """Measure the data, the model, the steps and the packages, then print the findings."""
    click.echo(main(config).read_text(), nl=False)


if __name__ == "__main__":
    run_as_script(show_diagnostics, exclusive=True)
