"""Columns that say whether a client has left already on the day of a row.

Of companies that send all clients each month, those who left keep their rows, with another status
or with the day of leaving.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts.core.config import normalise_label
from scripts.data import leaving_words, target_suggestion
from scripts.data.time_suggestion import TimeLayout, day_texts

# So many rows of clients who have left show that their rows go on.
MIN_GONE_ROWS, MIN_GONE_FRACTION = 5, 0.9

Flags = NDArray[np.bool_]


def is_state(table: pd.DataFrame, name: str, layout: TimeLayout) -> bool:
    """Return whether a label says how clients are on the day of a row, and no outcome of it.

    Who has left after an outcome has no later rows. A client who is gone stays so.
    """
    if not layout.recurs or not layout.date or layout.group is None or (table[name] == "").any():
        return False
    positive = target_suggestion.guess_positive(table[name], name)
    rows = pd.DataFrame(
        {"key": table[layout.key], "day": layout.group, "label": table[name].map(normalise_label)}
    ).sort_values(["key", "day"], kind="stable")
    following = rows["label"].shift(-1)[rows["key"] == rows["key"].shift(-1)]
    after_leaving = following[rows["label"] == positive]
    is_enough = len(after_leaving) >= MIN_GONE_ROWS
    return is_enough and bool((after_leaving == positive).mean() >= MIN_GONE_FRACTION)


def find(table: pd.DataFrame, layout: TimeLayout) -> list[str]:
    """List the columns that look like a target, and say how clients are on the day of a row."""
    if not layout.date:
        return []
    free = [name for name in table.columns if name and name not in (layout.key, layout.date)]
    return [
        name
        for name in free
        if len(target_suggestion.labels_of(table[name])) in target_suggestion.STATUS_LABELS
        and (target_suggestion.is_likely(table[name], name) or leaving_words.is_active_flag(name))
        and is_state(table, name, layout)
    ]


def leaving_days(table: pd.DataFrame, layout: TimeLayout) -> pd.Series:
    """Return the day of leaving in each row in ISO 8601, "" without one."""
    days = pd.Series("", index=table.index)
    for name, date_format in layout.leaving.items():
        found = day_texts(table[name], date_format)
        days = days.where(days != "", found)
    return days


def are_gone(table: pd.DataFrame, layout: TimeLayout) -> Flags:
    """Return a mask of the rows of clients who have left on the day of the row."""
    left = leaving_days(table, layout)
    gone = (left != "").to_numpy(copy=True)
    if layout.group is not None:
        gone &= (left <= layout.group).to_numpy()
    for name in find(table, layout):
        positive = target_suggestion.guess_positive(table[name], name)
        gone |= (table[name].map(normalise_label) == positive).to_numpy()
    return gone


def describe(names: list[str], layout: TimeLayout, *, has_outcomes: bool) -> list[str]:
    """Return sentences about columns that say who has left on the day of a row, and what to do.

    With `has_outcomes` another such column is the source of the outcomes.
    """
    notices = [
        f"Ignored: {name!r} says whether a client has left already on the day of the row, since"
        " those who left keep their rows. That is no outcome to learn from."
        for name in names
    ]
    if not has_outcomes and (names or (layout.leaving and layout.date)):
        shown = ", ".join(map(repr, [*names, *layout.leaving]))
        notices.append(
            f"Those who left are told by {shown}: python -m scripts.config leavers FOLDER prints"
            " them as a file of outcomes. Export only those who are still clients on the day, for"
            " all others stand on the list, too."
        )
    return notices
