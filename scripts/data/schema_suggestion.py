"""Suggestion of the sections of config.json for a folder of client tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import UNSET, Struct
from numpy.typing import NDArray

from scripts.core import sentences
from scripts.core.config import FILE_NAME, ISO_FORMAT, Schema, normalise_label
from scripts.core.errors import DatasetError
from scripts.data import (
    cells,
    client_states,
    csv_reader,
    leaving_suggestion,
    missing_keys,
    number_suggestion,
    outcome_suggestion,
    role_suggestion,
    suggestion_reading,
    target_suggestion,
    time_suggestion,
    unlikely_keys,
    vanished_clients,
)
from scripts.data.leaving_suggestion import FoundLeaving
from scripts.data.outcome_suggestion import FoundOutcomes
from scripts.data.read_report import FileReading
from scripts.data.role_suggestion import Roles
from scripts.data.suggestion_reading import FolderReading
from scripts.data.time_suggestion import TimeLayout

# Of an outcome the newest of at least two extracts is blank.
MIN_FILLED_ROWS, MAX_PENDING_FRACTION = 5, 0.9
MAX_SHOWN_FILES = 5
Flags = NDArray[np.bool_]


class Suggestion(Struct, frozen=True):
    """The suggested sections, whether the latest rows are the test, and notices in plain words."""

    section: dict[str, Any]
    notices: tuple[str, ...]
    outcomes: dict[str, Any] | None = None
    tests_latest_rows: bool = False


def describe_files(readings: list[FileReading]) -> list[str]:
    """Return sentences about the formats of the files and about unreadable files."""
    kinds = sorted({(r.separator, r.encoding) for r in readings if not r.refused})
    written = [f"Separator {mark!r}, encoding {encoding}." for mark, encoding in kinds]
    refused = [f"{r.path.name} cannot be read: {r.refused}." for r in readings if r.refused]
    return written + refused


def describe_second_header(described: list[str]) -> list[str]:
    """Return a sentence about a second header, if there is a description of columns."""
    if not described:
        return []
    return [
        f"The second line describes the columns, such as {cells.shorten(described[0])}: take it out"
        " of the file. It is left out here, and ingestion will reject it."
    ]


def describe_numbers(numbers: Schema) -> tuple[dict[str, Any], list[str]]:
    """Return the keys of the marks in numbers, and sentences about the marks and the currencies."""
    marks, notices = number_suggestion.describe_marks(numbers.marks(""))
    notices += [
        f"Amounts of {name!r} are in {sign}, with or without the sign."
        for name, sign in (numbers.currency or {}).items()
    ]
    return marks, notices


def describe_layout(layout: TimeLayout, table: pd.DataFrame, sizes: list[int]) -> list[str]:
    """Return sentences about the key, the day and the dates of the rows of files of some sizes."""
    missing = missing_keys.describe(table, layout, sizes).removeprefix(" Besides, ")
    notices = [missing[0].upper() + missing[1:]] if missing and len(sizes) > 1 else []
    if layout.key:
        n_blank = int((table[layout.key] == "").sum())
        notices.append(f"Likely identifier: {layout.key!r}.")
        if n_blank:
            notices[-1] += (
                f" It is blank in {sentences.count(n_blank, 'row')}, which will be rejected."
            )
        notices += unlikely_keys.describe(table[layout.key])
    if layout.date == FILE_NAME:
        notices.append("The names of the files have the day as of which the rows are.")
    elif layout.date:
        days = sentences.count(layout.n_days, "day", "different days")
        notices.append(f"{layout.date!r} is the day as of which a row is; it has {days}.")
    elif layout.recurs:
        notices.append(
            f"The same clients stand in several of the {len(sizes)} files, and neither a column nor"
            " the names say as of when: the last file by name counts. Put the day into each name,"
            " such as clients_2026-03-31.csv, and try again."
        )
    if layout.dates:
        notices.append(f"Dates used as days before the row: {', '.join(map(repr, layout.dates))}.")
    return [*notices, *layout.notices]


def suggest_features(
    table: pd.DataFrame, layout: TimeLayout, roles: Roles, declared: Schema
) -> tuple[dict[str, Any], list[str]]:
    """Return the keys of the schema about dates, changes, ratios and lists, with notices."""
    marks = {name: declared.marks(name) for name in roles.numeric}
    keys: dict[str, Any] = {}
    if roles.is_listed:
        keys["categorical"] = sorted(roles.categorical, key=list(table.columns).index)
    percent = [name for name in declared.percent if name in roles.numeric]
    keys |= {"percent": percent} if percent else {}
    signs = declared.currency or {}
    currency = {name: sign for name, sign in signs.items() if name in roles.numeric}
    keys |= {"currency": currency} if currency else {}
    if not layout.date:
        return keys, []
    formats = layout.dates
    is_iso = set(formats.values()) <= {ISO_FORMAT}
    keys |= {"dates": list(formats) if is_iso else formats} if formats else {}
    changes = time_suggestion.find_changes(table, layout, marks)
    ratios = time_suggestion.find_ratios(table, marks)
    keys |= {"changes": changes} if changes else {}
    keys |= {"ratios": ratios} if ratios else {}
    notices = []
    if changes:
        notices.append(f"Changes since the row before are features, too: {', '.join(changes)}.")
    if ratios:
        notices.append(f"Ratios are features, too: {', '.join(ratios)}.")
    return keys, notices


def find_filled_later(table: pd.DataFrame, layout: TimeLayout) -> list[str]:
    """List the columns with values on earlier days and with none on the newest day."""
    days = vanished_clients.whole_days(layout)
    if len(days) < 2 or layout.group is None:
        return []
    is_newest = (layout.group >= str(days[-1])).to_numpy()
    return [
        name
        for name in table.columns
        if name
        and (table[name][is_newest] == "").all()
        and (table[name][~is_newest] != "").sum() >= MIN_FILLED_ROWS
    ]


def find_pending(table: pd.DataFrame, later: list[str]) -> list[str]:
    """List the columns of two labels, or a status, that have an outcome not known yet."""
    labels = {name: target_suggestion.labels_of(table[name]) for name in later}
    return [
        name
        for name, known in labels.items()
        if (table[name] == "").mean() <= MAX_PENDING_FRACTION
        and (len(known) == 2 or target_suggestion.is_status(name, known))
    ]


def describe_no_day(layout: TimeLayout, n_files: int) -> str:
    """Return sentences about clients of several files without a day, or a column of who left."""
    return (
        f"Clients come back in the {n_files} files, by {layout.key!r}, and neither a column nor the"
        " names of the files say as of when: put the day into each name, such as"
        " clients_2026-03-31.csv, and try again. No column has two values, either: if one says who"
        " left, name it with --target."
    )


def choose_target(
    table: pd.DataFrame, layout: TimeLayout, target: str | None, sizes: list[int]
) -> str:
    """Return the column of the label, "" if the outcomes of dated rows are elsewhere.

    `sizes` has the number of rows of each file, for a message.

    Raises
    ------
    DatasetError
        If no column may be a label, and the rows have no days.
    """
    if target is not None:
        if target not in table.columns:
            raise DatasetError(f"No column is called {target!r}; there are {list(table.columns)}.")
        return target
    free = [name for name in table.columns if name not in (layout.key, layout.date)]
    pending = find_pending(table, find_filled_later(table[free], layout))
    if pending:
        return target_suggestion.guess_target(table[pending])
    try:
        guess = target_suggestion.guess_target(table[free])
    except DatasetError as error:
        if not layout.date:
            reasons = missing_keys.describe(table, layout, sizes)
            hint = f" Besides, {layout.hint}" if layout.hint else ""
            words = describe_no_day(layout, len(sizes)) if layout.recurs else error
            raise DatasetError(f"{words}{reasons}{hint}") from error
        return ""
    # A client as of a day has an outcome later, in another file. Any two values are no label.
    is_likely = not layout.date or target_suggestion.is_likely(table[guess], guess)
    return guess if is_likely and not client_states.is_state(table, guess, layout) else ""


def find_section(
    found: FoundOutcomes | None, target: str, layout: TimeLayout, folder: Path,
    leaving: FoundLeaving | None,
) -> dict[str, Any] | None:  # fmt: skip
    """Return the section of outcomes, perhaps for a missing folder without any outcomes."""
    if target:
        return None
    if found is not None:
        return found.section
    if leaving is not None:
        return {"horizon_days": leaving.horizon_days}
    return outcome_suggestion.missing_section(layout, folder)


def describe_days(found: FoundOutcomes) -> list[str]:
    """Return sentences about files of outcomes without a day, or with several columns of days."""
    date = found.section["date"]
    notices = [
        f"{name!r} has days, too. If the clients left then, and not on {date!r}, write it into"
        " outcomes.date."
        for name in found.other_days
    ]
    if not len(found.records):
        notices.append(f"No day is filled in yet: write days like 2026-03-31 into {date!r}.")
    return notices


def describe_outcomes(
    found: FoundOutcomes | None, target: str, layout: TimeLayout, folder: Path,
    table: pd.DataFrame, leaving: FoundLeaving | None,
) -> list[str]:  # fmt: skip
    """Return sentences about the files of outcomes, found or to be made, or about the column."""
    if target:
        return []
    about_column = [] if leaving is None else leaving_suggestion.describe(leaving)
    if found is None and leaving is not None:
        return about_column
    if found is None:
        section = outcome_suggestion.missing_section(layout, folder)
        unused = outcome_suggestion.describe_unused(folder, layout, table)
        other = "other " if unused else ""
        return [
            *unused,
            f"No {other}column and no {other}folder nearby says who left. Put files with the"
            f" columns {layout.key!r} and {section['date']!r}, the day of leaving, into"
            f" {section['input_folder_path']}, or name a column with --target.",
            *vanished_clients.describe(table, layout),
        ]
    names = ", ".join(path.name for path in found.paths[:3])
    days = found.section["horizon_days"]
    return [
        *about_column[:1],
        f"Outcomes: {sentences.count(len(found.records), 'client')} left by"
        f" {found.section['date']!r} of {sentences.count(len(found.paths), 'file')} in"
        f" {found.folder}: {names}.",
        *describe_days(found),
        f"A row counts as left if its client left within {days} days; set horizon_days to how far"
        " ahead you want to know.",
        *([] if len(found.records) else vanished_clients.describe(table, layout)),
    ]


def describe_labels(
    table: pd.DataFrame, target: str, found: FoundOutcomes | None
) -> tuple[dict[str, str], list[str]]:
    """Return the labels of the target or of the outcome files, with sentences about the target."""
    if target:
        return target_suggestion.describe_target(table[target], target)
    return (found.labels if found else {}), []


def find_labels(
    table: pd.DataFrame, layout: TimeLayout, declared: Schema,
    found: FoundOutcomes | FoundLeaving | None,
) -> tuple[Flags, Flags]:  # fmt: skip
    """Return masks of the rows of leavers, and of the rows with a known outcome."""
    if isinstance(found, FoundLeaving):
        is_client = ~found.is_gone
        return found.left[is_client], found.is_known[is_client]
    if declared.target in table.columns:
        labels = table[declared.target].map(normalise_label)
        is_known = labels.isin(declared.labels).to_numpy()
        return (labels.map(declared.labels) == 1).to_numpy(), is_known
    if found is None or layout.group is None:
        return np.zeros(len(table), np.bool_), np.zeros(len(table), np.bool_)
    return outcome_suggestion.left_within(table[layout.key], layout.group, found)


class SuggestedColumns(Struct, frozen=True):
    """The keys of the schema about columns, and notices about them."""

    keys: dict[str, Any]
    ignore: list[str]
    notices: list[str]


def name_clients(layout: TimeLayout) -> dict[str, Any]:
    """Return the schema's keys for clients and days."""
    if not layout.date:
        return {"ids": [layout.key] if layout.key else []}
    is_plain = layout.date_format == ISO_FORMAT
    date = layout.date if is_plain else {"column": layout.date, "format": layout.date_format}
    return {"key": layout.key, "date": date}


