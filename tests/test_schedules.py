"""Schedules are checked as cron would, and said in words."""

import pytest

from scripts import schedules
from scripts.errors import ScheduleError


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("*/10 * * * *", "Every 10 minutes"),
        ("* * * * *", "Every minute"),
        ("@hourly", "Every hour"),
        ("0 6 * * mon-fri", "At 06:00 on Monday through Friday"),
        ("15 18 1 jan *", "At 18:15 on January 1"),
        ("0 */6 * * *", "Every 6 hours"),
        ("*/15 8-17 * * *", "Every 15 minutes from 08:00 through 17:59"),
        ("0 8,18 * * *", "At 08:00 and 18:00 every day"),
        # A step that does not divide the hour starts anew each hour.
        ("*/45 * * * *", "At minutes 0 and 45 of every hour"),
        # Either day will do, unless one of them starts with a star: then both must match.
        ("0 3 1,15 * 1", "At 03:00 on the first and the 15th day of the month or on Monday"),
        ("0 3 */2 * 1", "At 03:00 on every second day of the month if it's on Monday"),
    ],
)
def test_a_schedule_is_said_in_words(expression: str, words: str) -> None:
    assert schedules.describe(expression) == words


def test_the_words_are_english_in_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")

    assert schedules.describe("*/5 * * * *") == "Every 5 minutes"


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("", "has 0 fields; expected 5"),
        ("* * * *", "has 4 fields; expected 5"),
        ("*/10 * * * * *", "has 6 fields; expected 5"),
        ("60 * * * *", "the minute 60 is not between 0 and 59"),
        ("* 24 * * *", "the hour 24 is not between 0 and 23"),
        ("* * 0 * *", "the day of the month 0 is not between 1 and 31"),
        ("* * * 13 *", "the month 13 is not between 1 and 12"),
        ("* * * * 8", "the day of the week 8 is not between 0 and 7"),
        ("* * * * funday", "the day of the week 'funday' is no number from 0 to 7 or a name from"),
        ("*/0 * * * *", "the step '0' of the minute is not 1 to 59"),
        ("*/90 * * * *", "the step '90' of the minute is not 1 to 59"),
        ("5/15 * * * *", "has a step but no range; write 5-59/15"),
        ("50-10 * * * *", "runs backwards"),
        ("1,,2 * * * *", "the minute '' is no number"),
        ("*,5 * * * *", r"lists \* beside others"),
        ("\u0665 * * * *", "is no number from 0 to 59"),
        ("-1 * * * *", "is no number"),
        ("* * L * *", "the day of the month 'l' is no number"),
        ("* * * * 5#2", "is no number"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("@reboot", "runs when the machine starts"),
        ("@sometimes", "is no name of a schedule; known are @hourly"),
    ],
)
def test_a_wrong_schedule_is_refused_with_its_fault_and_a_right_one(
    expression: str, fault: str
) -> None:
    with pytest.raises(ScheduleError, match=fault) as caught:
        schedules.check_expression(expression)

    assert '"*/10 * * * *"' in str(caught.value)


def test_a_right_schedule_keeps_its_spelling_but_for_blanks() -> None:
    assert schedules.check_expression(" */10\t*  * * MON ") == "*/10 * * * MON"


@pytest.mark.parametrize(
    ("interval", "expression"),
    [
        ("1m", "* * * * *"),
        ("10m", "*/10 * * * *"),
        ("30 minutes", "*/30 * * * *"),
        ("60m", "0 * * * *"),
        ("1h", "0 * * * *"),
        ("2H", "0 */2 * * *"),
        ("12h", "0 */12 * * *"),
        ("24h", "0 0 * * *"),
        ("1d", "0 0 * * *"),
    ],
)
def test_an_interval_becomes_a_schedule(interval: str, expression: str) -> None:
    assert schedules.expression_of(interval) == expression


@pytest.mark.parametrize(
    ("interval", "fault"),
    [
        ("7m", "the nearest that does is 6m"),
        ("45m", "the nearest that does is 30m"),
        ("5h", "the nearest that does is 4h"),
        ("2d", "the nearest that does is 1d"),
        ("0m", "right are 10m, 2h and 1d"),
        ("ten", "right are 10m, 2h and 1d"),
        ("10s", "right are 10m, 2h and 1d"),
    ],
)
def test_an_uneven_interval_is_refused_with_the_nearest(interval: str, fault: str) -> None:
    with pytest.raises(ScheduleError, match=fault):
        schedules.expression_of(interval)
