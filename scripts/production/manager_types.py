"""The content of the report's first page, for the manager of the callers."""

from collections.abc import Sequence
from dataclasses import dataclass

Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ListedLine:
    """A client to call as texts, with empty worth and gain if undeclared."""

    place: str
    client: str
    risk: str
    change: str
    worth: str
    gain: str
    why: str


@dataclass(frozen=True)
class ManagerFacts:
    """Today's list, the changes since an earlier list, the calls, and the predictions.

    `since` is the day of the earlier list, None for the first one.
    """

    summary: Facts
    clients: Sequence[ListedLine]
    since: str | None
    changes: Facts
    calls: Facts
    predictions: Facts
