"""What a schedule says: checked as cron would, and put in words."""

import re
from datetime import datetime
from typing import NamedTuple

from cronsim import CronSim, CronSimError

from scripts.errors import ScheduleError

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
# Any moment will do to see whether a schedule comes at all, on the wall of any zone.
FROM = datetime(2000, 1, 1)  # noqa: DTZ001
ORDINAL = re.compile(r"very (\d+)th (minute|hour)")
INTERVAL = re.compile(r"(\d{1,4})\s*(m|min|minutes?|h|hours?|d|days?)", re.ASCII)


class Field(NamedTuple):
    """One of the five fields: its name, its smallest and largest number, the names it knows."""

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


def read_value(text: str, field: Field) -> int:
    """Read a number or a name of a field."""
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


def read_span(text: str, field: Field) -> str:
    """Check a number, a range or a star and spell it in numbers."""
    if text == "*":
        return text
    first, dash, last = text.partition("-")
    low, high = read_value(first, field), read_value(last if dash else first, field)
    if low > high:
        raise ScheduleError(f"the {field.name} {text!r} runs backwards; write it as two ranges")
    # A range of one becomes its number, as people write it.
    return f"{low}-{high}" if low < high else str(low)


def read_item(text: str, field: Field) -> str:
    """Check one item of a field's list and spell it in numbers."""
    span, slash, step = text.partition("/")
    spelled = read_span(span, field)
    if not slash:
        return spelled
    if not re.fullmatch(r"\d{1,2}", step, re.ASCII) or not 1 <= int(step) <= field.high:
        raise ScheduleError(f"the step {step!r} of the {field.name} is not 1 to {field.high}")
    if span != "*" and "-" not in span:
        raise ScheduleError(
            f"the {field.name} {text!r} has a step but no range; write"
            f" {spelled}-{field.high}/{step}"
        )
    return spelled if spelled.isdigit() else f"{spelled}/{int(step)}"


def read_field(text: str, field: Field) -> str:
    """Check a field and spell it in numbers."""
    items = [read_item(item, field) for item in text.lower().split(",")]
    if len(items) > 1 and any(item.startswith("*") for item in items):
        raise ScheduleError(f"the {field.name} {text!r} lists * beside others; * is all of them")
    return ",".join(items)


def in_numbers(expression: str) -> str:
    """Spell a schedule as five fields of numbers.

    Parameters
    ----------
    expression : str
        Five fields as cron takes them, or a name such as @hourly.

    Returns
    -------
    str
        Five fields, names replaced, one space between them.

    Raises
    ------
    ScheduleError
        If cron would refuse it, would never run it, or would read it in a surprising way.
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
        numbers = " ".join(map(read_field, texts, FIELDS))
        next(CronSim(numbers, FROM))
    except ScheduleError as error:
        raise ScheduleError(f"{text!r}: {error}. {EXAMPLES}") from error
    except (CronSimError, StopIteration) as error:
        raise ScheduleError(f"{text!r} never comes: no such date exists. {EXAMPLES}") from error
    return numbers


def check_expression(expression: str) -> str:
    """Check a schedule; return it as given, with one space between its fields."""
    in_numbers(expression)
    return " ".join(expression.split())


def expression_of(interval: str) -> str:
    """Turn an interval such as 10m, 2h or 1d into a schedule.

    Parameters
    ----------
    interval : str
        A number and a unit. Cron counts within the hour and within the day, so only what
        divides them is even.

    Returns
    -------
    str
        Five fields.

    Raises
    ------
    ScheduleError
        If it is no interval, or no even one.
    """
    found = INTERVAL.fullmatch(interval.strip().lower())
    if not found or int(found[1]) == 0:
        raise ScheduleError(f"{interval!r} is no interval; right are 10m, 2h and 1d.")
    minutes = int(found[1]) * {"m": 1, "h": 60, "d": 1440}[found[2][0]]
    even = [n for n in range(1, 61) if 60 % n == 0] + [60 * n for n in range(2, 25) if 24 % n == 0]
    if minutes not in even:
        near = min(even, key=lambda n: abs(n - minutes))
        near_text = f"{near}m" if near < 60 else f"{near // 60}h" if near < 1440 else "1d"
        raise ScheduleError(
            f"{interval!r} does not divide the hour or the day, so that runs would not be evenly"
            f" spaced; the nearest that does is {near_text}."
        )
    if minutes < 60:
        return f"*/{minutes} * * * *" if minutes > 1 else "* * * * *"
    hours = minutes // 60
    return {1: "0 * * * *", 24: "0 0 * * *"}.get(hours, f"0 */{hours} * * *")


def even_step(text: str, n_values: int) -> int:
    """Give the step of a field that divides its hour or day; 0 if there is none."""
    step = int(text.removeprefix("*/")) if text.startswith("*/") else 0
    return step if step > 1 and n_values % step == 0 else 0


def spell_uneven(text: str, n_values: int) -> str:
    """Spell out a step that does not divide its hour or day, which words would get wrong."""
    step = text.removeprefix("*/")
    if step == text or n_values % int(step) == 0:
        return text
    return ",".join(map(str, range(0, n_values, int(step))))


def describe(expression: str) -> str:
    """Say a schedule in words.

    Parameters
    ----------
    expression : str
        A schedule that passes `check_expression`.

    Returns
    -------
    str
        One English phrase; times are on the 24-hour clock.
    """
    minute, hour, *days = in_numbers(expression).split()
    if days == ["*", "*", "*"]:
        if hour == "*" and (every := even_step(minute, 60)):
            return f"Every {every} minutes"
        if (minute, hour) == ("0", "*"):
            return "Every hour"
        if minute == "0" and (every := even_step(hour, 24)):
            return f"Every {every} hours"
    fields = [spell_uneven(minute, 60), spell_uneven(hour, 24), *days]
    said = CronSim(" ".join(fields), FROM).explain().replace("day of month", "day of the month")
    # Cron takes either day, unless one of them starts with a star; the library then says "if".
    return ORDINAL.sub(r"very \1 \2s", said.replace(" and on ", " or on "))
