"""The upload page: tables ranked once, or added to the input folder for the next run."""

import errno
import io
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from flask import request
from msgspec import Struct

from scripts.api import routes, sender
from scripts.api.records_reader import import_queries
from scripts.api.responses import Answer, Headers, RefusedError
from scripts.api.serving_state import NO_RELEASE, Serving
from scripts.api.tokens import Role
from scripts.clients.response_types import WorklistEntry
from scripts.core import artifacts, dates, erased_clients, files
from scripts.core.artifacts import Kind
from scripts.core.config import FILE_NAME, Config, Schema
from scripts.core.erased_clients import ErasedClients
from scripts.core.errors import BusyError, DatasetError
from scripts.core.files import RemotePath
from scripts.dashboard import rendering
from scripts.data import client_dates, csv_reader, name_dates, table_reader
from scripts.data.csv_reader import Columns
from scripts.data.read_report import FileReading, first_reasons

N_FAULTS = 50
N_RANKED = 100
MAX_NAME = 80
# The row limit of an added table. A ranked table has `api.max_rows`.
MAX_ADDED_ROWS = 500_000
CSV = "text/csv; charset=utf-8"
NO_FILE = "Choose a CSV file first."
UNKNOWN = (
    "The columns are not known before the first run: copy the first extracts into the input folder"
    " by hand."
)
FULL = "The disk of the service is full; nothing was added. Tell its operator."
FAILED = "The input folder cannot be written; nothing was added. The log of the service says why."
STORED = (
    "The input is in an object store, {}, into which the service cannot write; nothing was added."
    " Put the file there with the store's own tools."
)

# A generated name, with the day in the sender's name where files have their day there. Beyond this
# the name from the sender is for display only.
NAME = artifacts.UPLOAD
TEMPORARY = files.temporary_name(NAME.format("*"))
# Reading ends after so many rejected rows.
MAX_REJECTED = 1_000
# Limits of files waiting for the next run, so that uploads do not fill the disk.
MAX_PENDING_FILES = 200
MAX_PENDING_BYTES = 512 * 2**20
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

log = logging.getLogger(__name__)


class UploadedFile(Struct, frozen=True):
    """An uploaded file, with a name for display only."""

    name: str
    content: bytes


def read_upload() -> UploadedFile:
    """Return the file of the form.

    Raises
    ------
    RefusedError
        If the form has no file.
    """
    file = request.files.get("table")
    name = "" if file is None else file.filename or ""
    content = b"" if file is None else file.read()
    if file is None or not (name or content):
        raise RefusedError(422, NO_FILE)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return UploadedFile(shown[:MAX_NAME] or "the file", content)


def find_address(now: Serving) -> str:
    """Return the object store address of the input, or "" for a local folder."""
    place = now.config.input_folder_path
    return str(place) if isinstance(place, RemotePath) else ""


def find_schema(now: Serving) -> Schema | None:
    """Return the schema of the next run: from production, or the declared schema, or None."""
    if now.release is not None:
        return client_dates.reading_schema(now.release.model.schema)
    declared = now.config.schema
    return declared if declared.features and not declared.inferred else None


def find_day(now: Serving, name: str) -> str | None:
    """Return the day in the name of a sent file in ISO 8601, "" without one.

    None where the names of files have no day.
    """
    schema = find_schema(now)
    own = None if schema is None else schema.date_column
    if own is None or own.column != FILE_NAME:
        return None
    day = name_dates.find_day(name, own.format)
    return "" if day is None else client_dates.format_day(day)


def show_page(status: int = 200, headers: Headers = (), **facts: Any) -> Answer:
    """Render the upload page with both forms and the result."""
    now = routes.serving()
    empty: dict[str, Any] = dict.fromkeys(["sent", "reading", "ranked", "added", "fault", "day"])
    return rendering.show(
        "upload.html",
        status,
        headers,
        api=now.config.api,
        input_folder=now.config.input_folder_path.name,
        input_address=find_address(now),
        schema=find_schema(now),
        has_outcomes=now.config.outcomes is not None,
        names_day=find_day(now, "") is not None,
        may_add=sender.may(Role.ADMIN),
        n_faults=N_FAULTS,
        **(empty | {"action": ""} | facts),
    )


def upload() -> Answer:
    """Show how tables are sent: to be ranked once, or for the next run."""
    return show_page()


