"""A schedule of cron, spelled as systemd does."""

from scripts import schedules

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def spell_items(text: str, low: int, high: int) -> str:
    """Spell a field of a schedule as systemd.time(7) does."""
    spelled = []
    for item in text.split(","):
        span, _, step = item.partition("/")
        if not step:
            spelled.append(
                "..".join(end if end == "*" else f"{int(end):02}" for end in span.split("-"))
            )
            continue
        first, last = map(int, (f"{low}-{high}" if span == "*" else span).split("-"))
        # As a list, because systemd refuses a step that leads out of its range.
        spelled += [f"{value:02}" for value in range(first, last + 1, int(step))]
    return ",".join(spelled)


def spell_days(text: str) -> str:
    """Spell the days of the week by their names, which know no step."""
    numbers = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = ("0-7" if span == "*" else span).partition("-")
        numbers |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return ",".join(dict.fromkeys(DAYS[number] for number in sorted(numbers)))


def calendars(expression: str) -> list[str]:
    """Spell a schedule as OnCalendar= values, any of which starts the job.

    Parameters
    ----------
    expression : str
        A schedule as cron has it.

    Returns
    -------
    list of str
        One, or two where cron takes either the day of the month or the day of the week.
    """
    minute, hour, day, month, weekday = schedules.in_numbers(expression).split()
    clock = f"{spell_items(hour, 0, 23)}:{spell_items(minute, 0, 59)}:00"
    month, days = spell_items(month, 1, 12), spell_items(day, 1, 31)
    by_date = f"*-{month}-{days} {clock}"
    if weekday == "*":
        return [by_date]
    by_weekday = f"{spell_days(weekday)} *-{month}-* {clock}"
    if day == "*":
        return [by_weekday]
    if day.startswith("*") or weekday.startswith("*"):
        return [f"{spell_days(weekday)} {by_date}"]
    return [by_date, by_weekday]
