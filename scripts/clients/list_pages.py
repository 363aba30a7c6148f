"""The pages of a worklist one after the other, for files of any length."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scripts.clients.list_entries import EntryColumns
    from scripts.clients.worklist import ListPage

# Clients in memory at a time, with their reasons.
PART_CLIENTS = 10_000
# So many parts are read at a time: in whatever order, their clients lie in nearly all blocks.
N_PARTS = 8
# Values of columns in memory at a time, unless a single part has more.
MAX_VALUES = 2_000_000
EVERYBODY = 999_999_999
# What belongs to the first page only: the others begin at a cursor.
FIRST_ONLY = ("top", "offset")


def first_part(selection: dict[str, Any]) -> dict[str, Any]:
    """Return the selection of the first page."""
    return selection | {"top": min(selection["top"], PART_CLIENTS)}


def choose_size(n_columns: int) -> int:
    """Return the number of clients to read at a time, with some columns each."""
    n_parts = MAX_VALUES // (PART_CLIENTS * max(1, n_columns))
    return PART_CLIENTS * min(max(1, n_parts), N_PARTS)


def pages_after(
    first: "ListPage", fetch: "Callable[[dict[str, Any]], ListPage]", selection: dict[str, Any]
) -> "Iterator[ListPage]":
    """Yield the pages behind a first page, each of a transaction of its own.

    A transaction for the whole list would keep the next run from writing.

    Parameters
    ----------
    first : ListPage
        The first page.
    fetch : callable
        Returns the page of a selection.
    selection : dict
        The selection of the whole list, with the number of clients as `top`.

    Yields
    ------
    ListPage
        Together with the first page `top` clients, or all there are.
    """
    page, n_left = first, selection["top"] - len(first)
    filters = {name: value for name, value in selection.items() if name not in FIRST_ONLY}
    size = choose_size(len(first.facts.columns))
    while n_left > 0 and page.facts.next_cursor is not None:
        page = fetch(filters | {"top": min(n_left, size), "cursor": page.facts.next_cursor})
        n_left -= len(page)
        yield page


def parts_after(
    first: "ListPage", fetch: "Callable[[dict[str, Any]], ListPage]", selection: dict[str, Any]
) -> "Iterator[EntryColumns]":
    """Yield the clients behind a first page in parts, as `pages_after` reads them."""
    for page in pages_after(first, fetch, selection):
        yield from page.parts(PART_CLIENTS)