def keep_clients(
    table: pd.DataFrame, layout: TimeLayout, leaving: FoundLeaving | None
) -> tuple[pd.DataFrame, TimeLayout]:
    """Return the rows of clients who had not left, without the column of leaving."""
    if leaving is None or layout.group is None:
        return table, layout
    is_client = ~leaving.is_gone
    kept = msgspec.structs.replace(
        layout, group=layout.group[is_client],
        leaving={n: form for n, form in layout.leaving.items() if n != leaving.name},
    )  # fmt: skip
    return table.drop(columns=leaving.name, errors="ignore")[is_client], kept


def reason_of_blank(name: str, lacking: Mapping[str, Sequence[str]]) -> str:
    """Return the reason to ignore a column without values on the newest day.

    Parameters
    ----------
    name : str
        The column.
    lacking : mapping of str to sequence of str
        The missing columns of files, by name of the file.
    """
    if any(name in names for names in lacking.values()):
        return (
            "the newest extract lacks it; if it has another name there, rename it in the older"
            " files, and try again"
        )
    return "it is blank on the newest day, and so is filled in later"


def describe_stand_ins(table: pd.DataFrame, declared: Schema, roles: Roles) -> list[str]:
    """Return sentences about columns of numbers with a word in place of a missing number."""
    notices = []
    for name in [name for name in table.columns if name not in roles.numeric]:
        word = number_suggestion.find_stand_in(table[name], declared.marks(name))
        if word:
            notices.append(
                f"{name!r} has numbers, and {cells.shorten(word)} in"
                f" {int((table[name] == word).sum())} of {len(table)} rows: with a word it is no"
                " numeric column. If the word stands for a missing number, leave the cells blank,"
                " and try again."
            )
    return notices


