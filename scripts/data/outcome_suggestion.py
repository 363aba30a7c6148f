"""Suggestion of the `outcomes` section: files of key and day of leaving, near the tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct
from numpy.typing import NDArray

from scripts.core import dates, files
from scripts.core.config import ISO_FORMAT, Schema, normalise_label
from scripts.core.errors import PipelineError
from scripts.data import (
    column_kinds,
    date_formats,
    leaving_words,
    table_reader,
    target_suggestion,
)
from scripts.data.suggestion_reading import FileTable
from scripts.data.time_suggestion import TimeLayout, day_texts

MAX_COLUMNS = 8
N_SAMPLED = 2000
MIN_KNOWN_FRACTION, MIN_FILLED_FRACTION = 0.5, 0.9
# A month is judged by the month that follows, a longer period by a quarter.
MONTH_DAYS, QUARTER_DAYS = 30, 90
MAX_MONTH_DAYS = 45
# The longest month and quarter: who leaves on the last day is gone within so many days.
LONGEST = {MONTH_DAYS: 31, QUARTER_DAYS: 92}
MIN_LATE_FRACTION = 0.05
# Of those who stayed few have a day before their rows, and few leave on the very day of an extract.
MIN_EARLY_FRACTION, MIN_SAME_DAY_FRACTION = 0.2, 0.5


class FoundOutcomes(Struct, frozen=True):
    """The section, the labels, and the records: key and day of leaving as an ISO date.

    `doubt` is a sentence about days that are not those of leaving, "" without a doubt. `other_days`
    are further columns of days.
    """

    section: dict[str, Any]
    labels: dict[str, str]
    records: pd.DataFrame
    folder: Path
    paths: tuple[Path, ...]
    doubt: str = ""
    other_days: tuple[str, ...] = ()


def read_tables(paths: Sequence[Path]) -> list[FileTable]:
    """Read files as text, without unreadable files."""
    schema = Schema(target="", ids=(), numeric=())
    tables = []
    for path in paths:
        reading, columns = table_reader.read_file(path, path.parent, schema, as_text=True)
        if not reading.refused and columns:
            tables.append(FileTable(path, pd.DataFrame(columns, dtype="str")))
    return tables


def find_key_column(table: pd.DataFrame, key: str, known: set[str]) -> str:
    """Return the column with the keys of known clients, or ""."""
    shares = {name: float(table[name].isin(known).mean()) for name in table.columns if name}
    if key in shares and (shares[key] > 0 or not len(table)):
        return key
    best = max(shares, key=lambda name: shares[name], default="")
    return best if best and shares[best] >= MIN_KNOWN_FRACTION else ""


def filled_days(column: pd.Series) -> list[str]:
    """Return the first cells with a text that does not stand for no date."""
    return [text for text in column if text and not dates.is_no_day(text)][:N_SAMPLED]


def find_date_column(table: pd.DataFrame) -> tuple[str, str]:
    """Return the column of days and the format, preferably named after leaving."""
    found = []
    for name in (name for name in table.columns if name):
        # Of all rows, since a mistake is one of few different days.
        formats = date_formats.find_formats(filled_days(table[name]))
        if formats:
            found.append((leaving_words.is_leaving_date(name), name, formats[0]))
    _, name, form = max(found, key=lambda item: item[0], default=(False, "", ""))
    return name, form


def is_mixed(column: pd.Series) -> bool:
    """Return whether nearly all filled cells are dates, and no format fits all of them."""
    texts = filled_days(column)
    n_dates = sum(map(column_kinds.is_date, texts))
    return n_dates >= MIN_FILLED_FRACTION * len(texts) > 0 and not date_formats.find_formats(texts)


def find_other_days(table: pd.DataFrame, taken: set[str]) -> list[str]:
    """List the further columns of days of a table."""
    return [
        name
        for name in table.columns
        if name and name not in taken
        and date_formats.find_formats(filled_days(table[name]))
    ]  # fmt: skip


def choose_horizon(layout: TimeLayout) -> int:
    """Return 30 days for monthly extracts, and 90 days for rarer extracts."""
    if not layout.date or layout.group is None:
        return MONTH_DAYS
    days = np.sort(pd.to_datetime(pd.Series(layout.group.unique()), errors="coerce").dropna())
    steps = np.diff(days).astype("timedelta64[D]").astype(int)
    return QUARTER_DAYS if len(steps) and np.median(steps) > MAX_MONTH_DAYS else MONTH_DAYS


def missing_section(layout: TimeLayout, folder: Path) -> dict[str, Any]:
    """Return the section for a missing folder of outcomes."""
    return {
        "input_folder_path": str(folder.resolve().parent / "outcomes"),
        "date": "left_on",
        "horizon_days": choose_horizon(layout),
    }


def find_label(table: pd.DataFrame, taken: set[str]) -> tuple[str, dict[str, str]]:
    """Return the label column of left and stayed clients, with the labels."""
    for name in (name for name in table.columns if name and name not in taken):
        labels = target_suggestion.labels_of(table[name])
        if len(labels) == 2 and (
            leaving_words.is_target_name(name) or any(map(leaving_words.means_left, labels))
        ):
            return name, target_suggestion.describe_target(table[name], name)[0]
    return "", {}


def find_steps(
    table: pd.DataFrame, layout: TimeLayout, records: pd.DataFrame, *, with_same_day: bool
) -> "pd.Series[float]":
    """Return the days from the last row of each client before the day of a record to that day.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of the clients.
    layout : TimeLayout
        With key and days.
    records : pandas.DataFrame of shape (n_records, 2)
        Key and day.
    with_same_day : bool
        Whether a row of the very day counts, with 0 days.

    Returns
    -------
    pandas.Series of shape (n_records,)
        Missing without such a row.
    """
    rows = pd.DataFrame({"key": table[layout.key], "row": layout.group}).drop_duplicates()
    rows["row"] = pd.to_datetime(rows["row"], errors="coerce").astype("datetime64[s]")
    days = pd.to_datetime(records["day"]).astype("datetime64[s]")
    left = pd.DataFrame({"key": records["key"], "day": days})
    both = pd.merge_asof(
        left.sort_values("day"), rows.dropna().sort_values("row"),
        left_on="day", right_on="row", by="key", allow_exact_matches=with_same_day,
    )  # fmt: skip
    return (both["day"] - both["row"]).dt.days.astype("float64")


def fit_horizon(usual: int, steps: "pd.Series[float]") -> int:
    """Return the horizon, longer if clients leave on the last day of a long month or quarter."""
    longest = LONGEST[usual]
    is_late = (steps > usual) & (steps <= longest)
    return longest if is_late.sum() >= MIN_LATE_FRACTION * max(1, len(steps)) else usual


def are_same_day(steps: "pd.Series[float]") -> bool:
    """Return whether most clients have a row of the very day of their record."""
    return bool(len(steps)) and bool((steps == 0).mean() >= MIN_SAME_DAY_FRACTION)


def describe_doubt(date: str, folder: Path, form: str) -> str:
    """Return a sentence about labels that have the day of an extract in place of one of leaving."""
    unit = "month" if dates.is_of_months(form) else "day"
    return (
        f"The files in {folder} are left out: those who left and those who stayed are in the"
        f" extract of their {unit}, so {date!r} is the {unit} of the extract, and no {unit} of"
        " leaving. Write when they left, such as the month after, or write the label into the"
        " extract as a column."
    )


def describe_stays(stays: "pd.Series[float]", date: str, folder: Path) -> str:
    """Return a sentence about clients who stayed whose day is before their rows, or ""."""
    n_before = int(stays.isna().sum())
    if n_before < MIN_EARLY_FRACTION * max(1, len(stays)) or not n_before:
        return ""
    return (
        f"The files in {folder} are left out: for {n_before} of {len(stays)} clients who stayed"
        f" {date!r} is before their first row, and no day up to which they are known to have"
        " stayed. Leave it blank for them. Of a log of events take the rows of leaving alone."
    )


class OutcomeRows(Struct, frozen=True):
    """The rows of files of outcomes: of leavers, and of clients who stayed, as key and day.

    `label` is "" where the day alone says who left: nobody else has one.
    """

    left: pd.DataFrame
    stayed: pd.DataFrame
    label: str
    labels: dict[str, str]


def part_records(table: pd.DataFrame, key: str, date: str, form: str) -> OutcomeRows:
    """Part the rows of leavers from those of clients who stayed."""
    label, labels = find_label(table, {key, date})
    records = pd.DataFrame({"key": table[key], "day": day_texts(table[date], form)})
    is_dated = records["day"] != ""
    status = label or find_status(table, {key, date})
    if not status:
        return OutcomeRows(records[is_dated], records[:0], "", {})
    wanted = normalise_label(labels["positive"]) if label else ""
    is_left = (
        table[status]
        .map(normalise_label)
        .map(lambda text: text == wanted if label else leaving_words.means_left(text))
    )
    stayed = records[~is_left]
    if (stayed["day"] == "").all():
        # With a label every row needs a day, and without one a client without a day has not left.
        label, labels = "", {}
    return OutcomeRows(records[is_left & is_dated], stayed[stayed["day"] != ""], label, labels)


def find_status(table: pd.DataFrame, taken: set[str]) -> str:
    """Return the column with a status of three to five labels, "" without one."""
    for name in (name for name in table.columns if name and name not in taken):
        if target_suggestion.is_status(name, target_suggestion.labels_of(table[name])):
            return name
    return ""


def join_tables(tables: Sequence[FileTable]) -> pd.DataFrame:
    """Return the rows of all files, blank where a file lacks a column."""
    return pd.concat([file.table for file in tables], ignore_index=True).fillna("")


def is_filled_day(table: pd.DataFrame, date: str) -> bool:
    """Return whether a column is named as the day of leaving, and filled in nearly all rows.

    A table of clients has many columns, too, and a day of leaving in few of its rows.
    """
    return leaving_words.is_leaving_date(date) and (table[date] != "").mean() >= MIN_FILLED_FRACTION


def describe_records(
    tables: Sequence[FileTable], layout: TimeLayout, known: set[str], clients: pd.DataFrame
) -> FoundOutcomes | None:
    """Return the section of outcomes for matching files, or None.

    `clients` has the rows of the extracts.
    """
    table = join_tables(tables)
    key = find_key_column(table, layout.key, known)
    rest = table.drop(columns=[key] if key else [])
    date, form = find_date_column(rest)
    if not date:
        date, form = find_blank_day(rest), ISO_FORMAT
    is_wide = len(table.columns) > MAX_COLUMNS and not is_filled_day(table, date)
    if not key or not date or is_wide:
        return None
    folder = tables[0].path.parent
    section: dict[str, Any] = {
        "input_folder_path": str(folder.resolve()),
        "date": date,
        "horizon_days": choose_horizon(layout),
    }
    rows = part_records(table, key, date, form)
    section |= {"key": key} if key != layout.key else {}
    section |= {"format": form} if form != ISO_FORMAT else {}
    section |= {"label": rows.label} if rows.label else {}
    left, stayed = (part[part["key"].isin(known)] for part in (rows.left, rows.stayed))
    gone, same, stays = (
        find_steps(clients, layout, part, with_same_day=with_same_day)
        for part, with_same_day in ((left, False), (left, True), (stayed, True))
    )
    section["horizon_days"] = fit_horizon(section["horizon_days"], gone)
    doubt = describe_stays(stays, date, folder)
    if are_same_day(same) and are_same_day(stays):
        doubt = describe_doubt(date, folder, form)
    paths = tuple(file.path for file in tables)
    others = tuple(find_other_days(table, {key, date}))
    return FoundOutcomes(section, rows.labels, rows.left, folder, paths, doubt, others)


def is_outcome_folder(place: Path) -> bool:
    """Return whether a folder is named after outcomes or after leaving."""
    return leaving_words.means_left(place.name) or any(
        name in place.name.casefold() for name in ("outcome", "label", "result")
    )


def list_folders(place: Path, folder: Path) -> list[Path]:
    """List the shown folders in a place without a folder itself, none of an unreadable place."""
    try:
        return [
            path
            for path in place.iterdir()
            if path.is_dir() and not path.name.startswith(".") and not path.samefile(folder)
        ]
    except OSError:
        # A folder may be readable within one that is not.
        return []


def nearby_folders(folder: Path) -> list[Path]:
    """List the folders in and beside a folder, first the folders named after outcomes."""
    beside = list_folders(folder.resolve().parent, folder)
    found = [*list_folders(folder, folder), *beside]
    return sorted(found, key=lambda place: (not is_outcome_folder(place), place.name))


def find_blank_day(table: pd.DataFrame) -> str:
    """Return the column named as the day of leaving, if it is blank in all rows, else ""."""
    blank = (name for name in table.columns if name and (table[name] == "").all())
    return next(filter(leaving_words.is_leaving_date, blank), "")


def reason_against(table: pd.DataFrame, layout: TimeLayout, known: set[str], folder: Path) -> str:
    """Return the reason why the tables of a folder are no outcomes, "" if they are of others.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of the folder, as text.
    layout : TimeLayout
        With the key of the clients.
    known : set of str
        Their keys.
    folder : Path
        The folder, whose name may speak of leaving.
    """
    key = find_key_column(table, layout.key, known)
    is_named = is_outcome_folder(folder) or any(map(leaving_words.is_leaving_date, table.columns))
    if not is_named or (len(table.columns) > MAX_COLUMNS and not is_outcome_folder(folder)):
        return ""
    if not key:
        return f"none of its columns has the values of {layout.key!r}"
    rest = [name for name in table.columns if name and name != key]
    dates_like = [name for name in rest if is_mixed(table[name])]
    if dates_like:
        return f"{dates_like[0]!r} has dates of several formats; write all of them in one"
    if find_date_column(table[rest])[0]:
        return ""
    return f"besides {key!r} it needs the day of leaving, and no column has dates"


def describe_unused(folder: Path, layout: TimeLayout, table: pd.DataFrame) -> list[str]:
    """Return a sentence about each folder nearby that looks like outcomes and cannot be used.

    Parameters
    ----------
    folder : Path
        The folder of the tables.
    layout : TimeLayout
        With the key.
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of the tables.
    """
    notices = []
    for place in nearby_folders(folder):
        try:
            tables = read_tables(files.list_tables(place))
        except (PipelineError, OSError):
            continue
        if tables:
            reason = reason_against(join_tables(tables), layout, set(table[layout.key]), place)
            notices += [f"The files in {place} are left out: {reason}."] if reason else []
    return notices


def find_outcomes(
    folder: Path, others: Sequence[FileTable], layout: TimeLayout, table: pd.DataFrame
) -> FoundOutcomes | None:
    """Find files of outcomes among the remaining files of the folder, or in nearby folders.

    Parameters
    ----------
    folder : Path
        The folder of the tables.
    others : sequence of FileTable
        Files of the folder with other columns.
    layout : TimeLayout
        With the key.
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of the tables.

    Returns
    -------
    FoundOutcomes or None
        The files whose keys are clients, and that have a day.
    """
    if not layout.key or not layout.date:
        return None
    known = set(table[layout.key])
    if others and (found := describe_records(others, layout, known, table)):
        # A run takes no files of outcomes from among the client tables.
        moved = {"input_folder_path": missing_section(layout, folder)["input_folder_path"]}
        return msgspec.structs.replace(found, section=found.section | moved)
    for place in nearby_folders(folder):
        try:
            tables = read_tables(files.list_tables(place))
        except (PipelineError, OSError):
            # A folder that cannot be read has no outcomes to propose.
            continue
        if tables and (found := describe_records(tables, layout, known, table)):
            return found
    return None


def left_within(
    keys: pd.Series, days: pd.Series, found: FoundOutcomes
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of rows of leavers within the horizon, and of rows old enough to know."""
    if not len(found.records):
        return np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
    horizon = pd.Timedelta(days=found.section["horizon_days"])
    moments = pd.to_datetime(days, errors="coerce")
    latest = pd.to_datetime(found.records["day"]).groupby(found.records["key"]).max()
    gone = keys.map(latest)
    left = ((gone > moments) & (gone <= moments + horizon)).to_numpy()
    is_known = (moments + horizon <= latest.max()).to_numpy()
    return left, is_known
