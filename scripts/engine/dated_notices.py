"""Sentences about an ingestion of dated files: outcomes, keys, the split, and missing outcomes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.core import sentences
from scripts.core.config import Config, Schema
from scripts.data import client_dates, known_outcomes, read_report
from scripts.data.known_outcomes import KnownOutcomes
from scripts.data.time_split import TimeSplit
from scripts.engine import labelled_rows
from scripts.engine.labelled_rows import LabelledRows, RespeltKeys

# So many extracts with keys written otherwise are named in the log.
MAX_SHOWN = 3


def describe_split(parts: TimeSplit) -> list[str]:
    """Return sentences about the days of training and test."""
    if parts.first_test_day is None or parts.last_test_day is None:
        return []
    first, last = map(client_dates.format_day, (parts.first_test_day, parts.last_test_day))
    shown = first if first == last else f"{first} to {last}"
    if not parts.is_by_time:
        return [
            f"The test is a fifth of the clients as of {shown}: no earlier rows are mature, and a"
            " test on clients of the same time says less about the next period."
        ]
    end = parts.last_training_day
    trained = "" if end is None else f" Training ends with {client_dates.format_day(end)}."
    return [f"The test rows are as of {shown}.{trained}"]


def describe_leaving(read: LabelledRows, schema: Schema, n_gone: int) -> list[str]:
    """Return a sentence about outcomes by a column of the rows, [] without one."""
    until, leaving = read.outcomes.complete_until, schema.leaving_column
    if leaving is None:
        return []
    end = "no day" if until is None else client_dates.format_day(until)
    known, source = f"Outcomes are known up to {end}, by the column {leaving.column!r}. ", "it"
    if labelled_rows.count_records(read.outcomes):
        # Then the sentence about the files says how far outcomes are known.
        known, source = "", f"the column {leaving.column!r} or the files"
    n_announced = labelled_rows.count_announced(read)
    announced = f" Nor are {n_announced} who leave within the horizon." if n_announced else ""
    left = sentences.count(
        n_gone,
        f"client of the newest extract has left by {source}, and is",
        f"clients of the newest extract have left by {source}, and are",
    )
    return [f"{known}{left} not on the list.{announced}"]


def describe_left_since(known: KnownOutcomes, newest: int) -> list[str]:
    """Return a sentence about clients who left by a record after a day, [] without any."""
    is_left = known.records[known_outcomes.LEFT].to_numpy(np.bool_)
    is_later = (known.records[known_outcomes.DAY] > newest).to_numpy()
    n_since = int(known.records[known_outcomes.KEY][is_left & is_later].nunique())
    if not n_since:
        return []
    day = client_dates.format_day(newest)
    left = sentences.count(
        n_since,
        f"client has left since {day} by the outcomes, and is",
        f"clients have left since {day} by the outcomes, and are",
    )
    return [f"{left} not on the list."]


def describe_records(known: KnownOutcomes, n_returned: int) -> list[str]:
    """Return sentences about the records of outcome files, [] without records.

    Of today's clients `n_returned` had left by them.
    """
    n_records = labelled_rows.count_records(known)
    if not n_records:
        return []
    returned = [
        f"{n_returned} of today's clients had left by the outcomes, were missing in an extract, and"
        " stand in the newest one again. They count as back, and are on the list."
    ]
    until = known.complete_until
    end = "no day" if until is None else client_dates.format_day(until)
    future = (
        f" Of them {known.n_future} are of a day to come, and not used." if known.n_future else ""
    )
    unused = sentences.count(
        known.n_contradicted, "record of outcomes is", "records of outcomes are"
    )
    contradicted = [
        f"{unused} not used: a later one, by file name and line, says the opposite of the"
        " same client and day. Remove the wrong one."
    ]
    return [
        f"Outcomes are known up to {end}: {sentences.count(n_records, 'record')},"
        f" {known.n_strangers} of them of clients in no client table.{future}",
        *(contradicted if known.n_contradicted else []),
        *(returned if n_returned else []),
    ]


def describe_gone(n_gone: int, schema: Schema) -> list[str]:
    """Return a sentence about leavers by the outcome files in the newest extract."""
    if not n_gone or schema.leaving_names:
        return []
    left = sentences.count(
        n_gone,
        "client of the newest extract had left by the outcomes, and is",
        "clients of the newest extract had left by the outcomes, and are",
    )
    return [
        f"{left} not on the list."
        " Who is missing in an extract after leaving, and is in a later one, counts as back."
    ]


def describe_respelt(respelt: Sequence[RespeltKeys], schema: Schema) -> list[str]:
    """Return sentences about keys that are written otherwise, of the extracts with most of them."""
    worst = sorted(respelt, key=lambda keys: -keys.n_respelt)[:MAX_SHOWN]
    return [
        f"{keys.n_respelt} clients of the extract as of {keys.day} are new, and their keys in"
        f" {schema.client_key!r} are those of clients who have vanished, written otherwise, such as"
        " with other leading zeros, capitals, thousands marks or another prefix. Correct the"
        " file, or they count as other clients."
        for keys in worst
    ]


def describe_outcomes(
    read: LabelledRows, schema: Schema, n_returned: int, n_gone: int
) -> list[str]:
    """Return sentences about the outcomes of files and of a column of the rows.

    Of today's clients `n_returned` had left by them, and are back. Further `n_gone` clients of the
    newest extract have left.
    """
    whole = read.extract_days
    return [
        *describe_leaving(read, schema, n_gone),
        *describe_records(read.outcomes, n_returned),
        *describe_gone(n_gone, schema),
        *(describe_left_since(read.outcomes, int(whole[-1])) if len(whole) else []),
    ]


def describe_overlap(
    days: NDArray[np.int64], parts: TimeSplit, shared_clients: tuple[int, int]
) -> list[str]:
    """Return a sentence about the clients and days of a test folder also in training."""
    if not parts.is_test.any():
        return []
    n_shared, n_clients = shared_clients
    test_days = set(days[parts.is_test].tolist())
    shared = test_days & set(days[parts.is_training].tolist())
    newest, last = int(days.max()), max(test_days)
    return [
        f"{n_shared} of the {n_clients} clients of the test data and"
        f" {len(shared)} of its {len(test_days)} days are in training, too. Its newest row is as of"
        f" {client_dates.format_day(last)}, {newest - last} days before the newest row of all."
    ]


def explain_outcomes(read: LabelledRows, config: Config) -> str:
    """Return what keeps outcomes from being known, "" without declared outcomes."""
    settings = config.outcomes
    if settings is None:
        return ""
    if read.outcomes.readings:
        return read_report.format_complaints(read.outcomes.readings)
    if settings.input_folder_path is None:
        return (
            f"The column {config.schema.leaving_names[0]!r} tells the outcomes of the rows of an"
            " extract once there is an extract that is later by the horizon."
        )
    key = settings.key or config.schema.client_key
    return (
        f"There is no CSV file in {settings.input_folder_path}: put those who left there, in the"
        f" columns {key!r} and {settings.date!r}."
    )


def explain_immature(read: LabelledRows, config: Config) -> str:
    """Return the reason for rows without any final outcome, or ""."""
    if read.found.is_mature.any():
        return ""
    until = read.outcomes.complete_until
    horizon = "" if config.outcomes is None else (
        f" The horizon is {config.outcomes.horizon_days} days, and outcomes are known up to"
        f" {'no day' if until is None else client_dates.format_day(until)}."
    )  # fmt: skip
    n_rows = read.count(np.ones(len(read.days), np.bool_))
    return (
        f"None of {n_rows} rows has an outcome that is known for good.{horizon}"
        f" {explain_outcomes(read, config)}"
    ).rstrip()