def suggest_columns(
    table: pd.DataFrame,
    layout: TimeLayout,
    declared: Schema,
    found: FoundOutcomes | FoundLeaving | None,
    lacking: Mapping[str, Sequence[str]],
) -> SuggestedColumns:
    """Return features, dates and columns to ignore as keys of the schema, with notices.

    The files in `lacking` lack the columns there.
    """
    left, is_known = find_labels(table, layout, declared, found)
    clients = table[is_known] if is_known.any() else table
    if layout.date:
        clients = table.drop_duplicates(layout.key, keep="last")
    roles = role_suggestion.sort_columns(clients.drop_duplicates(), declared, layout)
    for name in find_filled_later(table, layout):
        if name in (*roles.numeric, *roles.categorical):
            roles.set_aside(name, reason_of_blank(name, lacking))
    taken = {layout.key, layout.date, declared.target, *layout.dates, *layout.leaving}
    free = table[[name for name in table.columns if name and name not in taken]]
    about_leaks = role_suggestion.set_leaks_aside(table[is_known], left[is_known], roles, declared)
    keys, about_features = suggest_features(table, layout, roles, declared)
    names = role_suggestion.find_names(roles, layout)
    aside = {name: why for name, why in roles.aside.items() if name not in names}
    if names:
        keys["names"] = names
    notices = [
        *about_leaks,
        *describe_stand_ins(free, declared, roles),
        *(f"Name of a client for people: {name!r}; the list shows it." for name in names),
        *(f"Ignored: {name!r}: {why}." for name, why in aside.items() if why),
        *about_features,
        f"Features: {len(roles.numeric)} numeric and {len(roles.categorical)} categorical.",
    ]
    return SuggestedColumns(keys, list(aside), notices)


