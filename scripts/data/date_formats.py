"""Finds out the format of dates in texts and in the names of files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

from scripts.core.config import ISO_FORMAT
from scripts.core.dates import parse_date

MIN_FRACTION = 0.99
# The day may be followed by a time of day.
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
DAY_FIRST = ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y")
MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y")
OTHERS = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y")
NAMED = ("%b %d, %Y", "%B %d, %Y", "%b %d %Y")
# Of a month the last day counts.
MONTHS = ("%Y-%m", "%Y/%m", "%Y.%m")
# Only in a column named for the day of its rows: 202603 may be an amount as well.
NAMED_MONTHS = (
    *MONTHS,
    "%Y%m",
    "%Y_%m",
    "%m/%Y",
    "%m.%Y",
    "%m-%Y",
    "%b %Y",
    "%B %Y",
    "%b-%y",
    "%b-%Y",
)
FORMATS = (*DAY_FIRST, *MONTH_FIRST, *OTHERS, *NAMED)
# A date without marks is a whole number, too: 46053 is no March of 4605.
PACKED, YEARS = ("%Y%m", "%Y%m%d"), range(1900, 2101)
# Formats in names of files, beside ISO 8601: "clients_31.03.2026.csv".
NAME_FORMATS = {
    **{
        form.replace("-", mark): re.compile(
            rf"(?<!\d)\d{{1,2}}{re.escape(mark)}\d{{1,2}}{re.escape(mark)}\d{{{n_digits}}}(?!\d)"
        )
        for mark in (".", "-", "_")
        for form, n_digits in (("%d-%m-%Y", 4), ("%m-%d-%Y", 4), ("%d-%m-%y", 2), ("%m-%d-%y", 2))
    },
    "%d%m%Y": re.compile(r"(?<!\d)\d{8}(?!\d)"),
    "%m%d%Y": re.compile(r"(?<!\d)\d{8}(?!\d)"),
    "%y%m%d": re.compile(r"(?<!\d)\d{6}(?!\d)"),
}


def parse_days(texts: Iterable[str], date_format: str) -> list[date | None]:
    """Return the day of each text, None for a text without a date of the format."""
    days: list[date | None] = []
    for text in texts:
        try:
            days.append(parse_date(text, date_format))
        except ValueError:
            days.append(None)
    return days


def fits(texts: Sequence[str], date_format: str) -> bool:
    """Return whether at least 99 % of texts are dates of a format."""
    n_bad, n_allowed = 0, (1 - MIN_FRACTION) * len(texts)
    for day in parse_days(texts, date_format):
        n_bad += day is None or (date_format in PACKED and day.year not in YEARS)
        if n_bad > n_allowed:
            return False
    return bool(texts)


def is_regular(days: Sequence[date]) -> bool:
    """Return whether all days are the same day of a month, or the last day."""
    is_last = all((day + timedelta(days=1)).day == 1 for day in days)
    return is_last or len({day.day for day in days}) == 1


def find_month_format(texts: Sequence[str], formats: Sequence[str] = NAMED_MONTHS) -> str:
    """Return the format of months that fits, "" without one."""
    return next((date_format for date_format in formats if fits(texts, date_format)), "")


def find_formats(texts: Sequence[str]) -> list[str]:
    """List the matching date formats, the likeliest first.

    Parameters
    ----------
    texts : sequence of str
        Different filled cells of a column.

    Returns
    -------
    list of str
        ISO 8601 alone where it fits. Several formats, if no day is above the twelfth. Days first
        are likelier, unless only months first are the same day of every month.
    """
    if fits(texts, ISO_FORMAT):
        return [ISO_FORMAT]
    months = find_month_format(texts, MONTHS)
    if months:
        return [months]
    return put_likeliest_first(
        {day + time: texts for day in FORMATS for time in TIMES if fits(texts, day + time)}
    )


def put_likeliest_first(found: Mapping[str, Sequence[str]]) -> list[str]:
    """List formats, each with its texts: the second first if it alone is of a day of the month."""
    names = list(found)
    days = [[day for day in parse_days(found[name], name) if day] for name in names[:2]]
    if len(names) > 1 and not is_regular(days[0]) and is_regular(days[1]):
        names[0], names[1] = names[1], names[0]
    return names


def find_name_formats(names: Sequence[str]) -> list[str]:
    """List the formats of dates in the names of files, if unlike ISO 8601, the likeliest first."""
    found = {}
    for date_format, pattern in NAME_FORMATS.items():
        matches = [match for match in map(pattern.search, names) if match]
        texts = [match[0] for match in matches]
        if len(texts) == len(names) and fits(texts, date_format):
            found[date_format] = texts
    return put_likeliest_first(found)
