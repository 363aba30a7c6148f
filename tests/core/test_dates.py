"""Dates as texts: ISO 8601 or a declared format."""

from datetime import date

import pytest

from scripts.core import dates


@pytest.mark.parametrize(
    ("text", "date_format"),
    [
        ("2026-03-31", "%Y-%m-%d"),
        ("2026-03-31T23:59:59Z", "%Y-%m-%d"),
        ("2026-03-31 00:00:00.000+02:00", "%Y-%m-%d"),
        ("31.03.2026", "%d.%m.%Y"),
        ("3/31/2026 12:00", "%m/%d/%Y %H:%M"),
    ],
)
def test_a_date_is_read_in_its_format(text: str, date_format: str) -> None:
    assert dates.parse_date(text, date_format) == date(2026, 3, 31)


@pytest.mark.parametrize(
    ("text", "date_format", "day"),
    [
        ("2026-02", "%Y-%m", date(2026, 2, 28)),
        ("202402", "%Y%m", date(2024, 2, 29)),
        ("12/2026", "%m/%Y", date(2026, 12, 31)),
        ("Apr 2026", "%b %Y", date(2026, 4, 30)),
        ("July-26", "%B-%y", date(2026, 7, 31)),
    ],
)
def test_of_a_month_the_last_day_counts(text: str, date_format: str, day: date) -> None:
    assert dates.parse_date(text, date_format) == day


@pytest.mark.parametrize(
    "text",
    ["", "20260331", "2026-W14-2", "2026-02-30", "31.03.2026", "2026-3-31", "\uff12026-03-31"],
)
def test_any_other_text_is_no_iso_date(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is no part of the contract
        dates.parse_date(text)


@pytest.mark.parametrize(
    "date_format", ["%d.%m.%Y", "%m/%d/%Y %H:%M", "%d-%m-%y", "%Y%m%d", "%m/%Y"]
)
def test_an_iso_date_is_read_beside_a_format_that_it_cannot_fit(date_format: str) -> None:
    assert dates.parse_date("2026-03-05T10:00:00Z", date_format) == date(2026, 3, 5)


@pytest.mark.parametrize(
    ("text", "date_format"),
    [("2026-03-31", "%Y-%d-%m"), ("2026-03-31", "%Y-%d-%m %H:%M"), ("2026-03-31", "%G-%V-%u"),
     ("2026-02-30", "%d.%m.%Y"), ("2026-3-31", "%d.%m.%Y"), ("31.03.2026", "%Y-%m-%d")],
)  # fmt: skip
def test_a_date_that_a_format_could_mean_otherwise_is_not_read_as_iso(
    text: str, date_format: str
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is no part of the contract
        dates.parse_date(text, date_format)
