"""Ingestion: turns a folder of CSV files into a clean, dated dataset."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from msgspec import Struct, field

from scripts.core import artifacts, files, progress, sentences
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.console import run_as_script
from scripts.core.errors import DatasetError
from scripts.data import (
    client_dates,
    dataset,
    deduplicate,
    read_report,
    returning_clients,
    schema_inference,
    unlikely_keys,
)
from scripts.data.deduplicate import Dropped
from scripts.data.read_report import FileReading
from scripts.engine import input_folders
from scripts.engine.choice import Intake
from scripts.engine.dated_ingest import DatedIntake, ImmatureRowsError, ReadRows
from scripts.engine.pandas_engine import CleanMore
from scripts.production.run_context import RunContext

# Your own cleaning goes here: define a function `clean_more(table)` instead of None. It takes the
# rows that have a label and returns those to train on; docs/own-data.md has an example.
clean_more: CleanMore | None = None

# Up to this share of the clients, several files with different rows are corrections.
MAX_RETURNING_FRACTION = 0.2

log = logging.getLogger(__name__)


class Ingestion(Struct, frozen=True):
    """The result of an ingestion: the dataset, file reports, today's clients, dropped rows.

    `dated` is the result of an ingestion of dated files, with the reports of test and outcomes.
    Some files have `new_columns` that others lack, and that are not used.
    """

    dataset_path: Path
    stamp: str
    n_rows: int
    readings: tuple[FileReading, ...]
    clients: pd.DataFrame
    dropped: Dropped = field(default_factory=Dropped)
    dated: DatedIntake | None = None
    new_columns: tuple[str, ...] = ()


def find_input(config: Config) -> Sequence[Path]:
    """List the complete input files in name order and log the growing files."""
    folder = input_folders.open_folder(config.input_folder_path, config)
    settled, growing = folder.settle(config.ingestion.settle_s)
    if growing:
        names = [path.name for path in growing]
        log.warning("Left %s for the next run: they are still being written.", names)
    return settled


def choose_schema(context: RunContext, paths: Sequence[Path]) -> Schema:
    """Return the schema of the files: declared if complete, or production's, or inferred."""
    declared = context.config.schema.without_words()
    if not declared.inferred:
        return declared
    current = context.current_release()
    pinned = None if current is None else current.model.schema
    return schema_inference.complete(declared, pinned, paths, context.engine.infer_schema)


def check_labels(n_labelled: int, readings: Sequence[FileReading]) -> None:
    """Refuse an input without a valid label, even if there are unlabelled rows.

    Raises
    ------
    DatasetError
        If no row has a valid label, and some rows have a wrong label.
    """
    if not n_labelled and any(read_report.rejected_labels(reading) for reading in readings):
        raise DatasetError(
            "No row with a usable label was found: compare schema.positive and schema.negative"
            f" with the labels in the data. {read_report.format_complaints(readings)}"
        )


def explain_dropped(*, drops_equal: bool) -> str:
    """Return the possible reasons for dropped rows."""
    equal = ["equal to an earlier row"] if drops_equal else []
    return ", or ".join(equal if clean_more is None else ["left out by clean_more", *equal])


def log_counts(intake: Intake, *, drops_equal: bool) -> None:
    """Log the numbers of used, rejected, dropped and unlabelled rows."""
    n_read = sum(reading.n_rows for reading in intake.readings)
    n_rejected = sum(len(reading.rejected) for reading in intake.readings if not reading.refused)
    n_unlabelled = n_read - n_rejected - intake.n_labelled
    n_used = intake.n_labelled - intake.dropped.n_rows
    log.info(
        "Of %d rows %d are used, %d were rejected, %d dropped and %d have no label (%s).",
        n_read, n_used, n_rejected, intake.dropped.n_rows, n_unlabelled,
        sentences.count(len(intake.clients), "client"),
    )  # fmt: skip
    if intake.dropped.n_rows:
        why = explain_dropped(drops_equal=drops_equal)
        log.info("Dropped %s: %s.", intake.dropped.describe(), why)


def find_new_columns(
    readings: Sequence[FileReading], schema: Schema, config: Config
) -> tuple[str, ...]:
    """Return the unused columns that only some files have, () where all columns are declared.

    A warning is logged about them.
    """
    declared = config.schema
    if not declared.inferred:
        return ()
    named = {*declared.names_for_people, *config.worklist.columns}
    known = {*schema.file_columns, schema.target, *declared.ids, *declared.ignore, *named}
    found = read_report.find_new_columns(readings, known)
    if found:
        log.warning(
            "Not used, since only some of the files have them: %s. See the check new_columns.",
            ", ".join(map(repr, found)),
        )  # fmt: skip
    return tuple(found)


def warn_of_returning(paths: Sequence[Path], schema: Schema) -> None:
    """Log a warning about clients in several files without a date for the newest row."""
    if schema.date or not schema.ids or len(paths) < 2:
        return
    n_returning, n_clients = returning_clients.count_returning(paths, schema)
    # A few rows of a client in two files are corrections.
    if n_returning > MAX_RETURNING_FRACTION * n_clients:
        log.warning(
            "%d of %d clients stand in several files with different values, so the order of the"
            " file names decides which row is today's. Declare schema.date, the column with the"
            " day of a row, or \"file_name\" if the names of the files have it.",
            n_returning, n_clients,
        )  # fmt: skip


