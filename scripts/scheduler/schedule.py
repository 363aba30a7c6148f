"""Parses, describes and evaluates schedules of cron, and converts them for systemd."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from scripts.core.errors import ScheduleError

NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
EXAMPLES = 'Right are "*/10 * * * *" (every 10 minutes), "0 6 * * mon-fri" and "@hourly".'
# Arbitrary start of the search for a time of a schedule, without a zone.
FROM = datetime(2000, 1, 1)  # noqa: DTZ001
ORDINAL = re.compile(r"very (\d+)th (minute|hour)")
INTERVAL = re.compile(r"(\d{1,4})\s*(m|min|minutes?|h|hours?|d|days?)", re.ASCII)
LOCALTIME = Path("/etc/localtime")
MINUTE = timedelta(minutes=1)
# Cron treats a larger jump as a new setting of the clock.
LONGEST_REPEAT = timedelta(hours=3)
# Names of systemd.time(7); both 0 and 7 are Sunday.
WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Field(NamedTuple):
    """Field of a schedule, with its range of numbers and its names."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of the month", 1, 31),
    Field("month", 1, 12, MONTHS),
    Field("day of the week", 0, 7, DAYS),
)


def parse_value(text: str, field: Field) -> int:
    """Return the number of a text in a field, a number or a name."""
    if text in field.words:
        return field.low + field.words.index(text)
    if not re.fullmatch(r"\d{1,2}", text, re.ASCII):
        words = f" or a name from {field.words[0]} to {field.words[-1]}" if field.words else ""
        raise ScheduleError(
            f"the {field.name} {text!r} is no number from {field.low} to {field.high}{words}"
        )
    value = int(text)
    if not field.low <= value <= field.high:
        raise ScheduleError(f"the {field.name} {value} is not between {field.low} and {field.high}")
    return value


def parse_span(text: str, field: Field) -> str:
    """Return a number, a range or a star with names replaced by numbers."""
    if text == "*":
        return text
    first, dash, last = text.partition("-")
    low, high = parse_value(first, field), parse_value(last if dash else first, field)
    if low > high:
        raise ScheduleError(f"the {field.name} {text!r} runs backwards; write it as two ranges")
    # A range of a single number becomes this number.
    return f"{low}-{high}" if low < high else str(low)


def parse_item(text: str, field: Field) -> str:
    """Return an item of a field with names replaced by numbers."""
    span, slash, step = text.partition("/")
    numbers = parse_span(span, field)
    if not slash:
        return numbers
    if not re.fullmatch(r"\d{1,2}", step, re.ASCII) or not 1 <= int(step) <= field.high:
        raise ScheduleError(f"the step {step!r} of the {field.name} is not 1 to {field.high}")
    if span != "*" and "-" not in span:
        raise ScheduleError(
            f"the {field.name} {text!r} has a step but no range; write"
            f" {numbers}-{field.high}/{step}"
        )
    return numbers if numbers.isdigit() else f"{numbers}/{int(step)}"


def parse_field(text: str, field: Field) -> str:
    """Return a field with names replaced by numbers."""
    items = [parse_item(item, field) for item in text.lower().split(",")]
    if len(items) > 1 and any(item.startswith("*") for item in items):
        raise ScheduleError(f"the {field.name} {text!r} lists * beside others; * is all of them")
    return ",".join(items)


def to_numbers(expression: str) -> str:
    """Return a schedule as five fields of numbers.

    Parameters
    ----------
    expression : str
        Five fields in the format of cron, or a name such as @hourly.

    Returns
    -------
    str
        Five fields, names replaced, one space between them.

    Raises
    ------
    ScheduleError
        If the schedule is invalid for cron, has no times, or is easily misread.
    """
    text = expression.strip()
    if text.startswith("@"):
        if text not in NAMES:
            reason = "has no times: it runs when the machine starts" if text == "@reboot" else ""
            known = f"is no name of a schedule; known are {', '.join(NAMES)}"
            raise ScheduleError(f"{text!r} {reason or known}. {EXAMPLES}")
        return NAMES[text]
    texts = text.split()
    if len(texts) != len(FIELDS):
        raise ScheduleError(
            f"{text!r} has {len(texts)} fields; expected 5: minute, hour, day of the month, month,"
            f" day of the week. {EXAMPLES}"
        )
    try:
        numbers = " ".join(map(parse_field, texts, FIELDS))
        next(CronSim(numbers, FROM))
    except ScheduleError as error:
        raise ScheduleError(f"{text!r}: {error}. {EXAMPLES}") from error
    except (CronSimError, StopIteration) as error:
        raise ScheduleError(f"{text!r} never comes: no such date exists. {EXAMPLES}") from error
    return numbers