def rank_columns(now: Serving, columns: Columns, name: str) -> tuple[list[WorklistEntry], int]:
    """Rank the clients of an uploaded table with a name, and count those who have left.

    Raises
    ------
    RefusedError
        If all have left.
    """
    used, config = now.release_or_refuse().model, now.config
    day = name_dates.ranking_day(name, used.schema.date_column)
    kept, n_gone = client_dates.leave_out_leavers(columns, used.schema, day)
    if n_gone and not any(kept.values()):
        left_by = used.schema.leaving_names[0]
        raise RefusedError(422, f"All {n_gone} clients have left by the column {left_by!r}.")
    latest = client_dates.derive_latest(kept, used.schema, day)
    return import_queries().rank_table(used, latest, config), n_gone


def as_csv(entries: list[WorklistEntry]) -> Answer:
    """Answer a ranking as CSV for a spreadsheet."""
    headers = [("Content-Type", CSV), ("Content-Disposition", 'attachment; filename="ranked.csv"')]
    return Answer(200, import_queries().entries_as_csv(entries).encode(), headers)


def check_rejected(reading: FileReading) -> None:
    """Refuse a table with too many rejected rows to list."""
    if len(reading.rejected) > MAX_REJECTED:
        reason = first_reasons(reading)[0]
        raise csv_reader.RefusedFileError(
            f"{len(reading.rejected)} of its first {reading.n_rows} rows cannot be right; the"
            f" first: {reason}"
        )


def read_table(
    content: bytes,
    schema: Schema,
    max_rows: int,
    *,
    needs_label: bool = True,
    is_kept: bool = True,
    erased: ErasedClients | None = None,
) -> tuple[FileReading, Columns]:
    """Read a table as strictly as the input, without a file.

    Parameters
    ----------
    content : bytes
        The file as sent.
    schema : Schema
        The columns.
    max_rows : int
        The row limit.
    needs_label : bool
        Whether the column of the label is required, as in `csv_reader`.
    is_kept : bool
        Whether the columns are returned, and not only checked.
    erased : ErasedClients, optional
        The clients whose rows are rejected.

    Returns
    -------
    tuple of FileReading and dict of str to list
        The report of reading, and the columns of the valid rows. `refused` is the reason for a
        refused table, otherwise empty.
    """
    reading = csv_reader.new_reading(Path("the table"), schema)
    columns: Columns = {name: [] for name in schema.file_columns}
    try:
        if content.count(b"\n") > max_rows + 1:
            raise csv_reader.RefusedFileError(f"it has more than {max_rows} rows; send it in parts")
        with erased_clients.refused(erased):
            rows = table_reader.read_content(content, schema, reading, needs_label=needs_label)
            for row, errors in rows:
                check_rejected(reading)
                if is_kept and not errors:
                    for name, value in row.items():
                        columns[name].append(value)
    except csv_reader.RefusedFileError as error:
        csv_reader.refuse(reading, error)
        return reading, {}
    return reading, columns


def rank() -> Answer:
    """Rank the clients of an uploaded table with the model in production, without storing them."""
    now = routes.serving()
    if now.release is None:
        return show_page(503, action="rank", fault=NO_RELEASE)
    try:
        sent = read_upload()
    except RefusedError as refusal:
        return show_page(refusal.status, action="rank", fault=refusal.detail)
    used = now.release.model.schema
    header = csv_reader.read_names(io.BytesIO(sent.content), client_dates.reading_schema(used))
    schema = client_dates.ranking_schema(used, header)
    erased = erased_clients.find(now.config.prod_deployment_path)
    reading, columns = read_table(sent.content, schema, now.config.api.max_rows, erased=erased)
    n_usable = reading.n_rows - len(reading.rejected)
    if reading.refused or n_usable <= 0:
        return show_page(422, action="rank", sent=sent, reading=reading)
    try:
        entries, n_gone = rank_columns(now, columns, sent.name)
    except RefusedError as refusal:
        return show_page(refusal.status, action="rank", fault=refusal.detail)
    if request.form.get("as") == "csv":
        return as_csv(entries)
    return show_page(
        action="rank",
        sent=sent,
        reading=reading,
        ranked=entries[:N_RANKED],
        n_usable=len(entries),
        n_gone=n_gone,
    )


def check_table(now: Serving, sent: UploadedFile, erased: ErasedClients | None) -> FileReading:
    """Read an uploaded table by the rules of the next run, or refuse it without a schema."""
    schema = find_schema(now)
    if schema is None:
        raise RefusedError(409, UNKNOWN)
    header = csv_reader.read_names(io.BytesIO(sent.content), schema)
    if now.config.outcomes is not None and schema.target not in header:
        # Outcomes come in files of their own.
        schema = msgspec.structs.replace(schema, target="")
    return read_table(
        sent.content, schema, MAX_ADDED_ROWS, needs_label=False, is_kept=False,
        erased=erased,
    )[0]  # fmt: skip


def is_usable(reading: FileReading) -> bool:
    """Return whether a table has rows, every row of them valid."""
    return not (reading.refused or reading.rejected) and reading.n_rows > 0


