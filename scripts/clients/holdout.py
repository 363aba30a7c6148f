"""The clients held out of the list for a period by chance, for a measurement of the effect."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from scripts.core import keys
from scripts.core.config import WorklistSettings

PURPOSE = "adras holdout"
HASH_BYTES = 8
EPOCH = date(1970, 1, 1)


class HoldoutPeriod(Struct, frozen=True):
    """The days of a holdout, both included, in ISO 8601, and the share of clients."""

    start: str
    until: str
    fraction: float

    @property
    def ends_at(self) -> datetime:
        """The moment after the period."""
        day = date.fromisoformat(self.until) + timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)

    def as_facts(self) -> dict[str, Any]:
        """Return the period for the records."""
        return asdict(self)


def find_period(settings: WorklistSettings, now: datetime) -> HoldoutPeriod | None:
    """Return the period of a moment, None without held-out clients.

    The periods follow one another without gaps from 1 January 1970 on.
    """
    if settings.holdout_fraction <= 0:
        return None
    n_days = (now.astimezone(UTC).date() - EPOCH).days
    start = EPOCH + timedelta(days=n_days - n_days % settings.holdout_days)
    until = start + timedelta(days=settings.holdout_days - 1)
    return HoldoutPeriod(start.isoformat(), until.isoformat(), settings.holdout_fraction)


def is_held_out(key: bytes, client: str, period: HoldoutPeriod) -> bool:
    """Return whether chance holds a client out for a period.

    The keyed hash of client and period decides: the answer is the same in every run of the period,
    whoever else is on the list, and without the key nobody can tell who will be held out next.
    """
    content = f"{period.start}\0{client}".encode("utf-8", "surrogatepass")
    drawn = keys.keyed_hash(key, content, purpose=PURPOSE, n_bytes=HASH_BYTES)
    return int.from_bytes(drawn, "big") < period.fraction * float(1 << 8 * HASH_BYTES)


def count_eligible(n_listed: int, fraction: float) -> int:
    """Return the number of clients in a trial with a list of a given length on average."""
    return math.ceil(n_listed / (1 - fraction))
