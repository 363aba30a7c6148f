"""The counts of failed logins of the service: by minute, address, way and person."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct

# Rows kept of an hour. Further failures of the hour are counted in one more row.
MAX_PER_HOUR = 100
UNKNOWN = "unknown"


class Way(StrEnum):
    """The way in which a login failed."""

    FORM = "login form"
    HEADER = "token"
    ROLE = "role too small"
    # Failures of an hour beyond the rows that are kept of it.
    LEFT_OUT = "left out"


class Attempt(Struct, frozen=True):
    """A failed login: the address by which attempts are limited, the way, and a known user.

    `is_locked_out` if the attempt was refused because of those before.
    """

    address: str
    way: Way
    actor: str = UNKNOWN
    is_locked_out: bool = False


class FailedLogin(Struct, frozen=True):
    """The minute, address, way and person of failed logins that are counted together.

    The person is a known user whose role is too small, otherwise "unknown".
    """

    minute: datetime
    address: str
    way: Way
    actor: str = UNKNOWN

    @property
    def hour(self) -> datetime:
        """Return the beginning of the hour."""
        return self.minute.replace(minute=0)

    @property
    def left_out(self) -> "FailedLogin":
        """Return the row of an hour for failures beyond the limit of rows."""
        return FailedLogin(self.hour, "", Way.LEFT_OUT)


class Failures(Struct, frozen=True):
    """Numbers of failures, with the moments of the first and the last one.

    `n_failed` were answered 401 or 403, and `n_locked_out` 429 after too many.
    """

    at: datetime
    last_at: datetime
    n_failed: int
    n_locked_out: int

    def plus(self, other: "Failures") -> "Failures":
        """Return the sum of two counts."""
        return Failures(
            min(self.at, other.at),
            max(self.last_at, other.last_at),
            self.n_failed + other.n_failed,
            self.n_locked_out + other.n_locked_out,
        )


Counted = Mapping[FailedLogin, Failures]


def minute_of(at_s: float) -> datetime:
    """Return the beginning of the minute of a moment in seconds since 1970."""
    return datetime.fromtimestamp(at_s, UTC).replace(second=0, microsecond=0)


def count_one(at_s: float, *, is_locked_out: bool) -> Failures:
    """Return the count of one failure at a moment in seconds since 1970."""
    at = datetime.fromtimestamp(at_s, UTC)
    return Failures(at, at, int(not is_locked_out), int(is_locked_out))
