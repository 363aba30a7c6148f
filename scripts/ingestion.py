"""Turns a folder of CSV files into one clean, dated table."""

import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from scripts import (
    artifacts,
    capacity,
    dataset,
    duplicates,
    durable,
    engines,
    findings,
    inbox,
    inference,
    linewise,
    progress,
    release,
    spelling,
)
from scripts.addresses import Address
from scripts.artifacts import Kind
from scripts.config import Config, IngestionSettings, Schema
from scripts.console import run_as_script
from scripts.duplicates import Dropped
from scripts.errors import DatasetError
from scripts.findings import FileReading

if TYPE_CHECKING:
    from scripts.sparkintake import SparkIntake

DEFAULTS = IngestionSettings()

Clean = Callable[[pd.DataFrame], pd.DataFrame]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingestion:
    """What an ingestion made, and from what; clients are the rows without a label."""

    dataset_path: Path
    stamp: str
    n_rows: int
    readings: tuple[FileReading, ...]
    clients: pd.DataFrame
    dropped: Dropped = field(default_factory=Dropped)


def clean_dataset(table: pd.DataFrame) -> pd.DataFrame:
    """Clean the table of all files; add your own operations here.

    Where equal rows are kept (`ingestion.drop_duplicates`), only what you add is done.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of all files in file order. It is left unchanged. On Spark it is a lazy frame of
        narwhals, whose rows have no order.

    Returns
    -------
    pandas.DataFrame of shape (n_rows_left, n_columns)
        Without duplicate rows (the first occurrence stays, the order is kept), with a fresh index.
        What is written for narwhals serves both engines; what is written for pandas, this one.

    Notes
    -----
    README, section "Ingestion".
    """
    return duplicates.drop_duplicates(table)


def is_cleaning_added() -> bool:
    """Say whether `clean_dataset` does anything else than to drop duplicates."""

    def shipped(table: pd.DataFrame) -> pd.DataFrame:
        return duplicates.drop_duplicates(table)

    # Compiled by the same Python, equal statements give equal code; the docstring is no part of it.
    own, theirs = shipped.__code__, clean_dataset.__code__
    return (own.co_code, own.co_names) != (theirs.co_code, theirs.co_names)


