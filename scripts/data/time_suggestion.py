"""Suggestions about time: key, day and dates of rows, changes and ratios, from one file or many."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from msgspec import Struct, field

from scripts.core import dates, sentences
from scripts.core.config import FILE_NAME, ISO_FORMAT, NumberMarks
from scripts.data import (
    cells,
    column_kinds,
    date_formats,
    day_numbers,
    key_spellings,
    leaving_words,
    name_dates,
    unlikely_keys,
)
from scripts.data.column_kinds import ColumnKind
from scripts.data.suggestion_reading import FileTable

# A column whose name says that it identifies clients, and one that numbers the rows of a table.
CLIENT_NAME = re.compile(
    r"(client|customer|account|acct|member|subscriber|user|tenant|contract|policy|patron|donor|"
    r"student|company|corporation|kund|konto|vertrag|mitglied|abonn)\w*?[ _.-]*"
    r"(id|no|nr|num|number|key|code|ref|nummer|#)?\.?$",
    re.I,
)
ID_NAME = re.compile(
    r"(^|[^a-z])(ids?|no|nr|key|code|ref|number|nummer)\.?$|[a-z](ID|Id|No|Nr|Key|Ref)$", re.I
)
ROW_NAME = re.compile(
    r"(^|[^a-z])(row|index|idx|line|record|seq|lfd|laufend|pos)|^$|^#$|^unnamed|"
    r"(^|[^a-z])(serial|sr?\.?)[ _.-]*(no|nr|number)\.?$",
    re.I,
)
PERSON_NAME = re.compile(r"name$|^surname|^title$", re.I)
OWN_DATE_NAME = re.compile(
    r"snapshot|as.?of|extract|export|report|period|month|cut.?off|stand|stichtag|observation|"
    r"^date$|^day$|^datum$|valid",
    re.I,
)
# The first day of a period: its rows are of the end.
START_NAME = re.compile(
    r"start|begin|from|(?<![a-z])(von|ab|debut|inizio|inicio|desde|dal)(?![a-z])", re.I
)
SIZE_NAME = re.compile(r"seat|licen[cs]e|limit|quota|capacity|allowance|included|booked", re.I)
USED_NAME = re.compile(r"activ|used|usage|assigned|occupied|consum", re.I)
COUNT_NAME = re.compile(
    r"\d+\s*d\b|login|session|visit|active|usage|used|minutes|calls|orders|events|opens|clicks|"
    r"messages|uploads|transactions|purchases|balance|spend|"
    # German, French, Italian and Spanish.
    r"\d+\s*(tage|jours?|giorni|d[ií]as|j\b)|besuch|anmeldung|nutzung|bestellung|anruf|umsatz|"
    r"verbrauch|visite|connexion|commande|utilis|achat|appel|visita|accessi|ordini|pedido|llamada",
    re.I,
)
MIN_UNIQUE_FRACTION = 0.99
# Some clients stand in two rows of a file without days.
MIN_NAMED_FRACTION = 0.5
# Of a key that repeats more often, each client has several contracts.
MIN_ROUGH_FRACTION = 0.9
# Rows without a key are rejected: a key is filled in most rows, and a column that is not named as
# one in nearly all.
MIN_FILLED_FRACTION = 0.5
MIN_RECURRING_FRACTION = 0.2
# A client has another row number in many of the files, and hardly ever another key.
MIN_RENUMBERED_FRACTION = 0.2
# A day of so many rows on average may be the day of an extract within one file.
MIN_ROWS_PER_DAY = 10
MIN_CHANGED_FRACTION, MAX_ONE_WAY_FRACTION = 0.2, 0.98
MIN_WITHIN_FRACTION = 0.98
MIN_BLANK_FRACTION = 0.2
# A day such as 9999-12-31 stands for none.
NO_END = "9000-01-01"
MAX_CHANGES = 3
N_SAMPLED = 2000
MAX_SHOWN_FILES = 3


class TimeLayout(Struct, frozen=True):
    """The columns about clients and time.

    `date` is a column, or FILE_NAME, or "" without days. `group` has the day of each row as text,
    or without days the number of the row's file. `leaving` has the formats of dates that only those
    who left have, `day_numbers` descriptions of dates written as numbers, and `unreadable` reasons
    why columns of dates cannot be read. `recurs` is True if
    clients have rows in several files or of several days. `hint` is a sentence about a day of the
    rows written as a number, or "".
    """

    key: str = ""
    date: str = ""
    date_format: str = ISO_FORMAT
    dates: dict[str, str] = field(default_factory=dict)
    leaving: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, ColumnKind] = field(default_factory=dict)
    group: pd.Series | None = None
    recurs: bool = False
    notices: tuple[str, ...] = ()
    day_numbers: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    hint: str = ""

    @property
    def n_days(self) -> int:
        """The number of days with rows."""
        return 0 if self.group is None or not self.date else int(self.group.nunique())


def find_kinds(table: pd.DataFrame, marks: Mapping[str, NumberMarks]) -> dict[str, ColumnKind]:
    """Find the kind of each column: dates, addresses, phone numbers, texts, or no kind."""
    kinds = {}
    for name in table.columns:
        counts = table[name].value_counts()
        texts = {str(text): int(count) for text, count in counts.items() if text}
        n_numbers = sum(
            count for text, count in texts.items() if cells.is_number(text, marks[name])
        )
        is_numeric = n_numbers >= MIN_UNIQUE_FRACTION * sum(texts.values()) > 0
        kinds[name] = column_kinds.count_kinds(texts).kind(is_numeric=is_numeric)
    return kinds


def find_month_columns(table: pd.DataFrame, kinds: Mapping[str, ColumnKind]) -> dict[str, str]:
    """Return the format of each column of months named for the day of its rows, such as period."""
    found = {}
    for name in (name for name in table.columns if OWN_DATE_NAME.search(name)):
        texts = [text for text in table[name].unique() if text]
        if kinds[name] is ColumnKind.DATES or len(texts) * MIN_ROWS_PER_DAY > len(table):
            continue
        date_format = date_formats.find_month_format(texts)
        if date_format:
            found[name] = date_format
    return found


def describe_dates(name: str, texts: Sequence[str], formats: Sequence[str]) -> list[str]:
    """Return sentences about dates in two formats that are both read, or that several fit."""
    chosen, notices = formats[0], []
    if chosen != ISO_FORMAT and any(map(dates.ISO_DATE.fullmatch, texts)):
        notices.append(f"The dates of {name!r} are in ISO 8601 and in {chosen!r}: both are read.")
    if len(formats) > 1:
        notices.append(
            f"The dates of {name!r} fit several formats; {chosen!r} is taken. If that is wrong,"
            f" write {formats[1]!r}."
        )
    return notices


def find_date_columns(
    table: pd.DataFrame, kinds: Mapping[str, ColumnKind]
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Return the format of each date column, the reasons of unreadable ones, and notices."""
    formats, notices, unreadable = find_month_columns(table, kinds), list[str](), dict[str, str]()
    for name in (name for name, kind in kinds.items() if name and kind is ColumnKind.DATES):
        unique = [text for text in table[name].unique() if text and not dates.is_no_day(text)]
        if not unique:
            unreadable[name] = "it has no date"
            continue
        texts = unique[:N_SAMPLED]
        found = date_formats.find_formats(texts)
        if not found:
            unreadable[name] = (
                "it looks like dates, and no known format fits all of them; write them in one, or"
                " their format into schema.dates"
            )
            continue
        formats[name] = found[0]
        words = [text for text in table[name].unique() if dates.is_no_day(text)]
        if words:
            notices.append(f"In {name!r} {cells.shorten(words[0])} is taken for no date.")
        notices += describe_dates(name, texts, found)
    return formats, unreadable, notices


