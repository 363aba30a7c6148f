"""Ingestion of dated files beyond memory, with the rows and the messages of one in memory."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts.core import files
from scripts.core.config import Config, Schema
from scripts.core.errors import DatasetError
from scripts.data import (
    client_dates,
    judged_rows,
    outcome_files,
    read_report,
    table_reader,
)
from scripts.data.dated_rows import OF_TEST
from scripts.data.known_outcomes import KnownOutcomes
from scripts.data.outcome_files import RecordFit
from scripts.data.outcomes import RowOutcomes
from scripts.engine import dated_ingest, dated_notices, labelled_rows, mature_rows
from scripts.engine.dated_ingest import (
    ChosenRows,
    CleanMore,
    DatedIntake,
    EncodedRows,
)
from scripts.engine.labelled_rows import LabelledRows
from scripts.engine.mature_rows import MatureInput

log = logging.getLogger(__name__)


def read_outcomes(derived: Any, config: Config, schema: Schema, today: int) -> KnownOutcomes:
    """Read the files of outcomes, and refuse files without a record for a row of any part."""
    settings = config.outcomes
    if settings is None:
        return KnownOutcomes()
    paths = outcome_files.list_files(settings)
    read = [outcome_files.read_records(path, settings, schema) for path in paths]
    records, fits = [records for records, _ in read], [RecordFit()] * len(read)
    days, counts = [], []
    for part in derived.iterate():
        places = part.places
        of_part = places[schema.as_of].to_numpy(np.int64)
        days += [int(of_part.min()), int(of_part.max())]
        counts.append(client_dates.count_days(of_part, ~places[OF_TEST].to_numpy(np.bool_)))
        found = outcome_files.count_fits(records, places, schema, settings.horizon_days)
        fits = [before + fit for before, fit in zip(fits, found, strict=True)]
    known = outcome_files.accept(read, fits, (min(days), max(days)), settings, schema, today)
    of_parts, n_rows = map(np.concatenate, zip(*counts, strict=True))
    whole = client_dates.find_whole_days(of_parts, n_rows)
    return outcome_files.complete_by_rows(known, whole, settings, schema)


def judge(
    places: pd.DataFrame, known: KnownOutcomes, config: Config, schema: Schema
) -> dict[str, NDArray[Any]]:
    """Return the outcome and the use of each row, as `spilled_dated.DerivedParts.label` takes."""
    judged = judged_rows.judge_rows(places, known, config.outcomes, schema)
    found = judged.found
    return {
        "labels": found.labels, "is_mature": found.is_mature, "left_before": found.left_before,
        "of_test": judged.of_test, "in_fold": judged.in_fold, "open": judged.is_open,
        "gone": judged.is_gone,
    }  # fmt: skip


def label(
    derived: Any, known: KnownOutcomes, config: Config, schema: Schema
) -> tuple[Any, LabelledRows]:
    """Return the rows of all parts with their outcomes, and groups of similar rows."""
    rows = derived.label(lambda places: judge(places, known, config, schema))
    groups = rows.groups
    return rows, LabelledRows(
        days=groups.days,
        of_test=groups.find("of_test") == 1,
        find_fold=lambda: groups.find("in_fold") == 1,
        found=RowOutcomes(
            labels=groups.find("labels"),
            is_mature=groups.find("is_mature") == 1,
            left_before=groups.find("left_before") == 1,
            # Of a row only: it decides which clients are open.
            left_after=np.zeros(len(groups.codes), np.bool_),
            is_gone=groups.find("gone") == 1,
        ),
        outcomes=known, readings=derived.readings, test_readings=derived.test_readings,
        n_repeated=derived.n_read - int(groups.n_rows.sum()), n_rows=groups.n_rows,
    )  # fmt: skip


def find_todays(rows: Any, read: LabelledRows) -> pd.DataFrame:
    """Return today's clients, as `dated_ingest.find_todays` does."""
    whole = read.extract_days
    clients: pd.DataFrame = rows.find_todays(int(whole[-1] if len(whole) else read.days.max()))
    return clients


