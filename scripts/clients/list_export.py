"""Export of the worklist to a file: Excel, CSV, or rows for a customer database."""

import logging
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from scripts.clients import formatting, list_files, list_pages, worklist
from scripts.clients.list_entries import EntryColumns
from scripts.clients.worklist import ListPage
from scripts.core import column_words, files, sentences
from scripts.core.config import Config
from scripts.core.errors import NotMadeYetError
from scripts.records import database

# Bytes of a workbook in memory at a time.
FILE_PART = 2**20

log = logging.getLogger(__name__)


def fetch_page(config: Config, selection: dict[str, Any]) -> ListPage:
    """Return the page of a selection, read in a transaction of its own.

    Raises
    ------
    NotMadeYetError
        If no client has been scored.
    """
    words = column_words.words_of(config.schema)
    with (
        database.open_records(config.database_url, may_change=False) as engine,
        database.reading(engine) as connection,
    ):
        page = worklist.read_page(connection, config.worklist, config.api, words, **selection)
    if page.facts.scored_at is None:
        raise NotMadeYetError(
            "No client has been scored yet, so there is no list to export; add rows without a label"
            " to the input folder, and run python -m scripts.fullprocess."
        )
    return page


def fetch_list(
    config: Config, top: int | None, wanted: dict[str, Any]
) -> tuple[ListPage, Iterator[EntryColumns]]:
    """Return the first page of a list, and the clients behind in parts."""
    selection = wanted | {"top": top or list_pages.EVERYBODY}
    first = fetch_page(config, list_pages.first_part(selection))
    return first, list_pages.parts_after(first, partial(fetch_page, config), selection)


def write_excel(config: Config, path: Path, *, top: int | None = None, **wanted: Any) -> int:
    """Write the list as an Excel workbook, and return the number of clients.

    Parameters
    ----------
    config : Config
        The installation.
    path : Path
        The file, which is replaced.
    top : int, optional
        The number of clients. Without it all.
    **wanted : object
        The filters and the order of `worklist.worklist_page`.

    Returns
    -------
    int
        The number of clients in the file.

    Raises
    ------
    NotMadeYetError
        If no client has been scored.
    SelectionError
        If a filter or the order names a column that the list has not.
    """
    first, others = fetch_list(config, top, wanted)
    words = column_words.words_of(config.schema)
    with tempfile.TemporaryFile() as handle:
        n_clients = list_files.write_workbook(first, others, words, handle)
        handle.seek(0)
        files.write_whole(path, iter(partial(handle.read, FILE_PART), b""))
    log.info("Wrote %s to %s.", sentences.count(n_clients, "client"), path)
    return n_clients


def write_csv(config: Config, path: Path, *, top: int | None = None, **wanted: Any) -> int:
    """Write the list as CSV, and return the number of clients.

    The parameters are those of `write_excel`.
    """
    first, others = fetch_list(config, top, wanted)
    n_clients = 0

    def parts() -> Iterator[bytes]:
        """Yield the pages as CSV, with a header before the first page."""
        nonlocal n_clients
        for part in chain(first.parts(list_pages.PART_CLIENTS), others):
            n_clients += len(part.client)
            text = formatting.format_part_as_csv(part, with_header=n_clients == len(part.client))
            yield text.encode()

    files.write_whole(path, parts())
    log.info("Wrote %s to %s.", sentences.count(n_clients, "client"), path)
    return n_clients


def write_crm(
    config: Config, path: Path, due: str = "", *, top: int | None = None, **wanted: Any
) -> int:
    """Write the clients to call for a customer database, and return their number.

    Parameters
    ----------
    config : Config
        The installation.
    path : Path
        The file, which is replaced.
    due : str
        The day to call by, in ISO 8601. "" is a week after the scoring.
    top : int, optional
        The number of clients. Without it as many as the team can call.
    **wanted : object
        The filters and the order of `worklist.worklist_page`.

    Returns
    -------
    int
        The number of clients in the file.
    """
    n_wanted = top or worklist.list_length(config.worklist)
    page = fetch_page(config, wanted | {"top": n_wanted}).whole()
    files.write_whole(path, list_files.format_crm(page, due))
    n_clients = sum(map(list_files.is_to_call, page.clients))
    log.info("Wrote %s to call to %s.", sentences.count(n_clients, "client"), path)
    return n_clients
