"""Recognises columns of dates, e-mail addresses, phone numbers, URLs and free text.

Their values are no categories: next month has others, and they are personal.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import astuple

from scripts.core import dates

MIN_FRACTION = 0.99
# Of more than this share of different cells hardly one comes back.
MAX_DISTINCT_FRACTION = 0.5
# Sentences repeat now and then, such as "n/a" or "no answer".
MIN_WORDS = 3
MAX_DISTINCT_TEXTS = 0.2
MIN_DISTINCT_TEXTS = 10
PHONE_DIGITS = range(7, 16)
MIN_DATE = len("1.1.26")

MONTHS = (
    "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|januar|februar|märz|mär|mai|juni|juli|okt|dez"
)
TIME = r"(?:[T ,]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:[ap]m)?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?"
DAY, MONTH, YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20|21)\d{2}"
# Without references to earlier groups, which Polars does not know: once for each mark.
MARKS = ("-", "/", r"\.")
DATE = re.compile(
    "(?:"
    + "".join(
        rf"{YEAR}{mark}{MONTH}(?:{mark}{DAY})?|{DAY}{mark}{MONTH}{mark}(?:{YEAR}|\d{{2}})|"
        for mark in MARKS
    )
    + "".join(rf"{MONTH}{mark}{DAY}{mark}(?:{YEAR}|\d{{2}})|" for mark in MARKS[:2])
    + rf"{YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    rf"|{DAY}\.?[ -](?:{MONTHS})[a-z]*\.?[ ,-]+(?:{YEAR}|\d{{2}})"
    rf"|(?:{MONTHS})[a-z]*\.? {DAY},? {YEAR}){TIME}",
    re.IGNORECASE,
)
EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+")
URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}/\S*", re.I)
PHONE = re.compile(r"(?:\+|00?)?[\d(][\d ()/.-]*(?:\s*(?:x|ext\.?)\s*\d+)?", re.I)
PHONE_SIGN = re.compile(r"\+|00?[1-9]|\(|\d[\d.]*[ /-]")


class ColumnKind(StrEnum):
    """The kind of a text column for a message, if no category."""

    DATES = "dates"
    EMAILS = "e-mail addresses"
    URLS = "URLs"
    PHONES = "phone numbers"
    TEXTS = "free text"
    OTHER = ""


def is_date(text: str) -> bool:
    """Return whether a text is a date."""
    return len(text) >= MIN_DATE and DATE.fullmatch(text) is not None


def is_email(text: str) -> bool:
    """Return whether a text is an e-mail address."""
    return "@" in text and EMAIL.fullmatch(text) is not None


def is_url(text: str) -> bool:
    """Return whether a text is a URL."""
    return ("/" in text or text.startswith("www.")) and URL.fullmatch(text) is not None


def is_phone(text: str) -> bool:
    """Return whether a text may be a phone number."""
    if len(text) < PHONE_DIGITS.start or PHONE_SIGN.match(text) is None:
        return False
    n_digits = sum(character.isdigit() for character in text)
    return n_digits in PHONE_DIGITS and PHONE.fullmatch(text) is not None


class KindCounts(Struct, frozen=True):
    """Numbers of filled cells of a column by kind, where parts of a column add up.

    A phone number has a plus, a leading zero or a space. `n_words` are those of all cells, and
    `n_no_days` are cells that stand for no date, such as NULL.
    """

    n_cells: int = 0
    n_distinct: int = 0
    n_dates: int = 0
    n_emails: int = 0
    n_urls: int = 0
    n_phones: int = 0
    n_words: int = 0
    n_no_days: int = 0

    def __add__(self, other: "KindCounts") -> "KindCounts":
        """Return the counts of both parts."""
        return KindCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def is_text(self) -> bool:
        """Return whether cells are texts that hardly repeat, or mostly sentences."""
        if self.n_distinct < MIN_DISTINCT_TEXTS:
            return False
        distinct = self.n_distinct / self.n_cells
        return distinct > MAX_DISTINCT_FRACTION or (
            distinct > MAX_DISTINCT_TEXTS and self.n_words >= MIN_WORDS * self.n_cells
        )

    def kind(self, *, is_numeric: bool) -> ColumnKind:
        """Return the kind of the column.

        Parameters
        ----------
        is_numeric : bool
            Whether the cells are numbers as declared: only dates such as 20260331, and phone
            numbers with a leading zero or plus, are then found.

        Returns
        -------
        ColumnKind
            A kind that 99 % of the filled cells have, OTHER for a column of numbers or categories.
            Beside dates a cell may stand for no date.
        """
        needed = max(1.0, MIN_FRACTION * self.n_cells)
        if self.n_dates and self.n_dates + self.n_no_days >= needed:
            return ColumnKind.DATES
        # A band such as 1000-5000 comes back, a phone number hardly ever does.
        if self.n_phones >= needed and self.n_distinct > MAX_DISTINCT_FRACTION * self.n_cells:
            return ColumnKind.PHONES
        if is_numeric:
            return ColumnKind.OTHER
        if self.n_emails >= needed:
            return ColumnKind.EMAILS
        if self.n_urls >= needed:
            return ColumnKind.URLS
        return ColumnKind.TEXTS if self.is_text() else ColumnKind.OTHER


class ColumnCounts(Struct, frozen=True):
    """The counts of a text column of a table without duplicate rows.

    `n_most` rows have the most frequent of `n_values` different values. `has_fractions` is whether
    any number is not whole.
    """

    n_rows: int
    n_values: int
    n_most: int
    n_numbers: int
    has_fractions: bool
    kinds: KindCounts


def count_kinds(counts: Mapping[str, int]) -> KindCounts:
    """Count the kinds of different filled cells, of which each stands in a number of rows."""
    totals = [0] * 6
    for text, count in counts.items():
        found = (is_date(text), is_email(text), is_url(text), is_phone(text), len(text.split()))
        # A cell such as 1900-01-01 counts once, as a date.
        is_no_day = not found[0] and dates.is_no_day(text)
        for place, number in enumerate((*found, is_no_day)):
            totals[place] += count * number
    return KindCounts(sum(counts.values()), len(counts), *totals)
