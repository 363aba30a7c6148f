"""Outcomes of the rows of clients: who left within the horizon, and which rows are mature.

A row is positive if its client left within the horizon after the day of the row, and negative if
the client is known to have stayed that long. Any other row is not mature. So is a row whose horizon
is not over, even if the client has left already: among the rows of such a day those who left are
known before those who stay, and a model would learn a share that is too high.
"""

import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core.config import OutcomeSettings, Schema
from scripts.data import known_outcomes, leaving_days
from scripts.data.cells import UNLABELLED
from scripts.data.known_outcomes import LEFT, SPAN_BITS, Days, Flags, KnownOutcomes, RowPlaces
from scripts.data.leaving_days import OwnLeaving

# So many rows at a time stay in the processor's cache while they are labelled.
PART_ROWS = 2**16


class RowOutcomes(Struct, frozen=True):
    """The outcomes of the rows of a table, arrays of shape (n_rows,).

    `labels` are 1, 0 or UNLABELLED. Only mature rows are trained on. A client has `left_before` a
    row if an outcome is of the day of the row or earlier, and `left_after` if one is later. Who has
    left before and is not back `is_gone`: no client of the day of the row.
    """

    labels: NDArray[np.int64]
    is_mature: Flags
    left_before: Flags
    left_after: Flags
    is_gone: Flags


def count_until(chosen: Days, places: Days) -> Days:
    """Count the chosen records up to the place of each row, both sorted."""
    first, last = np.searchsorted(chosen, [places[0], places[-1] + 1])
    # There are fewer records than rows, so they are looked for among the rows.
    starts = np.searchsorted(places, chosen[first:last])
    counts: Days = first + np.cumsum(np.bincount(starts, minlength=len(places) + 1))
    return counts[: len(places)]


class KnownDays(Struct, frozen=True):
    """The sorted places of leavers and of all named clients in outcome files.

    `complete_until` is the day up to which all who left are known, NaN if it is unknown.
    """

    leaves: Days
    named: Days
    complete_until: float


def find_known(places: RowPlaces, outcomes: KnownOutcomes) -> KnownDays:
    """Return the recorded days of the clients of some rows."""
    left = outcomes.records[LEFT].to_numpy(np.bool_) & places.is_known
    until = outcomes.complete_until
    return KnownDays(
        np.sort(places.records[left]), np.sort(places.records[places.is_known]),
        np.nan if until is None else float(until),
    )  # fmt: skip


def known_until(
    places: Days, known: KnownDays, settings: OutcomeSettings
) -> NDArray[np.float64] | float:
    """Return the last day with a known outcome of each row's client.

    Files with labels name those who stayed: a client whom they do not name is not known.
    """
    if not settings.label:
        return known.complete_until
    end_of_client = ((places >> SPAN_BITS) + 1) << SPAN_BITS
    return known_outcomes.day_at(
        places, known.named, np.searchsorted(known.named, end_of_client) - 1
    )


def label_places(
    own: Days, places: Days, known: KnownDays, settings: OutcomeSettings
) -> RowOutcomes:
    """Return the outcomes of some rows by their places, as `label_rows` does."""
    is_labelled = own != UNLABELLED
    end = known_outcomes.day_of(places) + settings.horizon_days
    after = count_until(known.leaves, places)
    following = known_outcomes.day_at(places, known.leaves, after)
    left_before = ~np.isnan(known_outcomes.day_at(places, known.leaves, after - 1))
    left = following <= end
    is_over = end <= known.complete_until
    stayed = ~left & is_over & (known_until(places, known, settings) >= end)
    found = np.where(left, 1, np.where(stayed, 0, UNLABELLED))
    return RowOutcomes(
        labels=np.where(is_labelled, own, found),
        is_mature=is_labelled | ((left | stayed) & is_over & ~left_before),
        left_before=left_before,
        left_after=~np.isnan(following),
        is_gone=np.zeros(len(own), np.bool_),
    )


