"""The content of the report's first page, for the manager of the callers."""

from collections.abc import Sequence

from msgspec import Struct

Facts = Sequence[tuple[str, str]]


class ListedLine(Struct, frozen=True):
    """A client to call as texts, with empty worth and gain if undeclared."""

    place: str
    client: str
    risk: str
    change: str
    worth: str
    gain: str
    why: str


class ManagerFacts(Struct, frozen=True):
    """Today's list, the changes since an earlier list, the calls, and the predictions.

    `since` is the day of the earlier list, None for the first one.
    """

    summary: Facts
    clients: Sequence[ListedLine]
    since: str | None
    changes: Facts
    calls: Facts
    predictions: Facts