def warn_of_lost(readings: Sequence[FileReading], schema: Schema) -> None:
    """Log a warning about rows lost by a blank identifier beside a filled identifier."""
    n_lost = sum(
        row.column in schema.ids and row.reason == "expected an identifier"
        for reading in readings
        for row in reading.rejected
    )
    if len(schema.ids) > 1 and n_lost:
        log.warning(
            "%d rows were rejected because one of the identifiers %s is blank. Declare schema.key,"
            " the one column that identifies a client, and they are used.",
            n_lost, list(schema.ids),
        )  # fmt: skip


def warn_of_unlikely_keys(clients: pd.DataFrame, schema: Schema) -> None:
    """Log warnings about today's clients who are a sum, or have a word in place of a key."""
    key = schema.client_key or next(iter(schema.ids), "")
    for told in unlikely_keys.describe(clients[key]) if key in clients else ():
        log.warning("%s", told)


def log_dated(intake: DatedIntake) -> None:
    """Log the use of dated rows, the days of training and test, and the outcome files."""
    read_report.log_readings([*intake.test_readings, *intake.outcome_readings])
    log.info("%s", intake.account.describe())
    for notice in intake.notices:
        log.info("%s", notice)
    if intake.dropped.n_rows:
        log.info("Dropped %s: left out by clean_more.", intake.dropped.describe())


def write_rejected(
    readings: Sequence[FileReading], others: Sequence[FileReading], folder: Path, stamp: str
) -> None:
    """Log the reports of files, and write their rejected rows and those of others if any."""
    read_report.log_detections(readings)
    read_report.log_readings(readings)
    if any(reading.rejected for reading in (*readings, *others)):
        rejected_path = Kind.REJECTED.path(folder, stamp)
        files.write_whole(rejected_path, read_report.format_rejected([*readings, *others]))
        log.info("Wrote the rejected rows and their reasons to %s.", rejected_path)


def log_todays(clients: pd.DataFrame) -> None:
    """Log the number of today's clients."""
    found = sentences.count(len(clients), "client")
    log.info("Found %s without a label: today's clients.", found)


def report_immature(read: ReadRows, folder: Path, stamp: str) -> None:
    """Log and write a report on dated files before the first row with a known outcome."""
    read_report.log_mostly_rejected(read.readings)
    write_rejected(read.readings, read.outcome_readings, folder, stamp)
    read_report.log_readings([*read.test_readings, *read.outcome_readings])
    log_todays(read.clients)
    if read.n_gone:
        one, many = "client of the newest extract has", "clients of the newest extract have"
        log.info("Further %s left.", sentences.count(read.n_gone, one, many))


def write_dataset(intake: Intake, schema: Schema, folder: Path, stamp: str) -> tuple[Path, int]:
    """Write the dataset, its schema and the list of its files, and return path and row count."""
    path, n_rows = intake.write(folder, stamp)
    written = client_dates.dataset_schema(schema)
    files.write_whole(Kind.SCHEMA.path(folder, stamp), dataset.encode_schema(written))
    used = [str(reading.path) for reading in intake.readings if not reading.refused]
    files.write_whole(Kind.INGESTED.path(folder, stamp), "".join(f"{name}\n" for name in used))
    rows, of_files = sentences.count(n_rows, "row"), sentences.count(len(used), "file")
    log.info("Wrote %s from %s to %s.", rows, of_files, path)
    return path, n_rows


def main(
    config: Config, *, paths: Sequence[Path] | None = None, context: RunContext | None = None
) -> Ingestion:
    """Read the input folder strictly, clean the rows, write the dataset and a list of the files."""
    context = context or RunContext(config)
    if paths is None:
        paths = find_input(config)
    files.check_has_tables(paths, config.input_folder_path)
    unread = files.describe_unread(config.input_folder_path, config.other_folders)
    if unread:
        log.warning("%s", unread)
    n_bytes = files.total_bytes(paths)
    with progress.shown("Looking at the columns", n_bytes):
        schema = choose_schema(context, paths)
    folder = config.output_folder_path
    stamp = artifacts.next_stamp(datetime.now(UTC), [folder, config.output_model_path])
    try:
        with progress.shown("Reading the input", n_bytes):
            intake = context.engine.ingest(paths, schema, clean_more)
    except ImmatureRowsError as error:
        report_immature(error.read, folder, stamp)
        raise
    readings, clients = intake.readings, intake.clients
    read_report.log_mostly_rejected(readings)
    check_labels(intake.n_labelled, readings)
    others = intake.outcome_readings if isinstance(intake, DatedIntake) else ()
    write_rejected(readings, others, folder, stamp)
    dataset_path, n_rows = write_dataset(intake, schema, folder, stamp)
    if isinstance(intake, DatedIntake):
        log_dated(intake)
    else:
        warn_of_lost(readings, schema)
        warn_of_returning(paths, schema)
        log_counts(intake, drops_equal=deduplicate.are_dropped_from_input(config.ingestion, schema))
    if len(clients):
        log_todays(clients)
        warn_of_unlikely_keys(clients, schema)
    dated = intake if isinstance(intake, DatedIntake) else None
    return Ingestion(
        dataset_path, stamp, n_rows, tuple(readings), clients, intake.dropped, dated,
        find_new_columns(readings, schema, config),
    )  # fmt: skip


if __name__ == "__main__":
    run_as_script(main, exclusive=True)