def read_input(
    paths: Sequence[Path], schema: Schema, config: Config, today: int, bound_bytes: int
) -> tuple[Any, LabelledRows]:
    """Read dated files into parts with their outcomes, and groups of rows, as `label` does.

    Raises
    ------
    DatasetError
        If no row is usable.
    """
    log.info("The input may not fit into memory, so it goes through files in parts.")
    test_paths = [] if config.tests_latest_rows else files.list_tables(config.test_data_path)
    derived = table_reader.import_polars().spilled_dated.read(
        paths, test_paths, schema, config.output_folder_path,
        has_outcomes=config.outcomes is not None, bound_bytes=bound_bytes,
    )  # fmt: skip
    if not derived.paths:
        complaints = read_report.format_complaints(derived.readings)
        raise DatasetError(f"No usable row was found. {complaints}")
    known = read_outcomes(derived, config, schema, today)
    return label(derived, known, config, schema)


def read_mature(
    paths: Sequence[Path], schema: Schema, config: Config, today: int, bound_bytes: int
) -> MatureInput:
    """Read the mature rows of as many clients as fit into memory, drawn by the key.

    Raises
    ------
    DatasetError
        If no row is usable.
    InsufficientDataError
        If no outcome is known for good.
    """
    rows, read = read_input(paths, schema, config, today, bound_bytes)
    dated_ingest.check_mature(read, config)
    share = rows.choose_share(read.found.is_mature)
    return mature_rows.gather(rows.select(read.found.is_mature, share), read, schema, share)


def describe_share(share: float) -> list[str]:
    """Return a sentence about test rows left out for want of memory."""
    if share == 1:
        return []
    return [
        f"The test has the rows of {share:.1%} of its clients, drawn by the key: more do not fit"
        " into engine.memory_limit_gb."
    ]


def ingest_files(
    paths: Sequence[Path], schema: Schema, config: Config, clean_more: CleanMore | None,
    today: int, bound_bytes: int,
) -> DatedIntake:  # fmt: skip
    """Read dated files as `dated_ingest.ingest_files` does, without holding their rows in memory.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        The schema by which files are read, with key and date.
    config : Config
        The installation. Rows are kept in a hidden folder of the output, until the last object
        that needs them is gone.
    clean_more : callable or None
        The cleaning of this installation. It is given the rows in parts.
    today : int
        The day of the run, counted from 1970-01-01.
    bound_bytes : int
        The memory for rows.

    Returns
    -------
    DatedIntake
        The rows and their order are those of `dated_ingest.ingest_files`, but of a test that does
        not fit into memory as a table, a share of the clients.

    Raises
    ------
    DatasetError
        If no row is usable.
    ImmatureRowsError
        If no outcome is known for good.
    """
    by_time = config.tests_latest_rows
    rows, read = read_input(paths, schema, config, today, bound_bytes)
    clients, n_gone = find_todays(rows, read), labelled_rows.count_gone(read)
    dated_ingest.check_trainable(read, config, clients, rows, n_gone=n_gone)
    parts = labelled_rows.split(read, config)
    content, n_rows, dropped = rows.encode(parts.is_training, clean_more)
    share = rows.choose_share(parts.is_test)
    test_parts, _, _ = rows.encode(parts.is_test, clean_more if by_time else None, share)
    overlap = [] if by_time else dated_notices.describe_overlap(
        read.days, parts, rows.count_shared(parts.is_training, parts.is_test)
    )  # fmt: skip
    return dated_ingest.make_intake(
        read, parts, schema, ChosenRows(dropped, EncodedRows(content, n_rows).write, test_parts),
        clients=clients, n_gone=n_gone, history=rows,
        moves=rows.find_moves(read.extract_days), notices=[*overlap, *describe_share(share)],
    )  # fmt: skip
