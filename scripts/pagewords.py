"""How numbers, moments and words are spelled on the pages."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from scripts import sentences

NOTHING = "\N{EN DASH}"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
# Below this a time is shown in seconds with two digits.
SHORT_S = 10.0
# Of a change of a probability that is shown as percentage points with one digit.
SMALLEST_SHOWN = 0.0005
# What a word of the records means at a glance: a colour, never the only sign of it.
TONES = {
    "deployed": "good", "deploy": "good", "ok": "good", "low": "good", "finished": "good",
    "nothing new": "calm", "no data": "calm", "held": "calm", "hold": "calm", "skipped": "calm",
    "postponed": "calm", "running": "calm",
    "medium": "warn", "drift": "warn", "rollback": "warn", "insufficient data": "warn",
    "hold: not enough evidence": "warn", "aborted": "warn",
    "high": "bad", "failed": "bad", "failing": "bad", "timeout": "bad",
}  # fmt: skip


def as_moment(value: datetime | str) -> datetime:
    """Read a moment; the API spells them as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def spell_moment(value: datetime | str | None) -> Markup:
    """Spell a moment for people and machines."""
    if value is None:
        return Markup("&ndash;")
    at = as_moment(value).astimezone(UTC)
    exact = at.isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact, exact, f"{at.day} {at:%b %Y, %H:%M} UTC"
    )


def spell_span(seconds: float) -> str:
    """Spell a stretch of time with the one unit that matters."""
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    for unit_s, unit in ((HOUR_S, "min"), (2 * DAY_S, "h")):
        if seconds < unit_s:
            return f"{seconds / (MINUTE_S if unit == 'min' else HOUR_S):.0f} {unit}"
    return f"{seconds / DAY_S:.0f} days"


def spell_ago(value: datetime | str | None, now: datetime) -> str:
    """Say how long ago, or in how long, a moment is."""
    if value is None:
        return "never"
    seconds = (now - as_moment(value)).total_seconds()
    return f"in {spell_span(-seconds)}" if seconds < 0 else f"{spell_span(seconds)} ago"


def spell_duration(seconds: float | None) -> str:
    """Spell how long something took."""
    if seconds is None:
        return NOTHING
    return f"{seconds:.2f} s" if seconds < SHORT_S else spell_span(seconds)


def spell_took(run: Any) -> str:
    """Say how long a run took, whether it is a row of the records or an entry of the API."""
    started, ended = (
        run[name] if isinstance(run, dict) else getattr(run, name)
        for name in ("started_at", "ended_at")
    )
    if ended is None:
        return NOTHING
    return spell_duration((as_moment(ended) - as_moment(started)).total_seconds())


def has_drifted(column: Mapping[str, Any]) -> bool:
    """Say whether a column differs from production's by more than its limits."""
    pairs = [("drift", "drift_limit"), ("missing_drift", "missing_drift_limit")]
    return any(
        column[found] is not None and column[limit] is not None and column[found] > column[limit]
        for found, limit in pairs
    )


def spell_percent(fraction: float | None, n_digits: int = 1) -> str:
    """Spell a fraction as a percentage."""
    return NOTHING if fraction is None else f"{fraction:.{n_digits}%}"


def spell_number(value: float | str | None, n_digits: int = 4) -> str:
    """Spell a number with so many significant digits; text stays what it is."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, str):
        return value
    if float(value).is_integer() and abs(value) < 10**15:
        return f"{value:,.0f}"
    return f"{value:,.{n_digits}g}"


def spell_fixed(value: float | None, n_digits: int = 4) -> str:
    """Spell a number with so many digits after the point."""
    return NOTHING if value is None else f"{value:.{n_digits}f}"


def spell_signed(value: float | None, n_digits: int = 3) -> str:
    """Spell a number with its sign."""
    if value is None:
        return NOTHING
    return f"{value:+.{n_digits}f}".replace("-", "\N{MINUS SIGN}")


def spell_points(change: float | None) -> str:
    """Spell the change of a probability in percentage points."""
    if change is None:
        return NOTHING
    return f"{spell_signed(100 * change, 1)} pp" if name_direction(change) != "quiet" else "0.0 pp"


def name_direction(change: float) -> str:
    """Say whether a probability rose or fell, as far as a page shows it."""
    if abs(change) < SMALLEST_SHOWN:
        return "quiet"
    return "rise" if change > 0 else "fall"


def spell_bytes(n_bytes: int) -> str:
    """Spell a size."""
    size = float(n_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def spell_stamp(release: str | None) -> str:
    """Shorten the name of a release to its number; the whole name stands beside, or in a title."""
    return NOTHING if release is None else f"#{release.partition('_')[0].lstrip('0') or '0'}"


def tone_of(word: str | None) -> str:
    """Say how a word of the records is coloured."""
    return TONES.get(word or "", "calm")


def quote_part(name: str) -> str:
    """Spell a name as a part of an address."""
    return quote(name, safe="")


FILTERS: dict[str, Callable[..., object]] = {
    "moment": spell_moment, "ago": spell_ago, "duration": spell_duration, "percent": spell_percent,
    "number": spell_number, "fixed": spell_fixed, "signed": spell_signed, "points": spell_points,
    "size": spell_bytes, "short": spell_stamp, "tone": tone_of, "part": quote_part,
    "direction": name_direction, "took": spell_took, "drifted": has_drifted,
    "clauses": sentences.shorten,
}  # fmt: skip
