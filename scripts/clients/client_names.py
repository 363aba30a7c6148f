"""The names of a client for people, and the columns shown beside them."""

from collections.abc import Mapping

from msgspec import UNSET

from scripts.clients.response_types import ClientDetails, WorklistEntry


def names_of(entry: WorklistEntry | ClientDetails) -> dict[str, str]:
    """Return the names of a client for people by column, {} without declared columns."""
    return {} if entry.names is UNSET else entry.names


def title_of(entry: WorklistEntry) -> str:
    """Return the first filled name for people, or the client."""
    return next(filter(None, names_of(entry).values()), entry.client)


def format_title(client: str, names: Mapping[str, str], *more: str) -> str:
    """Return the first filled name for people with the client in brackets, else the client.

    Further facts stand in the brackets as well.
    """
    title = next(filter(None, names.values()), "")
    beside = ", ".join([*([client] if title else []), *more])
    return f"{title or client} ({beside})" if beside else client


def shown_columns(entry: WorklistEntry) -> dict[str, float | str | None]:
    """Return the values of `worklist.columns` without the names for people."""
    names = names_of(entry)
    return {name: value for name, value in entry.columns.items() if name not in names}
