"""When a schedule comes next, also where the clocks change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim

from scripts import schedules

LOCALTIME = Path("/etc/localtime")
MINUTE = timedelta(minutes=1)
LONGEST_REPEAT = timedelta(hours=3)  # Cron treats a larger jump as a clock that was set.


def local_zone() -> tuple[str, tzinfo]:
    """Find the name and the rules of this machine's zone, in which cron and systemd count.

    TZ is not asked: it is the shell's, not the daemon's.
    """
    try:
        _, found, name = str(LOCALTIME.resolve(strict=True)).partition("/zoneinfo/")
        if found:
            return name, ZoneInfo(name)
        with LOCALTIME.open("rb") as handle:
            return "local time", ZoneInfo.from_file(handle)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return "UTC", UTC


def offset_at(moment: datetime, zone: tzinfo) -> timedelta:
    """Tell how far local time is ahead at a moment."""
    return moment.astimezone(zone).utcoffset() or timedelta()


def next_change(start: datetime, end: datetime, zone: tzinfo) -> datetime | None:
    """Find the first minute after start, up to end, at which the clocks have been changed."""
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
    """Give the times of a schedule from about a moment on, in UTC, without end.

    Notes
    -----
    Changes of the clocks are treated as Debian's cron does (cron(8), "Notes"): a schedule
    whose minute or hour starts with a star follows the clock on the wall, so that it is left
    out in an hour that is skipped and comes again in one that is repeated. Any other one runs
    once: right after the skipped hour, and only in the first of two equal ones.
    """
    numbers = schedules.in_numbers(expression)
    follows_wall = numbers.startswith("*") or numbers.split()[1].startswith("*")
    moment = after.astimezone(UTC).replace(second=0, microsecond=0)
    if after.astimezone(zone).fold:
        # In the second of two equal hours: what ran in the first is only known from before it.
        moment -= LONGEST_REPEAT
    offset = offset_at(moment, zone)
    local = (moment + offset).replace(tzinfo=None)
    # Without a zone, in which cronsim knows no clock that changes by half an hour.
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
    """List the next n times of a schedule after a moment, in UTC."""
    times = iterate_times(expression, zone, after)
    return list(islice((moment for moment in times if moment > after), n))