def find_todays_clients(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Find the clients whose outcome is not known yet; of several rows of one, the last counts.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of all files in file order.
    schema : Schema
        Its columns; without identifiers each row is a client.

    Returns
    -------
    pandas.DataFrame of shape (n_clients, n_columns)
        The last row of each client, where it has no label. A row with a label that comes later
        than one without says how it ended, so that client is not among them.
    """
    _, unlabelled = dataset.split_unlabelled(table, schema)
    if unlabelled.empty or not schema.ids:
        return unlabelled
    names = dataset.client_names(table, schema)
    # Only the rows of these clients are compared: there may be millions of others.
    mentioned = names.isin(dataset.client_names(unlabelled, schema))
    last = table[mentioned & ~names.where(mentioned).duplicated(keep="last")]
    return dataset.split_unlabelled(last, schema)[1]


def choose_cleaning(settings: IngestionSettings, schema: Schema) -> Clean:
    """Return what cleans the rows to train on: `clean_dataset`, unless equal rows are kept."""
    if duplicates.are_dropped_from_input(settings, schema) or is_cleaning_added():
        return clean_dataset
    return lambda table: table


def read_table(
    paths: Sequence[Path], schema: Schema, settings: IngestionSettings
) -> tuple[pd.DataFrame, Dropped, pd.DataFrame, list[FileReading]]:
    """Read files as `read_input` does, and count the rows that cleaning left out."""
    table, readings = dataset.read_tables(paths, schema, needs_label=False)
    labelled, _ = dataset.split_unlabelled(table, schema)
    cleaned = choose_cleaning(settings, schema)(labelled)
    # A cleaning that renames the target is told later that it may not.
    labels = dataset.target(cleaned if schema.target in cleaned else labelled, schema)
    dropped = duplicates.count_dropped(dataset.target(labelled, schema), labels)
    return cleaned, dropped, find_todays_clients(table, schema), readings


def read_input(
    paths: Sequence[Path], schema: Schema, settings: IngestionSettings = DEFAULTS
) -> tuple[pd.DataFrame, pd.DataFrame, list[FileReading]]:
    """Read files in the order given; nothing is written.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        Their columns.
    settings : IngestionSettings
        Whether equal rows are dropped.

    Returns
    -------
    tuple of pandas.DataFrame, pandas.DataFrame and list of FileReading
        The cleaned rows to train on; today's clients; one reading per file.

    Raises
    ------
    DatasetError
        If no usable row is found.
    """
    table, _, clients, readings = read_table(paths, schema, settings)
    return table, clients, readings


def build_dataset(
    paths: Sequence[Path], schema: Schema, settings: IngestionSettings = DEFAULTS
) -> tuple[pd.DataFrame, list[FileReading]]:
    """Read files in the order given and clean the rows to train on; nothing is written."""
    table, _, readings = read_input(paths, schema, settings)
    return table, readings


@dataclass(frozen=True)
class Intake:
    """What was read: the dataset as its file spells it, today's clients, what was found.

    Of which class the dropped rows are is known when the dataset has been written.
    """

    n_rows: int
    n_labelled: int
    dropped: Dropped
    parts: Iterable[bytes]
    clients: pd.DataFrame
    readings: Sequence[FileReading]

    def write(self, folder: Path, stamp: str) -> tuple[Path, int]:
        """Write the dataset; give its path and the number of its rows."""
        path = Kind.DATASET.path(folder, stamp)
        durable.write_whole(path, self.parts)
        return path, self.n_rows


def take_in(paths: Sequence[Path], schema: Schema, config: Config) -> Intake:
    """Read files in the order given and clean the rows to train on, in the way that suits them.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        Their columns.
    config : Config
        `engine.memory_limit_gb`, and where to put what does not fit.

    Returns
    -------
    Intake
        However it is done, the rows and their order are those of `read_input`.

    Raises
    ------
    DatasetError
        If no usable row is found.
    """
    n_bytes = sum(path.stat().st_size for path in paths if inbox.is_regular(path))
    bound = capacity.bound_bytes(n_bytes, config.engine)
    clean = clean_dataset if is_cleaning_added() else None
    is_table = n_bytes < dataset.MANY_BYTES or clean is not None
    if bound is not None or not is_table:
        if bound is not None:
            log.info("The input may not fit into memory, so it goes through files in parts.")
        try:
            found = linewise.gather(
                paths, schema, config.output_folder_path,
                find_clients=find_todays_clients, clean=clean, bound_bytes=bound,
                drop_equal=duplicates.are_dropped_from_input(config.ingestion, schema),
            )  # fmt: skip
            return Intake(
                found.n_rows, found.n_labelled, found.dropped, found.parts, found.clients,
                found.readings,
            )  # fmt: skip
        except linewise.FractionsError:
            log.debug("A column has fractions; the files are read into a table.")
    table, dropped, clients, readings = read_table(paths, schema, config.ingestion)
    n_labelled = len(table) + dropped.n_rows
    return Intake(len(table), n_labelled, dropped, spelling.spell_table(table), clients, readings)


def find_input(config: Config) -> list[Path]:
    """List the input files that are complete, in name order; say which are still being written."""
    place, settle_s = config.input_folder_path, config.ingestion.settle_s
    if isinstance(place, Address) and engines.is_cluster(config):
        # PySpark and Java are for who has a cluster.
        from scripts import sparkstore  # noqa: PLC0415

        settled, growing, _ = sparkstore.look_into(place, settle_s, {})
    else:
        settled, growing = inbox.settled_tables(place, settle_s)
    if growing:
        names = [path.name for path in growing]
        log.warning("Left %s for the next run: they are still being written.", names)
    return settled


def choose_schema(config: Config, paths: Sequence[Path]) -> Schema:
    """Give the schema to read files by; what config.json leaves out, production has settled."""
    if not config.schema.inferred:
        return config.schema
    current = release.load_current(config.prod_deployment_path)
    pinned = None if current is None else current.model.schema
    look = inference.infer
    if engines.is_cluster(config):
        # PySpark and Java are for who has a cluster.
        from scripts import sparkinference  # noqa: PLC0415

        look = functools.partial(sparkinference.infer, config.engine)
    return inference.complete(config.schema, pinned, paths, look)


def take_in_on_cluster(paths: Sequence[Path], schema: Schema, config: Config) -> "SparkIntake":
    """Read files and clean the rows to train on as `take_in` does, on a cluster."""
    # PySpark and Java are for who has a cluster.
    from scripts import sparkintake  # noqa: PLC0415

    return sparkintake.take_in(paths, schema, config, choose_cleaning(config.ingestion, schema))


def check_labels(n_labelled: int, readings: Sequence[FileReading]) -> None:
    """Refuse an input of which every label is wrong, though rows without one can be used.

    Raises
    ------
    DatasetError
        If no row has a label that can be right, and some have one that cannot.
    """
    if not n_labelled and any(findings.rejected_labels(found) for found in readings):
        raise DatasetError(
            "No row with a usable label was found: compare schema.positive and schema.negative"
            f" with the labels in the data. {findings.spell_complaints(readings)}"
        )


def log_counts(taken: "Intake | SparkIntake") -> None:
    """Log what became of every row that was read."""
    n_read = sum(found.n_rows for found in taken.readings)
    n_rejected = sum(len(found.rejected) for found in taken.readings if not found.refused)
    n_unlabelled = n_read - n_rejected - taken.n_labelled
    n_used = taken.n_labelled - taken.dropped.n_rows
    log.info(
        "Of %d rows %d are used, %d were rejected, %d dropped and %d have no label (%d clients).",
        n_read, n_used, n_rejected, taken.dropped.n_rows, n_unlabelled, len(taken.clients),
    )  # fmt: skip
    if taken.dropped.n_rows:
        why = "clean_dataset leaves out" if is_cleaning_added() else "equal to an earlier row"
        log.info("Dropped %s: %s.", taken.dropped.describe(), why)


def main(config: Config, *, paths: Sequence[Path] | None = None) -> Ingestion:
    """Read the input folder strictly, clean the table and write it with a list of its files."""
    if paths is None:
        paths = find_input(config)
    n_bytes = inbox.total_bytes(paths)
    with progress.shown("Looking at the columns", n_bytes):
        schema = choose_schema(config, paths)
    take = take_in_on_cluster if engines.is_cluster(config) else take_in
    with progress.shown("Reading the input", n_bytes):
        taken = take(paths, schema, config)
    readings, clients = taken.readings, taken.clients
    findings.log_mostly_rejected(readings)
    check_labels(taken.n_labelled, readings)
    findings.log_detections(readings)
    findings.log_readings(readings)

    folder = config.output_folder_path
    stamp = artifacts.next_stamp(datetime.now(UTC), [folder, config.output_model_path])
    if any(found.rejected for found in readings):
        rejected_path = Kind.REJECTED.path(folder, stamp)
        durable.write_whole(rejected_path, findings.spell_rejected(readings))
        log.info("Wrote what was not used, and why, to %s.", rejected_path)
    dataset_path, n_rows = taken.write(folder, stamp)
    durable.write_whole(Kind.SCHEMA.path(folder, stamp), dataset.spell_schema(schema))
    used = [str(found.path) for found in readings if not found.refused]
    durable.write_whole(Kind.INGESTED.path(folder, stamp), "".join(f"{name}\n" for name in used))
    log.info("Wrote %d rows from %d files to %s.", n_rows, len(used), dataset_path)
    log_counts(taken)
    if len(clients):
        log.info("Found %d clients without a label: today's clients.", len(clients))
    return Ingestion(dataset_path, stamp, n_rows, tuple(readings), clients, taken.dropped)


if __name__ == "__main__":
    run_as_script(main, exclusive=True)
