"""The page on which tables are sent: to be ranked once, or for the next run.

Tables that people send through a page: read strictly, and put into the input folder whole.
"""

import errno
import io
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from flask import request

from scripts.api.middleware import ROLE, SERVING
from scripts.api.responses import Answer, Headers, RefusedError
from scripts.api.serving_state import Serving
from scripts.api.tokens import Role
from scripts.clients.response_types import WorklistEntry
from scripts.core import artifacts, files
from scripts.core.artifacts import Kind
from scripts.core.config import Config, Schema
from scripts.core.errors import BusyError, DatasetError
from scripts.core.files import RemotePath
from scripts.dashboard import rendering
from scripts.data import csv_reader
from scripts.data.read_report import FileReading, first_reasons

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
class UploadedFile:
    """A file as it was sent; the name is for showing only."""

    name: str
    content: bytes


def read_sent() -> UploadedFile:
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
    return UploadedFile(shown[:MAX_NAME] or "the file", content)


def show_page(status: int = 200, headers: Headers = (), **facts: Any) -> Answer:
    """Render the page with both forms, and what became of what was sent."""
    now: Serving = request.environ[SERVING]
    empty: dict[str, Any] = dict.fromkeys(["sent", "found", "ranked", "added", "fault"])
    role = request.environ.get(ROLE)
    return rendering.show(
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
    return str(place) if isinstance(place, RemotePath) else ""


def find_schema(now: Serving) -> Schema | None:
    """Find by which columns the next run reads: production's, or those declared; None unknown."""
    if now.release is not None:
        return now.release.model.schema
    declared = now.config.schema
    return declared if declared.features and not declared.inferred else None


def upload() -> Answer:
    """Show how tables are sent: to be ranked once, or for the next run."""
    return show_page()


Columns = dict[str, list[Any]]


def rank_columns(now: Serving, schema: Schema, columns: Columns) -> list[WorklistEntry]:
    """Rank the clients of a table that was read."""
    # Imported by the first question, as in clientviews.
    from scripts.clients import worklist as callsheet  # noqa: PLC0415

    n_rows = len(columns[schema.features[0]])
    used, config = now.release_or_refuse().model, now.config
    return callsheet.rank_table(used, columns, config.api, config.worklist, n_rows)


def as_csv(entries: list[WorklistEntry]) -> Answer:
    """Give a ranking as a table for a spreadsheet."""
    # As above.
    from scripts.clients import formatting as callwords  # noqa: PLC0415

    headers = [("Content-Type", CSV), ("Content-Disposition", 'attachment; filename="ranked.csv"')]
    return Answer(200, callwords.format_entries_as_csv(entries).encode(), headers)


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
    found, columns = read_table(sent.content, schema, now.config.api.max_rows)
    n_usable = found.n_rows - len(found.rejected)
    if found.refused or n_usable <= 0:
        return show_page(422, action="rank", sent=sent, found=found)
    entries = rank_columns(now, schema, columns)
    if request.form.get("as") == "csv":
        return as_csv(entries)
    return show_page(
        action="rank", sent=sent, found=found, ranked=entries[:N_RANKED], n_usable=n_usable
    )


def check_table(now: Serving, sent: UploadedFile) -> FileReading:
    """Read a table as the next run would, or refuse it where its columns are not known."""
    schema = find_schema(now)
    if schema is None:
        raise RefusedError(409, UNKNOWN)
    return read_table(sent.content, schema, MAX_ADDED_ROWS, needs_label=False, is_kept=False)[0]


def add() -> Answer:
    """Put a table into the input folder, if every row of it can be used; the next run takes it."""
    now: Serving = request.environ[SERVING]
    try:
        sent = read_sent()
        if find_address(now):
            raise RefusedError(409, STORED.format(find_address(now)))
        found = check_table(now, sent)
        if not is_usable(found):
            return show_page(422, action="add", sent=sent, found=found)
        path = publish(now.config, sent.content, found)
    except RefusedError as refusal:
        return show_page(refusal.status, action="add", fault=refusal.detail)
    except QuotaError as error:
        return show_page(409, action="add", fault=str(error))
    except OSError as error:
        # Its text may name a path, which is for the log.
        log.error("An upload could not be written: %s.", error)
        is_full = error.errno in DISK_FULL
        return show_page(507 if is_full else 503, action="add", fault=FULL if is_full else FAILED)
    except BusyError:
        return show_page(
            503,
            [("Retry-After", "10")],
            action="add",
            fault="A run is at work; nothing was added. Try again in a moment.",
        )
    return show_page(201, action="add", sent=sent, found=found, added=path.name)


# The name is made here; what the sender calls the file is only ever shown.
NAME = "upload_{}.csv"
TEMPORARY = f".upload_*{files.TEMPORARY_SUFFIX}"
# A run that is at work is not waited for longer, since a page waits as long.
WAIT_S = 5.0
AGAIN_S = 0.05
# Of a table of which more cannot be right, the rest is not read.
MAX_REJECTED = 1_000
# What may wait for the next run: nobody fills the disk, or the next run, by sending.
MAX_PENDING_FILES = 200
MAX_PENDING_BYTES = 512 * 2**20
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def read_table(
    content: bytes,
    schema: Schema,
    max_rows: int,
    *,
    needs_label: bool = True,
    is_kept: bool = True,
) -> tuple[FileReading, Columns]:
    """Read a table as strictly as the input, without a file.

    Parameters
    ----------
    content : bytes
        What was sent.
    schema : Schema
        The columns.
    max_rows : int
        A table of more rows is refused.
    needs_label : bool
        As for `reading.read_file`.
    is_kept : bool
        Whether the columns are wanted, and not only whether they can be right.

    Returns
    -------
    tuple of FileReading and dict of str to list
        What was found, and the columns of the rows that can be right. `refused` says why the
        table as a whole was not used, and is empty otherwise.
    """
    found = csv_reader.new_reading(Path("the table"), schema)
    try:
        if content.count(b"\n") > max_rows + 1:
            raise csv_reader.RefusedFileError(f"it has more than {max_rows} rows; send it in parts")
        lines = csv_reader.iterate_lines(io.BytesIO(content), found, schema.encoding)
        _, first = next(lines, (0, None))
        layout = csv_reader.read_layout(first, schema, found, needs_label=needs_label)
        columns: Columns = {name: [] for name in layout.parsers}
        for number, record in csv_reader.iterate_records(lines, layout.separator):
            row = csv_reader.read_record(number, record, layout, found)
            check_rejected(found)
            if row is not None and is_kept:
                for name, value in row.items():
                    columns[name].append(value)
    except csv_reader.RefusedFileError as error:
        csv_reader.refuse(found, error)
        return found, {}
    return found, columns


def check_rejected(found: FileReading) -> None:
    """Refuse a table of which so many rows cannot be right that no list of them helps."""
    if len(found.rejected) > MAX_REJECTED:
        reason = first_reasons(found)[0]
        raise csv_reader.RefusedFileError(
            f"{len(found.rejected)} of its first {found.n_rows} rows cannot be right; the first:"
            f" {reason}"
        )


def is_usable(found: FileReading) -> bool:
    """Say whether every row of a table can be used, and there is one."""
    return not (found.refused or found.rejected) and found.n_rows > 0


@contextmanager
def waiting_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the installation, waiting a little for whoever has it.

    Raises
    ------
    BusyError
        If another program has it all the time.
    """
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            with files.exclusive_lock(folder):
                yield
                return
        except BusyError:
            if time.monotonic() > until_s:
                raise
        time.sleep(AGAIN_S)


class QuotaError(DatasetError):
    """Too much waits for the next run already."""


def list_pending(config: Config) -> list[Path]:
    """List the uploads that no run has read yet: those named later than the newest dataset."""
    ingested = artifacts.list_exact(config.output_folder_path, Kind.INGESTED)
    since = artifacts.stamp_of(ingested[-1]) if ingested else ""
    first = NAME.format(since)
    return [path for path in config.input_folder_path.glob(NAME.format("*")) if path.name > first]


def check_quota(config: Config, n_bytes: int) -> None:
    """Refuse an upload beside which too much would wait for the next run.

    Raises
    ------
    QuotaError
        If too many files would wait, or too many bytes.
    """
    pending = list_pending(config)
    n_waiting = sum(path.stat().st_size for path in pending)
    if len(pending) >= MAX_PENDING_FILES or n_waiting + n_bytes > MAX_PENDING_BYTES:
        raise QuotaError(
            f"{len(pending)} uploads of {n_waiting} bytes wait for the next run; at most"
            f" {MAX_PENDING_FILES} and {MAX_PENDING_BYTES} bytes may. Nothing was added; start a"
            " run, or wait for it, and send the file again."
        )


def write_new(folder: Path, content: bytes) -> Path:
    """Write a file of a name that nobody has, whole; what is there already is never touched."""
    stamp = artifacts.next_stamp(datetime.now(UTC), [folder])
    path = folder / NAME.format(stamp)
    temporary = path.with_name(f".{path.name}{files.TEMPORARY_SUFFIX}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        # Unlike a rename, a link never replaces what has the name.
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(folder)
    return path


def publish(config: Config, content: bytes, found: FileReading) -> Path:
    """Put a table that was read into the input folder; the next run takes it.

    Parameters
    ----------
    config : Config
        Says where.
    content : bytes
        The table as it was sent.
    found : FileReading
        What reading it found.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DatasetError
        If a row of it cannot be used.
    QuotaError
        If too much waits for the next run already.
    BusyError
        If a run is at work.
    OSError
        If the disk is full, or cannot be written.
    """
    if not is_usable(found):
        raise DatasetError("The table has rows that cannot be used; nothing was added.")
    folder = config.input_folder_path
    with waiting_lock(config.prod_deployment_path):
        for leftover in folder.glob(TEMPORARY):
            leftover.unlink(missing_ok=True)
        check_quota(config, len(content))
        path = write_new(folder, content)
    log.info("Added %d rows as %s.", found.n_rows, path)
    return path
