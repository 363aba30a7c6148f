"""Measures how long ingestion and training take on today's input, and keeps nothing of it."""

import functools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts import candidates, dataset, engines, inbox, ingestion, pandas_engine
from scripts.config import Config
from scripts.errors import DatasetError, InsufficientDataError

N_EXECUTIONS = 3
LONG_S = 5.0

log = logging.getLogger(__name__)


def median_duration_s(work: Callable[[], object]) -> float:
    """Measure the median wall time of several executions in seconds; of one if it is long."""
    durations: list[float] = []
    while len(durations) < N_EXECUTIONS and sum(durations) < LONG_S:
        started = time.perf_counter()
        work()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def time_training(train: Callable[[], object]) -> float | None:
    """Measure training; None where the data are not enough for it."""
    try:
        return median_duration_s(train)
    except InsufficientDataError as error:
        log.warning("Training could not be timed: %s", error)
        return None


def measure_table(config: Config, paths: Sequence[Path]) -> list[float | None]:
    """Measure the computing functions of both steps on a table in memory; nothing is written."""
    read = functools.partial(
        pandas_engine.read_input, paths, config.schema, config.ingestion, ingestion.clean_more
    )
    table, _, _ = read()
    ingestion_s = median_duration_s(read)
    return [time_training(lambda: candidates.fit_candidate(table, "", config)), ingestion_s]


def measure_file(config: Config, paths: Sequence[Path]) -> list[float | None]:
    """Measure both steps as they go about large input, with a dataset in a file that goes again."""
    folder = config.output_folder_path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as name:
        path = Path(name) / "dataset.csv"

        def ingest() -> None:
            taken = pandas_engine.take_in(paths, config.schema, config, ingestion.clean_more)
            with path.open("wb") as handle:
                handle.writelines(taken.parts)

        ingestion_s = median_duration_s(ingest)
        return [time_training(lambda: pandas_engine.read_and_fit(path, config, None)), ingestion_s]


def measure_steps(config: Config) -> list[float | None]:
    """Measure ingestion and training on today's input; nothing of it stays.

    Parameters
    ----------
    config : Config
        The installation, with the schema that its input is to be read by.

    Returns
    -------
    list of float or None
        Seconds of training, then of ingestion; None for what the input is not enough for.
    """
    if engines.is_cluster(config):
        # What this machine would take says nothing, and a cluster is not taken up for it.
        log.info("On a cluster the steps are timed by the runs only.")
        return [None, None]
    try:
        paths = inbox.list_tables(config.input_folder_path)
        is_large = inbox.total_bytes(paths) >= dataset.MANY_BYTES
        return (measure_file if is_large else measure_table)(config, paths)
    except DatasetError as error:
        log.warning("Nothing could be timed: %s", error)
        return [None, None]
