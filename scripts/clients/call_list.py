"""The clients to call now, and the differences from an earlier list."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy.engine import Connection

from scripts.clients import list_files, worklist
from scripts.clients.response_types import Worklist, WorklistEntry
from scripts.core import column_words
from scripts.core.config import Config
from scripts.records import client_work

# Facts of a client on a list that are kept for the next comparison, by name of the client.
Members = Mapping[str, Mapping[str, Any]]
KEPT = ("position", "probability", "band")


class CallList(Struct, frozen=True):
    """The clients to call, up to the capacity of the team, and their page of the list.

    The list is of the scoring of the page, of the work up to an entry, and of a day.
    """

    page: Worklist
    entries: list[WorklistEntry]
    scoring_id: int
    last_entry: int
    day: str

    @property
    def members(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each client for the comparison with a later list."""
        return {e.client: {name: getattr(e, name) for name in KEPT} for e in self.entries}


def as_kept(members: Members) -> list[dict[str, Any]]:
    """Return the members of a list for the records, each with the client's name as a value.

    An erasure finds the client by that name.
    """
    return [{"client": client, **facts} for client, facts in members.items()]


def from_kept(kept: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the members of a list as the records keep them."""
    return {row["client"]: {name: row[name] for name in KEPT} for row in kept}


class ListChanges(Struct, frozen=True):
    """The clients who entered or left a list, and the changed bands with the bands before."""

    entered: list[str]
    left: list[str]
    moved: dict[str, str]


def read_call_list(connection: Connection, config: Config, now: datetime) -> CallList | None:
    """Return the clients to call, None before the first scoring.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    config : Config
        With the capacity of the team.
    now : datetime
        The present moment, by whose day snoozes end.

    Returns
    -------
    CallList or None
        In the usual order, without clients who rest, are held out, or lack data.
    """
    day = now.date()
    shown = worklist.find_list(connection, "", day)
    if shown is None:
        return None
    page = worklist.worklist_page(
        connection, config.worklist, config.api, column_words.words_of(config.schema),
        top=worklist.list_length(config.worklist), today=day,
    )  # fmt: skip
    return CallList(
        page,
        [entry for entry in page.clients if list_files.is_to_call(entry)],
        shown.scoring["id"],
        client_work.last_entry(connection),
        day.isoformat(),
    )


def compare(before: Members, now: Members) -> ListChanges:
    """Compare two lists.

    Parameters
    ----------
    before, now : mapping of str to mapping
        The members of both lists, each in its order.

    Returns
    -------
    ListChanges
        Those who entered and those whose band changed in the order of `now`, those who left in
        that of `before`.
    """
    return ListChanges(
        entered=[client for client in now if client not in before],
        left=[client for client in before if client not in now],
        moved={
            client: before[client]["band"]
            for client, facts in now.items()
            if client in before and before[client]["band"] != facts["band"]
        },
    )