def check_expression(expression: str) -> str:
    """Return a checked schedule with single spaces between its fields."""
    to_numbers(expression)
    return " ".join(expression.split())


def parse_interval(interval: str) -> str:
    """Return the schedule of an interval such as 10m, 2h or 1d.

    Parameters
    ----------
    interval : str
        A number and a unit. Cron counts within the hour and within the day, so only their
        divisors give even intervals.

    Returns
    -------
    str
        Five fields.

    Raises
    ------
    ScheduleError
        If the text is no interval, or an uneven interval.
    """
    match = INTERVAL.fullmatch(interval.strip().lower())
    if not match or int(match[1]) == 0:
        raise ScheduleError(f"{interval!r} is no interval; right are 10m, 2h and 1d.")
    minutes = int(match[1]) * {"m": 1, "h": 60, "d": 1440}[match[2][0]]
    even = [n for n in range(1, 61) if 60 % n == 0] + [60 * n for n in range(2, 25) if 24 % n == 0]
    if minutes not in even:
        near = min(even, key=lambda n: abs(n - minutes))
        near_text = f"{near}m" if near < 60 else f"{near // 60}h" if near < 1440 else "1d"
        raise ScheduleError(
            f"{interval!r} does not divide the hour or the day, and the runs would not be evenly"
            f" spaced; the nearest that does is {near_text}."
        )
    if minutes < 60:
        return f"*/{minutes} * * * *" if minutes > 1 else "* * * * *"
    hours = minutes // 60
    return {1: "0 * * * *", 24: "0 0 * * *"}.get(hours, f"0 */{hours} * * *")


def even_step(text: str, n_values: int) -> int:
    """Return the step of a field if a divisor of its hour or day, else 0."""
    step = int(text.removeprefix("*/")) if text.startswith("*/") else 0
    return step if step > 1 and n_values % step == 0 else 0


def format_uneven(text: str, n_values: int) -> str:
    """Return a field with an uneven step as a list of numbers, for a correct description."""
    step = text.removeprefix("*/")
    if step == text or n_values % int(step) == 0:
        return text
    return ",".join(map(str, range(0, n_values, int(step))))


def describe(expression: str) -> str:
    """Return a description of a schedule in English.

    Parameters
    ----------
    expression : str
        A valid schedule.

    Returns
    -------
    str
        A phrase, with times on the 24-hour clock.
    """
    minute, hour, *days = to_numbers(expression).split()
    if days == ["*", "*", "*"]:
        if hour == "*" and (every := even_step(minute, 60)):
            return f"Every {every} minutes"
        if (minute, hour) == ("0", "*"):
            return "Every hour"
        if minute == "0" and (every := even_step(hour, 24)):
            return f"Every {every} hours"
    fields = [format_uneven(minute, 60), format_uneven(hour, 24), *days]
    phrase = CronSim(" ".join(fields), FROM).explain().replace("day of month", "day of the month")
    # Either day is enough for cron, unless a day field starts with a star. For a star the library
    # writes "if".
    return ORDINAL.sub(r"very \1 \2s", phrase.replace(" and on ", " or on "))


def local_zone() -> tuple[str, tzinfo]:
    """Return name and rules of the time zone of the machine, for cron and systemd.

    TZ is ignored, since the daemon does not see the variable of the shell.
    """
    try:
        _, separator, name = str(LOCALTIME.resolve(strict=True)).partition("/zoneinfo/")
        if separator:
            return name, ZoneInfo(name)
        with LOCALTIME.open("rb") as handle:
            return "local time", ZoneInfo.from_file(handle)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return "UTC", UTC