def unique_fraction(column: pd.Series, group: pd.Series) -> float:
    """Return the share of filled cells with a value unique in its group, of a usual group.

    The median over the rows: a single file with mistaken values decides nothing.
    """
    filled = column != ""
    if not filled.any():
        return 0.0
    pairs = pd.DataFrame({"value": column[filled], "group": group[filled]})
    shares = (~pairs.duplicated()).groupby(pairs["group"]).transform("mean")
    return float(shares.median())


def is_filled(column: pd.Series, name: str) -> bool:
    """Return whether a column is filled in enough rows for a key."""
    is_named = bool(CLIENT_NAME.search(name) or ID_NAME.search(name))
    return (column != "").mean() >= (MIN_FILLED_FRACTION if is_named else MIN_UNIQUE_FRACTION)


def recurring_fraction(column: pd.Series, group: pd.Series) -> float:
    """Return the share of values in several groups."""
    filled = column != ""
    counts = group[filled].groupby(column[filled]).nunique()
    return float((counts > 1).mean()) if len(counts) else 0.0


def rank_key(table: pd.DataFrame, name: str, kind: ColumnKind) -> tuple[float, ...]:
    """Return how well a column suits as the key of clients, the larger the better."""
    column = table[name]
    n_blank = int((column == "").sum())
    is_contact = kind in (ColumnKind.EMAILS, ColumnKind.PHONES, ColumnKind.URLS)
    named = 3 if CLIENT_NAME.search(name) else 2 if ID_NAME.search(name) else 1
    is_weak = bool(ROW_NAME.search(name) or PERSON_NAME.search(name)) or is_contact
    sample = column[column != ""].head(N_SAMPLED)
    is_word = not sample.str.contains(r"\s").mean() > 0.1
    position = list(table.columns).index(name)
    return (not is_weak, not n_blank, is_word and named, is_word, -n_blank, -position)


