"""Finds the day of all rows of a file in its name.

A name has a day, or a period whose last day counts: a month, a week of ISO 8601, or a quarter.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

from scripts.core.config import FILE_NAME, ISO_FORMAT, DateColumn
from scripts.core.dates import parse_date
from scripts.data import client_dates, leaving_words
from scripts.data.cells import EPOCH

YEARS = range(1900, 2200)
YEAR = r"(?P<year>\d{4})"
GAP = r"[ ._,-]*"
# 2026-03-31, 2026_03_31, 20260331, or a month alone.
ISO_IN_NAME = re.compile(
    rf"(?<!\d){YEAR}(?P<gap>[-_.]?)(?P<month>\d{{2}})(?:(?P=gap)(?P<day>\d{{2}}))?(?!\d)", re.ASCII
)
# What the directives of `datetime.strptime` match in the name of a file.
DIRECTIVES = {"%Y": r"\d{4}", "%y": r"\d{2}", "%m": r"\d{1,2}", "%d": r"\d{1,2}"}
OTHER_DIRECTIVE = r"[^\W_]+"
# The names of a month without accents, in English, German, French, Italian, Spanish, Dutch,
# Portuguese and Polish.
# Short words with another meaning, such as the Italian "set", are left out.
MONTH_NAMES = (
    "jan january januar januari janner jaenner janvier janv gennaio enero ene janeiro styczen"
    " stycznia",
    "feb february februar februari feber fevrier fevr febbraio febrero fevereiro luty lutego",
    "mar march marz maerz mrz mars marzo maart mrt marco marzec marca",
    "apr april avril avr aprile abril abr kwiecien kwietnia",
    "may mai maggio mayo mei maio maj maja",
    "jun june juni juin giugno junio junho czerwiec czerwca",
    "jul july juli juillet juil luglio julio julho lipiec lipca",
    "aug august aout agosto augustus sierpien sierpnia",
    "sep sept september septembre settembre septiembre setiembre setembro wrzesien wrzesnia",
    "oct october oktober okt octobre ottobre octubre outubro pazdziernik pazdziernika",
    "nov november novembre noviembre listopad listopada",
    "dec december dezember dez decembre dicembre diciembre dic dezembro grudzien grudnia",
)
MONTHS = {word: k for k, words in enumerate(MONTH_NAMES, 1) for word in words.split()}
MONTH_WORD = rf"(?P<word>{'|'.join(sorted(MONTHS, key=len, reverse=True))})"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|\.)?"
# 31 March 2026, March 31 2026, Mar2026, and 2026-March.
NAMED_MONTHS = (
    rf"(?<!\d){DAY}{GAP}(?<![a-z]){MONTH_WORD}{GAP}{YEAR}(?!\d)",
    rf"(?<![a-z]){MONTH_WORD}{GAP}(?:{DAY}[ ._,-]+)?{YEAR}(?!\d)",
    rf"(?<!\d){YEAR}{GAP}{MONTH_WORD}(?![a-z])",
)
# 03-2026, but not the end of 31-03-2026.
MONTH_FIRST = rf"(?<!\d)(?<!\d[-_.])(?P<month>\d{{2}})[-_.]{YEAR}(?![-_.]?\d)"
WEEKS = (
    rf"(?<!\d){YEAR}[ ._-]?(?:w|wk|week|kw|s)[ ._-]?(?P<week>\d{{2}})(?!\d)",
    rf"(?<![a-z])(?:w|wk|week|kw|semaine)[ ._-]?(?P<week>\d{{1,2}})[ ._-]{YEAR}(?!\d)",
)
QUARTERS = (
    rf"(?<!\d){YEAR}[ ._-]?q(?P<quarter>[1-4])(?!\d)",
    rf"(?<![a-z])q(?P<quarter>[1-4])[ ._-]?{YEAR}(?!\d)",
)
# Weeks before months: KW05-2026 is no month.
OTHER_FORMS = [re.compile(form) for form in (*NAMED_MONTHS, *WEEKS, *QUARTERS, MONTH_FIRST)]
N_MONTHS = 12

Found = re.Match[str]


def last_day(year: int, month: int) -> date:
    """Return the last day of a month, of which there are twelve."""
    if month > N_MONTHS:
        raise ValueError(f"expected a month, got {month}")
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)


def day_of_month(found: Found) -> date:
    """Return the day of a year and a month, the last one without a day."""
    parts = found.groupdict()
    year = int(parts["year"])
    month = MONTHS[parts["word"]] if parts.get("word") else int(parts["month"])
    return date(year, month, int(parts["day"])) if parts.get("day") else last_day(year, month)


def day_of_other(found: Found) -> date:
    """Return the last day of a week, a quarter or a month, or the day of a named month."""
    parts = found.groupdict()
    if parts.get("week"):
        return date.fromisocalendar(int(parts["year"]), int(parts["week"]), 7)
    if parts.get("quarter"):
        return last_day(int(parts["year"]), 3 * int(parts["quarter"]))
    return day_of_month(found)


def valid_days(found: Iterator[Found], day_of: Callable[[Found], date]) -> list[date]:
    """Return the days of matches, without impossible days such as 30 February."""
    days = []
    for match in found:
        try:
            days.append(day_of(match))
        except ValueError:
            continue
    return [day for day in days if day.year in YEARS]


def find_plain_day(name: str) -> date | None:
    """Return the last date of ISO 8601 in a name, else the last one of the other forms."""
    days = valid_days(ISO_IN_NAME.finditer(name), day_of_month)
    if days:
        return days[-1]
    text = leaving_words.without_accents(name).casefold()
    matching = next((form for form in OTHER_FORMS if form.search(text)), None)
    if matching is None:
        return None
    days = valid_days(matching.finditer(text), day_of_other)
    return days[-1] if days else None


def find_formatted_day(name: str, date_format: str) -> date | None:
    """Return the last date of a format in a name, or None."""
    parts = re.split(r"(%.)", date_format)
    # Without marks between them day and month have two digits: 2026 is no date of %y%m%d.
    is_packed = not any(parts[::2])
    directives = {
        n: form.replace("1,", "") if is_packed else form for n, form in DIRECTIVES.items()
    }
    pattern = "".join(
        directives.get(part, OTHER_DIRECTIVE) if part.startswith("%") else re.escape(part)
        for part in parts
    )
    for text in reversed(re.findall(rf"(?<!\d){pattern}(?!\d)", name)):
        try:
            return parse_date(text, date_format)
        except ValueError:
            continue
    return None


def find_day(name: str, date_format: str) -> int | None:
    """Return the day in the name of a file, counted from 1970-01-01, or None without one.

    Parameters
    ----------
    name : str
        The name, such as "clients_2026-03-31.csv", "Kunden März 2026.csv", "2026-Q1.csv" or
        "2026-W13.csv".
    date_format : str
        As for `datetime.strptime`. A file with an ISO date has its day as well: an upload gets one
        into its name.

    Returns
    -------
    int or None
        The day of the last date in the name, the last day of a month, a week or a quarter.
    """
    day = find_formatted_day(name, date_format) if date_format != ISO_FORMAT else None
    day = day or find_plain_day(name)
    return None if day is None else day.toordinal() - EPOCH


def file_day(path: Path, own: DateColumn) -> int | None:
    """Return the day of all rows of a file, None if a column has the days."""
    return find_day(path.name, own.format) if own.column == FILE_NAME else None


def ranking_day(name: str, own: DateColumn | None) -> int:
    """Return the day of a table to rank: that in its name where names have it, else today."""
    day = None if own is None else file_day(Path(name), own)
    return client_dates.today() if day is None else day