class QuotaError(DatasetError):
    """The limit of uploads waiting for the next run."""


class ErasedMeanwhileError(DatasetError):
    """The erasure of a client between the reading of a table and its way to the input folder."""


def check_erased(config: Config, erased: ErasedClients | None) -> None:
    """Refuse a table if a client was erased since the reading.

    Raises
    ------
    ErasedMeanwhileError
        If the list of the erased clients has changed.
    """
    if erased_clients.find(config.prod_deployment_path) != erased:
        raise ErasedMeanwhileError(
            "A client was erased meanwhile; nothing was added. Send the file again, and it is"
            " checked anew."
        )


def list_pending(config: Config) -> list[Path]:
    """List the uploads waiting for the next run, named later than the newest dataset."""
    ingested = artifacts.list_exact(config.output_folder_path, Kind.INGESTED)
    since = artifacts.stamp_of(ingested[-1]) if ingested else ""
    first = NAME.format(since)
    return [path for path in config.input_folder_path.glob(NAME.format("*")) if path.name > first]


def check_quota(config: Config, n_bytes: int) -> None:
    """Refuse an upload beyond the limits of files or bytes waiting for the next run.

    Raises
    ------
    QuotaError
        If too many files or bytes would wait.
    """
    pending = list_pending(config)
    n_pending_bytes = files.total_bytes(pending)
    if len(pending) >= MAX_PENDING_FILES or n_pending_bytes + n_bytes > MAX_PENDING_BYTES:
        raise QuotaError(
            f"{len(pending)} uploads of {n_pending_bytes} bytes wait for the next run; at most"
            f" {MAX_PENDING_FILES} and {MAX_PENDING_BYTES} bytes may. Nothing was added; start a"
            " run, or wait for it, and send the file again."
        )


def write_new(folder: Path, content: bytes, day: str) -> Path:
    """Write a new file whole, with a day in the name if it is not "", and never replace a file."""
    stamp = artifacts.next_stamp(datetime.now(UTC), [folder])
    path = folder / NAME.format(f"{stamp}_{day}" if day else stamp)
    temporary = path.with_name(files.temporary_name(path.name))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        # Unlike a rename, a link never replaces a file.
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    files.sync_folder(folder)
    return path


def publish(
    config: Config,
    content: bytes,
    reading: FileReading,
    actor: str,
    *,
    erased: ErasedClients | None,
    day: str = "",
) -> Path:
    """Add a valid table to the input folder.

    Parameters
    ----------
    config : Config
        The config with the input folder.
    content : bytes
        The table as sent.
    reading : FileReading
        The report of reading the table.
    actor : str
        Who added the table.
    erased : ErasedClients or None
        The erased clients whose rows were looked for in the table.
    day : str
        The day of the rows for the name of the file in ISO 8601, "" without one.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DatasetError
        If a row is invalid.
    QuotaError
        If too many files or bytes wait for the next run.
    ErasedMeanwhileError
        If a client was erased since the table was read.
    BusyError
        If a run is in progress.
    OSError
        If the disk is full or not writable.
    """
    if not is_usable(reading):
        raise DatasetError("The table has rows that cannot be used; nothing was added.")
    folder = config.input_folder_path
    with files.waiting_lock(config.prod_deployment_path):
        for leftover in folder.glob(TEMPORARY):
            leftover.unlink(missing_ok=True)
        check_erased(config, erased)
        check_quota(config, len(content))
        path = write_new(folder, content, day)
    log.info("%s added %d rows as %s.", actor, reading.n_rows, path)
    return path


def add() -> Answer:
    """Add a fully valid table to the input folder, for the next run."""
    now = routes.serving()
    try:
        sent = read_upload()
        if find_address(now):
            raise RefusedError(409, STORED.format(find_address(now)))
        erased = erased_clients.find(now.config.prod_deployment_path)
        reading = check_table(now, sent, erased)
        if not is_usable(reading):
            return show_page(422, action="add", sent=sent, reading=reading)
        day = find_day(now, sent.name)
        path = publish(
            now.config, sent.content, reading, sender.name_actor(), erased=erased, day=day or ""
        )
    except RefusedError as refusal:
        return show_page(refusal.status, action="add", fault=refusal.detail)
    except QuotaError as error:
        return show_page(409, action="add", fault=str(error))
    except ErasedMeanwhileError as error:
        return show_page(503, [("Retry-After", "1")], action="add", fault=str(error))
    except OSError as error:
        # The message may name a path, which belongs in the log only.
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
    shown = dates.format_day(day) if day else day
    return show_page(201, action="add", sent=sent, reading=reading, added=path.name, day=shown)
