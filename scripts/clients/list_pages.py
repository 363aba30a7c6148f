"""The pages of a worklist one after the other, for files of any length."""

from collections.abc import Callable, Iterator
from typing import Any

from scripts.clients.response_types import Worklist

# Clients in memory at a time.
PART_CLIENTS = 10_000
EVERYBODY = 999_999_999
# What belongs to the first page only: the others begin at a cursor.
FIRST_ONLY = ("top", "offset")


def first_part(selection: dict[str, Any]) -> dict[str, Any]:
    """Return the selection of the first page."""
    return selection | {"top": min(selection["top"], PART_CLIENTS)}


def pages_after(
    first: Worklist, fetch: Callable[[dict[str, Any]], Worklist], selection: dict[str, Any]
) -> Iterator[Worklist]:
    """Yield the pages behind a first page, each of a transaction of its own.

    A transaction for the whole list would keep the next run from writing.

    Parameters
    ----------
    first : Worklist
        The first page.
    fetch : callable
        Returns the page of a selection.
    selection : dict
        The selection of the whole list, with the number of clients as `top`.

    Yields
    ------
    Worklist
        Together with the first page `top` clients, or all there are.
    """
    page, n_left = first, selection["top"] - len(first.clients)
    filters = {name: value for name, value in selection.items() if name not in FIRST_ONLY}
    while n_left > 0 and page.next_cursor is not None:
        page = fetch(filters | {"top": min(n_left, PART_CLIENTS), "cursor": page.next_cursor})
        n_left -= len(page.clients)
        yield page
