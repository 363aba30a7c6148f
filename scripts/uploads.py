"""Tables that people send through a page: read strictly, and put into the input folder whole."""

import errno
import io
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts import artifacts, durable, reading
from scripts.artifacts import Kind
from scripts.config import Config, Schema
from scripts.errors import BusyError, DatasetError
from scripts.findings import FileReading, first_reasons

# The name is made here; what the sender calls the file is only ever shown.
NAME = "upload_{}.csv"
TEMPORARY = f".upload_*{durable.TEMPORARY_SUFFIX}"
# A run that is at work is not waited for longer, since a page waits as long.
WAIT_S = 5.0
AGAIN_S = 0.05
# Of a table of which more cannot be right, the rest is not read.
MAX_REJECTED = 1_000
# What may wait for the next run: nobody fills the disk, or the next run, by sending.
MAX_PENDING_FILES = 200
MAX_PENDING_BYTES = 512 * 2**20
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Columns = dict[str, list[Any]]

log = logging.getLogger(__name__)


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
    found = reading.new_reading(Path("the table"), schema)
    try:
        if content.count(b"\n") > max_rows + 1:
            raise reading.RefusedFileError(f"it has more than {max_rows} rows; send it in parts")
        lines = reading.iterate_lines(io.BytesIO(content), found, schema.encoding)
        _, first = next(lines, (0, None))
        layout = reading.read_layout(first, schema, found, needs_label=needs_label)
        columns: Columns = {name: [] for name in layout.parsers}
        for number, record in reading.iterate_records(lines, layout.separator):
            row = reading.read_record(number, record, layout, found)
            check_rejected(found)
            if row is not None and is_kept:
                for name, value in row.items():
                    columns[name].append(value)
    except reading.RefusedFileError as error:
        reading.refuse(found, error)
        return found, {}
    return found, columns


def check_rejected(found: FileReading) -> None:
    """Refuse a table of which so many rows cannot be right that no list of them helps."""
    if len(found.rejected) > MAX_REJECTED:
        reason = first_reasons(found)[0]
        raise reading.RefusedFileError(
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
            with durable.exclusive_lock(folder):
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
    temporary = path.with_name(f".{path.name}{durable.TEMPORARY_SUFFIX}")
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
    durable.sync_folder(folder)
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
