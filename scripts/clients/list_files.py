"""Files of the worklist to take along: an Excel workbook, and rows for a customer database."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import chain
from types import ModuleType
from typing import IO

from msgspec import UNSET

from scripts.clients import client_names, formatting
from scripts.clients.list_entries import EntryColumns
from scripts.clients.response_types import Worklist, WorklistEntry
from scripts.clients.worklist import ListPage
from scripts.core.column_words import ColumnWords
from scripts.data import safe_csv
from scripts.data.safe_csv import Cell
from scripts.model.ranking import NO_DATA

CRM_HEADER = (
    "key", "name", "probability", "band", "value", "expected_gain", "reasons", "owner", "due_date",
)  # fmt: skip
# The days from the scoring to the day on which a client should have been called.
DUE_DAYS = 7


def import_workbook() -> ModuleType:
    """Import the writer of Excel files, and return the module."""
    # openpyxl takes 30 MB and 0.4 s: nobody pays for it before the first Excel file.
    from scripts.clients import workbook  # noqa: PLC0415

    return workbook


def title_columns(
    header: Sequence[str], columns: Iterable[str], words: ColumnWords
) -> dict[str, str]:
    """Return the title of each column of `worklist.columns`: name and unit, unless taken.

    The file comes back as a table of results, so no title may be that of another column.
    """
    taken = {name.casefold() for name in header}
    titles: dict[str, str] = {}
    for column in columns:
        label = words.labels.get(column)
        unit = f" ({label.unit})" if label is not None and label.unit else ""
        title = f"{words.name(column)}{unit}"
        titles[column] = column if title.casefold() in taken else title
        taken.add(titles[column].casefold())
    return titles


def describe_list(page: Worklist) -> dict[str, Cell]:
    """Return the facts of a list for its file."""
    return {
        "As of": page.as_of,
        "Scored at": page.scored_at,
        "Release": page.release,
        "Clients scored": page.n_clients,
        "Clients that fit the filters": page.n_found,
        "Order": page.order,
        "Held out until": page.held_out_until,
    }


def write_workbook(
    first: ListPage, others: Iterable[EntryColumns], words: ColumnWords, handle: IO[bytes]
) -> int:
    """Write a list as an Excel workbook, and return the number of clients.

    Parameters
    ----------
    first : ListPage
        The first page.
    others : iterable of EntryColumns
        The clients behind.
    words : ColumnWords
        The names of the columns of `worklist.columns`.
    handle : file object
        Open for writing bytes.

    Returns
    -------
    int
        The number of rows below the header.
    """
    workbook = import_workbook()
    (head,) = first.parts(max(1, len(first)))
    header = formatting.file_header(head)
    own = title_columns(header, formatting.shown_cells(head), words)
    rows = chain.from_iterable(map(formatting.file_rows, chain([head], others)))
    sheet = workbook.Sheet(
        [*header, *[""] * len(own)], [*header, *own.values()], rows, describe_list(first.facts)
    )
    n_rows: int = workbook.write(sheet, handle)
    return n_rows


def is_to_call(entry: WorklistEntry) -> bool:
    """Return whether a client is to be called now: with data, neither away nor held out."""
    is_away = entry.work is not None and entry.work.is_away
    return not is_away and entry.held_out_until is UNSET and entry.band != NO_DATA


def due_date(scored_at: str) -> str:
    """Return the day by which the clients of a scoring should have been called."""
    return (datetime.fromisoformat(scored_at).date() + timedelta(days=DUE_DAYS)).isoformat()


def crm_cells(entry: WorklistEntry, due: str) -> list[Cell]:
    """Return a client as a row for a customer database."""
    return [
        entry.client,
        client_names.title_of(entry),
        entry.probability,
        entry.band,
        formatting.known_value(entry),
        None if entry.gain is UNSET else entry.gain,
        "; ".join(reason.text for reason in entry.reasons),
        None if entry.work is None else entry.work.assigned_to,
        due,
    ]


def format_crm(page: Worklist, due: str = "") -> str:
    """Format the clients to call as CSV for the import into a customer database.

    Parameters
    ----------
    page : Worklist
        A page of the list.
    due : str
        The day in ISO 8601 by which the clients should have been called. "" is a week after the
        scoring.

    Returns
    -------
    str
        CSV with the columns of CRM_HEADER, a row for each client to call.
    """
    due = due or ("" if page.scored_at is None else due_date(page.scored_at))
    rows = [crm_cells(entry, due) for entry in page.clients if is_to_call(entry)]
    return safe_csv.format_csv(CRM_HEADER, rows)