def find_key(
    table: pd.DataFrame, candidates: Sequence[str], kinds: Mapping[str, ColumnKind]
) -> str:
    """Return the candidate column with the best names of clients, "" without candidates."""
    ranked = {name: rank_key(table, name, kinds[name]) for name in candidates}
    return max(ranked, key=lambda name: ranked[name], default="")


def are_row_numbers(column: pd.Series, group: pd.Series) -> bool:
    """Return whether the values of each group are whole numbers without a gap, such as 1 to 300."""
    numbers = pd.to_numeric(column, errors="coerce")
    parts = numbers.groupby(group)
    sizes = parts.size()
    spans = parts.max() - parts.min() + 1
    return bool((spans == sizes).all() and (parts.nunique() == sizes).all())


def without_row_numbers(
    table: pd.DataFrame, group: pd.Series, candidates: Sequence[str]
) -> list[str]:
    """Return candidates for the key without numbers of rows, which are given anew in each group.

    Clients may be numbered without a gap, too: by another candidate each of them then has the same
    number in every group.
    """
    numbering = [name for name in candidates if are_row_numbers(table[name], group)]
    others = [name for name in candidates if name not in numbering]
    renumbered = set()
    for name in numbering if group.nunique() > 1 else ():
        for other in others:
            # As numbers: 70001.0 in one file is 70001 in the next.
            of_value = pd.to_numeric(table[name], errors="coerce").groupby(table[other])
            n_numbers = of_value.nunique()[of_value.size() > 1]
            if len(n_numbers) and (n_numbers > 1).mean() >= MIN_RENUMBERED_FRACTION:
                renumbered.add(name)
    return [name for name in candidates if name not in renumbered]