def offset_at(moment: datetime, zone: tzinfo) -> timedelta:
    """Return the UTC offset of local time at a moment."""
    return moment.astimezone(zone).utcoffset() or timedelta()


def next_change(start: datetime, end: datetime, zone: tzinfo) -> datetime | None:
    """Return the first change of the clocks after start and up to end, or None."""
    before = start
    while before < end:
        after = min(before + timedelta(days=1), end)
        if offset_at(after, zone) != offset_at(before, zone):
            low, high = before, after
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                same = offset_at(middle, zone) == offset_at(before, zone)
                low, high = (middle, high) if same else (low, middle)
            return high.replace(microsecond=0)
        before = after
    return None


def iterate_times(expression: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Iterate without end over the times of a schedule, in UTC, from about a moment on.

    Notes
    -----
    Changes of the clocks follow Debian's cron (cron(8), "Notes"). A schedule with a star at the
    start of minute or hour follows local time: its times in a skipped hour are left out, and
    those in a repeated hour come twice. A schedule with fixed times runs once: right after the
    skipped hour, or only in the first of two equal hours.
    """
    numbers = to_numbers(expression)
    follows_wall = numbers.startswith("*") or numbers.split()[1].startswith("*")
    moment = after.astimezone(UTC).replace(second=0, microsecond=0)
    if after.astimezone(zone).fold:
        # In the second of two equal hours the times of the first hour must be known.
        moment -= LONGEST_REPEAT
    offset = offset_at(moment, zone)
    local = (moment + offset).replace(tzinfo=None)
    # Without a zone, because cronsim cannot handle clock changes of half an hour.
    walls = CronSim(numbers, local)
    while True:
        following = next(walls)
        due = following.replace(tzinfo=UTC) - offset
        changed = next_change(moment, due, zone)
        if changed is None:
            yield due
            moment = due
            continue
        wall, offset = (changed + offset).replace(tzinfo=None), offset_at(changed, zone)
        new_wall = (changed + offset).replace(tzinfo=None)
        moment = changed
        if not follows_wall and wall <= following < new_wall:
            yield changed
            local = new_wall
        else:
            local = (new_wall if follows_wall else max(wall, new_wall)) - MINUTE
        walls = CronSim(numbers, local)


def next_times(expression: str, zone: tzinfo, after: datetime, n: int) -> list[datetime]:
    """Return the next n times of a schedule after a moment, in UTC."""
    times = iterate_times(expression, zone, after)
    return list(islice((moment for moment in times if moment > after), n))


def format_items(text: str, low: int, high: int) -> str:
    """Return a field of a schedule in the format of systemd.time(7)."""
    parts = []
    for item in text.split(","):
        span, _, step = item.partition("/")
        if not step:
            parts.append(
                "..".join(end if end == "*" else f"{int(end):02}" for end in span.split("-"))
            )
            continue
        first, last = map(int, (f"{low}-{high}" if span == "*" else span).split("-"))
        # As a list, because systemd refuses a step out of the range.
        parts += [f"{value:02}" for value in range(first, last + 1, int(step))]
    return ",".join(parts)


def format_days(text: str) -> str:
    """Return the days of the week as a list of names."""
    numbers = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = ("0-7" if span == "*" else span).partition("-")
        numbers |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return ",".join(dict.fromkeys(WEEKDAYS[number] for number in sorted(numbers)))


def systemd_calendars(expression: str) -> list[str]:
    """Return the OnCalendar= values of systemd for a schedule.

    Parameters
    ----------
    expression : str
        A schedule in the format of cron.

    Returns
    -------
    list of str
        A value, or two values if either the day of the month or the day of the week is enough.
    """
    minute, hour, day, month, weekday = to_numbers(expression).split()
    clock = f"{format_items(hour, 0, 23)}:{format_items(minute, 0, 59)}:00"
    month, days = format_items(month, 1, 12), format_items(day, 1, 31)
    by_date = f"*-{month}-{days} {clock}"
    if weekday == "*":
        return [by_date]
    by_weekday = f"{format_days(weekday)} *-{month}-* {clock}"
    if day == "*":
        return [by_weekday]
    if day.startswith("*") or weekday.startswith("*"):
        return [f"{format_days(weekday)} {by_date}"]
    return [by_date, by_weekday]
