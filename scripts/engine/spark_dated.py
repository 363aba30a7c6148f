"""Ingestion of dated files on a cluster, with the split and the messages of one machine."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.core import artifacts, capacity, files, name_hashes
from scripts.core.config import Config, Schema
from scripts.core.errors import DatasetError
from scripts.core.files import RemotePath
from scripts.data import (
    client_dates,
    outcome_files,
    polars_dataset,
    polars_reader,
    read_report,
)
from scripts.data.cells import UNLABELLED
from scripts.data.dated_rows import OF_TEST
from scripts.data.known_outcomes import KnownOutcomes
from scripts.data.outcomes import RowOutcomes
from scripts.data.polars_ranges import RowForm
from scripts.engine import (
    dated_ingest,
    dated_notices,
    labelled_rows,
    mature_rows,
    store_folder,
)
from scripts.engine.dated_ingest import ChosenRows, DatedIntake
from scripts.engine.labelled_rows import LabelledRows
from scripts.engine.mature_rows import MatureInput
from scripts.engine.spark_ingest import SparkIntake
from scripts.engine.store_folder import StoreFolder
from scripts.spark import cluster, dataset, dated
from scripts.spark import read_input as spark_input
from scripts.spark.cluster import column
from scripts.spark.dated import ClusterHistory
from scripts.spark.read_input import Clean


class ClusterInput(LabelledRows, frozen=True, kw_only=True):
    """The rows of dated files on a cluster as from `dated.label`, and groups of similar rows."""

    rows: DataFrame
    groups: pd.DataFrame


def list_tables(place: Path) -> Sequence[Path]:
    """List the CSV files of a local folder, or of a folder of an object store."""
    if isinstance(place, RemotePath):
        return StoreFolder(place).list_tables()
    return files.list_tables(place)


def list_outcome_files(config: Config) -> list[Path]:
    """List the outcome files in name order, with local copies of files in an object store."""
    place = None if config.outcomes is None else config.outcomes.input_folder_path
    if isinstance(place, RemotePath):
        copies = config.output_folder_path / artifacts.FETCHED_OUTCOMES
        return files.list_tables(StoreFolder(place).fetch(copies))
    return outcome_files.list_files(config.outcomes)


def read_outcomes(rows: DataFrame, config: Config, schema: Schema, today: int) -> KnownOutcomes:
    """Read the files of outcomes, and refuse files without a record for a row."""
    settings = config.outcomes
    if settings is None:
        return KnownOutcomes()
    paths = list_outcome_files(config)
    read = [outcome_files.read_records(path, settings, schema) for path in paths]
    records = [records for records, _ in read]
    fits = dated.find_fits(rows, records, schema, settings.horizon_days) if records else []
    counted = rows.groupBy(column(schema.as_of), column(OF_TEST)).count().toArrow().to_pandas()
    days = counted[schema.as_of].to_numpy(np.int64)
    n_rows = np.where(counted[OF_TEST], 0, counted[dated.N_ROWS]).astype(np.int64)
    first_and_last = int(days.min()), int(days.max())
    known = outcome_files.accept(read, fits, first_and_last, settings, schema, today)
    whole = client_dates.find_whole_days(days, n_rows)
    return outcome_files.complete_by_rows(known, whole, settings, schema)


def with_addresses(known: KnownOutcomes, config: Config) -> KnownOutcomes:
    """Return outcomes with the reports of their files, in an object store by their addresses."""
    place = None if config.outcomes is None else config.outcomes.input_folder_path
    if place is None:
        return known
    readings = store_folder.as_stored(known.readings, place)
    return msgspec.structs.replace(known, readings=readings)


def read_input(
    session: SparkSession, paths: Sequence[Path], schema: Schema, config: Config, today: int
) -> ClusterInput:
    """Read dated files, the folder of test data if declared, and the outcomes.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        The session.
    paths : sequence of Path
        CSV files of clients.
    schema : Schema
        The schema by which files are read.
    config : Config
        With outcomes and test data.
    today : int
        The day of the run, counted from 1970-01-01.

    Returns
    -------
    ClusterInput
        The row of each client and day, and the numbers of such rows.

    Raises
    ------
    DatasetError
        If no row is usable.
    """
    test_paths = [] if config.tests_latest_rows else list_tables(config.test_data_path)
    form = RowForm(schema, has_outcomes=config.outcomes is not None)
    rows, readings, test_readings = dated.read_rows(session, paths, test_paths, form)
    n_read = read_report.count_usable([*readings, *test_readings])
    if not n_read:
        raise DatasetError(f"No usable row was found. {read_report.format_complaints(readings)}")
    derived = dated.derive(rows, schema)
    known = read_outcomes(derived, config, schema, today)
    labelled = dated.label(derived, known, config.outcomes, schema)
    groups = dated.count_groups(labelled, schema)
    n_rows = groups[dated.N_ROWS].to_numpy(np.int64)
    return ClusterInput(
        days=groups[dated.DAY].to_numpy(np.int64),
        of_test=groups[OF_TEST].to_numpy(np.bool_),
        find_fold=lambda: groups[dated.FOLD].to_numpy(np.bool_),
        found=RowOutcomes(
            labels=groups[schema.target].to_numpy(np.int64),
            is_mature=groups[dated.MATURE].to_numpy(np.bool_),
            left_before=groups[dated.LEFT_BEFORE].to_numpy(np.bool_),
            # Of a row only: it decides which rows `dated.OPEN` has.
            left_after=np.zeros(len(groups), np.bool_),
            is_gone=groups[dated.GONE].to_numpy(np.bool_),
        ),
        outcomes=with_addresses(known, config), readings=readings, test_readings=test_readings,
        n_repeated=n_read - int(n_rows.sum()), n_rows=n_rows, rows=labelled, groups=groups,
    )  # fmt: skip


def collect(rows: DataFrame, schema: Schema) -> pd.DataFrame:
    """Collect rows as a table of the pandas engine, by day and client."""
    order = (schema.as_of, schema.client_key)
    return dataset.to_pandas(rows, client_dates.dataset_schema(schema), order)


def find_todays(read: ClusterInput, schema: Schema) -> pd.DataFrame:
    """Return today's clients, as `dated_ingest.find_todays` does."""
    whole = read.extract_days
    newest = int(whole[-1]) if len(whole) else 0
    todays = read.rows.where(column(dated.OPEN) & (column(dated.DAY) >= newest))
    unlabelled = F.lit(UNLABELLED).cast("tinyint")
    return collect(todays.withColumn(schema.target, unlabelled), schema)