def describe_strangers(reading: FolderReading, found: FoundOutcomes | None) -> list[str]:
    """Return a sentence about files with columns unlike most files."""
    if not reading.others:
        return []
    names = ", ".join(file.path.name for file in reading.others[:MAX_SHOWN_FILES])
    n_more = len(reading.others) - MAX_SHOWN_FILES
    names += f" and {n_more} more" if n_more > 0 else ""
    if found is None or not set(found.paths) & {file.path for file in reading.others}:
        return [f"Left out, since their columns are others: {names}. Move them elsewhere."]
    return [
        f"{names} hold outcomes. Move them into {found.section['input_folder_path']} before the"
        " first run."
    ]


def describe_others(reading: FolderReading, found: FoundOutcomes | None) -> list[str]:
    """Return sentences about files with fewer or different columns than most files."""
    return [
        *(
            f"{name} lacks the columns {names}, and a run refuses it. Add the columns, blank where"
            " nothing is known, or list them in schema.ignore."
            for name, names in reading.lacking.items()
        ),
        *describe_strangers(reading, found),
    ]


class FolderLayout(Struct, frozen=True):
    """The files of a folder, how their numbers are written, and what they say of clients and days.

    `table` has the rows of all files.
    """

    reading: FolderReading
    separator: str
    numbers: Schema
    layout: TimeLayout
    table: pd.DataFrame