def find_candidates(
    table: pd.DataFrame,
    group: pd.Series,
    kinds: Mapping[str, ColumnKind],
    measures: set[str],
) -> list[str]:
    """List the columns with a different value for every client of a group.

    Where contracts have a number of their own that comes back, the number of a customer with
    several contracts is no key.
    """
    found = dict[str, float]()
    for name in table.columns:
        if not name or kinds[name] is ColumnKind.DATES or name in measures:
            continue
        keys = unlikely_keys.without_stand_ins(table[name])
        needed = MIN_NAMED_FRACTION if CLIENT_NAME.search(name) else MIN_UNIQUE_FRACTION
        if is_filled(keys, name) and (share := unique_fraction(keys, group)) >= needed:
            found[name] = share
    has_finer = any(
        share >= MIN_UNIQUE_FRACTION and CLIENT_NAME.search(name) and does_recur(table, name, group)
        for name, share in found.items()
    )
    kept = [n for n, share in found.items() if not has_finer or share >= MIN_ROUGH_FRACTION]
    return without_row_numbers(table, group, kept)


def day_texts(column: pd.Series, date_format: str) -> pd.Series:
    """Return the day of each cell as an ISO date, "" for a cell without a date."""
    texts = [str(text) for text in column.unique()]
    days = date_formats.parse_days(texts, date_format)
    known = {
        text: "" if day is None or dates.is_no_day(text) else str(day)
        for text, day in zip(texts, days, strict=True)
    }
    return column.map(known)


def is_known_day(text: str) -> bool:
    """Return whether an ISO date is a day, and not one that stands for no end."""
    return bool(text) and text < NO_END


def own_dates(table: pd.DataFrame, files: pd.Series, formats: Mapping[str, str]) -> list[str]:
    """List the date columns with possible days of the rows, the likeliest first.

    One day per file, or few days with many rows each in a file that has several days.
    """
    fitting = []
    for name in formats:
        days = day_texts(table[name], formats[name])
        if (days == "").mean() > 1 - MIN_UNIQUE_FRACTION:
            continue
        per_file = days.groupby(files).nunique()
        is_stamp = bool((per_file == 1).all())
        is_panel = days.nunique() * MIN_ROWS_PER_DAY <= len(days)
        if is_stamp or (is_panel and OWN_DATE_NAME.search(name)):
            ranks = (not START_NAME.search(name), bool(OWN_DATE_NAME.search(name)), is_stamp)
            fitting.append((ranks, name))
    return [name for _, name in sorted(fitting, key=lambda found: found[0], reverse=True)]


def days_in_names(paths: Sequence[Path]) -> tuple[str, list[str], str]:
    """Find the dates in the names of all files.

    Returns
    -------
    tuple of str, list of str and str
        The format and the day of each file, with a notice about a second format that fits. All
        empty where a name has no day.
    """
    names = [path.name for path in paths]
    others = date_formats.find_name_formats(names)
    for date_format in (ISO_FORMAT, *others[:1]):
        days = [name_dates.find_day(name, date_format) for name in names]
        if None in days:
            continue
        notice = "" if date_format == ISO_FORMAT or len(others) == 1 else (
            f"The dates in the names of the files fit several formats; {date_format!r} is taken. If"
            f" that is wrong, write {others[1]!r}."
        )  # fmt: skip
        return date_format, [str(np.datetime64(d, "D")) for d in days if d is not None], notice
    return "", [], ""


def is_leaving_date(
    table: pd.DataFrame, name: str, date_format: str, group: pd.Series, *, has_days: bool
) -> bool:
    """Return whether a date column is filled for leavers only.

    Where extracts keep every client ever, it may be blank in few rows, and is past in all others.
    So is the end of a contract that is known only once a client has left.
    """
    is_named = leaving_words.is_leaving_date(name)
    if not is_named and not leaving_words.is_end_date(name):
        return False
    days = day_texts(table[name], date_format)
    is_blank = ~days.map({text: is_known_day(text) for text in days.unique()})
    if not is_blank.any() or is_blank.all():
        return False
    if is_named and (is_blank.mean() > MIN_BLANK_FRACTION or not has_days):
        return bool(is_blank.mean() > MIN_BLANK_FRACTION)
    known, own = days[~is_blank], group[~is_blank]
    return has_days and bool((known <= own).mean() >= MIN_UNIQUE_FRACTION)


