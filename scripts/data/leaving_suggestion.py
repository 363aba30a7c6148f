"""Suggestion of `schema.leaving`: the column of extracts that keep every client who ever left."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct

from scripts.core import sentences
from scripts.core.config import ISO_FORMAT, LeavingColumn, Schema
from scripts.data import (
    client_dates,
    client_states,
    dated_rows,
    leaving_days,
    leaving_words,
    outcome_suggestion,
    target_suggestion,
)
from scripts.data.arrays import Floats, Mask
from scripts.data.cells import UNLABELLED
from scripts.data.time_suggestion import TimeLayout, day_texts, is_known_day

# Of clients with a day of leaving most have it in the past, and hardly one loses it again.
MIN_PAST_FRACTION, MAX_BACK_FRACTION = 0.9, 0.1
MIN_LEFT = 5
KEY, DAY, TARGET, COLUMN = "key", "day", "target", "leaving"


class FoundLeaving(Struct, frozen=True):
    """The column of leaving of some extracts, and what it says of their rows.

    `left` are the rows of clients who leave within the horizon, `is_known` the rows whose outcome
    is known, and `is_gone` the rows of clients who have left before.
    """

    name: str
    key: str | dict[str, Any]
    horizon_days: int
    left: Mask
    is_known: Mask
    is_gone: Mask
    n_left: int
    notices: tuple[str, ...] = ()


def to_days(column: pd.Series, date_format: str) -> Floats:
    """Return the days of a column of dates, counted from 1970-01-01, NaN where there is none."""
    texts = day_texts(column, date_format)
    days = {
        text: client_dates.iso_day(text) if is_known_day(text) else np.nan
        for text in texts.unique()
    }
    return texts.map(days).to_numpy(np.float64)


def order_rows(table: pd.DataFrame, layout: TimeLayout, leaving: LeavingColumn) -> pd.DataFrame:
    """Return key, day and the column of leaving by client and day, with the places as the index."""
    group = pd.Series("", index=table.index) if layout.group is None else layout.group
    is_day = not leaving.labels
    rows = pd.DataFrame(
        {
            KEY: table[layout.key],
            DAY: to_days(group, ISO_FORMAT),
            TARGET: UNLABELLED,
            COLUMN: to_days(table[leaving.column], leaving.format)
            if is_day
            else table[leaving.column],
        }
    ).reset_index(drop=True)
    rows = rows[(rows[KEY] != "") & rows[DAY].notna()].astype({DAY: "int64"})
    return rows.sort_values([KEY, DAY], kind="stable")


def describe_column(leaving: LeavingColumn) -> Schema:
    """Return the schema of the rows of `order_rows`."""
    column = msgspec.structs.replace(leaving, column=COLUMN)
    return Schema(target=TARGET, ids=(KEY,), numeric=(), date=DAY, leaving=column)


def count_gaps(rows: pd.DataFrame, schema: Schema, horizon_days: int) -> "pd.Series[float]":
    """Return the days from the last row before a leaving to the leaving, for each leaver."""
    days, is_first = rows[DAY].to_numpy(np.float64), dated_rows.is_first(rows)
    left_on = leaving_days.settle(
        leaving_days.find_days(rows, schema, horizon_days), days, is_first
    )
    ahead = pd.Series(left_on - days)[left_on > days]
    return ahead.groupby(rows[dated_rows.NUMBER].to_numpy()[ahead.index]).min()


def choose_horizon(rows: pd.DataFrame, schema: Schema, layout: TimeLayout) -> int:
    """Return the usual horizon, or that of a long period if many leave on its last day.

    Who leaves on the day of the next extract, 31 days after the row, would be no leaver of any row.
    """
    usual = outcome_suggestion.choose_horizon(layout)
    if schema.status_columns:
        # Its day is within the horizon by definition.
        return usual
    return outcome_suggestion.fit_horizon(usual, count_gaps(rows, schema, usual))


def judge(table: pd.DataFrame, layout: TimeLayout, leaving: LeavingColumn) -> FoundLeaving:
    """Return what a column of leaving says of the rows of extracts."""
    schema = describe_column(leaving)
    ordered = order_rows(table, layout, leaving)
    rows = dated_rows.number_clients(ordered, schema).reset_index(drop=True)
    horizon_days = choose_horizon(rows, schema, layout)
    whole = client_dates.find_whole_days(rows[DAY].to_numpy(np.int64))
    own = leaving_days.judge(rows, schema, horizon_days, int(whole[-1]))
    places = ordered.index.to_numpy()

    def of_table(flags: Mask) -> Mask:
        """Return flags of ordered rows in the order of the table."""
        found = np.zeros(len(table), np.bool_)
        found[places] = flags
        return found

    is_plain = not leaving.labels and leaving.format == ISO_FORMAT
    kept: dict[str, Any] = {"column": leaving.column}
    kept |= {"labels": list(leaving.labels)} if leaving.labels else {"format": leaving.format}
    return FoundLeaving(
        leaving.column,
        leaving.column if is_plain else kept,
        horizon_days,
        left=of_table(own.labels == 1),
        is_known=of_table(own.is_mature),
        is_gone=of_table(own.left_before),
        n_left=rows.loc[own.labels == 1, KEY].nunique(),
    )


def is_day_of_leaving(table: pd.DataFrame, layout: TimeLayout, name: str, form: str) -> bool:
    """Return whether a date is blank for clients, and mostly past and kept for those who left."""
    if layout.group is None:
        return False
    days, own = to_days(table[name], form), to_days(layout.group, ISO_FORMAT)
    is_filled = ~np.isnan(days)
    rows = pd.DataFrame({KEY: table[layout.key], DAY: own, COLUMN: is_filled})
    rows = rows.sort_values([KEY, DAY], kind="stable")
    following = rows[COLUMN].shift(-1)[rows[COLUMN] & (rows[KEY] == rows[KEY].shift(-1))]
    n_left = rows.loc[rows[COLUMN], KEY].nunique()
    return (
        not is_filled.all()
        and n_left >= MIN_LEFT
        and float((days[is_filled] <= own[is_filled]).mean()) >= MIN_PAST_FRACTION
        and float((~following.astype(bool)).mean() if len(following) else 0) <= MAX_BACK_FRACTION
    )


def leaving_labels(column: pd.Series, name: str) -> tuple[str, ...]:
    """Return the labels of a status that mean leaving."""
    labels = target_suggestion.labels_of(column)
    if len(labels) > 2:
        found = tuple(filter(leaving_words.means_left, labels))
        if found:
            return found
    return (target_suggestion.guess_positive(column, name),)


def describe_other(other: FoundLeaving, chosen: FoundLeaving, keys: pd.Series) -> str:
    """Return a sentence about leavers by another column only, "" without any."""
    n_other = keys[other.is_gone].nunique() - keys[other.is_gone & chosen.is_gone].nunique()
    if not n_other:
        return ""
    left = sentences.count(n_other, "client has left", "clients have left")
    stay = "stays" if n_other == 1 else "stay"
    return (
        f"{left} by {other.name!r} and not by {chosen.name!r}, and {stay} on the list: fill in the"
        " one column, or export only those who are clients."
    )


def find(table: pd.DataFrame, layout: TimeLayout) -> FoundLeaving | None:
    """Find the column of extracts that says who has left already: a day, or else a status.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of all extracts, as text.
    layout : TimeLayout
        With key and days.
    """
    if not layout.date or not layout.key:
        return None
    columns = [
        LeavingColumn(column=name, format=form)
        for name, form in layout.leaving.items()
        if is_day_of_leaving(table, layout, name, form)
    ]
    columns += [
        LeavingColumn(column=name, labels=leaving_labels(table[name], name))
        for name in client_states.find(table, layout)
    ]
    if not columns:
        return None
    found, *others = (judge(table, layout, column) for column in columns)
    notices = [describe_other(other, found, table[layout.key]) for other in others]
    return msgspec.structs.replace(found, notices=tuple(filter(None, notices)))


def describe(found: FoundLeaving) -> list[str]:
    """Return sentences about the column, the rows without use, and the horizon."""
    what = "the day of leaving" if not isinstance(found.key, dict) or "format" in found.key else (
        "a status, and the clients with " + " or ".join(map(repr, found.key["labels"])) + " left"
    )  # fmt: skip
    gone = sentences.count(int(found.is_gone.sum()), "row is", "rows are")
    return [
        f"Outcomes: {found.name!r} is {what}: {sentences.count(found.n_left, 'client')} left within"
        f" {found.horizon_days} days after a row. {gone} of clients who had left before: they teach"
        " nothing, and those clients are not on the list.",
        f"A row counts as left if its client left within {found.horizon_days} days; set"
        " horizon_days to how far ahead you want to know.",
        *found.notices,
    ]