def read_mature(paths: Sequence[Path], schema: Schema, config: Config) -> MatureInput:
    """Read the mature rows of as many clients as a model is fitted to, drawn by the key."""
    with cluster.open_cluster(config.engine) as session:
        read = read_input(session, paths, schema, config, client_dates.today())
        dated_ingest.check_mature(read, config)
        width = len(client_dates.dataset_schema(schema).columns)
        most = capacity.limit_rows(config.training.max_rows, width, config.engine)
        share = 1.0 if most is None else min(1.0, most / read.count(read.found.is_mature))
        # The hash of `name_hashes.hash_names`.
        below = F.crc32(column(schema.client_key)) < int(share * 2**name_hashes.HASH_BITS)
        table = collect(read.rows.where(column(dated.MATURE) & below), schema)
    return mature_rows.gather(table, read, schema, share)


def ingest_files(
    paths: Sequence[Path], schema: Schema, config: Config, clean_more: Clean | None
) -> DatedIntake:
    """Read dated files into training rows on the cluster, test rows and today's clients here.

    The rows are those of `dated_ingest.ingest_files`, as a set.

    Raises
    ------
    DatasetError
        If no row is usable.
    ImmatureRowsError
        If no outcome is known for good.
    """
    written = client_dates.dataset_schema(schema)
    with cluster.open_cluster(config.engine) as session:
        read = read_input(session, paths, schema, config, client_dates.today())
        clients, n_gone = find_todays(read, schema), labelled_rows.count_gone(read)
        history = ClusterHistory(config.engine, read.rows, schema)
        dated_ingest.check_trainable(read, config, clients, history, n_gone=n_gone)
        parts, by_time = labelled_rows.split(read, config), config.tests_latest_rows
        training = dated.select_groups(read.rows, read.groups[parts.is_training])
        test = dated.select_groups(read.rows, read.groups[parts.is_test])
        overlap = [] if by_time else dated_notices.describe_overlap(
            read.days, parts, dated.count_shared(training, test, schema)
        )  # fmt: skip
        labels = spark_input.count_labels(training, written)
        intake = SparkIntake(
            config.engine, written,
            spark_input.clean(training, clean_more, written, drop_equal=False),
            clients, read.readings, labels,
        )  # fmt: skip
        cleaned = spark_input.clean(
            test, clean_more if by_time else None, written, drop_equal=False
        )
        tested = collect(cleaned, schema)
        moves = dated.find_moves(read.rows, read.extract_days, schema)
    encoded = polars_dataset.encode_rows(polars_reader.unite([polars_dataset.from_pandas(tested)]))
    return dated_ingest.make_intake(
        read, parts, schema, ChosenRows(intake.dropped, intake.write, encoded),
        clients=clients, n_gone=n_gone, history=history, moves=moves, notices=overlap,
    )  # fmt: skip