def find_leaving_dates(
    table: pd.DataFrame, formats: Mapping[str, str], group: pd.Series, *, has_days: bool
) -> dict[str, str]:
    """Return the date columns that are filled for leavers only, with their formats."""
    return {
        name: form
        for name, form in formats.items()
        if is_leaving_date(table, name, form, group, has_days=has_days)
    }


def does_recur(table: pd.DataFrame, key: str, group: pd.Series) -> bool:
    """Return whether clients have rows of several days, or in several files."""
    return bool(key) and recurring_fraction(table[key], group) >= MIN_RECURRING_FRACTION


def is_day(table: pd.DataFrame, key: str, days: pd.Series, files: pd.Series) -> bool:
    """Return whether a date belongs to the row: one per file, or one per row of a client."""
    return does_recur(table, key, days) or bool((days.groupby(files).nunique() == 1).all())


def describe_repeats(
    files: Sequence[FileTable], table: pd.DataFrame, key: str, part: pd.Series
) -> list[str]:
    """Return sentences about files with several rows of a client, such as keys a program rounded.

    Parameters
    ----------
    files : sequence of FileTable
        The files.
    table : pandas.DataFrame of shape (n_rows, n_columns)
        The rows of the files, one file after the other.
    key : str
        The key, "" without one.
    part : pandas.Series of shape (n_rows,)
        The file and day of each row.

    Returns
    -------
    list of str
        A sentence about each of the first files.
    """
    if not key:
        return []
    rows = pd.DataFrame({"key": table[key], "part": part})
    repeats = rows.duplicated() & (rows["key"] != "")
    notices, start = [], 0
    for file in files:
        own = rows["key"][start : start + len(file.table)]
        repeated = own[repeats[own.index]]
        start += len(own)
        if len(repeated) > (1 - MIN_UNIQUE_FRACTION) * len(own):
            notices.append(
                f"{file.path.name} has {sentences.count(len(repeated), 'row')} with a {key!r} of"
                f" another of its rows, such as {cells.shorten(repeated.iloc[0])}. Of each client"
                " and day one row counts. If a program wrote the keys otherwise, export the file"
                " again."
            )
    return notices[:MAX_SHOWN_FILES]


def group_rows(
    table: pd.DataFrame, number: pd.Series, formats: Mapping[str, str], days: Sequence[str]
) -> dict[str, pd.Series]:
    """Return the day of each row by each column that may have the days, and under "" by the file.

    `number` is that of the file of each row, and `days` are those of the files, if known.
    """
    own = own_dates(table, number, formats)
    if days:
        own = [name for name in own if not START_NAME.search(name)]
    of_files = number.map(dict(enumerate(days))) if days else number
    return {**{name: day_texts(table[name], formats[name]) for name in own}, "": of_files}


def find_day_numbers(table: pd.DataFrame, number: pd.Series, names: Sequence[str]) -> str:
    """Return a sentence about a column with the day of each file as a number, "" without one."""
    return day_numbers.find_own(table, number, {n: bool(OWN_DATE_NAME.search(n)) for n in names})


