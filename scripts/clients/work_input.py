"""The form of entries about the work with clients, in requests and files."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from scripts.core.errors import WorkError

MAX_NOTE, MAX_NAME = 2_000, 64
MAX_ENTRIES = 10_000


class ContactResult(StrEnum):
    """The result of a contact with a client."""

    REACHED = "reached"
    NOT_REACHED = "not reached"
    SAVED = "saved"
    LOST = "lost"
    NO_INTEREST = "no interest"


RESULTS = tuple(map(str, ContactResult))


class WorkInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New entries about a client: a contact, an assignment or a snooze, or several.

    None leaves a fact as it is. An empty `assigned_to` is nobody, and an empty `snoozed_until`
    ends the snooze. `seen` is the version of the state that the sender saw.
    """

    client: Annotated[str, Meta(min_length=1)]
    result: str | None = None
    note: Annotated[str, Meta(max_length=MAX_NOTE)] | None = None
    contacted_on: str | None = None
    contacted_by: Annotated[str, Meta(max_length=MAX_NAME)] | None = None
    assigned_to: Annotated[str, Meta(max_length=MAX_NAME)] | None = None
    snoozed_until: str | None = None
    seen: Annotated[int, Meta(ge=0)] | None = None


class WorkBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that records work."""

    entries: Annotated[list[WorkInput], Meta(min_length=1, max_length=MAX_ENTRIES)]


def describe_results() -> str:
    """Return the results in a sentence."""
    return f"{', '.join(RESULTS[:-1])} or {RESULTS[-1]}"


def decode_inputs(body: bytes) -> list[WorkInput]:
    """Decode the entries of a request.

    Raises
    ------
    WorkError
        If the body is no list of entries.
    """
    try:
        return msgspec.json.decode(body, type=WorkBody).entries
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WorkError(
            f'Expected {{"entries": [{{"client": "...", "result": "reached"}}]}}; {error}.'
        ) from error
