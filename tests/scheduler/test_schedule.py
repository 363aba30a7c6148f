"""Checks, descriptions and times of schedules, also at changes of the clocks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError

from scripts.core.errors import ScheduleError
from scripts.scheduler import schedule


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
def test_a_schedule_is_described_in_words(expression: str, words: str) -> None:
    assert schedule.describe(expression) == words


def test_the_words_are_english_in_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")

    assert schedule.describe("*/5 * * * *") == "Every 5 minutes"


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
        schedule.check_expression(expression)

    assert '"*/10 * * * *"' in str(caught.value)


def test_a_valid_schedule_is_unchanged_except_for_spaces() -> None:
    assert schedule.check_expression(" */10\t*  * * MON ") == "*/10 * * * MON"


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
    assert schedule.parse_interval(interval) == expression


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
        schedule.parse_interval(interval)


BERLIN = ZoneInfo("Europe/Berlin")
# Not those whose clocks change by half an hour (Lord Howe) or at midnight (Santiago): there the
# library by itself starts at a time that its schedule does not have.
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Adelaide",
    "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Auckland", "Europe/London", "Asia/Tehran",
]  # fmt: skip


def walls(expression: str, after: str, n: int, zone: ZoneInfo = BERLIN) -> list[str]:
    """List the next local times after a moment in UTC, with their offset."""
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    times = schedule.next_times(expression, zone, start, n)
    return [f"{moment.astimezone(zone):%m-%d %H:%M%z}"[:-2] for moment in times]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # 29 March 2026: 02:00 to 03:00 is left out in Berlin.
        ("30 2 * * *", "2026-03-28T23:00", ["03-29 03:00+02", "03-30 02:30+02"]),
        ("0,30 2 * * *", "2026-03-28T23:00", ["03-29 03:00+02", "03-30 02:00+02"]),
        ("*/30 2 * * *", "2026-03-28T23:00", ["03-30 02:00+02", "03-30 02:30+02"]),
        ("*/30 * * * *", "2026-03-29T00:30", ["03-29 03:00+02", "03-29 03:30+02"]),
        # 25 October 2026: 02:00 to 03:00 comes twice.
        ("30 2 * * *", "2026-10-25T00:00", ["10-25 02:30+02", "10-26 02:30+01"]),
        ("30 2 * * *", "2026-10-25T00:30", ["10-26 02:30+01", "10-27 02:30+01"]),
        ("30 2 * * *", "2026-10-25T01:15", ["10-26 02:30+01", "10-27 02:30+01"]),
        ("*/30 * * * *", "2026-10-25T00:15", ["10-25 02:30+02", "10-25 02:00+01"]),
        ("*/30 * * * *", "2026-10-25T01:15", ["10-25 02:30+01", "10-25 03:00+01"]),
    ],
)
def test_the_next_times_are_right_when_the_clocks_change(
    expression: str, after: str, expected: list[str]
) -> None:
    assert walls(expression, after, 2) == expected


def test_the_next_times_are_right_where_the_clocks_change_by_half_an_hour() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")

    # 4 October 2026: 02:00 to 02:30 is left out there; 15:30 UTC of the day before.
    assert walls("*/20 * * * *", "2026-10-03T15:10", 2, zone) == [
        "10-04 02:40+11",
        "10-04 03:00+11",
    ]
    assert walls("20 2,13 * * *", "2026-10-03T15:10", 2, zone) == [
        "10-04 02:30+11",
        "10-04 13:20+11",
    ]


def test_the_next_times_are_right_where_midnight_is_left_out() -> None:
    zone = ZoneInfo("America/Santiago")

    # 6 September 2026: 00:00 to 01:00 is left out there; 04:00 UTC.
    assert walls("0 */18 * * *", "2026-09-06T03:30", 2, zone) == [
        "09-06 18:00-03",
        "09-07 00:00-03",
    ]
    assert walls("30 0 * * *", "2026-09-06T03:30", 2, zone) == ["09-06 01:00-03", "09-07 00:30-03"]


def test_the_next_time_is_later_than_the_moment_itself() -> None:
    assert walls("*/10 * * * *", "2026-06-01T10:00:00", 1) == ["06-01 12:10+02"]
    assert walls("*/10 * * * *", "2026-06-01T09:59:59.9", 1) == ["06-01 12:00+02"]


def test_a_leap_day_is_found_years_ahead() -> None:
    (moment,) = schedule.next_times("0 12 29 2 *", UTC, datetime(2097, 1, 1, tzinfo=UTC), 1)

    assert moment == datetime(2104, 2, 29, 12, tzinfo=UTC)


def random_field(random: Random, field: schedule.Field, star: float) -> str:
    """Return a random valid field."""
    if random.random() < star:
        return random.choice(["*", "*", f"*/{random.randint(1, field.high)}"])
    items = []
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        low, high = sorted(random.choices(range(field.low, field.high + 1), k=2))
        step = random.randint(1, field.high)
        # Some take 2-2/1 for 2-7/1, so a range with a step has two ends.
        stepped = f"{low}-{high}/{step}" if low < high else str(low)
        items.append(random.choice([str(low), f"{low}-{high}", stepped]))
    if field.words and random.random() < 0.3:
        return random.choice(field.words).upper()
    return ",".join(items)


def random_expression(random: Random) -> str:
    """Return a random valid schedule, possibly without any time."""
    stars = (0.4, 0.5, 0.6, 0.7, 0.6)
    return " ".join(map(random_field, [random] * 5, schedule.FIELDS, stars))


def random_moment(random: Random, zone: ZoneInfo) -> datetime:
    """Return a random moment, half of the time within two days of a change of the clocks."""
    moment = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(12 * 31_536_000))
    if random.random() < 0.5:
        change = schedule.next_change(moment, moment + timedelta(days=400), zone)
        moment = moment if change is None else change - timedelta(hours=random.randrange(48))
    return moment


def list_numbers(text: str, low: int, high: int) -> set[int]:
    """Return the numbers of a field in the result of `schedule.to_numbers`."""
    numbers: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        numbers |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return numbers


def walk_the_calendar(expression: str, after: datetime, n_days: int) -> Iterator[datetime]:
    """Iterate over the times of a schedule in UTC, by a check of every minute of some days."""
    texts = schedule.to_numbers(expression).split()
    minutes, hours, days, months, weekdays = (
        list_numbers(text, field.low, field.high)
        for text, field in zip(texts, schedule.FIELDS, strict=True)
    )
    both = texts[2].startswith("*") or texts[4].startswith("*")
    for number in range(n_days):
        date = after.replace(hour=0, minute=0) + timedelta(days=number)
        is_weekday = bool({date.isoweekday(), date.isoweekday() % 7} & weekdays)
        matches = [date.day in days, is_weekday]
        if date.month not in months or not (all(matches) if both else any(matches)):
            continue
        times = (date.replace(hour=h, minute=m) for h in sorted(hours) for m in sorted(minutes))
        yield from (moment for moment in times if moment > after)


def test_the_times_of_300_schedules_are_those_of_a_walk_through_the_calendar() -> None:
    random, n_compared = Random(9), 0
    for _ in range(300):
        expression, after = random_expression(random), random_moment(random, ZoneInfo("UTC"))
        after = after.replace(second=0)
        try:
            expected = list(islice(walk_the_calendar(expression, after, 400), 5))
        except ScheduleError:
            continue
        n_compared += len(expected)
        assert schedule.next_times(expression, UTC, after, len(expected)) == expected, expression

    assert n_compared > 1000


def compare_with_the_library_alone(n: int, seed: int) -> int:
    """Compare the next five times of n schedules with cronsim's own way at changes of the clocks.

    Return how many never come.
    """
    random, n_never = Random(seed), 0
    for _ in range(n):
        zone = ZoneInfo(random.choice(ZONES))
        expression, after = random_expression(random), random_moment(random, zone)
        if after.astimezone(zone).fold:
            continue  # Alone it forgets what ran in the first of two equal hours.
        try:
            other = CronSim(expression, after.astimezone(zone))
            expected: list[datetime] = []
            while len(expected) < 5:
                moment = next(other).astimezone(UTC)
                # It lists a time that a change moves onto another one twice.
                expected += [moment] if moment not in expected else []
        except (CronSimError, StopIteration):
            n_never += 1
            with pytest.raises(ScheduleError, match="never comes"):
                schedule.check_expression(expression)
            continue
        times = schedule.next_times(expression, zone, after, 5)
        assert times == expected, (expression, str(zone), after)
    return n_never


def test_the_next_times_of_1000_schedules_are_those_of_cronsim_alone() -> None:
    assert compare_with_the_library_alone(1_000, seed=7) < 100


@pytest.mark.campaign
def test_the_next_times_of_20000_schedules_are_those_of_cronsim_alone() -> None:
    n_never = compare_with_the_library_alone(20_000, seed=8)

    print(f"20000 schedules agree with cronsim, {n_never} of them never come")


def test_the_zone_is_that_of_the_machine_and_not_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    link = tmp_path / "localtime"
    monkeypatch.setattr(schedule, "LOCALTIME", link)

    assert schedule.local_zone() == ("UTC", UTC)
    (tmp_path / "zoneinfo").mkdir()
    (tmp_path / "zoneinfo" / "nonsense").touch()
    link.symlink_to(tmp_path / "zoneinfo" / "nonsense")
    assert schedule.local_zone() == ("UTC", UTC)