def read_layout(paths: list[Path]) -> FolderLayout:
    """Read files as text, and find the marks of numbers, the key and the days.

    Raises
    ------
    DatasetError
        If no file can be read.
    """
    separator, _ = suggestion_reading.find_separator(paths)
    reading = suggestion_reading.read_folder(paths, separator)
    table = reading.table
    currency = number_suggestion.find_currency(table)
    marks, _ = number_suggestion.describe_marks(number_suggestion.find_marks(table, currency))
    percent = tuple(number_suggestion.find_percent(table))
    numbers = Schema(
        target="", ids=(), numeric=(), percent=percent, currency=currency or UNSET, **marks
    )
    by_column = {name: numbers.marks(name) for name in table.columns}
    measures = number_suggestion.find_measures(table, by_column)
    layout = time_suggestion.find_layout(reading.tables, by_column, measures)
    return FolderLayout(reading, separator, numbers, layout, table)


def suggest(paths: list[Path], target: str | None = None) -> Suggestion:
    """Suggest a schema section for files, with the reasons.

    Parameters
    ----------
    paths : list of Path
        CSV files of clients.
    target : str, optional
        The target, if it is known.

    Returns
    -------
    Suggestion
        `section` and `outcomes` are ready for config.json.

    Raises
    ------
    DatasetError
        If no file can be read, or no column may be a target.
    """
    folder = read_layout(paths)
    reading, layout, numbers, table = folder.reading, folder.layout, folder.numbers, folder.table
    marks, about_marks = describe_numbers(numbers)
    found = outcome_suggestion.find_outcomes(paths[0].parent, reading.others, layout, table)
    doubts = [found.doubt] if found and found.doubt else []
    found = None if doubts else found
    is_named = target is not None
    target = choose_target(table, layout, target, reading.sizes)
    labels, about_target = describe_labels(table, target, found)
    if target and not is_named:
        about_target += target_suggestion.describe_doubt(table, target)
    declared = msgspec.structs.replace(
        numbers, target=target, ids=(layout.key,) if layout.key else (),
        inferred=("numeric", "categorical"), **labels,
    )  # fmt: skip
    states = [] if target else client_states.find(table, layout)
    leaving = None if target else leaving_suggestion.find(table, layout)
    if leaving is not None:
        states = [name for name in states if name != leaving.name]
    columns = suggest_columns(
        *keep_clients(table.drop(columns=states), layout, leaving), declared,
        None if target else found or leaving, reading.lacking,
    )  # fmt: skip
    separator = folder.separator
    separators = {} if separator == csv_reader.AUTO else {"separator": separator}
    return Suggestion(
        ({"target": target} if target else {})
        | labels | name_clients(layout) | ({"leaving": leaving.key} if leaving else {})
        | columns.keys | separators | marks
        | {"ignore": [*columns.ignore, *states]},
        (*describe_files(reading.readings), *describe_second_header(reading.described),
         *describe_others(reading, found), *about_target, *about_marks,
         *describe_layout(layout, table, reading.sizes),
         *doubts, *describe_outcomes(found, target, layout, paths[0].parent, table, leaving),
         *client_states.describe(states, layout, has_outcomes=leaving is not None),
         *columns.notices),
        find_section(found, target, layout, paths[0].parent, leaving),
        layout.n_days > 1 or (bool(layout.date) and not target),
    )  # fmt: skip