def are_back(
    rows: Days, places: Days, known: KnownDays, extract_days: Days, settings: OutcomeSettings
) -> Flags:
    """Return whether leavers are clients again in some of their rows after leaving.

    Who is in no row of an extract after the day of leaving, and in a row of a later one, was away
    and is back. So is a client with a later label of those who stayed.

    Parameters
    ----------
    rows : numpy.ndarray of shape (n_places,)
        Which of the places are asked about. Their clients have left before.
    places : numpy.ndarray of shape (n_rows,)
        The places of all rows, sorted.
    known : KnownDays
        The recorded days.
    extract_days : numpy.ndarray of shape (n_days,)
        The days of the extracts, sorted.
    settings : OutcomeSettings
        Whether files have labels.
    """
    asked = places[rows]
    left = known.leaves[np.searchsorted(known.leaves, asked, side="right") - 1]
    n_extracts = np.searchsorted(
        extract_days, [known_outcomes.day_of(asked), known_outcomes.day_of(left)], side="right"
    )
    n_present = np.append(0, np.cumsum(np.isin(known_outcomes.day_of(places), extract_days)))
    n_rows = n_present[rows + 1] - n_present[np.searchsorted(places, left, side="right")]
    is_back: Flags = n_rows < n_extracts[0] - n_extracts[1]
    if settings.label:
        end_of_client = ((asked >> SPAN_BITS) + 1) << SPAN_BITS
        last = known.named[np.searchsorted(known.named, end_of_client) - 1]
        is_back |= last > left
    return is_back


def label_by_files(
    table: pd.DataFrame, outcomes: KnownOutcomes, settings: OutcomeSettings, schema: Schema
) -> RowOutcomes:
    """Return the outcome of each row by the records of files, as `label_rows` does."""
    own = table[schema.target].to_numpy(np.int64)
    places = known_outcomes.locate(table, outcomes.records, schema)
    known = find_known(places, outcomes)
    parts = [
        label_places(own[start : start + PART_ROWS], rows, known, settings)
        for start in range(0, len(own), PART_ROWS)
        if len(rows := places.rows[start : start + PART_ROWS])
    ]
    names = ("labels", "is_mature", "left_before", "left_after", "is_gone")
    found = RowOutcomes(*(np.concatenate([getattr(part, n) for part in parts]) for n in names))
    rows = np.flatnonzero(found.left_before)
    if len(rows):
        days = np.array(outcomes.extract_days, np.int64)
        found.is_gone[rows] = ~are_back(rows, places.rows, known, days, settings)
    return found


def add_leaving(found: RowOutcomes, own: OwnLeaving, is_labelled: Flags) -> RowOutcomes:
    """Return outcomes with those of the column of leaving.

    Who left by the files or by the column has left. A label of the row counts before both, in the
    rows that have one.
    """
    is_left = (own.labels == 1) & ~is_labelled
    is_added = is_left | (found.labels == UNLABELLED)
    return RowOutcomes(
        labels=np.where(is_added, own.labels, found.labels),
        # A row after a leaving by the files teaches nothing, whatever the column says.
        is_mature=(found.is_mature | (own.is_mature & ~found.left_before)) & ~own.left_before,
        left_before=found.left_before | own.left_before,
        left_after=found.left_after | is_left,
        is_gone=found.is_gone | own.left_before,
    )


def label_rows(
    table: pd.DataFrame, outcomes: KnownOutcomes, settings: OutcomeSettings | None, schema: Schema
) -> RowOutcomes:
    """Return the outcome of each row.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, with the number of the client, and a label of their own or
        UNLABELLED.
    outcomes : KnownOutcomes
        The records of the outcome files.
    settings : OutcomeSettings or None
        With the horizon; None without declared outcomes.
    schema : Schema
        With key, date and target.

    Returns
    -------
    RowOutcomes
        A label in the row counts before the files and the column of leaving.
    """
    own = table[schema.target].to_numpy(np.int64)
    none = np.zeros(len(table), np.bool_)
    found = RowOutcomes(own, own != UNLABELLED, none, none, none)
    if settings is None or not len(table):
        return found
    if settings.input_folder_path is not None:
        found = label_by_files(table, outcomes, settings, schema)
    if not schema.leaving_names:
        return found
    horizon_days, until = settings.horizon_days, outcomes.complete_until
    judged = leaving_days.judge(table, schema, horizon_days, until)
    return add_leaving(found, judged, own != UNLABELLED)
