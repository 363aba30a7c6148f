"""The names of a client for people, and the columns shown beside them."""

from msgspec import UNSET

from scripts.clients.response_types import ClientDetails, WorklistEntry


def names_of(entry: WorklistEntry | ClientDetails) -> dict[str, str]:
    """Return the names of a client for people by column, none where no columns are declared."""
    return {} if entry.names is UNSET else entry.names


def title_of(entry: WorklistEntry) -> str:
    """Return the first name for people that is not blank, else the client."""
    return next(filter(None, names_of(entry).values()), entry.client)


def shown_columns(entry: WorklistEntry) -> dict[str, float | str | None]:
    """Return the values of `worklist.columns` that are no names for people."""
    names = names_of(entry)
    return {name: value for name, value in entry.columns.items() if name not in names}
