"""Clients who vanished from later extracts, or left by their rows, as outcomes."""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from scripts.core import sentences
from scripts.core.errors import DatasetError
from scripts.data import client_dates, client_states, outcome_suggestion
from scripts.data.time_suggestion import TimeLayout

LEFT_ON = "left_on"
# A month in which so many clients vanish, and so many times the usual share, is hardly one.
MIN_JUMP, JUMP_FACTOR = 0.2, 3.0


def whole_days(layout: TimeLayout) -> list[date]:
    """Return the days of whole extracts, sorted, without additions such as an upload."""
    if layout.group is None or not layout.date or not layout.key:
        return []
    texts = layout.group[layout.group != ""]
    days = texts.map({text: client_dates.iso_day(text) for text in texts.unique()})
    found = client_dates.find_whole_days(days.to_numpy(np.int64))
    return [date.fromisoformat(client_dates.format_day(day)) for day in found.tolist()]


def find(table: pd.DataFrame, layout: TimeLayout) -> pd.DataFrame:
    """Find the clients who left by their rows, or are in no row of the newest extract or later.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of all extracts, as text.
    layout : TimeLayout
        With key and days.

    Returns
    -------
    pandas.DataFrame of shape (n_vanished, 2)
        The key and LEFT_ON: the day of leaving in the client's rows. Without one the day of the
        first extract without the client, but at most the horizon after the client's last row, so
        that the row counts as one before leaving. A row whose status is that of leavers is none.

    Raises
    ------
    DatasetError
        If there are no two extracts whose days are known.
    """
    days = whole_days(layout)
    if len(days) < 2 or layout.group is None:
        raise DatasetError(
            f"Clients can vanish only from one extract to the next, and the days of {len(days)}"
            " extracts were found. Put the day of each extract into its name, such as"
            " clients_2026-03-31.csv."
        )
    horizon = timedelta(days=outcome_suggestion.choose_horizon(layout))
    is_named, declared = table[layout.key] != "", client_states.leaving_days(table, layout)
    is_known = (layout.group != "") & is_named & ~client_states.are_gone(table, layout)
    last_rows = layout.group[is_known].groupby(table[layout.key][is_known]).max()
    left_on: dict[str, str] = {}
    for key, text in last_rows.items():
        last = date.fromisoformat(text)
        following = next((day for day in days if day > last), None)
        if following is not None:
            left_on[str(key)] = str(min(following, last + horizon))
    # Of several days of leaving in the rows of a client the newest row has the right one.
    rows = pd.DataFrame({"key": table[layout.key], "day": layout.group, "left": declared})
    rows = rows[is_named & (declared != "")].sort_values("day", kind="stable")
    left_on |= dict(zip(rows["key"], rows["left"], strict=True))
    return pd.DataFrame({layout.key: list(left_on), LEFT_ON: list(left_on.values())})


def describe(table: pd.DataFrame, layout: TimeLayout) -> list[str]:
    """Return a sentence about vanished clients, if there are any."""
    if len(whole_days(layout)) < 2 or layout.leaving or client_states.find(table, layout):
        return []
    n_vanished = len(find(table, layout))
    if not n_vanished:
        return []
    vanished = sentences.count(
        n_vanished, "client of older extracts is", "clients of older extracts are"
    )
    return [
        f"{vanished} not in the newest one. If they left, python -m scripts.config leavers FOLDER"
        " prints such a file of them.",
        *describe_jumps(table, layout),
    ]


def describe_jumps(table: pd.DataFrame, layout: TimeLayout) -> list[str]:
    """Return sentences about extracts after which far more clients vanished than usually.

    A file that was cut, and keys that are written otherwise from one extract on, look like clients
    who left. The usual share is that of the other extracts, so three are needed.
    """
    days = [str(day) for day in whole_days(layout)]
    if len(days) < 3 or layout.group is None:
        return []
    rows = pd.DataFrame({"key": table[layout.key], "day": layout.group})
    rows = rows[(rows["key"] != "") & rows["day"].isin(days)].drop_duplicates()
    is_last = ~rows.sort_values("day", kind="stable").duplicated("key", keep="last")
    shares = is_last.groupby(rows["day"]).mean().reindex(days[:-1])
    numbers = {str(day): int(n) for day, n in rows["day"].value_counts().items()}
    others = {str(day): float(shares.drop(day).median()) for day in shares.index}
    return [
        f"{shares[day]:.0%} of the {numbers[day]} clients of the extract of {day} are in no later"
        f" one, and usually {usual:.0%} are. If a file was cut, or keys are written otherwise in"
        " later extracts, these clients have not left: export the files again first."
        for day, usual in others.items()
        if shares[day] >= max(MIN_JUMP, JUMP_FACTOR * usual)
    ]
