"""Reads dates in ISO 8601 or a format of `datetime.strptime`, and formats days for people."""

import re
from datetime import date, datetime

from scripts.core.config import ISO_FORMAT

# A date, perhaps with a time of day, which does not count.
ISO_DATE = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)


def parse_date(text: str, date_format: str = ISO_FORMAT) -> date:
    """Return the day of a text.

    Parameters
    ----------
    text : str
        Without spaces around the date.
    date_format : str
        ISO 8601 by default, where a time of day may follow; otherwise as for `datetime.strptime`.

    Returns
    -------
    datetime.date
        The day as written: a time zone does not move it.

    Raises
    ------
    ValueError
        If the text is no date of this format.
    """
    if date_format != ISO_FORMAT:
        return datetime.strptime(text, date_format).date()  # noqa: DTZ007 - only the day matters
    found = ISO_DATE.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a date such as 2026-03-31, got {text!r}")
    return date.fromisoformat(found[1])


def format_day(text: str) -> str:
    """Format the day of an ISO date for people, for example 3 Dec 2026."""
    day = parse_date(text)
    return f"{day.day} {day:%b %Y}"
