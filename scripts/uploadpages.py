"""The page on which tables are sent: to be ranked once, or for the next run."""

import logging
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import request

from scripts import pages, uploads
from scripts.addresses import Address
from scripts.answers import Answer, Headers, RefusedError
from scripts.clientcontract import WorklistEntry
from scripts.config import Schema
from scripts.errors import BusyError
from scripts.findings import FileReading
from scripts.frontdoor import ROLE, SERVING
from scripts.live import Serving
from scripts.tokens import Role

N_FAULTS = 50
N_RANKED = 100
MAX_NAME = 80
# Of a table that is added; one that is ranked has `api.max_rows`.
MAX_ADDED_ROWS = 500_000
CSV = "text/csv; charset=utf-8"
NO_FILE = "Choose a CSV file first."
NO_MODEL = "There is no release yet; run python -m scripts.fullprocess."
UNKNOWN = (
    "The columns are not known before the first run: copy the first extracts into the input folder"
    " by hand."
)
FULL = "The disk of the service is full; nothing was added. Tell whoever runs it."
FAILED = "The input folder cannot be written; nothing was added. The log of the service says why."
STORED = (
    "The input is in an object store, {}, into which the service cannot write; nothing was added."
    " Put the file there with the store's own tools."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sent:
    """A file as it was sent; the name is for showing only."""

    name: str
    content: bytes


def read_sent() -> Sent:
    """Read the file off the form.

    Raises
    ------
    RefusedError
        If there is none.
    """
    file = request.files.get("table")
    name = "" if file is None else file.filename or ""
    content = b"" if file is None else file.read()
    if file is None or not (name or content):
        raise RefusedError(422, NO_FILE)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return Sent(shown[:MAX_NAME] or "the file", content)


def show_page(status: int = 200, headers: Headers = (), **facts: Any) -> Answer:
    """Render the page with both forms, and what became of what was sent."""
    now: Serving = request.environ[SERVING]
    empty: dict[str, Any] = dict.fromkeys(["sent", "found", "ranked", "added", "fault"])
    role = request.environ.get(ROLE)
    return pages.show(
        "upload.html",
        status,
        headers,
        api=now.config.api,
        input_folder=now.config.input_folder_path.name,
        input_address=find_address(now),
        schema=find_schema(now),
        may_add=role is not Role.READ,
        n_faults=N_FAULTS,
        **(empty | {"action": ""} | facts),
    )


def find_address(now: Serving) -> str:
    """Find where in an object store the input is, "" if it is in a folder."""
    place = now.config.input_folder_path
    return str(place) if isinstance(place, Address) else ""


def find_schema(now: Serving) -> Schema | None:
    """Find by which columns the next run reads: production's, or those declared; None unknown."""
    if now.release is not None:
        return now.release.model.schema
    declared = now.config.schema
    return declared if declared.features and not declared.inferred else None


def upload() -> Answer:
    """Show how tables are sent: to be ranked once, or for the next run."""
    return show_page()


def rank_columns(now: Serving, schema: Schema, columns: uploads.Columns) -> list[WorklistEntry]:
    """Rank the clients of a table that was read."""
    # Imported by the first question, as in clientviews.
    from scripts import callsheet  # noqa: PLC0415

    n_rows = len(columns[schema.features[0]])
    used, config = now.release_or_refuse().model, now.config
    return callsheet.rank_table(used, columns, config.api, config.worklist, n_rows)


def as_csv(entries: list[WorklistEntry]) -> Answer:
    """Give a ranking as a table for a spreadsheet."""
    # As above.
    from scripts import callwords  # noqa: PLC0415

    headers = [("Content-Type", CSV), ("Content-Disposition", 'attachment; filename="ranked.csv"')]
    return Answer(200, callwords.spell_entries_as_csv(entries).encode(), headers)


def rank() -> Answer:
    """Rank the clients of a table once, with the model in production; nothing is kept."""
    now: Serving = request.environ[SERVING]
    if now.release is None:
        return show_page(503, action="rank", fault=NO_MODEL)
    try:
        sent = read_sent()
    except RefusedError as refusal:
        return show_page(refusal.status, action="rank", fault=refusal.detail)
    schema = msgspec.structs.replace(now.release.model.schema, target="")
    found, columns = uploads.read_table(sent.content, schema, now.config.api.max_rows)
    n_usable = found.n_rows - len(found.rejected)
    if found.refused or n_usable <= 0:
        return show_page(422, action="rank", sent=sent, found=found)
    entries = rank_columns(now, schema, columns)
    if request.form.get("as") == "csv":
        return as_csv(entries)
    return show_page(
        action="rank", sent=sent, found=found, ranked=entries[:N_RANKED], n_usable=n_usable
    )


def check_table(now: Serving, sent: Sent) -> FileReading:
    """Read a table as the next run would, or refuse it where its columns are not known."""
    schema = find_schema(now)
    if schema is None:
        raise RefusedError(409, UNKNOWN)
    return uploads.read_table(
        sent.content, schema, MAX_ADDED_ROWS, needs_label=False, is_kept=False
    )[0]


def add() -> Answer:
    """Put a table into the input folder, if every row of it can be used; the next run takes it."""
    now: Serving = request.environ[SERVING]
    try:
        sent = read_sent()
        if find_address(now):
            raise RefusedError(409, STORED.format(find_address(now)))
        found = check_table(now, sent)
        if not uploads.is_usable(found):
            return show_page(422, action="add", sent=sent, found=found)
        path = uploads.publish(now.config, sent.content, found)
    except RefusedError as refusal:
        return show_page(refusal.status, action="add", fault=refusal.detail)
    except uploads.QuotaError as error:
        return show_page(409, action="add", fault=str(error))
    except OSError as error:
        # Its text may name a path, which is for the log.
        log.error("An upload could not be written: %s.", error)
        is_full = error.errno in uploads.DISK_FULL
        return show_page(507 if is_full else 503, action="add", fault=FULL if is_full else FAILED)
    except BusyError:
        return show_page(
            503,
            [("Retry-After", "10")],
            action="add",
            fault="A run is at work; nothing was added. Try again in a moment.",
        )
    return show_page(201, action="add", sent=sent, found=found, added=path.name)
