"""Reads dates in ISO 8601 or a format of `datetime.strptime`, and formats days for people."""

import re
from datetime import date, datetime, timedelta

from scripts.core.config import ISO_FORMAT

# A date, perhaps with a time of day, which does not count.
ISO_DATE = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)

# ISO 8601 in another order may be a date of such a format.
LIKE_ISO = re.compile("%[YG]-|%F")
# Directives of a month, and those of a day, of which a format of months has none.
OF_MONTH, OF_DAY = ("%m", "%b", "%B"), ("%d", "%j", "%a", "%A", "%c", "%x", "%D", "%F")


def is_of_months(date_format: str) -> bool:
    """Return whether a format has a month and no day, such as %Y-%m."""
    return any(part in date_format for part in OF_MONTH) and not any(
        part in date_format for part in OF_DAY
    )


# The first days that databases and spreadsheets know, 1 January of these years and two days of
# 1899, are written where there is no date. Hardly a client was born on one of them.
FIRST_YEAR = "(?:1900|1901|1753|0001)"
# Without a time of day: zeros of MySQL, an end that SAP does not know, and the first days.
NO_DATE = (
    r"0000[-./]00[-./]00|00[-./]00[-./]0000|00000000"
    r"|9999[-./]12[-./]31|(?:31[-./]12|12[-./]31)[-./]9999|99991231"
    rf"|{FIRST_YEAR}[-./]0?1[-./]0?1|0?1[-./]0?1[-./]{FIRST_YEAR}|{FIRST_YEAR}0101|0101{FIRST_YEAR}"
    r"|1899[-./]12[-./]3[01]|(?:3[01][-./]12|12[-./]3[01])[-./]1899|1899123[01]"
    rf"|(?i:0?1[- ]jan(?:uary)?[- ]{FIRST_YEAR}|jan(?:uary)? +0?1,? {FIRST_YEAR})"
    r"|(?i:3[01][- ]dec(?:ember)?[- ]1899|31[- ]dec(?:ember)?[- ]9999)"
)
NO_DAY = rf"(?:{NO_DATE})(?:[ T].*)?|(?i:null|\(null\)|#?n/a|n\.a\.|na|none|nil|nan|nat)|--?"
NO_DAY_TEXT = re.compile(NO_DAY)


def is_no_day(text: str) -> bool:
    """Return whether a text stands for no date, such as `1900-01-01`, `9999-12-31` or `NULL`."""
    return NO_DAY_TEXT.fullmatch(text) is not None


def parse_date(text: str, date_format: str = ISO_FORMAT) -> date:
    """Return the day of a text.

    Parameters
    ----------
    text : str
        Without spaces around the date.
    date_format : str
        ISO 8601 by default, where a time of day may follow; otherwise as for `datetime.strptime`.
        Beside a format that no ISO date can fit, such as %d.%m.%Y, ISO dates are read, too.

    Returns
    -------
    datetime.date
        The day as written: a time zone does not move it. Of a month the last day.

    Raises
    ------
    ValueError
        If the text is no date of this format.
    """
    found = ISO_DATE.fullmatch(text)
    if found is not None and not LIKE_ISO.match(date_format.removeprefix(ISO_FORMAT)):
        return date.fromisoformat(found[1])
    if date_format == ISO_FORMAT:
        raise ValueError(f"expected a date such as 2026-03-31, got {text!r}")
    day = datetime.strptime(text, date_format).date()  # noqa: DTZ007 - only the day matters
    if not is_of_months(date_format):
        return day
    # The 28th and four days more are in the next month, whatever its length is.
    later = day.replace(day=28) + timedelta(days=4)
    return later - timedelta(days=later.day)


def format_day(text: str) -> str:
    """Format the day of an ISO date for people, for example 3 Dec 2026."""
    day = parse_date(text)
    return f"{day.day} {day:%b %Y}"