def find_layout(
    files: Sequence[FileTable], marks: Mapping[str, NumberMarks], measures: set[str]
) -> TimeLayout:
    """Find key, day and dates of the rows of files.

    Parameters
    ----------
    files : sequence of FileTable
        Files with the same columns.
    marks : mapping of str to NumberMarks
        How numbers are written in each column.
    measures : set of str
        Numeric columns with fractions, which identify nobody.

    Returns
    -------
    TimeLayout
        What was found, with a notice about each part.
    """
    table = pd.concat([file.table for file in files], ignore_index=True)
    sizes = [len(file.table) for file in files]
    number = pd.Series(np.repeat(np.arange(len(files)), sizes), index=table.index)
    kinds = find_kinds(table, marks)
    formats, unreadable, notices = find_date_columns(table, kinds)
    by_name, days, about_names = days_in_names([file.path for file in files])
    groups = group_rows(table, number, formats, days)
    # Two files of a day, such as an extract and its correction, each have a client once.
    parts = {own: group.astype(str) + " " + number.astype(str) for own, group in groups.items()}
    keys = {
        own: find_key(table, find_candidates(table, part, kinds, measures), kinds)
        for own, part in parts.items()
    }
    own = next(
        name for name in groups if name == "" or is_day(table, keys[name], groups[name], number)
    )
    key, group = keys[own], groups[own]
    recurs = does_recur(table, key, group)
    has_days = bool(own or (by_name and (recurs or len(files) == 1)))
    notices += [about_names] if about_names and has_days and not own else []
    notices += describe_repeats(files, table, key, parts[own]) if has_days else []
    notices += key_spellings.describe_pairs(table[key], parts[own]) if key else []
    others = {name: form for name, form in formats.items() if name != own}
    leaving = find_leaving_dates(table, others, group, has_days=has_days)
    dates_before = {
        name: form
        for name, form in others.items()
        if name not in leaving and table[name].groupby(group).nunique().max() > 1
    }
    plain = [name for name in table.columns if name and name not in (key, *formats)]
    hint = "" if has_days else find_day_numbers(table, number, plain)
    notices += [hint] if hint else []
    return TimeLayout(
        key=key,
        date=(own or FILE_NAME) if key and has_days else "",
        date_format=formats[own] if own else by_name or ISO_FORMAT,
        dates=dates_before if key and has_days else {},
        leaving=leaving,
        kinds=find_kinds(table.drop_duplicates(key, keep="last"), marks) if recurs else kinds,
        group=group,
        recurs=recurs,
        notices=tuple(notices),
        day_numbers=day_numbers.find_features(table[plain], group) if has_days else {},
        unreadable=unreadable,
        hint=hint,
    )


def to_numbers(column: pd.Series, marks: NumberMarks) -> pd.Series:
    """Return the numbers of a text column, missing for every text without a number."""
    numbers = {
        text: cells.parse_number(text, None, marks)
        for text in column.unique()
        if cells.is_number(text, marks)
    }
    return column.map(numbers).astype("float64")


def find_changes(
    table: pd.DataFrame, layout: TimeLayout, numeric: Mapping[str, NumberMarks]
) -> list[str]:
    """List the numeric columns with a telling change since the row before.

    They change for a fifth of the clients from one day to the next, and not in one direction only,
    as totals do. Columns with a name of usage come first.
    """
    if not (layout.date and layout.recurs) or layout.group is None:
        return []
    order = pd.DataFrame({"key": table[layout.key], "day": layout.group}).sort_values(
        ["key", "day"], kind="stable"
    )
    is_same = (order["key"] == order["key"].shift()).to_numpy()
    found = []
    for name, marks in numeric.items():
        numbers = to_numbers(table[name], marks).loc[order.index]
        steps = numbers.diff()[is_same].dropna()
        moved = steps[steps != 0]
        if not len(steps) or len(moved) < MIN_CHANGED_FRACTION * len(steps):
            continue
        if max((moved > 0).mean(), (moved < 0).mean()) > MAX_ONE_WAY_FRACTION:
            continue
        found.append((not COUNT_NAME.search(name), name))
    return [name for is_other, name in sorted(found, key=lambda pair: pair[0]) if not is_other][
        :MAX_CHANGES
    ]


def find_ratios(
    table: pd.DataFrame, numeric: Mapping[str, NumberMarks]
) -> dict[str, tuple[str, str]]:
    """Return ratios of used to booked amounts, by a new name."""
    ratios = {}
    used = [name for name in numeric if USED_NAME.search(name) and not SIZE_NAME.search(name)]
    booked = [name for name in numeric if SIZE_NAME.search(name)]
    for size in booked:
        whole = to_numbers(table[size], numeric[size])
        for part in used:
            numbers = to_numbers(table[part], numeric[part])
            both = whole.notna() & numbers.notna()
            if both.any() and (numbers[both] <= whole[both]).mean() >= MIN_WITHIN_FRACTION:
                ratios[f"{part} of {size}"] = (part, size)
    return ratios
